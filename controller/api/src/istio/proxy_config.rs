//! [ProxyConfig](https://istio.io/latest/docs/reference/config/networking/proxy-config/): how
//! proxies are started.

use super::LabelSelector;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// How proxies are started.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ProxyConfig {
    /// What is wanted; the schema does not require it.
    pub spec: Option<ProxyConfigSpec>,
}

/// What a [`ProxyConfig`] wants.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ProxyConfigSpec {
    /// Workloads; absent means all of the namespace.
    pub selector: Option<LabelSelector>,
    /// Worker threads; 0 means all cores.
    pub concurrency: Option<i32>,
    /// Environment variables.
    pub environment_variables: BTreeMap<String, String>,
    /// Image.
    pub image: Option<ProxyImage>,
}

/// Image of a proxy.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ProxyImage {
    /// `default`, `debug` or `distroless`.
    pub image_type: Option<String>,
}
