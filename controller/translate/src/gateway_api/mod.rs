//! Gateway API objects become configuration and statuses.
//!
//! Three steps, each over all objects: classes decide which Gateways are ours; Gateways and
//! ListenerSets become [`listener`]s, which are filter chains; routes attach to listeners and
//! become IR routes. Statuses of Gateways are written last, because they count routes. Each
//! decision is made once: what it does to the configuration and what conditions say about it
//! come from the same value.
//!
//! Start at [`translate`].

mod anchors;
mod attach;
mod backend_ref;
mod backend_tls;
pub(crate) mod body_limit;
mod certificate;
mod chain;
mod class;
mod conflict;
mod filter;
mod frontend;
mod gateway;
mod grant;
mod grpc_route;
mod http_route;
mod l4_route;
mod listener;
mod pending;
mod publish;
mod route;
mod status;
mod timing;

use crate::{Code, Finding, Options, Severity, Store, output::Sink};
use backend_tls::Policies;
use gwanmun_api::Object;
use gwanmun_ir::SecretKey;

/// Who we are on statuses, and in `spec.controllerName` of our GatewayClasses.
const CONTROLLER: &str = "gwanmun.io/gateway-controller";

/// Translates all Gateway API objects.
pub(crate) fn translate(store: &Store, options: &Options, sink: &mut Sink) {
    let policies = Policies::read(store, sink);
    let mut cx = Context {
        store,
        options,
        policies: &policies,
        view: View::default(),
        sink,
    };
    let classes = class::translate(&mut cx);
    let mut parents = gateway::translate(&mut cx, &classes);
    http_route::translate(&mut cx, &mut parents);
    grpc_route::translate(&mut cx, &mut parents);
    l4_route::translate(&mut cx, &mut parents);
    backend_tls::statuses(&mut cx, &parents);
    pending::translate(&mut cx);
    publish::statuses(&mut cx, &parents);
}

/// What every step reads and writes.
struct Context<'a, 's> {
    store: &'a Store,
    options: &'a Options,
    policies: &'a Policies<'a>,
    /// Through what the backends of a route are seen while it is translated.
    view: View,
    sink: &'s mut Sink,
}

/// Through what backends are seen: the same reference leads to another cluster elsewhere.
#[derive(Clone, Debug, Default, Eq, Ord, PartialEq, PartialOrd)]
struct View {
    /// The certificate that the Gateway shows to backends over TLS.
    client: Option<SecretKey>,
    /// Whether connections come encrypted for the backend, so that BackendTLSPolicies do not apply.
    passthrough: bool,
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
