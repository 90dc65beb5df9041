//! Compiles the configuration language into the tables that requests are served from.
//!
//! [`Compiler`] keeps what it compiled and recompiles only what a delta names: a route, the
//! virtual hosts it is in, its chain's table and its listener's table; everything else is shared
//! with the earlier snapshot.

mod chain;
mod l4;
mod route;
mod tls;
mod weighted;

pub(crate) use route::{CompiledAction, CompiledRoute, CompiledTarget, Destination, Targets};
pub(crate) use tls::{InService, now};
pub(crate) use weighted::Weighted;

use crate::{
    cluster::Clusters,
    listener::{Admission, ChainTable, ListenerTable},
    route::{Replaced, l4::CompiledL4Route},
    snapshot::FastMap,
};
use chain::{ChainState, HostChange};
use gwanmun_ir::{
    ChainKey, ClusterKey, Delta, FilterChain, Hostname, Key, ListenerKey, Rejection, Resource,
    Route, RouteKey, Secret, SecretKey, Security, Severity, SourceRef, TlsPolicy,
};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

/// The listeners' tables, as a snapshot holds them.
pub(crate) type Tables = FastMap<ListenerKey, Arc<ListenerTable>>;

/// Compiled state, brought up to date delta by delta. Owned by the control side.
#[derive(Default)]
pub(crate) struct Compiler {
    resources: BTreeMap<Key, Arc<Resource>>,
    routes: FastMap<RouteKey, Arc<CompiledRoute>>,
    /// Which routes name a cluster.
    users: FastMap<ClusterKey, BTreeSet<RouteKey>>,
    l4_routes: FastMap<RouteKey, Arc<CompiledL4Route>>,
    /// Which layer 4 routes name a cluster.
    l4_users: FastMap<ClusterKey, BTreeSet<RouteKey>>,
    chains: FastMap<ChainKey, ChainState>,
    /// Which chains name a secret.
    secret_users: FastMap<SecretKey, BTreeSet<ChainKey>>,
    chains_of: BTreeMap<ListenerKey, BTreeSet<ChainKey>>,
    secrets: tls::Secrets,
    configs: tls::Configs,
    tables: Tables,
}

/// What compiling found out about resources.
#[derive(Default)]
pub(crate) struct Verdicts {
    /// Resources that were looked at: what was said about them earlier holds no longer.
    pub(crate) checked: BTreeSet<Key>,
    /// What cannot be used as it is.
    pub(crate) rejected: Vec<Rejection>,
}

/// What has to be rebuilt.
#[derive(Default)]
struct Dirty {
    hosts: BTreeMap<(ChainKey, Option<Hostname>), HostChange>,
    chains: BTreeSet<ChainKey>,
    listeners: BTreeMap<ListenerKey, ListenerChange>,
}

/// What happened to a listener.
enum ListenerChange {
    /// Chains came, went or changed.
    Rebuild,
    /// Routes of these chains changed; older tables first.
    Replace(Vec<(Arc<ChainTable>, Arc<ChainTable>)>),
}

impl Dirty {
    fn rebuild_host(&mut self, chain: &ChainKey, host: Option<Hostname>) {
        self.hosts
            .insert((chain.clone(), host), HostChange::Rebuild);
    }

    fn replace_in_host(
        &mut self,
        host: Option<Hostname>,
        old: &Arc<CompiledRoute>,
        new: &Arc<CompiledRoute>,
    ) {
        let key = (old.ir.chain.clone(), host);
        let change = self.hosts.entry(key);
        match change.or_insert_with(|| HostChange::Replace(Replaced::default())) {
            HostChange::Rebuild => {}
            HostChange::Replace(replaced) => {
                replaced.insert(Arc::as_ptr(old), Arc::clone(new));
            }
        }
    }

    fn rebuild_listener(&mut self, key: ListenerKey) {
        self.listeners.insert(key, ListenerChange::Rebuild);
    }

    fn replace_in_listener(&mut self, old: Arc<ChainTable>, new: Arc<ChainTable>) {
        let change = self.listeners.entry(new.chain.listener.clone());
        match change.or_insert_with(|| ListenerChange::Replace(Vec::new())) {
            ListenerChange::Rebuild => {}
            ListenerChange::Replace(replaced) => replaced.push((old, new)),
        }
    }
}

impl Compiler {
    /// Takes a delta's resources. Returns the keys of those that are new, different or gone.
    pub(crate) fn accept(&mut self, delta: Delta) -> Vec<Key> {
        let mut changed = Vec::new();
        if delta.complete {
            let kept: BTreeSet<Key> = delta.upserts.iter().map(Resource::key).collect();
            let gone = self.resources.keys().filter(|key| !kept.contains(*key));
            changed.extend(gone.cloned());
        }
        changed.extend(
            delta
                .removed
                .into_iter()
                .filter(|key| self.resources.contains_key(key)),
        );
        for key in &changed {
            self.resources.remove(key);
        }
        for resource in delta.upserts {
            let key = resource.key();
            if self.resources.get(&key).is_none_or(|old| **old != resource) {
                self.resources.insert(key.clone(), Arc::new(resource));
                changed.push(key);
            }
        }
        changed.sort_unstable();
        changed.dedup();
        changed
    }

    /// All resources as of the last [`accept`](Self::accept).
    pub(crate) fn resources(&self) -> &BTreeMap<Key, Arc<Resource>> {
        &self.resources
    }

    /// The tables as of the last [`compile`](Self::compile).
    pub(crate) fn tables(&self) -> &Tables {
        &self.tables
    }

    /// Compiles the resources named by `changed`, and links again the routes to the clusters
    /// named by `relinked`.
    pub(crate) fn compile(
        &mut self,
        changed: &[Key],
        relinked: &[ClusterKey],
        clusters: &Clusters,
    ) -> Verdicts {
        let mut dirty = Dirty::default();
        let mut verdicts = Verdicts::default();
        verdicts.checked.extend(changed.iter().cloned());
        self.compile_secrets(changed, &mut dirty, &mut verdicts.rejected);
        for key in changed {
            match key {
                Key::Listener(key) => dirty.rebuild_listener(key.clone()),
                Key::Chain(key) => self.take_chain(key, &mut dirty),
                Key::Route(key) => {
                    self.take_route(key, clusters, &mut dirty, &mut verdicts.rejected);
                }
                Key::L4Route(key) => self.take_l4_route(key, clusters, &mut dirty),
                Key::Cluster(_) | Key::Endpoints(_) | Key::Secret(_) => {}
            }
        }
        self.relink(relinked, changed, clusters, &mut dirty);
        self.build(dirty, &mut verdicts);
        verdicts
    }

    /// The certificates and trust anchors in service.
    pub(crate) fn in_service(&self) -> Vec<InService> {
        self.secrets.in_service()
    }

    /// What ends soon or has ended, and when that is to be asked again. Times are in seconds since
    /// the Unix epoch.
    pub(crate) fn ending(&self, now: i64) -> (Vec<Rejection>, i64) {
        let (ending, next) = self.secrets.ending(now);
        let ending = ending.into_iter().map(|(name, message)| {
            let source = self.secret(&name).map(|secret| secret.source.clone());
            let source = source.unwrap_or_default();
            rejection(Key::Secret(name), Severity::Degraded, &source, message)
        });
        (ending.collect(), next)
    }

    fn compile_secrets(
        &mut self,
        changed: &[Key],
        dirty: &mut Dirty,
        rejected: &mut Vec<Rejection>,
    ) {
        let mut touched: BTreeSet<SecretKey> = BTreeSet::new();
        for key in changed {
            let Key::Secret(name) = key else { continue };
            touched.insert(name.clone());
            match self.secret(name).cloned() {
                Some(secret) => {
                    if let Some((severity, message)) = self.secrets.update(&secret) {
                        rejected.push(rejection(key.clone(), severity, &secret.source, message));
                    }
                }
                None => self.secrets.remove(name),
            }
        }
        if touched.is_empty() {
            return;
        }
        let users = touched
            .iter()
            .filter_map(|secret| self.secret_users.get(secret));
        dirty.chains.extend(users.flatten().cloned());
    }

    fn take_chain(&mut self, key: &ChainKey, dirty: &mut Dirty) {
        let new = self.chain(key).cloned().map(Arc::new);
        let state = self.chains.entry(key.clone()).or_default();
        if let Some(old) = &state.ir {
            if let Some(chains) = self.chains_of.get_mut(&old.listener) {
                chains.remove(key);
            }
            dirty.rebuild_listener(old.listener.clone());
            for secret in secrets_of(old) {
                if let Some(users) = self.secret_users.get_mut(secret) {
                    users.remove(key);
                    if users.is_empty() {
                        self.secret_users.remove(secret);
                    }
                }
            }
        }
        if let Some(new) = &new {
            let chains = self.chains_of.entry(new.listener.clone()).or_default();
            chains.insert(key.clone());
            dirty.rebuild_listener(new.listener.clone());
            for secret in secrets_of(new) {
                let users = self.secret_users.entry(secret.clone()).or_default();
                users.insert(key.clone());
            }
        }
        state.ir = new;
        dirty.chains.insert(key.clone());
    }

    fn take_route(
        &mut self,
        key: &RouteKey,
        clusters: &Clusters,
        dirty: &mut Dirty,
        rejected: &mut Vec<Rejection>,
    ) {
        let new = self.route(key).cloned().map(|ir| {
            let mut errors = Vec::new();
            let route = CompiledRoute::compile(Arc::new(ir), clusters, &mut errors);
            let source = route.ir.source.clone();
            rejected.extend(errors.into_iter().map(|message| {
                let key = Key::Route(key.clone());
                rejection(key, Severity::Degraded, &source, message)
            }));
            Arc::new(route)
        });
        self.replace_route(key, new, dirty);
    }

    fn relink(
        &mut self,
        relinked: &[ClusterKey],
        changed: &[Key],
        clusters: &Clusters,
        dirty: &mut Dirty,
    ) {
        // Routes that changed themselves are linked already.
        let linked: BTreeSet<&RouteKey> = changed
            .iter()
            .filter_map(|key| match key {
                Key::Route(key) | Key::L4Route(key) => Some(key),
                Key::Listener(_)
                | Key::Chain(_)
                | Key::Cluster(_)
                | Key::Endpoints(_)
                | Key::Secret(_) => None,
            })
            .collect();
        self.relink_l4(relinked, &linked, clusters, dirty);
        let users: BTreeSet<RouteKey> = relinked
            .iter()
            .filter_map(|cluster| self.users.get(cluster))
            .flatten()
            .filter(|key| !linked.contains(key))
            .cloned()
            .collect();
        for key in users {
            if let Some(route) = self.routes.get(&key) {
                let route = Arc::new(route.relink(clusters));
                self.replace_route(&key, Some(route), dirty);
            }
        }
    }

    fn replace_route(
        &mut self,
        key: &RouteKey,
        new: Option<Arc<CompiledRoute>>,
        dirty: &mut Dirty,
    ) {
        let old = self.routes.remove(key);
        if let Some(old) = &old {
            for cluster in CompiledRoute::cluster_keys(&old.ir) {
                if let Some(users) = self.users.get_mut(cluster) {
                    users.remove(key);
                    if users.is_empty() {
                        self.users.remove(cluster);
                    }
                }
            }
        }
        if let Some(new) = &new {
            for cluster in CompiledRoute::cluster_keys(&new.ir) {
                let users = self.users.entry(cluster.clone()).or_default();
                users.insert(key.clone());
            }
        }
        match (&old, &new) {
            (Some(old), Some(new)) if new.stands_like(old) => {
                let chain = self.chains.entry(new.ir.chain.clone()).or_default();
                chain.replace(old, new, &mut |host| dirty.replace_in_host(host, old, new));
            }
            (old, new) => {
                if let Some(old) = old {
                    let chain = self.chains.entry(old.ir.chain.clone()).or_default();
                    chain.remove(old, &mut |host| dirty.rebuild_host(&old.ir.chain, host));
                }
                if let Some(new) = new {
                    let chain = self.chains.entry(new.ir.chain.clone()).or_default();
                    chain.insert(new, &mut |host| dirty.rebuild_host(&new.ir.chain, host));
                }
            }
        }
        if let Some(new) = new {
            self.routes.insert(key.clone(), new);
        }
    }

    fn build(&mut self, mut dirty: Dirty, verdicts: &mut Verdicts) {
        for ((chain, host), change) in std::mem::take(&mut dirty.hosts) {
            if let Some(state) = self.chains.get_mut(&chain) {
                state.build_host(host.as_ref(), &change);
            }
            dirty.chains.insert(chain);
        }
        for key in std::mem::take(&mut dirty.chains) {
            self.build_chain(&key, &mut dirty, verdicts);
        }
        for (key, change) in dirty.listeners {
            self.build_listener(&key, change);
        }
    }

    fn build_chain(&mut self, key: &ChainKey, dirty: &mut Dirty, verdicts: &mut Verdicts) {
        let Some(state) = self.chains.get_mut(key) else {
            return;
        };
        let Some(ir) = state.ir.clone() else {
            state.table = None;
            if state.is_empty() {
                self.chains.remove(key);
            }
            return;
        };
        let mut tls = None;
        let mut admission = Admission::open();
        if let Security::Tls(policy) = &ir.security {
            admission = self.configs.admission(policy, &self.secrets);
            let config = self.configs.get(policy, &self.secrets);
            let problem = tls::problem(policy, &config);
            tls = config.ok();
            let key = Key::Chain(key.clone());
            if let Some((severity, message)) = problem {
                let rejection = rejection(key.clone(), severity, &ir.source, message);
                verdicts.rejected.push(rejection);
            }
            verdicts.checked.insert(key);
        }
        let old = state.table.take();
        let new = state.build(&ir, (tls, admission));
        match old.filter(|old| old.is_in_place_of(&new)) {
            Some(old) => dirty.replace_in_listener(old, new),
            None => dirty.rebuild_listener(ir.listener.clone()),
        }
    }

    fn build_listener(&mut self, key: &ListenerKey, change: ListenerChange) {
        if let (ListenerChange::Replace(replaced), Some(table)) = (change, self.tables.get(key)) {
            let table = Arc::new(table.replacing(&replaced));
            self.tables.insert(key.clone(), table);
            return;
        }
        let Some(Resource::Listener(listener)) = self
            .resources
            .get(&Key::Listener(key.clone()))
            .map(|resource| &**resource)
        else {
            self.tables.remove(key);
            return;
        };
        let chains = self.chains_of.get(key).into_iter().flatten();
        let tables = chains.filter_map(|chain| self.chains.get(chain)?.table.clone());
        let table = ListenerTable::new(listener, tables.collect());
        self.tables.insert(key.clone(), Arc::new(table));
    }

    fn chain(&self, key: &ChainKey) -> Option<&FilterChain> {
        match &**self.resources.get(&Key::Chain(key.clone()))? {
            Resource::Chain(chain) => Some(chain),
            Resource::Listener(_)
            | Resource::Route(_)
            | Resource::Cluster(_)
            | Resource::L4Route(_)
            | Resource::Endpoints(_)
            | Resource::Secret(_) => None,
        }
    }

    fn route(&self, key: &RouteKey) -> Option<&Route> {
        match &**self.resources.get(&Key::Route(key.clone()))? {
            Resource::Route(route) => Some(route),
            Resource::Listener(_)
            | Resource::Chain(_)
            | Resource::Cluster(_)
            | Resource::L4Route(_)
            | Resource::Endpoints(_)
            | Resource::Secret(_) => None,
        }
    }

    fn secret(&self, key: &SecretKey) -> Option<&Secret> {
        match &**self.resources.get(&Key::Secret(key.clone()))? {
            Resource::Secret(secret) => Some(secret),
            Resource::Listener(_)
            | Resource::Chain(_)
            | Resource::Route(_)
            | Resource::Cluster(_)
            | Resource::L4Route(_)
            | Resource::Endpoints(_) => None,
        }
    }
}

/// The secrets that a chain names.
fn secrets_of(chain: &FilterChain) -> impl Iterator<Item = &SecretKey> {
    let policy = match &chain.security {
        Security::Tls(policy) => Some(policy),
        Security::Plaintext | Security::Passthrough => None,
    };
    policy.into_iter().flat_map(TlsPolicy::secrets)
}

fn rejection(key: Key, severity: Severity, source: &SourceRef, message: String) -> Rejection {
    Rejection {
        key,
        severity,
        source: source.clone(),
        message,
    }
}
