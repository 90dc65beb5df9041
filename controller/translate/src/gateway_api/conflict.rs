//! Which listeners of a Gateway exclude each other ([listener distinctness]).
//!
//! Listeners that share a port must speak the same protocol and differ in hostname. Among a
//! Gateway's own listeners nobody wins; against ListenerSets the Gateway wins, then the older set,
//! then the earlier listener.
//!
//! [listener distinctness]: https://gateway-api.sigs.k8s.io/reference/api-spec/main/spec/#gatewayspec

use super::{
    listener::Listener,
    status::{Decision, Reason},
};
use crate::names;
use gwanmun_api::{ObjectKey, gateway_api::ProtocolType};
use gwanmun_ir::{BindAddress, ClientCertificates, Hostname, ListenerKey};
use std::collections::{BTreeMap, BTreeSet};

/// What a listener's connections start with.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
enum Layer {
    Http,
    Tcp,
    /// HTTPS and TLS share a port by server name.
    Tls,
    Udp,
}

fn layer(protocol: &ProtocolType) -> Option<Layer> {
    match protocol {
        ProtocolType::Http => Some(Layer::Http),
        ProtocolType::Https | ProtocolType::Tls => Some(Layer::Tls),
        ProtocolType::Tcp => Some(Layer::Tcp),
        ProtocolType::Udp => Some(Layer::Udp),
        ProtocolType::Unknown(_) => None,
    }
}

/// A listener's claim to a port.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
struct Claim {
    layer: Layer,
    /// Absent for layers without host names, and where every host is meant.
    hostname: Option<Hostname>,
}

impl Claim {
    fn of(listener: &Listener<'_>) -> Option<Self> {
        let layer = layer(&listener.entry.protocol)?;
        let hostname = match layer {
            Layer::Http | Layer::Tls => listener.hostname.clone().ok()?,
            Layer::Tcp | Layer::Udp => None,
        };
        Some(Self { layer, hostname })
    }
}

/// The claims to the ports of one Gateway.
#[derive(Debug, Default)]
pub(super) struct Claims {
    ports: BTreeMap<(bool, u16), BTreeMap<Claim, u32>>,
}

impl Claims {
    fn add(&mut self, port: u16, claim: Claim) {
        let udp = claim.layer == Layer::Udp;
        *self
            .ports
            .entry((udp, port))
            .or_default()
            .entry(claim)
            .or_default() += 1;
    }

    /// Whether the claim conflicts with others; `own` of them are the claim itself.
    fn conflict(&self, port: u16, claim: &Claim, own: u32) -> Option<Reason> {
        let claims = self.ports.get(&(claim.layer == Layer::Udp, port))?;
        if claims.keys().any(|other| other.layer != claim.layer) {
            return Some(Reason::ProtocolConflict);
        }
        let same = claims.get(claim).copied().unwrap_or_default();
        (same > own).then_some(match claim.layer {
            Layer::Http | Layer::Tls => Reason::HostnameConflict,
            Layer::Tcp | Layer::Udp => Reason::ProtocolConflict,
        })
    }

    /// Marks conflicts among a Gateway's own listeners: all that are involved lose.
    pub(super) fn mark_own(&mut self, listeners: &mut [Listener<'_>]) {
        for listener in &*listeners {
            if let Some(claim) = Claim::of(listener) {
                self.add(listener.entry.port, claim);
            }
        }
        for listener in listeners {
            if let Some(claim) = Claim::of(listener) {
                listener.conflict = self.conflict(listener.entry.port, &claim, 1);
            }
        }
    }

    /// Marks conflicts of a ListenerSet's listeners with those that came before.
    pub(super) fn mark_set(&mut self, listeners: &mut [Listener<'_>]) {
        for listener in listeners {
            let Some(claim) = Claim::of(listener) else {
                continue;
            };
            listener.conflict = self.conflict(listener.entry.port, &claim, 0);
            if listener.conflict.is_none() {
                self.add(listener.entry.port, claim);
            }
        }
    }
}

/// What Gateways have taken of the sockets of this process, which they share. HTTP and TLS are told
/// apart on one socket; bytes and datagrams of nobody in particular are the oldest Gateway's alone.
#[derive(Debug, Default)]
pub(super) struct Sockets {
    taken: BTreeMap<ListenerKey, Taken>,
}

/// What is taken of one socket.
#[derive(Debug, Default)]
struct Taken {
    /// Who has it, and whether alone.
    owners: BTreeMap<ObjectKey, bool>,
    /// How TLS for a name is served. Gateways share a name only if they agree: one that asks for
    /// client certificates would be reached through one that does not.
    names: BTreeMap<Option<Hostname>, Terms>,
}

/// How a listener serves TLS.
#[derive(Debug, Eq, PartialEq)]
struct Terms {
    protocol: ProtocolType,
    passthrough: bool,
    clients: Option<ClientCertificates>,
}

impl Taken {
    fn refuses(&self, gateway: &ObjectKey, alone: bool) -> bool {
        let mut others = self.owners.iter().filter(|(owner, _)| *owner != gateway);
        others.any(|(_, theirs)| alone || *theirs)
    }
}

impl Terms {
    fn of(listener: &Listener<'_>) -> Self {
        let check = listener.clients.as_ref();
        Self {
            protocol: listener.entry.protocol.clone(),
            passthrough: listener.passes_through(),
            clients: check.and_then(|check| check.client.clone().ok()),
        }
    }
}

impl Sockets {
    /// Claims the sockets of a listener that does not conflict with its own Gateway's. Refused, in
    /// words that tell nothing of strangers, when an older Gateway has one of them, or its name.
    pub(super) fn claim(
        &mut self,
        gateway: &ObjectKey,
        listener: &Listener<'_>,
        binds: &[BindAddress],
    ) -> Option<Decision> {
        let claim = Claim::of(listener).filter(|_| listener.is_placed())?;
        let alone = matches!(claim.layer, Layer::Tcp | Layer::Udp);
        let tls = (claim.layer == Layer::Tls).then_some(claim.hostname);
        let keys = || {
            let port = listener.entry.port;
            let transport = listener.transport();
            let binds = binds.iter();
            binds.map(move |bind| names::listener("", *bind, port, transport))
        };
        let refused = |message| Some(Decision::no(Reason::PortUnavailable, message));
        if keys()
            .filter_map(|key| self.taken.get(&key))
            .any(|taken| taken.refuses(gateway, alone))
        {
            return refused("another Gateway of this process has the port");
        }
        if let Some(name) = &tls
            && keys()
                .filter_map(|key| self.taken.get(&key)?.names.get(name))
                .any(|terms| *terms != Terms::of(listener))
        {
            return refused(
                "another Gateway of this process has the port for this hostname, with other demands on TLS",
            );
        }
        for key in keys() {
            let taken = self.taken.entry(key).or_default();
            taken.owners.insert(gateway.clone(), alone);
            if let Some(name) = &tls {
                let terms = || Terms::of(listener);
                taken.names.entry(name.clone()).or_insert_with(terms);
            }
        }
        None
    }
}

/// Finds listeners of a port whose certificates are for common names: indexes into `listeners`,
/// which are given by port and names.
pub(super) fn overlapping_certificates(listeners: &[(u16, BTreeSet<String>)]) -> BTreeSet<usize> {
    let mut by_name: BTreeMap<(u16, String), Vec<usize>> = BTreeMap::new();
    for (index, (port, names)) in listeners.iter().enumerate() {
        for name in names {
            by_name
                .entry((*port, name.clone()))
                .or_default()
                .push(index);
        }
    }
    let mut found = BTreeSet::new();
    for ((port, name), indexes) in &by_name {
        let wildcard = name
            .split_once('.')
            .filter(|(label, _)| *label != "*")
            .map(|(_, parent)| format!("*.{parent}"));
        let covering = wildcard.and_then(|name| by_name.get(&(*port, name)));
        let mut all: BTreeSet<usize> = indexes.iter().copied().collect();
        all.extend(covering.into_iter().flatten());
        if all.len() > 1 {
            found.extend(all);
        }
    }
    found
}

/// Finds HTTPS listeners of a port whose hostnames overlap: indexes into `listeners`, which are
/// given by port and hostname ([GEP-3567]).
///
/// [GEP-3567]: https://gateway-api.sigs.k8s.io/geps/gep-3567/
pub(super) fn overlapping(listeners: &[(u16, Option<Hostname>)]) -> BTreeSet<usize> {
    // A wildcard by the suffix it covers; the name of every host covers the empty suffix.
    let mut wildcards: BTreeMap<(u16, &str), usize> = BTreeMap::new();
    for (index, (port, hostname)) in listeners.iter().enumerate() {
        match hostname {
            None => {
                wildcards.insert((*port, ""), index);
            }
            Some(name) if name.is_wildcard() => {
                wildcards.insert((*port, name.suffix().unwrap_or_default()), index);
            }
            Some(_) => {}
        }
    }
    let mut found = BTreeSet::new();
    for (index, (port, hostname)) in listeners.iter().enumerate() {
        let Some(name) = hostname.as_ref().filter(|name| !name.is_any()) else {
            continue;
        };
        for suffix in shorter_suffixes(name.as_str()) {
            if let Some(wildcard) = wildcards.get(&(*port, suffix)) {
                found.extend([index, *wildcard]);
            }
        }
    }
    found
}

/// What wildcards that cover a name, and are not the name, have after their `*`.
fn shorter_suffixes(name: &str) -> impl Iterator<Item = &str> {
    let start = name.strip_prefix('*').map_or(0, |_| 2);
    let rest = name.get(start..).unwrap_or_default();
    rest.match_indices('.')
        .filter_map(move |(dot, _)| rest.get(dot..))
        .chain([""])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn overlaps_are_found_by_suffix() {
        for (names, expected) in [
            (&["a.com", "b.com"][..], &[][..]),
            (&["a.com", "*.com"], &[0, 1]),
            (&["a.com", ""], &[0, 1]),
            (&["*.a.com", "*.com", "x.org"], &[0, 1]),
            (&["*.a.com", "a.com"], &[]),
            (&["x.y.a.com", "*.a.com", "*.b.com"], &[0, 1]),
        ] {
            let listeners: Vec<_> = names
                .iter()
                .map(|name| (443, name.parse::<Hostname>().ok()))
                .collect();
            let found: Vec<usize> = overlapping(&listeners).into_iter().collect();
            assert_eq!(found, expected, "{names:?}");
        }
    }

    #[test]
    fn certificates_overlap_by_the_names_they_are_for() {
        for (names, expected) in [
            (&[&["a.com"][..], &["b.com"]][..], &[][..]),
            (&[&["a.com", "b.com"], &["b.com"]], &[0, 1]),
            (&[&["a.x.com"], &["*.x.com"], &["x.com"]], &[0, 1]),
            (&[&["a.b.x.com"], &["*.x.com"]], &[]),
            (&[&["*.x.com", "a.x.com"]], &[]),
        ] {
            let names = names.iter();
            let listeners: Vec<(u16, BTreeSet<String>)> = names
                .map(|names| (443, names.iter().map(|name| (*name).to_owned()).collect()))
                .collect();
            let found: Vec<usize> = overlapping_certificates(&listeners).into_iter().collect();
            assert_eq!(found, expected, "{listeners:?}");
        }
    }

    #[test]
    fn ports_do_not_overlap_with_each_other() {
        let name: Option<Hostname> = "a.com".parse().ok();
        assert!(overlapping(&[(443, name), (8443, None)]).is_empty());
    }
}
