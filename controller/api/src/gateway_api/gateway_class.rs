//! GatewayClass.

use super::ParametersReference;
use serde::{Deserialize, Serialize};

/// A kind of Gateway, and who implements it. Cluster-scoped.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct GatewayClass {
    /// What is wanted.
    pub spec: GatewayClassSpec,
}

/// What a [`GatewayClass`] wants.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct GatewayClassSpec {
    /// Who implements Gateways of this class, e.g. `gwanmun.io/gateway-controller`.
    pub controller_name: String,
    /// Parameters of all Gateways of this class.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parameters_ref: Option<ParametersReference>,
    /// Text for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
}
