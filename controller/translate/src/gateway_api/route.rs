//! What all kinds of routes have in common: parents, statuses, and the IR routes of each rule.

use super::{
    CONTROLLER, Context, View, age,
    attach::{Attachment, attach},
    backend_tls::Role,
    body_limit,
    gateway::{Parent, Parents},
    status::{Decision, Reason, parent_ref},
};
use crate::{Code, ParentStatus, Severity, backend, output::Sink};
use gwanmun_api::{
    Kind, Object, ObjectKey,
    gateway_api::{DefaultScope, GROUP, ParentReference},
};
use gwanmun_ir::{
    Action, ChainKey, Dialect, Filter, Hostname, HttpMatch, L4Route, L4Target, Precedence,
    Resource, RetryPolicy, Route, RouteKey, RouteKind, SourceRef, Timeouts,
};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

/// What attaching needs to know about a route.
pub(super) struct Facts<'a> {
    pub(super) object: &'a Arc<Object>,
    pub(super) parent_refs: &'a [ParentReference],
    /// The valid hostnames.
    pub(super) hostnames: Vec<Hostname>,
    /// Whether the route names no hosts and takes those of its listeners.
    pub(super) any_host: bool,
}

impl<'a> Facts<'a> {
    /// Reads a route's hostnames; invalid ones are reported and match nothing.
    pub(super) fn new(
        cx: &mut Context<'_, '_>,
        object: &'a Arc<Object>,
        parent_refs: &'a [ParentReference],
        hostnames: &[String],
    ) -> Self {
        let mut valid = Vec::new();
        for (index, text) in hostnames.iter().enumerate() {
            match text.parse() {
                Ok(name) => valid.push(name),
                Err(error) => {
                    let field = format!("spec.hostnames[{index}]");
                    let message = format!("{error}; it matches nothing");
                    cx.tell(
                        Severity::Error,
                        Code::InvalidValue,
                        object,
                        &field,
                        &message,
                    );
                }
            }
        }
        Self {
            object,
            parent_refs,
            hostnames: valid,
            any_host: hostnames.is_empty(),
        }
    }
}

/// The rules of a route, translated once for all parents through which backends look alike.
#[derive(Default)]
pub(super) struct Draft {
    pub(super) rules: Vec<Rule>,
    /// Those of routes of layer 4.
    pub(super) l4_rules: Vec<L4Rule>,
    /// What cannot be served as written.
    dropped: Vec<Dropped>,
    /// How many rules the route has.
    total: usize,
    /// The first reference that does not resolve.
    pub(super) unresolved: Option<(Reason, String)>,
    /// BackendTLSPolicies for backends of the route, and whether they are used.
    pub(super) policies: BTreeSet<(ObjectKey, Role)>,
}

/// Something of a rule that cannot be served as written.
struct Dropped {
    rule: usize,
    /// Whether the rest of the rule is served.
    in_part: bool,
    reason: Reason,
    message: String,
}

/// One rule, without what depends on the filter chain.
pub(super) struct Rule {
    pub(super) index: usize,
    pub(super) name: Option<String>,
    pub(super) kind: RouteKind,
    pub(super) matches: Vec<HttpMatch>,
    pub(super) filters: Vec<Filter>,
    pub(super) action: Action,
    pub(super) timeouts: Timeouts,
    pub(super) retry: Option<RetryPolicy>,
}

/// One rule of layer 4, without what depends on the filter chain.
pub(super) struct L4Rule {
    pub(super) index: usize,
    pub(super) name: Option<String>,
    pub(super) targets: Vec<L4Target>,
    /// Longest silence, milliseconds.
    pub(super) idle_timeout_ms: u64,
}

/// How many endpoints are tried for a TCP connection.
const CONNECT_ATTEMPTS: u32 = 3;

impl Draft {
    /// The draft of a route with so many rules.
    pub(super) fn new(total: usize) -> Self {
        Self {
            total,
            ..Self::default()
        }
    }

    /// Notes that a rule is not served as written, or a part of it is not.
    pub(super) fn drop(&mut self, rule: usize, in_part: bool, reason: Reason, message: String) {
        self.dropped.push(Dropped {
            rule,
            in_part,
            reason,
            message,
        });
    }

    /// Notes that what was said of a rule leaves nothing of it.
    pub(super) fn nothing_left(&mut self, rule: usize) {
        for dropped in self.dropped.iter_mut().filter(|one| one.rule == rule) {
            dropped.in_part = false;
        }
    }

    /// Notes a reference that does not resolve. The first one becomes the condition's reason.
    pub(super) fn unresolved(&mut self, reason: Reason, message: String) {
        self.unresolved.get_or_insert((reason, message));
    }

    /// `Accepted`, as far as rules decide it: false when no rule can be served as written.
    fn acceptance(&self) -> Decision {
        let mut whole = self.dropped.iter().filter(|one| !one.in_part);
        let rules: BTreeSet<usize> = whole.clone().map(|one| one.rule).collect();
        match whole.next() {
            Some(first) if rules.len() >= self.total => {
                Decision::no(first.reason, first.message.clone())
            }
            Some(_) | None => Decision::yes(Reason::Accepted),
        }
    }

    fn resolved(&self) -> Decision {
        match &self.unresolved {
            Some((reason, message)) => Decision::no(*reason, message.clone()),
            None => Decision::yes(Reason::ResolvedRefs),
        }
    }

    /// `PartiallyInvalid` of an accepted route; it is only there when it is true.
    fn partially_invalid(&self) -> Option<Decision> {
        let list: Vec<String> = self
            .dropped
            .iter()
            .map(|one| {
                let part = if one.in_part { " in part" } else { "" };
                format!("Dropped Rule {}{part}: {}", one.rule, one.message)
            })
            .collect();
        (!list.is_empty()).then(|| Decision {
            message: list.join("; "),
            ..Decision::yes(Reason::UnsupportedValue)
        })
    }
}

/// Attaches a route to those of its parents that are ours, and writes its status. A route that
/// has none of ours is left alone.
pub(super) fn translate(
    cx: &mut Context<'_, '_>,
    parents: &mut Parents<'_>,
    facts: &Facts<'_>,
    draft: impl Fn(&mut Context<'_, '_>) -> Draft,
) {
    let attachments = attach_all(cx, parents, facts);
    if attachments.is_empty() {
        return;
    }
    let mut drafts: BTreeMap<View, Draft> = BTreeMap::new();
    for (_, key, attachment) in &attachments {
        let Some(parent) = parents.get(key).filter(|_| attachment.accepted.holds()) else {
            continue;
        };
        for (index, _) in &attachment.listeners {
            cx.view = parent.view(*index);
            if !drafts.contains_key(&cx.view) {
                let made = draft(cx);
                drafts.insert(std::mem::take(&mut cx.view), made);
            }
        }
    }
    cx.view = View::default();
    if drafts.is_empty() {
        drafts.insert(View::default(), unserved(cx, &draft));
    }
    let max_request_body = body_limit::max_request_body(facts.object, cx.sink);
    for (reference, key, attachment) in attachments {
        // Conditions are the same through every view.
        let Some(any) = drafts.values().next() else {
            continue;
        };
        let accepted = if attachment.accepted.holds() {
            any.acceptance()
        } else {
            attachment.accepted.clone()
        };
        if let Some(parent) = parents.get_mut(&key) {
            let placement = Placement {
                object: facts.object,
                drafts: &drafts,
                max_request_body,
                counted: accepted.holds(),
            };
            placement.place(cx, parent, &attachment);
        }
        write_status(cx, facts, reference, any, &accepted);
    }
}

/// The draft of a route of which nothing is served: conditions need the references resolved.
fn unserved(cx: &mut Context<'_, '_>, draft: impl Fn(&mut Context<'_, '_>) -> Draft) -> Draft {
    let mut scratch = Sink::default();
    let draft = draft(&mut Context {
        store: cx.store,
        options: cx.options,
        policies: cx.policies,
        view: View::default(),
        sink: &mut scratch,
    });
    for finding in scratch.finish().findings {
        cx.sink.finding(finding);
    }
    draft
}

/// What becomes of a route's references to parents that are ours.
fn attach_all<'f>(
    cx: &mut Context<'_, '_>,
    parents: &Parents<'_>,
    facts: &Facts<'f>,
) -> Vec<(&'f ParentReference, ObjectKey, Attachment)> {
    let mut attachments = Vec::new();
    for (index, reference) in facts.parent_refs.iter().enumerate() {
        let mut earlier = facts.parent_refs.iter().take(index);
        if earlier.any(|one| one == reference) {
            continue;
        }
        let Some(key) = parent_key(reference, &facts.object.meta.namespace) else {
            tell_other_parent(cx, facts, index, reference);
            continue;
        };
        match parents.get(&key) {
            Some(parent) => {
                let attachment = attach(cx.store, parent, reference, facts);
                if !attachment.accepted.holds() {
                    let field = format!("spec.parentRefs[{index}]");
                    let message = format!("{key}: {}", attachment.accepted.message);
                    let (severity, code) = (Severity::Error, Code::NotAccepted);
                    cx.tell(severity, code, facts.object, &field, &message);
                }
                attachments.push((reference, key, attachment));
            }
            None if cx.store.object(&key).is_none() => {
                let field = format!("spec.parentRefs[{index}]");
                let message = format!("{key} does not exist");
                let (severity, code) = (Severity::Warning, Code::ReferencedResourceNotFound);
                cx.tell(severity, code, facts.object, &field, &message);
            }
            // It exists and is somebody else's.
            None => {}
        }
    }
    attachments
}

/// The key of a parent that might be ours.
fn parent_key(reference: &ParentReference, namespace: &str) -> Option<ObjectKey> {
    let kind = match (reference.group(), reference.kind()) {
        (GROUP, "Gateway") => Kind::Gateway,
        (GROUP, "ListenerSet") => Kind::ListenerSet,
        _ => return None,
    };
    let namespace = reference.namespace.as_deref().unwrap_or(namespace);
    Some(ObjectKey::new(kind, namespace, &reference.name))
}

/// Says that a parent is of a kind that no gateway has.
fn tell_other_parent(
    cx: &mut Context<'_, '_>,
    facts: &Facts<'_>,
    index: usize,
    reference: &ParentReference,
) {
    let field = format!("spec.parentRefs[{index}]");
    let message = format!(
        "parents of kind `{}` have no effect on a gateway",
        reference.kind()
    );
    cx.tell(
        Severity::Info,
        Code::NoEffectYet,
        facts.object,
        &field,
        &message,
    );
}

/// Says that default Gateways have no effect, to routes that ask for them.
pub(super) fn tell_default_gateways(
    cx: &mut Context<'_, '_>,
    object: &Object,
    scope: Option<&DefaultScope>,
) {
    if scope.is_some_and(|scope| scope != &DefaultScope::None) {
        let (field, message) = (
            "spec.useDefaultGateways",
            "default Gateways have no effect yet",
        );
        cx.tell(Severity::Info, Code::NoEffectYet, object, field, message);
    }
}

fn write_status(
    cx: &mut Context<'_, '_>,
    facts: &Facts<'_>,
    reference: &ParentReference,
    draft: &Draft,
    accepted: &Decision,
) {
    let resolved = draft.resolved();
    let generation = facts.object.meta.generation;
    let mut conditions = vec![
        accepted.condition("Accepted", generation),
        resolved.condition("ResolvedRefs", generation),
    ];
    let partial = draft.partially_invalid().filter(|_| accepted.holds());
    conditions.extend(partial.map(|partial| partial.condition("PartiallyInvalid", generation)));
    cx.sink
        .status(facts.object.key())
        .parents
        .push(ParentStatus {
            parent_ref: parent_ref(reference),
            controller_name: CONTROLLER.to_owned(),
            conditions,
        });
}

/// A route's rules on their way to filter chains.
struct Placement<'d> {
    object: &'d Object,
    drafts: &'d BTreeMap<View, Draft>,
    max_request_body: Option<u64>,
    counted: bool,
}

impl Placement<'_> {
    /// Adds the rules to the chains of the listeners they are attached to.
    fn place(&self, cx: &mut Context<'_, '_>, parent: &mut Parent<'_>, attachment: &Attachment) {
        // Both annotations say "not more than".
        let limits = [self.max_request_body, parent.max_request_body];
        let limit = limits.into_iter().flatten().min();
        for (index, hostnames) in &attachment.listeners {
            let Some(draft) = self.drafts.get(&parent.view(*index)) else {
                continue;
            };
            for (policy, role) in &draft.policies {
                let known = parent.policies.entry(policy.clone()).or_insert(*role);
                *known = (*known).max(*role);
            }
            let Some(listener) = parent.listeners.get_mut(*index) else {
                continue;
            };
            if self.counted {
                listener.attached.insert(self.object.key());
            }
            if listener.closed {
                continue;
            }
            for chain in &listener.chains {
                for rule in &draft.rules {
                    let mut route = self.route(rule, &chain.key, hostnames.clone());
                    route.max_request_body = limit;
                    cx.sink.resource(Resource::Route(Box::new(route)));
                }
                for rule in &draft.l4_rules {
                    let route = self.l4_route(rule, &chain.key, hostnames.clone());
                    cx.sink.resource(Resource::L4Route(Box::new(route)));
                }
            }
        }
    }

    fn l4_route(&self, rule: &L4Rule, chain: &ChainKey, hostnames: Vec<Hostname>) -> L4Route {
        L4Route {
            key: self.key(rule.index, chain),
            chain: chain.clone(),
            hostnames,
            precedence: self.precedence(rule.index),
            targets: rule.targets.clone(),
            idle_timeout_ms: rule.idle_timeout_ms,
            connect_attempts: CONNECT_ATTEMPTS,
            name: self.name(rule.index, rule.name.as_deref()),
            source: self.source(rule.index),
        }
    }

    fn key(&self, index: usize, chain: &ChainKey) -> RouteKey {
        let (kind, meta) = (self.object.kind().kind(), &self.object.meta);
        RouteKey::new(format!(
            "{kind}/{}/{}/{index}@{chain}",
            meta.namespace, meta.name
        ))
    }

    fn precedence(&self, index: usize) -> Precedence {
        let meta = &self.object.meta;
        Precedence::MostSpecific {
            created: age(self.object),
            object: format!("{}/{}", meta.namespace, meta.name),
            rule: u32::try_from(index).unwrap_or(u32::MAX),
        }
    }

    fn name(&self, index: usize, given: Option<&str>) -> String {
        let meta = &self.object.meta;
        given.map_or_else(
            || format!("{}.{}.{index}", meta.namespace, meta.name),
            str::to_owned,
        )
    }

    fn source(&self, index: usize) -> SourceRef {
        SourceRef {
            section: format!("rules[{index}]"),
            ..backend::source_ref(self.object)
        }
    }

    fn route(&self, rule: &Rule, chain: &ChainKey, hostnames: Vec<Hostname>) -> Route {
        let index = rule.index;
        Route {
            key: self.key(index, chain),
            chain: chain.clone(),
            hostnames,
            precedence: self.precedence(index),
            kind: rule.kind,
            matches: rule.matches.clone(),
            filters: rule.filters.clone(),
            action: rule.action.clone(),
            timeouts: rule.timeouts,
            retry: rule.retry.clone(),
            max_request_body: None,
            dialect: Dialect::GatewayApi,
            name: self.name(index, rule.name.as_deref()),
            source: self.source(index),
        }
    }
}
