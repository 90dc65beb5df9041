//! Counters of one listener.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Counters of one listener, written at most a few times per connection.
#[derive(Debug, Default)]
pub(crate) struct ListenerStats {
    /// `listener_address`: `0.0.0.0_8080`.
    pub(crate) address: String,
    connections: AtomicU64,
    active: AtomicU64,
    refused: AtomicU64,
    no_filter_chain: AtomicU64,
    handshakes: AtomicU64,
    handshake_errors: AtomicU64,
}

impl ListenerStats {
    /// No connection yet.
    pub(crate) fn new(address: std::net::SocketAddr) -> Self {
        Self {
            address: format!("{}_{}", address.ip(), address.port()),
            ..Self::default()
        }
    }

    /// A connection was accepted.
    pub(crate) fn opened(&self) {
        self.connections.fetch_add(1, Relaxed);
        self.active.fetch_add(1, Relaxed);
    }

    /// A connection ended.
    pub(crate) fn closed(&self) {
        self.active.fetch_sub(1, Relaxed);
    }

    /// A connection was refused because of the connection limit.
    pub(crate) fn overflowed(&self) {
        self.refused.fetch_add(1, Relaxed);
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
}
