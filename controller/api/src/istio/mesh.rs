//! [MeshConfig](https://istio.io/latest/docs/reference/config/istio.mesh.v1alpha1/): what holds
//! for all workloads. Only the parts that a gateway uses; the rest is ignored.

use super::{
    ConnectionPoolSettings, H2UpgradePolicy, HttpRetry, LocalityLoadBalancerSetting,
    OutboundTrafficPolicyMode, OutlierDetection, TcpKeepalive, TlsProtocol,
};
use crate::{Percent, ProtoDuration};
use serde::{Deserialize, Serialize};

/// The mesh configuration: key `mesh` of the ConfigMap `istio` in the root namespace.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct MeshConfig {
    /// Where access logs go; absent or empty means nowhere.
    pub access_log_file: Option<String>,
    /// Format of access logs; absent means Istio's.
    pub access_log_format: Option<String>,
    /// Form of access logs.
    pub access_log_encoding: Option<AccessLogEncoding>,
    /// Whether connections that match no filter chain are not logged.
    pub disable_envoy_listener_log: Option<bool>,
    /// Whether requests are traced.
    pub enable_tracing: Option<bool>,
    /// Defaults of proxies.
    pub default_config: Option<MeshProxyConfig>,
    /// How paths are normalised.
    pub path_normalization: Option<ProxyPathNormalization>,
    /// Longest time to connect to an endpoint, 10 seconds by default.
    pub connect_timeout: Option<ProtoDuration>,
    /// Probes of idle upstream connections.
    pub tcp_keepalive: Option<TcpKeepalive>,
    /// Time between DNS requests, 60 seconds by default.
    pub dns_refresh_rate: Option<ProtoDuration>,
    /// Whether HTTP/2 is spoken in plaintext.
    pub h2_upgrade_policy: Option<MeshH2UpgradePolicy>,
    /// Retries of rules that say nothing.
    pub default_http_retry_policy: Option<HttpRetry>,
    /// Traffic policy of services for which no DestinationRule says anything.
    pub default_traffic_policy: Option<MeshTrafficPolicy>,
    /// Preference for near endpoints.
    pub locality_lb_setting: Option<LocalityLoadBalancerSetting>,
    /// What happens to unknown destinations; Istio does not apply it to gateways.
    pub outbound_traffic_policy: Option<MeshOutboundTrafficPolicy>,
    /// Who sees Services that say nothing.
    pub default_service_export_to: Vec<String>,
    /// Who sees VirtualServices that say nothing.
    pub default_virtual_service_export_to: Vec<String>,
    /// Who sees DestinationRules that say nothing.
    pub default_destination_rule_export_to: Vec<String>,
    /// Namespace whose policies hold for all, `istio-system` by default.
    pub root_namespace: Option<String>,
    /// Ingress class that is ours, `istio` by default.
    pub ingress_class: Option<String>,
    /// Service of the gateways that serve Ingresses.
    pub ingress_service: Option<String>,
    /// Label `istio` of the gateways that serve Ingresses.
    pub ingress_selector: Option<String>,
    /// TLS defaults.
    pub tls_defaults: Option<MeshTlsConfig>,
    /// Whether metrics of the application are merged; without effect here.
    pub enable_prometheus_merge: Option<bool>,
    /// Trust domain of identities.
    pub trust_domain: Option<String>,
}

crate::open_enum! {
    /// Form of access logs.
    pub enum AccessLogEncoding {
        /// Text.
        Text = "TEXT",
        /// JSON.
        Json = "JSON",
    }
}

crate::open_enum! {
    /// Whether HTTP/2 is spoken in plaintext where no DestinationRule says anything.
    pub enum MeshH2UpgradePolicy {
        /// No; the default.
        DoNotUpgrade = "DO_NOT_UPGRADE",
        /// Yes.
        Upgrade = "UPGRADE",
    }
}

impl From<&MeshH2UpgradePolicy> for H2UpgradePolicy {
    fn from(policy: &MeshH2UpgradePolicy) -> Self {
        Self::from(policy.as_str())
    }
}

/// How paths are normalised.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ProxyPathNormalization {
    /// How; absent means [`PathNormalization::Default`].
    pub normalization: Option<PathNormalization>,
}

crate::open_enum! {
    /// How paths are normalised.
    pub enum PathNormalization {
        /// As [`PathNormalization::Base`].
        Default = "DEFAULT",
        /// Not at all.
        None = "NONE",
        /// Dot segments, backslashes, unreserved percent-encodings.
        Base = "BASE",
        /// Base, and runs of slashes become one.
        MergeSlashes = "MERGE_SLASHES",
        /// Merge, with encoded slashes and backslashes decoded first.
        DecodeAndMergeSlashes = "DECODE_AND_MERGE_SLASHES",
    }
}

/// Traffic policy of services for which no DestinationRule says anything.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct MeshTrafficPolicy {
    /// Limits and timeouts of connections.
    pub connection_pool: Option<ConnectionPoolSettings>,
    /// Ejection of failing endpoints.
    pub outlier_detection: Option<OutlierDetection>,
}

/// What happens to unknown destinations.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct MeshOutboundTrafficPolicy {
    /// Whether they may be reached.
    pub mode: Option<OutboundTrafficPolicyMode>,
}

/// TLS defaults.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct MeshTlsConfig {
    /// Lowest version.
    pub min_protocol_version: Option<TlsProtocol>,
    /// Key agreement curves.
    pub ecdh_curves: Vec<String>,
    /// TLS 1.2 cipher suites by OpenSSL name.
    pub cipher_suites: Vec<String>,
}

/// Defaults of proxies; also the annotation `proxy.istio.io/config` of pods.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct MeshProxyConfig {
    /// What stands in front of gateways.
    pub gateway_topology: Option<GatewayTopology>,
    /// Which headers are written.
    pub proxy_headers: Option<ProxyHeaders>,
    /// Traces.
    pub tracing: Option<MeshTracing>,
    /// Worker threads; 0 means all cores.
    pub concurrency: Option<i32>,
    /// Longest time connections are drained, 45 seconds by default.
    pub drain_duration: Option<ProtoDuration>,
    /// Time between the end of readiness and exit, 5 seconds by default.
    pub termination_drain_duration: Option<ProtoDuration>,
}

/// What stands in front of gateways.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct GatewayTopology {
    /// Number of proxies whose `x-forwarded-for` entries count.
    pub num_trusted_proxies: Option<u32>,
    /// What becomes of `x-forwarded-client-cert`.
    pub forward_client_cert_details: Option<ForwardClientCertDetails>,
    /// PROXY protocol from clients.
    pub proxy_protocol: Option<ProxyProtocolConfiguration>,
}

/// PROXY protocol from clients; has no fields.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ProxyProtocolConfiguration {}

crate::open_enum! {
    /// What becomes of `x-forwarded-client-cert`.
    pub enum ForwardClientCertDetails {
        /// As [`ForwardClientCertDetails::SanitizeSet`].
        Undefined = "UNDEFINED",
        /// It is removed.
        Sanitize = "SANITIZE",
        /// It is forwarded after mutual TLS.
        ForwardOnly = "FORWARD_ONLY",
        /// The client's certificate is appended after mutual TLS.
        AppendForward = "APPEND_FORWARD",
        /// It is replaced by the client's certificate; the default.
        SanitizeSet = "SANITIZE_SET",
        /// It is forwarded always.
        AlwaysForwardOnly = "ALWAYS_FORWARD_ONLY",
    }
}

/// Which headers are written.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ProxyHeaders {
    /// `server` of responses.
    pub server: Option<ServerHeaderConfig>,
    /// `x-request-id`.
    pub request_id: Option<HeaderSwitch>,
    /// `x-envoy-attempt-count`.
    pub attempt_count: Option<HeaderSwitch>,
    /// `x-envoy-*` of responses.
    pub envoy_debug_headers: Option<HeaderSwitch>,
    /// Whether HTTP/1 names keep their case.
    pub preserve_http1_header_case: Option<bool>,
    /// `x-forwarded-host`.
    pub x_forwarded_host: Option<HeaderEnabled>,
    /// `x-forwarded-port`.
    pub x_forwarded_port: Option<HeaderEnabled>,
    /// What becomes of `x-forwarded-client-cert`.
    pub forwarded_client_cert: Option<ForwardClientCertDetails>,
}

/// `server` of responses.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ServerHeaderConfig {
    /// Whether the upstream's is kept.
    pub disabled: Option<bool>,
    /// Its value.
    pub value: Option<String>,
}

/// A header that is written unless switched off.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct HeaderSwitch {
    /// Whether it is not written.
    pub disabled: Option<bool>,
}

/// A header that is not written unless switched on.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct HeaderEnabled {
    /// Whether it is written.
    pub enabled: Option<bool>,
}

/// Traces.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct MeshTracing {
    /// Share of the requests that are traced.
    pub sampling: Option<Percent>,
}

impl MeshConfig {
    /// Reads the text of the ConfigMap's key.
    ///
    /// # Errors
    /// When it is not YAML, or a field has the wrong type; the text says where.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut value = crate::manifest::value(text)?;
        crate::object::drop_nulls(&mut value);
        if value.is_null() {
            return Ok(Self::default());
        }
        serde_json::from_value(value).map_err(|error| error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mesh_configuration_keeps_what_is_used_and_ignores_the_rest() {
        let text = "accessLogFile: /dev/stdout\nfoo: [1]\ndefaultConfig:\n  proxyHeaders:\n    server: {value: x}\n  gatewayTopology: {numTrustedProxies: 2}\nextensionProviders:\n";
        let mesh = MeshConfig::parse(text).unwrap();
        assert_eq!(mesh.access_log_file.as_deref(), Some("/dev/stdout"));
        let defaults = mesh.default_config.unwrap();
        assert_eq!(
            defaults.gateway_topology.unwrap().num_trusted_proxies,
            Some(2)
        );
        assert_eq!(MeshConfig::parse("").unwrap(), MeshConfig::default());
        assert!(MeshConfig::parse("accessLogFile: [").is_err());
        assert!(MeshConfig::parse("connectTimeout: {}").is_err());
    }
}
