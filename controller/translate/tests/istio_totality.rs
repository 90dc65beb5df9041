//! Whatever is left out of a manifest, translation gives a configuration that hangs together.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test fails by panicking, also in its helpers"
)]
#![expect(clippy::disallowed_methods, reason = "goldens are files")]

use gwanmun_api::manifest;
use gwanmun_ir::{Action, Discovery, Key, Precedence, Resource, Security, Target};
use gwanmun_translate::{Options, Store, Translation, translate_all};
use std::collections::BTreeSet;

/// The inputs of the Istio goldens, each behind what they share.
fn cases() -> Vec<(String, String)> {
    let directory = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/istio");
    let mut cases = Vec::new();
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        if name.ends_with(".in.yaml") {
            cases.push((name, std::fs::read_to_string(&path).unwrap()));
        }
    }
    cases.sort();
    cases
}

fn translated(base: &str, text: &str) -> Translation {
    let read = manifest::combine([
        manifest::read("base", base, "default"),
        manifest::read("case", text, "default"),
    ]);
    let mut store = Store::default();
    for object in read.objects {
        store.apply(object);
    }
    translate_all(&store, &Options::default())
}

/// Every reference leads somewhere, every order is one, and nothing is served half.
fn check(translation: &Translation) -> Result<(), String> {
    let resources = &translation.resources;
    let needs = |key: Key| {
        if resources.contains_key(&key) {
            Ok(())
        } else {
            Err(format!("{key} is missing"))
        }
    };
    let mut ranks = BTreeSet::new();
    for (key, resource) in resources {
        if resource.key() != *key {
            return Err(format!("{key} holds {}", resource.key()));
        }
        match resource {
            Resource::Chain(chain) => {
                needs(Key::Listener(chain.listener.clone()))?;
                if let Security::Tls(tls) = &chain.security
                    && tls.min_version > tls.max_version
                {
                    return Err(format!("{key} has no TLS version"));
                }
            }
            Resource::Route(route) => {
                needs(Key::Chain(route.chain.clone()))?;
                if !matches!(route.precedence, Precedence::InOrder(_))
                    || !ranks.insert((route.chain.clone(), route.precedence.clone()))
                {
                    return Err(format!("{key} has no place of its own"));
                }
                if route.hostnames.is_empty() {
                    return Err(format!("{key} is for no virtual host"));
                }
                if let Action::Forward(targets) = &route.action {
                    for target in targets {
                        if let Target::Cluster(cluster) = &target.target {
                            needs(Key::Cluster(cluster.clone()))?;
                        }
                    }
                }
            }
            Resource::L4Route(route) => {
                needs(Key::Chain(route.chain.clone()))?;
                for target in &route.targets {
                    if let Target::Cluster(cluster) = &target.target {
                        needs(Key::Cluster(cluster.clone()))?;
                    }
                }
            }
            Resource::Cluster(cluster) => {
                if cluster.discovery == Discovery::Endpoints {
                    needs(Key::Endpoints(cluster.key.clone()))?;
                }
            }
            Resource::Listener(_) | Resource::Endpoints(_) | Resource::Secret(_) => {}
        }
    }
    Ok(())
}

#[test]
fn configuration_hangs_together_whichever_line_is_left_out() {
    let base = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/istio/_base.yaml");
    let base = std::fs::read_to_string(base).unwrap();
    for (name, text) in cases() {
        let lines: Vec<&str> = text.lines().collect();
        for left_out in 0..=lines.len() {
            let kept = lines.iter().enumerate();
            let kept = kept.filter(|(number, _)| *number != left_out);
            let kept: Vec<&str> = kept.map(|(_, line)| *line).collect();
            let translation = translated(&base, &kept.join("\n"));
            if let Err(problem) = check(&translation) {
                panic!("{name} without line {}: {problem}", left_out + 1);
            }
        }
    }
}

#[test]
fn the_order_in_which_objects_arrive_does_not_matter() {
    for (name, text) in cases() {
        let read = manifest::combine([manifest::read("case", &text, "default")]);
        let (mut forwards, mut backwards) = (Store::default(), Store::default());
        for object in &read.objects {
            forwards.apply(object.clone());
        }
        for object in read.objects.iter().rev() {
            backwards.apply(object.clone());
        }
        let options = Options::default();
        let same = translate_all(&forwards, &options) == translate_all(&backwards, &options);
        assert!(same, "{name}");
    }
}
