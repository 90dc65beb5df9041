//! One cluster: its configuration, and the state that outlives configuration.

use super::{
    Endpoint, EndpointRef, Guard, NoHealthyEndpoint, Outcome, Overflow, Protocol, ProxiedAddresses,
    Resource,
    balance::{Choice, Member, Table},
    breaker, outlier,
    stats::Stats,
    tls::ClientTls,
};
use arc_swap::ArcSwap;
use gwanmun_ir::{Cluster as Config, EndpointHealth, LoadBalancing, Sni, UpstreamProtocol};
use parking_lot::Mutex;
use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};
use tokio::sync::watch;

/// One cluster. Replaced when its configuration changes, sharing [`State`] with its predecessor.
#[derive(Debug)]
pub(crate) struct Cluster {
    /// The configuration it was made from.
    pub(crate) config: Arc<Config>,
    /// What access log and metrics call it.
    pub(crate) name: Arc<str>,
    /// Unique among all clusters that ever lived in this process, and kept as long as the key
    /// lives: part of a pool's key.
    pub(crate) id: u64,
    /// Changes whenever connections made before must not be used any more (TLS material, server
    /// name, verification): part of a pool's key.
    pub(crate) tls_generation: u64,
    /// Longest time to connect, TLS included.
    pub(crate) connect_timeout: Duration,
    /// Longest time an unused connection is kept.
    pub(crate) idle_timeout: Duration,
    /// Requests after which a connection is closed.
    pub(crate) max_requests_per_connection: Option<u32>,
    /// TLS towards the endpoints.
    pub(super) tls: Option<Arc<ClientTls>>,
    /// What survives changes of configuration.
    pub(crate) state: Arc<State>,
}

/// What a cluster learns at run time; lives as long as the cluster's key.
#[derive(Debug)]
pub(crate) struct State {
    /// Unique in the process.
    pub(crate) id: u64,
    /// The endpoints.
    pub(super) table: ArcSwap<Table>,
    /// Units taken from the circuit breakers.
    pub(super) usage: breaker::Usage,
    /// Counters of connections and requests.
    pub(crate) stats: Stats,
    position: AtomicU64,
    /// For addresses of dual-stack names, one of the other family.
    standbys: ArcSwap<HashMap<SocketAddr, SocketAddr>>,
    /// What the table is made for.
    balancing: Mutex<LoadBalancing>,
    detector: Mutex<outlier::Detector>,
    /// How many endpoints are ejected.
    ejected: AtomicUsize,
    /// Whether names are still waiting for their first answer.
    warming: watch::Sender<bool>,
}

impl Cluster {
    /// A cluster of this configuration with the state of its predecessor, if any.
    pub(super) fn new(config: Config, tls: Option<Arc<ClientTls>>, state: Arc<State>) -> Self {
        Self {
            name: Arc::from(config.name.as_str()),
            id: state.id,
            tls_generation: tls.as_ref().map_or(0, |tls| tls.generation),
            connect_timeout: Duration::from_millis(config.connect_timeout_ms),
            idle_timeout: Duration::from_millis(config.idle_timeout_ms),
            max_requests_per_connection: config
                .limits
                .max_requests_per_connection
                .filter(|&limit| limit > 0),
            config: Arc::new(config),
            tls,
            state,
        }
    }

    /// A plaintext HTTP/1.1 cluster without endpoints.
    #[cfg(test)]
    pub(crate) fn for_test(name: &str) -> Self {
        let config = Config {
            hash: None,
            warmup: None,
            max_connection_duration_ms: None,
            keepalive: None,
            http2_keepalive: None,
            proxy_protocol: None,
            key: gwanmun_ir::ClusterKey::new(name),
            name: name.to_owned(),
            discovery: gwanmun_ir::Discovery::Endpoints,
            balancing: LoadBalancing::RoundRobin,
            protocol: UpstreamProtocol::Http1,
            connect_timeout_ms: 10_000,
            idle_timeout_ms: 60_000,
            tls: None,
            limits: gwanmun_ir::CircuitBreakers::default(),
            outlier: None,
            identity: gwanmun_ir::ClusterIdentity::default(),
            policy: None,
            source: gwanmun_ir::SourceRef::default(),
        };
        Self::new(config, None, Arc::new(State::new(1)))
    }

    /// [`Cluster::pick_by`] without anything to hash.
    #[cfg_attr(not(test), allow(dead_code, reason = "datagrams are sent next"))]
    pub(crate) fn pick(&self, tried: &[SocketAddr]) -> Result<EndpointRef, NoHealthyEndpoint> {
        self.pick_by(tried, None)
    }

    /// Chooses an endpoint, avoiding `tried` as long as there is another. `key` is what a cluster
    /// that hashes ([`Config::hash`]) looks at.
    ///
    /// # Errors
    ///
    /// [`NoHealthyEndpoint`] when nothing healthy or draining is left.
    pub(crate) fn pick_by(
        &self,
        tried: &[SocketAddr],
        key: Option<&[u8]>,
    ) -> Result<EndpointRef, NoHealthyEndpoint> {
        let table = self.state.table.load();
        let choice = Choice {
            balancing: self.config.balancing,
            position: &self.state.position,
            tried,
            key,
            warmup: self.config.warmup,
            panicking: self.is_panicking(&table),
        };
        table
            .choose(&choice)
            .map(|endpoint| EndpointRef::new(Arc::clone(endpoint)))
            .ok_or(NoHealthyEndpoint)
    }

    /// When a connection that is made now takes no more requests.
    pub(crate) fn lives_until(&self) -> Option<Instant> {
        let longest = self.config.max_connection_duration_ms?;
        Instant::now().checked_add(Duration::from_millis(longest))
    }

    /// Whether so many endpoints are ejected that ejecting would rather harm than help.
    fn is_panicking(&self, table: &Table) -> bool {
        let minimum = self.config.outlier.map_or(0, |it| it.min_health_percent);
        if minimum == 0 {
            return false;
        }
        let healthy = table.healthy();
        let available = healthy.saturating_sub(self.state.ejected.load(Relaxed));
        let minimum = usize::try_from(minimum).unwrap_or(100);
        available.saturating_mul(100) < healthy.saturating_mul(minimum)
    }

    /// Waits until the names of the cluster have been resolved for the first time, at most for the
    /// connect timeout; returns whether there was anything to wait for. To be asked when
    /// [`Cluster::pick`] found nothing: then try once more.
    pub(crate) async fn warmed(&self) -> bool {
        let mut warming = self.state.warming.subscribe();
        if !*warming.borrow_and_update() {
            return false;
        }
        let waiting = warming.wait_for(|warming| !warming);
        tokio::time::timeout(self.connect_timeout, waiting)
            .await
            .is_ok()
    }

    /// Whether `address` is still one of the endpoints, whatever its health: connections to
    /// others are not put back into a pool.
    pub(crate) fn has(&self, address: SocketAddr) -> bool {
        self.state.table.load().find(address).is_some()
    }

    /// Whether `address` is an endpoint that what was begun with it may go on with.
    pub(crate) fn serves(&self, address: SocketAddr) -> bool {
        let table = self.state.table.load();
        let member = table.find(address);
        member.is_some_and(|member| member.health != EndpointHealth::Unhealthy)
    }

    /// Takes one unit of `resource` until the guard is dropped.
    ///
    /// # Errors
    ///
    /// [`Overflow`] when the cluster's limit is reached.
    pub(crate) fn admit(&self, resource: Resource) -> Result<Guard, Overflow> {
        breaker::admit(&self.state, &self.config.limits, resource)
    }

    /// What to speak upstream for a client that speaks `client`.
    pub(crate) fn protocol_for(&self, client: Protocol) -> Protocol {
        match self.config.protocol {
            UpstreamProtocol::Client => client,
            UpstreamProtocol::Http1 => Protocol::Http1,
            UpstreamProtocol::Http2 => Protocol::Http2,
        }
    }

    /// What to speak to `endpoint` where `wanted` would be: HTTP/1.1 with one that did not choose
    /// HTTP/2 lately.
    pub(crate) fn settled(&self, endpoint: &Endpoint, wanted: Protocol) -> Protocol {
        if wanted == Protocol::Http2 && self.offers_both() && endpoint.state.chose_http1() {
            return Protocol::Http1;
        }
        wanted
    }

    /// Whether the endpoint chooses what is spoken to it.
    pub(super) fn offers_both(&self) -> bool {
        self.config.protocol == UpstreamProtocol::Client && self.is_tls()
    }

    /// The part of a pool's key that depends on the request: a connection that was verified for
    /// one server name must not serve another. Empty where the name is fixed.
    pub(crate) fn pool_partition<'a>(&self, host: &'a str) -> &'a str {
        match self.config.tls.as_ref().map(|tls| &tls.sni) {
            Some(Sni::FromHost) => host,
            Some(Sni::Name(_)) | None => "",
        }
    }

    /// The part of a pool's key that depends on the client's connection: one that began with a
    /// PROXY header tells of one client.
    pub(crate) fn proxied(&self, addresses: ProxiedAddresses) -> Option<ProxiedAddresses> {
        self.config.proxy_protocol.map(|_version| addresses)
    }

    /// Whether connections are encrypted: the scheme towards the upstream.
    pub(crate) fn is_tls(&self) -> bool {
        self.config.tls.is_some()
    }

    /// Tells outlier detection how a try on `endpoint` ended. Call it once per try.
    pub(crate) fn report(&self, endpoint: &Endpoint, outcome: Outcome) {
        let Some(settings) = &self.config.outlier else {
            return;
        };
        let counters = &endpoint.state.outlier;
        if counters.count(settings, outcome) {
            let endpoints = self.state.table.load().members().len();
            let ejected = {
                let mut detector = self.state.detector.lock();
                let who = (endpoint.address, counters);
                let ejected = detector.eject(settings, who, endpoints, Instant::now());
                self.state.ejected.store(detector.active(), Relaxed);
                ejected
            };
            if ejected {
                tracing::info!(
                    cluster = %self.name,
                    endpoint = %endpoint.text,
                    "endpoint ejected by outlier detection"
                );
            }
        }
    }
}

impl State {
    /// No endpoint yet.
    pub(super) fn new(id: u64) -> Self {
        Self {
            id,
            table: ArcSwap::default(),
            usage: breaker::Usage::default(),
            stats: Stats::default(),
            position: AtomicU64::new(fastrand::u64(..1 << 32)),
            standbys: ArcSwap::default(),
            balancing: Mutex::new(LoadBalancing::Random),
            detector: Mutex::default(),
            ejected: AtomicUsize::new(0),
            warming: watch::Sender::new(false),
        }
    }

    /// Replaces the endpoints; what was learnt about an address that stays is kept.
    pub(super) fn set_endpoints(&self, endpoints: &[gwanmun_ir::Endpoint]) {
        let balancing = self.balancing.lock();
        let old = self.table.load();
        let is_new = old.members().is_empty();
        let members: Vec<_> = endpoints
            .iter()
            .map(|new| Member {
                endpoint: match old.find(new.address).map(|member| &member.endpoint) {
                    Some(known) if *known.identity == new.identity => Arc::clone(known),
                    Some(known) => Arc::new(Endpoint::new(
                        new.address,
                        Arc::new(new.identity.clone()),
                        Arc::clone(&known.state),
                    )),
                    None => Arc::new(Endpoint::new(
                        new.address,
                        Arc::new(new.identity.clone()),
                        Arc::default(),
                    )),
                },
                weight: new.weight,
                health: new.health,
            })
            .collect();
        for member in &members {
            let before = old.find(member.endpoint.address);
            if !is_new
                && member.health == EndpointHealth::Healthy
                && before.is_none_or(|before| before.health != EndpointHealth::Healthy)
            {
                member.endpoint.state.warm_now();
            }
        }
        self.table.store(Arc::new(Table::new(members, *balancing)));
    }

    /// Replaces the addresses that stand by.
    pub(super) fn set_standbys(&self, standbys: HashMap<SocketAddr, SocketAddr>) {
        self.standbys.store(Arc::new(standbys));
    }

    /// Where to connect when `address` does not answer at once.
    pub(super) fn standby(&self, address: SocketAddr) -> Option<SocketAddr> {
        self.standbys.load().get(&address).copied()
    }

    /// Makes the table fit for this way of choosing.
    pub(super) fn set_balancing(&self, balancing: LoadBalancing) {
        let mut before = self.balancing.lock();
        if *before != balancing {
            *before = balancing;
            let members = self.table.load().members().to_vec();
            self.table.store(Arc::new(Table::new(members, balancing)));
        }
    }

    /// Whether names are still waiting for their first answer.
    pub(super) fn set_warming(&self, warming: bool) {
        self.warming.send_replace(warming);
    }

    /// The endpoints, by address.
    pub(crate) fn endpoints(&self) -> Vec<Member> {
        self.table.load().members().to_vec()
    }

    /// How much of each circuit breaker is in use.
    pub(crate) fn usage(&self) -> &breaker::Usage {
        &self.usage
    }

    /// Ejections: now, ever, and forbidden by the largest share.
    pub(crate) fn ejections(&self) -> (usize, u64, u64) {
        let detector = self.detector.lock();
        (detector.active(), detector.total, detector.overflow)
    }

    /// Brings ejected endpoints back whose time is over; all, without `settings`.
    pub(super) fn sweep(&self, settings: Option<&gwanmun_ir::OutlierDetection>, now: Instant) {
        let table = self.table.load();
        let find = |address| {
            let member = table.find(address)?;
            Some(&member.endpoint.state.outlier)
        };
        let mut detector = self.detector.lock();
        match settings {
            Some(settings) => detector.sweep(settings, find, now),
            None => detector.clear(find),
        }
        self.ejected.store(detector.active(), Relaxed);
    }
}
