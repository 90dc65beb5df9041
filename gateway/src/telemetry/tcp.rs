//! Counters of connections that carry bytes: one worker's, of one cluster.

use super::{Exchange, Flag, ResponseFlags, series::Local};
use crate::cluster::Endpoint;
use gwanmun_ir::EndpointIdentity;
use parking_lot::Mutex;
use std::sync::Arc;

/// Distinct series of one cluster and worker.
const MOST_SERIES: usize = 256;

/// How a connection that carried bytes ended, beside what its line says.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct ConnectionEnd {
    /// Whether it was counted as open before.
    pub(crate) opened: bool,
    /// Whether it was closed because nobody said anything for too long.
    pub(crate) idle: bool,
}

/// What distinguishes connections to one cluster in `istio_tcp_*` metrics.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
struct Key {
    /// Hash of the endpoint's identity.
    identity: u64,
    flags: ResponseFlags,
}

/// `istio_tcp_*` metrics of connections that have the same labels. Only its worker writes to it.
#[derive(Debug)]
pub(crate) struct TcpSeries {
    key: Key,
    pub(super) endpoint: Option<Arc<EndpointIdentity>>,
    pub(super) opened: Local,
    pub(super) closed: Local,
    /// Bytes from clients.
    pub(super) received: Local,
    /// Bytes to clients.
    pub(super) sent: Local,
}

impl TcpSeries {
    /// Bytes were received from a client, and sent to it.
    pub(crate) fn count(&self, received: u64, sent: u64) {
        self.received.add(received);
        self.sent.add(sent);
    }

    /// The flags of its connections.
    pub(super) fn flags(&self) -> ResponseFlags {
        self.key.flags
    }
}

/// What one worker knows about the connections of one cluster. Locked when one opens, ends or is
/// read about.
#[derive(Debug, Default)]
pub(super) struct Connections {
    series: Mutex<Vec<Arc<TcpSeries>>>,
    /// Connections that were given to the cluster.
    pub(super) total: Local,
    /// Connections closed because nobody said anything for too long.
    pub(super) idle_timeout: Local,
    /// Connections that no try could connect.
    pub(super) attempts_exceeded: Local,
}

impl Connections {
    /// A connection to `endpoint` is open.
    pub(super) fn opened(&self, endpoint: &Endpoint) -> Arc<TcpSeries> {
        self.total.add(1);
        let series = self.series(Some(endpoint), ResponseFlags::NONE);
        series.opened.add(1);
        series
    }

    /// A connection has ended.
    pub(super) fn ended(&self, x: &Exchange<'_>, end: ConnectionEnd) {
        let series = self.series(x.endpoint, x.flags);
        series.closed.add(1);
        if !end.opened {
            self.total.add(1);
            series.opened.add(1);
        }
        if end.idle {
            self.idle_timeout.add(1);
        }
        if x.flags.contains(Flag::Urx) {
            self.attempts_exceeded.add(1);
        }
    }

    /// All series, to be read.
    pub(super) fn all(&self) -> Vec<Arc<TcpSeries>> {
        self.series.lock().clone()
    }

    /// The series of these labels. Beyond the largest number of them the endpoint is not told
    /// apart any more.
    fn series(&self, endpoint: Option<&Endpoint>, flags: ResponseFlags) -> Arc<TcpSeries> {
        let mut all = self.series.lock();
        let endpoint = endpoint.filter(|_| all.len() < MOST_SERIES);
        let key = Key {
            identity: endpoint.map_or(0, |endpoint| endpoint.identity_hash),
            flags,
        };
        if let Some(known) = all.iter().find(|series| series.key == key) {
            return Arc::clone(known);
        }
        let new = Arc::new(TcpSeries {
            key,
            endpoint: endpoint.map(|endpoint| Arc::clone(&endpoint.identity)),
            opened: Local::default(),
            closed: Local::default(),
            received: Local::default(),
            sent: Local::default(),
        });
        all.push(Arc::clone(&new));
        new
    }
}
