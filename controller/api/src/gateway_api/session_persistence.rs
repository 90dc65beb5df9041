//! Session persistence (experimental).

use crate::Duration;
use serde::{Deserialize, Serialize};

/// Keeps a client on one endpoint of a backend.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SessionPersistence {
    /// What carries the session; absent means a cookie.
    #[serde(rename = "type", default, skip_serializing_if = "Option::is_none")]
    pub persistence_type: Option<SessionPersistenceType>,
    /// Longest life of a session, a GEP-2257 duration.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub absolute_timeout: Option<Duration>,
    /// The cookie.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cookie: Option<CookieConfig>,
    /// The header.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub header: Option<HeaderConfig>,
}

open_enum! {
    /// What carries a session.
    pub enum SessionPersistenceType {
        /// A cookie.
        Cookie = "Cookie",
        /// A header.
        Header = "Header",
    }
}

/// The cookie that carries a session.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct CookieConfig {
    /// Name; absent means one that the implementation chooses.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Path; absent means `/`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// How long clients keep it; absent means for their session.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lifetime_type: Option<CookieLifetime>,
}

open_enum! {
    /// How long clients keep a cookie.
    pub enum CookieLifetime {
        /// Until the session's absolute timeout.
        Permanent = "Permanent",
        /// As long as they run.
        Session = "Session",
    }
}

/// The header that carries a session.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct HeaderConfig {
    /// Name.
    pub name: String,
}
