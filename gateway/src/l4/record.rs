//! What log and metrics say about one connection, however it ends.

use super::Accepted;
use crate::{
    cluster::{Cluster, EndpointRef},
    core::Core,
    route::l4::CompiledL4Route,
    telemetry::{ConnectionEnd, Exchange, Flag, ListenerStats, ResponseFlags, TcpSeries},
};
use std::{borrow::Cow, net::SocketAddr, sync::Arc, time::Instant};

/// What is known about one connection. The line is written when it is dropped, so that no
/// connection goes without one.
pub(super) struct Record {
    core: Arc<Core>,
    stats: Arc<ListenerStats>,
    start: Instant,
    peer: SocketAddr,
    local: SocketAddr,
    sni: Option<Arc<str>>,
    route: Option<Arc<str>>,
    cluster: Option<Arc<Cluster>>,
    endpoint: Option<EndpointRef>,
    upstream_local: Option<SocketAddr>,
    flags: ResponseFlags,
    details: Option<&'static str>,
    transport_failure: Cow<'static, str>,
    received: u64,
    sent: u64,
    /// Where it was counted as open.
    series: Option<Arc<TcpSeries>>,
    idle: bool,
}

impl Record {
    pub(super) fn new(core: Arc<Core>, accepted: Accepted) -> Self {
        Self {
            core,
            stats: accepted.stats,
            start: accepted.start,
            peer: accepted.peer,
            local: accepted.local,
            sni: accepted.sni,
            route: None,
            cluster: None,
            endpoint: None,
            upstream_local: None,
            flags: ResponseFlags::NONE,
            details: None,
            transport_failure: Cow::Borrowed(""),
            received: 0,
            sent: 0,
            series: None,
            idle: false,
        }
    }

    /// The client's address.
    pub(super) fn peer(&self) -> SocketAddr {
        self.peer
    }

    /// The address that the client asked for.
    pub(super) fn local(&self) -> SocketAddr {
        self.local
    }

    /// There is no rule.
    pub(super) fn unrouted(&mut self) {
        self.stats.no_filter_chain();
        self.failed(&[Flag::Nr], Some("filter_chain_not_found"));
    }

    /// There is a rule.
    pub(super) fn routed(&mut self, route: &CompiledL4Route) {
        self.route = Some(Arc::clone(&route.name));
    }

    /// It goes to this cluster.
    pub(super) fn chosen(&mut self, cluster: &Arc<Cluster>) {
        self.cluster = Some(Arc::clone(cluster));
    }

    /// It was tried in vain on this endpoint last.
    pub(super) fn tried(&mut self, endpoint: Option<EndpointRef>) {
        self.endpoint = endpoint;
    }

    /// Why the connection to the endpoint failed.
    pub(super) fn transport_failure(&mut self, reason: Cow<'static, str>) {
        self.transport_failure = reason;
    }

    /// It came to nothing, or to a bad end.
    pub(super) fn failed(&mut self, flags: &[Flag], details: Option<&'static str>) {
        for flag in flags {
            self.flags.set(*flag);
        }
        self.details = details;
    }

    /// It is connected to this endpoint, from this address of ours.
    pub(super) fn connected(&mut self, endpoint: EndpointRef, local: Option<SocketAddr>) {
        if let Some(cluster) = &self.cluster {
            self.series = Some(self.core.telemetry.connection_opened(cluster, &endpoint));
        }
        self.endpoint = Some(endpoint);
        self.upstream_local = local;
    }

    /// Bytes were received from the client, and sent to it.
    pub(super) fn count(&mut self, received: u64, sent: u64) {
        self.received += received;
        self.sent += sent;
        if let Some(series) = &self.series {
            series.count(received, sent);
        }
    }

    /// Nobody said anything for too long.
    pub(super) fn idle(&mut self) {
        self.idle = true;
    }
}

impl Drop for Record {
    fn drop(&mut self) {
        let exchange = Exchange {
            end: Instant::now(),
            flags: self.flags,
            details: self.details,
            transport_failure: Some(&self.transport_failure),
            bytes_received: self.received,
            bytes_sent: self.sent,
            endpoint: self.endpoint.as_deref(),
            upstream_local: self.upstream_local,
            cluster: self.cluster.as_deref(),
            sni: self.sni.as_deref(),
            route: self.route.as_deref(),
            listener: Some(&self.stats),
            connection: Some(ConnectionEnd {
                opened: self.series.is_some(),
                idle: self.idle,
            }),
            ..Exchange::new(self.start, self.local, self.peer)
        };
        self.core.telemetry.record(&exchange);
    }
}
