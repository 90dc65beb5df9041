//! The admin interface, metrics and readiness: three small HTTP servers on the control runtime.

use crate::{cluster::Clusters, telemetry::Telemetry};
use gwanmun_ir::{ListenerKey, ListenerState, Resource};
use std::{io, net::SocketAddr, sync::Arc};

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

/// Admin paths of the embedding program, asked before the built-in ones: an answer, or nothing
/// for paths it does not know. `/logging` is always its job.
pub type ExtraAdmin = Arc<dyn Fn(&AdminRequest) -> Option<AdminResponse> + Send + Sync>;

/// What the admin interface shows and does.
pub(crate) trait Subject: Send + Sync + 'static {
    /// Epoch of the current snapshot.
    fn epoch(&self) -> u64;
    /// The resources that are served, in key order.
    fn resources(&self) -> Vec<Arc<Resource>>;
    /// The clusters that are served.
    fn clusters(&self) -> Clusters;
    /// Every listener, whether it is bound, and where.
    fn listeners(&self) -> Vec<(ListenerKey, ListenerState, Option<SocketAddr>)>;
    /// Why the gateway is not ready, in one sentence.
    fn readiness(&self) -> Result<(), String>;
    /// `/explain`: the JSON of interfaces.md, or what is wrong with the question.
    fn explain(&self, request: &AdminRequest) -> Result<serde_json::Value, String>;
    /// Stop accepting connections.
    fn drain_listeners(&self);
    /// End the process in good order.
    fn quit(&self);
    /// The embedding program's paths.
    fn extra(&self) -> Option<ExtraAdmin>;
}

/// Where the three servers are bound.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Bound {
    /// Admin.
    pub(crate) admin: Option<SocketAddr>,
    /// Metrics.
    pub(crate) metrics: Option<SocketAddr>,
    /// Readiness.
    pub(crate) health: Option<SocketAddr>,
}

/// An address of the admin interface cannot be bound.
#[derive(Debug)]
pub(crate) struct BindError {
    /// The address.
    pub(crate) address: SocketAddr,
    /// `admin`, `metrics` or `health`.
    pub(crate) purpose: &'static str,
    /// Why.
    pub(crate) source: io::Error,
}

/// Binds the three servers of `config` and serves them on `control`.
///
/// # Errors
///
/// [`BindError`] for the first address that cannot be bound.
pub(crate) fn serve(
    config: &crate::Config,
    control: &tokio::runtime::Handle,
    telemetry: Arc<Telemetry>,
    subject: Arc<dyn Subject>,
) -> Result<Bound, BindError> {
    let _ = (config, control, telemetry, subject);
    Ok(Bound::default())
}
