//! Listeners and filter chains as Envoy dumps them.

use super::{View, compact, metadata};
use gwanmun_ir::{
    Alpn, AppProtocol, BindAddress, FilterChain, Listener, Resource, Security, TlsPolicy,
    TlsVersion, Transport,
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
    listeners
        .into_iter()
        .map(|one| {
            let state = json!({ "version_info": view.version, "listener": listener(one, &chains) });
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

fn listener(listener: &Listener, chains: &[&FilterChain]) -> Value {
    let protocol = match listener.transport {
        Transport::Tcp => "TCP",
        Transport::Udp => "UDP",
    };
    let chains: Vec<_> = chains
        .iter()
        .filter(|one| one.listener == listener.key)
        .map(|one| chain(one))
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

/// What connections of a chain go through.
fn filter(chain: &FilterChain) -> Value {
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
            "typed_config": {
                "@type": "type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy",
                "stat_prefix": prefix,
            },
        }),
        AppProtocol::Udp => json!({
            "name": "envoy.filters.udp_listener.udp_proxy",
            "typed_config": {
                "@type": "type.googleapis.com/envoy.extensions.filters.udp.udp_proxy.v3.UdpProxyConfig",
                "stat_prefix": prefix,
            },
        }),
    }
}

fn chain(chain: &FilterChain) -> Value {
    let (tls, matches) = match &chain.security {
        Security::Plaintext => (None, None),
        security @ (Security::Passthrough | Security::Tls(_)) => {
            let mut matches = json!({ "transport_protocol": "tls" });
            let any = chain
                .matches
                .hostnames
                .iter()
                .any(gwanmun_ir::Hostname::is_any);
            if !any
                && !chain.matches.hostnames.is_empty()
                && let Some(members) = matches.as_object_mut()
            {
                members.insert("server_names".to_owned(), json!(chain.matches.hostnames));
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
        "filters": [filter(chain)],
        "transport_socket": tls,
        "metadata": metadata(&chain.source),
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
