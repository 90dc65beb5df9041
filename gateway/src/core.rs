//! What one worker thread owns.

use crate::{
    Config,
    engine::{Buffers, Pool},
    snapshot::SnapshotHandle,
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
    /// Connections to upstreams that wait for their next request.
    pub(crate) pool: Pool,
    /// Buffers lent to connections.
    pub(crate) buffers: Buffers,
}

impl Core {
    /// A core without connections. Call [`Core::sweep`] about once a second.
    pub(crate) fn new(config: Arc<Config>, snapshot: Arc<SnapshotHandle>) -> Self {
        Self {
            config,
            snapshot,
            pool: Pool::default(),
            buffers: Buffers::default(),
        }
    }

    /// Housekeeping, about once a second: closes pooled connections that are dead, unused for too
    /// long, or whose cluster, endpoint or TLS material is gone.
    pub(crate) fn sweep(&self) {
        self.pool.sweep(&self.snapshot.load());
    }
}
