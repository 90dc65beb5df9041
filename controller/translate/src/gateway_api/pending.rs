//! Kinds that are read and have no effect yet: true statuses, and one finding each.

use super::{
    CONTROLLER, Context,
    backend_ref::{self, Source},
    gateway::Parents,
    route::{self, Draft, Facts},
    status::{Decision, Reason},
};
use crate::{AncestorStatus, Code, ParentReference, Ref, Severity};
use gwanmun_api::{
    Kind, ObjectKey, Typed,
    gateway_api::{
        BackendTlsPolicy, GROUP, L4RouteRule, ParentReference as WrittenParent, TcpRoute, TlsRoute,
        UdpRoute,
    },
};
use std::collections::{BTreeMap, BTreeSet};

/// How many ancestors a status may have.
const MAX_ANCESTORS: usize = 16;

/// Translates all other kinds.
pub(super) fn translate(cx: &mut Context<'_, '_>, parents: &mut Parents<'_>) {
    for route in cx.store.all::<TlsRoute>() {
        let spec = &route.content.spec;
        l4_route(
            cx,
            parents,
            route,
            (&spec.parent_refs, &spec.hostnames, &spec.rules),
        );
    }
    for route in cx.store.all::<TcpRoute>() {
        let spec = &route.content.spec;
        l4_route(cx, parents, route, (&spec.parent_refs, &[], &spec.rules));
    }
    for route in cx.store.all::<UdpRoute>() {
        let spec = &route.content.spec;
        l4_route(cx, parents, route, (&spec.parent_refs, &[], &spec.rules));
    }
    policies(cx, parents);
    for kind in [
        Kind::XBackend,
        Kind::XBackendTrafficPolicy,
        Kind::XMesh,
        Kind::XTelemetryPolicy,
    ] {
        for object in cx.store.of_kind(kind) {
            let message = format!("{kind} has no effect yet");
            cx.tell(Severity::Info, Code::NoEffectYet, object, "", &message);
        }
    }
}

/// Decides the status of a route that no listener takes yet.
fn l4_route<T: Typed>(
    cx: &mut Context<'_, '_>,
    parents: &mut Parents<'_>,
    route: Ref<'_, T>,
    (parent_refs, hostnames, rules): (&[WrittenParent], &[String], &[L4RouteRule]),
) {
    let message = format!("{} has no effect yet", T::KIND);
    cx.tell(
        Severity::Info,
        Code::NoEffectYet,
        route.object,
        "",
        &message,
    );
    let facts = Facts::new(cx, route.object, parent_refs, hostnames);
    route::translate(cx, parents, &facts, |cx| {
        let mut draft = Draft::new(rules.len());
        let source = Source {
            object: route.object,
            http2: false,
        };
        for (index, rule) in rules.iter().enumerate() {
            for (position, backend) in rule.backend_refs.iter().enumerate() {
                let field = format!("spec.rules[{index}].backendRefs[{position}]");
                let found = backend_ref::resolve(cx, source, &backend.target(), &field);
                if let Some((reason, message)) = found.problem {
                    draft.unresolved(reason, message);
                }
            }
        }
        draft
    });
}

/// Says of every BackendTLSPolicy that it is not supported, to the Gateways that use its target.
fn policies(cx: &mut Context<'_, '_>, parents: &Parents<'_>) {
    let mut ancestors: BTreeMap<&ObjectKey, BTreeSet<&ObjectKey>> = BTreeMap::new();
    for parent in parents.values() {
        for policy in &parent.policies {
            ancestors.entry(policy).or_default().insert(&parent.gateway);
        }
    }
    for policy in cx.store.all::<BackendTlsPolicy>() {
        let message = "BackendTLSPolicy has no effect yet: its backends are answered with 500";
        cx.tell(
            Severity::Info,
            Code::NoEffectYet,
            policy.object,
            "",
            message,
        );
        let generation = policy.object.meta.generation;
        let accepted = Decision::no(Reason::Invalid, message);
        let used_by = ancestors.remove(&policy.key()).unwrap_or_default();
        for gateway in used_by.into_iter().take(MAX_ANCESTORS) {
            cx.sink.status(policy.key()).ancestors.push(AncestorStatus {
                ancestor_ref: ParentReference {
                    group: Some(GROUP.to_owned()),
                    kind: Some("Gateway".to_owned()),
                    namespace: Some(gateway.namespace.clone()),
                    name: gateway.name.clone(),
                    ..ParentReference::default()
                },
                controller_name: CONTROLLER.to_owned(),
                conditions: vec![accepted.condition("Accepted", generation)],
            });
        }
    }
}
