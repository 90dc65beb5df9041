//! The admin interface, metrics and readiness: three small HTTP servers on the control runtime.
//!
//! Shapes and names are Envoy's where Envoy has them, so that `istioctl`, Kiali and runbooks work.
//! Nothing here shows a private key, and nothing changes state without POST.

mod certs;
mod clusters;
mod dump;
mod guard;
mod listeners;
mod pages;
mod server;
mod stats;

use crate::{
    cluster::Clusters,
    compile::InService,
    telemetry::{Metrics, Telemetry},
};
use gwanmun_ir::{ListenerKey, ListenerState, Rejection, Resource};
use pages::Pages;
use server::Handler;
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

impl AdminRequest {
    /// The first query parameter of this name.
    pub fn parameter(&self, name: &str) -> Option<&str> {
        self.query
            .iter()
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.as_str())
    }
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

impl AdminResponse {
    /// Plain text.
    pub fn text(status: u16, body: impl Into<String>) -> Self {
        Self {
            status,
            content_type: "text/plain; charset=UTF-8",
            body: body.into().into_bytes(),
        }
    }

    /// JSON with status 200, indented.
    pub fn json(value: &serde_json::Value) -> Self {
        let mut body = format!("{value:#}").into_bytes();
        body.push(b'\n');
        Self {
            status: 200,
            content_type: "application/json",
            body,
        }
    }
}

/// Admin paths of the embedding program, asked before the built-in ones: an answer, or nothing
/// for paths it does not know. `/logging` is always its job.
pub type ExtraAdmin = Arc<dyn Fn(&AdminRequest) -> Option<AdminResponse> + Send + Sync>;

/// What the admin interface shows and does. Called on threads where waiting for a lock is fine.
pub(crate) trait Subject: Send + Sync + 'static {
    /// Epoch of the current snapshot.
    fn epoch(&self) -> u64;
    /// The resources that are served, in key order.
    fn resources(&self) -> Vec<Arc<Resource>>;
    /// The clusters that are served.
    fn clusters(&self) -> Clusters;
    /// The certificates and trust anchors in service.
    fn certificates(&self) -> Vec<InService>;
    /// What is not used as it is, or ends soon.
    fn rejected(&self) -> Vec<Rejection>;
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
    let (clusters, certificates) = (Arc::clone(&subject), Arc::clone(&subject));
    let metrics = Metrics::new(
        telemetry,
        Arc::new(move || clusters.clusters()),
        Arc::new(move || certificates.certificates()),
    );
    let pages = Arc::new(Pages {
        subject,
        metrics,
        config: config.clone(),
        started: std::time::Instant::now(),
    });
    let start = |address: Option<SocketAddr>, purpose, handler: Handler| {
        let Some(address) = address else {
            return Ok(None);
        };
        server::start(address, control, handler)
            .map(Some)
            .map_err(|source| BindError {
                address,
                purpose,
                source,
            })
    };
    let for_metrics = Arc::clone(&pages);
    let for_health = Arc::clone(&pages);
    Ok(Bound {
        admin: start(
            config.admin,
            "admin",
            Arc::new(move |request, headers| {
                guard::check(request, headers).unwrap_or_else(|| pages.admin(request))
            }),
        )?,
        metrics: start(
            config.metrics,
            "metrics",
            Arc::new(move |request, _| for_metrics.metrics(request)),
        )?,
        health: start(
            config.health,
            "health",
            Arc::new(move |request, _| for_health.health(request)),
        )?,
    })
}

#[cfg(test)]
mod tests;
