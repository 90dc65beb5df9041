//! [WasmPlugin](https://istio.io/latest/docs/reference/config/proxy_extensions/wasm-plugin/) and
//! TrafficExtension: code that runs in the proxy.

use super::{LabelSelector, PolicyTargetReference, PortSelector, WorkloadMode};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// A WebAssembly filter.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct WasmPlugin {
    /// What is wanted.
    pub spec: Option<WasmPluginSpec>,
}

/// What a [`WasmPlugin`] wants.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct WasmPluginSpec {
    /// Workloads; absent means all of the namespace, in the root namespace all.
    pub selector: Option<LabelSelector>,
    /// Object whose workloads are meant; superseded by `targetRefs`.
    pub target_ref: Option<PolicyTargetReference>,
    /// Objects whose workloads are meant.
    pub target_refs: Vec<PolicyTargetReference>,
    /// Where the module is. Required.
    pub url: String,
    /// Hex SHA-256 of the module.
    pub sha256: Option<String>,
    /// Whether a module is fetched again.
    pub image_pull_policy: Option<PullPolicy>,
    /// Secret for the registry.
    pub image_pull_secret: Option<String>,
    /// Public key of the module's signer.
    pub verification_key: Option<String>,
    /// Configuration of the module.
    pub plugin_config: Option<Value>,
    /// Name of the plugin in the module.
    pub plugin_name: Option<String>,
    /// Where it runs.
    pub phase: Option<PluginPhase>,
    /// Order within the phase; higher comes first.
    pub priority: Option<i32>,
    /// What happens when it fails.
    pub fail_strategy: Option<FailStrategy>,
    /// Its virtual machine.
    pub vm_config: Option<VmConfig>,
    /// Traffic it sees; empty means all.
    #[serde(rename = "match")]
    pub matches: Vec<TrafficSelector>,
    /// Which kind of filter it is.
    #[serde(rename = "type")]
    pub plugin_type: Option<PluginType>,
}

/// A WebAssembly or Lua filter.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct TrafficExtension {
    /// What is wanted.
    pub spec: Option<TrafficExtensionSpec>,
}

/// What a [`TrafficExtension`] wants.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct TrafficExtensionSpec {
    /// Workloads; absent means all of the namespace, in the root namespace all.
    pub selector: Option<LabelSelector>,
    /// Objects whose workloads are meant.
    pub target_refs: Vec<PolicyTargetReference>,
    /// Where it runs.
    pub phase: Option<PluginPhase>,
    /// Order within the phase; higher comes first.
    pub priority: Option<i32>,
    /// Traffic it sees; empty means all.
    #[serde(rename = "match")]
    pub matches: Vec<TrafficSelector>,
    /// Lua code; excludes `wasm`.
    pub lua: Option<LuaConfig>,
    /// WebAssembly module; excludes `lua`.
    pub wasm: Option<WasmConfig>,
}

/// Lua code.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct LuaConfig {
    /// The code. Required.
    pub inline_code: String,
}

/// A WebAssembly module.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct WasmConfig {
    /// Where the module is. Required.
    pub url: String,
    /// Hex SHA-256 of the module.
    pub sha256: Option<String>,
    /// Whether a module is fetched again.
    pub image_pull_policy: Option<PullPolicy>,
    /// Secret for the registry.
    pub image_pull_secret: Option<String>,
    /// Public key of the module's signer.
    pub verification_key: Option<String>,
    /// Configuration of the module.
    pub plugin_config: Option<Value>,
    /// Name of the plugin in the module.
    pub plugin_name: Option<String>,
    /// What happens when it fails.
    pub fail_strategy: Option<FailStrategy>,
    /// Its virtual machine.
    pub vm_config: Option<VmConfig>,
    /// Which kind of filter it is.
    #[serde(rename = "type")]
    pub plugin_type: Option<PluginType>,
}

/// Traffic.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct TrafficSelector {
    /// Which side; absent means both.
    pub mode: Option<WorkloadMode>,
    /// Ports; empty means all.
    pub ports: Vec<PortSelector>,
}

/// A virtual machine.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct VmConfig {
    /// Environment variables.
    pub env: Vec<EnvVar>,
}

/// An environment variable.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct EnvVar {
    /// Name. Required.
    pub name: String,
    /// Where the value comes from; absent means [`EnvValueSource::Inline`].
    pub value_from: Option<EnvValueSource>,
    /// Value.
    pub value: Option<String>,
}

crate::open_enum! {
    /// Where the value of an environment variable comes from.
    pub enum EnvValueSource {
        /// It is written down.
        Inline = "INLINE",
        /// The proxy's environment.
        Host = "HOST",
    }
}

crate::open_enum! {
    /// Whether a module is fetched again.
    pub enum PullPolicy {
        /// `IfNotPresent`, or `Always` for the tag `latest`.
        Unspecified = "UNSPECIFIED_POLICY",
        /// Only once.
        IfNotPresent = "IfNotPresent",
        /// On every change.
        Always = "Always",
    }
}

crate::open_enum! {
    /// Where a plugin runs.
    pub enum PluginPhase {
        /// At the end.
        UnspecifiedPhase = "UNSPECIFIED_PHASE",
        /// At the end.
        Unspecified = "UNSPECIFIED",
        /// Before authentication.
        Authn = "AUTHN",
        /// Before authorization.
        Authz = "AUTHZ",
        /// Before statistics.
        Stats = "STATS",
    }
}

crate::open_enum! {
    /// What happens when a plugin fails.
    pub enum FailStrategy {
        /// Requests fail.
        Close = "FAIL_CLOSE",
        /// The plugin is skipped.
        Open = "FAIL_OPEN",
        /// The plugin is started again.
        Reload = "FAIL_RELOAD",
    }
}

crate::open_enum! {
    /// Which kind of filter a plugin is.
    pub enum PluginType {
        /// HTTP.
        Unspecified = "UNSPECIFIED_PLUGIN_TYPE",
        /// HTTP.
        Http = "HTTP",
        /// TCP.
        Network = "NETWORK",
    }
}
