//! [Gateway](https://istio.io/latest/docs/reference/config/networking/gateway/): what a gateway
//! workload listens on.

use super::Port;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Ports a gateway workload listens on, and for which hosts.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Gateway {
    /// What is wanted; the schema does not require it.
    pub spec: Option<GatewaySpec>,
}

/// What a [`Gateway`] wants.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct GatewaySpec {
    /// Listeners; at least one is required.
    pub servers: Vec<Server>,
    /// Labels of the workloads that serve this, in every namespace; empty means all workloads.
    pub selector: BTreeMap<String, String>,
}

/// One port, its hosts and its TLS.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Server {
    /// Port and protocol. Required.
    pub port: Option<Port>,
    /// Address to bind, or `unix://` and a path; absent means all addresses.
    pub bind: Option<String>,
    /// Hosts served here as `[namespace/]name`; the namespace restricts whose VirtualServices may
    /// attach, `.` being the Gateway's own. Required.
    pub hosts: Vec<String>,
    /// TLS; required for HTTPS and TLS.
    pub tls: Option<ServerTlsSettings>,
    /// Without effect at a gateway.
    pub default_endpoint: Option<String>,
    /// Name of the server; without effect.
    pub name: Option<String>,
}

/// TLS towards clients.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ServerTlsSettings {
    /// Answer every request of the port with a redirect to https.
    pub https_redirect: Option<bool>,
    /// How TLS is treated; absent means [`ServerTlsMode::Passthrough`].
    pub mode: Option<ServerTlsMode>,
    /// File with the certificate chain.
    pub server_certificate: Option<String>,
    /// File with the private key.
    pub private_key: Option<String>,
    /// File with the authorities that client certificates come from.
    pub ca_certificates: Option<String>,
    /// File with revoked client certificates.
    pub ca_crl: Option<String>,
    /// Up to two file triples, e.g. RSA and ECDSA.
    pub tls_certificates: Vec<TlsCertificate>,
    /// Secret in the gateway workload's namespace.
    pub credential_name: Option<String>,
    /// Up to two Secrets, e.g. RSA and ECDSA.
    pub credential_names: Vec<String>,
    /// Secret or ConfigMap with the authorities that client certificates come from.
    pub ca_cert_credential_name: Option<String>,
    /// Names of which a client certificate must have one.
    pub subject_alt_names: Vec<String>,
    /// Accepted client keys: base64 SHA-256 of the public key.
    pub verify_certificate_spki: Vec<String>,
    /// Accepted client certificates: hex SHA-256.
    pub verify_certificate_hash: Vec<String>,
    /// Lowest version.
    pub min_protocol_version: Option<TlsProtocol>,
    /// Highest version.
    pub max_protocol_version: Option<TlsProtocol>,
    /// TLS 1.2 cipher suites by OpenSSL name.
    pub cipher_suites: Vec<String>,
    /// Key agreement curves.
    pub ecdh_curves: Vec<String>,
    /// Ask for a client certificate and accept any.
    pub insecure_skip_verify: Option<bool>,
}

/// Certificate files.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct TlsCertificate {
    /// File with the certificate chain.
    pub server_certificate: Option<String>,
    /// File with the private key.
    pub private_key: Option<String>,
    /// File with the authorities that client certificates come from.
    pub ca_certificates: Option<String>,
}

crate::open_enum! {
    /// How a server treats TLS.
    pub enum ServerTlsMode {
        /// Forward by SNI without terminating; the default.
        Passthrough = "PASSTHROUGH",
        /// Terminate.
        Simple = "SIMPLE",
        /// Terminate and demand a client certificate.
        Mutual = "MUTUAL",
        /// Forward to the service that the SNI encodes (multi-cluster).
        AutoPassthrough = "AUTO_PASSTHROUGH",
        /// Terminate with the workload's mesh identity and demand a client's.
        IstioMutual = "ISTIO_MUTUAL",
        /// Terminate and verify a client certificate if one is presented.
        OptionalMutual = "OPTIONAL_MUTUAL",
    }
}

crate::open_enum! {
    /// A TLS version.
    pub enum TlsProtocol {
        /// The default: 1.2 lowest, 1.3 highest.
        Auto = "TLS_AUTO",
        /// TLS 1.0.
        V10 = "TLSV1_0",
        /// TLS 1.1.
        V11 = "TLSV1_1",
        /// TLS 1.2.
        V12 = "TLSV1_2",
        /// TLS 1.3.
        V13 = "TLSV1_3",
    }
}
