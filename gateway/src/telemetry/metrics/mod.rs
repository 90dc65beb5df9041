//! What Prometheus scrapes: read from the workers' counters when it asks.

mod certificates;
mod envoy;
mod family;
mod gwanmun;
mod istio;
mod tcp;

use super::Telemetry;
use crate::{cluster::Clusters, compile::InService};
use prometheus::{Registry, TextEncoder, proto::MetricFamily};
use std::sync::Arc;

/// Where the collectors find the clusters that are served.
pub(crate) type ClusterSource = Arc<dyn Fn() -> Clusters + Send + Sync>;

/// Where the collectors find the certificates in service.
pub(crate) type CertificateSource = Arc<dyn Fn() -> Vec<InService> + Send + Sync>;

/// All metrics of the process.
pub(crate) struct Metrics {
    registry: Registry,
}

impl Metrics {
    /// Metrics of `telemetry`, of the clusters that `clusters` gives, and of the certificates that
    /// `certificates` gives.
    pub(crate) fn new(
        telemetry: Arc<Telemetry>,
        clusters: ClusterSource,
        certificates: CertificateSource,
    ) -> Self {
        let registry = Registry::new();
        if let Err(error) = register(&registry, telemetry, clusters, certificates) {
            tracing::error!(%error, "some metrics cannot be collected");
        }
        Self { registry }
    }

    /// All metrics, sorted by name and labels.
    pub(crate) fn gather(&self) -> Vec<MetricFamily> {
        self.registry.gather()
    }

    /// All metrics in Prometheus' text format.
    pub(crate) fn text(&self) -> String {
        TextEncoder::new()
            .encode_to_string(&self.gather())
            .unwrap_or_else(|error| format!("# {error}\n"))
    }
}

/// Fails when two collectors describe the same metric, which tests would find.
fn register(
    registry: &Registry,
    telemetry: Arc<Telemetry>,
    clusters: ClusterSource,
    certificates: CertificateSource,
) -> prometheus::Result<()> {
    registry.register(Box::new(certificates::Certificates::new(certificates)?))?;
    registry.register(Box::new(gwanmun::Process::new(Arc::clone(&telemetry))?))?;
    registry.register(Box::new(istio::Requests::new(Arc::clone(&telemetry))?))?;
    registry.register(Box::new(tcp::Bytes::new(Arc::clone(&telemetry))?))?;
    registry.register(Box::new(envoy::Listeners::new(Arc::clone(&telemetry))?))?;
    registry.register(Box::new(envoy::Clusters::new(telemetry, clusters)?))
}

#[cfg(test)]
mod tests;
