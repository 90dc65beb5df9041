//! What several kinds share: string matches, destinations, ports, selectors.

use crate::{Percent, ProtoDuration};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A condition on a string; one of the three is set, none means "is present".
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct StringMatch {
    /// The whole string, as written.
    pub exact: Option<String>,
    /// How the string starts.
    pub prefix: Option<String>,
    /// RE2 expression that matches the whole string.
    pub regex: Option<String>,
}

/// A share in percent.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Share {
    /// 0 to 100, fractions allowed; absent means 0.
    pub value: Option<Percent>,
}

/// A port by its number.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PortSelector {
    /// Port number.
    pub number: Option<u32>,
}

/// A service, some of its endpoints, and a port.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Destination {
    /// Name in the registry: a Service (short names are completed with the namespace of the
    /// object that names it) or a host of a ServiceEntry. Required.
    pub host: String,
    /// Subset of a DestinationRule; absent means all endpoints.
    pub subset: Option<String>,
    /// Port of the service; may be left out where it has one only.
    pub port: Option<PortSelector>,
}

/// A port with a name and a protocol.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Port {
    /// Port number. Required.
    pub number: Option<u32>,
    /// `HTTP`, `HTTPS`, `GRPC`, `GRPC-WEB`, `HTTP2`, `MONGO`, `TCP`, `TLS`, … in any case.
    pub protocol: Option<String>,
    /// Label of the port. Required.
    pub name: Option<String>,
    /// Port of the endpoints; meaningless on a Gateway.
    pub target_port: Option<u32>,
}

/// Workloads by labels.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct WorkloadSelector {
    /// Labels that a workload must have; empty means every workload in reach.
    pub labels: BTreeMap<String, String>,
}

/// Workloads by labels, as the security, telemetry and extension kinds write it.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct LabelSelector {
    /// Labels that a workload must have; empty means every workload in reach.
    pub match_labels: BTreeMap<String, String>,
}

/// The object a policy applies to.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PolicyTargetReference {
    /// API group; empty means core.
    pub group: Option<String>,
    /// Kind, e.g. `Gateway`, `Service`, `ServiceEntry`. Required.
    pub kind: String,
    /// Name. Required.
    pub name: String,
    /// Namespace; only the policy's own is allowed.
    pub namespace: Option<String>,
}

/// TCP keep-alive probes.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct TcpKeepalive {
    /// Probes without answer until the connection is dead.
    pub probes: Option<u32>,
    /// Idle time before the first probe.
    pub time: Option<ProtoDuration>,
    /// Time between probes.
    pub interval: Option<ProtoDuration>,
}

/// Where a service's endpoints are preferred from.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct LocalityLoadBalancerSetting {
    /// Shares of traffic by origin; excludes `failover`.
    pub distribute: Vec<LocalityDistribute>,
    /// Where traffic goes when a locality is unhealthy; excludes `distribute`.
    pub failover: Vec<LocalityFailover>,
    /// Labels by which endpoints are ordered for failover.
    pub failover_priority: Vec<String>,
    /// Whether locality counts; absent follows the mesh.
    pub enabled: Option<bool>,
}

/// Shares of the traffic from one locality.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct LocalityDistribute {
    /// Originating locality, `region/zone/subzone` with `*`.
    pub from: Option<String>,
    /// Destination locality to percent; they add up to 100.
    pub to: BTreeMap<String, u32>,
}

/// Where traffic of an unhealthy region goes.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct LocalityFailover {
    /// Originating region.
    pub from: Option<String>,
    /// Destination region.
    pub to: Option<String>,
}

/// Zone aware balancing.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ZoneAwareLoadBalancerSetting {
    /// Where traffic goes when a locality is unhealthy.
    pub failover: Vec<LocalityFailover>,
    /// Labels by which endpoints are ordered for failover.
    pub failover_priority: Vec<String>,
    /// Whether zones count; absent follows the mesh.
    pub enabled: Option<bool>,
    /// Smallest number of endpoints for which zones count.
    pub min_cluster_size: Option<u64>,
}

crate::open_enum! {
    /// Which side of a workload's traffic something applies to.
    pub enum WorkloadMode {
        /// Not said.
        Undefined = "UNDEFINED",
        /// Requests a workload sends; a gateway is a client.
        Client = "CLIENT",
        /// Requests a workload receives.
        Server = "SERVER",
        /// Both.
        ClientAndServer = "CLIENT_AND_SERVER",
    }
}
