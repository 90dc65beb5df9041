//! The running gateway: threads, control state, and what the embedding program calls.

use crate::{Config, ExtraAdmin, Snapshot, snapshot::SnapshotHandle};
use gwanmun_ir::{Delta, ListenerKey, Report};
use std::{net::SocketAddr, sync::Arc, time::Duration};

/// A running data plane.
pub struct Gateway {
    snapshot: Arc<SnapshotHandle>,
}

impl Gateway {
    /// Spawns the worker threads and binds admin, metrics and health; serves nothing yet.
    ///
    /// # Errors
    ///
    /// [`StartError`] when a thread cannot be spawned or one of the three addresses is taken.
    pub fn start(config: Config) -> Result<Self, StartError> {
        let _ = config;
        Ok(Self {
            snapshot: Arc::default(),
        })
    }

    /// Compiles and binds `delta`, publishes it as one snapshot, then releases what is gone.
    ///
    /// Total: what cannot be used is degraded or refused alone and reported.
    pub fn apply(&self, delta: Delta) -> Report {
        let _ = delta;
        Report::default()
    }

    /// What requests are served from now.
    pub fn snapshot(&self) -> Arc<Snapshot> {
        self.snapshot.load()
    }

    /// Adds admin paths: asked before the built-in ones.
    pub fn set_extra_admin(&self, extra: ExtraAdmin) {
        let _ = extra;
    }

    /// Stops accepting, ends keep-alives, and returns when no connection is left or after
    /// `longest`.
    pub fn drain(&self, longest: Duration) {
        let _ = longest;
    }

    /// The addresses that are really bound, in key order; a dual-stack socket counts once.
    pub fn addresses(&self) -> Vec<(ListenerKey, SocketAddr)> {
        Vec::new()
    }
}

/// Why a gateway could not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// One of the gateway's own addresses could not be bound.
    #[error("cannot listen on {address} for {purpose}: {source}")]
    Bind {
        /// The address.
        address: SocketAddr,
        /// `admin`, `metrics` or `health`.
        purpose: &'static str,
        /// Why.
        source: std::io::Error,
    },
    /// A thread or its runtime could not be made.
    #[error("cannot start a worker thread: {0}")]
    Thread(std::io::Error),
}
