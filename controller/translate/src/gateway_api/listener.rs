//! One listener of a Gateway or ListenerSet: what is wrong with it, and its filter chains.

use super::{
    Context,
    certificate::{self, Unusable, Usable},
    chain::Chain,
    frontend::{Check, Frontend},
    grant::Referrer,
    status::{Decision, Reason},
};
use crate::{Code, Severity};
use gwanmun_api::{
    Kind, Object, ObjectKey,
    gateway_api::{FromNamespaces, GROUP, ListenerEntry, ProtocolType, TlsMode},
};
use gwanmun_ir::{Hostname, InvalidHostname, Secret};
use std::{
    collections::{BTreeMap, BTreeSet},
    rc::Rc,
    sync::Arc,
};

/// Option of Istio's Gateways that asks for client certificates.
const ISTIO_MODE: &str = "gateway.istio.io/tls-terminate-mode";

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
    /// What of it overlaps with another HTTPS listener of the port.
    pub(super) overlapping: Option<Reason>,
    /// Whether it keeps its hosts from everybody else's listeners without serving them: something
    /// that protects them is asked for that we do not have.
    pub(super) closed: bool,
    /// Certificates, also unusable ones that may have been usable before.
    pub(super) certificates: Vec<Secret>,
    /// DNS names that its certificates are for.
    pub(super) certificate_names: BTreeSet<String>,
    /// How clients are verified; absent when they are not.
    pub(super) clients: Option<Check>,
    /// Whether one of the certificates is usable, or none is needed.
    pub(super) certified: bool,
    /// Its filter chains, one per address.
    pub(super) chains: Vec<Chain>,
    /// The routes that are attached.
    pub(super) attached: BTreeSet<ObjectKey>,
}

/// Whose listeners are evaluated.
pub(super) struct Owner<'a> {
    pub(super) object: &'a Arc<Object>,
    /// How the Gateway verifies clients.
    pub(super) frontend: Rc<Frontend>,
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
        let hostname = match (text, &entry.protocol) {
            ("" | "*", _) | (_, ProtocolType::Tcp | ProtocolType::Udp) => Ok(None),
            (text, _) => text.parse().map(Some),
        };
        let mut listener = Self {
            entry,
            field: format!("spec.listeners[{index}]"),
            hostname,
            kinds: Vec::new(),
            accepted: Decision::yes(Reason::Accepted),
            resolved: Decision::yes(Reason::ResolvedRefs),
            conflict: None,
            overlapping: None,
            closed: false,
            certificates: Vec::new(),
            certificate_names: BTreeSet::new(),
            clients: None,
            certified: true,
            chains: Vec::new(),
            attached: BTreeSet::new(),
        };
        listener.check_tls(cx, owner);
        listener.check_kinds();
        listener.check_clients(owner);
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
        listener.tell_ignored(cx, owner);
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
        if let ProtocolType::Unknown(text) = &entry.protocol {
            let message = format!("protocol `{text}` is not supported");
            let decision = Decision::no(Reason::UnsupportedProtocol, message);
            return Some((".protocol", decision, false));
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
        if let Some((field, message)) = self.tls_misuse() {
            return unsupported(field, &message);
        }
        let Some(Err(refusal)) = self.clients.as_ref().map(|check| &check.client) else {
            return None;
        };
        Some(("", refusal.clone(), true))
    }

    /// What of `tls` does not go with the protocol, or cannot be had.
    fn tls_misuse(&self) -> Option<(&'static str, String)> {
        let tls = self.entry.tls.as_ref();
        let protocol = &self.entry.protocol;
        match (protocol, self.mode()) {
            (ProtocolType::Http, _) if tls.is_some() => {
                return Some((".tls", "protocol HTTP has no TLS: use HTTPS".to_owned()));
            }
            (ProtocolType::Tcp, _) if tls.is_some() => {
                return Some((".tls", "protocol TCP has no TLS: use TLS".to_owned()));
            }
            (ProtocolType::Udp, _) if tls.is_some() => {
                return Some((".tls", "protocol UDP has no TLS".to_owned()));
            }
            (ProtocolType::Https, mode) if mode != &TlsMode::Terminate => {
                return Some((".tls.mode", "HTTPS needs mode Terminate".to_owned()));
            }
            (ProtocolType::Tls, TlsMode::Unknown(text)) => {
                return Some((".tls.mode", format!("mode `{text}` is not known")));
            }
            _ => {}
        }
        let option = tls.and_then(|tls| tls.options.get(ISTIO_MODE));
        let mode = option.filter(|mode| mode.as_str() != "SIMPLE")?;
        let message = format!(
            "`{ISTIO_MODE}: {mode}` is not supported: use spec.tls.frontend of the Gateway"
        );
        Some((".tls.options", message))
    }

    /// Whether connections are passed through without TLS being terminated.
    pub(super) fn passes_through(&self) -> bool {
        self.entry.protocol == ProtocolType::Tls && self.mode() == &TlsMode::Passthrough
    }

    /// Finds out how clients are verified: those of HTTPS, as the specification has it.
    fn check_clients(&mut self, owner: &Owner<'_>) {
        if self.entry.protocol != ProtocolType::Https {
            return;
        }
        self.clients = owner.frontend.of_port(self.entry.port).cloned();
        if let Some(check) = &self.clients
            && self.resolved.holds()
        {
            self.resolved = check.resolved.clone();
        }
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
                Ok(Usable { secret, names }) => {
                    self.certified = true;
                    self.certificates.push(secret);
                    self.certificate_names.extend(names);
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
        let supported: &[Kind] = match (&self.entry.protocol, self.mode()) {
            (ProtocolType::Http | ProtocolType::Https, _) => &[Kind::HttpRoute, Kind::GrpcRoute],
            (ProtocolType::Tls, TlsMode::Passthrough) => &[Kind::TlsRoute],
            (ProtocolType::Tls, TlsMode::Terminate) => &[Kind::TlsRoute, Kind::TcpRoute],
            (ProtocolType::Tcp, _) => &[Kind::TcpRoute],
            (ProtocolType::Udp, _) => &[Kind::UdpRoute],
            (ProtocolType::Tls, TlsMode::Unknown(_)) | (ProtocolType::Unknown(_), _) => &[],
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

    /// Says which fields mean nothing here.
    fn tell_ignored(&self, cx: &mut Context<'_, '_>, owner: &Owner<'_>) {
        let hostname = self.entry.hostname.as_deref().unwrap_or_default();
        let l4 = matches!(self.entry.protocol, ProtocolType::Tcp | ProtocolType::Udp);
        let certificates = self.entry.tls.as_ref();
        let certificates = certificates.is_some_and(|tls| !tls.certificate_refs.is_empty());
        let frontend = self.entry.protocol == ProtocolType::Tls
            && !self.passes_through()
            && owner.frontend.of_port(self.entry.port).is_some();
        let mut tell = |field: &str, message: &str| {
            let field = format!("{}{field}", self.field);
            let (severity, code) = (Severity::Warning, Code::Conflict);
            cx.tell(severity, code, owner.object, &field, message);
        };
        if l4 && !hostname.is_empty() {
            tell(
                ".hostname",
                "TCP and UDP have no hostnames: every connection is taken",
            );
        }
        if self.passes_through() && certificates {
            tell(
                ".tls.certificateRefs",
                "TLS is passed through: no certificate is shown",
            );
        }
        if frontend {
            tell(
                "",
                "spec.tls.frontend is for HTTPS: clients of this listener are not verified",
            );
        }
    }

    /// Says which TLS options are unknown.
    fn tell_options(&self, cx: &mut Context<'_, '_>, owner: &Owner<'_>) {
        let tls = self.entry.tls.as_ref();
        let options = tls.iter().flat_map(|tls| tls.options.keys());
        for option in options.filter(|option| *option != ISTIO_MODE) {
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
}
