//! Clusters and endpoints as Envoy dumps them.

use super::{View, compact, config_path, duration};
use crate::admin::clusters::socket_address;
use gwanmun_ir::{
    Cluster, Discovery, DnsMode, EndpointHealth, EndpointSet, LoadBalancing, Resource, Sni,
    UpstreamProtocol, UpstreamTls, Verification,
};
use serde_json::{Value, json};

/// `dynamic_active_clusters`.
pub(super) fn all(view: &View<'_>) -> Vec<Value> {
    let clusters = view.each(|resource| match resource {
        Resource::Cluster(cluster) => Some(cluster.as_ref()),
        Resource::Listener(_)
        | Resource::Chain(_)
        | Resource::Route(_)
        | Resource::L4Route(_)
        | Resource::Endpoints(_)
        | Resource::Secret(_) => None,
    });
    clusters
        .into_iter()
        .map(|one| json!({ "version_info": view.version, "cluster": cluster(one) }))
        .collect()
}

/// `dynamic_endpoint_configs`.
pub(super) fn endpoints(view: &View<'_>) -> Vec<Value> {
    let sets = view.each(|resource| match resource {
        Resource::Endpoints(set) => Some(set),
        Resource::Listener(_)
        | Resource::Chain(_)
        | Resource::Route(_)
        | Resource::Cluster(_)
        | Resource::L4Route(_)
        | Resource::Secret(_) => None,
    });
    sets.into_iter()
        .map(|set| json!({ "endpoint_config": assignment(set) }))
        .collect()
}

fn cluster(cluster: &Cluster) -> Value {
    let balancing = match cluster.balancing {
        LoadBalancing::LeastRequest => "LEAST_REQUEST",
        LoadBalancing::Maglev { .. } => "MAGLEV",
        LoadBalancing::Random => "RANDOM",
        LoadBalancing::RingHash { .. } => "RING_HASH",
        LoadBalancing::RoundRobin => "ROUND_ROBIN",
    };
    let limits = &cluster.limits;
    let unlimited = |limit: Option<u32>| limit.unwrap_or(u32::MAX);
    let identity = &cluster.identity;
    compact(json!({
        "@type": "type.googleapis.com/envoy.config.cluster.v3.Cluster",
        "name": cluster.key,
        "type": discovery(&cluster.discovery),
        "load_assignment": hosts(cluster),
        "connect_timeout": duration(cluster.connect_timeout_ms),
        "lb_policy": balancing,
        "circuit_breakers": { "thresholds": [{
            "max_connections": unlimited(limits.max_connections),
            "max_pending_requests": unlimited(limits.max_pending_requests),
            "max_requests": unlimited(limits.max_requests),
            "max_retries": unlimited(limits.max_retries),
        }] },
        "outlier_detection": cluster.outlier.map(|outlier| json!({
            "consecutive_5xx": outlier.consecutive_5xx,
            "consecutive_gateway_failure": outlier.consecutive_gateway_errors,
            "interval": duration(outlier.interval_ms),
            "base_ejection_time": duration(outlier.base_ejection_ms),
            "max_ejection_percent": outlier.max_ejection_percent,
        })),
        "typed_extension_protocol_options": protocol(cluster.protocol),
        "transport_socket": cluster.tls.as_ref().map(tls),
        "alt_stat_name": cluster.name,
        "metadata": { "filter_metadata": { "istio": compact(json!({
            "config": cluster.policy.as_ref().map(config_path),
            "services": [{
                "host": identity.service,
                "name": identity.service_name,
                "namespace": identity.service_namespace,
            }],
        })) } },
    }))
}

fn discovery(discovery: &Discovery) -> &'static str {
    match discovery {
        Discovery::Endpoints => "EDS",
        Discovery::Dns { mode, .. } => match mode {
            DnsMode::Logical => "LOGICAL_DNS",
            DnsMode::Strict => "STRICT_DNS",
        },
    }
}

fn protocol(protocol: UpstreamProtocol) -> Value {
    let options = match protocol {
        UpstreamProtocol::Client => json!({ "use_downstream_protocol_config": {
            "http_protocol_options": {}, "http2_protocol_options": {},
        } }),
        UpstreamProtocol::Http1 => {
            json!({ "explicit_http_config": { "http_protocol_options": {} } })
        }
        UpstreamProtocol::Http2 => {
            json!({ "explicit_http_config": { "http2_protocol_options": {} } })
        }
    };
    let mut typed = options;
    if let Some(members) = typed.as_object_mut() {
        let name = "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions";
        members.insert("@type".to_owned(), json!(name));
    }
    json!({ "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": typed })
}

fn tls(tls: &UpstreamTls) -> Value {
    let trusted = match &tls.verification {
        Verification::Anchors(key) => Some(json!({ "name": key })),
        Verification::System => Some(json!({ "name": "file-root:system" })),
        Verification::InsecureSkip => None,
    };
    let own = tls.client_certificate.as_ref();
    let sni = match &tls.sni {
        Sni::FromHost => None,
        Sni::Name(name) => Some(name),
    };
    json!({
        "name": "envoy.transport_sockets.tls",
        "typed_config": compact(json!({
            "@type": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext",
            "sni": sni,
            "common_tls_context": compact(json!({
                "tls_certificate_sds_secret_configs": own.map(|key| json!([{ "name": key }])),
                "combined_validation_context": trusted.map(|trusted| json!({
                    "default_validation_context": {
                        "match_typed_subject_alt_names": names(&tls.subject_alt_names),
                    },
                    "validation_context_sds_secret_config": trusted,
                })),
            })),
        })),
    })
}

fn names(names: &[String]) -> Vec<Value> {
    let matcher = |name: &String| {
        let kind = if name.contains("://") { "URI" } else { "DNS" };
        json!({ "san_type": kind, "matcher": { "exact": name } })
    };
    names.iter().map(matcher).collect()
}

/// The names of a DNS cluster.
fn hosts(cluster: &Cluster) -> Option<Value> {
    let Discovery::Dns { hosts, .. } = &cluster.discovery else {
        return None;
    };
    let endpoints: Vec<_> = hosts
        .iter()
        .map(|host| {
            let address = json!({ "address": host.host, "port_value": host.port });
            json!({
                "endpoint": { "address": { "socket_address": address } },
                "load_balancing_weight": host.weight.max(1),
            })
        })
        .collect();
    Some(json!({
        "cluster_name": cluster.key,
        "endpoints": [{ "lb_endpoints": endpoints }],
    }))
}

fn assignment(set: &EndpointSet) -> Value {
    let endpoints: Vec<_> = set
        .endpoints
        .iter()
        .map(|endpoint| {
            let health = match endpoint.health {
                EndpointHealth::Draining => "DRAINING",
                EndpointHealth::Healthy => "HEALTHY",
                EndpointHealth::Unhealthy => "UNHEALTHY",
            };
            json!({
                "endpoint": { "address": socket_address(endpoint.address) },
                "health_status": health,
                "load_balancing_weight": endpoint.weight.max(1),
            })
        })
        .collect();
    json!({
        "@type": "type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment",
        "cluster_name": set.cluster,
        "endpoints": [{ "lb_endpoints": endpoints }],
    })
}
