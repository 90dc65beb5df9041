//! The way of a request, step by step.

use super::{
    Candidate, ExplainRequest, ExplainedAnswer, ExplainedEndpoint, ExplainedTarget, Explanation,
    describe, l4, question::Target,
};
use crate::{
    cluster::Cluster,
    compile::{CompiledAction, CompiledRoute, Destination, Tables, Targets},
    filter::{direct_response, redirect},
    http::{LocalReply, RequestHead, gate},
    listener::{ChainGroup, ChainTable, ListenerTable, Mode},
    route::{Found, Group, Lookup, VirtualHost, bare_host},
    telemetry::Flag,
};
use gwanmun_ir::{EndpointHealth, ListenerKey, SourceRef};
use std::{net::SocketAddr, sync::Arc};

/// Follows a request through the tables.
pub(super) fn explain(
    tables: &Tables,
    bound: &[(ListenerKey, SocketAddr)],
    request: &ExplainRequest,
) -> Result<Explanation, String> {
    let target = request.target()?;
    let mut way = Explanation {
        request: asked(request, &target),
        ..Explanation::default()
    };
    let Some(table) = listener(tables, bound, target.port) else {
        way.answer = Some(closed("no_listener"));
        return Ok(way);
    };
    way.listener = Some(table.key.to_string());
    let group = match connect(table, request, &target) {
        Ok(group) => group,
        Err(details) => {
            way.answer = Some(closed(details));
            return Ok(way);
        }
    };
    match group {
        Some(group) if group.mode != Mode::Http => {
            l4::follow(&mut way, group, sni(request, &target).as_deref());
            return Ok(way);
        }
        _ if target.bytes => {
            return Err(format!(
                "{} carries HTTP there: ask with http:// or https://",
                table.key
            ));
        }
        Some(_) | None => {}
    }
    let admitted = request.head(&target).and_then(|mut head| {
        let options = table.http_options(group, head.host());
        gate::admit(&mut head, options).map(|()| head)
    });
    match admitted {
        Ok(head) => follow(&mut way, table, group, &head),
        Err(error) => way.answer = Some(answer(&error.into())),
    }
    Ok(way)
}

/// The question in one line.
fn asked(request: &ExplainRequest, target: &Target) -> String {
    let scheme = match (target.bytes, target.tls) {
        (true, true) => return format!("tls://{}", target.authority),
        (true, false) => return format!("tcp://{}", target.authority),
        (false, true) => "https",
        (false, false) => "http",
    };
    let Target {
        authority, path, ..
    } = target;
    format!("{} {scheme}://{authority}{path}", request.method())
}

/// The server name that the client sends. Clients send no address.
fn sni(request: &ExplainRequest, target: &Target) -> Option<String> {
    let name = request.sni.as_deref().unwrap_or(&target.host);
    let name = bare_host(name).to_ascii_lowercase();
    let is_address = name.parse::<std::net::IpAddr>().is_ok() || name.starts_with('[');
    (target.tls && !name.is_empty() && !is_address).then_some(name)
}

/// The listener whose own port, chains' port or bound port is asked for.
fn listener<'t>(
    tables: &'t Tables,
    bound: &[(ListenerKey, SocketAddr)],
    port: u16,
) -> Option<&'t ListenerTable> {
    let mut sorted: Vec<&Arc<ListenerTable>> = tables.values().collect();
    sorted.sort_by(|a, b| a.key.cmp(&b.key));
    let groups = |table: &'t ListenerTable| {
        let chosen = table.tls.values().chain(table.plaintext.values());
        chosen.chain(&table.raw)
    };
    let named = |table: &&&'t Arc<ListenerTable>| table.port == port;
    let written = |table: &&&'t Arc<ListenerTable>| {
        let mut chains = groups(table).flat_map(|group| &group.chains);
        chains.any(|chain| chain.chain.port == port)
    };
    let real = |table: &&&'t Arc<ListenerTable>| {
        bound
            .iter()
            .any(|(key, address)| *key == table.key && address.port() == port)
    };
    let found = sorted
        .iter()
        .find(written)
        .or_else(|| sorted.iter().find(named))
        .or_else(|| sorted.iter().find(real));
    found.map(|table| &***table)
}

/// The group that the connection's SNI chooses; why there is no connection otherwise.
fn connect<'t>(
    table: &'t ListenerTable,
    request: &ExplainRequest,
    target: &Target,
) -> Result<Option<&'t Arc<ChainGroup>>, &'static str> {
    if let Some(raw) = table
        .raw
        .as_ref()
        .filter(|_| !target.tls || table.tls.is_empty())
    {
        return Ok(Some(raw));
    }
    if !target.tls {
        return if table.plaintext.is_empty() && !table.tls.is_empty() {
            Err("plaintext_on_a_tls_port")
        } else {
            Ok(None)
        };
    }
    if table.tls.is_empty() {
        return Err("tls_on_a_plaintext_port");
    }
    let sni = sni(request, target);
    let group = table
        .group_for_sni(sni.as_deref())
        .ok_or("filter_chain_not_found")?;
    if group.is_usable() {
        Ok(Some(group))
    } else {
        Err("no_usable_certificate")
    }
}

fn follow(
    way: &mut Explanation,
    table: &ListenerTable,
    group: Option<&Arc<ChainGroup>>,
    head: &RequestHead,
) {
    let host = bare_host(head.host());
    let serving = table.group_for_request(group, host);
    if let Group::Chains(serving) = serving {
        way.candidates = candidates(serving, head, host);
        let only = match serving.chains.as_slice() {
            [only] => Some(only),
            _ => None,
        };
        way.filter_chain = only.map(|chain| chain.chain.key.to_string());
    }
    match table.find(group, head) {
        Found::Misdirected => way.answer = Some(answer(&LocalReply::misdirected())),
        Found::Nothing => {
            if let Group::None = serving {
                way.candidates = other_hosts(table, group.is_some(), host);
            }
            way.answer = Some(answer(&LocalReply::route_not_found()));
        }
        Found::Route(matched) => {
            way.filter_chain = Some(matched.chain.chain.key.to_string());
            way.virtual_host = Some(name(matched.host));
            let source = &matched.route.ir.source;
            way.route = Some(object(source));
            let section = section(matched.route, matched.match_index);
            way.rule = Some(format!("{} {section}", source.section).trim().to_owned());
            act(way, matched.route, matched.match_index, head, matched.chain);
        }
    }
}

fn act(
    way: &mut Explanation,
    route: &CompiledRoute,
    match_index: usize,
    head: &RequestHead,
    chain: &ChainTable,
) {
    let reply = match &route.action {
        CompiledAction::Forward(targets) => return forward(way, targets),
        CompiledAction::Fail(failure) => LocalReply::failure(*failure),
        CompiledAction::Respond(response) => direct_response(response),
        CompiledAction::Redirect(to) => {
            let matched = route.ir.matches.get(match_index).map(|one| &one.path);
            redirect(to, head, matched, chain.chain.port)
        }
    };
    way.answer = Some(answer(&reply));
}

fn forward(way: &mut Explanation, targets: &Targets) {
    let all: Vec<_> = targets.iter().collect();
    if all.len() > 1 {
        way.targets = all
            .iter()
            .map(|target| ExplainedTarget {
                cluster: match &target.destination {
                    Destination::Cluster(cluster) => cluster.name.to_string(),
                    Destination::Fail(_, Some(key)) => format!("{key} (unknown)"),
                    Destination::Fail(failure, None) => {
                        LocalReply::failure(*failure).details.into()
                    }
                },
                weight: target.weight,
            })
            .collect();
    }
    // Of equals the first.
    let Some(heaviest) = all.into_iter().rev().max_by_key(|target| target.weight) else {
        return;
    };
    match &heaviest.destination {
        Destination::Cluster(cluster) => {
            way.cluster = Some(cluster.name.to_string());
            way.endpoints = endpoints(cluster);
            if !way.endpoints.iter().any(is_usable) {
                let reply = LocalReply::new(503, "no_healthy_upstream").flag(Flag::Uh);
                way.answer = Some(answer(&reply));
            }
        }
        Destination::Fail(failure, key) => {
            way.cluster = key.as_ref().map(ToString::to_string);
            way.answer = Some(answer(&LocalReply::failure(*failure)));
        }
    }
}

pub(super) fn is_usable(endpoint: &ExplainedEndpoint) -> bool {
    matches!(endpoint.health, "healthy" | "draining")
}

pub(super) fn endpoints(cluster: &Cluster) -> Vec<ExplainedEndpoint> {
    let members = cluster.state.endpoints().into_iter();
    members
        .map(|member| ExplainedEndpoint {
            address: member.endpoint.address,
            health: match member.health {
                EndpointHealth::Unhealthy => "unhealthy",
                EndpointHealth::Draining => "draining",
                EndpointHealth::Healthy if member.is_available() => "healthy",
                EndpointHealth::Healthy => "ejected",
            },
            weight: member.weight,
        })
        .collect()
}

/// Every rule that is tried before the one that matches.
fn candidates(group: &ChainGroup, head: &RequestHead, host: &str) -> Vec<Candidate> {
    let lookup = Lookup::new(head);
    let mut found = Vec::new();
    'hosts: for (_, virtual_host) in group.hosts(host) {
        for compared in virtual_host.compare(&lookup) {
            let Some(difference) = compared.failed else {
                break 'hosts;
            };
            let matches = compared.route.ir.matches.get(compared.match_index);
            let candidate = Candidate {
                object: object(&compared.route.ir.source),
                rule: compared.route.ir.source.section.clone(),
                matched: section(compared.route, compared.match_index),
                failed: describe::difference(difference, matches),
            };
            found.push((difference.is_about_path(), candidate));
        }
    }
    if found.is_empty() && group.hosts(host).next().is_none() {
        return unserved_hosts(group, host);
    }
    if found.len() > Explanation::MOST_CANDIDATES {
        // Those that came closest are worth more.
        found.sort_by_key(|(path, _)| *path);
    }
    let candidates = found.into_iter().map(|(_, candidate)| candidate);
    candidates.take(Explanation::MOST_CANDIDATES).collect()
}

/// The virtual hosts of a group none of which is for `host`.
fn unserved_hosts(group: &ChainGroup, host: &str) -> Vec<Candidate> {
    let hosts = group.chains.iter().flat_map(|chain| chain.hosts.values());
    let mut found: Vec<Candidate> = hosts
        .filter_map(|virtual_host| {
            let (route, _) = virtual_host.rules().next()?;
            Some(Candidate {
                object: object(&route.ir.source),
                rule: String::new(),
                matched: String::new(),
                failed: format!("`{}` is not for host `{host}`", name(virtual_host)),
            })
        })
        .collect();
    found.sort_by(|a, b| (&a.object, &a.failed).cmp(&(&b.object, &b.failed)));
    found.truncate(Explanation::MOST_CANDIDATES);
    found
}

/// The chains of a listener none of which is for `host`.
fn other_hosts(table: &ListenerTable, tls: bool, host: &str) -> Vec<Candidate> {
    let groups = if tls { &table.tls } else { &table.plaintext };
    let chains = groups
        .values()
        .flat_map(|group| group.chains.iter().map(move |chain| (group, chain)));
    let mut found: Vec<Candidate> = chains
        .map(|(group, chain)| {
            let own = group
                .hostname
                .as_ref()
                .map_or("*", gwanmun_ir::Hostname::as_str);
            Candidate {
                object: object(&chain.chain.source),
                rule: chain.chain.source.section.clone(),
                matched: String::new(),
                failed: format!("`{own}` is not for host `{host}`"),
            }
        })
        .collect();
    found.sort_by(|a, b| (&a.object, &a.failed).cmp(&(&b.object, &b.failed)));
    found.truncate(Explanation::MOST_CANDIDATES);
    found
}

fn name(host: &VirtualHost) -> String {
    host.hostname
        .as_ref()
        .map_or_else(|| "*".to_owned(), ToString::to_string)
}

/// The object without the part of it.
pub(super) fn object(source: &SourceRef) -> String {
    let whole = SourceRef {
        section: String::new(),
        ..source.clone()
    };
    whole.to_string()
}

fn section(route: &CompiledRoute, match_index: usize) -> String {
    let matches = route.ir.matches.get(match_index);
    matches.map_or_else(String::new, |matches| matches.section.clone())
}

pub(super) fn closed(details: &str) -> ExplainedAnswer {
    let flag = match details {
        "filter_chain_not_found" => Flag::Nr.as_str(),
        "cluster_not_found" => Flag::Nc.as_str(),
        "no_healthy_upstream" => Flag::Uh.as_str(),
        _ => "-",
    };
    ExplainedAnswer {
        status: 0,
        flag: flag.to_owned(),
        details: details.to_owned(),
        location: None,
    }
}

fn answer(reply: &LocalReply) -> ExplainedAnswer {
    let location = reply.headers.iter().find(|(name, _)| *name == "location");
    ExplainedAnswer {
        status: reply.status,
        flag: reply.flag.map_or("-", Flag::as_str).to_owned(),
        details: reply.details.to_string(),
        location: location.map(|(_, value)| String::from_utf8_lossy(value).into_owned()),
    }
}
