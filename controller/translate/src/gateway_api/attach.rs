//! Which listeners of a parent a route attaches to.

use super::{
    gateway::Parent,
    listener::Listener,
    route::Facts,
    status::{Decision, Reason},
};
use crate::Store;
use gwanmun_api::gateway_api::{FromNamespaces, LabelSelector, ParentReference};
use gwanmun_ir::Hostname;

/// What became of one of a route's parent references.
pub(super) struct Attachment {
    /// The condition `Accepted`, as far as attaching decides it.
    pub(super) accepted: Decision,
    /// The listeners, by index, each with the route's hostnames that it serves; empty for all.
    pub(super) listeners: Vec<(usize, Vec<Hostname>)>,
}

/// Attaches a route to the listeners of a parent that fit.
///
/// The order of refusals is the specification's: a listener must be meant, then allow the route,
/// then share a hostname with it.
pub(super) fn attach(
    store: &Store,
    parent: &Parent<'_>,
    reference: &ParentReference,
    route: &Facts<'_>,
) -> Attachment {
    let refuse = |reason, message: &str| Attachment {
        accepted: Decision::no(reason, message),
        listeners: Vec::new(),
    };
    let meant = |listener: &Listener<'_>| {
        let section = reference
            .section_name
            .as_deref()
            .filter(|name| !name.is_empty());
        section.is_none_or(|name| name == listener.entry.name)
            && reference
                .port
                .is_none_or(|port| port == listener.entry.port)
    };
    let mut candidates: Vec<(usize, &Listener<'_>)> = parent.listeners.iter().enumerate().collect();
    candidates.retain(|(_, listener)| meant(listener));
    if candidates.is_empty() {
        let message = "no listener has this name and port";
        return refuse(Reason::NoMatchingParent, message);
    }
    candidates.retain(|(_, listener)| allows(store, parent, listener, route));
    if candidates.is_empty() {
        let message = "no listener allows routes of this kind from this namespace";
        return refuse(Reason::NotAllowedByListeners, message);
    }
    let listeners: Vec<(usize, Vec<Hostname>)> = candidates
        .into_iter()
        .filter_map(|(index, listener)| Some((index, shared_hostnames(listener, route)?)))
        .collect();
    if listeners.is_empty() {
        let message = "no listener has a hostname in common with the route";
        return refuse(Reason::NoMatchingListenerHostname, message);
    }
    Attachment {
        accepted: Decision::yes(Reason::Accepted),
        listeners,
    }
}

/// Whether a listener takes routes of this kind and namespace.
fn allows(store: &Store, parent: &Parent<'_>, listener: &Listener<'_>, route: &Facts<'_>) -> bool {
    let allowed = listener.entry.allowed_routes.as_ref();
    let namespaces = allowed.and_then(|allowed| allowed.namespaces.as_ref());
    let from = namespaces
        .and_then(|namespaces| namespaces.from.as_ref())
        .unwrap_or(&FromNamespaces::Same);
    let selector = namespaces.and_then(|namespaces| namespaces.selector.as_ref());
    let own = &parent.object.meta.namespace;
    listener.kinds.contains(&route.object.kind())
        && namespace_allowed(store, (from, selector), own, &route.object.meta.namespace)
}

/// Whether a choice of namespaces, made in namespace `own`, includes `other`. Unknown choices and
/// invalid selectors include nothing.
pub(super) fn namespace_allowed(
    store: &Store,
    (from, selector): (&FromNamespaces, Option<&LabelSelector>),
    own: &str,
    other: &str,
) -> bool {
    match from {
        FromNamespaces::All => true,
        FromNamespaces::Same => own == other,
        FromNamespaces::Selector => selector
            .and_then(|selector| selector.matches(&store.namespace_labels(other)))
            .unwrap_or(false),
        FromNamespaces::None | FromNamespaces::Unknown(_) => false,
    }
}

/// The route's hostnames that the listener serves, as the route wrote them; empty when the route
/// takes the listener's, nothing when they share none.
fn shared_hostnames(listener: &Listener<'_>, route: &Facts<'_>) -> Option<Vec<Hostname>> {
    let Ok(own) = &listener.hostname else {
        return None;
    };
    if route.any_host {
        return Some(Vec::new());
    }
    let shared: Vec<Hostname> = route
        .hostnames
        .iter()
        .filter(|name| own.as_ref().is_none_or(|own| own.intersects(name)))
        .cloned()
        .collect();
    (!shared.is_empty()).then_some(shared)
}
