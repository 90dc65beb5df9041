//! Kinds that are read and have no effect yet: one finding each.

use super::Context;
use crate::{Code, Severity};
use gwanmun_api::Kind;

/// Says of every object of these kinds that it has no effect.
pub(super) fn translate(cx: &mut Context<'_, '_>) {
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
