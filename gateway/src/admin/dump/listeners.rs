//! Listeners and filter chains as Envoy dumps them.

use super::{View, compact, duration, metadata};
use gwanmun_ir::{
    Alpn, AppProtocol, BindAddress, Failure, FilterChain, L4Route, Listener, Resource, Security,
    Target, TlsPolicy, TlsVersion, Transport,
};
use serde_json::{Value, json};

/// `dynamic_listeners`.
pub(super) fn all(view: &View<'_>) -> Vec<Value> {
    let listeners = view.each(|resource| match resource {
        Resource::Listener(listener) => Some(listener),
        Resource::Chain(_)
        | Resource::Route(_)
        | Resource::Cluster(_)
        | Resource::L4Route(_)
        | Resource::Endpoints(_)
        | Resource::Secret(_) => None,
    });
    let chains = chains(view);
    let routes = l4_routes(view);
    listeners
        .into_iter()
        .map(|one| {
            let state = json!({ "version_info": view.version, "listener": listener(one, &chains, &routes) });
            json!({ "name": name(one), "active_state": state })
        })
        .collect()
}

/// All filter chains.
pub(super) fn chains<'a>(view: &View<'a>) -> Vec<&'a FilterChain> {
    view.each(|resource| match resource {
        Resource::Chain(chain) => Some(&**chain),
        Resource::Listener(_)
        | Resource::Route(_)
        | Resource::Cluster(_)
        | Resource::L4Route(_)
        | Resource::Endpoints(_)
        | Resource::Secret(_) => None,
    })
}

fn address(listener: &Listener) -> String {
    match listener.address {
        BindAddress::Any => "0.0.0.0".to_owned(),
        BindAddress::Ip(address) => address.to_string(),
    }
}

fn name(listener: &Listener) -> String {
    format!("{}_{}", address(listener), listener.port)
}

fn listener(listener: &Listener, chains: &[&FilterChain], routes: &[&L4Route]) -> Value {
    let protocol = match listener.transport {
        Transport::Tcp => "TCP",
        Transport::Udp => "UDP",
    };
    let chains: Vec<_> = chains
        .iter()
        .filter(|one| one.listener == listener.key)
        .flat_map(|one| filter_chains(one, routes))
        .collect();
    json!({
        "@type": "type.googleapis.com/envoy.config.listener.v3.Listener",
        "name": name(listener),
        "address": { "socket_address": {
            "protocol": protocol,
            "address": address(listener),
            "port_value": listener.port,
        } },
        "traffic_direction": "OUTBOUND",
        "filter_chains": chains,
    })
}

/// All layer 4 rules.
fn l4_routes<'a>(view: &View<'a>) -> Vec<&'a L4Route> {
    view.each(|resource| match resource {
        Resource::L4Route(route) => Some(route.as_ref()),
        Resource::Listener(_)
        | Resource::Chain(_)
        | Resource::Route(_)
        | Resource::Cluster(_)
        | Resource::Endpoints(_)
        | Resource::Secret(_) => None,
    })
}

/// A chain as Envoy has it: one that carries bytes is one for each of its rules.
fn filter_chains(of: &FilterChain, routes: &[&L4Route]) -> Vec<Value> {
    let mut own: Vec<_> = routes.iter().filter(|one| one.chain == of.key).collect();
    own.sort_by(|a, b| (&a.precedence, &a.key).cmp(&(&b.precedence, &b.key)));
    if own.is_empty() {
        return vec![chain(of, None)];
    }
    own.into_iter().map(|one| chain(of, Some(one))).collect()
}

/// Where the connections of a rule go.
fn clusters(route: &L4Route) -> (&'static str, Value) {
    let name = |target: &Target| match target {
        Target::Cluster(key) => key.to_string(),
        Target::Fail(Failure::ClusterNotFound) => "cluster_not_found".to_owned(),
        Target::Fail(Failure::InvalidBackend) => "invalid_backend".to_owned(),
    };
    match route.targets.as_slice() {
        [only] => ("cluster", json!(name(&only.target))),
        several => {
            let each = several.iter();
            let each: Vec<_> = each
                .map(|one| json!({ "name": name(&one.target), "weight": one.weight }))
                .collect();
            ("weighted_clusters", json!({ "clusters": each }))
        }
    }
}

/// A rule's part of a proxy's settings.
fn proxying(mut settings: Value, route: Option<&L4Route>) -> Value {
    if let (Some(settings), Some(route)) = (settings.as_object_mut(), route) {
        let (kind, value) = clusters(route);
        settings.insert(kind.to_owned(), value);
        let timeout = duration(route.idle_timeout_ms);
        settings.insert("idle_timeout".to_owned(), json!(timeout));
        let attempts = route.connect_attempts.max(1);
        settings.insert("max_connect_attempts".to_owned(), json!(attempts));
    }
    settings
}

/// What connections of a chain go through.
fn filter(chain: &FilterChain, route: Option<&L4Route>) -> Value {
    let prefix = format!("outbound_{}", chain.key);
    match &chain.protocol {
        AppProtocol::Http(_) => json!({
            "name": "envoy.filters.network.http_connection_manager",
            "typed_config": {
                "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
                "stat_prefix": prefix,
                "rds": { "config_source": { "ads": {} }, "route_config_name": chain.key },
            },
        }),
        AppProtocol::Tcp => json!({
            "name": "envoy.filters.network.tcp_proxy",
            "typed_config": proxying(json!({
                "@type": "type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy",
                "stat_prefix": prefix,
            }), route),
        }),
        AppProtocol::Udp => json!({
            "name": "envoy.filters.udp_listener.udp_proxy",
            "typed_config": proxying(json!({
                "@type": "type.googleapis.com/envoy.extensions.filters.udp.udp_proxy.v3.UdpProxyConfig",
                "stat_prefix": prefix,
            }), route),
        }),
    }
}

fn chain(chain: &FilterChain, route: Option<&L4Route>) -> Value {
    let names = match route.map(|route| &route.hostnames) {
        Some(names) if !names.is_empty() => names,
        Some(_) | None => &chain.matches.hostnames,
    };
    let (tls, matches) = match &chain.security {
        Security::Plaintext => (None, None),
        security @ (Security::Passthrough | Security::Tls(_)) => {
            let mut matches = json!({ "transport_protocol": "tls" });
            let any = names.iter().any(gwanmun_ir::Hostname::is_any);
            if !any
                && !names.is_empty()
                && let Some(members) = matches.as_object_mut()
            {
                members.insert("server_names".to_owned(), json!(names));
            }
            let tls = match security {
                Security::Tls(policy) => Some(transport(policy)),
                Security::Plaintext | Security::Passthrough => None,
            };
            (tls, Some(matches))
        }
    };
    compact(json!({
        "name": chain.key,
        "filter_chain_match": matches,
        "filters": [filter(chain, route)],
        "transport_socket": tls,
        "metadata": metadata(route.map_or(&chain.source, |route| &route.source)),
    }))
}

fn transport(policy: &TlsPolicy) -> Value {
    let version = |version| match version {
        TlsVersion::V12 => "TLSv1_2",
        TlsVersion::V13 => "TLSv1_3",
    };
    let alpn = |alpn: &Alpn| match alpn {
        Alpn::H2 => "h2",
        Alpn::Http11 => "http/1.1",
    };
    let names = policy.certificates.iter();
    let certificates: Vec<_> = names.map(|key| json!({ "name": key })).collect();
    let protocols: Vec<_> = policy.alpn.iter().map(alpn).collect();
    json!({
        "name": "envoy.transport_sockets.tls",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext",
            "common_tls_context": {
                "tls_params": {
                    "tls_minimum_protocol_version": version(policy.min_version),
                    "tls_maximum_protocol_version": version(policy.max_version),
                    "cipher_suites": policy.cipher_suites,
                },
                "tls_certificate_sds_secret_configs": certificates,
                "alpn_protocols": protocols,
            },
            "require_client_certificate": false,
        },
    })
}
