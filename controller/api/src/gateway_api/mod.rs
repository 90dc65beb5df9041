//! Gateway API kinds (v1.7.0).

use serde::{Deserialize, Serialize};

/// `GatewayClass`: content not described yet.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct GatewayClass {
    /// The specification.
    pub spec: serde_json::Value,
}

/// `Gateway`: content not described yet.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Gateway {
    /// The specification.
    pub spec: serde_json::Value,
}

/// `ListenerSet`: content not described yet.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ListenerSet {
    /// The specification.
    pub spec: serde_json::Value,
}

/// `HttpRoute`: content not described yet.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct HttpRoute {
    /// The specification.
    pub spec: serde_json::Value,
}

/// `GrpcRoute`: content not described yet.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct GrpcRoute {
    /// The specification.
    pub spec: serde_json::Value,
}

/// `TlsRoute`: content not described yet.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct TlsRoute {
    /// The specification.
    pub spec: serde_json::Value,
}

/// `TcpRoute`: content not described yet.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct TcpRoute {
    /// The specification.
    pub spec: serde_json::Value,
}

/// `UdpRoute`: content not described yet.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct UdpRoute {
    /// The specification.
    pub spec: serde_json::Value,
}

/// `ReferenceGrant`: content not described yet.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ReferenceGrant {
    /// The specification.
    pub spec: serde_json::Value,
}

/// `BackendTlsPolicy`: content not described yet.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct BackendTlsPolicy {
    /// The specification.
    pub spec: serde_json::Value,
}

/// `XBackendTrafficPolicy`: content not described yet.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct XBackendTrafficPolicy {
    /// The specification.
    pub spec: serde_json::Value,
}

/// `XMesh`: content not described yet.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct XMesh {
    /// The specification.
    pub spec: serde_json::Value,
}

/// `XBackend`: content not described yet.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct XBackend {
    /// The specification.
    pub spec: serde_json::Value,
}

/// `XTelemetryPolicy`: content not described yet.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct XTelemetryPolicy {
    /// The specification.
    pub spec: serde_json::Value,
}
