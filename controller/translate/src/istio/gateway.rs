//! Istio Gateways: which are served, and how their servers share ports.
//!
//! Gateways are taken oldest first and their servers in order; on each bound port and address the
//! first server decides what the port is. Plaintext HTTP servers become one filter chain with one
//! route table, each server with TLS and HTTP inside becomes one of its own, and a server that does
//! not fit is dropped and reported (IST0145). What the others become is decided by the
//! VirtualServices ([`l4`](super::l4)): without one that routes them they have no chain, and a port
//! without chains is not bound.

use super::{
    ports, secret,
    server::{self, Checked, Plan},
    tls,
    world::{Voice, World, source},
};
use crate::{Code, Ref, names, output::Sink, proxy_protocol};
use gwanmun_api::{core::Service, istio};
use gwanmun_ir::{
    AppProtocol, BindAddress, ChainKey, ChainMatch, FilterChain, HostRule, Hostname, HttpOptions,
    Listener, ListenerKey, Resource, Security, Transport,
};
use std::collections::{BTreeMap, BTreeSet};

/// A server on the filter chain it became part of.
#[derive(Clone, Debug)]
pub(super) struct Attached<'a> {
    pub(super) gateway: Ref<'a, istio::Gateway>,
    pub(super) checked: Checked<'a>,
}

impl Attached<'_> {
    /// `namespace/name` of the Gateway.
    pub(super) fn gateway_id(&self) -> String {
        format!("{}/{}", self.gateway.namespace(), self.gateway.name())
    }
}

/// A filter chain and its servers: one route table.
#[derive(Clone, Debug)]
pub(super) struct Table<'a> {
    pub(super) chain: FilterChain,
    pub(super) servers: Vec<Attached<'a>>,
}

/// A server whose connections are forwarded as bytes, and the chain that its routes are put on:
/// its own, or with TLS passed through a copy for each of them.
#[derive(Clone, Debug)]
pub(super) struct L4Server<'a> {
    pub(super) chain: FilterChain,
    pub(super) server: Attached<'a>,
}

/// What is served, as the VirtualServices see it.
#[derive(Debug, Default)]
pub(super) struct Tables<'a> {
    pub(super) tables: Vec<Table<'a>>,
    pub(super) l4: Vec<L4Server<'a>>,
    /// `namespace/name` of the Gateways that mean this workload.
    pub(super) gateways: BTreeSet<String>,
    slots: BTreeMap<(u16, BindAddress), Slot>,
    keys: BTreeSet<String>,
}

/// What a bound port and address is.
#[derive(Debug)]
enum Slot {
    /// Plaintext HTTP: the table of its servers.
    Http(usize),
    /// Bytes without TLS, of one server.
    Tcp,
    /// TLS: the names claimed, and by whom.
    Tls(Vec<(Hostname, String)>),
}

impl Tables<'_> {
    /// The listeners, and a server of each chain on them.
    pub(super) fn listeners(&self) -> impl Iterator<Item = (&ListenerKey, &Attached<'_>)> {
        let http = self.tables.iter().flat_map(|table| {
            let servers = table.servers.iter();
            servers.map(|server| (&table.chain.listener, server))
        });
        let l4 = self.l4.iter();
        http.chain(l4.map(|one| (&one.chain.listener, &one.server)))
    }
}

/// Decides which Gateways are served and how; emits listeners and filter chains.
pub(super) fn tables<'a>(world: &World<'a>, sink: &mut Sink) -> Tables<'a> {
    let mut gateways: Vec<Ref<'a, istio::Gateway>> = world.store.all().collect();
    gateways.sort_by(|a, b| {
        let key = |gateway: &Ref<'a, istio::Gateway>| {
            let meta = &gateway.object.meta;
            (
                meta.created.unwrap_or(i64::MAX),
                gateway.object.order,
                meta.name.clone(),
                meta.namespace.clone(),
            )
        };
        key(a).cmp(&key(b))
    });
    let services = ports::services(world);
    let mut tables = Tables::default();
    for gateway in gateways {
        let mut voice = Voice {
            object: gateway.object,
            sink,
        };
        gateway_servers(world, &services, gateway, &mut tables, &mut voice);
    }
    for table in &mut tables.tables {
        table.chain.matches.hostnames = hostnames(&table.servers);
        if let Some(first) = table.servers.first() {
            emit(world, first, &table.chain, sink);
        }
        for more in table.servers.iter().skip(1) {
            listener(world, more, &table.chain, sink);
        }
    }
    duplicate_certificates(world, &tables, sink);
    tables
}

/// Warns of one certificate on servers of different Gateways: clients of HTTP/2 use one connection
/// for all its names, and reach the routes of the Gateway they connected to first.
fn duplicate_certificates(world: &World<'_>, tables: &Tables<'_>, sink: &mut Sink) {
    let mut owners: BTreeMap<Vec<u8>, (String, String)> = BTreeMap::new();
    for server in tables.tables.iter().flat_map(|table| &table.servers) {
        let tls = server.checked.server.tls.as_ref();
        let name = tls.and_then(|tls| tls.credential_name.as_deref());
        let namespace = &world.options.namespace;
        let Some(text) = name.and_then(|name| secret::certificate(world.store, namespace, name))
        else {
            continue;
        };
        let id = server.gateway_id();
        let owner = owners
            .entry(text)
            .or_insert_with(|| (id.clone(), server.checked.field()));
        if owner.0 != id {
            let message = format!(
                "Gateway {} {} uses the same certificate: requests on a connection opened for \
                 one do not reach the other's routes, they are answered with 421",
                owner.0, owner.1
            );
            let mut voice = Voice {
                object: server.gateway.object,
                sink,
            };
            let field = format!("{}.tls.credentialName", server.checked.field());
            voice.warn(Code::DuplicateCertificate, field, message);
        }
    }
}

fn gateway_servers<'a>(
    world: &World<'a>,
    services: &[Ref<'a, Service>],
    gateway: Ref<'a, istio::Gateway>,
    tables: &mut Tables<'a>,
    voice: &mut Voice<'_, '_>,
) {
    let id = format!("{}/{}", gateway.namespace(), gateway.name());
    let Some(spec) = gateway.content.spec.as_ref() else {
        voice.error(
            Code::SchemaValidation,
            "spec",
            "missing, so nothing is served",
        );
        return;
    };
    if !world.serves(&spec.selector) {
        let message =
            "the labels of this gateway do not satisfy the selector, so it is not served here";
        voice.info(Code::NoMatchingWorkloads, "spec.selector", message);
        return;
    }
    tables.gateways.insert(id);
    if spec.servers.is_empty() {
        voice.error(
            Code::SchemaValidation,
            "spec.servers",
            "required, so nothing is served",
        );
    }
    let mut port_names = BTreeSet::new();
    for (index, server) in spec.servers.iter().enumerate() {
        let Some(checked) = server::check(server, index, gateway.namespace(), voice) else {
            continue;
        };
        if !port_names.insert(checked.port_name.clone()) {
            let message = "port names must be unique in a Gateway";
            voice.error(
                Code::SchemaValidation,
                format!("{}.port.name", checked.field()),
                message,
            );
        }
        let bound = ports::bound(world, services, checked.port);
        if let Some(problem) = bound.problem {
            let field = format!("{}.port", checked.field());
            voice.warn(Code::GatewayPortNotOnService, field, problem);
        }
        let attached = Attached { gateway, checked };
        place(world, bound.port, attached, tables, voice);
    }
}

/// Finds the place of one server on its port, or drops it.
fn place<'a>(
    world: &World<'a>,
    port: u16,
    attached: Attached<'a>,
    tables: &mut Tables<'a>,
    voice: &mut Voice<'_, '_>,
) {
    let checked = &attached.checked;
    let field = checked.field();
    let slot = (port, checked.bind);
    let dropped = |reason: &str| {
        format!("{reason} on port {port}, so this server is not served; the older one wins")
    };
    let plan = checked.plan;
    let conflict = match tables.slots.get_mut(&slot) {
        None => {
            let slot_content = match plan {
                Plan::Http => Slot::Http(tables.tables.len()),
                Plan::Tcp => Slot::Tcp,
                Plan::ClosedTls | Plan::Https | Plan::Passthrough | Plan::TlsTcp => {
                    Slot::Tls(claims(&attached))
                }
            };
            tables.slots.insert(slot, slot_content);
            None
        }
        Some(Slot::Http(index)) if plan == Plan::Http => {
            if let Some(table) = tables.tables.get_mut(*index) {
                table.servers.push(attached);
            }
            return;
        }
        Some(Slot::Tls(claimed)) if plan.is_tls() => {
            let names = claims(&attached);
            let found = claimed
                .iter()
                .find(|(name, _)| names.iter().any(|(own, _)| own == name));
            let conflict = found
                .map(|(name, owner)| ("hosts", format!("host `{name}` is claimed by {owner}")));
            if conflict.is_none() {
                claimed.extend(names);
            }
            conflict
        }
        Some(Slot::Tls(_)) => Some(("port", "TLS is spoken".to_owned())),
        Some(Slot::Http(_) | Slot::Tcp) if plan.is_tls() => {
            Some(("port", "plaintext is spoken".to_owned()))
        }
        Some(Slot::Tcp) if plan == Plan::Tcp => {
            Some(("port", "another server takes every connection".to_owned()))
        }
        Some(Slot::Http(_) | Slot::Tcp) => {
            Some(("port", "another plaintext protocol is spoken".to_owned()))
        }
    };
    if let Some((part, reason)) = conflict {
        let message = dropped(&reason);
        voice.error(
            Code::ConflictingGateways,
            format!("{field}.{part}"),
            message,
        );
        return;
    }
    let chain = chain(world, port, &attached, tables, voice);
    if plan.is_http() {
        let servers = vec![attached];
        tables.tables.push(Table { chain, servers });
    } else {
        let server = attached;
        tables.l4.push(L4Server { chain, server });
    }
}

/// The names a server with TLS claims on its port.
fn claims(attached: &Attached<'_>) -> Vec<(Hostname, String)> {
    let owner = format!("{} {}", attached.gateway.key(), attached.checked.field());
    let hosts = attached.checked.hosts.iter();
    hosts
        .map(|host| (host.name.clone(), owner.clone()))
        .collect()
}

/// The chain of a server that shares no other's.
fn chain(
    world: &World<'_>,
    port: u16,
    attached: &Attached<'_>,
    tables: &mut Tables<'_>,
    voice: &mut Voice<'_, '_>,
) -> FilterChain {
    let checked = &attached.checked;
    let security = tls::security(world, checked, voice);
    let (created, rank) = names::rank(attached.gateway.object);
    let hosts = std::slice::from_ref(attached);
    FilterChain {
        key: ChainKey::new(chain_key(port, attached, tables)),
        listener: names::listener("", checked.bind, port, Transport::Tcp),
        matches: ChainMatch {
            hostnames: if checked.plan == Plan::Tcp {
                Vec::new()
            } else {
                hostnames(hosts)
            },
        },
        protocol: if checked.plan.is_http() {
            AppProtocol::Http(HttpOptions {
                forward_client_cert: world.mesh.forward_client_cert(),
                host_rule: HostRule::Exclusive,
                path_normalization: world.mesh.path_normalization(),
                trusted_hops: world.mesh.trusted_hops(),
                detect_misdirected: security != Security::Plaintext,
                accept_http10: false,
            })
        } else {
            AppProtocol::Tcp
        },
        security,
        rank: (created, format!("{rank} {:04}", checked.index)),
        port: checked.port,
        source: source(
            attached.gateway.object,
            checked.field().replace("spec.", ""),
        ),
    }
}

/// The chain's key: with the place of the server where its port's name is missing or not its own.
fn chain_key(port: u16, attached: &Attached<'_>, tables: &mut Tables<'_>) -> String {
    let checked = &attached.checked;
    let kind = match checked.plan {
        Plan::ClosedTls | Plan::Https => "https",
        Plan::Http => "http",
        Plan::Passthrough | Plan::TlsTcp => "tls",
        Plan::Tcp => "tcp",
    };
    if !checked.plan.is_tls() {
        return match checked.bind {
            BindAddress::Any => format!("{kind}.{port}"),
            BindAddress::Ip(address) => format!("{kind}.{port}.{address}"),
        };
    }
    let (name, namespace) = (attached.gateway.name(), attached.gateway.namespace());
    let of = |port_name: &str| format!("{kind}.{}.{port_name}.{name}.{namespace}", checked.port);
    let mut key = of(&checked.port_name);
    if checked.port_name.is_empty() || tables.keys.contains(&key) {
        key = of(&checked.index.to_string());
    }
    while !tables.keys.insert(key.clone()) {
        key.push('+');
    }
    key
}

/// The hosts of a chain; empty when one of them is every host.
fn hostnames(servers: &[Attached<'_>]) -> Vec<Hostname> {
    let hosts = servers.iter().flat_map(|server| &server.checked.hosts);
    let names: BTreeSet<&Hostname> = hosts.map(|host| &host.name).collect();
    if names.iter().any(|name| name.is_any()) {
        return Vec::new();
    }
    names.into_iter().cloned().collect()
}

/// Adds a chain with its listener.
pub(super) fn emit(world: &World<'_>, server: &Attached<'_>, chain: &FilterChain, sink: &mut Sink) {
    listener(world, server, chain, sink);
    sink.resource(Resource::Chain(Box::new(chain.clone())));
}

/// Adds the listener of a chain as one of its servers wants it.
fn listener(world: &World<'_>, server: &Attached<'_>, chain: &FilterChain, sink: &mut Sink) {
    let bound = chain.listener.as_str().rsplit_once(':');
    let Some(port) = bound.and_then(|(_, port)| port.parse::<u16>().ok()) else {
        return;
    };
    let gateway = server.gateway.object;
    let proxy_protocol = proxy_protocol::of_gateway(world.store, world.options, gateway, sink);
    sink.listener(Listener {
        proxy_protocol,
        key: chain.listener.clone(),
        address: server.checked.bind,
        port,
        transport: Transport::Tcp,
    });
}
