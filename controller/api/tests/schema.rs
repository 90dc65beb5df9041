//! Our types know every field of the published schemas.
//!
//! The CRDs of the Gateway API and of Istio come from their Go modules, fetched when the test
//! runs. From the schema of each served version the largest possible object is made, one per
//! choice of enum values; it must be read without an unknown field, an unknown enum value, or a
//! value that got lost.
//!
//! Without Go, and where it cannot be installed, the tests say so and pass; with `CI` set they fail.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test fails by panicking, also in its helpers"
)]

mod support;

use gwanmun_api::{
    Kind, Object,
    manifest::{self, ReadSeverity},
};
use serde_json::{Value, json};
use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};
use support::{example::Examples, module};

/// What is deliberately not modelled: kind, path, reason.
const IGNORED: &[(&str, &str, &str)] = &[];

#[test]
fn gateway_api_fields_are_all_known() {
    let Some(root) = module::fetch("sigs.k8s.io/gateway-api", "v1.7.0") else {
        return;
    };
    let mut report = Report::default();
    for channel in ["standard", "experimental"] {
        let directory = root.join("config/crd").join(channel);
        for entry in fs::read_dir(&directory).expect("the module has its CRDs") {
            let path = entry.expect("a directory entry").path();
            if path
                .extension()
                .is_some_and(|extension| extension == "yaml")
            {
                report.check(&path);
            }
        }
    }
    report.assert_complete(14);
}

#[test]
fn gateway_api_examples_are_read_without_a_finding() {
    let Some(root) = module::fetch("sigs.k8s.io/gateway-api", "v1.7.0") else {
        return;
    };
    let mut files = Vec::new();
    manifests(&root.join("examples"), &mut files);
    assert!(files.len() > 50, "{files:?}");
    let mut problems = Vec::new();
    for path in files {
        let text = fs::read_to_string(&path).expect("a readable file");
        let read = manifest::read(&path.to_string_lossy(), &text, "default");
        problems.extend(read.findings.iter().filter_map(|finding| {
            let (message, line) = (&finding.message, finding.line);
            let told = finding.severity != ReadSeverity::Info;
            told.then(|| format!("{}:{line}: {message}", path.display()))
        }));
        for object in &read.objects {
            problems.extend(object.unknown_fields.iter().map(|unknown| {
                let (key, field) = (object.key(), &unknown.field);
                format!("{}: {key} {field}: unknown", path.display())
            }));
        }
    }
    assert!(problems.is_empty(), "{}", problems.join("\n"));
}

fn manifests(directory: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(directory).expect("a directory") {
        let path = entry.expect("a directory entry").path();
        if path.is_dir() {
            manifests(&path, files);
        } else if path
            .extension()
            .is_some_and(|extension| extension == "yaml")
        {
            files.push(path);
        }
    }
}

#[test]
fn istio_fields_are_all_known() {
    let Some(root) = module::fetch("istio.io/api", "v1.31.1") else {
        return;
    };
    let mut report = Report::default();
    report.check(&root.join("kubernetes/customresourcedefinitions.gen.yaml"));
    report.assert_complete(15);
}

/// What was checked and found.
#[derive(Default)]
struct Report {
    kinds: BTreeSet<String>,
    problems: BTreeSet<String>,
}

impl Report {
    fn assert_complete(&self, kinds: usize) {
        let problems: Vec<&str> = self.problems.iter().map(String::as_str).collect();
        assert!(problems.is_empty(), "{}", problems.join("\n"));
        assert_eq!(self.kinds.len(), kinds, "{:?}", self.kinds);
    }

    /// Checks every CRD of a file.
    fn check(&mut self, path: &Path) {
        let text = fs::read_to_string(path).expect("a readable file");
        for definition in manifest::values(&text).expect("valid YAML") {
            if definition["kind"] != "CustomResourceDefinition" {
                continue;
            }
            let spec = &definition["spec"];
            let kind = spec["names"]["kind"].as_str().expect("a kind");
            let group = spec["group"].as_str().expect("a group");
            for version in spec["versions"].as_array().expect("versions") {
                let name = version["name"].as_str().expect("a name");
                let schema = &version["schema"]["openAPIV3Schema"];
                for example in Examples::of(schema) {
                    self.check_example(&format!("{group}/{name}"), kind, example);
                }
            }
            let known = Kind::of_group(group, kind).expect("a known kind");
            let is_served = |version: &Value| version["name"] == known.version();
            if !spec["versions"]
                .as_array()
                .expect("versions")
                .iter()
                .any(is_served)
            {
                self.problems
                    .insert(format!("{kind}: version {} is not served", known.version()));
            }
            assert_eq!(spec["names"]["plural"], known.plural());
            assert_eq!(spec["scope"] == "Namespaced", known.namespaced(), "{kind}");
            self.kinds.insert(kind.to_owned());
        }
    }

    fn check_example(&mut self, api_version: &str, kind: &str, example: Value) {
        let mut example = example;
        example["apiVersion"] = json!(api_version);
        example["kind"] = json!(kind);
        example["metadata"] = json!({"name": "example", "namespace": "default"});
        let what = format!("{kind} {api_version}");
        let object = match Object::from_value(example.clone(), None) {
            Ok(object) => object,
            Err(error) => {
                self.problems
                    .insert(format!("{what} {}: {error}", error.field));
                return;
            }
        };
        let is_ignored = |path: &str| {
            IGNORED
                .iter()
                .any(|(ignored, prefix, _)| *ignored == kind && path.starts_with(prefix))
        };
        for unknown in &object.unknown_fields {
            if !is_ignored(&unknown.field) {
                self.problems
                    .insert(format!("{what} {}: not modelled", unknown.field));
            }
        }
        // Where the schema lists no values, the example has a placeholder.
        let debug = format!("{:?}", object.body).replace("Unknown(\"text\")", "");
        for (at, _) in debug.match_indices("Unknown(\"") {
            let value: String = debug.chars().skip(at).take(60).collect();
            self.problems
                .insert(format!("{what}: enum value not known: {value}"));
        }
        let read_back = serde_json::to_value(&object.body).expect("serialisable content");
        if let Some(fields) = example.as_object_mut() {
            for name in ["apiVersion", "kind", "metadata", "status"] {
                fields.remove(name);
            }
        }
        lost("", &example, &read_back, &mut |path| {
            if !is_ignored(path) {
                self.problems
                    .insert(format!("{what} {path}: the value is lost"));
            }
        });
    }
}

/// Calls `report` with the path of every value that is in `written` and differs in `read`.
fn lost(path: &str, written: &Value, read: &Value, report: &mut impl FnMut(&str)) {
    match (written, read) {
        (Value::Object(fields), Value::Object(others)) => {
            for (name, value) in fields {
                let dot = if path.is_empty() { "" } else { "." };
                let path = format!("{path}{dot}{name}");
                let other = others.get(name).unwrap_or(&Value::Null);
                lost(&path, value, other, report);
            }
        }
        (Value::Array(items), Value::Array(others)) => {
            for (index, value) in items.iter().enumerate() {
                let other = others.get(index).unwrap_or(&Value::Null);
                lost(&format!("{path}[{index}]"), value, other, report);
            }
        }
        // What is unset may be left out.
        _ if written == read || is_empty_object(written) && read.is_null() => {}
        _ => report(path),
    }
}

fn is_empty_object(value: &Value) -> bool {
    value.as_object().is_some_and(serde_json::Map::is_empty)
}
