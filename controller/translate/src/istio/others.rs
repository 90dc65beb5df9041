//! Kinds without effect so far: each object is told so once, loudly where it was meant to protect.

use super::world::{Voice, World};
use crate::{Code, output::Sink};
use gwanmun_api::{
    Kind, Object,
    istio::{
        self, AuthorizationAction, AuthorizationPolicy, EnvoyFilter, LabelSelector,
        PolicyTargetReference, RequestAuthentication, Telemetry, TrafficExtension, WasmPlugin,
    },
};

/// Reports all objects of kinds that have no effect.
pub(super) fn review(world: &World<'_>, sink: &mut Sink) {
    for kind in [
        Kind::Sidecar,
        Kind::PeerAuthentication,
        Kind::WorkloadGroup,
        Kind::ProxyConfig,
    ] {
        for object in world.store.of_kind(kind) {
            let message = "applies to the mesh only: it has no effect on a gateway";
            Voice { object, sink }.info(Code::NoEffectOnGateway, "", message);
        }
    }
    security(world, sink);
    extensions(world, sink);
}

fn security(world: &World<'_>, sink: &mut Sink) {
    for policy in world.store.all::<AuthorizationPolicy>() {
        let spec = policy.content.spec.clone().unwrap_or_default();
        let targets = targets(&spec.target_refs, spec.target_ref.as_ref());
        let dry = policy.object.meta.annotations.get("istio.io/dry-run");
        let harmless = spec.action == Some(AuthorizationAction::Audit)
            || dry.is_some_and(|value| value == "true");
        let meant = world.is_meant(policy.object, spec.selector.as_ref(), &targets);
        let what = "requests are NOT checked against it";
        unprotected(policy.object, meant && !harmless, what, sink);
    }
    for policy in world.store.all::<RequestAuthentication>() {
        let spec = policy.content.spec.clone().unwrap_or_default();
        let targets = targets(&spec.target_refs, spec.target_ref.as_ref());
        let meant = world.is_meant(policy.object, spec.selector.as_ref(), &targets);
        unprotected(policy.object, meant, "tokens are NOT verified", sink);
    }
}

fn unprotected(object: &Object, meant: bool, what: &str, sink: &mut Sink) {
    let mut voice = Voice { object, sink };
    if meant {
        let message =
            format!("has no effect yet: {what}, traffic through this gateway is NOT protected");
        voice.error(Code::NoEffectYet, "", message);
    } else {
        let message = "does not mean this gateway, so it has no effect here";
        voice.info(Code::NoEffectOnGateway, "", message);
    }
}

fn extensions(world: &World<'_>, sink: &mut Sink) {
    let mut say = |object: &Object, meant: bool| {
        let mut voice = Voice { object, sink };
        if meant {
            voice.warn(Code::NoEffectYet, "", "has no effect yet");
        } else {
            let message = "does not mean this gateway, so it has no effect here";
            voice.info(Code::NoEffectOnGateway, "", message);
        }
    };
    for filter in world.store.all::<EnvoyFilter>() {
        let spec = filter.content.spec.clone().unwrap_or_default();
        let selector = spec.workload_selector.map(|selector| LabelSelector {
            match_labels: selector.labels,
        });
        let gateway = spec.config_patches.is_empty()
            || spec.config_patches.iter().any(|patch| {
                let context = patch
                    .matches
                    .as_ref()
                    .and_then(|found| found.context.as_ref());
                matches!(
                    context,
                    None | Some(istio::PatchContext::Any | istio::PatchContext::Gateway)
                )
            });
        let meant = world.is_meant(filter.object, selector.as_ref(), &spec.target_refs);
        say(filter.object, meant && gateway);
    }
    for object in world.store.all::<Telemetry>() {
        let spec = object.content.spec.clone().unwrap_or_default();
        let targets = targets(&spec.target_refs, spec.target_ref.as_ref());
        say(
            object.object,
            world.is_meant(object.object, spec.selector.as_ref(), &targets),
        );
    }
    for object in world.store.all::<WasmPlugin>() {
        let spec = object.content.spec.clone().unwrap_or_default();
        let targets = targets(&spec.target_refs, spec.target_ref.as_ref());
        say(
            object.object,
            world.is_meant(object.object, spec.selector.as_ref(), &targets),
        );
    }
    for object in world.store.all::<TrafficExtension>() {
        let spec = object.content.spec.clone().unwrap_or_default();
        let meant = world.is_meant(object.object, spec.selector.as_ref(), &spec.target_refs);
        say(object.object, meant);
    }
}

fn targets(
    all: &[PolicyTargetReference],
    one: Option<&PolicyTargetReference>,
) -> Vec<PolicyTargetReference> {
    all.iter().chain(one).cloned().collect()
}

impl World<'_> {
    /// Whether a RequestAuthentication verifies tokens at this gateway.
    pub(super) fn authenticates_requests(&self) -> bool {
        self.store.all::<RequestAuthentication>().any(|policy| {
            let spec = policy.content.spec.clone().unwrap_or_default();
            let targets = targets(&spec.target_refs, spec.target_ref.as_ref());
            self.is_meant(policy.object, spec.selector.as_ref(), &targets)
        })
    }

    /// Whether a policy means this gateway: by naming a Gateway of the Gateway API, or by its
    /// selector from the root namespace or the gateway's.
    fn is_meant(
        &self,
        object: &Object,
        selector: Option<&LabelSelector>,
        targets: &[PolicyTargetReference],
    ) -> bool {
        if !targets.is_empty() {
            let mut targets = targets.iter();
            return targets
                .any(|target| matches!(target.kind.as_str(), "Gateway" | "GatewayClass"));
        }
        let namespace = &object.meta.namespace;
        let in_reach =
            *namespace == self.options.namespace || namespace == self.mesh.root_namespace();
        in_reach && selector.is_none_or(|selector| self.selects(&selector.match_labels))
    }
}
