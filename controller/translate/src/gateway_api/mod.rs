//! Gateway API objects become configuration and statuses.
//!
//! Three steps, each over all objects: classes decide which Gateways are ours; Gateways and
//! ListenerSets become [`listener`]s, which are filter chains; routes attach to listeners and
//! become IR routes. Statuses of Gateways are written last, because they count routes. Each
//! decision is made once: what it does to the configuration and what conditions say about it
//! come from the same value.
//!
//! Start at [`translate`].

mod attach;
mod backend_ref;
pub(crate) mod body_limit;
mod certificate;
mod class;
mod conflict;
mod filter;
mod gateway;
mod grant;
mod grpc_route;
mod http_route;
mod listener;
mod pending;
mod publish;
mod route;
mod status;
mod timing;

use crate::{Code, Finding, Options, Severity, Store, output::Sink};
use gwanmun_api::Object;

/// Who we are on statuses, and in `spec.controllerName` of our GatewayClasses.
const CONTROLLER: &str = "gwanmun.io/gateway-controller";

/// Translates all Gateway API objects.
pub(crate) fn translate(store: &Store, options: &Options, sink: &mut Sink) {
    let mut cx = Context {
        store,
        options,
        sink,
    };
    let classes = class::translate(&mut cx);
    let mut parents = gateway::translate(&mut cx, &classes);
    http_route::translate(&mut cx, &mut parents);
    grpc_route::translate(&mut cx, &mut parents);
    pending::translate(&mut cx, &mut parents);
    publish::statuses(&mut cx, &parents);
}

/// What every step reads and writes.
struct Context<'a, 's> {
    store: &'a Store,
    options: &'a Options,
    sink: &'s mut Sink,
}

impl Context<'_, '_> {
    /// Tells the user something about a field of an object.
    fn tell(
        &mut self,
        severity: Severity,
        code: Code,
        object: &Object,
        field: &str,
        message: &str,
    ) {
        self.sink
            .finding(Finding::new(severity, code, object, field, message));
    }
}

/// Creation time for precedence, seconds since the Unix epoch. Objects that have none come after
/// those that do, in the order in which they appear in the manifests.
fn age(object: &Object) -> i64 {
    /// The first second of the year 10000: later than any creation time.
    const NEVER: i64 = 253_402_300_800;
    object
        .meta
        .created
        .unwrap_or_else(|| NEVER.saturating_add_unsigned(object.order))
}
