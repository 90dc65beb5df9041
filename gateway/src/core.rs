//! What one worker thread owns.

use crate::{Config, snapshot::SnapshotHandle};
use std::sync::Arc;

/// What one worker thread owns, shared by the connections on it.
pub(crate) struct Core {
    /// What the process was told at its start.
    pub(crate) config: Arc<Config>,
    /// Where the current configuration is found.
    pub(crate) snapshot: Arc<SnapshotHandle>,
}
