//! Statuses of Istio objects: one condition `Reconciled`, with what was found as its message.

use super::{gateway::Tables, world::World};
use crate::{
    Severity,
    output::{Condition, ConditionStatus, Sink},
};
use gwanmun_api::Kind;

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

/// Writes the status of every Istio object that concerns this gateway.
pub(super) fn write(world: &World<'_>, tables: &Tables<'_>, sink: &mut Sink) {
    for kind in KINDS {
        for object in world.store.of_kind(kind) {
            let meta = &object.meta;
            let id = format!("{}/{}", meta.namespace, meta.name);
            if kind == Kind::IstioGateway && !tables.gateways.contains(&id) {
                continue;
            }
            let key = object.key();
            let mut failed = false;
            let mut messages = Vec::new();
            for finding in sink.findings_about(&key) {
                if finding.severity == Severity::Info {
                    continue;
                }
                failed |= finding.severity == Severity::Error;
                let separator = if finding.field.is_empty() { "" } else { " " };
                messages.push(format!(
                    "{}{separator}{}: {}",
                    finding.code, finding.field, finding.message
                ));
            }
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
