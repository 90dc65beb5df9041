//! Delivers configuration from a controller to its gateways.
//!
//! The [configuration language](gwanmun_ir) travels as deltas with update boundaries over one gRPC
//! stream per gateway process, always under TLS and to callers whose identity was checked. What a
//! gateway made of an update comes back as a [`gwanmun_ir::Report`].
//!
//! - Controller side: [`Distribution`] holds what each gateway should have, [`serve`] delivers it.
//! - Gateway side: [`follow`] keeps a gateway up to date through any number of broken streams, and
//!   [`Cache`] lets it start from what it last had.

mod cache;
mod client;
mod codec;
mod distribution;
mod server;
mod session;
mod tls;

/// Messages and stubs generated from `proto/configuration.proto`.
#[allow(
    clippy::all,
    clippy::pedantic,
    clippy::as_conversions,
    clippy::unwrap_used,
    missing_docs,
    unnameable_types,
    unreachable_pub,
    unused_qualifications,
    reason = "generated"
)]
mod proto {
    tonic::include_proto!("gwanmun.discovery.v1");
}

pub use cache::{Cache, CacheError, Cached};
pub use client::{Controller, Handler, follow};
pub use distribution::Distribution;
pub use server::{Admission, Caller, Event, Refusal, serve};
pub use tls::{Identity, MaterialError};

/// Version of the configuration language's schema. Grows when an older gateway would misread what a
/// newer controller writes; fields that may be absent do not count.
pub const SCHEMA: u32 = 1;

/// Largest message either side accepts: a greeting names every resource that is held.
const MAX_MESSAGE: usize = 64 << 20;
