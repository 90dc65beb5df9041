//! [Sidecar](https://istio.io/latest/docs/reference/config/networking/sidecar/): what a mesh
//! workload may reach. Istio does not apply it to gateways.

use super::{ConnectionPoolSettings, Destination, Port, ServerTlsSettings, WorkloadSelector};
use serde::{Deserialize, Serialize};

/// What a mesh workload receives and may reach.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Sidecar {
    /// What is wanted; the schema does not require it.
    pub spec: Option<SidecarSpec>,
}

/// What a [`Sidecar`] wants.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct SidecarSpec {
    /// Workloads; absent means the whole namespace.
    pub workload_selector: Option<WorkloadSelector>,
    /// Ports it receives on.
    pub ingress: Vec<IstioIngressListener>,
    /// Hosts it may reach.
    pub egress: Vec<IstioEgressListener>,
    /// Limits of what it receives.
    pub inbound_connection_pool: Option<ConnectionPoolSettings>,
    /// What happens to unknown destinations.
    pub outbound_traffic_policy: Option<OutboundTrafficPolicy>,
}

/// A port a workload receives on.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct IstioIngressListener {
    /// Port. Required.
    pub port: Option<Port>,
    /// Address.
    pub bind: Option<String>,
    /// How traffic is captured.
    pub capture_mode: Option<CaptureMode>,
    /// Where traffic goes: `127.0.0.1:PORT` or `unix://` and a path.
    pub default_endpoint: Option<String>,
    /// TLS.
    pub tls: Option<ServerTlsSettings>,
    /// Limits.
    pub connection_pool: Option<ConnectionPoolSettings>,
}

/// Hosts a workload may reach.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct IstioEgressListener {
    /// Port; absent means every port.
    pub port: Option<Port>,
    /// Address.
    pub bind: Option<String>,
    /// How traffic is captured.
    pub capture_mode: Option<CaptureMode>,
    /// Hosts as `namespace/name`. Required.
    pub hosts: Vec<String>,
}

/// What happens to unknown destinations.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct OutboundTrafficPolicy {
    /// Whether they may be reached.
    pub mode: Option<OutboundTrafficPolicyMode>,
    /// Where their traffic goes.
    pub egress_proxy: Option<Destination>,
}

crate::open_enum! {
    /// Whether unknown destinations may be reached.
    pub enum OutboundTrafficPolicyMode {
        /// No.
        RegistryOnly = "REGISTRY_ONLY",
        /// Yes.
        AllowAny = "ALLOW_ANY",
    }
}

crate::open_enum! {
    /// How a workload's traffic is captured.
    pub enum CaptureMode {
        /// As the environment does it.
        Default = "DEFAULT",
        /// By iptables.
        Iptables = "IPTABLES",
        /// Not at all.
        None = "NONE",
    }
}
