//! Listeners of Gateways and ListenerSets.

use super::{
    ExternalAuthFilter, FilterType, GROUP, LabelSelector, LocalObjectReference,
    ParentGatewayReference, SecretObjectReference,
};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// More listeners for a Gateway, owned by somebody else.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ListenerSet {
    /// What is wanted.
    pub spec: ListenerSetSpec,
}

/// What a [`ListenerSet`] wants.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ListenerSetSpec {
    /// The Gateway.
    pub parent_ref: ParentGatewayReference,
    /// The listeners.
    pub listeners: Vec<ListenerEntry>,
}

/// One listener.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ListenerEntry {
    /// Name, unique among its siblings.
    pub name: String,
    /// Hosts served; absent or empty means all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hostname: Option<String>,
    /// Port.
    pub port: u16,
    /// Protocol.
    pub protocol: ProtocolType,
    /// TLS, for HTTPS and TLS.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<ListenerTls>,
    /// Which routes may attach; absent means those of the same namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allowed_routes: Option<AllowedRoutes>,
    /// Filters that run before routing (experimental).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub filters: Option<ListenerFilters>,
}

open_enum! {
    /// What a listener speaks.
    pub enum ProtocolType {
        /// HTTP in plaintext.
        Http = "HTTP",
        /// HTTP inside TLS.
        Https = "HTTPS",
        /// Bytes.
        Tcp = "TCP",
        /// TLS, terminated or passed through by server name.
        Tls = "TLS",
        /// Datagrams.
        Udp = "UDP",
    }
}

/// TLS of a listener.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ListenerTls {
    /// Who terminates; absent means we do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<TlsMode>,
    /// Server certificates.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub certificate_refs: Vec<SecretObjectReference>,
    /// Settings of the implementation.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub options: BTreeMap<String, String>,
}

open_enum! {
    /// Who terminates TLS.
    pub enum TlsMode {
        /// The backend.
        Passthrough = "Passthrough",
        /// The gateway.
        Terminate = "Terminate",
    }
}

/// Which routes may attach to a listener.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct AllowedRoutes {
    /// From which namespaces; absent means the listener's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespaces: Option<RouteNamespaces>,
    /// Of which kinds; empty means all that the protocol supports.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub kinds: Vec<RouteGroupKind>,
}

/// From which namespaces routes may attach.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RouteNamespaces {
    /// Which; absent means the listener's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<FromNamespaces>,
    /// Labels of the namespaces, with `from: Selector` only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub selector: Option<LabelSelector>,
}

open_enum! {
    /// A choice of namespaces.
    pub enum FromNamespaces {
        /// All.
        All = "All",
        /// None.
        None = "None",
        /// The referrer's own.
        Same = "Same",
        /// Those with certain labels.
        Selector = "Selector",
    }
}

/// A kind of route.
#[derive(Clone, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RouteGroupKind {
    /// API group; absent means the Gateway API's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// Kind.
    pub kind: String,
}

impl RouteGroupKind {
    /// The API group, defaulted.
    pub fn group(&self) -> &str {
        self.group.as_deref().unwrap_or(GROUP)
    }
}

/// Filters of a listener, run for every request before routes are matched (experimental).
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ListenerFilters {
    /// On requests, in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub requests: Vec<ListenerFilter>,
}

/// One filter of a listener.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ListenerFilter {
    /// Which filter it is.
    #[serde(rename = "type")]
    pub filter_type: FilterType,
    /// Asks another service for permission.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub external_auth: Option<ExternalAuthFilter>,
    /// A filter of the implementation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub extension_ref: Option<LocalObjectReference>,
}
