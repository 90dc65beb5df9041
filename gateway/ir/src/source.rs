//! Where a resource came from.

use serde::{Deserialize, Serialize};
use std::fmt;

/// The user object, and the part of it, that a resource was translated from.
///
/// Printed as `HTTPRoute default/echo rules[0]` in explanations and dumps.
#[derive(Clone, Debug, Default, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SourceRef {
    /// Kind of the object, e.g. `HTTPRoute`.
    pub kind: String,
    /// Namespace of the object; empty for cluster-scoped kinds.
    pub namespace: String,
    /// Name of the object.
    pub name: String,
    /// Part of the object, e.g. `rules[0]` or `http[2].match[1]`; empty for all of it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub section: String,
}

impl fmt::Display for SourceRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ", self.kind)?;
        if !self.namespace.is_empty() {
            write!(f, "{}/", self.namespace)?;
        }
        f.write_str(&self.name)?;
        if !self.section.is_empty() {
            write!(f, " {}", self.section)?;
        }
        Ok(())
    }
}
