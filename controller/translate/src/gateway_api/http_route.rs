//! HTTPRoutes.

use super::{
    Context,
    backend_ref::{self, Source, Speech},
    filter::{self, Compiled, Place, Refusal},
    gateway::Parents,
    route::{self, Draft, Facts, Rule},
    status::Reason,
    timing,
};
use crate::{Code, Severity};
use gwanmun_api::{
    Object,
    gateway_api::{
        BackendObjectReference, HttpHeaderMatch, HttpRoute, HttpRouteFilter, HttpRouteMatch,
        HttpRouteRule, MatchType, PathMatchType,
    },
};
use gwanmun_ir::{
    Action, Failure, HeaderMatch, HttpMatch, PathMatch, QueryMatch, RouteKind, StringMatch, Target,
    WeightedTarget,
};
use std::collections::BTreeSet;

/// Translates all HTTPRoutes.
pub(super) fn translate(cx: &mut Context<'_, '_>, parents: &mut Parents<'_>) {
    for route in cx.store.all::<HttpRoute>() {
        let spec = &route.content.spec;
        route::tell_default_gateways(cx, route.object, spec.use_default_gateways.as_ref());
        let facts = Facts::new(cx, route.object, &spec.parent_refs, &spec.hostnames);
        let default = [HttpRouteRule::default()];
        let rules = spec.rules.as_deref().unwrap_or(&default);
        route::translate(cx, parents, &facts, |cx| {
            let mut draft = Draft::new(rules.len());
            for (index, rule) in rules.iter().enumerate() {
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
    (index, rule): (usize, &HttpRouteRule),
) {
    let mut work = RuleWork::new(cx, object, draft, index, RouteKind::Http);
    let matches: Vec<HttpMatch> = if rule.matches.is_empty() {
        work.matches(&[HttpRouteMatch::default()])
    } else {
        work.matches(&rule.matches)
    };
    let prefix = rule.matches.iter().all(|entry| {
        let kind = entry
            .path
            .as_ref()
            .and_then(|path| path.match_type.as_ref());
        matches!(kind, None | Some(PathMatchType::PathPrefix))
    });
    let backends: Vec<Backend<'_>> = rule
        .backend_refs
        .iter()
        .map(|backend| Backend {
            reference: backend.target(),
            weight: backend.weight(),
            filters: backend.filters.as_slice().into(),
        })
        .collect();
    let (filters, action) = work.action(&rule.filters, &backends, prefix);
    let mut problems = Vec::new();
    let timeouts = timing::timeouts(rule.timeouts.as_ref(), &mut problems);
    let retry = timing::retry(rule.retry.as_ref(), &mut problems);
    for (field, message) in problems {
        work.refuse_part(field, Reason::UnsupportedValue, message);
    }
    if rule.session_persistence.is_some() {
        work.no_effect_yet(
            "sessionPersistence",
            "session persistence has no effect yet",
        );
    }
    if matches.is_empty() {
        // None of its conditions can be met; without any it would take every request.
        draft.nothing_left(index);
        return;
    }
    draft.rules.push(Rule {
        index,
        name: rule.name.clone(),
        kind: RouteKind::Http,
        matches,
        filters,
        action,
        timeouts,
        retry,
    });
}

/// A backend of a rule, of either kind of route.
pub(super) struct Backend<'a> {
    pub(super) reference: BackendObjectReference,
    pub(super) weight: u32,
    pub(super) filters: std::borrow::Cow<'a, [HttpRouteFilter]>,
}

/// The translation of one rule, of either kind of route.
pub(super) struct RuleWork<'w, 'a, 's> {
    cx: &'w mut Context<'a, 's>,
    object: &'w Object,
    draft: &'w mut Draft,
    index: usize,
    kind: RouteKind,
}

impl<'w, 'a, 's> RuleWork<'w, 'a, 's> {
    pub(super) fn new(
        cx: &'w mut Context<'a, 's>,
        object: &'w Object,
        draft: &'w mut Draft,
        index: usize,
        kind: RouteKind,
    ) -> Self {
        Self {
            cx,
            object,
            draft,
            index,
            kind,
        }
    }

    /// Says that the rule cannot be served as written.
    fn refuse(&mut self, field: &str, reason: Reason, message: String) {
        self.tell_refusal(field, &message);
        self.draft.drop(self.index, false, reason, message);
    }

    /// Says that a part of the rule cannot be served as written.
    pub(super) fn refuse_part(&mut self, field: &str, reason: Reason, message: String) {
        self.tell_refusal(field, &message);
        self.draft.drop(self.index, true, reason, message);
    }

    fn tell_refusal(&mut self, field: &str, message: &str) {
        let path = format!("spec.rules[{}].{field}", self.index);
        let severity = Severity::Error;
        self.cx
            .tell(severity, Code::NotAccepted, self.object, &path, message);
    }

    /// Says that a field is not looked at.
    pub(super) fn no_effect_yet(&mut self, field: &str, message: &str) {
        let path = format!("spec.rules[{}].{field}", self.index);
        let severity = Severity::Warning;
        self.cx
            .tell(severity, Code::NoEffectYet, self.object, &path, message);
    }

    /// Translates conditions. One that cannot be met is reported and left out.
    fn matches(&mut self, entries: &[HttpRouteMatch]) -> Vec<HttpMatch> {
        let mut matches = Vec::new();
        for (position, entry) in entries.iter().enumerate() {
            match http_match(entry) {
                Ok(found) => matches.push(HttpMatch {
                    section: format!("matches[{position}]"),
                    ..found
                }),
                Err(message) => {
                    let field = format!("matches[{position}]");
                    self.refuse_part(&field, Reason::UnsupportedValue, message);
                }
            }
        }
        matches
    }

    /// Translates filters and backends into what happens to a request.
    pub(super) fn action(
        &mut self,
        filters: &[HttpRouteFilter],
        backends: &[Backend<'_>],
        prefix: bool,
    ) -> (Vec<gwanmun_ir::Filter>, Action) {
        let place = Place {
            backend: false,
            prefix,
        };
        let compiled = filter::compile(filters, place);
        let targets: Vec<WeightedTarget> = backends
            .iter()
            .enumerate()
            .map(|(position, backend)| self.target(position, backend, prefix))
            .collect();
        match compiled {
            Ok(Compiled {
                filters,
                redirect: Some(redirect),
            }) => (filters, Action::Redirect(redirect)),
            Ok(Compiled { filters, .. }) if targets.is_empty() => {
                (filters, Action::Fail(Failure::InvalidBackend))
            }
            Ok(Compiled { filters, .. }) => (filters, Action::Forward(targets)),
            Err(Refusal {
                reason,
                index,
                message,
            }) => {
                let message = format!("{message}: its requests are answered with 500");
                self.refuse(&format!("filters[{index}]"), reason, message);
                (Vec::new(), Action::Fail(Failure::InvalidBackend))
            }
        }
    }

    fn target(&mut self, position: usize, backend: &Backend<'_>, prefix: bool) -> WeightedTarget {
        let field = format!("backendRefs[{position}]");
        let source = Source {
            object: self.object,
            speech: match self.kind {
                RouteKind::Grpc => Speech::Http2,
                RouteKind::Http => Speech::Http,
            },
        };
        let path = format!("spec.rules[{}].{field}", self.index);
        let resolution = backend_ref::resolve(self.cx, source, &backend.reference, &path);
        if let Some((reason, message)) = resolution.problem {
            self.draft.unresolved(reason, message);
        }
        self.draft.policies.extend(resolution.policies);
        let place = Place {
            backend: true,
            prefix,
        };
        let mut target = WeightedTarget {
            target: resolution.target,
            weight: backend.weight,
            filters: Vec::new(),
        };
        match filter::compile(&backend.filters, place) {
            Ok(compiled) => target.filters = compiled.filters,
            Err(refusal) => {
                let message = format!("{}: its share is answered with 500", refusal.message);
                let field = format!("{field}.filters[{}]", refusal.index);
                self.refuse_part(&field, refusal.reason, message);
                target.target = Target::Fail(Failure::InvalidBackend);
            }
        }
        target
    }
}

fn http_match(entry: &HttpRouteMatch) -> Result<HttpMatch, String> {
    let path = match &entry.path {
        None => PathMatch::Prefix("/".to_owned()),
        Some(path) => path_match(
            path.match_type
                .as_ref()
                .unwrap_or(&PathMatchType::PathPrefix),
            path.value.as_deref().unwrap_or("/"),
        )?,
    };
    let mut names = BTreeSet::new();
    let mut query = Vec::new();
    for parameter in &entry.query_params {
        // Of several conditions on one parameter the first counts.
        if names.insert(parameter.name.as_str()) {
            query.push(QueryMatch {
                name: parameter.name.clone(),
                value: string_match(parameter)?,
            });
        }
    }
    Ok(HttpMatch {
        path,
        method: entry.method.clone().map(StringMatch::Exact),
        scheme: None,
        authority: None,
        headers: header_matches(&entry.headers)?,
        query,
        section: String::new(),
    })
}

fn path_match(kind: &PathMatchType, value: &str) -> Result<PathMatch, String> {
    let absolute = || {
        if value.starts_with('/') {
            Ok(value)
        } else {
            Err(format!("path `{value}` does not start with a slash"))
        }
    };
    match kind {
        PathMatchType::Exact => Ok(PathMatch::Exact {
            path: absolute()?.to_owned(),
            ignore_case: false,
        }),
        PathMatchType::PathPrefix => {
            let prefix = absolute()?.trim_end_matches('/');
            let prefix = if prefix.is_empty() { "/" } else { prefix };
            Ok(PathMatch::Prefix(prefix.to_owned()))
        }
        PathMatchType::RegularExpression => regex(value).map(PathMatch::Regex),
        PathMatchType::Unknown(text) => Err(format!("path type `{text}` is not supported")),
    }
}

/// Conditions on headers; of several on one header the first counts.
pub(super) fn header_matches(headers: &[HttpHeaderMatch]) -> Result<Vec<HeaderMatch>, String> {
    let mut names = BTreeSet::new();
    let mut matches = Vec::new();
    for header in headers {
        let name = header.name.to_ascii_lowercase();
        if names.insert(name.clone()) {
            matches.push(HeaderMatch {
                name,
                value: string_match(header)?,
                invert: false,
            });
        }
    }
    Ok(matches)
}

fn string_match(condition: &HttpHeaderMatch) -> Result<StringMatch, String> {
    match condition.match_type.as_ref().unwrap_or(&MatchType::Exact) {
        MatchType::Exact => Ok(StringMatch::Exact(condition.value.clone())),
        MatchType::RegularExpression => regex(&condition.value).map(StringMatch::Regex),
        MatchType::Unknown(text) => Err(format!(
            "type `{text}` of condition `{}` is not supported",
            condition.name
        )),
    }
}

/// The expression, if it is one.
pub(super) fn regex(text: &str) -> Result<String, String> {
    match regex::Regex::new(text) {
        Ok(_) => Ok(text.to_owned()),
        Err(_) => Err(format!("`{text}` is not a regular expression (RE2)")),
    }
}
