//! Clusters and endpoints.

use crate::{ClusterKey, SecretKey, SourceRef};
use serde::{Deserialize, Serialize};
use std::net::SocketAddr;

/// Interchangeable endpoints and how to talk to them. One per backend port and policy, never
/// per route, so that health, outlier state and pools are shared.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Cluster {
    /// Key of this resource.
    pub key: ClusterKey,
    /// What access log and metrics call it: `outbound|PORT|SUBSET|HOST`.
    pub name: String,
    /// How endpoints are found.
    pub discovery: Discovery,
    /// How one is chosen.
    pub balancing: LoadBalancing,
    /// What of a request or connection consistent hashing looks at; absent where `balancing` does
    /// not hash. A request without it goes to any endpoint.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hash: Option<HashKey>,
    /// How endpoints that were just added get their share little by little; absent means at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub warmup: Option<Warmup>,
    /// What is spoken to them.
    pub protocol: UpstreamProtocol,
    /// Longest time to connect, TLS included, in milliseconds.
    pub connect_timeout_ms: u64,
    /// Longest time an unused connection is kept, in milliseconds.
    pub idle_timeout_ms: u64,
    /// Longest life of a connection, in milliseconds: then it takes no more requests; absent means
    /// unlimited.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_connection_duration_ms: Option<u64>,
    /// TCP keepalive; absent means that the gateway's own is used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keepalive: Option<TcpKeepalive>,
    /// HTTP/2 PING on connections; absent means none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub http2_keepalive: Option<Http2Keepalive>,
    /// TLS towards the endpoints; absent means plaintext.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<UpstreamTls>,
    /// Which version of the PROXY protocol connections begin with; absent means none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proxy_protocol: Option<ProxyProtocolVersion>,
    /// Limits; absent fields mean unlimited.
    #[serde(default)]
    pub limits: CircuitBreakers,
    /// Ejection of failing endpoints; absent means never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outlier: Option<OutlierDetection>,
    /// What metrics say about the destination.
    pub identity: ClusterIdentity,
    /// The policy object applied, e.g. a DestinationRule; for `gwanmun config clusters`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy: Option<SourceRef>,
    /// The user object it came from.
    pub source: SourceRef,
}

/// What metrics say about a destination; empty text means `unknown`.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ClusterIdentity {
    /// Fully qualified service name, or the host of a ServiceEntry.
    pub service: String,
    /// Short service name.
    pub service_name: String,
    /// Namespace of the service.
    pub service_namespace: String,
}

/// How a [`Cluster`] finds its endpoints.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Discovery {
    /// By resolving these names again and again.
    Dns {
        /// The names.
        hosts: Vec<DnsHost>,
        /// What an answer means.
        mode: DnsMode,
    },
    /// From the [`EndpointSet`] of the same key.
    Endpoints,
}

/// A name to resolve, or an address, with a port.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct DnsHost {
    /// DNS name or IP address.
    pub host: String,
    /// Port.
    pub port: u16,
    /// Share of load among the hosts; 0 counts as 1.
    pub weight: u32,
}

/// What a DNS answer means.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum DnsMode {
    /// New connections use the first address (Istio's DNS_ROUND_ROBIN).
    Logical,
    /// Every address is an endpoint (Istio's DNS).
    Strict,
}

/// How a [`Cluster`] chooses an endpoint.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum LoadBalancing {
    /// The less busy of two random ones.
    LeastRequest,
    /// By [`Cluster::hash`], with Google's Maglev table: the most even, and moves a few more than
    /// necessary when endpoints change.
    Maglev {
        /// Entries of the table, a prime number.
        table_size: u32,
    },
    /// Any.
    Random,
    /// By [`Cluster::hash`], with a ring: moves as few as possible when endpoints change.
    RingHash {
        /// Fewest points on the ring.
        minimum_size: u32,
    },
    /// In turn.
    RoundRobin,
}

/// What of a request consistent hashing looks at. Connections of TCP have only the source address.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub enum HashKey {
    /// A cookie's value.
    Cookie(HashCookie),
    /// The values of this header (lower case).
    Header(String),
    /// The first value of this query parameter.
    Query(String),
    /// The client's address, without its port.
    SourceIp,
}

/// A cookie that keeps a client with one endpoint.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct HashCookie {
    /// Name of the cookie.
    pub name: String,
    /// Path that a generated cookie is for; empty means that it says none.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub path: String,
    /// A request without the cookie gets one that lives this long, in seconds, 0 for as long as
    /// the client's session; absent means that none is generated.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ttl_seconds: Option<u64>,
    /// Further attributes of a generated cookie, e.g. `("SameSite", "Strict")`; empty values stand
    /// alone.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub attributes: Vec<(String, String)>,
}

/// How the share of an endpoint grows after it was added (Envoy's slow start).
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Warmup {
    /// Time until it has its full share, milliseconds.
    pub duration_ms: u64,
    /// Share it begins with, percent of its full one.
    pub minimum_percent: u32,
    /// Exponent of growth, in thousandths: the share is `(time / duration)^(1000 / aggression)`;
    /// 1000 is linear.
    pub aggression_permille: u32,
}

/// When TCP asks whether a peer that says nothing is still there.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TcpKeepalive {
    /// Unanswered questions after which the connection is given up; absent means the system's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub probes: Option<u32>,
    /// Silence before the first question, seconds; absent means the system's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time_seconds: Option<u32>,
    /// Time between questions, seconds; absent means the system's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interval_seconds: Option<u32>,
}

/// When an HTTP/2 peer is asked whether it is still there.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Http2Keepalive {
    /// Time between PING frames, milliseconds.
    pub interval_ms: u64,
    /// Longest wait for the answer to one, milliseconds.
    pub timeout_ms: u64,
}

/// What is spoken to the endpoints of a [`Cluster`].
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum UpstreamProtocol {
    /// HTTP/2 for a client that speaks it, else HTTP/1.1 (Istio's `useClientProtocol`).
    Client,
    /// HTTP/1.1.
    Http1,
    /// HTTP/2, in plaintext by prior knowledge.
    Http2,
}

/// A version of the [PROXY protocol].
///
/// [PROXY protocol]: https://www.haproxy.org/download/3.0/doc/proxy-protocol.txt
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum ProxyProtocolVersion {
    /// One line of text.
    V1,
    /// Binary.
    V2,
}

/// TLS towards endpoints.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct UpstreamTls {
    /// Which name is asked for.
    pub sni: Sni,
    /// How the endpoint's certificate is verified.
    pub verification: Verification,
    /// Names of which the certificate must have one; empty means the SNI's. Entries with
    /// `://` are URIs.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub subject_alt_names: Vec<String>,
    /// Our certificate; a key that names nothing fails the cluster's connections.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_certificate: Option<SecretKey>,
}

/// The server name of upstream TLS.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Sni {
    /// The request's host.
    FromHost,
    /// This name.
    Name(String),
}

/// How an endpoint's certificate is verified.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Verification {
    /// Against these trust anchors; a key that names nothing fails the cluster's connections.
    Anchors(SecretKey),
    /// Not at all.
    InsecureSkip,
    /// Against the system's trust anchors.
    System,
}

/// Limits of a [`Cluster`] in one gateway process.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CircuitBreakers {
    /// Connections.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_connections: Option<u32>,
    /// Requests waiting for a connection.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_pending_requests: Option<u32>,
    /// Requests at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_requests: Option<u32>,
    /// Retries at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_retries: Option<u32>,
    /// Requests after which a connection is closed; absent or 0 means never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_requests_per_connection: Option<u32>,
    /// Requests at once on one HTTP/2 connection; absent means the gateway's own limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_concurrent_streams: Option<u32>,
}

/// Passive health checking of a [`Cluster`].
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct OutlierDetection {
    /// Consecutive 5xx answers or failures before ejection; 0 disables.
    pub consecutive_5xx: u32,
    /// Consecutive 502, 503, 504 or failures before ejection; 0 disables.
    pub consecutive_gateway_errors: u32,
    /// Time between sweeps, milliseconds.
    pub interval_ms: u64,
    /// Ejection time, multiplied by how often the endpoint was ejected, milliseconds.
    pub base_ejection_ms: u64,
    /// Largest share of ejected endpoints, percent.
    pub max_ejection_percent: u32,
    /// Consecutive failures without an answer (connect failures, resets, time-outs) before
    /// ejection, counted apart from answers, which then alone count for the two above; 0 disables.
    /// Absent means that such failures count as 5xx and gateway errors.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub consecutive_local_failures: Option<u32>,
    /// Smallest share of available endpoints, percent: below it, unhealthy and ejected ones are
    /// chosen like the others. 0 disables.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub min_health_percent: u32,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
fn is_zero(number: &u32) -> bool {
    *number == 0
}

/// The endpoints of a cluster. Changes most often, so it is its own resource.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct EndpointSet {
    /// The cluster, and key of this resource.
    pub cluster: ClusterKey,
    /// The endpoints, sorted by address, each address once.
    pub endpoints: Vec<Endpoint>,
}

/// One endpoint.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Endpoint {
    /// Address and port.
    pub address: SocketAddr,
    /// Share of load; 0 counts as 1.
    pub weight: u32,
    /// Whether it may be chosen.
    pub health: EndpointHealth,
    /// What metrics say about it.
    #[serde(default)]
    pub identity: EndpointIdentity,
}

/// Whether an [`Endpoint`] may be chosen.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum EndpointHealth {
    /// It is terminating and still serves: chosen only when nothing healthy is left.
    Draining,
    /// Ready.
    Healthy,
    /// Not ready: never chosen.
    Unhealthy,
}

/// What metrics say about an endpoint; empty text means `unknown`.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct EndpointIdentity {
    /// Workload (Deployment) name.
    pub workload: String,
    /// Namespace of the workload.
    pub namespace: String,
    /// Canonical service, or label `app`.
    pub app: String,
    /// Canonical revision, or label `version`.
    pub version: String,
}
