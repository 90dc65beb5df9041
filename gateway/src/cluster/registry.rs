//! From configuration to clusters, on the control thread.

use super::{
    Cluster,
    dns::Dns,
    state::State,
    tasks::{Task, resolve, sweep},
    tls::ClientTls,
};
use crate::Config;
use foldhash::fast::RandomState;
use gwanmun_ir::{
    Cluster as ClusterConfig, ClusterKey, Discovery, EndpointSet, Key, Rejection, Resource, Secret,
    SecretKey, Severity, UpstreamTls, Verification,
};
use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    io,
    sync::Arc,
};

/// Clusters by key, as a snapshot holds them.
pub(crate) type Clusters = Arc<HashMap<ClusterKey, Arc<Cluster>, RandomState>>;

/// All resources, by key.
type Resources = BTreeMap<Key, Arc<Resource>>;

/// All clusters of the process. Owned by the control thread.
pub(crate) struct Registry {
    clusters: Clusters,
    background: HashMap<ClusterKey, Background>,
    /// Which clusters use a secret.
    users: HashMap<SecretKey, BTreeSet<ClusterKey>>,
    dns: Arc<Dns>,
    control: tokio::runtime::Handle,
    last_id: u64,
}

/// What runs for a cluster; ends when dropped.
#[derive(Default)]
struct Background {
    resolving: Option<Task>,
    sweeping: Option<Task>,
}

/// What [`Registry::reconcile`] did.
#[derive(Debug, Default)]
pub(crate) struct Changes {
    /// Keys whose `Arc<Cluster>` is new, another, or gone: what was compiled against the old one
    /// must be linked again. Changes of endpoints alone are not among them.
    pub(crate) changed: Vec<ClusterKey>,
    /// Clusters that were looked at: what was said about them earlier holds no longer.
    pub(crate) checked: BTreeSet<ClusterKey>,
    /// What could not be used as it is.
    pub(crate) rejected: Vec<Rejection>,
}

impl Registry {
    /// An empty registry. Names are resolved, and ejected endpoints brought back, on the runtime
    /// behind `control`, whose thread must keep running.
    ///
    /// # Errors
    ///
    /// When the system's DNS configuration cannot be used.
    pub(crate) fn new(config: &Config, control: tokio::runtime::Handle) -> io::Result<Self> {
        Ok(Self {
            clusters: Clusters::default(),
            background: HashMap::new(),
            users: HashMap::new(),
            dns: Dns::new(config.dns, control.clone())?,
            control,
            last_id: 0,
        })
    }

    /// Brings the clusters up to date with `resources`, of which `changed` were upserted or
    /// removed since the last call. Endpoint-only changes take effect at once, inside the live
    /// clusters; everything else with the snapshot that holds [`Registry::clusters`].
    pub(crate) fn reconcile(&mut self, resources: &Resources, changed: &[Key]) -> Changes {
        let mut changes = Changes::default();
        let mut clusters = BTreeSet::new();
        let mut endpoints = BTreeSet::new();
        for key in changed {
            match key {
                Key::Cluster(key) => {
                    clusters.insert(key.clone());
                }
                Key::Endpoints(key) => {
                    endpoints.insert(key.clone());
                }
                Key::Secret(key) => {
                    clusters.extend(self.users.get(key).into_iter().flatten().cloned());
                }
                Key::Listener(_) | Key::Chain(_) | Key::Route(_) | Key::L4Route(_) => {}
            }
        }
        for key in &clusters {
            match cluster(resources, key) {
                Some(config) => self.upsert(resources, config, &mut changes),
                None => self.remove(key, &mut changes),
            }
        }
        changes.checked = clusters;
        for key in endpoints {
            if let Some(cluster) = self.clusters.get(&key) {
                set_endpoints(resources, cluster);
            }
        }
        changes
    }

    /// The clusters as of the last [`Registry::reconcile`].
    pub(crate) fn clusters(&self) -> Clusters {
        Arc::clone(&self.clusters)
    }

    fn upsert(&mut self, resources: &Resources, config: &ClusterConfig, changes: &mut Changes) {
        let key = &config.key;
        let before = self.clusters.get(key).cloned();
        let tls = config.tls.as_ref().map(|wanted| {
            let before = before.as_ref().and_then(|before| before.tls.as_ref());
            let (tls, problem) = ClientTls::build(wanted, |key| secret(resources, key), before);
            if let Some(problem) = problem {
                changes.rejected.push(rejection(config, &tls, &problem));
            }
            tls
        });
        self.link_secrets(key, before.as_deref(), config.tls.as_ref());
        if let Some(before) = &before
            && *before.config == *config
            && before.tls_generation == tls.as_ref().map_or(0, |tls| tls.generation)
        {
            return;
        }
        let state = before.as_ref().map_or_else(
            || {
                self.last_id += 1;
                Arc::new(State::new(self.last_id))
            },
            |before| Arc::clone(&before.state),
        );
        state.set_balancing(config.balancing);
        let cluster = Arc::new(Cluster::new(config.clone(), tls, state));
        let same_discovery = before
            .as_ref()
            .is_some_and(|before| before.config.discovery == config.discovery);
        let background = self.background.entry(key.clone()).or_default();
        if !same_discovery {
            background.resolving = None;
            match &config.discovery {
                Discovery::Endpoints => set_endpoints(resources, &cluster),
                Discovery::Dns { hosts, mode } => {
                    background.resolving = Some(resolve(
                        &self.control,
                        &self.dns,
                        &cluster.state,
                        (hosts, *mode),
                    ));
                }
            }
        }
        let before_outlier = before.as_ref().and_then(|before| before.config.outlier);
        if before_outlier != config.outlier {
            background.sweeping = sweep(&self.control, &cluster.state, config.outlier);
        }
        Arc::make_mut(&mut self.clusters).insert(key.clone(), cluster);
        changes.changed.push(key.clone());
    }

    fn remove(&mut self, key: &ClusterKey, changes: &mut Changes) {
        self.background.remove(key);
        if let Some(gone) = Arc::make_mut(&mut self.clusters).remove(key) {
            self.link_secrets(key, Some(&gone), None);
            changes.changed.push(key.clone());
        }
    }

    /// Remembers which secrets the cluster uses now, so that a change of one finds it.
    fn link_secrets(
        &mut self,
        key: &ClusterKey,
        before: Option<&Cluster>,
        now: Option<&UpstreamTls>,
    ) {
        let before = before.and_then(|before| before.config.tls.as_ref());
        if before == now {
            return;
        }
        for secret in before.into_iter().flat_map(secrets) {
            if let Some(users) = self.users.get_mut(secret) {
                users.remove(key);
                if users.is_empty() {
                    self.users.remove(secret);
                }
            }
        }
        for secret in now.into_iter().flat_map(secrets) {
            self.users
                .entry(secret.clone())
                .or_default()
                .insert(key.clone());
        }
    }
}

/// The secrets that TLS names.
fn secrets(tls: &UpstreamTls) -> impl Iterator<Item = &SecretKey> {
    let anchors = match &tls.verification {
        Verification::Anchors(key) => Some(key),
        Verification::InsecureSkip | Verification::System => None,
    };
    anchors.into_iter().chain(&tls.client_certificate)
}

fn rejection(config: &ClusterConfig, tls: &ClientTls, problem: &str) -> Rejection {
    let consequence = if tls.is_usable() {
        "the earlier material stays in service"
    } else {
        "its connections fail"
    };
    Rejection {
        key: Key::Cluster(config.key.clone()),
        severity: Severity::Degraded,
        source: config
            .policy
            .clone()
            .unwrap_or_else(|| config.source.clone()),
        message: format!("cluster {}: {problem}; {consequence}", config.name),
    }
}

fn set_endpoints(resources: &Resources, cluster: &Cluster) {
    if cluster.config.discovery != Discovery::Endpoints {
        return;
    }
    let set = endpoints(resources, &cluster.config.key);
    cluster
        .state
        .set_endpoints(set.map_or(&[], |set| &set.endpoints));
}

fn cluster<'a>(resources: &'a Resources, key: &ClusterKey) -> Option<&'a ClusterConfig> {
    match resources.get(&Key::Cluster(key.clone()))?.as_ref() {
        Resource::Cluster(cluster) => Some(cluster),
        Resource::Listener(_)
        | Resource::Chain(_)
        | Resource::Route(_)
        | Resource::L4Route(_)
        | Resource::Endpoints(_)
        | Resource::Secret(_) => None,
    }
}

fn endpoints<'a>(resources: &'a Resources, key: &ClusterKey) -> Option<&'a EndpointSet> {
    match resources.get(&Key::Endpoints(key.clone()))?.as_ref() {
        Resource::Endpoints(set) => Some(set),
        Resource::Listener(_)
        | Resource::Chain(_)
        | Resource::Route(_)
        | Resource::L4Route(_)
        | Resource::Cluster(_)
        | Resource::Secret(_) => None,
    }
}

fn secret<'a>(resources: &'a Resources, key: &SecretKey) -> Option<&'a Secret> {
    match resources.get(&Key::Secret(key.clone()))?.as_ref() {
        Resource::Secret(secret) => Some(secret),
        Resource::Listener(_)
        | Resource::Chain(_)
        | Resource::Route(_)
        | Resource::L4Route(_)
        | Resource::Cluster(_)
        | Resource::Endpoints(_) => None,
    }
}

#[cfg(test)]
mod tests;
