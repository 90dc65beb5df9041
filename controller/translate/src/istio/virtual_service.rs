//! VirtualServices on the route tables of the Gateways they name.
//!
//! A table is a list: for each server in order, for each VirtualService of its Gateway (private
//! ones first, then by age), the routes of the VirtualService's rules. Routes that match every
//! request come last, redirects to https first. Each virtual host is that list restricted to the
//! routes that name it.

use super::{
    delegate::{self, Written},
    gateway::{Attached, Table, Tables},
    l4,
    route::{self, Draft},
    unreachable,
    visibility::{self, Scope},
    world::{Voice, World, source},
};
use crate::{Code, Ref, names, output::Sink};
use gwanmun_api::{Kind, Object, ObjectKey, istio};
use gwanmun_ir::{
    Action, Dialect, Hostname, HttpMatch, PathMatch, Precedence, Redirect, RedirectPort, Resource,
    Route, RouteKey, RouteKind, StringMatch, Timeouts,
};
use std::collections::{BTreeMap, BTreeSet};

/// The annotation that limits request bodies.
const MAX_REQUEST_BODY: &str = "gwanmun.io/max-request-body";

/// A VirtualService that names at least one Gateway.
#[derive(Debug)]
pub(super) struct Candidate<'a> {
    pub(super) object: Ref<'a, istio::VirtualService>,
    pub(super) rules: Vec<Written<'a>>,
    hosts: Vec<Hostname>,
    gateways: Vec<String>,
    scope: Scope,
    max_request_body: Option<u64>,
}

/// Attaches all VirtualServices to the tables; emits routes.
pub(super) fn attach(world: &World<'_>, tables: &Tables<'_>, sink: &mut Sink) {
    let candidates = candidates(world, tables, sink);
    let mut by_gateway: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    for (index, candidate) in candidates.iter().enumerate() {
        for gateway in &candidate.gateways {
            let list = by_gateway.entry(gateway).or_default();
            if list.last() != Some(&index) {
                list.push(index);
            }
        }
    }
    let l4 = l4::attach(world, tables, (&candidates, &by_gateway), sink);
    let mut attached = BTreeSet::new();
    for table in &tables.tables {
        let mut rows = Rows::new(world, table);
        for server in table.servers.iter().filter(|server| !server.is_closed()) {
            let gateway = server.gateway_id();
            for index in by_gateway.get(gateway.as_str()).into_iter().flatten() {
                let Some(candidate) = candidates.get(*index) else {
                    continue;
                };
                if rows.add(server, (*index, candidate), sink) {
                    attached.insert(*index);
                }
            }
            rows.redirect(server);
        }
        rows.emit(sink);
    }
    for (index, candidate) in candidates.iter().enumerate() {
        let spec = candidate.object.content.spec.as_ref();
        let (tls, tcp) = spec.map_or((0, 0), |spec| (spec.tls.len(), spec.tcp.len()));
        let http = !candidate.rules.is_empty();
        for (what, rules, server) in [
            ("", http && !attached.contains(&index), "HTTP server"),
            (
                "tls",
                tls > 0 && !l4.tls.contains(&index),
                "server with TLS PASSTHROUGH",
            ),
            ("tcp", tcp > 0 && !l4.tcp.contains(&index), "TCP server"),
        ] {
            if rules {
                unattached(candidate, tables, (what, server), sink);
            }
        }
    }
}

/// Says why rules of a VirtualService that names a served Gateway are on none of its servers.
fn unattached(
    candidate: &Candidate<'_>,
    tables: &Tables<'_>,
    (rules, server): (&str, &str),
    sink: &mut Sink,
) {
    let mut served = candidate
        .gateways
        .iter()
        .filter(|id| tables.gateways.contains(*id));
    if served.next().is_none() {
        return;
    }
    let mut voice = candidate.voice(sink);
    if rules.is_empty() {
        let message = "no HTTP server of its Gateways has such a host for this namespace, so the rules have no effect";
        voice.warn(Code::HostNotInGateway, "spec.hosts", message);
    } else {
        let message = format!(
            "no {server} of its Gateways is meant by these rules and has such a host for this \
             namespace, so they have no effect"
        );
        voice.warn(Code::HostNotInGateway, format!("spec.{rules}"), message);
    }
}

impl<'a> Candidate<'a> {
    /// Where findings about the VirtualService go.
    pub(super) fn voice<'s>(&self, sink: &'s mut Sink) -> Voice<'a, 's> {
        Voice {
            object: self.object.object,
            sink,
        }
    }

    /// Its hosts, qualified.
    pub(super) fn hosts(&self) -> &[Hostname] {
        &self.hosts
    }
}

/// The VirtualServices that name a Gateway and are visible here, in their order.
fn candidates<'a>(world: &World<'a>, tables: &Tables<'_>, sink: &mut Sink) -> Vec<Candidate<'a>> {
    let all = world.store.all::<istio::VirtualService>();
    let mut found: Vec<Candidate<'a>> = all
        .filter_map(|service| candidate(world, service, tables, sink))
        .collect();
    found.sort_by(|a, b| {
        let key = |candidate: &Candidate<'a>| {
            let meta = &candidate.object.object.meta;
            (
                candidate.scope,
                meta.created.unwrap_or(i64::MAX),
                candidate.object.object.order,
                meta.name.clone(),
                meta.namespace.clone(),
            )
        };
        key(a).cmp(&key(b))
    });
    found
}

fn candidate<'a>(
    world: &World<'a>,
    service: Ref<'a, istio::VirtualService>,
    tables: &Tables<'_>,
    sink: &mut Sink,
) -> Option<Candidate<'a>> {
    let mut voice = Voice {
        object: service.object,
        sink,
    };
    let Some(spec) = service.content.spec.as_ref() else {
        voice.error(
            Code::SchemaValidation,
            "spec",
            "missing, so it has no effect",
        );
        return None;
    };
    let namespace = service.namespace();
    if spec.hosts.is_empty() {
        if !spec.gateways.is_empty() {
            voice.error(
                Code::SchemaValidation,
                "spec.hosts",
                "required, so it has no effect",
            );
        }
        return None;
    }
    let gateways = gateways(world, spec, namespace, tables, &mut voice);
    if gateways.is_empty() {
        return None;
    }
    let viewer = &world.options.namespace;
    let default = world.mesh.virtual_service_export_to();
    let Some(scope) = visibility::scope(&spec.export_to, default, namespace, viewer) else {
        let message =
            format!("not visible in {viewer}, the namespace of this gateway, so it has no effect");
        voice.warn(Code::NoEffectOnGateway, "spec.exportTo", message);
        return None;
    };
    l4::review(spec, &mut voice);
    if spec.http.is_empty() && spec.tls.is_empty() && spec.tcp.is_empty() {
        voice.error(
            Code::SchemaValidation,
            "spec",
            "one of http, tls and tcp is required",
        );
    }
    unreachable::review(spec, &mut voice);
    let hosts = hosts(world, spec, namespace, &mut voice);
    let max_request_body = max_request_body(service.object, &mut voice);
    Some(Candidate {
        object: service,
        rules: delegate::rules(world, service, spec, sink),
        hosts,
        gateways,
        scope,
        max_request_body,
    })
}

/// The limit of request bodies that an object's annotation sets.
pub(super) fn max_request_body(object: &Object, voice: &mut Voice<'_, '_>) -> Option<u64> {
    let text = object.meta.annotations.get(MAX_REQUEST_BODY)?;
    let bytes = names::quantity_bytes(text);
    if bytes.is_none() {
        let message = format!("`{text}` is not a quantity of bytes such as `1Mi`; no limit is set");
        let field = format!("metadata.annotations[{MAX_REQUEST_BODY}]");
        voice.error(Code::InvalidValue, field, message);
    }
    bytes
}

/// The Gateways that a VirtualService names, as `namespace/name`.
fn gateways(
    world: &World<'_>,
    spec: &istio::VirtualServiceSpec,
    namespace: &str,
    tables: &Tables<'_>,
    voice: &mut Voice<'_, '_>,
) -> Vec<String> {
    let mut found = Vec::new();
    for (index, name) in spec.gateways.iter().enumerate() {
        if name == "mesh" {
            continue;
        }
        let id = gateway_id(name, namespace);
        if !tables.gateways.contains(&id) {
            missing_gateway(world, &id, &format!("spec.gateways[{index}]"), voice);
        }
        found.push(id);
    }
    if found.is_empty() {
        let message = "applies to the mesh only (no Gateway is named), so it has no effect here";
        voice.info(Code::NoEffectOnGateway, "spec.gateways", message);
    }
    found
}

/// Reports a Gateway that is not served, unless it exists and is meant for others.
fn missing_gateway(world: &World<'_>, id: &str, field: &str, voice: &mut Voice<'_, '_>) {
    let (namespace, name) = id.split_once('/').unwrap_or(("", id));
    let exists = |kind| {
        let key = ObjectKey::new(kind, namespace, name);
        world.store.object(&key).is_some()
    };
    if exists(Kind::IstioGateway) {
        return;
    }
    if exists(Kind::Gateway) || name.contains("-istio-autogenerated-k8s-gateway") {
        let message =
            format!("{id} is a Gateway of the Gateway API, to which VirtualServices cannot attach");
        voice.warn(Code::InternalGatewayReference, field, message);
    } else {
        let message = format!("Gateway {id} does not exist");
        voice.error(Code::ReferencedResourceNotFound, field, message);
    }
}

/// A Gateway's name as `namespace/name`: `name`, `./name`, `namespace/name`, and the old
/// `name.namespace.svc.cluster.local`.
pub(super) fn gateway_id(name: &str, namespace: &str) -> String {
    if let Some((owner, name)) = name.split_once('/') {
        let owner = if owner == "." { namespace } else { owner };
        return format!("{owner}/{name}");
    }
    match name.split_once('.') {
        None => format!("{namespace}/{name}"),
        Some((name, rest)) => {
            let owner = rest.split_once('.').map_or(rest, |(owner, _)| owner);
            format!("{owner}/{name}")
        }
    }
}

fn hosts(
    world: &World<'_>,
    spec: &istio::VirtualServiceSpec,
    namespace: &str,
    voice: &mut Voice<'_, '_>,
) -> Vec<Hostname> {
    let mut found = Vec::new();
    for (index, text) in spec.hosts.iter().enumerate() {
        match world.qualified(text, namespace).parse::<Hostname>() {
            Ok(host) if found.contains(&host) => {
                let field = format!("spec.hosts[{index}]");
                voice.error(
                    Code::SchemaValidation,
                    field,
                    format!("`{text}` is repeated"),
                );
            }
            Ok(host) => found.push(host),
            Err(error) => {
                let field = format!("spec.hosts[{index}]");
                voice.error(
                    Code::SchemaValidation,
                    field,
                    format!("{error}, so it is ignored"),
                );
            }
        }
    }
    found
}

impl Attached<'_> {
    /// Whether nothing is served here.
    fn is_closed(&self) -> bool {
        use super::server::Plan;
        match self.checked.plan {
            Plan::ClosedTls | Plan::Passthrough | Plan::Tcp | Plan::TlsTcp => true,
            Plan::Http | Plan::Https => false,
        }
    }
}

/// The number of the first route that matches everything: apart from the others', so that a new
/// VirtualService renumbers neither.
const LAST: u32 = 1 << 31;

/// Routes, and the hosts they were given to.
type Given = (Vec<Draft>, Vec<Hostname>);

/// The routes of one table while they are collected.
struct Rows<'w, 'a, 't> {
    world: &'w World<'a>,
    table: &'t Table<'a>,
    first: Vec<Route>,
    last: Vec<Route>,
    redirected: BTreeSet<Hostname>,
    keys: BTreeSet<RouteKey>,
    /// What each VirtualService (by place among the candidates) has already given to which hosts.
    given: BTreeMap<usize, Vec<Given>>,
}

impl<'w, 'a, 't> Rows<'w, 'a, 't> {
    fn new(world: &'w World<'a>, table: &'t Table<'a>) -> Self {
        Self {
            world,
            table,
            first: Vec::new(),
            last: Vec::new(),
            redirected: BTreeSet::new(),
            keys: BTreeSet::new(),
            given: BTreeMap::new(),
        }
    }

    /// Adds the routes of a VirtualService for the hosts it shares with a server; whether there
    /// are such hosts.
    fn add(
        &mut self,
        server: &Attached<'_>,
        (index, candidate): (usize, &Candidate<'_>),
        sink: &mut Sink,
    ) -> bool {
        let mut hosts = shared_hosts(server, candidate);
        if hosts.is_empty() {
            return false;
        }
        let gateway = server.gateway_id();
        let place = route::Place {
            gateway: &gateway,
            port: server.checked.port,
        };
        let drafts = route::drafts(self.world, candidate, &place, sink);
        if !drafts.is_empty() && server.checked.redirects() {
            self.redirected.extend(hosts.iter().cloned());
        }
        // The same routes again for the same host, through another server, can never match.
        let given = self.given.entry(index).or_default();
        for (_, earlier) in given.iter().filter(|(earlier, _)| *earlier == drafts) {
            hosts.retain(|host| !earlier.contains(host));
        }
        if hosts.is_empty() {
            return true;
        }
        given.push((drafts.clone(), hosts.clone()));
        let mut voice = Voice {
            object: server.gateway.object,
            sink,
        };
        let limit = max_request_body(server.gateway.object, &mut voice);
        let limit = candidate.max_request_body.or(limit);
        for draft in drafts {
            self.push(candidate, draft, hosts.clone(), limit);
        }
        true
    }

    fn push(
        &mut self,
        candidate: &Candidate<'_>,
        draft: Draft,
        hostnames: Vec<Hostname>,
        max_request_body: Option<u64>,
    ) {
        let object = &candidate.object;
        let chain = &self.table.chain.key;
        let base = format!(
            "VirtualService/{}/{}/{}@{chain}",
            object.namespace(),
            object.name(),
            draft.position
        );
        let key = self.unique(&base);
        let route = Route {
            key,
            chain: chain.clone(),
            hostnames,
            precedence: Precedence::InOrder(0),
            kind: RouteKind::Http,
            matches: draft.matches.into_iter().collect(),
            filters: draft.filters,
            action: draft.action,
            timeouts: draft.timeouts,
            retry: draft.retry,
            max_request_body,
            dialect: Dialect::Istio {
                server: self.world.mesh.server(),
            },
            name: draft.name,
            source: draft.source,
        };
        if draft.catch_all {
            self.last.push(route);
        } else {
            self.first.push(route);
        }
    }

    /// The key, with a number where a VirtualService is on several servers of a table.
    fn unique(&mut self, base: &str) -> RouteKey {
        let mut key = RouteKey::new(base);
        let mut number = 1;
        while !self.keys.insert(key.clone()) {
            number += 1;
            key = RouteKey::new(format!("{base}+{number}"));
        }
        key
    }

    /// A redirecting server redirects all its hosts, also those without VirtualService.
    fn redirect(&mut self, server: &Attached<'_>) {
        if server.checked.redirects() {
            let hosts = server.checked.hosts.iter();
            self.redirected.extend(hosts.map(|host| host.name.clone()));
        }
    }

    fn emit(self, sink: &mut Sink) {
        if let Some(redirect) = self.redirect_route() {
            sink.resource(Resource::Route(Box::new(redirect)));
        }
        let routes = (1_u32..).zip(self.first).chain((LAST..).zip(self.last));
        for (number, mut route) in routes {
            route.precedence = Precedence::InOrder(number);
            sink.resource(Resource::Route(Box::new(route)));
        }
    }

    /// The redirect to https of this table's redirected hosts: 301, Host as sent.
    fn redirect_route(&self) -> Option<Route> {
        let servers = &self.table.servers;
        let server = servers.iter().find(|server| server.checked.redirects())?;
        let gateway = server.gateway.object;
        let section = format!("{}.tls.httpsRedirect", server.checked.field()).replace("spec.", "");
        let key = gateway.key();
        let chain = &self.table.chain.key;
        Some(Route {
            key: RouteKey::new(format!(
                "Gateway/{}/{}/httpsRedirect@{chain}",
                key.namespace, key.name
            )),
            chain: chain.clone(),
            hostnames: self.redirected.iter().cloned().collect(),
            precedence: Precedence::InOrder(0),
            kind: RouteKind::Http,
            matches: vec![HttpMatch {
                path: PathMatch::Any,
                method: None,
                scheme: Some(StringMatch::Exact("http".to_owned())),
                authority: None,
                headers: Vec::new(),
                query: Vec::new(),
                section: String::new(),
            }],
            filters: Vec::new(),
            action: Action::Redirect(Redirect {
                status: 301,
                scheme: Some("https".to_owned()),
                host: None,
                port: RedirectPort::KeepHost,
                path: None,
            }),
            timeouts: Timeouts::default(),
            retry: None,
            max_request_body: None,
            dialect: Dialect::Istio {
                server: self.world.mesh.server(),
            },
            name: "-".to_owned(),
            source: source(gateway, section),
        })
    }
}

/// The more specific of each pair of a server's and a VirtualService's hosts that overlap.
pub(super) fn shared_hosts(server: &Attached<'_>, candidate: &Candidate<'_>) -> Vec<Hostname> {
    let namespace = candidate.object.namespace();
    let mut found: Vec<Hostname> = Vec::new();
    for host in &server.checked.hosts {
        if host
            .namespace
            .as_deref()
            .is_some_and(|owner| owner != namespace)
        {
            continue;
        }
        for own in &candidate.hosts {
            if let Some(shared) = host.name.intersection(own)
                && !found.contains(shared)
            {
                found.push(shared.clone());
            }
        }
    }
    found
}
