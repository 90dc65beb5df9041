//! What all kinds of routes have in common: parents, statuses, and the IR routes of each rule.

use super::{
    CONTROLLER, Context, age,
    attach::{Attachment, attach},
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
    Action, ChainKey, Dialect, Filter, Hostname, HttpMatch, Precedence, Resource, RetryPolicy,
    Route, RouteKey, RouteKind, SourceRef, Timeouts,
};
use std::{collections::BTreeSet, sync::Arc};

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

/// The rules of a route, translated once for all its parents.
#[derive(Default)]
pub(super) struct Draft {
    pub(super) rules: Vec<Rule>,
    /// What cannot be served as written.
    dropped: Vec<Dropped>,
    /// How many rules the route has.
    total: usize,
    /// The first reference that does not resolve.
    pub(super) unresolved: Option<(Reason, String)>,
    /// BackendTLSPolicies that apply to backends of the route.
    pub(super) policies: BTreeSet<ObjectKey>,
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
    draft: impl FnOnce(&mut Context<'_, '_>) -> Draft,
) {
    let mut attachments: Vec<(&ParentReference, ObjectKey, Attachment)> = Vec::new();
    for (index, reference) in facts.parent_refs.iter().enumerate() {
        if facts
            .parent_refs
            .iter()
            .take(index)
            .any(|one| one == reference)
        {
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
    if attachments.is_empty() {
        return;
    }
    let served = attachments
        .iter()
        .any(|(_, _, attachment)| attachment.accepted.holds());
    let draft = if served {
        draft(cx)
    } else {
        // Conditions need the references resolved, but nothing of it is served.
        let mut scratch = Sink::default();
        let draft = draft(&mut Context {
            store: cx.store,
            options: cx.options,
            sink: &mut scratch,
        });
        for finding in scratch.finish().findings {
            cx.sink.finding(finding);
        }
        draft
    };
    let max_request_body = body_limit::max_request_body(facts.object, cx.sink);
    for (reference, key, attachment) in attachments {
        let accepted = if attachment.accepted.holds() {
            draft.acceptance()
        } else {
            attachment.accepted.clone()
        };
        if let Some(parent) = parents.get_mut(&key) {
            parent.policies.extend(draft.policies.iter().cloned());
            let placement = Placement {
                object: facts.object,
                draft: &draft,
                max_request_body,
                counted: accepted.holds(),
            };
            placement.place(cx, parent, &attachment);
        }
        write_status(cx, facts, reference, &draft, &accepted);
    }
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
    draft: &'d Draft,
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
                for rule in &self.draft.rules {
                    let mut route = self.route(rule, &chain.key, hostnames.clone());
                    route.max_request_body = limit;
                    cx.sink.resource(Resource::Route(Box::new(route)));
                }
            }
        }
    }

    fn route(&self, rule: &Rule, chain: &ChainKey, hostnames: Vec<Hostname>) -> Route {
        let meta = &self.object.meta;
        let kind = self.object.kind().kind();
        let index = rule.index;
        let key = format!("{kind}/{}/{}/{index}@{chain}", meta.namespace, meta.name);
        let unnamed = || format!("{}.{}.{index}", meta.namespace, meta.name);
        Route {
            key: RouteKey::new(key),
            chain: chain.clone(),
            hostnames,
            precedence: Precedence::MostSpecific {
                created: age(self.object),
                object: format!("{}/{}", meta.namespace, meta.name),
                rule: u32::try_from(index).unwrap_or(u32::MAX),
            },
            kind: rule.kind,
            matches: rule.matches.clone(),
            filters: rule.filters.clone(),
            action: rule.action.clone(),
            timeouts: rule.timeouts,
            retry: rule.retry.clone(),
            max_request_body: None,
            dialect: Dialect::GatewayApi,
            name: rule.name.clone().unwrap_or_else(unnamed),
            source: SourceRef {
                section: format!("rules[{index}]"),
                ..backend::source_ref(self.object)
            },
        }
    }
}
