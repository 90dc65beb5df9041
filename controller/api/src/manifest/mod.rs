//! Reads manifests: files of YAML or JSON documents, as `kubectl apply -f` takes them.

use crate::Object;

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

/// Something to tell about a file.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ReadFinding {
    /// How bad it is.
    pub severity: ReadSeverity,
    /// The object, e.g. `HTTPRoute default/echo`; empty when it is the file.
    pub object: String,
    /// Path of the field; empty when it is the object or file.
    pub field: String,
    /// What is wrong, in one sentence.
    pub message: String,
    /// File path as given.
    pub file: std::sync::Arc<str>,
    /// Line, from 1.
    pub line: u32,
}
