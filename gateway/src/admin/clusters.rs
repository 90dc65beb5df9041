//! `/clusters`: endpoints with their state, as Envoy prints them.

use super::AdminResponse;
use crate::cluster::{Cluster, Clusters, Member, Resource};
use gwanmun_ir::{CircuitBreakers, EndpointHealth};
use serde_json::{Value, json};
use std::{fmt::Write, net::SocketAddr, sync::Arc, sync::atomic::Ordering::Relaxed};

/// The page.
pub(super) fn page(clusters: &Clusters, as_json: bool) -> AdminResponse {
    let mut sorted: Vec<_> = clusters.values().collect();
    sorted.sort_by(|one, other| one.config.key.cmp(&other.config.key));
    if as_json {
        let statuses: Vec<_> = sorted.into_iter().map(status).collect();
        return AdminResponse::json(&json!({ "cluster_statuses": statuses }));
    }
    let mut text = String::new();
    for cluster in sorted {
        // Writing to a string cannot fail.
        let _ = write_text(&mut text, cluster);
    }
    AdminResponse::text(200, text)
}

/// The limits as Envoy names them; unlimited is the largest number.
fn limits(limits: &CircuitBreakers) -> [(&'static str, u32); 4] {
    let unlimited = |limit: Option<u32>| limit.unwrap_or(u32::MAX);
    [
        ("max_connections", unlimited(limits.max_connections)),
        (
            "max_pending_requests",
            unlimited(limits.max_pending_requests),
        ),
        ("max_requests", unlimited(limits.max_requests)),
        ("max_retries", unlimited(limits.max_retries)),
    ]
}

fn write_text(out: &mut String, cluster: &Arc<Cluster>) -> std::fmt::Result {
    let key = &cluster.config.key;
    writeln!(out, "{key}::observability_name::{}", cluster.name)?;
    for (name, limit) in limits(&cluster.config.limits) {
        writeln!(out, "{key}::default_priority::{name}::{limit}")?;
    }
    let open = cluster.state.usage().get(Resource::Connections);
    writeln!(out, "{key}::cx_active::{open}")?;
    writeln!(out, "{key}::added_via_api::true")?;
    for member in cluster.state.endpoints() {
        let endpoint = &member.endpoint;
        let address = endpoint.address;
        let active = endpoint.state.active.load(Relaxed);
        let identity = &endpoint.identity;
        let open = endpoint.state.open.total();
        writeln!(out, "{key}::{address}::cx_active::{open}")?;
        writeln!(out, "{key}::{address}::rq_active::{active}")?;
        writeln!(out, "{key}::{address}::hostname::")?;
        writeln!(out, "{key}::{address}::health_flags::{}", flags(&member))?;
        writeln!(out, "{key}::{address}::weight::{}", member.weight.max(1))?;
        writeln!(out, "{key}::{address}::workload::{}", identity.workload)?;
        writeln!(out, "{key}::{address}::priority::0")?;
    }
    Ok(())
}

fn flags(member: &Member) -> String {
    let mut flags = String::new();
    match member.health {
        EndpointHealth::Healthy => {}
        EndpointHealth::Unhealthy => flags.push_str("/failed_eds_health"),
        EndpointHealth::Draining => flags.push_str("/degraded_eds_health"),
    }
    if member.endpoint.state.outlier.is_ejected() {
        flags.push_str("/failed_outlier_check");
    }
    if flags.is_empty() {
        flags.push_str("healthy");
    }
    flags
}

fn status(cluster: &Arc<Cluster>) -> Value {
    let members = cluster.state.endpoints();
    let hosts: Vec<_> = members.iter().map(host).collect();
    let thresholds: serde_json::Map<_, _> = limits(&cluster.config.limits)
        .into_iter()
        .map(|(name, limit)| (name.to_owned(), json!(limit)))
        .collect();
    json!({
        "name": cluster.config.key,
        "added_via_api": true,
        "host_statuses": hosts,
        "circuit_breakers": { "thresholds": [thresholds] },
        "observability_name": cluster.name,
    })
}

fn host(member: &Member) -> Value {
    let eds = match member.health {
        EndpointHealth::Healthy => "HEALTHY",
        EndpointHealth::Unhealthy => "UNHEALTHY",
        EndpointHealth::Draining => "DRAINING",
    };
    let mut health = json!({ "eds_health_status": eds });
    if member.endpoint.state.outlier.is_ejected()
        && let Some(health) = health.as_object_mut()
    {
        health.insert("failed_outlier_check".to_owned(), json!(true));
    }
    let state = &member.endpoint.state;
    let gauge =
        |name, value: u32| json!({ "type": "GAUGE", "name": name, "value": value.to_string() });
    json!({
        "address": socket_address(member.endpoint.address),
        "stats": [
            gauge("cx_active", state.open.total()),
            gauge("rq_active", state.active.load(Relaxed)),
        ],
        "health_status": health,
        "weight": member.weight.max(1),
        "locality": {},
    })
}

/// An address as Envoy's JSON has it.
pub(super) fn socket_address(address: SocketAddr) -> Value {
    json!({
        "socket_address": {
            "address": address.ip().to_string(),
            "port_value": address.port(),
        }
    })
}
