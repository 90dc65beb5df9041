//! GRPCRoutes.

use super::{
    Context,
    filter::of_grpc,
    gateway::Parents,
    http_route::{Backend, RuleWork, header_matches, regex},
    route::{self, Draft, Facts, Rule},
    status::Reason,
};
use gwanmun_api::{
    Object,
    gateway_api::{GrpcMethodMatch, GrpcRoute, GrpcRouteMatch, GrpcRouteRule, MatchType},
};
use gwanmun_ir::{HttpMatch, PathMatch, RouteKind, Timeouts};

/// Translates all GRPCRoutes.
pub(super) fn translate(cx: &mut Context<'_, '_>, parents: &mut Parents<'_>) {
    for route in cx.store.all::<GrpcRoute>() {
        let spec = &route.content.spec;
        route::tell_default_gateways(cx, route.object, spec.use_default_gateways.as_ref());
        let facts = Facts::new(cx, route.object, &spec.parent_refs, &spec.hostnames);
        route::translate(cx, parents, &facts, |cx| {
            let mut draft = Draft::new(spec.rules.len());
            for (index, rule) in spec.rules.iter().enumerate() {
                add_rule(cx, route.object, &mut draft, (index, rule));
            }
            draft
        });
    }
}

fn add_rule(
    cx: &mut Context<'_, '_>,
    object: &Object,
    draft: &mut Draft,
    (index, rule): (usize, &GrpcRouteRule),
) {
    let mut work = RuleWork::new(cx, object, draft, index, RouteKind::Grpc);
    let any = [GrpcRouteMatch::default()];
    let entries = if rule.matches.is_empty() {
        &any
    } else {
        rule.matches.as_slice()
    };
    let mut matches = Vec::new();
    for (position, entry) in entries.iter().enumerate() {
        let section = format!("matches[{position}]");
        match grpc_match(entry, section.clone()) {
            Ok(found) => matches.push(found),
            Err(message) => work.refuse_part(&section, Reason::UnsupportedValue, message),
        }
    }
    let backends: Vec<Backend<'_>> = rule
        .backend_refs
        .iter()
        .map(|backend| Backend {
            reference: backend.target(),
            weight: backend.weight(),
            filters: of_grpc(&backend.filters).into(),
        })
        .collect();
    let (filters, action) = work.action(&of_grpc(&rule.filters), &backends, false);
    if rule.session_persistence.is_some() {
        work.no_effect_yet(
            "sessionPersistence",
            "session persistence has no effect yet",
        );
    }
    if matches.is_empty() {
        // None of its conditions can be met; without any it would take every call.
        draft.nothing_left(index);
        return;
    }
    draft.rules.push(Rule {
        index,
        name: rule.name.clone(),
        kind: RouteKind::Grpc,
        matches,
        filters,
        action,
        timeouts: Timeouts::default(),
        retry: None,
    });
}

fn grpc_match(entry: &GrpcRouteMatch, section: String) -> Result<HttpMatch, String> {
    let path = match &entry.method {
        None => PathMatch::Any,
        Some(method) => method_match(method)?,
    };
    Ok(HttpMatch {
        path,
        method: None,
        scheme: None,
        authority: None,
        headers: header_matches(&entry.headers)?,
        query: Vec::new(),
        section,
    })
}

fn method_match(condition: &GrpcMethodMatch) -> Result<PathMatch, String> {
    let half = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
    let (service, method) = (half(&condition.service), half(&condition.method));
    if service.is_none() && method.is_none() {
        return Ok(PathMatch::Any);
    }
    match condition.match_type.as_ref().unwrap_or(&MatchType::Exact) {
        MatchType::Exact => Ok(PathMatch::GrpcMethod { service, method }),
        MatchType::RegularExpression => {
            let half = |text: Option<String>| -> Result<String, String> {
                text.map_or_else(|| Ok("[^/]+".to_owned()), |text| regex(&text))
            };
            let (service, method) = (half(service)?, half(method)?);
            Ok(PathMatch::Regex(format!("/(?:{service})/(?:{method})")))
        }
        MatchType::Unknown(text) => Err(format!("method type `{text}` is not supported")),
    }
}
