//! Istio kinds (istio.io/api v1.31.1).

use serde::{Deserialize, Serialize};

/// `Gateway`: content not described yet.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Gateway {
    /// The specification.
    pub spec: serde_json::Value,
}

/// `VirtualService`: content not described yet.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct VirtualService {
    /// The specification.
    pub spec: serde_json::Value,
}

/// `DestinationRule`: content not described yet.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct DestinationRule {
    /// The specification.
    pub spec: serde_json::Value,
}

/// `ServiceEntry`: content not described yet.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ServiceEntry {
    /// The specification.
    pub spec: serde_json::Value,
}

/// `WorkloadEntry`: content not described yet.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct WorkloadEntry {
    /// The specification.
    pub spec: serde_json::Value,
}

/// `WorkloadGroup`: content not described yet.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct WorkloadGroup {
    /// The specification.
    pub spec: serde_json::Value,
}

/// `Sidecar`: content not described yet.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Sidecar {
    /// The specification.
    pub spec: serde_json::Value,
}

/// `EnvoyFilter`: content not described yet.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct EnvoyFilter {
    /// The specification.
    pub spec: serde_json::Value,
}

/// `ProxyConfig`: content not described yet.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ProxyConfig {
    /// The specification.
    pub spec: serde_json::Value,
}

/// `AuthorizationPolicy`: content not described yet.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct AuthorizationPolicy {
    /// The specification.
    pub spec: serde_json::Value,
}

/// `PeerAuthentication`: content not described yet.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PeerAuthentication {
    /// The specification.
    pub spec: serde_json::Value,
}

/// `RequestAuthentication`: content not described yet.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct RequestAuthentication {
    /// The specification.
    pub spec: serde_json::Value,
}

/// `Telemetry`: content not described yet.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Telemetry {
    /// The specification.
    pub spec: serde_json::Value,
}

/// `WasmPlugin`: content not described yet.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct WasmPlugin {
    /// The specification.
    pub spec: serde_json::Value,
}

/// `TrafficExtension`: content not described yet.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct TrafficExtension {
    /// The specification.
    pub spec: serde_json::Value,
}
