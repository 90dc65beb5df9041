//! [EnvoyFilter](https://istio.io/latest/docs/reference/config/networking/envoy-filter/): patches
//! of Envoy's configuration, of which a gateway that is not Envoy can only know some.

use super::{PolicyTargetReference, WorkloadSelector};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;

/// Patches of Envoy's configuration.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct EnvoyFilter {
    /// What is wanted; the schema does not require it.
    pub spec: Option<EnvoyFilterSpec>,
}

/// What an [`EnvoyFilter`] wants.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct EnvoyFilterSpec {
    /// Workloads; absent means all of the namespace.
    pub workload_selector: Option<WorkloadSelector>,
    /// Objects whose workloads are patched.
    pub target_refs: Vec<PolicyTargetReference>,
    /// Patches in order.
    pub config_patches: Vec<EnvoyConfigObjectPatch>,
    /// Order among EnvoyFilters; lower comes first.
    pub priority: Option<i32>,
}

/// One patch.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct EnvoyConfigObjectPatch {
    /// What is patched.
    pub apply_to: Option<ApplyTo>,
    /// Which of them.
    #[serde(rename = "match")]
    pub matches: Option<EnvoyConfigObjectMatch>,
    /// How.
    pub patch: Option<Patch>,
}

/// Which objects are patched.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct EnvoyConfigObjectMatch {
    /// Where.
    pub context: Option<PatchContext>,
    /// On which proxies.
    pub proxy: Option<ProxyMatch>,
    /// Of which listeners.
    pub listener: Option<ListenerMatch>,
    /// Of which route tables.
    pub route_configuration: Option<RouteConfigurationMatch>,
    /// Which clusters.
    pub cluster: Option<ClusterMatch>,
    /// Of which waypoint.
    pub waypoint: Option<WaypointMatch>,
}

/// Proxies.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ProxyMatch {
    /// Regular expression on the version.
    pub proxy_version: Option<String>,
    /// Node metadata.
    pub metadata: BTreeMap<String, String>,
}

/// Clusters.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ClusterMatch {
    /// Port of the service.
    pub port_number: Option<u32>,
    /// Service.
    pub service: Option<String>,
    /// Subset.
    pub subset: Option<String>,
    /// Name of the cluster.
    pub name: Option<String>,
}

/// Listeners.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ListenerMatch {
    /// Port.
    pub port_number: Option<u32>,
    /// Name of the port.
    pub port_name: Option<String>,
    /// Filter chains.
    pub filter_chain: Option<FilterChainMatch>,
    /// Name of a listener filter.
    pub listener_filter: Option<String>,
    /// Name of the listener.
    pub name: Option<String>,
}

/// Filter chains.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct FilterChainMatch {
    /// Name.
    pub name: Option<String>,
    /// Server name.
    pub sni: Option<String>,
    /// `raw_buffer` or `tls`.
    pub transport_protocol: Option<String>,
    /// ALPN, comma separated.
    pub application_protocols: Option<String>,
    /// A filter of the chain.
    pub filter: Option<FilterMatch>,
    /// Destination port.
    pub destination_port: Option<u32>,
}

/// A filter.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct FilterMatch {
    /// Name.
    pub name: Option<String>,
    /// A filter inside of it.
    pub sub_filter: Option<SubFilterMatch>,
}

/// A filter inside of another.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct SubFilterMatch {
    /// Name.
    pub name: Option<String>,
}

/// Route tables.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct RouteConfigurationMatch {
    /// Port.
    pub port_number: Option<u32>,
    /// Name of the port.
    pub port_name: Option<String>,
    /// Gateway, `namespace/name`.
    pub gateway: Option<String>,
    /// Virtual host.
    pub vhost: Option<VirtualHostMatch>,
    /// Name.
    pub name: Option<String>,
}

/// Virtual hosts.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct VirtualHostMatch {
    /// Name, `host:port`.
    pub name: Option<String>,
    /// One of its domains.
    pub domain_name: Option<String>,
    /// One of its routes.
    pub route: Option<RouteMatch>,
}

/// Routes.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct RouteMatch {
    /// Name.
    pub name: Option<String>,
    /// What the route does.
    pub action: Option<RouteMatchAction>,
}

crate::open_enum! {
    /// What a route does.
    pub enum RouteMatchAction {
        /// Anything.
        Any = "ANY",
        /// It forwards.
        Route = "ROUTE",
        /// It redirects.
        Redirect = "REDIRECT",
        /// It answers.
        DirectResponse = "DIRECT_RESPONSE",
    }
}

/// Filters and routes of a waypoint.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct WaypointMatch {
    /// Port.
    pub port_number: Option<u32>,
    /// A filter.
    pub filter: Option<FilterMatch>,
    /// A route.
    pub route: Option<WaypointRouteMatch>,
}

/// A route of a waypoint.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct WaypointRouteMatch {
    /// Name.
    pub name: Option<String>,
}

/// How something is patched.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Patch {
    /// What is done.
    pub operation: Option<PatchOperation>,
    /// Envoy configuration.
    pub value: Option<Value>,
    /// Where a filter is inserted.
    pub filter_class: Option<FilterClass>,
}

crate::open_enum! {
    /// What is patched.
    pub enum ApplyTo {
        /// Nothing.
        Invalid = "INVALID",
        /// Listeners.
        Listener = "LISTENER",
        /// Filter chains.
        FilterChain = "FILTER_CHAIN",
        /// Network filters.
        NetworkFilter = "NETWORK_FILTER",
        /// HTTP filters.
        HttpFilter = "HTTP_FILTER",
        /// Route tables.
        RouteConfiguration = "ROUTE_CONFIGURATION",
        /// Virtual hosts.
        VirtualHost = "VIRTUAL_HOST",
        /// Routes.
        HttpRoute = "HTTP_ROUTE",
        /// Clusters.
        Cluster = "CLUSTER",
        /// Extension configurations.
        ExtensionConfig = "EXTENSION_CONFIG",
        /// The bootstrap configuration.
        Bootstrap = "BOOTSTRAP",
        /// Listener filters.
        ListenerFilter = "LISTENER_FILTER",
    }
}

crate::open_enum! {
    /// Where something is patched.
    pub enum PatchContext {
        /// Everywhere.
        Any = "ANY",
        /// What a sidecar receives.
        SidecarInbound = "SIDECAR_INBOUND",
        /// What a sidecar sends.
        SidecarOutbound = "SIDECAR_OUTBOUND",
        /// At gateways.
        Gateway = "GATEWAY",
        /// At waypoints.
        Waypoint = "WAYPOINT",
    }
}

crate::open_enum! {
    /// What is done.
    pub enum PatchOperation {
        /// Nothing.
        Invalid = "INVALID",
        /// Merge.
        Merge = "MERGE",
        /// Append.
        Add = "ADD",
        /// Remove.
        Remove = "REMOVE",
        /// Insert before the one named.
        InsertBefore = "INSERT_BEFORE",
        /// Insert after the one named.
        InsertAfter = "INSERT_AFTER",
        /// Insert before all.
        InsertFirst = "INSERT_FIRST",
        /// Replace.
        Replace = "REPLACE",
        /// Merge, replacing lists.
        MergeAndReplaceList = "MERGE_AND_REPLACE_LIST",
    }
}

crate::open_enum! {
    /// Where a filter is inserted.
    pub enum FilterClass {
        /// At the end.
        Unspecified = "UNSPECIFIED",
        /// After authentication.
        Authn = "AUTHN",
        /// After authorization.
        Authz = "AUTHZ",
        /// Before statistics.
        Stats = "STATS",
    }
}
