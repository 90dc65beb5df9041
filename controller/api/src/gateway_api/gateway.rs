//! Gateway.

use super::{
    FromNamespaces, LabelSelector, ListenerEntry, LocalObjectReference, ObjectReference,
    SecretObjectReference,
};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Listeners that accept traffic.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Gateway {
    /// What is wanted.
    pub spec: GatewaySpec,
}

/// What a [`Gateway`] wants.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct GatewaySpec {
    /// Name of the GatewayClass.
    pub gateway_class_name: String,
    /// The listeners.
    pub listeners: Vec<ListenerEntry>,
    /// Requested addresses; empty means any.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub addresses: Vec<GatewayAddress>,
    /// What is wanted of generated objects.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub infrastructure: Option<GatewayInfrastructure>,
    /// Which ListenerSets may attach; absent means none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allowed_listeners: Option<AllowedListeners>,
    /// TLS towards backends, and client certificates.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<GatewayTls>,
    /// For which routes this is a default Gateway; absent means none (experimental).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default_scope: Option<DefaultScope>,
}

/// A requested address.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct GatewayAddress {
    /// What `value` is; absent means an IP address.
    #[serde(rename = "type", default, skip_serializing_if = "Option::is_none")]
    pub address_type: Option<AddressType>,
    /// The address; absent or empty means any of the type.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
    /// From where it must be reachable; absent or empty means anything (experimental).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub routability: Option<String>,
}

open_enum! {
    /// What the value of an address is.
    pub enum AddressType {
        /// A DNS name.
        Hostname = "Hostname",
        /// An IPv4 or IPv6 address.
        IpAddress = "IPAddress",
        /// A name that means something to the implementation.
        NamedAddress = "NamedAddress",
    }
}

/// What is wanted of the objects that are generated for a Gateway.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct GatewayInfrastructure {
    /// Their labels.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// Their annotations.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
    /// Parameters of this Gateway.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parameters_ref: Option<LocalObjectReference>,
}

/// Which ListenerSets may attach.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct AllowedListeners {
    /// From which namespaces.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespaces: Option<ListenerNamespaces>,
}

/// From which namespaces ListenerSets may attach.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ListenerNamespaces {
    /// Which; absent means none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<FromNamespaces>,
    /// Labels of the namespaces, with `from: Selector` only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub selector: Option<LabelSelector>,
}

/// TLS settings of a whole Gateway.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct GatewayTls {
    /// Towards backends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backend: Option<BackendTls>,
    /// Towards clients.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub frontend: Option<FrontendTls>,
}

/// TLS settings of a Gateway towards backends.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct BackendTls {
    /// The Gateway's client certificate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_certificate_ref: Option<SecretObjectReference>,
}

/// TLS settings of a Gateway towards clients.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct FrontendTls {
    /// For all ports without an entry of their own.
    pub default: PortTls,
    /// For single ports.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub per_port: Vec<PortTlsOverride>,
}

/// TLS settings towards clients of one port.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PortTlsOverride {
    /// The port.
    pub port: u16,
    /// Its settings, which replace the default ones as a whole.
    pub tls: PortTls,
}

/// TLS settings towards clients.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PortTls {
    /// How client certificates are verified; absent means none is asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub validation: Option<FrontendValidation>,
}

/// How client certificates are verified.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct FrontendValidation {
    /// Trust anchors, usually ConfigMaps.
    pub ca_certificate_refs: Vec<ObjectReference>,
    /// What happens to clients without a valid certificate; absent means they are refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<FrontendValidationMode>,
}

open_enum! {
    /// What happens to clients without a valid certificate.
    pub enum FrontendValidationMode {
        /// They are served all the same.
        AllowInsecureFallback = "AllowInsecureFallback",
        /// They are refused.
        AllowValidOnly = "AllowValidOnly",
    }
}

open_enum! {
    /// Which routes use a default Gateway.
    pub enum DefaultScope {
        /// All that ask for default Gateways.
        All = "All",
        /// None.
        None = "None",
    }
}
