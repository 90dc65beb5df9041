//! GatewayClasses: which are ours.

use super::{
    CONTROLLER, Context,
    status::{Decision, Reason},
};
use crate::{Code, FeatureName, Placement, Severity};
use gwanmun_api::gateway_api::GatewayClass;
use std::collections::BTreeMap;

/// The class that exists without being written.
const BUILT_IN: &str = "gwanmun";

/// What conformance tests may ask of us, sorted. A name stands here only if it works.
const FEATURES: &[&str] = &[
    "BackendTLSPolicy",
    "BackendTLSPolicySANValidation",
    "GRPCRoute",
    "GRPCRouteNamedRouteRule",
    "GRPCRouteRequestHeaderModifier",
    "Gateway",
    "GatewayAddressEmpty",
    "GatewayBackendClientCertificate",
    "GatewayFrontendClientCertificateValidation",
    "GatewayFrontendClientCertificateValidationInsecureFallback",
    "GatewayHTTPListenerIsolation",
    "GatewayHTTPSListenerDetectMisdirectedRequests",
    "GatewayPort8080",
    "GatewayRouteHostnameIntersectionPrecedence",
    "GatewayStaticAddresses",
    "HTTPRoute",
    "HTTPRoute303RedirectStatusCode",
    "HTTPRoute307RedirectStatusCode",
    "HTTPRoute308RedirectStatusCode",
    "HTTPRouteBackendProtocolH2C",
    "HTTPRouteBackendProtocolWebSocket",
    "HTTPRouteBackendRequestHeaderModification",
    "HTTPRouteBackendTimeout",
    "HTTPRouteBackendURLRewrite",
    "HTTPRouteDestinationPortMatching",
    "HTTPRouteHostRewrite",
    "HTTPRouteMethodMatching",
    "HTTPRouteNamedRouteRule",
    "HTTPRouteParentRefPort",
    "HTTPRoutePathRedirect",
    "HTTPRoutePathRewrite",
    "HTTPRoutePortRedirect",
    "HTTPRouteQueryParamMatching",
    "HTTPRouteRequestTimeout",
    "HTTPRouteResponseHeaderModification",
    "HTTPRouteRetryCodes",
    "HTTPRouteRetryConnectionError",
    "HTTPRouteSchemeRedirect",
    "ListenerSet",
    "ReferenceGrant",
    "TCPRoute",
    "TLSRoute",
    "TLSRouteModeMixed",
    "TLSRouteModeTerminate",
    "UDPRoute",
];

/// … and where Gateways have pods and Services of their own.
const OF_PROVISIONED: &str = "GatewayInfrastructure";

/// The classes that are ours.
pub(super) struct Classes {
    /// By name; whether Gateways of the class are served.
    ours: BTreeMap<String, bool>,
}

impl Classes {
    /// Whether Gateways of this class are served; nothing when the class is not ours.
    pub(super) fn served(&self, name: &str) -> Option<bool> {
        self.ours.get(name).copied()
    }
}

/// Decides which classes are ours and accepts or refuses them.
pub(super) fn translate(cx: &mut Context<'_, '_>) -> Classes {
    let mut ours = BTreeMap::from([(BUILT_IN.to_owned(), true)]);
    for class in cx.store.all::<GatewayClass>() {
        if class.spec.controller_name != CONTROLLER {
            // A class of this name that somebody wrote for another controller is theirs.
            ours.remove(class.name());
            continue;
        }
        let accepted = match &class.spec.parameters_ref {
            None => Decision::yes(Reason::Accepted),
            Some(parameters) => Decision::no(
                Reason::InvalidParameters,
                format!(
                    "parameters of kind `{}` of group `{}` are not supported",
                    parameters.kind, parameters.group
                ),
            ),
        };
        if !accepted.holds() {
            cx.tell(
                Severity::Error,
                Code::NotAccepted,
                class.object,
                "spec.parametersRef",
                &accepted.message,
            );
        }
        ours.insert(class.name().to_owned(), accepted.holds());
        let generation = class.object.meta.generation;
        let status = cx.sink.status(class.key());
        status.conditions = vec![
            accepted.condition("Accepted", generation),
            Decision::yes(Reason::SupportedVersion).condition("SupportedVersion", generation),
        ];
        let provisioned = matches!(cx.options.placement, Placement::Own(_));
        let mut features: Vec<&str> = FEATURES.to_vec();
        features.extend(provisioned.then_some(OF_PROVISIONED));
        features.sort_unstable();
        status.supported_features = features
            .into_iter()
            .map(|name| FeatureName {
                name: name.to_owned(),
            })
            .collect();
    }
    for name in &cx.options.gateway_classes {
        ours.entry(name.clone()).or_insert(true);
    }
    Classes { ours }
}

#[cfg(test)]
mod tests {
    use super::FEATURES;

    #[test]
    fn features_are_sorted_and_few_enough_for_the_status() {
        assert!(FEATURES.is_sorted());
        assert!(FEATURES.len() < 64);
    }
}
