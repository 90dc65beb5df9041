//! The tables of listeners, routes, clusters and secrets, with the columns of
//! `istioctl proxy-config`.

use crate::table::Table;
use gwanmun_ir::{
    AppProtocol, BindAddress, Cluster, Discovery, DnsMode, FilterChain, HttpMatch, L4Route,
    L4Target, PathMatch, Resource, Route, Security, SourceRef, StringMatch, Target,
};
use std::collections::BTreeMap;

/// Sockets, what chooses each of their chains, and where it leads.
pub(super) fn listeners(resources: &[Resource]) -> Table {
    let mut table = Table::new(&["ADDRESSES", "PORT", "MATCH", "DESTINATION"]);
    let chains = chains(resources);
    for resource in resources {
        let Resource::Listener(listener) = resource else {
            continue;
        };
        let address = match listener.address {
            BindAddress::Any => "0.0.0.0".to_owned(),
            BindAddress::Ip(ip) => ip.to_string(),
        };
        for chain in chains.iter().filter(|chain| chain.listener == listener.key) {
            let port = listener.port.to_string();
            let rules = l4_routes(resources, chain);
            for route in &rules {
                let matches = l4_match(chain, route);
                table.row([address.as_str(), &port, &matches, &l4_destination(route)]);
            }
            if !rules.is_empty() {
                continue;
            }
            table.row([
                address.as_str(),
                &port,
                &chain_match(chain),
                &format!("Route: {}", chain.key),
            ]);
        }
    }
    table
}

/// Rules of each virtual host, in the order in which they are tried where the user gave one.
pub(super) fn routes(resources: &[Resource]) -> Table {
    let mut table = Table::new(&["NAME", "VHOST NAME", "DOMAINS", "MATCH", "VIRTUAL SERVICE"]);
    for chain in chains(resources) {
        let mut hosts: BTreeMap<String, Vec<&Route>> = BTreeMap::new();
        for route in all_routes(resources).filter(|route| route.chain == chain.key) {
            let any = vec![gwanmun_ir::Hostname::any()];
            let names = if route.hostnames.is_empty() {
                &any
            } else {
                &route.hostnames
            };
            for name in names {
                hosts.entry(name.to_string()).or_default().push(route);
            }
        }
        if !matches!(chain.protocol, AppProtocol::Http(_)) {
            continue;
        }
        if hosts.is_empty() {
            table.row([
                chain.key.as_str(),
                &format!("blackhole:{}", chain.port),
                "*",
                "404",
                "",
            ]);
        }
        for (host, mut routes) in hosts {
            routes.sort_by_key(|route| route.precedence.clone());
            let vhost = format!("{host}:{}", chain.port);
            for route in routes {
                let source = object_name(&route.source);
                for text in matches(route) {
                    table.row([chain.key.as_str(), &vhost, &host, &text, &source]);
                }
            }
        }
    }
    table
}

/// Backends and the policy applied to each.
pub(super) fn clusters(resources: &[Resource]) -> Table {
    let mut table = Table::new(&[
        "SERVICE FQDN",
        "PORT",
        "SUBSET",
        "DIRECTION",
        "TYPE",
        "DESTINATION RULE",
    ]);
    for resource in resources {
        let Resource::Cluster(cluster) = resource else {
            continue;
        };
        let mut parts = cluster.name.splitn(4, '|');
        let mut part = || parts.next().filter(|part| !part.is_empty()).unwrap_or("-");
        let (direction, port, subset, host) = (part(), part(), part(), part());
        let policy = cluster.policy.as_ref().map(object_name).unwrap_or_default();
        table.row([host, port, subset, direction, discovery(cluster), &policy]);
    }
    table.sort();
    table
}

fn chains(resources: &[Resource]) -> Vec<&FilterChain> {
    let mut chains: Vec<&FilterChain> = resources
        .iter()
        .filter_map(|resource| match resource {
            Resource::Chain(chain) => Some(&**chain),
            Resource::Cluster(_)
            | Resource::L4Route(_)
            | Resource::Endpoints(_)
            | Resource::Listener(_)
            | Resource::Route(_)
            | Resource::Secret(_) => None,
        })
        .collect();
    chains.sort_by(|a, b| (&a.listener, &a.rank).cmp(&(&b.listener, &b.rank)));
    chains
}

fn all_routes(resources: &[Resource]) -> impl Iterator<Item = &Route> {
    resources.iter().filter_map(|resource| match resource {
        Resource::Route(route) => Some(&**route),
        Resource::Chain(_)
        | Resource::Cluster(_)
        | Resource::L4Route(_)
        | Resource::Endpoints(_)
        | Resource::Listener(_)
        | Resource::Secret(_) => None,
    })
}

fn chain_match(chain: &FilterChain) -> String {
    let hosts: Vec<&str> = chain
        .matches
        .hostnames
        .iter()
        .map(gwanmun_ir::Hostname::as_str)
        .collect();
    let all = hosts.is_empty() || hosts.contains(&"*");
    match (&chain.security, all) {
        (Security::Plaintext, true) => "ALL".to_owned(),
        (Security::Plaintext, false) => format!("Host: {}", hosts.join(",")),
        (Security::Tls(_) | Security::Passthrough, true) => "Trans: tls".to_owned(),
        (Security::Tls(_) | Security::Passthrough, false) => format!("SNI: {}", hosts.join(",")),
    }
}

/// The layer 4 rules of a chain, by precedence.
fn l4_routes<'r>(resources: &'r [Resource], chain: &FilterChain) -> Vec<&'r L4Route> {
    let mut routes: Vec<&L4Route> = resources
        .iter()
        .filter_map(|resource| match resource {
            Resource::L4Route(route) if route.chain == chain.key => Some(&**route),
            Resource::L4Route(_)
            | Resource::Chain(_)
            | Resource::Cluster(_)
            | Resource::Endpoints(_)
            | Resource::Listener(_)
            | Resource::Route(_)
            | Resource::Secret(_) => None,
        })
        .collect();
    routes.sort_by(|a, b| (&a.precedence, &a.key).cmp(&(&b.precedence, &b.key)));
    routes
}

/// What a rule takes of what its chain takes.
fn l4_match(chain: &FilterChain, route: &L4Route) -> String {
    let names: Vec<&str> = route
        .hostnames
        .iter()
        .map(gwanmun_ir::Hostname::as_str)
        .collect();
    if names.is_empty() || names.contains(&"*") || chain.security == Security::Plaintext {
        chain_match(chain)
    } else {
        format!("SNI: {}", names.join(","))
    }
}

/// Where a rule leads.
fn l4_destination(route: &L4Route) -> String {
    let name = |target: &L4Target| match &target.target {
        Target::Cluster(key) => key.to_string(),
        Target::Fail(_) => "invalid backend".to_owned(),
    };
    match route.targets.as_slice() {
        [] => "blackhole".to_owned(),
        [only] => format!("Cluster: {}", name(only)),
        several => {
            let shares = several.iter();
            let shares: Vec<String> = shares
                .map(|target| format!("{} ({})", name(target), target.weight))
                .collect();
            format!("Clusters: {}", shares.join(", "))
        }
    }
}

/// `name.namespace` of a VirtualService or DestinationRule; other kinds say which they are.
fn object_name(source: &SourceRef) -> String {
    let name = format!("{}.{}", source.name, source.namespace);
    match source.kind.as_str() {
        "VirtualService" | "DestinationRule" => name,
        kind => format!("{name} ({kind})"),
    }
}

fn discovery(cluster: &Cluster) -> &'static str {
    match &cluster.discovery {
        Discovery::Dns {
            mode: DnsMode::Logical,
            ..
        } => "LOGICAL_DNS",
        Discovery::Dns {
            mode: DnsMode::Strict,
            ..
        } => "STRICT_DNS",
        Discovery::Endpoints => "EDS",
    }
}

/// One text per match of a rule.
fn matches(route: &Route) -> Vec<String> {
    if route.matches.is_empty() {
        return vec!["/*".to_owned()];
    }
    route.matches.iter().map(match_text).collect()
}

fn match_text(found: &HttpMatch) -> String {
    let mut parts = vec![match &found.path {
        PathMatch::Any => "/*".to_owned(),
        PathMatch::Exact { path, .. } => path.clone(),
        PathMatch::GrpcMethod { service, method } => {
            let half = |half: &Option<String>| half.clone().unwrap_or_else(|| "*".to_owned());
            format!("gRPC:/{}/{}", half(service), half(method))
        }
        PathMatch::Prefix(prefix) => format!("PathPrefix:{prefix}"),
        PathMatch::Regex(pattern) => format!("regex {pattern}"),
        PathMatch::StringPrefix { prefix, .. } => format!("{prefix}*"),
    }];
    parts.extend(
        found
            .method
            .as_ref()
            .map(|value| format!("method {}", condition(value))),
    );
    parts.extend(
        found
            .scheme
            .as_ref()
            .map(|value| format!("scheme {}", condition(value))),
    );
    parts.extend(
        found
            .authority
            .as_ref()
            .map(|value| format!("authority {}", condition(value))),
    );
    for header in &found.headers {
        let not = if header.invert { "not " } else { "" };
        parts.push(format!("{not}{} {}", header.name, condition(&header.value)));
    }
    parts.extend(
        found
            .query
            .iter()
            .map(|query| format!("?{} {}", query.name, condition(&query.value))),
    );
    parts.join(" ")
}

fn condition(value: &StringMatch) -> String {
    match value {
        StringMatch::Exact(text) => text.clone(),
        StringMatch::Prefix(text) => format!("{text}*"),
        StringMatch::Present => "present".to_owned(),
        StringMatch::Regex(pattern) => format!("regex {pattern}"),
    }
}
