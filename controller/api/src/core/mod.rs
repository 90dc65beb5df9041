//! Core kinds, as far as they are used.

use crate::IntOrString;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A `Service`.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Service {
    /// The specification.
    pub spec: ServiceSpec,
}

/// Specification of a [`Service`].
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ServiceSpec {
    /// `ClusterIP` (also when empty), `NodePort`, `LoadBalancer` or `ExternalName`.
    #[serde(rename = "type")]
    pub type_: String,
    /// Labels of its pods; empty means endpoints are written by hand.
    pub selector: BTreeMap<String, String>,
    /// Ports.
    pub ports: Vec<ServicePort>,
    /// Virtual address; `None` makes it headless.
    #[serde(rename = "clusterIP")]
    pub cluster_ip: String,
    /// Virtual addresses of both families.
    #[serde(rename = "clusterIPs")]
    pub cluster_ips: Vec<String>,
    /// DNS name that the type `ExternalName` stands for.
    pub external_name: String,
    /// Whether endpoints that are not ready count.
    pub publish_not_ready_addresses: bool,
    /// Not used.
    pub allocate_load_balancer_node_ports: Option<bool>,
    /// Not used.
    #[serde(rename = "externalIPs")]
    pub external_ips: Vec<String>,
    /// Not used.
    pub external_traffic_policy: String,
    /// Not used.
    pub health_check_node_port: Option<i64>,
    /// Not used.
    pub internal_traffic_policy: String,
    /// Not used.
    pub ip_families: Vec<String>,
    /// Not used.
    pub ip_family_policy: String,
    /// Not used.
    pub load_balancer_class: String,
    /// Not used.
    #[serde(rename = "loadBalancerIP")]
    pub load_balancer_ip: String,
    /// Not used.
    pub load_balancer_source_ranges: Vec<String>,
    /// Not used.
    pub session_affinity: String,
    /// Not used.
    pub session_affinity_config: serde_json::Value,
    /// Not used.
    pub topology_keys: Vec<String>,
    /// Not used.
    pub traffic_distribution: String,
}

/// A port of a [`Service`].
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ServicePort {
    /// Name; may be empty when it is the only one.
    pub name: String,
    /// `TCP` (also when empty), `UDP` or `SCTP`.
    pub protocol: String,
    /// Application protocol, e.g. `kubernetes.io/h2c`.
    pub app_protocol: Option<String>,
    /// Port of the virtual address.
    pub port: u16,
    /// Port of the endpoints; absent means `port`.
    pub target_port: Option<IntOrString>,
    /// Port on every node.
    pub node_port: Option<u16>,
}

/// An `EndpointSlice`.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct EndpointSlice {
    /// `IPv4`, `IPv6` or `FQDN`.
    pub address_type: String,
    /// Endpoints.
    pub endpoints: Vec<Endpoint>,
    /// Ports of every endpoint.
    pub ports: Vec<EndpointPort>,
}

/// One of an [`EndpointSlice`]'s endpoints.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Endpoint {
    /// Addresses; all of them lead to the same pod.
    pub addresses: Vec<String>,
    /// State.
    pub conditions: EndpointConditions,
    /// Host name.
    pub hostname: Option<String>,
    /// Node it runs on.
    pub node_name: Option<String>,
    /// Zone it runs in.
    pub zone: Option<String>,
    /// The pod.
    pub target_ref: Option<ObjectReference>,
    /// Hints for topology-aware routing; not used.
    pub hints: serde_json::Value,
    /// Topology of an older version; not used.
    pub deprecated_topology: BTreeMap<String, String>,
    /// Topology of an older version; not used.
    pub topology: BTreeMap<String, String>,
}

/// State of an [`Endpoint`].
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct EndpointConditions {
    /// Absent means ready.
    pub ready: Option<bool>,
    /// Absent means the same as `ready`.
    pub serving: Option<bool>,
    /// Absent means no.
    pub terminating: Option<bool>,
}

/// A port of an [`EndpointSlice`].
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct EndpointPort {
    /// Name of the Service's port.
    pub name: String,
    /// `TCP` (also when empty), `UDP` or `SCTP`.
    pub protocol: String,
    /// Port number.
    pub port: Option<u16>,
    /// Application protocol.
    pub app_protocol: Option<String>,
}

/// A reference to an object.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ObjectReference {
    /// Group and version.
    pub api_version: String,
    /// Kind.
    pub kind: String,
    /// Namespace.
    pub namespace: String,
    /// Name.
    pub name: String,
    /// Identity.
    pub uid: String,
    /// Version.
    pub resource_version: String,
    /// Part of the object.
    pub field_path: String,
}

/// A `Secret`.
#[derive(Clone, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Secret {
    /// `kubernetes.io/tls`, `Opaque`, ….
    #[serde(rename = "type")]
    pub type_: String,
    /// Base64 values.
    pub data: BTreeMap<String, String>,
    /// Plain values, which win over `data`.
    pub string_data: BTreeMap<String, String>,
    /// Whether changes are refused.
    pub immutable: Option<bool>,
}

/// A `ConfigMap`.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ConfigMap {
    /// Text values.
    pub data: BTreeMap<String, String>,
    /// Base64 values.
    pub binary_data: BTreeMap<String, String>,
    /// Whether changes are refused.
    pub immutable: Option<bool>,
}

/// A `Namespace`; only its labels are used.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Namespace {
    /// The specification; not used.
    pub spec: serde_json::Value,
}

/// A `Pod`, as far as it identifies endpoints.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Pod {
    /// The specification; not used.
    pub spec: serde_json::Value,
    /// What the cluster says about it. The only status that is read.
    pub status: PodStatus,
}

/// What the cluster says about a [`Pod`].
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PodStatus {
    /// `Running`, `Succeeded`, `Failed`, …; empty in manifests.
    pub phase: String,
    /// Its address.
    #[serde(rename = "podIP")]
    pub pod_ip: String,
    /// Its addresses of both families.
    #[serde(rename = "podIPs")]
    pub pod_ips: Vec<PodIp>,
    /// Conditions.
    pub conditions: Vec<PodCondition>,
}

/// One of a [`Pod`]'s addresses.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(default)]
pub struct PodIp {
    /// The address.
    pub ip: String,
}

/// One of a [`Pod`]'s conditions.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(default)]
pub struct PodCondition {
    /// E.g. `Ready`.
    #[serde(rename = "type")]
    pub type_: String,
    /// `True`, `False` or `Unknown`.
    pub status: String,
}

impl Pod {
    /// Its addresses, the primary one first, each once.
    pub fn addresses(&self) -> impl Iterator<Item = &str> {
        let primary = self.status.pod_ip.as_str();
        std::iter::once(primary)
            .chain(
                self.status
                    .pod_ips
                    .iter()
                    .map(|ip| ip.ip.as_str())
                    .filter(move |ip| *ip != primary),
            )
            .filter(|address| !address.is_empty())
    }

    /// Whether it has ended.
    pub fn is_finished(&self) -> bool {
        matches!(self.status.phase.as_str(), "Succeeded" | "Failed")
    }

    /// Whether it may get traffic; one that says nothing may.
    pub fn is_ready(&self) -> bool {
        self.status
            .conditions
            .iter()
            .find(|condition| condition.type_ == "Ready")
            .is_none_or(|condition| condition.status == "True")
    }
}

impl Secret {
    /// The value of a key, decoded.
    ///
    /// # Errors
    /// `None` inside when the key is absent; the error's text when it is not base64.
    pub fn value(&self, key: &str) -> Result<Option<Vec<u8>>, String> {
        if let Some(text) = self.string_data.get(key) {
            return Ok(Some(text.clone().into_bytes()));
        }
        self.data.get(key).map(|text| decode(key, text)).transpose()
    }
}

impl ConfigMap {
    /// The value of a key: of `data`, else of `binaryData`, decoded.
    ///
    /// # Errors
    /// `None` inside when the key is absent; the error's text when it is not base64.
    pub fn value(&self, key: &str) -> Result<Option<Vec<u8>>, String> {
        if let Some(text) = self.data.get(key) {
            return Ok(Some(text.clone().into_bytes()));
        }
        self.binary_data
            .get(key)
            .map(|text| decode(key, text))
            .transpose()
    }
}

/// Decodes base64 as it is found in manifests, perhaps on several lines.
fn decode(key: &str, text: &str) -> Result<Vec<u8>, String> {
    use base64::Engine;
    let text: String = text.split_ascii_whitespace().collect();
    base64::engine::general_purpose::STANDARD
        .decode(text)
        .map_err(|error| format!("data[{key}] is not base64: {error}"))
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let keys: Vec<&String> = self.data.keys().chain(self.string_data.keys()).collect();
        f.debug_struct("Secret")
            .field("type", &self.type_)
            .field("keys", &keys)
            .finish()
    }
}
