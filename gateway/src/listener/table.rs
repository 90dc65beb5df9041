//! The filter chains of one socket.

use super::{Admission, Termination};
use crate::route::{Group, HostMap, VirtualHost, bare_host, l4::L4Table};
use gwanmun_ir::{
    AppProtocol, ClientCertificates, FilterChain, ForwardClientCert, HostRule, Hostname,
    HttpOptions, Listener, ListenerKey, PathNormalization, ProxyProtocol, Security,
};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

/// How a request is treated that belongs to no chain.
pub(crate) const DEFAULT_HTTP: HttpOptions = HttpOptions {
    host_rule: HostRule::FallThrough,
    path_normalization: PathNormalization::Base,
    trusted_hops: 0,
    detect_misdirected: false,
    accept_http10: false,
    forward_client_cert: ForwardClientCert::SanitizeSet,
};

/// The filter chains of one socket.
pub(crate) struct ListenerTable {
    /// Key of the listener, as the access log and dumps name it.
    pub(crate) key: ListenerKey,
    /// The port of the listener.
    pub(crate) port: u16,
    /// Which connections begin with a PROXY header.
    pub(crate) proxy_protocol: Option<ProxyProtocol>,
    /// Chains with TLS, by SNI.
    pub(crate) tls: HostMap<Arc<ChainGroup>>,
    /// HTTP chains without, by the host of each request.
    pub(crate) plaintext: HostMap<Arc<ChainGroup>>,
    /// The chains that take every connection or datagram without TLS as bytes. There are none when
    /// an HTTP chain without TLS stands before them by rank, and no such HTTP chains otherwise.
    pub(crate) raw: Option<Arc<ChainGroup>>,
    /// The options of all HTTP chains, where they are the same for all.
    pub(crate) uniform: Option<HttpOptions>,
}

impl ListenerTable {
    /// Groups the chains of a listener.
    pub(crate) fn new(listener: &Listener, mut chains: Vec<Arc<ChainTable>>) -> Self {
        chains.sort_by(|a, b| {
            let by_rank = a.chain.rank.cmp(&b.chain.rank);
            by_rank.then_with(|| a.chain.key.cmp(&b.chain.key))
        });
        let (tls, plaintext): (Vec<_>, Vec<_>) = chains
            .iter()
            .cloned()
            .partition(|chain| !matches!(chain.chain.security, Security::Plaintext));
        let (http, raw): (Vec<_>, Vec<_>) = plaintext
            .iter()
            .cloned()
            .partition(|chain| Mode::of(&chain.chain) == Mode::Http);
        let bytes = plaintext
            .first()
            .is_some_and(|first| Mode::of(&first.chain) == Mode::Bytes);
        let mut options = chains
            .iter()
            .filter(|chain| Mode::of(&chain.chain) == Mode::Http)
            .map(|chain| &chain.http);
        let first = options.next();
        let uniform = first
            .filter(|first| options.all(|other| other == *first))
            .cloned();
        Self {
            key: listener.key.clone(),
            port: listener.port,
            proxy_protocol: listener.proxy_protocol.clone(),
            tls: groups(tls),
            plaintext: if bytes {
                HostMap::default()
            } else {
                groups(http)
            },
            raw: bytes.then(|| Arc::new(ChainGroup::new(None, raw))),
            uniform,
        }
    }

    /// The same chains, some of them with other routes; older tables first, each
    /// [in place of](ChainTable::is_in_place_of) the newer.
    pub(crate) fn replacing(&self, replaced: &[(Arc<ChainTable>, Arc<ChainTable>)]) -> Self {
        let mut table = Self {
            key: self.key.clone(),
            port: self.port,
            proxy_protocol: self.proxy_protocol.clone(),
            tls: self.tls.clone(),
            plaintext: self.plaintext.clone(),
            raw: self.raw.clone(),
            uniform: self.uniform.clone(),
        };
        for (old, new) in replaced {
            if let Some(raw) = &table.raw {
                table.raw = Some(Arc::new(raw.replacing(old, new)));
            }
            let groups = match new.chain.security {
                Security::Tls(_) | Security::Passthrough => &mut table.tls,
                Security::Plaintext => &mut table.plaintext,
            };
            for name in names(&new.chain) {
                let Some(group) = groups.named(name.as_ref()) else {
                    continue;
                };
                let group = group.replacing(old, new);
                groups.insert(name.as_ref(), Arc::new(group));
            }
        }
        table
    }

    /// The group of chains for a server name: exact, then longest wildcard, then any.
    /// `sni` is in lower case without trailing dot.
    pub(crate) fn group_for_sni(&self, sni: Option<&str>) -> Option<&Arc<ChainGroup>> {
        match sni {
            Some(name) => self.tls.get(name),
            None => self.tls.named(None),
        }
    }

    /// How a request for `host` (lower case, without port) is treated before it is routed.
    /// `tls` is the group that the connection's SNI chose.
    pub(crate) fn http_options(&self, tls: Option<&Arc<ChainGroup>>, host: &str) -> &HttpOptions {
        if let Some(options) = &self.uniform {
            return options;
        }
        let chain = match self.group_for_request(tls, bare_host(host)) {
            Group::Chains(group) => group.chains.first(),
            Group::None | Group::Misdirected => None,
        };
        chain.map_or(&DEFAULT_HTTP, |chain| &chain.http)
    }
}

/// Groups chains, which are in the order of rank, by each of their hostnames.
fn groups(chains: Vec<Arc<ChainTable>>) -> HostMap<Arc<ChainGroup>> {
    let mut by_name: BTreeMap<Option<Hostname>, Vec<Arc<ChainTable>>> = BTreeMap::new();
    for chain in chains {
        for name in names(&chain.chain) {
            by_name.entry(name).or_default().push(Arc::clone(&chain));
        }
    }
    let mut groups = HostMap::default();
    for (hostname, chains) in by_name {
        let group = ChainGroup::new(hostname, chains);
        groups.insert(group.hostname.clone().as_ref(), Arc::new(group));
    }
    groups
}

/// The hostnames of a chain, each once; nothing stands for any.
fn names(chain: &FilterChain) -> BTreeSet<Option<Hostname>> {
    if chain.matches.hostnames.is_empty() {
        return BTreeSet::from([None]);
    }
    let names = chain.matches.hostnames.iter();
    names
        .map(|name| (!name.is_any()).then(|| name.clone()))
        .collect()
}

/// What becomes of the connections of a chain.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Mode {
    /// They carry HTTP, in plaintext or after TLS.
    Http,
    /// They carry bytes, in plaintext or after TLS, or are datagrams.
    Bytes,
    /// They carry TLS that is not ours.
    Passthrough,
}

impl Mode {
    /// The mode of a chain.
    pub(crate) fn of(chain: &FilterChain) -> Self {
        match (&chain.security, &chain.protocol) {
            (Security::Passthrough, _) => Self::Passthrough,
            (Security::Plaintext | Security::Tls(_), AppProtocol::Http(_)) => Self::Http,
            (Security::Plaintext | Security::Tls(_), AppProtocol::Tcp | AppProtocol::Udp) => {
                Self::Bytes
            }
        }
    }
}

/// The chains of a socket that share a hostname and a mode, in the order they are tried. Chains
/// whose mode is not that of the first by rank are not served.
pub(crate) struct ChainGroup {
    /// The hostname; nothing means any.
    pub(crate) hostname: Option<Hostname>,
    /// What becomes of their connections.
    pub(crate) mode: Mode,
    /// The chains, by rank.
    pub(crate) chains: Vec<Arc<ChainTable>>,
    /// How TLS is terminated: as the first chain with a usable certificate says. Nothing in
    /// plaintext, or when there is none.
    pub(crate) tls: Option<Arc<Termination>>,
}

impl ChainGroup {
    /// A group of these chains, which are in the order of rank.
    fn new(hostname: Option<Hostname>, mut chains: Vec<Arc<ChainTable>>) -> Self {
        let mode = chains
            .first()
            .map_or(Mode::Http, |first| Mode::of(&first.chain));
        chains.retain(|chain| Mode::of(&chain.chain) == mode);
        // What one chain asks of clients must not be got around by another's way in.
        if let Some(first) = chains.first().cloned() {
            chains.retain(|chain| chain.clients() == first.clients());
        }
        let tls = chains.iter().find_map(|chain| chain.tls.clone());
        Self {
            hostname,
            mode,
            chains,
            tls,
        }
    }

    /// Whether its connections can be served at all: whether there is a certificate, where one is
    /// needed.
    pub(crate) fn is_usable(&self) -> bool {
        self.mode == Mode::Passthrough || self.tls.is_some()
    }

    /// Whether both ask the same of clients.
    pub(crate) fn asks_like(&self, other: &Self) -> bool {
        self.asked() == other.asked()
    }

    /// What is asked of clients, where something is.
    fn asked(&self) -> Option<&ClientCertificates> {
        let asked = self.chains.first()?.clients()?;
        (!asked.is_not_requested()).then_some(asked)
    }

    /// What a connection is accepted under.
    pub(crate) fn admission(&self) -> Arc<Admission> {
        let first = self.chains.first();
        first.map_or_else(Admission::open, |chain| Arc::clone(&chain.admission))
    }

    /// The same group with `new` where `old` was.
    fn replacing(&self, old: &Arc<ChainTable>, new: &Arc<ChainTable>) -> Self {
        let chains = self.chains.iter().map(|chain| {
            let same = Arc::ptr_eq(chain, old);
            Arc::clone(if same { new } else { chain })
        });
        let chains: Vec<_> = chains.collect();
        Self {
            hostname: self.hostname.clone(),
            mode: self.mode,
            tls: chains.iter().find_map(|chain| chain.tls.clone()),
            chains,
        }
    }
}

/// One filter chain with its routes.
pub(crate) struct ChainTable {
    /// The chain as configured.
    pub(crate) chain: Arc<FilterChain>,
    /// How it treats HTTP.
    pub(crate) http: HttpOptions,
    /// How it terminates TLS; nothing in plaintext or without a usable certificate.
    pub(crate) tls: Option<Arc<Termination>>,
    /// What it asks of clients, in service.
    pub(crate) admission: Arc<Admission>,
    /// Its rules.
    pub(crate) hosts: Arc<HostMap<Arc<VirtualHost>>>,
    /// Its layer 4 rules.
    pub(crate) l4: Arc<L4Table>,
}

impl ChainTable {
    /// What it asks of clients.
    fn clients(&self) -> Option<&ClientCertificates> {
        match &self.chain.security {
            Security::Tls(policy) => Some(&policy.client),
            Security::Plaintext | Security::Passthrough => None,
        }
    }

    /// Whether `newer` differs in its rules and certificates only.
    pub(crate) fn is_in_place_of(&self, newer: &Self) -> bool {
        Arc::ptr_eq(&self.chain, &newer.chain)
    }
}
