//! Counters of one listener.

use super::udp::UdpStats;
use std::{
    net::SocketAddr,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
};

/// Counters of one listener, written at most a few times per connection. What is counted per
/// request is in the shards.
#[derive(Debug, Default)]
pub(crate) struct ListenerStats {
    /// Unique in the process.
    pub(super) id: u64,
    /// `listener_address`: `0.0.0.0_8080`.
    pub(super) address: String,
    pub(super) connections: AtomicU64,
    pub(super) ended: AtomicU64,
    pub(super) overflows: AtomicU64,
    pub(super) no_filter_chain: AtomicU64,
    pub(super) handshakes: AtomicU64,
    pub(super) handshake_errors: AtomicU64,
    pub(super) proxy_headers_refused: AtomicU64,
    pub(super) restarts: AtomicU64,
    pub(super) udp: UdpStats,
}

impl ListenerStats {
    pub(super) fn new(id: u64, address: SocketAddr) -> Self {
        Self {
            id,
            address: format!("{}_{}", address.ip(), address.port()),
            ..Self::default()
        }
    }

    /// What is counted about datagrams.
    pub(crate) fn udp(&self) -> &UdpStats {
        &self.udp
    }

    /// A connection was accepted.
    pub(crate) fn opened(&self) {
        self.connections.fetch_add(1, Relaxed);
    }

    /// A connection ended.
    pub(crate) fn closed(&self) {
        self.ended.fetch_add(1, Relaxed);
    }

    /// A connection was refused because of the connection limit.
    pub(crate) fn overflowed(&self) {
        self.overflows.fetch_add(1, Relaxed);
    }

    /// A connection matched no filter chain.
    pub(crate) fn no_filter_chain(&self) {
        self.no_filter_chain.fetch_add(1, Relaxed);
    }

    /// A TLS handshake ended well, or not.
    pub(crate) fn handshake(&self, ok: bool) {
        if ok {
            self.handshakes.fetch_add(1, Relaxed);
        } else {
            self.handshake_errors.fetch_add(1, Relaxed);
        }
    }

    /// A trusted proxy sent no valid PROXY header.
    pub(crate) fn proxy_header_refused(&self) {
        self.proxy_headers_refused.fetch_add(1, Relaxed);
    }

    /// Accepting panicked and was started again.
    pub(crate) fn restarted(&self) {
        self.restarts.fetch_add(1, Relaxed);
    }

    /// Connections that are open.
    pub(super) fn active(&self) -> u64 {
        // Ended first: a connection that opens in between must not make this negative.
        let ended = self.ended.load(Relaxed);
        self.connections.load(Relaxed).saturating_sub(ended)
    }
}
