//! The kinds of the experimental group: XBackend, XBackendTrafficPolicy, XMesh, XTelemetryPolicy.

use super::{
    BackendObjectReference, BackendTlsPolicyValidation, Fraction, HttpHeader,
    LocalPolicyTargetReference, ParametersReference, SecretObjectReference, SessionPersistence,
};
use crate::Duration;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A backend that is no Service.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct XBackend {
    /// What is wanted.
    pub spec: XBackendSpec,
}

/// What an [`XBackend`] wants.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct XBackendSpec {
    /// How its endpoints are found.
    #[serde(rename = "type")]
    pub backend_type: XBackendType,
    /// A name outside the cluster.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub external_hostname: Option<ExternalHostname>,
    /// Pods of its namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endpoint_selector: Option<EndpointSelector>,
    /// Port of the endpoints.
    pub port: XBackendPort,
    /// What is spoken; absent means what the route implies.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub protocol: Option<XBackendProtocol>,
    /// TLS; absent means none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<XBackendTls>,
    /// Keeps clients on endpoints.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session_persistence: Option<SessionPersistence>,
}

open_enum! {
    /// How the endpoints of an [`XBackend`] are found.
    pub enum XBackendType {
        /// By labels of pods.
        EndpointSelector = "EndpointSelector",
        /// By a DNS name.
        ExternalHostname = "ExternalHostname",
    }
}

/// A name outside the cluster.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ExternalHostname {
    /// Fully qualified DNS name.
    pub hostname: String,
}

/// Pods by labels.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct EndpointSelector {
    /// Labels that the pods have.
    pub match_labels: BTreeMap<String, String>,
}

/// The port of an [`XBackend`].
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct XBackendPort {
    /// The port.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub number: Option<u16>,
}

open_enum! {
    /// What is spoken to an [`XBackend`].
    pub enum XBackendProtocol {
        /// gRPC.
        Grpc = "GRPC",
        /// HTTP/2 in plaintext.
        H2c = "H2C",
        /// HTTP of any version.
        Http = "HTTP",
        /// HTTP/1.1.
        Http11 = "HTTP11",
        /// HTTP/2 over TLS.
        Http2 = "HTTP2",
        /// Model context protocol.
        Mcp = "MCP",
        /// Bytes.
        Tcp = "TCP",
        /// WebSocket over TLS.
        Wss = "WSS",
    }
}

/// TLS towards an [`XBackend`].
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct XBackendTls {
    /// Who shows a certificate.
    pub mode: XBackendTlsMode,
    /// How the backend's certificate is verified.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub validation: Option<BackendTlsPolicyValidation>,
    /// Our certificate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_certificate_ref: Option<SecretObjectReference>,
}

open_enum! {
    /// Who shows a certificate.
    pub enum XBackendTlsMode {
        /// Both sides.
        ClientAndServer = "ClientAndServer",
        /// Nobody: plaintext.
        None = "None",
        /// The backend.
        ServerOnly = "ServerOnly",
    }
}

/// Limits of retries, and session persistence, of backends.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct XBackendTrafficPolicy {
    /// What is wanted.
    pub spec: XBackendTrafficPolicySpec,
}

/// What an [`XBackendTrafficPolicy`] wants.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct XBackendTrafficPolicySpec {
    /// The backends.
    pub target_refs: Vec<LocalPolicyTargetReference>,
    /// Limits of retries.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_constraint: Option<RetryConstraint>,
    /// Keeps clients on endpoints.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session_persistence: Option<SessionPersistence>,
}

/// Limits of retries.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RetryConstraint {
    /// Share of requests that may be retries.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub budget: Option<BudgetDetails>,
    /// Retries that are always allowed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min_retry_rate: Option<RequestRate>,
}

/// A share of requests over time.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct BudgetDetails {
    /// The share, percent; absent means 20.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub percent: Option<u32>,
    /// Over which time it is counted, a GEP-2257 duration; absent means `10s`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interval: Option<Duration>,
}

/// A number of requests over time.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RequestRate {
    /// The number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub count: Option<u32>,
    /// Over which time it is counted, a GEP-2257 duration.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interval: Option<Duration>,
}

/// A mesh, and who implements it. Cluster-scoped.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct XMesh {
    /// What is wanted.
    pub spec: XMeshSpec,
}

/// What an [`XMesh`] wants.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct XMeshSpec {
    /// Who implements the mesh.
    pub controller_name: String,
    /// Parameters of the mesh.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parameters_ref: Option<ParametersReference>,
    /// Text for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
}

/// What is told about traffic.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct XTelemetryPolicy {
    /// What is wanted.
    pub spec: XTelemetryPolicySpec,
}

/// What an [`XTelemetryPolicy`] wants.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct XTelemetryPolicySpec {
    /// The Gateways.
    pub target_refs: Vec<LocalPolicyTargetReference>,
    /// Distributed tracing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tracing: Option<TracingPolicy>,
}

/// Distributed tracing.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct TracingPolicy {
    /// Whether; absent means as the implementation likes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<FeatureMode>,
    /// Where spans go.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provider: Option<TracingProvider>,
    /// Share of new traces that are sampled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sampling_rate: Option<Fraction>,
    /// What happens to traces that clients started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent_based_sampling: Option<ParentBasedSampling>,
    /// What the gateway calls itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service_name: Option<String>,
    /// What spans are called.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub span_name: Option<String>,
    /// Further attributes of spans.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub attributes: Vec<TelemetryAttribute>,
}

open_enum! {
    /// Whether something is done.
    pub enum FeatureMode {
        /// No.
        Disabled = "Disabled",
        /// Yes.
        Enabled = "Enabled",
        /// As the implementation likes.
        ImplementationDefault = "ImplementationDefault",
    }
}

/// Where spans go.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct TracingProvider {
    /// An OTLP collector.
    pub backend_ref: BackendObjectReference,
    /// Headers of requests to it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub headers: Vec<HttpHeader>,
}

/// What happens to traces that clients started.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ParentBasedSampling {
    /// Whether the client's decision counts; absent means as the implementation likes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<FeatureMode>,
    /// Share of them that are sampled; absent means all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sampling_rate: Option<Fraction>,
}

/// One attribute of spans.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct TelemetryAttribute {
    /// Name.
    pub name: String,
    /// Where its value comes from.
    pub source_type: TelemetryAttributeSource,
    /// A request header.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub header_name: Option<String>,
    /// The value itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub literal_value: Option<String>,
    /// An attribute that the gateway knows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attribute_key: Option<String>,
}

open_enum! {
    /// Where the value of an attribute comes from.
    pub enum TelemetryAttributeSource {
        /// The gateway.
        Attribute = "Attribute",
        /// A request header.
        Header = "Header",
        /// The policy.
        Literal = "Literal",
    }
}
