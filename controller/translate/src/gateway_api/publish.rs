//! Statuses of Gateways and ListenerSets, written when the routes are counted.

use super::{
    Context,
    gateway::{Parent, Parents},
    listener::Listener,
    status::{Decision, Reason},
};
use crate::{
    Address, Condition, ConditionStatus, ListenerStatus, Options, Placement, RouteGroupKind, Status,
};
use gwanmun_api::Kind;
use gwanmun_ir::ListenerState;
use std::net::IpAddr;

/// Writes the statuses of all parents.
pub(super) fn statuses(cx: &mut Context<'_, '_>, parents: &Parents<'_>) {
    for parent in parents.values() {
        let status = if parent.object.kind() == Kind::ListenerSet {
            listener_set(cx.options, parent)
        } else {
            let sets: Vec<&Parent<'_>> = parents
                .range(gwanmun_api::ObjectKey::new(Kind::ListenerSet, "", "")..)
                .map(|(_, set)| set)
                .filter(|set| set.object.kind() == Kind::ListenerSet)
                .filter(|set| set.gateway == parent.gateway)
                .collect();
            gateway(cx.options, parent, &sets)
        };
        *cx.sink.status(parent.object.key()) = status;
    }
}

/// What a listener's conditions say.
struct Outcome {
    accepted: Decision,
    programmed: Decision,
}

impl Outcome {
    fn of(options: &Options, parent: &Parent<'_>, listener: &Listener<'_>) -> Self {
        let mut accepted = listener.acceptance();
        let failure =
            listener
                .chains
                .iter()
                .find_map(|chain| match options.reports.get(&chain.socket) {
                    Some(ListenerState::Failed(text)) => Some(text),
                    Some(ListenerState::Bound) | None => None,
                });
        let bound = listener
            .chains
            .iter()
            .all(|chain| options.reports.contains_key(&chain.socket));
        let programmed = if !parent.accepted.holds() {
            invalid(format!("{} is not accepted", parent.object.kind()))
        } else if listener.conflict.is_some() {
            accepted.clone()
        } else if !accepted.holds() {
            invalid("the listener is not accepted")
        } else if !listener.certified {
            invalid("it has no usable certificate")
        } else if let Some(text) = failure {
            if parent.binds.is_empty() {
                accepted = Decision::no(Reason::PortUnavailable, text);
            }
            invalid(text)
        } else if bound {
            Decision::yes(Reason::Programmed)
        } else {
            Decision::pending("no gateway has bound it yet")
        };
        Self {
            accepted,
            programmed,
        }
    }

    /// Whether the listener is one that works, or will as soon as a gateway binds it.
    fn valid(&self) -> bool {
        self.accepted.holds() && self.programmed.status != ConditionStatus::False
    }
}

fn invalid(message: impl Into<String>) -> Decision {
    Decision::no(Reason::Invalid, message)
}

/// The statuses of all listeners of a parent, and what they come from.
fn listeners(options: &Options, parent: &Parent<'_>) -> (Vec<ListenerStatus>, Vec<Outcome>) {
    let generation = parent.object.meta.generation;
    parent
        .listeners
        .iter()
        .map(|listener| {
            let outcome = Outcome::of(options, parent, listener);
            (listener_status(listener, &outcome, generation), outcome)
        })
        .unzip()
}

fn listener_status(listener: &Listener<'_>, outcome: &Outcome, generation: i64) -> ListenerStatus {
    let conflicted = match listener.conflict {
        Some(reason) => Decision {
            status: ConditionStatus::True,
            ..Decision::no(reason, outcome.accepted.message.clone())
        },
        None => Decision::no(Reason::NoConflicts, ""),
    };
    let mut conditions: Vec<Condition> = [
        ("Accepted", &outcome.accepted),
        ("Conflicted", &conflicted),
        ("Programmed", &outcome.programmed),
        ("ResolvedRefs", &listener.resolved),
    ]
    .map(|(type_, decision)| decision.condition(type_, generation))
    .into();
    if let Some(reason) = listener.overlapping {
        let overlapping = Decision {
            message: "connections may be reused across listeners; such requests get 421".to_owned(),
            ..Decision::yes(reason)
        };
        conditions.push(overlapping.condition("OverlappingTLSConfig", generation));
    }
    ListenerStatus {
        name: listener.entry.name.clone(),
        supported_kinds: listener
            .kinds
            .iter()
            .map(|kind| RouteGroupKind {
                group: kind.group().to_owned(),
                kind: kind.kind().to_owned(),
            })
            .collect(),
        attached_routes: i32::try_from(listener.attached.len()).unwrap_or(i32::MAX),
        conditions,
    }
}

fn gateway(options: &Options, parent: &Parent<'_>, sets: &[&Parent<'_>]) -> Status {
    let generation = parent.object.meta.generation;
    let (listeners, outcomes) = listeners(options, parent);
    let refused = outcomes.iter().filter(|one| !one.accepted.holds()).count();
    let accepted = if !parent.accepted.holds() {
        parent.accepted.clone()
    } else if refused == 0 {
        Decision::yes(Reason::Accepted)
    } else {
        let message = format!("{refused} of {} listeners are not valid", outcomes.len());
        let mut decision = Decision::no(Reason::ListenersNotValid, message);
        if refused < outcomes.len() {
            decision.status = ConditionStatus::True;
        }
        decision
    };
    let mut all = outcomes;
    for set in sets {
        all.extend(
            set.listeners
                .iter()
                .map(|one| Outcome::of(options, set, one)),
        );
    }
    let unusable = unusable_addresses(options, parent, sets);
    let programmed = if accepted.status == ConditionStatus::Unknown {
        accepted.clone()
    } else if !accepted.holds() {
        invalid("the Gateway is not accepted")
    } else if unusable.is_empty() {
        overall(&all)
    } else {
        let list: Vec<String> = unusable.iter().map(IpAddr::to_string).collect();
        let message = format!("address {} cannot be used", list.join(", "));
        Decision::no(Reason::AddressNotUsable, message)
    };
    let mut conditions = vec![
        accepted.condition("Accepted", generation),
        programmed.condition("Programmed", generation),
    ];
    if let Some(decision) = &parent.client_certificate {
        conditions.push(decision.condition("ResolvedRefs", generation));
    }
    if parent.insecure_frontend {
        let insecure = Decision {
            message: "clients are served whose certificates are not valid".to_owned(),
            ..Decision::yes(Reason::ConfigurationChanged)
        };
        conditions.push(insecure.condition("InsecureFrontendValidationMode", generation));
    }
    let attached = sets.iter().filter(|set| set_accepted(options, set)).count();
    Status {
        addresses: addresses(options, parent, &unusable),
        attached_listener_sets: Some(i32::try_from(attached).unwrap_or(i32::MAX)),
        conditions,
        listeners,
        ..Status::default()
    }
}

/// Programmed as a whole: when anything is.
fn overall(outcomes: &[Outcome]) -> Decision {
    let missing = outcomes
        .iter()
        .filter(|one| !one.programmed.holds())
        .count();
    let message = format!(
        "{missing} of {} listeners are not programmed",
        outcomes.len()
    );
    if missing < outcomes.len() || outcomes.is_empty() {
        let mut decision = Decision::yes(Reason::Programmed);
        if missing > 0 {
            decision.message = message;
        }
        return decision;
    }
    let waiting = outcomes
        .iter()
        .any(|one| one.programmed.status == ConditionStatus::Unknown);
    if waiting {
        Decision::pending("no gateway has bound a listener yet")
    } else {
        invalid(message)
    }
}

/// Requested addresses on which a socket could not be bound, or which the Service did not get.
fn unusable_addresses(options: &Options, parent: &Parent<'_>, sets: &[&Parent<'_>]) -> Vec<IpAddr> {
    if let Placement::Own(reached) = &options.placement {
        let reached = reached.get(&parent.gateway);
        return parent
            .binds
            .iter()
            .filter(|wanted| !reached.is_some_and(|reached| reached.contains(&wanted.to_string())))
            .copied()
            .collect();
    }
    let sockets = || {
        std::iter::once(&parent)
            .chain(sets)
            .flat_map(|member| &member.listeners)
            .flat_map(|listener| &listener.chains)
    };
    parent
        .binds
        .iter()
        .filter(|address| {
            sockets().any(|chain| {
                let failed = matches!(
                    options.reports.get(&chain.socket),
                    Some(ListenerState::Failed(_))
                );
                failed && chain.is_on(**address)
            })
        })
        .copied()
        .collect()
}

/// The addresses at which the Gateway is reached: the requested ones that work, or ours.
fn addresses(options: &Options, parent: &Parent<'_>, unusable: &[IpAddr]) -> Vec<Address> {
    if !parent.accepted.holds() {
        return Vec::new();
    }
    if parent.binds.is_empty() {
        let reached = match &options.placement {
            Placement::Shared => Some(&options.addresses),
            Placement::Own(reached) => reached.get(&parent.gateway),
        };
        return reached
            .into_iter()
            .flatten()
            .map(|value| Address {
                type_: if value.parse::<IpAddr>().is_ok() {
                    "IPAddress".to_owned()
                } else {
                    "Hostname".to_owned()
                },
                value: value.clone(),
            })
            .collect();
    }
    parent
        .binds
        .iter()
        .filter(|address| !unusable.contains(address))
        .map(|address| Address {
            type_: "IPAddress".to_owned(),
            value: address.to_string(),
        })
        .collect()
}

/// Whether a ListenerSet is accepted: the Gateway takes it and one of its listeners is valid.
fn set_accepted(options: &Options, set: &Parent<'_>) -> bool {
    set.accepted.holds()
        && set
            .listeners
            .iter()
            .any(|listener| Outcome::of(options, set, listener).valid())
}

fn listener_set(options: &Options, parent: &Parent<'_>) -> Status {
    let generation = parent.object.meta.generation;
    let (listeners, outcomes) = listeners(options, parent);
    let (accepted, programmed) = if !parent.accepted.holds() {
        (parent.accepted.clone(), parent.accepted.clone())
    } else if outcomes.iter().any(Outcome::valid) {
        let invalid = outcomes.iter().filter(|one| !one.valid()).count();
        let reason = if invalid == 0 {
            Reason::Accepted
        } else {
            Reason::ListenersNotValid
        };
        (Decision::yes(reason), overall(&outcomes))
    } else {
        let decision = Decision::no(Reason::ListenersNotValid, "none of the listeners is valid");
        (decision.clone(), decision)
    };
    Status {
        conditions: vec![
            accepted.condition("Accepted", generation),
            programmed.condition("Programmed", generation),
        ],
        listeners,
        ..Status::default()
    }
}
