//! Which layer 4 rule a connection or datagram takes: by its server name, if it has one.

use super::{HostMap, Level, levels};
use crate::{
    cluster::Clusters,
    compile::{Destination, Weighted},
    listener::ChainGroup,
};
use gwanmun_ir::{ClusterKey, Hostname, L4Route, RouteKey, Target};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

/// One layer 4 rule, ready to be served.
pub(crate) struct CompiledL4Route {
    /// Key of the route.
    pub(crate) key: RouteKey,
    /// What the access log calls it.
    pub(crate) name: Arc<str>,
    /// Longest time without a byte in either direction; nothing means unlimited.
    pub(crate) idle_timeout: Option<Duration>,
    /// How many times connecting is tried; at least 1.
    pub(crate) connect_attempts: u32,
    /// Where connections go; nothing when no target has a weight.
    targets: Option<Weighted<L4Destination>>,
    /// The rule as configured.
    pub(crate) ir: Arc<L4Route>,
}

/// One of the targets of a [`CompiledL4Route`].
pub(crate) struct L4Destination {
    /// Where connections go.
    pub(crate) destination: Destination,
    /// Share among the weights.
    pub(crate) weight: u32,
}

impl CompiledL4Route {
    /// Makes a rule ready, with the clusters of this moment.
    pub(crate) fn link(ir: Arc<L4Route>, clusters: &Clusters) -> Self {
        let targets = ir.targets.iter().map(|one| L4Destination {
            destination: Destination::link(&one.target, clusters),
            weight: one.weight,
        });
        Self {
            key: ir.key.clone(),
            name: ir.name.as_str().into(),
            idle_timeout: (ir.idle_timeout_ms > 0)
                .then(|| Duration::from_millis(ir.idle_timeout_ms)),
            connect_attempts: ir.connect_attempts.max(1),
            targets: Weighted::new(targets.collect(), |target| target.weight),
            ir,
        }
    }

    /// Where a new connection or UDP session goes; `random` is any uniformly distributed number.
    /// Nothing when no target has a weight.
    pub(crate) fn destination(&self, random: u64) -> Option<&Destination> {
        let targets = self.targets.as_ref()?;
        Some(&targets.pick(random)?.destination)
    }

    /// All targets, in configured order; none when no target has a weight.
    pub(crate) fn targets(&self) -> impl Iterator<Item = &L4Destination> {
        self.targets.iter().flat_map(Weighted::iter)
    }

    /// Whether the cluster with this id is a target that has a chance.
    pub(crate) fn names_cluster(&self, id: u64) -> bool {
        self.targets().any(|target| match &target.destination {
            Destination::Cluster(cluster) => cluster.id == id && target.weight > 0,
            Destination::Fail(..) => false,
        })
    }

    /// Keys of the clusters that a rule names, existing or not.
    pub(crate) fn cluster_keys(ir: &L4Route) -> impl Iterator<Item = &ClusterKey> {
        ir.targets.iter().filter_map(|target| match &target.target {
            Target::Cluster(key) => Some(key),
            Target::Fail(_) => None,
        })
    }

    /// Its server names, each once; nothing stands for any.
    pub(crate) fn names(&self) -> BTreeSet<Option<Hostname>> {
        if self.ir.hostnames.is_empty() {
            return BTreeSet::from([None]);
        }
        let names = self.ir.hostnames.iter();
        names
            .map(|name| (!name.is_any()).then(|| name.clone()))
            .collect()
    }
}

/// The layer 4 rules of one filter chain: of each server name the first by precedence.
#[derive(Default)]
pub(crate) struct L4Table {
    by_name: HostMap<Arc<CompiledL4Route>>,
}

impl L4Table {
    /// The table of these rules.
    pub(crate) fn new<'r>(routes: impl IntoIterator<Item = &'r Arc<CompiledL4Route>>) -> Self {
        let mut first: BTreeMap<Option<Hostname>, &Arc<CompiledL4Route>> = BTreeMap::new();
        for route in routes {
            for name in route.names() {
                let place = first.entry(name).or_insert(route);
                if order(route) < order(place) {
                    *place = route;
                }
            }
        }
        let mut by_name = HostMap::default();
        for (name, route) in first {
            by_name.insert(name.as_ref(), Arc::clone(route));
        }
        Self { by_name }
    }

    /// The rule for a server name (lower case, without trailing dot), or for a connection or
    /// datagram that has none: the one with the most specific name, of equals the first by
    /// precedence.
    pub(crate) fn pick(&self, sni: Option<&str>) -> Option<&Arc<CompiledL4Route>> {
        match sni {
            Some(name) => self.by_name.get(name),
            None => self.by_name.named(None),
        }
    }

    /// All rules that are the first of some server name, perhaps repeatedly.
    pub(crate) fn routes(&self) -> impl Iterator<Item = &Arc<CompiledL4Route>> {
        self.by_name.values()
    }

    fn at(&self, level: Level<'_>) -> Option<&Arc<CompiledL4Route>> {
        self.by_name.at(level)
    }
}

/// What orders the rules of one server name.
fn order(route: &CompiledL4Route) -> (&gwanmun_ir::Precedence, &RouteKey) {
    (&route.ir.precedence, &route.key)
}

impl ChainGroup {
    /// The layer 4 rule for a server name, or for none: server names by specificity, then chains
    /// by rank.
    pub(crate) fn pick(&self, sni: Option<&str>) -> Option<&Arc<CompiledL4Route>> {
        if let [only] = self.chains.as_slice() {
            return only.l4.pick(sni);
        }
        let at = |level| self.chains.iter().find_map(|chain| chain.l4.at(level));
        match sni {
            Some(name) => levels(name).find_map(at),
            None => at(Level::Any),
        }
    }
}
