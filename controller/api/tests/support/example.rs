//! The largest objects that a schema allows.

use serde_json::{Map, Value, json};

/// Objects that together have every field and every enum value of a schema.
pub(crate) struct Examples<'s> {
    schema: &'s Value,
    choice: usize,
    choices: usize,
}

impl<'s> Examples<'s> {
    pub(crate) fn of(schema: &'s Value) -> Self {
        let choices = most_values(schema);
        Self {
            schema,
            choice: 0,
            choices,
        }
    }
}

impl Iterator for Examples<'_> {
    type Item = Value;

    fn next(&mut self) -> Option<Value> {
        let choice = self.choice;
        self.choice += 1;
        (choice < self.choices).then(|| example(self.schema, choice))
    }
}

/// How many values the largest enum has.
fn most_values(schema: &Value) -> usize {
    let own = schema["enum"].as_array().map_or(1, Vec::len);
    let below = match schema {
        Value::Object(fields) => fields.values().map(most_values).max(),
        Value::Array(items) => items.iter().map(most_values).max(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => None,
    };
    own.max(below.unwrap_or(1))
}

fn example(schema: &Value, choice: usize) -> Value {
    if let Some(values) = schema["enum"].as_array()
        && !values.is_empty()
    {
        return values[choice % values.len()].clone();
    }
    if schema["x-kubernetes-int-or-string"] == true {
        return if choice.is_multiple_of(2) {
            json!(1)
        } else {
            json!("name")
        };
    }
    match schema["type"].as_str() {
        Some("object") => object(schema, choice),
        Some("array") => {
            let item = example(&schema["items"], choice);
            json!([item, item])
        }
        Some("boolean") => json!(true),
        Some("integer") => schema
            .get("minimum")
            .cloned()
            .filter(|least| *least != 0)
            .unwrap_or(json!(7)),
        Some("number") => json!(1.5),
        Some("string") if schema["format"] == "date-time" => json!("2026-01-02T03:04:05Z"),
        Some("string") => json!("text"),
        other => panic!("a schema of type {other:?}: {schema}"),
    }
}

fn object(schema: &Value, choice: usize) -> Value {
    if let Some(properties) = schema["properties"].as_object() {
        let fields: Map<String, Value> = properties
            .iter()
            .map(|(name, schema)| (name.clone(), example(schema, choice)))
            .collect();
        return Value::Object(fields);
    }
    if schema["additionalProperties"].is_object() {
        return json!({"any.name/at-all": example(&schema["additionalProperties"], choice)});
    }
    if schema["x-kubernetes-preserve-unknown-fields"] == true {
        return json!({"anything": [{"at": "all"}, 1.5, true]});
    }
    json!({})
}
