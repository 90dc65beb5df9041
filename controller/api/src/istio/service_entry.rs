//! [ServiceEntry], [WorkloadEntry] and [WorkloadGroup]: destinations that Kubernetes does not know.
//!
//! [ServiceEntry]: https://istio.io/latest/docs/reference/config/networking/service-entry/
//! [WorkloadEntry]: https://istio.io/latest/docs/reference/config/networking/workload-entry/
//! [WorkloadGroup]: https://istio.io/latest/docs/reference/config/networking/workload-group/

use super::{Port, WorkloadSelector};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A service outside of Kubernetes.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ServiceEntry {
    /// What is wanted.
    pub spec: Option<ServiceEntrySpec>,
}

/// What a [`ServiceEntry`] wants.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ServiceEntrySpec {
    /// Names in the registry. Required.
    pub hosts: Vec<String>,
    /// Virtual addresses; without effect at gateways.
    pub addresses: Vec<String>,
    /// Ports of the service.
    pub ports: Vec<Port>,
    /// Whether it is part of the mesh; absent means [`Location::MeshExternal`].
    pub location: Option<Location>,
    /// How endpoints are found; absent means [`Resolution::None`].
    pub resolution: Option<Resolution>,
    /// Endpoints; excludes `workloadSelector`.
    pub endpoints: Vec<WorkloadEntrySpec>,
    /// WorkloadEntries and Pods of this namespace that are its endpoints.
    pub workload_selector: Option<WorkloadSelector>,
    /// Namespaces that see this object: `*`, `.`, `~` or names; empty follows the mesh.
    pub export_to: Vec<String>,
    /// Names of which an endpoint's certificate must have one.
    pub subject_alt_names: Vec<String>,
}

crate::open_enum! {
    /// Whether a service is part of the mesh.
    pub enum Location {
        /// No; the default.
        MeshExternal = "MESH_EXTERNAL",
        /// Yes.
        MeshInternal = "MESH_INTERNAL",
    }
}

crate::open_enum! {
    /// How the endpoints of a ServiceEntry are found.
    pub enum Resolution {
        /// The address the client asked for; the default.
        None = "NONE",
        /// They are written down.
        Static = "STATIC",
        /// By resolving names; every address is an endpoint.
        Dns = "DNS",
        /// By resolving a name; new connections go to the first address.
        DnsRoundRobin = "DNS_ROUND_ROBIN",
        /// By resolving the name the client asks for, which a wildcard host covers.
        DynamicDns = "DYNAMIC_DNS",
    }
}

/// A workload outside of Kubernetes.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct WorkloadEntry {
    /// What is wanted.
    pub spec: Option<WorkloadEntrySpec>,
}

/// What a [`WorkloadEntry`] wants; also an endpoint of a [`ServiceEntry`].
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct WorkloadEntrySpec {
    /// IP address, DNS name or `unix://` and a path.
    pub address: Option<String>,
    /// Port numbers by the service's port names.
    pub ports: BTreeMap<String, u32>,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// Network it is in; without effect.
    pub network: Option<String>,
    /// `region/zone/subzone`.
    pub locality: Option<String>,
    /// Share of load; absent means 1.
    pub weight: Option<u32>,
    /// Service account it runs as.
    pub service_account: Option<String>,
}

/// A template for workloads that register themselves; without effect at gateways.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct WorkloadGroup {
    /// What is wanted.
    pub spec: Option<WorkloadGroupSpec>,
}

/// What a [`WorkloadGroup`] wants.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct WorkloadGroupSpec {
    /// Labels and annotations of new entries.
    pub metadata: Option<WorkloadGroupMetadata>,
    /// The rest of new entries. Required.
    pub template: Option<WorkloadEntrySpec>,
    /// How a workload is checked.
    pub probe: Option<ReadinessProbe>,
}

/// Labels and annotations.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct WorkloadGroupMetadata {
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// Annotations.
    pub annotations: BTreeMap<String, String>,
}

/// How a workload is checked.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ReadinessProbe {
    /// Seconds before the first check.
    pub initial_delay_seconds: Option<i32>,
    /// Seconds a check may take.
    pub timeout_seconds: Option<i32>,
    /// Seconds between checks.
    pub period_seconds: Option<i32>,
    /// Good checks until ready.
    pub success_threshold: Option<i32>,
    /// Bad checks until unready.
    pub failure_threshold: Option<i32>,
    /// Check by HTTP.
    pub http_get: Option<HttpHealthCheck>,
    /// Check by connecting.
    pub tcp_socket: Option<TcpHealthCheck>,
    /// Check by a command.
    pub exec: Option<ExecHealthCheck>,
    /// Check by the gRPC health service.
    pub grpc: Option<GrpcHealthCheck>,
}

/// Check by HTTP.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct HttpHealthCheck {
    /// Path.
    pub path: Option<String>,
    /// Port. Required.
    pub port: Option<u32>,
    /// Host to connect to.
    pub host: Option<String>,
    /// `http` or `https`.
    pub scheme: Option<String>,
    /// Headers to send.
    pub http_headers: Vec<HttpHeader>,
}

/// A header.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct HttpHeader {
    /// Name.
    pub name: Option<String>,
    /// Value.
    pub value: Option<String>,
}

/// Check by connecting.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct TcpHealthCheck {
    /// Host to connect to.
    pub host: Option<String>,
    /// Port. Required.
    pub port: Option<u32>,
}

/// Check by a command.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ExecHealthCheck {
    /// Command and arguments. Required.
    pub command: Vec<String>,
}

/// Check by the gRPC health service.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct GrpcHealthCheck {
    /// Port.
    pub port: Option<u32>,
    /// Service name.
    pub service: Option<String>,
}
