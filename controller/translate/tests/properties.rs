//! What holds for every input: translation never panics, and its outcome does not depend on the
//! order in which objects become known.
//!
//! Inputs are the goldens' manifests, with random damage.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test fails by panicking, also in its helpers"
)]
#![expect(clippy::disallowed_methods, reason = "goldens are files")]

mod support;

use gwanmun_api::{Object, manifest};
use gwanmun_ir::{Action, AppProtocol, Discovery, Key, Resource, Security, Target};
use gwanmun_translate::{Options, Store, Translation, translate_all};
use proptest::prelude::*;
use serde_json::{Value, json};
use std::{fs, path::Path, sync::LazyLock};

/// The objects of each golden case, as values.
static CASES: LazyLock<Vec<Vec<Value>>> = LazyLock::new(|| {
    let mut cases = Vec::new();
    collect(
        Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden")),
        &mut cases,
    );
    assert!(!cases.is_empty());
    cases
});

fn collect(directory: &Path, cases: &mut Vec<Vec<Value>>) {
    let base = fs::read_to_string(directory.join("_base.yaml")).unwrap_or_default();
    let mut paths: Vec<_> = fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    paths.sort();
    for path in paths {
        if path.is_dir() {
            collect(&path, cases);
        } else if path.to_string_lossy().ends_with(".in.yaml") {
            let text = fs::read_to_string(&path).unwrap();
            let values = [base.as_str(), &text]
                .into_iter()
                .flat_map(|text| manifest::values(text).unwrap_or_default());
            cases.push(values.filter(Value::is_object).collect());
        }
    }
}

/// Damages one value of `root`, chosen by `at`.
fn damage(root: &mut Value, at: u32, how: u32) {
    let mut rest = at;
    let mut value = root;
    loop {
        let children = match &*value {
            Value::Object(fields) => fields.len(),
            Value::Array(items) => items.len(),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => 0,
        };
        let choices = u32::try_from(children).unwrap() + 1;
        let choice = usize::try_from(rest % choices).unwrap();
        rest /= choices;
        if choice == children {
            break;
        }
        value = match value {
            Value::Object(fields) => fields.values_mut().nth(choice).unwrap(),
            Value::Array(items) => items.get_mut(choice).unwrap(),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => unreachable!(),
        };
    }
    *value = match (how % 12, value.take()) {
        (0, _) => Value::Null,
        (1, _) => json!({}),
        (2, _) => json!([]),
        (3, _) => json!(""),
        (4, _) => json!(0),
        (5, _) => json!(-1),
        (6, _) => json!(u64::MAX),
        (7, _) => json!("*"),
        (8, Value::String(text)) => json!(text.chars().rev().collect::<String>()),
        (8 | 9, Value::Array(mut items)) => {
            items.extend(items.clone());
            Value::Array(items)
        }
        (9, Value::String(text)) => json!(text.to_uppercase() + "\u{0}é%"),
        (10, Value::Array(mut items)) => {
            items.reverse();
            Value::Array(items)
        }
        (10, Value::Number(number)) => json!(number.as_i64().unwrap_or(0).wrapping_mul(1000)),
        (_, other) => json!([other]),
    };
}

/// Every object that can still be read.
fn objects(case: usize, hits: &[(u32, u32, u32)]) -> Vec<Object> {
    let mut values = CASES[case % CASES.len()].clone();
    for (object, at, how) in hits {
        let count = values.len().max(1);
        if let Some(value) = values.get_mut(usize::try_from(*object).unwrap() % count) {
            damage(value, *at, *how);
        }
    }
    (0..)
        .zip(values)
        .filter_map(|(order, value)| {
            let mut object = Object::from_value(value, None).ok()?;
            object.order = order;
            Some(object)
        })
        .collect()
}

fn translate(objects: impl IntoIterator<Item = Object>) -> Translation {
    let mut store = Store::default();
    for object in objects {
        store.apply(object);
    }
    translate_all(&store, &Options::default())
}

/// References between resources that lead nowhere.
fn dangling(translation: &Translation) -> Vec<String> {
    let mut missing = Vec::new();
    let mut need = |from: &Key, to: Key| {
        if !translation.resources.contains_key(&to) {
            missing.push(format!("{from} names {to}"));
        }
    };
    for (key, resource) in &translation.resources {
        assert_eq!(key, &resource.key());
        match resource {
            Resource::Chain(chain) => {
                need(key, Key::Listener(chain.listener.clone()));
                let clients = match &chain.security {
                    Security::Tls(policy) => policy.client.validation(),
                    Security::Passthrough => {
                        assert_eq!(chain.protocol, AppProtocol::Tcp, "{key}");
                        None
                    }
                    Security::Plaintext => None,
                };
                // A listener of the Gateway API whose anchors are missing is closed. A credential of
                // Istio's may be missing: handshakes fail.
                if let Some(anchors) = clients.map(|clients| &clients.anchors)
                    && anchors.as_str().starts_with("gateway-api://")
                {
                    need(key, Key::Secret(anchors.clone()));
                }
            }
            Resource::Route(route) => {
                need(key, Key::Chain(route.chain.clone()));
                if let Action::Forward(targets) = &route.action {
                    for target in targets {
                        if let Target::Cluster(cluster) = &target.target {
                            need(key, Key::Cluster(cluster.clone()));
                        }
                    }
                }
            }
            Resource::L4Route(route) => {
                need(key, Key::Chain(route.chain.clone()));
                for target in &route.targets {
                    if let Target::Cluster(cluster) = &target.target {
                        need(key, Key::Cluster(cluster.clone()));
                    }
                }
            }
            Resource::Cluster(cluster) => {
                if let Some(tls) = &cluster.tls {
                    assert!(cluster.key.as_str().contains("tls=") || cluster.policy.is_some());
                    assert!(!tls.subject_alt_names.contains(&String::new()), "{key}");
                }
                if cluster.discovery == Discovery::Endpoints {
                    need(key, Key::Endpoints(cluster.key.clone()));
                }
            }
            Resource::Endpoints(set) => {
                need(key, Key::Cluster(set.cluster.clone()));
                let sorted = set.endpoints.is_sorted_by(|a, b| a.address < b.address);
                assert!(sorted, "{key}: {:?}", set.endpoints);
            }
            Resource::Listener(_) | Resource::Secret(_) => {}
        }
    }
    missing
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn damaged_manifests_never_panic_and_order_of_arrival_does_not_matter(
        case in any::<usize>(),
        hits in proptest::collection::vec(any::<(u32, u32, u32)>(), 0..6),
        rotation in any::<usize>(),
    ) {
        let objects = objects(case, &hits);
        // Of two objects with one key, the last to arrive stays: that is not about order.
        let mut unique = std::collections::BTreeMap::new();
        for object in objects {
            unique.insert(object.key(), object);
        }
        let mut shuffled: Vec<Object> = unique.values().rev().cloned().collect();
        let middle = rotation % shuffled.len().max(1);
        shuffled.rotate_left(middle);

        let expected = translate(unique.into_values());
        prop_assert_eq!(dangling(&expected), Vec::<String>::new());
        prop_assert_eq!(&translate(shuffled.clone()), &expected);

        // Objects that come and go leave nothing behind.
        let mut store = Store::default();
        for object in shuffled.iter().rev().chain(&shuffled) {
            store.apply(object.clone());
        }
        for object in &shuffled {
            store.delete(&object.key());
        }
        prop_assert_eq!(&translate_all(&store, &Options::default()), &translate([]));
        for object in shuffled {
            store.apply(object);
        }
        prop_assert_eq!(&translate_all(&store, &Options::default()), &expected);
    }

    #[test]
    fn damaged_text_never_panics(
        case in any::<usize>(),
        cuts in proptest::collection::vec((any::<usize>(), "[-:\\[\\]{}&*!|>'\"%@`# \n\ta0]{0,3}"), 1..4),
    ) {
        let values = &CASES[case % CASES.len()];
        let mut text: Vec<char> = values
            .iter()
            .map(|value| format!("---\n{value:#}\n"))
            .collect::<String>()
            .chars()
            .collect();
        for (at, insert) in &cuts {
            let at = at % (text.len() + 1);
            let end = (at + insert.len() % 2).min(text.len());
            text.splice(at..end, insert.chars());
        }
        let text: String = text.into_iter().collect();
        let read = manifest::combine([manifest::read("a.yaml", &text, "default")]);
        translate_all(&support::golden::store(&read), &Options::default());
    }
}
