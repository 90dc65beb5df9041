//! The mesh configuration, as far as a gateway obeys it.

use crate::{Code, Finding, Options, Severity, Store, output::Sink};
use gwanmun_api::{
    Object,
    core::ConfigMap,
    istio::{
        self, ForwardClientCertDetails, GatewayTopology, H2UpgradePolicy, HttpRetry, MeshConfig,
        MeshProxyConfig, TcpKeepalive, TlsProtocol,
    },
};
use gwanmun_ir::{ForwardClientCert, PathNormalization, ServerHeader};
use std::rc::Rc;

/// The mesh configuration in force.
#[derive(Clone, Debug, Default)]
pub(crate) struct Mesh {
    config: MeshConfig,
    root_namespace: String,
}

impl Mesh {
    /// Reads key `mesh` of the ConfigMap `istio` in the root namespace. One that cannot be read
    /// counts as absent, and is reported. It is read once for each `sink`.
    pub(crate) fn read(store: &Store, options: &Options, sink: &mut Sink) -> Rc<Self> {
        if let Some(mesh) = &sink.mesh {
            return Rc::clone(mesh);
        }
        let mesh = Rc::new(Self::parse(store, options, sink));
        sink.mesh = Some(Rc::clone(&mesh));
        mesh
    }

    fn parse(store: &Store, options: &Options, sink: &mut Sink) -> Self {
        let found = store.get::<ConfigMap>(&options.root_namespace, "istio");
        let config = found.and_then(|map| {
            let text = map.data.get("mesh")?;
            match MeshConfig::parse(text) {
                Ok(config) => {
                    review(&config, map.object, sink);
                    Some(config)
                }
                Err(error) => {
                    sink.finding(Finding::new(
                        Severity::Error,
                        Code::SchemaValidation,
                        map.object,
                        "data.mesh",
                        format!("{error}; the defaults are used"),
                    ));
                    None
                }
            }
        });
        let config = config.unwrap_or_default();
        let root_namespace = config
            .root_namespace
            .clone()
            .filter(|name| !name.is_empty())
            .unwrap_or_else(|| options.root_namespace.clone());
        Self {
            config,
            root_namespace,
        }
    }

    /// The namespace whose policies hold for all.
    pub(super) fn root_namespace(&self) -> &str {
        &self.root_namespace
    }

    /// Who sees VirtualServices that do not say.
    pub(super) fn virtual_service_export_to(&self) -> &[String] {
        &self.config.default_virtual_service_export_to
    }

    /// Who sees DestinationRules that do not say.
    pub(super) fn destination_rule_export_to(&self) -> &[String] {
        &self.config.default_destination_rule_export_to
    }

    /// Retries of rules that do not say.
    pub(super) fn default_retry(&self) -> Option<&HttpRetry> {
        self.config.default_http_retry_policy.as_ref()
    }

    /// Longest time to connect, milliseconds.
    pub(super) fn connect_timeout_ms(&self) -> Option<u64> {
        let timeout = self.config.connect_timeout.as_ref()?;
        timeout.millis().ok().filter(|millis| *millis > 0)
    }

    /// Probes of upstream connections of services for which no DestinationRule says anything.
    pub(super) fn tcp_keepalive(&self) -> Option<&TcpKeepalive> {
        self.config.tcp_keepalive.as_ref()
    }

    /// Policy of services for which no DestinationRule says anything.
    pub(super) fn traffic_policy(&self) -> Option<istio::TrafficPolicy> {
        let policy = self.config.default_traffic_policy.as_ref()?;
        Some(istio::TrafficPolicy {
            connection_pool: policy.connection_pool.clone(),
            outlier_detection: policy.outlier_detection.clone(),
            ..istio::TrafficPolicy::default()
        })
    }

    /// Whether HTTP/2 is spoken in plaintext where no DestinationRule says anything.
    pub(super) fn upgrades_to_http2(&self) -> bool {
        let policy = self.config.h2_upgrade_policy.as_ref();
        policy.map(H2UpgradePolicy::from) == Some(H2UpgradePolicy::Upgrade)
    }

    /// Lowest TLS version of servers that do not say.
    pub(super) fn min_tls(&self) -> Option<&TlsProtocol> {
        self.config
            .tls_defaults
            .as_ref()?
            .min_protocol_version
            .as_ref()
    }

    /// Cipher suites of servers that do not say.
    pub(super) fn cipher_suites(&self) -> &[String] {
        let defaults = self.config.tls_defaults.as_ref();
        defaults.map_or(&[], |defaults| &defaults.cipher_suites)
    }

    /// Key exchange groups of servers that do not say.
    pub(super) fn ecdh_curves(&self) -> &[String] {
        let defaults = self.config.tls_defaults.as_ref();
        defaults.map_or(&[], |defaults| &defaults.ecdh_curves)
    }

    /// How paths are normalised.
    pub(super) fn path_normalization(&self) -> PathNormalization {
        let wanted = self.config.path_normalization.as_ref();
        match wanted.and_then(|wanted| wanted.normalization.as_ref()) {
            Some(istio::PathNormalization::None) => PathNormalization::None,
            Some(istio::PathNormalization::MergeSlashes) => PathNormalization::MergeSlashes,
            Some(istio::PathNormalization::DecodeAndMergeSlashes) => {
                PathNormalization::DecodeAndMergeSlashes
            }
            Some(
                istio::PathNormalization::Default
                | istio::PathNormalization::Base
                | istio::PathNormalization::Unknown(_),
            )
            | None => PathNormalization::Base,
        }
    }

    /// How many proxies in front of the gateway are trusted.
    pub(super) fn trusted_hops(&self) -> u32 {
        self.topology()
            .and_then(|topology| topology.num_trusted_proxies)
            .unwrap_or(0)
    }

    /// What becomes of `x-forwarded-client-cert`.
    pub(super) fn forward_client_cert(&self) -> ForwardClientCert {
        match self
            .topology()
            .and_then(|topology| topology.forward_client_cert_details.as_ref())
        {
            Some(ForwardClientCertDetails::Sanitize) => ForwardClientCert::Sanitize,
            Some(ForwardClientCertDetails::ForwardOnly) => ForwardClientCert::ForwardOnly,
            Some(ForwardClientCertDetails::AppendForward) => ForwardClientCert::AppendForward,
            Some(ForwardClientCertDetails::AlwaysForwardOnly) => {
                ForwardClientCert::AlwaysForwardOnly
            }
            Some(
                ForwardClientCertDetails::SanitizeSet
                | ForwardClientCertDetails::Undefined
                | ForwardClientCertDetails::Unknown(_),
            )
            | None => ForwardClientCert::SanitizeSet,
        }
    }

    /// Whether every connection begins with a PROXY protocol header.
    pub(crate) fn expects_proxy_protocol(&self) -> bool {
        self.topology()
            .is_some_and(|topology| topology.proxy_protocol.is_some())
    }

    /// What the `server` header of responses says.
    pub(super) fn server(&self) -> ServerHeader {
        let headers = self.proxy().and_then(|proxy| proxy.proxy_headers.as_ref());
        let Some(server) = headers.and_then(|headers| headers.server.as_ref()) else {
            return ServerHeader::Overwrite("gwanmun".to_owned());
        };
        if server.disabled == Some(true) {
            return ServerHeader::PassThrough;
        }
        let value = server.value.clone().filter(|value| !value.is_empty());
        ServerHeader::Overwrite(value.unwrap_or_else(|| "gwanmun".to_owned()))
    }

    fn topology(&self) -> Option<&GatewayTopology> {
        self.proxy()?.gateway_topology.as_ref()
    }

    fn proxy(&self) -> Option<&MeshProxyConfig> {
        self.config.default_config.as_ref()
    }
}

/// Says what of the mesh configuration is not known.
fn review(config: &MeshConfig, object: &Object, sink: &mut Sink) {
    let paths = config.path_normalization.as_ref();
    let paths = paths.and_then(|paths| paths.normalization.as_ref());
    let paths = paths
        .filter(|value| !value.is_known())
        .map(ToString::to_string);
    let upgrade = config.h2_upgrade_policy.as_ref();
    let upgrade = upgrade
        .filter(|value| !value.is_known())
        .map(ToString::to_string);
    let proxy = config.default_config.as_ref();
    let forward = proxy
        .and_then(|proxy| proxy.gateway_topology.as_ref())
        .and_then(|topology| topology.forward_client_cert_details.as_ref());
    let forward = forward
        .filter(|value| !value.is_known())
        .map(ToString::to_string);
    for (name, unknown) in [
        (
            "defaultConfig.gatewayTopology.forwardClientCertDetails",
            forward,
        ),
        ("pathNormalization.normalization", paths),
        ("h2UpgradePolicy", upgrade),
    ] {
        if let Some(text) = unknown {
            let message = format!("{name}: `{text}` is not known; the default is used");
            let (severity, code) = (Severity::Error, Code::UnknownValue);
            sink.finding(Finding::new(severity, code, object, "data.mesh", message));
        }
    }
}
