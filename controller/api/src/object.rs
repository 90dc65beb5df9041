//! One object: metadata, typed content, and where it was written.

use crate::{
    Body, Kind, Meta, Typed,
    decode::{Decoder, Notes},
    meta::RawMeta,
};
use serde::Deserialize;
use serde_json::{Map, Value};
use std::{cmp::Ordering, collections::BTreeMap, fmt, sync::Arc};

/// Names an object.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct ObjectKey {
    /// Kind.
    pub kind: Kind,
    /// Namespace; empty for cluster-scoped kinds.
    pub namespace: String,
    /// Name.
    pub name: String,
}

impl ObjectKey {
    /// Makes a key; the namespace of cluster-scoped kinds is dropped.
    pub fn new(kind: Kind, namespace: &str, name: &str) -> Self {
        let namespace = if kind.namespaced() { namespace } else { "" };
        Self {
            kind,
            namespace: namespace.to_owned(),
            name: name.to_owned(),
        }
    }
}

impl fmt::Display for ObjectKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ", self.kind)?;
        if !self.namespace.is_empty() {
            write!(f, "{}/", self.namespace)?;
        }
        f.write_str(&self.name)
    }
}

/// An object as read from a manifest or the API server.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Object {
    /// Metadata.
    pub meta: Meta,
    /// Content.
    pub body: Body,
    /// Where it was written; absent for objects of the API server.
    pub origin: Option<Arc<Origin>>,
    /// Order of appearance (file path, then document): stands in for the creation time of
    /// objects that have none.
    pub order: u64,
    /// Fields that no type knows, which therefore have no effect.
    pub unknown_fields: Vec<UnknownField>,
}

/// A field that no type knows.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct UnknownField {
    /// Path, e.g. `spec.rules[0].machtes`.
    pub field: String,
    /// The known sibling it resembles.
    pub did_you_mean: Option<String>,
}

/// Where an object was written.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Origin {
    /// File path as given.
    pub file: Arc<str>,
    /// Lines of its fields.
    pub lines: FieldLines,
}

/// The lines of an object's fields, by path, e.g. `spec.rules[0].backendRefs[1].port`.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct FieldLines {
    first: u32,
    lines: BTreeMap<Box<str>, u32>,
}

impl FieldLines {
    /// Lines of an object that starts at line `first` (1 is the file's first line).
    pub fn new(first: u32) -> Self {
        Self {
            first,
            lines: BTreeMap::new(),
        }
    }

    /// Records the line of a field.
    pub fn insert(&mut self, path: impl Into<Box<str>>, line: u32) {
        self.lines.insert(path.into(), line);
    }

    /// The line of a field, or of the nearest parent that is written; the object's first line
    /// for an empty path.
    pub fn line(&self, path: &str) -> u32 {
        let mut path = path;
        loop {
            if let Some(line) = self.lines.get(path) {
                return *line;
            }
            match path.rfind(['.', '[']) {
                Some(end) => path = path.get(..end).unwrap_or_default(),
                None => return self.first,
            }
        }
    }
}

/// Why a value is not an object we can use.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{message}")]
pub struct ParseError {
    /// What the object calls itself, as far as it can be read: `HTTPRoute default/echo`.
    pub object: String,
    /// Path of the offending field; empty when it is the object.
    pub field: String,
    /// What is wrong.
    pub message: String,
}

impl Object {
    /// Reads an object from its JSON form. Unknown fields are kept in
    /// [`Object::unknown_fields`]; `status` is ignored.
    ///
    /// # Errors
    /// When kind or name are missing, the kind is not one of ours ([`Kind::of`]), or a field has
    /// the wrong type.
    pub fn from_value(value: Value, origin: Option<Arc<Origin>>) -> Result<Self, ParseError> {
        let mut value = value;
        drop_nulls(&mut value);
        let (kind, label) = identify(&value)?;
        let fail = |field: &str, message: String| ParseError {
            object: label.clone(),
            field: field.to_owned(),
            message,
        };
        let Value::Object(mut fields) = value else {
            return Err(fail("", "it is not an object".to_owned()));
        };
        fields.shift_remove("apiVersion");
        fields.shift_remove("kind");
        let status = fields.shift_remove("status");
        if kind == Kind::Pod {
            fields.insert("status".to_owned(), pod_status(status));
        }
        let metadata = fields
            .shift_remove("metadata")
            .unwrap_or_else(|| Value::Object(Map::new()));
        let notes = Notes::default();
        let at = |error: &serde_json::Error| fail(&notes.failed_at(), plain(&error.to_string()));
        let raw = RawMeta::deserialize(Decoder::new(metadata, "metadata", &notes))
            .map_err(|error| at(&error))?;
        let body = Body::deserialize(kind, Decoder::new(Value::Object(fields), "", &notes))
            .map_err(|error| at(&error))?;
        let meta = Meta::from_raw(raw, kind).map_err(|(field, message)| fail(&field, message))?;
        Ok(Self {
            meta,
            body,
            origin,
            order: 0,
            unknown_fields: notes.into_unknown(),
        })
    }

    /// The kind.
    pub fn kind(&self) -> Kind {
        self.body.kind()
    }

    /// The key.
    pub fn key(&self) -> ObjectKey {
        ObjectKey::new(self.kind(), &self.meta.namespace, &self.meta.name)
    }

    /// The typed content, if the object is of kind `T`.
    pub fn typed<T: Typed>(&self) -> Option<&T> {
        T::of(&self.body)
    }

    /// File and line of a field, for messages.
    pub fn file_line(&self, field: &str) -> Option<(Arc<str>, u32)> {
        let origin = self.origin.as_ref()?;
        Some((Arc::clone(&origin.file), origin.lines.line(field)))
    }

    /// Orders by age, oldest first, as every precedence rule of both APIs wants it: creation time,
    /// then order of appearance, then namespace and name. Objects with a creation time come before
    /// those without.
    pub fn cmp_age(&self, other: &Self) -> Ordering {
        let created = |object: &Self| object.meta.created.unwrap_or(i64::MAX);
        created(self)
            .cmp(&created(other))
            .then_with(|| self.order.cmp(&other.order))
            .then_with(|| self.meta.namespace.cmp(&other.meta.namespace))
            .then_with(|| self.meta.name.cmp(&other.meta.name))
            .then_with(|| self.kind().cmp(&other.kind()))
    }
}

/// Kind and printable name of an object.
fn identify(value: &Value) -> Result<(Kind, String), ParseError> {
    let text = |pointer: &str| {
        value
            .pointer(pointer)
            .and_then(Value::as_str)
            .unwrap_or_default()
    };
    let (api_version, kind_text) = (text("/apiVersion"), text("/kind"));
    let (namespace, name) = (text("/metadata/namespace"), text("/metadata/name"));
    let separator = if namespace.is_empty() { "" } else { "/" };
    let label = format!("{kind_text} {namespace}{separator}{name}")
        .trim()
        .to_owned();
    let fail = |field: &str, message: String| {
        Err(ParseError {
            object: label.clone(),
            field: field.to_owned(),
            message,
        })
    };
    if !value.is_object() || (kind_text.is_empty() && api_version.is_empty()) {
        return fail("", "not a Kubernetes object".to_owned());
    }
    if kind_text.is_empty() {
        return fail("kind", "`kind` is missing".to_owned());
    }
    if api_version.is_empty() {
        return fail("apiVersion", "`apiVersion` is missing".to_owned());
    }
    if name.is_empty() {
        return fail("metadata.name", "`metadata.name` is missing".to_owned());
    }
    match Kind::of(api_version, kind_text) {
        Some(kind) => Ok((kind, label)),
        None => fail(
            "kind",
            format!("kind `{kind_text}` of `{api_version}` is not known"),
        ),
    }
}

/// The parts of a Pod's status that are read, so that the rest is not reported as unknown.
fn pod_status(status: Option<Value>) -> Value {
    let mut kept = Map::new();
    if let Some(Value::Object(mut status)) = status {
        for name in ["phase", "podIP", "podIPs"] {
            kept.extend(status.remove(name).map(|value| (name.to_owned(), value)));
        }
        let conditions = status.get("conditions").and_then(Value::as_array);
        let conditions = conditions.into_iter().flatten().map(|condition| {
            let field = |name: &str| condition.get(name).cloned().unwrap_or_default();
            serde_json::json!({"type": field("type"), "status": field("status")})
        });
        kept.insert("conditions".to_owned(), conditions.collect());
    }
    let mut kept = Value::Object(kept);
    drop_nulls(&mut kept);
    kept
}

/// The deserialiser's message in the words of YAML.
fn plain(message: &str) -> String {
    [
        ("a sequence", "a list"),
        ("invalid type: sequence", "invalid type: list"),
        ("a map", "an object"),
        ("struct ", "an object: "),
        ("invalid type: map", "invalid type: object"),
        ("expected unit", "expected nothing"),
        ("expected u16", "expected a whole number from 0 to 65535"),
        ("expected u32", "expected a whole number of 0 or more"),
        ("expected u64", "expected a whole number of 0 or more"),
        ("expected i32", "expected a whole number"),
        ("expected i64", "expected a whole number"),
    ]
    .into_iter()
    .fold(message.to_owned(), |text, (from, to)| {
        text.replace(from, to)
    })
}

/// Removes every `null` field: Kubernetes reads it as unset.
pub(crate) fn drop_nulls(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            fields.retain(|_, value| !value.is_null());
            fields.values_mut().for_each(drop_nulls);
        }
        Value::Array(items) => items.iter_mut().for_each(drop_nulls),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}
