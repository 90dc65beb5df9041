//! Reads manifests: files of YAML or JSON documents, as `kubectl apply -f` takes them.
//!
//! A file that is not YAML is broken as a whole; an object that is wrong is left out alone.
//! Unknown fields are not findings here: they travel in
//! [`Object::unknown_fields`](crate::Object), and translation reports them.
//!
//! Start at [`read`] for one file and [`combine`] for several.

mod scalar;
mod yaml;

use crate::{Kind, Object, Origin};
use serde_json::Value;
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    sync::Arc,
};
use yaml::Node;

/// What a file holds.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct ReadResult {
    /// The usable objects, in file order.
    pub objects: Vec<Object>,
    /// What is wrong with the rest.
    pub findings: Vec<ReadFinding>,
    /// Whether the file as a whole could not be read: then `objects` is empty, and whoever has an
    /// earlier content keeps it.
    pub broken: bool,
}

/// How bad a [`ReadFinding`] is.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum ReadSeverity {
    /// Something is not used at all.
    Error,
    /// Something has no effect.
    Warning,
    /// Worth knowing.
    Info,
}

/// What a [`ReadFinding`] is.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum ReadCode {
    /// The file is not YAML or JSON; none of it is used.
    BrokenFile,
    /// An object, or a document that should be one, is left out.
    BrokenObject,
    /// A kind we do not serve.
    IgnoredKind,
    /// A kind that Istio has not served for years.
    UnsupportedKind,
    /// Two objects of the same kind, namespace and name.
    Duplicate,
}

impl ReadCode {
    /// Every code.
    pub const ALL: &'static [Self] = &[
        Self::BrokenFile,
        Self::BrokenObject,
        Self::IgnoredKind,
        Self::UnsupportedKind,
        Self::Duplicate,
    ];

    /// The code's text, e.g. `GWM0101`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::BrokenFile => "GWM0101",
            Self::BrokenObject => "GWM0102",
            Self::IgnoredKind => "GWM0103",
            Self::UnsupportedKind => "GWM0104",
            Self::Duplicate => "GWM0105",
        }
    }
}

impl fmt::Display for ReadCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Something to tell about a file.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct ReadFinding {
    /// How bad it is.
    pub severity: ReadSeverity,
    /// What it is, for scripts and searches.
    pub code: ReadCode,
    /// The object, e.g. `HTTPRoute default/echo`; empty when it is the file.
    pub object: String,
    /// Path of the field; empty when it is the object or file.
    pub field: String,
    /// What is wrong, in one sentence.
    pub message: String,
    /// File path as given.
    pub file: Arc<str>,
    /// Line, from 1.
    pub line: u32,
}

/// Reads a text of one YAML document, e.g. one inside of a ConfigMap.
///
/// # Errors
/// When it is not YAML; the text says in which of its lines.
pub(crate) fn value(text: &str) -> Result<Value, String> {
    let documents =
        yaml::documents(text).map_err(|error| format!("line {}: {}", error.line, error.message))?;
    let Some(document) = documents.first() else {
        return Ok(Value::Null);
    };
    match document.errors.first() {
        Some((message, line)) => Err(format!("line {line}: {message}")),
        None => Ok(document.root.to_value().0),
    }
}

/// Reads one file. Objects without a namespace get `default_namespace`.
pub fn read(file: &str, text: &str, default_namespace: &str) -> ReadResult {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut reader = Reader {
        file: Arc::from(file),
        default_namespace,
        ignored: BTreeSet::new(),
        result: ReadResult::default(),
    };
    match yaml::documents(text) {
        Ok(documents) => {
            for document in documents {
                reader.document(&document);
            }
        }
        // YAML lacks a few escapes that JSON has.
        Err(malformed) => match serde_json::from_str::<Value>(text) {
            Ok(value) => reader.value(value, crate::FieldLines::new(1), None),
            Err(_) => {
                reader.result.findings.push(ReadFinding {
                    severity: ReadSeverity::Error,
                    code: ReadCode::BrokenFile,
                    object: String::new(),
                    field: String::new(),
                    message: format!("not valid YAML: {}", malformed.message),
                    file: Arc::clone(&reader.file),
                    line: malformed.line,
                });
                reader.result.broken = true;
                reader.result.objects.clear();
            }
        },
    }
    reader.result
}

/// Why a text is not YAML.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("not valid YAML, line {line}: {message}")]
pub struct InvalidYaml {
    /// What is wrong.
    pub message: String,
    /// Line, from 1.
    pub line: u32,
}

/// The documents of a YAML text as JSON values, for texts that are not objects: mesh
/// configuration in a ConfigMap, for instance. Empty documents are `null`.
///
/// # Errors
/// When the text is not YAML, or a field is written twice.
pub fn values(text: &str) -> Result<Vec<Value>, InvalidYaml> {
    let invalid = |message: String, line: u32| InvalidYaml { message, line };
    let documents = yaml::documents(text).map_err(|error| invalid(error.message, error.line))?;
    documents
        .into_iter()
        .map(|document| match document.errors.into_iter().next() {
            Some((message, line)) => Err(invalid(message, line)),
            None => Ok(document.root.to_value().0),
        })
        .collect()
}

/// Puts files together, in the order given: numbers the objects ([`Object::order`]), leaves out
/// objects that a later one replaces, as applying the files in turn would, and mentions each
/// ignored kind once. Broken files are left to the caller.
pub fn combine(files: impl IntoIterator<Item = ReadResult>) -> ReadResult {
    let mut combined = ReadResult::default();
    let mut positions = BTreeMap::new();
    let mut objects: Vec<Option<Object>> = Vec::new();
    let mut mentioned = BTreeSet::new();
    for file in files {
        for finding in file.findings {
            if finding.code != ReadCode::IgnoredKind || mentioned.insert(finding.object.clone()) {
                combined.findings.push(finding);
            }
        }
        for object in file.objects {
            let key = object.key();
            if let Some(earlier) = positions.insert(key, objects.len())
                && let Some(old) = objects.get_mut(earlier).and_then(Option::take)
            {
                combined.findings.extend(replaced(&old, &object));
            }
            objects.push(Some(object));
        }
    }
    combined.objects = objects.into_iter().flatten().collect();
    for (order, object) in (0..).zip(&mut combined.objects) {
        object.order = order;
    }
    combined
}

/// Says that `old` is replaced by `new`.
fn replaced(old: &Object, new: &Object) -> Option<ReadFinding> {
    let (file, line) = old.file_line("")?;
    let (by_file, by_line) = new.file_line("")?;
    Some(ReadFinding {
        severity: ReadSeverity::Warning,
        code: ReadCode::Duplicate,
        object: old.key().to_string(),
        field: String::new(),
        message: format!("the same object at {by_file}:{by_line} replaces this one"),
        file,
        line,
    })
}

struct Reader<'a> {
    file: Arc<str>,
    default_namespace: &'a str,
    ignored: BTreeSet<String>,
    result: ReadResult,
}

impl Reader<'_> {
    fn document(&mut self, document: &yaml::Document) {
        for (message, line) in &document.errors {
            self.result.findings.push(ReadFinding {
                severity: ReadSeverity::Error,
                code: ReadCode::BrokenObject,
                object: document.root.label(),
                field: String::new(),
                message: message.clone(),
                file: Arc::clone(&self.file),
                line: *line,
            });
        }
        if document.errors.is_empty() && !document.root.is_null() {
            self.node(&document.root, None);
        }
    }

    /// Reads an object or a list of objects. `of` are `apiVersion` and `kind` of the list the
    /// node stands in, for items that do not repeat them.
    fn node(&mut self, node: &Node, of: Option<(&str, &str)>) {
        let kind = node.text("kind").unwrap_or_default();
        if let (Some(element), Some(items)) = (kind.strip_suffix("List"), node.list("items")) {
            let api_version = node.text("apiVersion").unwrap_or_default();
            let of = (!element.is_empty()).then_some((api_version, element));
            for item in items {
                self.node(item, of);
            }
            return;
        }
        let (value, lines) = node.to_value();
        self.value(value, lines, of);
    }

    fn value(&mut self, value: Value, lines: crate::FieldLines, of: Option<(&str, &str)>) {
        let mut value = value;
        if let (Some((api_version, kind)), Some(fields)) = (of, value.as_object_mut()) {
            fields
                .entry("apiVersion")
                .or_insert_with(|| Value::from(api_version));
            fields.entry("kind").or_insert_with(|| Value::from(kind));
        }
        let text = |name: &str| value.get(name).and_then(Value::as_str).unwrap_or_default();
        let (api_version, kind_text) = (text("apiVersion"), text("kind"));
        let kind = Kind::of(api_version, kind_text);
        if kind.is_none() && !api_version.is_empty() && !kind_text.is_empty() {
            let (api_version, kind) = (api_version.to_owned(), kind_text.to_owned());
            self.ignore(&api_version, &kind, lines.line("kind"));
            return;
        }
        if kind.is_some_and(Kind::namespaced) {
            self.default_namespace(&mut value);
        }
        let origin = Arc::new(Origin {
            file: Arc::clone(&self.file),
            lines,
        });
        match Object::from_value(value, Some(Arc::clone(&origin))) {
            Ok(object) => self.result.objects.push(object),
            Err(error) => self.result.findings.push(ReadFinding {
                severity: ReadSeverity::Error,
                code: ReadCode::BrokenObject,
                message: error.message,
                object: error.object,
                line: origin.lines.line(&error.field),
                field: error.field,
                file: Arc::clone(&self.file),
            }),
        }
    }

    fn default_namespace(&self, value: &mut Value) {
        let Some(metadata) = value.get_mut("metadata").and_then(Value::as_object_mut) else {
            return;
        };
        let missing = metadata
            .get("namespace")
            .is_none_or(|namespace| namespace.is_null() || namespace == "");
        if missing {
            metadata.insert("namespace".to_owned(), Value::from(self.default_namespace));
        }
    }

    /// Mentions a kind that is not ours, once.
    fn ignore(&mut self, api_version: &str, kind: &str, line: u32) {
        let group = api_version.rsplit_once('/').map_or("", |(group, _)| group);
        let separator = if group.is_empty() { "" } else { "." };
        let name = format!("{kind}{separator}{group}");
        if !self.ignored.insert(name.clone()) {
            return;
        }
        let (severity, code, message) = match group {
            "config.istio.io" | "rbac.istio.io" | "authentication.istio.io" => (
                ReadSeverity::Warning,
                ReadCode::UnsupportedKind,
                format!("kind `{name}` was removed from Istio and is not supported; ignored"),
            ),
            _ => (
                ReadSeverity::Info,
                ReadCode::IgnoredKind,
                format!("kind `{name}` is not served by a gateway; ignored"),
            ),
        };
        self.result.findings.push(ReadFinding {
            severity,
            code,
            object: name,
            field: String::new(),
            message,
            file: Arc::clone(&self.file),
            line,
        });
    }
}

#[cfg(test)]
mod tests;
