//! Istio objects become configuration and findings.
//!
//! Gateways become listeners and filter chains ([`gateway`]), VirtualServices the routes on them
//! ([`virtual_service`], [`l4`]), DestinationRules the policies of clusters, for the Gateway API too
//! ([`destination_rule`]). Rules for the mesh have no effect on a gateway.

mod action;
mod balancer;
mod client_certificate;
mod delegate;
mod destination;
pub(crate) mod destination_rule;
mod gateway;
mod headers;
mod l4;
mod matches;
pub(crate) mod mesh;
mod origination;
mod others;
mod policy;
mod ports;
mod retry;
pub(crate) mod revision;
mod route;
mod secret;
mod server;
mod service_entry;
mod status;
mod tls;
mod unreachable;
mod virtual_service;
mod visibility;
mod world;

use crate::{Options, Store, output::Sink};
use world::World;

/// Translates all Istio objects.
pub(crate) fn translate(store: &Store, options: &Options, sink: &mut Sink) {
    let mesh = mesh::Mesh::read(store, options, sink);
    let world = World {
        store,
        options,
        mesh: &mesh,
    };
    let tables = gateway::tables(&world, sink);
    virtual_service::attach(&world, &tables, sink);
    destination_rule::review(&world, sink);
    service_entry::review(&world, sink);
    others::review(&world, sink);
    status::write(&world, &tables, sink);
}
