//! From configuration to clusters, on the control thread.

use super::Cluster;
use crate::Config;
use foldhash::fast::RandomState;
use gwanmun_ir::{ClusterKey, Key, Rejection, Resource};
use std::{
    collections::{BTreeMap, HashMap},
    io,
    sync::Arc,
};

/// Clusters by key, as a snapshot holds them.
pub(crate) type Clusters = Arc<HashMap<ClusterKey, Arc<Cluster>, RandomState>>;

/// All clusters of the process. Owned by the control thread.
pub(crate) struct Registry {
    clusters: Clusters,
}

/// What [`Registry::reconcile`] did.
#[derive(Debug, Default)]
pub(crate) struct Changes {
    /// Keys whose `Arc<Cluster>` is new, another, or gone: what was compiled against the old one
    /// must be linked again. Changes of endpoints alone are not among them.
    pub(crate) changed: Vec<ClusterKey>,
    /// What could not be used as it is.
    pub(crate) rejected: Vec<Rejection>,
}

impl Registry {
    /// An empty registry. Names are resolved, and ejected endpoints brought back, on the runtime
    /// behind `control`, whose thread must keep running.
    ///
    /// # Errors
    ///
    /// When the system's DNS configuration cannot be read.
    pub(crate) fn new(config: &Config, control: tokio::runtime::Handle) -> io::Result<Self> {
        let _ = (config, control);
        Ok(Self {
            clusters: Clusters::default(),
        })
    }

    /// Brings the clusters up to date with `resources`, of which `changed` were upserted or
    /// removed since the last call. Endpoint-only changes take effect at once, inside the live
    /// clusters; everything else with the snapshot that holds [`Registry::clusters`].
    pub(crate) fn reconcile(
        &mut self,
        resources: &BTreeMap<Key, Arc<Resource>>,
        changed: &[Key],
    ) -> Changes {
        let _ = (resources, changed);
        Changes::default()
    }

    /// The clusters as of the last [`Registry::reconcile`].
    pub(crate) fn clusters(&self) -> Clusters {
        Arc::clone(&self.clusters)
    }
}
