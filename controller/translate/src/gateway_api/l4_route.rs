//! TLSRoutes, TCPRoutes and UDPRoutes.
//!
//! Of several routes on a listener the one with the most specific hostname is used, then the
//! oldest; the others stay accepted.

use super::{
    Context,
    backend_ref::{self, Source, Speech},
    gateway::Parents,
    route::{self, Draft, Facts, L4Rule},
    status::Reason,
};
use crate::{Code, Ref, Severity, backend};
use gwanmun_api::{
    Object, Typed,
    gateway_api::{DefaultScope, L4RouteRule, ParentReference, TcpRoute, TlsRoute, UdpRoute},
};
use gwanmun_ir::{L4Target, Target};

/// Longest time that a UDP session may be silent, milliseconds; Envoy's.
const UDP_IDLE_MS: u64 = 60_000;

/// What the three kinds have in common.
struct Content<'a> {
    parent_refs: &'a [ParentReference],
    scope: Option<&'a DefaultScope>,
    hostnames: &'a [String],
    rules: &'a [L4RouteRule],
    speech: Speech,
}

/// Translates all routes of the three kinds.
pub(super) fn translate(cx: &mut Context<'_, '_>, parents: &mut Parents<'_>) {
    for route in cx.store.all::<TlsRoute>() {
        let spec = &route.content.spec;
        let content = Content {
            parent_refs: &spec.parent_refs,
            scope: spec.use_default_gateways.as_ref(),
            hostnames: &spec.hostnames,
            rules: &spec.rules,
            speech: Speech::Tcp,
        };
        translate_route(cx, parents, route, &content);
    }
    for route in cx.store.all::<TcpRoute>() {
        let spec = &route.content.spec;
        let content = Content {
            parent_refs: &spec.parent_refs,
            scope: spec.use_default_gateways.as_ref(),
            hostnames: &[],
            rules: &spec.rules,
            speech: Speech::Tcp,
        };
        translate_route(cx, parents, route, &content);
    }
    for route in cx.store.all::<UdpRoute>() {
        let spec = &route.content.spec;
        let content = Content {
            parent_refs: &spec.parent_refs,
            scope: spec.use_default_gateways.as_ref(),
            hostnames: &[],
            rules: &spec.rules,
            speech: Speech::Udp,
        };
        translate_route(cx, parents, route, &content);
    }
}

fn translate_route<T: Typed>(
    cx: &mut Context<'_, '_>,
    parents: &mut Parents<'_>,
    route: Ref<'_, T>,
    content: &Content<'_>,
) {
    route::tell_default_gateways(cx, route.object, content.scope);
    let facts = Facts::new(cx, route.object, content.parent_refs, content.hostnames);
    route::translate(cx, parents, &facts, |cx| {
        let mut draft = Draft::new(content.rules.len());
        for (index, rule) in content.rules.iter().enumerate() {
            if index == 0 {
                add_rule(cx, route.object, &mut draft, (rule, content.speech));
            } else {
                refuse_rule(cx, route.object, &mut draft, index);
            }
        }
        draft
    });
}

/// Rules have no conditions, so the first one takes everything.
fn refuse_rule(cx: &mut Context<'_, '_>, object: &Object, draft: &mut Draft, index: usize) {
    let message = "only one rule is possible; the first one is used";
    let field = format!("spec.rules[{index}]");
    let (severity, code) = (Severity::Error, Code::NotAccepted);
    cx.tell(severity, code, object, &field, message);
    draft.drop(index, false, Reason::UnsupportedValue, message.to_owned());
}

fn add_rule(
    cx: &mut Context<'_, '_>,
    object: &Object,
    draft: &mut Draft,
    (rule, speech): (&L4RouteRule, Speech),
) {
    let source = Source { object, speech };
    let mut targets = Vec::new();
    for (position, backend) in rule.backend_refs.iter().enumerate() {
        let field = format!("spec.rules[0].backendRefs[{position}]");
        let resolution = backend_ref::resolve(cx, source, &backend.target(), &field);
        if let Some((reason, message)) = resolution.problem {
            draft.unresolved(reason, message);
        }
        draft.policies.extend(resolution.policies);
        targets.push(L4Target {
            target: resolution.target,
            weight: backend.weight(),
        });
    }
    draft.l4_rules.push(L4Rule {
        index: 0,
        name: rule.name.clone(),
        idle_timeout_ms: idle_timeout_ms(cx, &targets, speech),
        targets,
    });
}

/// Longest silence of a connection or session, milliseconds: as the DestinationRule of the first
/// backend that has one says, for TCP.
fn idle_timeout_ms(cx: &Context<'_, '_>, targets: &[L4Target], speech: Speech) -> u64 {
    if speech == Speech::Udp {
        return UDP_IDLE_MS;
    }
    let mut said = targets.iter().filter_map(|target| match &target.target {
        Target::Cluster(cluster) => backend::tcp_idle_timeout_ms(cx.sink, cluster),
        Target::Fail(_) => None,
    });
    said.next().unwrap_or(backend::TCP_IDLE_TIMEOUT_MS)
}
