//! One golden case: text in, a value to compare out.

use gwanmun_api::manifest::{self, ReadResult};
use gwanmun_ir::{ListenerKey, ListenerState, Resource};
use gwanmun_translate::{Options, Store, Translation, translate_all};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

/// Runs one case: its base and its own text.
pub(crate) fn run(base: &str, case: &str, text: &str) -> Value {
    let mut certificates = Certificates::default();
    let read = manifest::combine([
        manifest::read("_base.yaml", &certificates.fill(base), "default"),
        manifest::read(case, &certificates.fill(text), "default"),
    ]);
    let (mut options, bound, show) = options(text);
    let store = store(&read);
    let mut translation = translate_all(&store, &options);
    if !bound.is_empty() {
        // The gateway's reports are an input, known only after a first translation.
        options.reports = reports(&translation, &bound);
        translation = translate_all(&store, &options);
    }
    output(&read, &translation, &show)
}

/// A store of what was read.
pub(crate) fn store(read: &ReadResult) -> Store {
    let mut store = Store::default();
    for object in &read.objects {
        store.apply(object.clone());
    }
    store
}

fn reports(translation: &Translation, bound: &[String]) -> BTreeMap<ListenerKey, ListenerState> {
    translation
        .resources
        .values()
        .filter_map(|resource| {
            let Resource::Listener(listener) = resource else {
                return None;
            };
            let listed = bound
                .iter()
                .any(|key| key == "*" || key == listener.key.as_str());
            let state = if listed {
                ListenerState::Bound
            } else {
                ListenerState::Failed("address already in use".to_owned())
            };
            Some((listener.key.clone(), state))
        })
        .collect()
}

/// Options, keys of bound listeners, and what to show.
fn options(text: &str) -> (Options, Vec<String>, Vec<String>) {
    let mut options = Options::default();
    let mut show = Vec::new();
    let Some(line) = text
        .lines()
        .find_map(|line| line.strip_prefix("# options:"))
    else {
        return (options, Vec::new(), show);
    };
    let value: Map<String, Value> = serde_json::from_str(line).expect("options are JSON");
    let mut bound = Vec::new();
    for (name, value) in value {
        let strings = || serde_json::from_value::<Vec<String>>(value.clone()).unwrap();
        let string = || value.as_str().unwrap().to_owned();
        match name.as_str() {
            "labels" => options.labels = serde_json::from_value(value).unwrap(),
            "namespace" => options.namespace = string(),
            "gatewayClasses" => options.gateway_classes = strings(),
            "rootNamespace" => options.root_namespace = string(),
            "revision" => options.revision = Some(string()),
            "compat" => options.compat = string().parse().unwrap(),
            "addresses" => options.addresses = strings(),
            "bound" => bound = strings(),
            "show" => show = strings(),
            other => panic!("no such option: {other}"),
        }
    }
    (options, bound, show)
}

/// What a golden shows: empty parts are left out.
fn output(read: &ReadResult, translation: &Translation, show: &[String]) -> Value {
    let mut output = Map::new();
    let mut add = |name: &str, part: Value| {
        let empty = part.as_object().is_some_and(Map::is_empty)
            || part.as_array().is_some_and(Vec::is_empty);
        if !empty {
            output.insert(name.to_owned(), part);
        }
    };
    let shown = |part: &str| show.is_empty() || show.iter().any(|prefix| part.starts_with(prefix));
    add("ir", resources(translation, &shown));
    let statuses: Map<String, Value> = translation
        .statuses
        .iter()
        .map(|(key, status)| (key.to_string(), readable(json!(status))))
        .filter(|(key, _)| shown(&format!("status {key}")))
        .collect();
    add("statuses", Value::Object(statuses));
    let lines: Vec<Value> = read
        .findings
        .iter()
        .map(|f| {
            let severity = format!("{:?}", f.severity).to_lowercase();
            let (code, object, field) = (f.code, &f.object, &f.field);
            json!(format!(
                "{severity} {code} {object} {field}: {} ({}:{})",
                f.message, f.file, f.line
            ))
        })
        .chain(translation.findings.iter().map(|f| json!(f.to_string())))
        .filter(|_| shown("findings"))
        .collect();
    add("findings", Value::Array(lines));
    Value::Object(output)
}

fn resources(translation: &Translation, shown: &dyn Fn(&str) -> bool) -> Value {
    let resources = translation
        .resources
        .iter()
        .filter(|(key, _)| shown(&key.to_string()))
        .map(|(key, resource)| {
            let value = json!(resource.redacted());
            // The name of the variant says what the key says already.
            let content = value
                .as_object()
                .and_then(|object| object.values().next().cloned())
                .unwrap_or_default();
            (key.to_string(), without_pem(content))
        })
        .collect();
    Value::Object(resources)
}

/// A status with one line for each condition, `TYPE: STATUS REASON @GENERATION, MESSAGE`; the
/// generation is left out where it is 0, as in manifests.
fn readable(value: Value) -> Value {
    match value {
        Value::Object(mut fields) => {
            if fields.contains_key("observedGeneration") {
                return json!(condition_line(&fields));
            }
            for field in fields.values_mut() {
                *field = readable(field.take());
            }
            Value::Object(fields)
        }
        Value::Array(items) => items.into_iter().map(readable).collect(),
        scalar @ (Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_)) => scalar,
    }
}

fn condition_line(condition: &Map<String, Value>) -> String {
    let text = |name: &str| condition[name].as_str().unwrap();
    let mut line = format!("{}: {} {}", text("type"), text("status"), text("reason"));
    if condition["observedGeneration"] != json!(0) {
        line += &format!(" @{}", condition["observedGeneration"]);
    }
    if !text("message").is_empty() {
        line += &format!(", {}", text("message"));
    }
    line
}

fn without_pem(value: Value) -> Value {
    match value {
        Value::String(text) if text.contains("-----BEGIN") => json!("[PEM]"),
        Value::Array(items) => items.into_iter().map(without_pem).collect(),
        Value::Object(fields) => fields
            .into_iter()
            .map(|(name, value)| (name, without_pem(value)))
            .collect(),
        scalar @ (Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_)) => scalar,
    }
}

/// Certificates made for one run.
#[derive(Default)]
struct Certificates {
    made: BTreeMap<String, (String, String)>,
}

impl Certificates {
    /// Replaces the placeholders in `text`.
    fn fill(&mut self, text: &str) -> String {
        let mut filled = String::new();
        let mut rest = text;
        while let Some((before, tail)) = rest.split_once("$(") {
            filled.push_str(before);
            let (what, after) = tail.split_once(')').expect("a placeholder ends with `)`");
            let (kind, name) = what.split_once(' ').expect("a placeholder names a name");
            let (certificate, key) = self.pair(name);
            let pem = match kind {
                "certificate" | "ca" => certificate,
                "key" => key,
                other => panic!("no such placeholder: {other}"),
            };
            // A JSON string is a YAML string on one line.
            filled.push_str(&json!(pem).to_string());
            rest = after;
        }
        filled + rest
    }

    fn pair(&mut self, name: &str) -> (String, String) {
        self.made
            .entry(name.to_owned())
            .or_insert_with(|| {
                let made = rcgen::generate_simple_self_signed([name.to_owned()]).unwrap();
                (made.cert.pem(), made.signing_key.serialize_pem())
            })
            .clone()
    }
}
