//! [DestinationRule](https://istio.io/latest/docs/reference/config/networking/destination-rule/):
//! how a service is talked to once it was chosen.

use super::{
    LabelSelector, LocalityLoadBalancerSetting, PortSelector, TcpKeepalive,
    ZoneAwareLoadBalancerSetting,
};
use crate::{Fixed, ProtoDuration};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Policies for the traffic to a service.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct DestinationRule {
    /// What is wanted; the schema does not require it.
    pub spec: Option<DestinationRuleSpec>,
}

/// What a [`DestinationRule`] wants.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct DestinationRuleSpec {
    /// Service or ServiceEntry host, wildcards allowed. Required.
    pub host: String,
    /// Policy for all of it.
    pub traffic_policy: Option<TrafficPolicy>,
    /// Named parts of it.
    pub subsets: Vec<Subset>,
    /// Namespaces that see this object: `*`, `.`, `~` or names; empty follows the mesh.
    pub export_to: Vec<String>,
    /// Clients this applies to; absent means all.
    pub workload_selector: Option<LabelSelector>,
}

/// Endpoints with certain labels.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Subset {
    /// Name. Required.
    pub name: String,
    /// Labels of the endpoints.
    pub labels: BTreeMap<String, String>,
    /// Policy, replacing the rule's block by block.
    pub traffic_policy: Option<TrafficPolicy>,
}

/// How a service is talked to.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct TrafficPolicy {
    /// How an endpoint is chosen.
    pub load_balancer: Option<LoadBalancerSettings>,
    /// Limits and timeouts of connections.
    pub connection_pool: Option<ConnectionPoolSettings>,
    /// Ejection of failing endpoints.
    pub outlier_detection: Option<OutlierDetection>,
    /// TLS towards endpoints.
    pub tls: Option<ClientTlsSettings>,
    /// Policies of single ports, replacing all of this one.
    pub port_level_settings: Vec<PortTrafficPolicy>,
    /// Tunnelling through a proxy.
    pub tunnel: Option<TunnelSettings>,
    /// PROXY protocol towards endpoints.
    pub proxy_protocol: Option<ProxyProtocol>,
    /// Limit of concurrent retries.
    pub retry_budget: Option<RetryBudget>,
}

/// The policy of one port.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PortTrafficPolicy {
    /// Port of the service.
    pub port: Option<PortSelector>,
    /// How an endpoint is chosen.
    pub load_balancer: Option<LoadBalancerSettings>,
    /// Limits and timeouts of connections.
    pub connection_pool: Option<ConnectionPoolSettings>,
    /// Ejection of failing endpoints.
    pub outlier_detection: Option<OutlierDetection>,
    /// TLS towards endpoints.
    pub tls: Option<ClientTlsSettings>,
}

/// How an endpoint is chosen.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct LoadBalancerSettings {
    /// A method without parameters; excludes `consistentHash`.
    pub simple: Option<SimpleLb>,
    /// By a hash of the request.
    pub consistent_hash: Option<ConsistentHashLb>,
    /// Preference for near endpoints.
    pub locality_lb_setting: Option<LocalityLoadBalancerSetting>,
    /// Preference for endpoints of the same zone.
    pub zone_aware_lb_setting: Option<ZoneAwareLoadBalancerSetting>,
    /// Superseded by `warmup`.
    pub warmup_duration_secs: Option<ProtoDuration>,
    /// Less traffic for new endpoints.
    pub warmup: Option<WarmupConfiguration>,
}

crate::open_enum! {
    /// A load balancing method without parameters.
    pub enum SimpleLb {
        /// The default: [`SimpleLb::LeastRequest`].
        Unspecified = "UNSPECIFIED",
        /// Old name of [`SimpleLb::LeastRequest`].
        LeastConn = "LEAST_CONN",
        /// Any.
        Random = "RANDOM",
        /// The address the client asked for; unusable at a gateway.
        Passthrough = "PASSTHROUGH",
        /// In turn.
        RoundRobin = "ROUND_ROBIN",
        /// The less busy of two random ones.
        LeastRequest = "LEAST_REQUEST",
    }
}

/// A hash of the request; one key and one algorithm.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ConsistentHashLb {
    /// Key: this header.
    pub http_header_name: Option<String>,
    /// Key: this cookie.
    pub http_cookie: Option<HttpCookie>,
    /// Key: the client's address.
    pub use_source_ip: Option<bool>,
    /// Key: this query parameter.
    pub http_query_parameter_name: Option<String>,
    /// Algorithm: ring hash; the default.
    pub ring_hash: Option<RingHash>,
    /// Algorithm: Maglev.
    pub maglev: Option<Maglev>,
    /// Superseded by `ringHash.minimumRingSize`.
    pub minimum_ring_size: Option<u64>,
}

/// A cookie, made when it is missing.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct HttpCookie {
    /// Name. Required.
    pub name: String,
    /// Path of a made cookie.
    pub path: Option<String>,
    /// Lifetime of a made cookie; `0s` means session, absent means none is made.
    pub ttl: Option<ProtoDuration>,
    /// Further attributes of a made cookie.
    pub attributes: Vec<CookieAttribute>,
}

/// An attribute of a cookie.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct CookieAttribute {
    /// Name. Required.
    pub name: String,
    /// Value.
    pub value: Option<String>,
}

/// Ring hash parameters.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct RingHash {
    /// Smallest number of points; absent means 1024.
    pub minimum_ring_size: Option<u64>,
}

/// Maglev parameters.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Maglev {
    /// Table size, a prime; absent means 65537.
    pub table_size: Option<u64>,
}

/// Less traffic for new endpoints.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct WarmupConfiguration {
    /// How long. Required.
    pub duration: Option<ProtoDuration>,
    /// Share to begin with; absent means 10.
    pub minimum_percent: Option<Fixed>,
    /// Shape of the increase; absent means 1, linear.
    pub aggression: Option<Fixed>,
}

/// Limits and timeouts of connections.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ConnectionPoolSettings {
    /// All connections.
    pub tcp: Option<TcpSettings>,
    /// HTTP connections.
    pub http: Option<HttpSettings>,
}

/// Limits and timeouts of all connections.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct TcpSettings {
    /// Most connections.
    pub max_connections: Option<i32>,
    /// Longest time to connect; absent follows the mesh.
    pub connect_timeout: Option<ProtoDuration>,
    /// Probes of idle connections.
    pub tcp_keepalive: Option<TcpKeepalive>,
    /// Longest life of a connection.
    pub max_connection_duration: Option<ProtoDuration>,
    /// Longest idle time; absent means one hour.
    pub idle_timeout: Option<ProtoDuration>,
}

/// Limits and timeouts of HTTP connections.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct HttpSettings {
    /// Most requests waiting for a connection.
    pub http1_max_pending_requests: Option<i32>,
    /// Most requests at once.
    pub http2_max_requests: Option<i32>,
    /// Requests after which a connection is closed; 0 means never.
    pub max_requests_per_connection: Option<i32>,
    /// Most retries at once.
    pub max_retries: Option<i32>,
    /// Longest time without requests; absent means one hour.
    pub idle_timeout: Option<ProtoDuration>,
    /// Whether HTTP/2 is spoken in plaintext.
    pub h2_upgrade_policy: Option<H2UpgradePolicy>,
    /// Whether the client's protocol is spoken to the upstream.
    pub use_client_protocol: Option<bool>,
    /// Most streams of a connection.
    pub max_concurrent_streams: Option<i32>,
    /// HTTP/2 pings.
    pub http2_keep_alive: Option<Http2KeepAlive>,
}

/// HTTP/2 pings.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Http2KeepAlive {
    /// Time between pings.
    pub interval: Option<ProtoDuration>,
    /// How long an answer may take.
    pub timeout: Option<ProtoDuration>,
}

crate::open_enum! {
    /// Whether HTTP/2 is spoken in plaintext.
    pub enum H2UpgradePolicy {
        /// As the mesh says.
        Default = "DEFAULT",
        /// No.
        DoNotUpgrade = "DO_NOT_UPGRADE",
        /// Yes.
        Upgrade = "UPGRADE",
    }
}

/// Ejection of failing endpoints.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct OutlierDetection {
    /// Superseded by `consecutiveGatewayErrors`.
    pub consecutive_errors: Option<i32>,
    /// Whether local failures are counted apart.
    pub split_external_local_origin_errors: Option<bool>,
    /// Consecutive local failures before ejection.
    pub consecutive_local_origin_failures: Option<u32>,
    /// Consecutive 502, 503 and 504 before ejection; 0 disables.
    pub consecutive_gateway_errors: Option<u32>,
    /// Consecutive 5xx before ejection, 5 by default; 0 disables.
    #[serde(rename = "consecutive5xxErrors")]
    pub consecutive_5xx_errors: Option<u32>,
    /// Time between sweeps, 10 seconds by default.
    pub interval: Option<ProtoDuration>,
    /// Ejection time, 30 seconds by default, multiplied by the number of ejections.
    pub base_ejection_time: Option<ProtoDuration>,
    /// Largest share of ejected endpoints, 10 by default.
    pub max_ejection_percent: Option<i32>,
    /// Smallest share of healthy endpoints for which health counts.
    pub min_health_percent: Option<i32>,
    /// Status codes counted as errors instead of 5xx.
    pub outlier_detection_http_error_codes: Vec<u32>,
}

/// TLS towards endpoints.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ClientTlsSettings {
    /// Which TLS; absent means none.
    pub mode: Option<ClientTlsMode>,
    /// File with our certificate chain.
    pub client_certificate: Option<String>,
    /// File with our private key.
    pub private_key: Option<String>,
    /// File with the authorities that endpoints' certificates come from.
    pub ca_certificates: Option<String>,
    /// File with revoked certificates.
    pub ca_crl: Option<String>,
    /// Secret in the gateway workload's namespace.
    pub credential_name: Option<String>,
    /// Names of which the endpoint's certificate must have one.
    pub subject_alt_names: Vec<String>,
    /// Server name to ask for; absent means the request's host.
    pub sni: Option<String>,
    /// Accept any certificate.
    pub insecure_skip_verify: Option<bool>,
}

crate::open_enum! {
    /// Which TLS is spoken to endpoints.
    pub enum ClientTlsMode {
        /// None.
        Disable = "DISABLE",
        /// Without a certificate of our own.
        Simple = "SIMPLE",
        /// With our certificate.
        Mutual = "MUTUAL",
        /// With the workload's mesh identity.
        IstioMutual = "ISTIO_MUTUAL",
    }
}

/// Tunnelling through a proxy.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct TunnelSettings {
    /// `CONNECT` (default) or `POST`.
    pub protocol: Option<String>,
    /// Host behind the proxy. Required.
    pub target_host: String,
    /// Port behind the proxy. Required.
    pub target_port: Option<u32>,
}

/// PROXY protocol towards endpoints.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ProxyProtocol {
    /// Version, V1 by default.
    pub version: Option<ProxyProtocolVersion>,
}

crate::open_enum! {
    /// A version of the PROXY protocol.
    pub enum ProxyProtocolVersion {
        /// Text.
        V1 = "V1",
        /// Binary.
        V2 = "V2",
    }
}

/// Limit of concurrent retries.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct RetryBudget {
    /// Share of the active requests; absent means 20.
    pub percent: Option<Fixed>,
    /// Retries that are always allowed; absent means 3.
    pub min_retry_concurrency: Option<u32>,
    /// Window over which requests are counted.
    pub budget_interval: Option<ProtoDuration>,
}
