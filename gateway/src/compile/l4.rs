//! Layer 4 rules: kept by the chain they name, linked again when a cluster they name changes.

use super::{Compiler, Dirty};
use crate::{cluster::Clusters, route::l4::CompiledL4Route};
use gwanmun_ir::{ClusterKey, Key, L4Route, Resource, RouteKey};
use std::{collections::BTreeSet, sync::Arc};

impl Compiler {
    /// Takes the present version of a layer 4 rule, or its absence.
    pub(super) fn take_l4_route(&mut self, key: &RouteKey, clusters: &Clusters, dirty: &mut Dirty) {
        let new = self.l4_route(key).cloned();
        let new = new.map(|ir| Arc::new(CompiledL4Route::link(Arc::new(ir), clusters)));
        self.replace_l4_route(key, new, dirty);
    }

    /// Links the rules that name one of these clusters to the clusters of this moment, except
    /// those that are `linked` already.
    pub(super) fn relink_l4(
        &mut self,
        relinked: &[ClusterKey],
        linked: &BTreeSet<&RouteKey>,
        clusters: &Clusters,
        dirty: &mut Dirty,
    ) {
        let users: BTreeSet<RouteKey> = relinked
            .iter()
            .filter_map(|cluster| self.l4_users.get(cluster))
            .flatten()
            .filter(|key| !linked.contains(key))
            .cloned()
            .collect();
        for key in users {
            if let Some(route) = self.l4_routes.get(&key) {
                let route = Arc::new(CompiledL4Route::link(Arc::clone(&route.ir), clusters));
                self.replace_l4_route(&key, Some(route), dirty);
            }
        }
    }

    fn replace_l4_route(
        &mut self,
        key: &RouteKey,
        new: Option<Arc<CompiledL4Route>>,
        dirty: &mut Dirty,
    ) {
        if let Some(old) = self.l4_routes.remove(key) {
            for cluster in CompiledL4Route::cluster_keys(&old.ir) {
                if let Some(users) = self.l4_users.get_mut(cluster) {
                    users.remove(key);
                    if users.is_empty() {
                        self.l4_users.remove(cluster);
                    }
                }
            }
            let chain = self.chains.entry(old.ir.chain.clone()).or_default();
            chain.remove_l4(key);
            dirty.chains.insert(old.ir.chain.clone());
        }
        if let Some(new) = new {
            for cluster in CompiledL4Route::cluster_keys(&new.ir) {
                let users = self.l4_users.entry(cluster.clone()).or_default();
                users.insert(key.clone());
            }
            let chain = self.chains.entry(new.ir.chain.clone()).or_default();
            chain.insert_l4(Arc::clone(&new));
            dirty.chains.insert(new.ir.chain.clone());
            self.l4_routes.insert(key.clone(), new);
        }
    }

    fn l4_route(&self, key: &RouteKey) -> Option<&L4Route> {
        match &**self.resources.get(&Key::L4Route(key.clone()))? {
            Resource::L4Route(route) => Some(route),
            Resource::Listener(_)
            | Resource::Chain(_)
            | Resource::Route(_)
            | Resource::Cluster(_)
            | Resource::Endpoints(_)
            | Resource::Secret(_) => None,
        }
    }
}
