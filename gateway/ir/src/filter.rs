//! What a route or a weighted target changes about requests and responses.

use serde::{Deserialize, Serialize};

/// One transformation.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Filter {
    /// Edits the request's headers.
    RequestHeaders(HeaderEdits),
    /// Edits the response's headers.
    ResponseHeaders(HeaderEdits),
    /// Rewrites host and path towards the upstream.
    Rewrite(UrlRewrite),
}

/// Header edits, applied in the order remove, set, add.
///
/// Setting `host` or `:authority` rewrites the authority.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct HeaderEdits {
    /// Names to remove, lower case.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub remove: Vec<String>,
    /// Fields that replace all of the same name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub set: Vec<HeaderEdit>,
    /// Values appended to the field of that name as `old,new`, or a new field.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub add: Vec<HeaderEdit>,
}

/// One field to set or add.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct HeaderEdit {
    /// Field name, lower case.
    pub name: String,
    /// Field value.
    pub value: HeaderValue,
}

/// The value of a [`HeaderEdit`].
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum HeaderValue {
    /// Envoy's substitution format, e.g. `%DOWNSTREAM_REMOTE_ADDRESS%`, as Istio passes it on.
    Format(String),
    /// As written.
    Literal(String),
}

/// Rewrites host and path towards the upstream.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct UrlRewrite {
    /// New authority; absent leaves it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<HostRewrite>,
    /// New path; absent leaves it. The query is always kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<PathRewrite>,
}

/// The new authority.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum HostRewrite {
    /// This authority.
    Literal(String),
}

/// The new path.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum PathRewrite {
    /// The whole path becomes this.
    Full(String),
    /// Replaces the matched segment prefix with slashes joined as the Gateway API says:
    /// `/foo` → `/` turns `/foo/bar` into `/bar` and `/foo` into `/`.
    Prefix(String),
    /// Replaces what the regular expression matches; `\1` refers to groups.
    Regex {
        /// RE2 expression, searched in the path.
        pattern: String,
        /// Replacement with `\N` groups.
        substitution: String,
    },
    /// Replaces the matched raw string prefix by plain concatenation, as Envoy does.
    StringPrefix(String),
}
