//! One cluster: its configuration, and the state that outlives configuration.

use super::{
    Endpoint, EndpointRef, Guard, NoHealthyEndpoint, Outcome, Overflow, Protocol, Resource,
    balance::Table, breaker,
};
use arc_swap::ArcSwap;
use gwanmun_ir::{Cluster as Config, UpstreamProtocol};
use std::{
    net::SocketAddr,
    sync::{Arc, atomic::AtomicU64},
    time::Duration,
};

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
    /// What survives changes of configuration.
    pub(crate) state: Arc<State>,
}

/// What a cluster learns at run time; lives as long as the cluster's key.
#[derive(Debug)]
pub(crate) struct State {
    pub(super) table: ArcSwap<Table>,
    pub(super) usage: breaker::Usage,
    pub(super) position: AtomicU64,
}

impl Cluster {
    /// Chooses an endpoint, avoiding `tried` as long as there is another.
    ///
    /// # Errors
    ///
    /// [`NoHealthyEndpoint`] when nothing healthy or draining is left.
    pub(crate) fn pick(&self, tried: &[SocketAddr]) -> Result<EndpointRef, NoHealthyEndpoint> {
        self.state
            .table
            .load()
            .pick(self.config.balancing, &self.state.position, tried)
            .map(|endpoint| EndpointRef::new(Arc::clone(endpoint)))
            .ok_or(NoHealthyEndpoint)
    }

    /// Whether `address` is still one of the endpoints, whatever its health: connections to
    /// others are not put back into a pool.
    pub(crate) fn has(&self, address: SocketAddr) -> bool {
        self.state.table.load().contains(address)
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

    /// The part of a pool's key that depends on the request: a connection that was verified for
    /// one server name must not serve another. Empty where the name is fixed.
    pub(crate) fn pool_partition<'a>(&self, host: &'a str) -> &'a str {
        match self.config.tls.as_ref().map(|tls| &tls.sni) {
            Some(gwanmun_ir::Sni::FromHost) => host,
            Some(gwanmun_ir::Sni::Name(_)) | None => "",
        }
    }

    /// Whether connections are encrypted: the scheme towards the upstream.
    pub(crate) fn is_tls(&self) -> bool {
        self.config.tls.is_some()
    }

    /// Tells outlier detection how a try on `endpoint` ended. Call it once per try.
    pub(crate) fn report(&self, endpoint: &Endpoint, outcome: Outcome) {
        let _ = (endpoint, outcome);
    }
}
