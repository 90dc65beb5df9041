//! TLSRoute, TCPRoute and UDPRoute.

use super::{BackendRef, DefaultScope, ParentReference};
use serde::{Deserialize, Serialize};

/// TLS connections by server name, and where they go.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct TlsRoute {
    /// What is wanted.
    pub spec: TlsRouteSpec,
}

/// What a [`TlsRoute`] wants.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct TlsRouteSpec {
    /// What the route attaches to.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub parent_refs: Vec<ParentReference>,
    /// Whether default Gateways are parents too; absent means no (experimental).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub use_default_gateways: Option<DefaultScope>,
    /// Server names.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub hostnames: Vec<String>,
    /// The rule.
    pub rules: Vec<L4RouteRule>,
}

/// TCP connections, and where they go.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct TcpRoute {
    /// What is wanted.
    pub spec: L4RouteSpec,
}

/// UDP datagrams, and where they go.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct UdpRoute {
    /// What is wanted.
    pub spec: L4RouteSpec,
}

/// What a [`TcpRoute`] or [`UdpRoute`] wants.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct L4RouteSpec {
    /// What the route attaches to.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub parent_refs: Vec<ParentReference>,
    /// Whether default Gateways are parents too; absent means no (experimental).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub use_default_gateways: Option<DefaultScope>,
    /// The rule.
    pub rules: Vec<L4RouteRule>,
}

/// Where connections or datagrams go.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct L4RouteRule {
    /// Name, unique in the route.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Backends.
    pub backend_refs: Vec<BackendRef>,
}
