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
    /// What is spoken to them.
    pub protocol: UpstreamProtocol,
    /// Longest time to connect, TLS included, in milliseconds.
    pub connect_timeout_ms: u64,
    /// Longest time an unused connection is kept, in milliseconds.
    pub idle_timeout_ms: u64,
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
#[serde(rename_all = "camelCase")]
pub enum LoadBalancing {
    /// The less busy of two random ones.
    LeastRequest,
    /// Any.
    Random,
    /// In turn.
    RoundRobin,
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
