//! Statuses of Istio objects: one condition `Reconciled`, with what was found as its message.

use super::{gateway::Tables, world::World};
use crate::{
    Severity,
    output::{Condition, ConditionStatus, Sink},
};
use gwanmun_api::{Kind, ObjectKey};
use gwanmun_ir::ListenerState;
use std::collections::BTreeMap;

/// The kinds whose objects get a status.
const KINDS: [Kind; 9] = [
    Kind::IstioGateway,
    Kind::VirtualService,
    Kind::DestinationRule,
    Kind::ServiceEntry,
    Kind::EnvoyFilter,
    Kind::AuthorizationPolicy,
    Kind::RequestAuthentication,
    Kind::WasmPlugin,
    Kind::TrafficExtension,
];

type Told = BTreeMap<ObjectKey, (bool, Vec<String>)>;

/// Tells Gateways of their listeners that could not be bound.
fn unbound(world: &World<'_>, tables: &Tables<'_>, told: &mut Told) {
    for (listener, server) in tables.listeners() {
        let Some(ListenerState::Failed(reason)) = world.options.reports.get(listener) else {
            continue;
        };
        let (failed, messages) = told.entry(server.gateway.key()).or_default();
        *failed = true;
        let field = server.checked.field();
        messages.push(format!("{field}.port: {listener} is not bound: {reason}"));
    }
}

/// Writes the status of every Istio object that concerns this gateway.
pub(super) fn write(world: &World<'_>, tables: &Tables<'_>, sink: &mut Sink) {
    let mut told = Told::new();
    for finding in sink.findings() {
        if finding.severity == Severity::Info || !KINDS.contains(&finding.object.kind) {
            continue;
        }
        let (failed, messages) = told.entry(finding.object.clone()).or_default();
        *failed |= finding.severity == Severity::Error;
        let separator = if finding.field.is_empty() { "" } else { " " };
        let (code, field, message) = (finding.code, &finding.field, &finding.message);
        messages.push(format!("{code}{separator}{field}: {message}"));
    }
    unbound(world, tables, &mut told);
    for kind in KINDS {
        for object in world.store.of_kind(kind) {
            let meta = &object.meta;
            let id = format!("{}/{}", meta.namespace, meta.name);
            if kind == Kind::IstioGateway && !tables.gateways.contains(&id) {
                continue;
            }
            let key = object.key();
            let (failed, messages) = told.remove(&key).unwrap_or_default();
            let (status, reason) = if failed {
                (ConditionStatus::False, "Degraded")
            } else {
                (ConditionStatus::True, "Reconciled")
            };
            let message = messages.join("; ");
            let condition = Condition::new("Reconciled", status, reason, message, meta.generation);
            sink.status(key).conditions.push(condition);
        }
    }
}
