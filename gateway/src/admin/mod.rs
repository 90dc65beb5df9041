//! The admin interface.

use std::sync::Arc;

/// A request to the admin interface.
#[derive(Clone, Debug)]
pub struct AdminRequest {
    /// Method.
    pub method: String,
    /// Path, without query.
    pub path: String,
    /// Query parameters, percent-decoded, in order.
    pub query: Vec<(String, String)>,
}

/// The answer to an [`AdminRequest`].
#[derive(Clone, Debug)]
pub struct AdminResponse {
    /// HTTP status.
    pub status: u16,
    /// Content type.
    pub content_type: &'static str,
    /// Body.
    pub body: Vec<u8>,
}

/// Admin paths of the embedding program: an answer, or nothing for paths it does not know.
pub type ExtraAdmin = Arc<dyn Fn(&AdminRequest) -> Option<AdminResponse> + Send + Sync>;
