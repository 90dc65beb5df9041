//! Backends: a Service or ServiceEntry port becomes one cluster with its endpoints, for both APIs.

mod endpoints;
mod entries;
mod identity;
mod registry;

use crate::{Options, Store, istio::destination_rule, names, output::Sink};
use endpoints::{Selected, Selection};
use gwanmun_api::{Object, ObjectKey};
use gwanmun_ir::{
    CircuitBreakers, Cluster, ClusterIdentity, ClusterKey, Discovery, EndpointSet, HashKey,
    Http2Keepalive, Key, LoadBalancing, OutlierDetection, ProxyProtocolVersion, Resource,
    SourceRef, TcpKeepalive, Transport, UpstreamProtocol, UpstreamTls, Warmup,
};
use registry::Destination;
use std::collections::BTreeMap;

/// A backend that a route names.
#[derive(Clone, Debug)]
pub(crate) struct BackendRequest<'a> {
    /// Fully qualified host: of a Service ([`names::service_host`]), or of a ServiceEntry, exactly
    /// as it is written there, wildcards included. A Service wins over a ServiceEntry.
    pub(crate) host: &'a str,
    /// Namespace of the gateway workload that asks ([`Options::namespace`]): `exportTo` and the
    /// lookup of DestinationRules go by it.
    pub(crate) client_namespace: &'a str,
    /// Port of the Service or ServiceEntry. `None`: its only port.
    pub(crate) port: Option<u16>,
    /// Subset of the DestinationRule; empty for none.
    pub(crate) subset: &'a str,
    /// Whether the route itself requires HTTP/2 (GRPCRoute).
    pub(crate) require_http2: bool,
    /// What the port must carry: a Service may have one number for both.
    pub(crate) transport: Transport,
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
    /// The port is of another transport.
    #[error("port {port} of `{host}` is {protocol}, not {wanted}")]
    UnsupportedProtocol {
        /// The host.
        host: String,
        /// The port.
        port: u16,
        /// Its protocol.
        protocol: String,
        /// The protocol that is wanted.
        wanted: &'static str,
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
    /// Namespace of the gateway workload that asks.
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
    /// What is hashed.
    pub(crate) hash: Option<HashKey>,
    /// How new endpoints get their share.
    pub(crate) warmup: Option<Warmup>,
    /// HTTP/2 PING.
    pub(crate) http2_keepalive: Option<Http2Keepalive>,
    /// 10,000 by default.
    pub(crate) connect_timeout_ms: Option<u64>,
    /// 3,600,000 by default.
    pub(crate) idle_timeout_ms: Option<u64>,
    /// Limits.
    pub(crate) limits: CircuitBreakers,
    /// Ejection of failing endpoints.
    pub(crate) outlier: Option<OutlierDetection>,
    /// Longest time without a byte of a connection that is forwarded as bytes, in milliseconds; 0
    /// means unlimited. 3,600,000 by default.
    pub(crate) tcp_idle_timeout_ms: Option<u64>,
    /// Longest life of a connection, in milliseconds.
    pub(crate) max_connection_duration_ms: Option<u64>,
    /// TCP keepalive.
    pub(crate) keepalive: Option<TcpKeepalive>,
    /// Which version of the PROXY protocol connections begin with.
    pub(crate) proxy_protocol: Option<ProxyProtocolVersion>,
    /// TLS towards the endpoints. `Secret`s it names are emitted by whoever fills this.
    pub(crate) tls: Option<UpstreamTls>,
    /// What to speak in place of what the port says: `h2UpgradePolicy: UPGRADE` is `Http2`,
    /// `useClientProtocol` is `Client`.
    pub(crate) protocol: Option<UpstreamProtocol>,
    /// The DestinationRule.
    pub(crate) source: Option<SourceRef>,
}

/// What was resolved already: routes name the same backends again and again.
#[derive(Debug, Default)]
pub(crate) struct Resolved {
    clusters: BTreeMap<ResolvedKey, Result<ClusterKey, BackendError>>,
    /// What policies say about connections that are forwarded as bytes.
    tcp_idle_timeouts_ms: BTreeMap<ClusterKey, u64>,
}

/// Longest time without a byte of a connection that is forwarded as bytes, unless a policy says
/// otherwise, in milliseconds.
pub(crate) const TCP_IDLE_TIMEOUT_MS: u64 = 3_600_000;

/// What the policy of a cluster that [`cluster`] resolved says about the longest time without a
/// byte of connections that are forwarded as bytes, in milliseconds; 0 means unlimited.
pub(crate) fn tcp_idle_timeout_ms(sink: &Sink, cluster: &ClusterKey) -> Option<u64> {
    sink.resolved.tcp_idle_timeouts_ms.get(cluster).copied()
}

/// All of a [`BackendRequest`]; TLS by its suffix.
type ResolvedKey = (
    String,
    String,
    (Option<u16>, Transport),
    String,
    bool,
    Option<String>,
);

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
    let key = (
        request.host.to_owned(),
        request.client_namespace.to_owned(),
        (request.port, request.transport),
        request.subset.to_owned(),
        request.require_http2,
        request.tls.as_ref().map(|(_, suffix)| (*suffix).to_owned()),
    );
    if let Some(known) = sink.resolved.clusters.get(&key) {
        return known.clone();
    }
    let result = resolve(store, options, sink, request);
    sink.resolved.clusters.insert(key, result.clone());
    result
}

/// The object that decides what a backend is, and the name of the port.
///
/// # Errors
/// When it does not exist.
pub(crate) fn decides(
    store: &Store,
    options: &Options,
    request: &BackendRequest<'_>,
) -> Result<(ObjectKey, String), BackendError> {
    let destination = registry::resolve(store, options, request)?;
    Ok((destination.object().key(), destination.port.name.clone()))
}

fn resolve(
    store: &Store,
    options: &Options,
    sink: &mut Sink,
    request: &BackendRequest<'_>,
) -> Result<ClusterKey, BackendError> {
    let destination = registry::resolve(store, options, request)?;
    let query = PolicyQuery {
        host: &destination.host,
        service_namespace: destination.namespace(),
        client_namespace: request.client_namespace,
        port: destination.port.number,
        subset: request.subset,
    };
    let Some(policy) = destination_rule::policy_for(store, options, sink, &query) else {
        return Err(BackendError::SubsetNotFound {
            host: destination.host,
            subset: request.subset.to_owned(),
        });
    };
    let identity = identify(request, &destination, &policy);
    let (key, taken) = claim(sink, &identity, request.client_namespace);
    if taken {
        return Ok(key);
    }
    if let Some(idle) = policy.tcp_idle_timeout_ms {
        let timeouts = &mut sink.resolved.tcp_idle_timeouts_ms;
        timeouts.insert(key.clone(), idle);
    }
    let selection = Selection {
        store,
        destination: &destination,
        subset: request.subset,
        labels: &policy.subset_labels,
        transport: request.transport,
    };
    let discovery = match selection.select(sink) {
        Selected::Dns { hosts, mode } => Discovery::Dns { hosts, mode },
        Selected::Endpoints(endpoints) => {
            sink.resource(Resource::Endpoints(EndpointSet {
                cluster: key.clone(),
                endpoints,
            }));
            Discovery::Endpoints
        }
    };
    let cluster = build(
        key.clone(),
        identity,
        discovery,
        (request, &destination, policy),
    );
    sink.resource(Resource::Cluster(Box::new(cluster)));
    Ok(key)
}

/// What makes a cluster a different one.
struct Identity {
    /// Its name, which variants share.
    name: String,
    /// Its key, unless another client's view of the same backend has it.
    key: String,
    protocol: UpstreamProtocol,
    source: SourceRef,
    policy: Option<SourceRef>,
}

fn identify(
    request: &BackendRequest<'_>,
    destination: &Destination<'_>,
    policy: &ClusterPolicy,
) -> Identity {
    let name = names::cluster(destination.port.number, request.subset, &destination.host);
    let mut key = name.clone();
    let mut protocol = policy.protocol.unwrap_or(destination.port.protocol);
    if request.require_http2 && protocol != UpstreamProtocol::Http2 {
        key.push_str(";h2");
        protocol = UpstreamProtocol::Http2;
    }
    if request.transport == Transport::Udp {
        key.push_str(";udp");
    }
    if let Some((_, suffix)) = &request.tls {
        key.push_str(";tls=");
        key.push_str(suffix);
    }
    Identity {
        name,
        key,
        protocol,
        source: source_ref(destination.object()),
        policy: policy.source.clone(),
    }
}

/// The key for a cluster, and whether it is there already. Clients of different namespaces may
/// see different ServiceEntries and DestinationRules for the same host: the first one has the
/// plain key.
fn claim(sink: &Sink, identity: &Identity, client_namespace: &str) -> (ClusterKey, bool) {
    let key = ClusterKey::new(identity.key.as_str());
    match sink.get(&Key::Cluster(key.clone())) {
        None => (key, false),
        Some(Resource::Cluster(cluster))
            if cluster.source == identity.source && cluster.policy == identity.policy =>
        {
            (key, true)
        }
        Some(_) => {
            let key = ClusterKey::new(format!("{};client={client_namespace}", identity.key));
            let taken = sink.get(&Key::Cluster(key.clone())).is_some();
            (key, taken)
        }
    }
}

/// Longest time to connect, unless a policy says otherwise.
const CONNECT_TIMEOUT_MS: u64 = 10_000;
/// Longest time an unused connection is kept, unless a policy says otherwise.
const IDLE_TIMEOUT_MS: u64 = 3_600_000;

fn build(
    key: ClusterKey,
    identity: Identity,
    discovery: Discovery,
    parts: (&BackendRequest<'_>, &Destination<'_>, ClusterPolicy),
) -> Cluster {
    let (request, destination, policy) = parts;
    let tls = match &request.tls {
        Some((tls, _)) => Some(tls.clone()),
        // There is none for datagrams.
        None if request.transport == Transport::Udp => None,
        // A name that the registry has is for those who name none.
        None => policy.tls.map(|mut tls| {
            if tls.subject_alt_names.is_empty() {
                tls.subject_alt_names = destination.subject_alt_names();
            }
            tls
        }),
    };
    Cluster {
        hash: policy.hash,
        warmup: policy.warmup,
        max_connection_duration_ms: policy.max_connection_duration_ms,
        keepalive: policy.keepalive,
        http2_keepalive: policy.http2_keepalive,
        proxy_protocol: policy.proxy_protocol,
        key,
        name: identity.name,
        discovery,
        balancing: policy.balancing.unwrap_or(LoadBalancing::LeastRequest),
        protocol: identity.protocol,
        connect_timeout_ms: policy.connect_timeout_ms.unwrap_or(CONNECT_TIMEOUT_MS),
        idle_timeout_ms: policy.idle_timeout_ms.unwrap_or(IDLE_TIMEOUT_MS),
        tls,
        limits: policy.limits,
        outlier: policy.outlier,
        identity: ClusterIdentity {
            service: destination.host.clone(),
            service_name: destination.service_name().to_owned(),
            service_namespace: destination.namespace().to_owned(),
        },
        policy: identity.policy,
        source: identity.source,
    }
}

/// The object as configuration names it.
pub(crate) fn source_ref(object: &Object) -> SourceRef {
    SourceRef {
        kind: object.kind().kind().to_owned(),
        namespace: object.meta.namespace.clone(),
        name: object.meta.name.clone(),
        section: String::new(),
    }
}

#[cfg(test)]
mod tests;
