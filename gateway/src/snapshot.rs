//! One consistent state of everything that requests are served from.

use crate::{cluster::Cluster, listener::ListenerTable};
use arc_swap::{ArcSwap, Guard};
use foldhash::fast::RandomState;
use gwanmun_ir::{ClusterKey, ListenerKey};
use std::{collections::HashMap, sync::Arc};

/// A map with a fast, randomly seeded hash.
pub(crate) type FastMap<K, V> = HashMap<K, V, RandomState>;

/// One consistent state of everything that requests are served from.
///
/// Published as a whole: a request sees all of a delta or nothing of it.
#[derive(Default)]
pub struct Snapshot {
    /// Grows by one with every delta.
    pub epoch: u64,
    pub(crate) listeners: FastMap<ListenerKey, Arc<ListenerTable>>,
    pub(crate) clusters: Arc<FastMap<ClusterKey, Arc<Cluster>>>,
}

impl Snapshot {
    /// The table of a listener; nothing once the listener is removed.
    pub(crate) fn listener(&self, key: &ListenerKey) -> Option<&Arc<ListenerTable>> {
        self.listeners.get(key)
    }
}

/// Where the current [`Snapshot`] is found.
#[derive(Default)]
pub(crate) struct SnapshotHandle(ArcSwap<Snapshot>);

impl SnapshotHandle {
    /// The current snapshot, to be looked at and let go: no counter is shared among threads.
    pub(crate) fn load(&self) -> Guard<Arc<Snapshot>> {
        self.0.load()
    }

    /// The current snapshot, to be kept.
    pub(crate) fn keep(&self) -> Arc<Snapshot> {
        self.0.load_full()
    }

    /// Makes `snapshot` the current one.
    pub(crate) fn publish(&self, snapshot: Arc<Snapshot>) {
        self.0.store(snapshot);
    }
}
