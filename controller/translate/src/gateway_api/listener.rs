//! One listener of a Gateway or ListenerSet: what is wrong with it, and its filter chains.

use super::{
    Context,
    certificate::{self, Unusable},
    grant::Referrer,
    status::{Decision, Reason},
};
use crate::{Code, Severity, backend, names, proxy_protocol};
use gwanmun_api::{
    Kind, Object, ObjectKey,
    gateway_api::{FromNamespaces, FrontendTls, GROUP, ListenerEntry, ProtocolType, TlsMode},
};
use gwanmun_ir::{
    Alpn, AppProtocol, BindAddress, ChainKey, ChainMatch, ClientCertificates, FilterChain,
    ForwardClientCert, HostRule, Hostname, HttpOptions, InvalidHostname, ListenerKey,
    PathNormalization, Resource, Secret, Security, SourceRef, TlsPolicy, TlsVersion, Transport,
};
use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    sync::Arc,
};

/// The kinds of routes that HTTP and HTTPS listeners take.
const HTTP_KINDS: [Kind; 2] = [Kind::HttpRoute, Kind::GrpcRoute];

/// One listener and everything decided about it.
#[derive(Debug)]
pub(super) struct Listener<'a> {
    pub(super) entry: &'a ListenerEntry,
    /// Path of the entry in its object.
    pub(super) field: String,
    /// Hosts served; absent means all.
    pub(super) hostname: Result<Option<Hostname>, InvalidHostname>,
    /// Route kinds that may attach.
    pub(super) kinds: Vec<Kind>,
    /// Whether the entry by itself is acceptable.
    pub(super) accepted: Decision,
    /// Whether its references and route kinds are good.
    pub(super) resolved: Decision,
    /// How it conflicts with other listeners.
    pub(super) conflict: Option<Reason>,
    /// Whether its hostname overlaps with another HTTPS listener's of the port.
    pub(super) overlapping: bool,
    /// Whether it keeps its hosts from everybody else's listeners without serving them: something
    /// that protects them is asked for that we do not have.
    pub(super) closed: bool,
    /// Certificates, also unusable ones that may have been usable before.
    certificates: Vec<Secret>,
    /// Whether one of the certificates is usable, or none is needed.
    pub(super) certified: bool,
    /// Its filter chains, one per address.
    pub(super) chains: Vec<Chain>,
    /// The routes that are attached.
    pub(super) attached: BTreeSet<ObjectKey>,
}

/// A filter chain of a listener, and the socket it is on.
#[derive(Clone, Debug)]
pub(super) struct Chain {
    pub(super) key: ChainKey,
    pub(super) socket: ListenerKey,
    address: BindAddress,
}

impl Chain {
    /// Whether the socket is on this address alone.
    pub(super) fn is_on(&self, address: IpAddr) -> bool {
        self.address == BindAddress::Ip(address)
    }
}

/// Whose listeners are evaluated.
pub(super) struct Owner<'a> {
    pub(super) object: &'a Arc<Object>,
    /// Client certificate validation of the Gateway.
    pub(super) frontend: Option<&'a FrontendTls>,
    /// All of its listeners.
    pub(super) entries: &'a [ListenerEntry],
}

impl Owner<'_> {
    fn referrer(&self) -> Referrer<'_> {
        Referrer {
            kind: self.object.kind().kind(),
            namespace: &self.object.meta.namespace,
        }
    }

    /// Whether clients on this port must show certificates.
    fn validates_clients(&self, port: u16) -> bool {
        self.frontend.is_some_and(|frontend| {
            frontend
                .per_port
                .iter()
                .find(|entry| entry.port == port)
                .map_or(&frontend.default, |entry| &entry.tls)
                .validation
                .is_some()
        })
    }
}

impl<'a> Listener<'a> {
    /// Evaluates all listeners of an object, each by itself.
    pub(super) fn evaluate_all(cx: &mut Context<'_, '_>, owner: &Owner<'a>) -> Vec<Self> {
        let entries = owner.entries.iter().enumerate();
        entries
            .map(|(index, entry)| Self::evaluate(cx, owner, index, entry))
            .collect()
    }

    /// Evaluates one entry by itself.
    fn evaluate(
        cx: &mut Context<'_, '_>,
        owner: &Owner<'_>,
        index: usize,
        entry: &'a ListenerEntry,
    ) -> Self {
        let text = entry.hostname.as_deref().unwrap_or_default();
        let hostname = match text {
            "" | "*" => Ok(None),
            text => text.parse().map(Some),
        };
        let mut listener = Self {
            entry,
            field: format!("spec.listeners[{index}]"),
            hostname,
            kinds: Vec::new(),
            accepted: Decision::yes(Reason::Accepted),
            resolved: Decision::yes(Reason::ResolvedRefs),
            conflict: None,
            overlapping: false,
            closed: false,
            certificates: Vec::new(),
            certified: true,
            chains: Vec::new(),
            attached: BTreeSet::new(),
        };
        listener.check_tls(cx, owner);
        listener.check_kinds();
        if let Some((field, refusal, closed)) = listener.refusal(owner, index) {
            let field = format!("{}{field}", listener.field);
            let message = &refusal.message;
            cx.tell(
                Severity::Error,
                Code::NotAccepted,
                owner.object,
                &field,
                message,
            );
            listener.accepted = refusal;
            listener.closed = closed;
        }
        if !listener.resolved.holds() {
            let field = listener.field.clone();
            let message = &listener.resolved.message;
            cx.tell(
                Severity::Error,
                Code::RefNotResolved,
                owner.object,
                &field,
                message,
            );
        }
        listener.tell_options(cx, owner);
        listener.tell_namespaces(cx, owner);
        listener
    }

    /// Why the entry cannot be accepted: field, decision, and whether it closes its hosts.
    fn refusal(&self, owner: &Owner<'_>, index: usize) -> Option<(&'static str, Decision, bool)> {
        let entry = self.entry;
        let mut earlier = owner.entries.iter().take(index);
        if earlier.any(|one| one.name == entry.name) {
            let decision = Decision::no(
                Reason::UnsupportedValue,
                "an earlier listener has this name",
            );
            return Some((".name", decision, false));
        }
        let unsupported = |field, message: &str| {
            Some((field, Decision::no(Reason::UnsupportedValue, message), true))
        };
        match &entry.protocol {
            ProtocolType::Http | ProtocolType::Https => {}
            ProtocolType::Tcp
            | ProtocolType::Tls
            | ProtocolType::Udp
            | ProtocolType::Unknown(_) => {
                let message = format!("protocol `{}` is not supported", entry.protocol);
                let decision = Decision::no(Reason::UnsupportedProtocol, message);
                return Some((".protocol", decision, false));
            }
        }
        if entry.port == 0 {
            let decision = Decision::no(Reason::PortUnavailable, "port 0 cannot be bound");
            return Some((".port", decision, false));
        }
        if let Err(error) = &self.hostname {
            let decision = Decision::no(Reason::UnsupportedValue, error.to_string());
            return Some((".hostname", decision, false));
        }
        if entry
            .filters
            .as_ref()
            .is_some_and(|filters| !filters.requests.is_empty())
        {
            return unsupported(
                ".filters",
                "filters of listeners are not supported: nothing is served without them",
            );
        }
        let https = entry.protocol == ProtocolType::Https;
        if !https && entry.tls.is_some() {
            return unsupported(".tls", "protocol HTTP has no TLS: use HTTPS");
        }
        if https && self.mode() != &TlsMode::Terminate {
            return unsupported(".tls.mode", "HTTPS needs mode Terminate");
        }
        if https && owner.validates_clients(entry.port) {
            return unsupported(
                "",
                "verification of client certificates is not supported yet: nothing is served without it",
            );
        }
        None
    }

    fn mode(&self) -> &TlsMode {
        let tls = self.entry.tls.as_ref();
        tls.and_then(|tls| tls.mode.as_ref())
            .unwrap_or(&TlsMode::Terminate)
    }

    /// Resolves the certificates of a listener that terminates TLS.
    fn check_tls(&mut self, cx: &mut Context<'_, '_>, owner: &Owner<'_>) {
        let terminates = match self.entry.protocol {
            ProtocolType::Https | ProtocolType::Tls => self.mode() == &TlsMode::Terminate,
            ProtocolType::Http
            | ProtocolType::Tcp
            | ProtocolType::Udp
            | ProtocolType::Unknown(_) => false,
        };
        if !terminates {
            return;
        }
        self.certified = false;
        let references = self
            .entry
            .tls
            .as_ref()
            .map(|tls| tls.certificate_refs.as_slice());
        for reference in references.unwrap_or_default() {
            match certificate::resolve(cx, owner.referrer(), reference) {
                Ok(key) => {
                    self.certified = true;
                    self.certificates.push(key);
                }
                Err(Unusable {
                    reason,
                    message,
                    secret,
                }) => {
                    self.certificates.extend(secret.map(|secret| *secret));
                    if self.resolved.holds() {
                        self.resolved = Decision::no(reason, message);
                    }
                }
            }
        }
        if references.unwrap_or_default().is_empty() {
            let message = "no certificateRefs are given";
            self.resolved = Decision::no(Reason::InvalidCertificateRef, message);
        }
    }

    /// Chooses the route kinds: those that the protocol supports, as far as they are allowed.
    fn check_kinds(&mut self) {
        let supported: &[Kind] = match self.entry.protocol {
            ProtocolType::Http | ProtocolType::Https => &HTTP_KINDS,
            ProtocolType::Tcp
            | ProtocolType::Tls
            | ProtocolType::Udp
            | ProtocolType::Unknown(_) => &[],
        };
        if supported.is_empty() {
            return;
        }
        let allowed = self.entry.allowed_routes.as_ref();
        let wanted = allowed
            .map(|allowed| allowed.kinds.as_slice())
            .unwrap_or_default();
        if wanted.is_empty() {
            self.kinds = supported.to_vec();
            return;
        }
        for kind in wanted {
            let found = supported
                .iter()
                .find(|known| kind.group() == GROUP && kind.kind == known.kind());
            match found {
                Some(known) if !self.kinds.contains(known) => self.kinds.push(*known),
                Some(_) => {}
                None => {
                    let message = format!(
                        "routes of kind `{}` of group `{}` cannot attach to protocol {}",
                        kind.kind,
                        kind.group(),
                        self.entry.protocol
                    );
                    if self.resolved.holds() {
                        self.resolved = Decision::no(Reason::InvalidRouteKinds, message);
                    }
                }
            }
        }
    }

    /// Says which TLS options are unknown.
    fn tell_options(&self, cx: &mut Context<'_, '_>, owner: &Owner<'_>) {
        let tls = self.entry.tls.as_ref();
        for option in tls.iter().flat_map(|tls| tls.options.keys()) {
            let field = format!("{}.tls.options[{option}]", self.field);
            let message = "this option is not known and has no effect";
            cx.tell(
                Severity::Warning,
                Code::UnknownValue,
                owner.object,
                &field,
                message,
            );
        }
    }

    /// Says which choices of namespaces include nothing by mistake.
    fn tell_namespaces(&self, cx: &mut Context<'_, '_>, owner: &Owner<'_>) {
        let allowed = self.entry.allowed_routes.as_ref();
        let Some(namespaces) = allowed.and_then(|allowed| allowed.namespaces.as_ref()) else {
            return;
        };
        let message = match (&namespaces.from, &namespaces.selector) {
            (Some(FromNamespaces::Unknown(text)), _) => format!("`{text}` is not known"),
            (Some(FromNamespaces::Selector), None) => "there is no selector".to_owned(),
            (Some(FromNamespaces::Selector), Some(selector))
                if selector.matches(&BTreeMap::new()).is_none() =>
            {
                "the selector is invalid".to_owned()
            }
            _ => return,
        };
        let field = format!("{}.allowedRoutes.namespaces", self.field);
        let message = format!("{message}: routes of no namespace may attach");
        cx.tell(
            Severity::Error,
            Code::InvalidValue,
            owner.object,
            &field,
            &message,
        );
    }

    /// What the status says in `Accepted`, conflicts included.
    pub(super) fn acceptance(&self) -> Decision {
        match self.conflict {
            None => self.accepted.clone(),
            // What it conflicts with may belong to strangers, so it is not named.
            Some(reason) if reason == Reason::HostnameConflict => {
                Decision::no(reason, "another listener of the port has the same hostname")
            }
            Some(reason) => {
                Decision::no(reason, "another listener of the port has another protocol")
            }
        }
    }

    /// Adds the listener's filter chains to the configuration, one for each of `binds`.
    pub(super) fn place(
        &mut self,
        cx: &mut Context<'_, '_>,
        owner: &Object,
        binds: &[BindAddress],
    ) {
        if self.conflict.is_some() || !(self.accepted.holds() || self.closed) {
            return;
        }
        let port = self.entry.port;
        for secret in self.served_certificates() {
            cx.sink.resource(Resource::Secret(secret.clone()));
        }
        for (index, bind) in binds.iter().enumerate() {
            let chain = self.chain(owner, *bind, index == 0);
            self.chains.push(Chain {
                key: chain.key.clone(),
                socket: chain.listener.clone(),
                address: *bind,
            });
            let proxy_protocol = proxy_protocol::of_gateway(cx.store, cx.options, owner, cx.sink);
            cx.sink.listener(gwanmun_ir::Listener {
                proxy_protocol,
                key: chain.listener.clone(),
                address: *bind,
                port,
                transport: Transport::Tcp,
            });
            cx.sink.resource(Resource::Chain(Box::new(chain)));
        }
    }

    /// What TLS clients may be shown; nothing where nobody may be served.
    fn served_certificates(&self) -> impl Iterator<Item = &Secret> {
        self.certificates.iter().filter(|_| !self.closed)
    }

    fn chain(&self, owner: &Object, bind: BindAddress, first: bool) -> FilterChain {
        let (kind, meta) = (owner.kind(), &owner.meta);
        let name = format!(
            "{kind}/{}/{}/{}",
            meta.namespace, meta.name, self.entry.name
        );
        let key = match bind {
            BindAddress::Ip(address) if !first => format!("{name}@{address}"),
            BindAddress::Ip(_) | BindAddress::Any => name,
        };
        let secure = self.entry.protocol == ProtocolType::Https;
        let (created, object) = names::rank(owner);
        FilterChain {
            rank: (created, format!("{object} {}", self.entry.name)),
            key: ChainKey::new(key),
            listener: names::listener(bind, self.entry.port, Transport::Tcp),
            matches: ChainMatch {
                hostnames: self.hostname.iter().flatten().cloned().collect(),
            },
            security: if secure {
                Security::Tls(TlsPolicy {
                    client: ClientCertificates::NotRequested,
                    key_exchange_groups: Vec::new(),
                    certificates: self
                        .served_certificates()
                        .map(|secret| secret.key.clone())
                        .collect(),
                    min_version: TlsVersion::V12,
                    max_version: TlsVersion::V13,
                    cipher_suites: Vec::new(),
                    alpn: vec![Alpn::H2, Alpn::Http11],
                })
            } else {
                Security::Plaintext
            },
            protocol: AppProtocol::Http(HttpOptions {
                forward_client_cert: ForwardClientCert::SanitizeSet,
                host_rule: HostRule::FallThrough,
                path_normalization: PathNormalization::Base,
                trusted_hops: 0,
                detect_misdirected: secure,
                accept_http10: true,
            }),
            port: self.entry.port,
            source: SourceRef {
                section: self.entry.name.clone(),
                ..backend::source_ref(owner)
            },
        }
    }
}
