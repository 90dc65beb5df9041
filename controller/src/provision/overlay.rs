//! Parameters of a Gateway: what a user lays over the objects that are made for it.
//!
//! Objects merge field by field; lists whose items have a name (or what stands for it) merge by it,
//! as `kubectl apply` merges them; other lists are replaced; null removes.

use serde_json::{Map, Value};

/// What identifies an item of a list, by the list's name.
const KEYS: [(&str, &[&str]); 11] = [
    ("containers", &["name"]),
    ("env", &["name"]),
    ("hostAliases", &["ip"]),
    ("imagePullSecrets", &["name"]),
    ("initContainers", &["name"]),
    ("ownerReferences", &["uid"]),
    ("ports", &["protocol", "port", "containerPort"]),
    ("sysctls", &["name"]),
    ("tolerations", &["key", "operator", "value", "effect"]),
    ("volumeMounts", &["mountPath"]),
    ("volumes", &["name"]),
];
/// Protocol of a port that says none.
const PROTOCOL: &str = "TCP";

/// Lays `over` over `base`.
pub(super) fn merge(base: &mut Value, over: Value) {
    merge_at("", base, over);
}

fn merge_at(name: &str, base: &mut Value, over: Value) {
    match (base, over) {
        (Value::Object(base), Value::Object(over)) => merge_fields(base, over),
        (Value::Array(base), Value::Array(over)) => match key_of(name) {
            Some(key) => merge_items(base, over, key),
            None => *base = over,
        },
        (base, over) => *base = over,
    }
}

fn merge_fields(base: &mut Map<String, Value>, over: Map<String, Value>) {
    for (name, value) in over {
        if value.is_null() {
            base.remove(&name);
        } else if let Some(known) = base.get_mut(&name) {
            merge_at(&name, known, value);
        } else {
            base.insert(name, value);
        }
    }
}

fn merge_items(base: &mut Vec<Value>, over: Vec<Value>, key: &[&str]) {
    for item in over {
        let wanted = identity(&item, key);
        match base.iter_mut().find(|known| identity(known, key) == wanted) {
            Some(known) => merge_at("", known, item),
            None => base.push(item),
        }
    }
}

fn identity(item: &Value, key: &[&str]) -> Vec<Value> {
    let part = |name: &&str| match item.get(*name) {
        None if *name == "protocol" => Value::from(PROTOCOL),
        found => found.cloned().unwrap_or_default(),
    };
    key.iter().map(part).collect()
}

fn key_of(list: &str) -> Option<&'static [&'static str]> {
    KEYS.iter()
        .find(|(name, _)| *name == list)
        .map(|(_, key)| *key)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn merged(mut base: Value, over: Value) -> Value {
        merge(&mut base, over);
        base
    }

    #[test]
    fn fields_merge_and_null_removes() {
        let base = json!({ "spec": { "type": "LoadBalancer", "a": 1, "b": { "c": 2 } } });
        let over = json!({ "spec": { "type": "ClusterIP", "a": null, "b": { "d": 3 } } });
        let wanted = json!({ "spec": { "type": "ClusterIP", "b": { "c": 2, "d": 3 } } });
        assert_eq!(merged(base, over), wanted);
    }

    #[test]
    fn lists_of_named_items_merge_by_name_and_others_are_replaced() {
        let base = json!({
            "containers": [{ "name": "gateway", "args": ["gateway"], "env": [{ "name": "A", "value": "1" }] }],
        });
        let over = json!({
            "containers": [
                { "name": "gateway", "args": ["other"], "env": [{ "name": "B", "value": "2" }] },
                { "name": "helper" },
            ],
        });
        let wanted = json!({
            "containers": [
                {
                    "name": "gateway",
                    "args": ["other"],
                    "env": [{ "name": "A", "value": "1" }, { "name": "B", "value": "2" }],
                },
                { "name": "helper" },
            ],
        });
        assert_eq!(merged(base, over), wanted);
    }

    #[test]
    fn ports_merge_by_number_and_protocol() {
        let base = json!({ "ports": [{ "port": 53, "protocol": "UDP" }, { "port": 53, "protocol": "TCP" }] });
        let over = json!({ "ports": [{ "port": 53, "nodePort": 30053 }] });
        let wanted = json!({
            "ports": [
                { "port": 53, "protocol": "UDP" },
                { "port": 53, "protocol": "TCP", "nodePort": 30053 },
            ],
        });
        assert_eq!(merged(base, over), wanted);
    }
}
