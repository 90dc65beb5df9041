//! What one worker thread owns.

use crate::{
    Config,
    engine::{Buffers, Pool, Resets},
    snapshot::SnapshotHandle,
    telemetry::Shard,
};
use std::sync::Arc;

/// What one worker thread owns, shared by the connections on it.
///
/// Everything in it is `Send + Sync`, but nothing is meant to be touched by another thread.
pub(crate) struct Core {
    /// What the process was told at its start.
    pub(crate) config: Arc<Config>,
    /// Where the current configuration is found.
    pub(crate) snapshot: Arc<SnapshotHandle>,
    /// Log lines and counters of this worker.
    pub(crate) telemetry: Shard,
    /// Connections to upstreams that wait for their next request.
    pub(crate) pool: Pool,
    /// Buffers lent to connections.
    pub(crate) buffers: Buffers,
    /// Which clients reset requests how often.
    pub(crate) resets: Resets,
}

impl Core {
    /// A core without connections. Its worker calls [`Core::sweep`] about once a second.
    pub(crate) fn new(
        config: Arc<Config>,
        snapshot: Arc<SnapshotHandle>,
        telemetry: Shard,
    ) -> Self {
        Self {
            config,
            snapshot,
            telemetry,
            pool: Pool::default(),
            buffers: Buffers,
            resets: Resets::default(),
        }
    }

    /// Housekeeping, about once a second: closes pooled connections that are dead, unused for too
    /// long, or whose cluster, endpoint or TLS material is gone.
    pub(crate) fn sweep(&self) {
        self.pool.sweep(&self.snapshot.load());
    }
}
