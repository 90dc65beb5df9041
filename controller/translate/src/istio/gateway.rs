//! Istio Gateways: which are served, and how their servers share ports.
//!
//! Gateways are taken oldest first and their servers in order; on each bound port and address the
//! first server decides what the port is. Plaintext HTTP servers become one filter chain with one
//! route table, each server with TLS becomes one of its own, and a server that does not fit is
//! dropped and reported (IST0145).

use super::{
    ports, secret,
    server::{self, Checked, Plan},
    tls,
    world::{Voice, World, source},
};
use crate::{Code, Ref, names, output::Sink};
use gwanmun_api::{core::Service, istio};
use gwanmun_ir::{
    AppProtocol, BindAddress, ChainKey, ChainMatch, FilterChain, ForwardClientCert, HostRule,
    Hostname, HttpOptions, Listener, Resource, Security, Transport,
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

/// What is served, as the VirtualServices see it.
#[derive(Debug, Default)]
pub(super) struct Tables<'a> {
    pub(super) tables: Vec<Table<'a>>,
    /// `namespace/name` of the Gateways that mean this workload.
    pub(super) gateways: BTreeSet<String>,
    slots: BTreeMap<(u16, BindAddress), Slot>,
}

/// What a bound port and address is.
#[derive(Debug)]
enum Slot {
    /// Plaintext: the table of its HTTP servers, or nothing for TCP.
    Plain(Option<usize>),
    /// TLS: the names claimed, and by whom.
    Tls(Vec<(Hostname, String)>),
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
        emit(table, sink);
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
    let table_count = tables.tables.len();
    let dropped = |reason: String| {
        format!("{reason} on port {port}, so this server is not served; the older one wins")
    };
    match (tables.slots.get_mut(&slot), checked.plan) {
        (None, Plan::Http) => {
            tables.slots.insert(slot, Slot::Plain(Some(table_count)));
            tables.tables.push(table(world, port, attached, voice));
        }
        (None, Plan::Tcp) => {
            tables.slots.insert(slot, Slot::Plain(None));
        }
        (None, Plan::Https | Plan::ClosedTls) => {
            let claims = claims(&attached);
            tables.slots.insert(slot, Slot::Tls(claims));
            tables.tables.push(table(world, port, attached, voice));
        }
        (Some(Slot::Plain(Some(index))), Plan::Http) => {
            if let Some(table) = tables.tables.get_mut(*index) {
                table.servers.push(attached);
            }
        }
        (Some(Slot::Tls(claimed)), Plan::Https | Plan::ClosedTls) => {
            let names = claims(&attached);
            let conflict = claimed
                .iter()
                .find(|(name, _)| names.iter().any(|(own, _)| own == name));
            if let Some((name, owner)) = conflict {
                let message = dropped(format!("host `{name}` is claimed by {owner}"));
                voice.error(Code::ConflictingGateways, format!("{field}.hosts"), message);
                return;
            }
            claimed.extend(names);
            tables.tables.push(table(world, port, attached, voice));
        }
        (Some(Slot::Plain(_)), plan) => {
            let what = if plan.is_tls() {
                "plaintext"
            } else {
                "another plaintext protocol"
            };
            let message = dropped(format!("{what} is spoken"));
            voice.error(Code::ConflictingGateways, format!("{field}.port"), message);
        }
        (Some(Slot::Tls(_)), Plan::Http | Plan::Tcp) => {
            let message = dropped("TLS is spoken".to_owned());
            voice.error(Code::ConflictingGateways, format!("{field}.port"), message);
        }
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

/// Starts the table of a server that shares no other's.
fn table<'a>(
    world: &World<'a>,
    port: u16,
    attached: Attached<'a>,
    voice: &mut Voice<'_, '_>,
) -> Table<'a> {
    let checked = &attached.checked;
    let (name, namespace) = (attached.gateway.name(), attached.gateway.namespace());
    let security = tls::security(world, checked, voice);
    let key = if checked.plan.is_tls() {
        let port_name = if checked.port_name.is_empty() {
            checked.index.to_string()
        } else {
            checked.port_name.clone()
        };
        format!("https.{}.{port_name}.{name}.{namespace}", checked.port)
    } else {
        match checked.bind {
            BindAddress::Any => format!("http.{port}"),
            BindAddress::Ip(address) => format!("http.{port}.{address}"),
        }
    };
    let (created, rank) = names::rank(attached.gateway.object);
    let chain = FilterChain {
        key: ChainKey::new(key),
        listener: names::listener(checked.bind, port, Transport::Tcp),
        matches: ChainMatch::default(),
        protocol: AppProtocol::Http(HttpOptions {
            forward_client_cert: ForwardClientCert::SanitizeSet,
            host_rule: HostRule::Exclusive,
            path_normalization: world.mesh.path_normalization(),
            trusted_hops: world.mesh.trusted_hops(),
            detect_misdirected: security != Security::Plaintext,
            accept_http10: false,
        }),
        security,
        rank: (created, format!("{rank} {:04}", checked.index)),
        port: checked.port,
        source: source(
            attached.gateway.object,
            checked.field().replace("spec.", ""),
        ),
    };
    Table {
        chain,
        servers: vec![attached],
    }
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

fn emit(table: &Table<'_>, sink: &mut Sink) {
    let Some(first) = table.servers.first() else {
        return;
    };
    let bound = table.chain.listener.as_str().rsplit_once(':');
    let Some(port) = bound.and_then(|(_, port)| port.parse::<u16>().ok()) else {
        return;
    };
    sink.resource(Resource::Listener(Listener {
        proxy_protocol: None,
        key: table.chain.listener.clone(),
        address: first.checked.bind,
        port,
        transport: Transport::Tcp,
    }));
    sink.resource(Resource::Chain(Box::new(table.chain.clone())));
}
