//! The `tls` and `tcp` rules of VirtualServices: connections that are forwarded as bytes.
//!
//! A server that passes TLS through becomes one filter chain for each match of a `tls` rule, so
//! that the most specific server name wins across all servers of a port. A name goes to the first
//! rule that claims it. A TCP server, with or without TLS that ends here, has one route: the first
//! `tcp` rule of the first VirtualService that is for it.

use super::{
    destination::Caller,
    gateway::{self, L4Server, Tables},
    server::Plan,
    virtual_service::{Candidate, gateway_id, shared_hosts},
    world::{Voice, World, source},
};
use crate::{Code, backend, output::Sink};
use gwanmun_api::istio::{
    L4MatchAttributes, RouteDestination, TcpRoute, TlsMatchAttributes, TlsRoute, VirtualServiceSpec,
};
use gwanmun_ir::{
    ChainKey, FilterChain, Hostname, L4Route, L4Target, ListenerKey, Precedence, Resource,
    RouteKey, Target,
};
use std::collections::{BTreeMap, BTreeSet};

/// How often a connection is tried where nobody says, as Envoy does.
const CONNECT_ATTEMPTS: u32 = 1;

/// Which candidates are for a server at all, by what their rules are about.
#[derive(Debug, Default)]
pub(super) struct Attachment {
    pub(super) tcp: BTreeSet<usize>,
    pub(super) tls: BTreeSet<usize>,
}

/// The candidates of each Gateway, in their order.
type ByGateway<'b> = BTreeMap<&'b str, Vec<usize>>;

/// Server names that chains of a listener have, and who claimed them.
type Claims = BTreeMap<(ListenerKey, Hostname), String>;

/// Attaches the `tls` and `tcp` rules of all candidates; emits listeners, chains and routes.
pub(super) fn attach(
    world: &World<'_>,
    tables: &Tables<'_>,
    (candidates, by_gateway): (&[Candidate<'_>], &ByGateway<'_>),
    sink: &mut Sink,
) -> Attachment {
    let mut work = Work {
        world,
        claims: claims(tables),
        attachment: Attachment::default(),
    };
    let of = |server: &L4Server<'_>| {
        let gateway = server.server.gateway_id();
        let found = by_gateway.get(gateway.as_str()).into_iter().flatten();
        let found = found.filter_map(|index| Some((*index, candidates.get(*index)?)));
        let found = found.filter(|(_, one)| !shared_hosts(&server.server, one).is_empty());
        found.collect::<Vec<_>>()
    };
    let (passing, ending): (Vec<_>, Vec<_>) = tables
        .l4
        .iter()
        .partition(|server| server.server.checked.plan == Plan::Passthrough);
    // Names of servers that end TLS are theirs, whichever comes first.
    for server in ending {
        work.tcp(server, &of(server), sink);
    }
    for server in passing {
        work.tls(server, &of(server), sink);
    }
    work.attachment
}

/// The names of the servers with TLS whose chains need no VirtualService.
fn claims(tables: &Tables<'_>) -> Claims {
    let mut claims = Claims::new();
    for table in &tables.tables {
        for server in table.servers.iter().filter(|one| one.checked.plan.is_tls()) {
            let owner = format!("{} {}", server.gateway.key(), server.checked.field());
            for host in &server.checked.hosts {
                let key = (table.chain.listener.clone(), host.name.clone());
                claims.insert(key, owner.clone());
            }
        }
    }
    claims
}

struct Work<'w, 'a> {
    world: &'w World<'a>,
    claims: Claims,
    attachment: Attachment,
}

/// A rule on its way to becoming a route.
struct Draft<'r> {
    /// `tls/RULE/MATCH` or `tcp/RULE`.
    position: String,
    /// The same as a part of the VirtualService.
    section: String,
    /// The rule's field.
    field: String,
    hostnames: Vec<Hostname>,
    destinations: &'r [RouteDestination],
}

impl Work<'_, '_> {
    fn tcp(
        &mut self,
        server: &L4Server<'_>,
        candidates: &[(usize, &Candidate<'_>)],
        sink: &mut Sink,
    ) {
        let mut taken: Option<String> = None;
        for (index, candidate) in candidates {
            for (number, rule) in rules(candidate, |spec| &spec.tcp) {
                let mut voice = candidate.voice(sink);
                if !self.is_for(server, candidate, rule) {
                    continue;
                }
                self.attachment.tcp.insert(*index);
                let field = format!("spec.tcp[{number}]");
                if let Some(taken) = &taken {
                    let port = server.server.checked.port;
                    let message = format!(
                        "{taken} takes every connection of port {port}, so this is never used"
                    );
                    voice.warn(Code::UnreachableRule, field, message);
                    continue;
                }
                if rule.route.is_empty() {
                    let message = "required, so this rule has no effect";
                    voice.error(Code::SchemaValidation, format!("{field}.route"), message);
                    continue;
                }
                taken = Some(format!("{} {field}", candidate.object.key()));
                let draft = Draft {
                    position: format!("tcp/{number}"),
                    section: format!("tcp[{number}]"),
                    field,
                    hostnames: Vec::new(),
                    destinations: &rule.route,
                };
                gateway::emit(self.world, &server.server, &server.chain, sink);
                self.route(candidate, draft, &server.chain, sink);
            }
        }
        if let Some(owner) = taken {
            for host in &server.server.checked.hosts {
                let key = (server.chain.listener.clone(), host.name.clone());
                self.claims.insert(key, owner.clone());
            }
        } else {
            let plain = server.server.checked.plan == Plan::Tcp;
            let message = if plain {
                "no VirtualService has a `tcp` rule for this server, so the port stays closed"
            } else {
                "no VirtualService has a `tcp` rule for this server, so its hosts are not served"
            };
            without_routes(server, message, sink);
        }
    }

    /// Whether a `tcp` rule is for this server.
    fn is_for(&self, server: &L4Server<'_>, candidate: &Candidate<'_>, rule: &TcpRoute) -> bool {
        let mut matches = rule.matches.iter();
        rule.matches.is_empty()
            || matches.any(|entry| self.is_for_here(server, candidate, &Conditions::of_l4(entry)))
    }

    /// Whether a match is meant for this server: its port, Gateway, and the labels and namespace
    /// of the gateway's workload.
    fn is_for_here(
        &self,
        server: &L4Server<'_>,
        candidate: &Candidate<'_>,
        entry: &Conditions<'_>,
    ) -> bool {
        let namespace = candidate.object.namespace();
        let gateway = server.server.gateway_id();
        let port = u32::from(server.server.checked.port);
        let mut gateways = entry.gateways.iter();
        let source = entry.source_namespace.filter(|name| !name.is_empty());
        entry
            .port
            .is_none_or(|wanted| wanted == 0 || wanted == port)
            && (entry.gateways.is_empty()
                || gateways.any(|name| gateway_id(name, namespace) == gateway))
            && source.is_none_or(|name| name == self.world.options.namespace)
            && self.world.selects(entry.source_labels)
    }

    fn tls(
        &mut self,
        server: &L4Server<'_>,
        candidates: &[(usize, &Candidate<'_>)],
        sink: &mut Sink,
    ) {
        let mut routed = false;
        for (index, candidate) in candidates {
            for (number, rule) in rules(candidate, |spec| &spec.tls) {
                let field = format!("spec.tls[{number}]");
                for (place, entry) in rule.matches.iter().enumerate() {
                    if !self.is_for_here(server, candidate, &Conditions::of_tls(entry)) {
                        continue;
                    }
                    self.attachment.tls.insert(*index);
                    let here = (number, place);
                    routed |= self.passed(server, candidate, (rule, entry, here), sink);
                }
                if rule.route.is_empty() {
                    let message = "required, so this rule has no effect";
                    let mut voice = candidate.voice(sink);
                    voice.error(Code::SchemaValidation, format!("{field}.route"), message);
                }
            }
        }
        if !routed {
            let message = "no VirtualService has a `tls` rule for its hosts, so their connections \
                           are closed";
            without_routes(server, message, sink);
        }
    }

    /// The chain and route of one match of a `tls` rule; whether there is one.
    fn passed(
        &mut self,
        server: &L4Server<'_>,
        candidate: &Candidate<'_>,
        (rule, entry, (number, place)): (&TlsRoute, &TlsMatchAttributes, (usize, usize)),
        sink: &mut Sink,
    ) -> bool {
        let field = format!("spec.tls[{number}].match[{place}]");
        let mut voice = candidate.voice(sink);
        let names = self.names(server, candidate, (entry, &field), &mut voice);
        if names.is_empty() || rule.route.is_empty() {
            return false;
        }
        let object = &candidate.object;
        let (namespace, name) = (object.namespace(), object.name());
        let position = format!("tls/{number}/{place}");
        let mut chain = server.chain.clone();
        let key = &server.chain.key;
        chain.key = ChainKey::new(format!("{key}/{namespace}/{name}/{number}/{place}"));
        chain.rank.1 = format!("{} {number:04} {place:04} {namespace}/{name}", chain.rank.1);
        chain.matches.hostnames = if names.iter().any(Hostname::is_any) {
            Vec::new()
        } else {
            names
        };
        gateway::emit(self.world, &server.server, &chain, sink);
        let draft = Draft {
            position,
            section: format!("tls[{number}].match[{place}]"),
            field: format!("spec.tls[{number}]"),
            hostnames: chain.matches.hostnames.clone(),
            destinations: &rule.route,
        };
        self.route(candidate, draft, &chain, sink);
        true
    }

    /// The server names of a match that are this server's to serve and nobody else's; they are
    /// claimed.
    fn names(
        &mut self,
        server: &L4Server<'_>,
        candidate: &Candidate<'_>,
        (entry, field): (&TlsMatchAttributes, &str),
        voice: &mut Voice<'_, '_>,
    ) -> Vec<Hostname> {
        if entry.sni_hosts.is_empty() {
            let message = "required, so this match has no effect";
            voice.error(Code::SchemaValidation, format!("{field}.sniHosts"), message);
        }
        let mut found: Vec<Hostname> = Vec::new();
        for (index, text) in entry.sni_hosts.iter().enumerate() {
            let field = format!("{field}.sniHosts[{index}]");
            let name = match text.parse::<Hostname>() {
                Ok(name) => name,
                Err(error) => {
                    let message = format!("{error}, so it is ignored");
                    voice.error(Code::SchemaValidation, field, message);
                    continue;
                }
            };
            if !candidate.hosts().iter().any(|host| host.covers(&name)) {
                let message = "none of the VirtualService's hosts covers it, so it is ignored";
                voice.error(Code::SchemaValidation, field, message);
                continue;
            }
            self.claim(server, candidate, (&name, &field), &mut found, voice);
        }
        found
    }

    /// Claims the part of a server name that the server's hosts cover.
    fn claim(
        &mut self,
        server: &L4Server<'_>,
        candidate: &Candidate<'_>,
        (name, field): (&Hostname, &str),
        found: &mut Vec<Hostname>,
        voice: &mut Voice<'_, '_>,
    ) {
        let namespace = candidate.object.namespace();
        let checked = &server.server.checked;
        let mut covered = false;
        for host in &checked.hosts {
            let foreign = host
                .namespace
                .as_deref()
                .is_some_and(|own| own != namespace);
            let Some(shared) = host.name.intersection(name).filter(|_| !foreign) else {
                continue;
            };
            covered = true;
            if found.contains(shared) {
                continue;
            }
            let key = (server.chain.listener.clone(), shared.clone());
            if let Some(owner) = self.claims.get(&key) {
                let message = format!(
                    "`{shared}` is claimed by {owner} on port {}, so it is not served here",
                    checked.port
                );
                voice.warn(Code::ConflictingGateways, field, message);
                continue;
            }
            let owner = format!("{} {field}", candidate.object.key());
            self.claims.insert(key, owner);
            found.push(shared.clone());
        }
        if !covered {
            let gateway = server.server.gateway.key();
            let message = format!(
                "no host of {gateway} {} covers it, so it is not served there",
                checked.field()
            );
            voice.warn(Code::HostNotInGateway, field, message);
        }
    }

    fn route(
        &self,
        candidate: &Candidate<'_>,
        draft: Draft<'_>,
        chain: &FilterChain,
        sink: &mut Sink,
    ) {
        let mut voice = candidate.voice(sink);
        let caller = Caller {
            world: self.world,
            namespace: candidate.object.namespace(),
            port: chain.port,
            otherwise: "connections are closed",
        };
        let targets = targets(&caller, &draft, &mut voice);
        let first = targets.iter().find_map(|target| match &target.target {
            Target::Cluster(key) => Some(key),
            Target::Fail(_) => None,
        });
        let idle = first.and_then(|key| backend::tcp_idle_timeout_ms(sink, key));
        let object = &candidate.object;
        let base = (object.namespace(), object.name());
        sink.resource(Resource::L4Route(Box::new(L4Route {
            key: RouteKey::new(format!(
                "VirtualService/{}/{}/{}@{}",
                base.0, base.1, draft.position, chain.key
            )),
            chain: chain.key.clone(),
            hostnames: draft.hostnames,
            precedence: Precedence::InOrder(1),
            targets,
            idle_timeout_ms: idle.unwrap_or(backend::TCP_IDLE_TIMEOUT_MS),
            connect_attempts: CONNECT_ATTEMPTS,
            name: "-".to_owned(),
            source: source(object.object, draft.section),
        })));
    }
}

/// What decides whether a match is for a server.
struct Conditions<'r> {
    port: Option<u32>,
    gateways: &'r [String],
    source_namespace: Option<&'r str>,
    source_labels: &'r BTreeMap<String, String>,
}

impl<'r> Conditions<'r> {
    fn of_l4(entry: &'r L4MatchAttributes) -> Self {
        Self {
            port: entry.port,
            gateways: &entry.gateways,
            source_namespace: entry.source_namespace.as_deref(),
            source_labels: &entry.source_labels,
        }
    }

    fn of_tls(entry: &'r TlsMatchAttributes) -> Self {
        Self {
            port: entry.port,
            gateways: &entry.gateways,
            source_namespace: entry.source_namespace.as_deref(),
            source_labels: &entry.source_labels,
        }
    }
}

fn rules<'c, T: 'c>(
    candidate: &Candidate<'c>,
    of: impl Fn(&'c VirtualServiceSpec) -> &'c Vec<T>,
) -> impl Iterator<Item = (usize, &'c T)> {
    let content = candidate.object.content;
    let spec = content.spec.as_ref();
    spec.into_iter().flat_map(of).enumerate()
}

/// Weights: a single destination needs none, several without weight get nothing.
fn targets(caller: &Caller<'_, '_>, draft: &Draft<'_>, voice: &mut Voice<'_, '_>) -> Vec<L4Target> {
    let single = draft.destinations.len() == 1;
    let mut found = Vec::new();
    for (index, one) in draft.destinations.iter().enumerate() {
        let field = format!("{}.route[{index}]", draft.field);
        let weight = one.weight.unwrap_or(0);
        if weight < 0 {
            let message = "must not be negative; it counts as 0";
            voice.error(Code::SchemaValidation, format!("{field}.weight"), message);
        }
        let weight = if single {
            1
        } else {
            u32::try_from(weight).unwrap_or(0)
        };
        let target = caller.target(one.destination.as_ref(), &field, voice);
        if weight > 0 {
            found.push(L4Target { target, weight });
        }
    }
    if found.is_empty() {
        let message = "all weights are 0; connections are closed";
        let field = format!("{}.route", draft.field);
        voice.error(Code::SchemaValidation, field, message);
    }
    found
}

fn without_routes(server: &L4Server<'_>, message: &str, sink: &mut Sink) {
    let mut voice = Voice {
        object: server.server.gateway.object,
        sink,
    };
    voice.warn(Code::NoRoutes, server.server.checked.field(), message);
}

/// Says what of a VirtualService's `tls` and `tcp` rules has no effect at a gateway.
pub(super) fn review(spec: &VirtualServiceSpec, voice: &mut Voice<'_, '_>) {
    let mut say = |field: String, set: bool| {
        if set {
            let message = "not looked at by gateways, so it restricts nothing";
            voice.warn(Code::NoEffectOnGateway, field, message);
        }
    };
    for (number, rule) in spec.tls.iter().enumerate() {
        for (place, entry) in rule.matches.iter().enumerate() {
            let field = format!("spec.tls[{number}].match[{place}].destinationSubnets");
            say(field, !entry.destination_subnets.is_empty());
        }
    }
    for (number, rule) in spec.tcp.iter().enumerate() {
        for (place, entry) in rule.matches.iter().enumerate() {
            let field = format!("spec.tcp[{number}].match[{place}]");
            let subnets = !entry.destination_subnets.is_empty();
            say(format!("{field}.destinationSubnets"), subnets);
            let source = entry.source_subnet.as_deref().unwrap_or_default();
            say(format!("{field}.sourceSubnet"), !source.is_empty());
        }
    }
    for (number, rule) in spec.tls.iter().enumerate() {
        if rule.matches.is_empty() {
            let message = "required, so this rule has no effect";
            let field = format!("spec.tls[{number}].match");
            voice.error(Code::SchemaValidation, field, message);
        }
    }
}
