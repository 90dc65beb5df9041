//! The data plane: listeners, engine, routing, clusters.
//!
//! [`Gateway::start`] spawns one worker thread per core and one control thread;
//! [`Gateway::apply`] takes configuration ([`gwanmun_ir::Delta`]), compiles it, binds what is new,
//! publishes one [`Snapshot`] and reports. A request uses one snapshot from its first byte to its
//! last.

mod admin;
mod cluster;
mod compile;
mod config;
mod core;
mod engine;
mod explain;
mod filter;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;
mod gateway;
mod http;
mod l4;
mod limit;
mod listener;
mod material;
mod route;
mod snapshot;
mod sockets;
mod telemetry;

/// Builds configuration in a few words; the tests of the whole gateway use it too.
#[cfg(test)]
#[allow(dead_code, unreachable_pub, reason = "shared with the behaviour tests")]
#[path = "../tests/support/build.rs"]
mod test_build;
mod worker;

pub use admin::{AdminRequest, AdminResponse, ExtraAdmin};
pub use config::{AccessLogMode, Config, Limits, Workload};
pub use explain::{
    Candidate, ExplainRequest, ExplainedAnswer, ExplainedEndpoint, ExplainedTarget, Explanation,
    explain_offline,
};
pub use gateway::{Gateway, StartError};
pub use snapshot::Snapshot;
