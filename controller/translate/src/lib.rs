//! Pure translation: resources in, configuration, statuses and findings out.
//!
//! [`translate_all`] turns a [`Store`] of objects into a [`Translation`]. It is pure, total and
//! deterministic: a mistake in one object becomes a status and a [`Finding`] and degrades that
//! object alone. Configuration and status come from one decision in one function.
//!
//! Each API has its own module that writes into one `Sink`; both resolve their backends through
//! `backend`, so that one backend port is one cluster.

mod backend;
mod engine;
mod finding;
mod gateway_api;
mod istio;
mod names;
mod options;
mod output;
mod proxy_protocol;
mod store;

pub use engine::{Engine, Infrastructure, Tick, Workload};
pub use finding::{Code, Finding, Severity};
pub use options::{Compat, InvalidCompat, Options, Placement};
pub use output::{
    Address, AncestorStatus, Condition, ConditionStatus, FeatureName, ListenerStatus,
    ParentReference, ParentStatus, RouteGroupKind, Status, Translation,
};
pub use store::{Ref, Store};

use output::Sink;

/// Translates everything.
pub fn translate_all(store: &Store, options: &Options) -> Translation {
    let mut sink = Sink::default();
    finding::unknown_fields(store, &mut sink);
    let store = &*istio::revision::ours(store, options, &mut sink);
    gateway_api::translate(store, options, &mut sink);
    istio::translate(store, options, &mut sink);
    sink.finish()
}
