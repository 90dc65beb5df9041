//! One filter chain and its virtual hosts.

use super::CompiledRoute;
use crate::{
    listener::{Admission, ChainTable, DEFAULT_HTTP, Termination},
    route::{
        HostMap, Replaced, VirtualHost,
        l4::{CompiledL4Route, L4Table},
    },
};
use gwanmun_ir::{AppProtocol, FilterChain, Hostname, RouteKey};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

/// The routes of one virtual host, by key.
type HostRoutes = BTreeMap<RouteKey, Arc<CompiledRoute>>;

/// What happened to a virtual host.
pub(super) enum HostChange {
    /// Rules came, went or moved.
    Rebuild,
    /// Rules do something else with the same requests.
    Replace(Replaced),
}

/// One filter chain, perhaps not configured (yet), and the routes that name it.
#[derive(Default)]
pub(super) struct ChainState {
    /// The chain as configured.
    pub(super) ir: Option<Arc<FilterChain>>,
    /// The compiled chain; nothing while it is not configured.
    pub(super) table: Option<Arc<ChainTable>>,
    routes: BTreeMap<Option<Hostname>, HostRoutes>,
    hosts: Arc<HostMap<Arc<VirtualHost>>>,
    l4_routes: BTreeMap<RouteKey, Arc<CompiledL4Route>>,
    /// The table of `l4_routes`; nothing when they have changed.
    l4: Option<Arc<L4Table>>,
}

impl ChainState {
    /// Whether nothing names it any more.
    pub(super) fn is_empty(&self) -> bool {
        self.ir.is_none() && self.routes.is_empty() && self.l4_routes.is_empty()
    }

    /// Adds a route; `touched` learns the hosts to rebuild.
    pub(super) fn insert(
        &mut self,
        route: &Arc<CompiledRoute>,
        touched: &mut dyn FnMut(Option<Hostname>),
    ) {
        for host in hosts_of(route) {
            let routes = self.routes.entry(host.clone()).or_default();
            routes.insert(route.key.clone(), Arc::clone(route));
            touched(host);
        }
    }

    /// Removes a route; `touched` learns the hosts to rebuild.
    pub(super) fn remove(
        &mut self,
        route: &CompiledRoute,
        touched: &mut dyn FnMut(Option<Hostname>),
    ) {
        for host in hosts_of(route) {
            if let Some(routes) = self.routes.get_mut(&host) {
                routes.remove(&route.key);
            }
            touched(host);
        }
    }

    /// Puts newer versions of routes in the place of the older ones.
    pub(super) fn replace(
        &mut self,
        old: &CompiledRoute,
        new: &Arc<CompiledRoute>,
        touched: &mut dyn FnMut(Option<Hostname>),
    ) {
        for host in hosts_of(old) {
            let routes = self.routes.entry(host.clone()).or_default();
            routes.insert(new.key.clone(), Arc::clone(new));
            touched(host);
        }
    }

    /// Adds a layer 4 route, or replaces it.
    pub(super) fn insert_l4(&mut self, route: Arc<CompiledL4Route>) {
        self.l4_routes.insert(route.key.clone(), route);
        self.l4 = None;
    }

    /// Removes a layer 4 route.
    pub(super) fn remove_l4(&mut self, key: &RouteKey) {
        self.l4_routes.remove(key);
        self.l4 = None;
    }

    /// Brings one virtual host up to date with its routes.
    pub(super) fn build_host(&mut self, host: Option<&Hostname>, change: &HostChange) {
        let key = host.cloned();
        if let HostChange::Replace(replaced) = change {
            if let Some(old) = self.hosts.named(host) {
                let new = Arc::new(old.replacing(replaced));
                Arc::make_mut(&mut self.hosts).insert(host, new);
            }
            return;
        }
        let hosts = Arc::make_mut(&mut self.hosts);
        match self.routes.get(&key) {
            Some(routes) if !routes.is_empty() => {
                let built = VirtualHost::new(key, routes.values());
                hosts.insert(host, Arc::new(built));
            }
            Some(_) | None => {
                hosts.remove(host);
                self.routes.remove(&key);
            }
        }
    }

    /// Rebuilds the table from the virtual hosts and layer 4 routes.
    pub(super) fn build(
        &mut self,
        ir: &Arc<FilterChain>,
        (tls, admission): (Option<Arc<Termination>>, Arc<Admission>),
    ) -> Arc<ChainTable> {
        let http = match &ir.protocol {
            AppProtocol::Http(http) => http.clone(),
            AppProtocol::Tcp | AppProtocol::Udp => DEFAULT_HTTP,
        };
        let routes = &self.l4_routes;
        let l4 = self
            .l4
            .get_or_insert_with(|| Arc::new(L4Table::new(routes.values())));
        let table = Arc::new(ChainTable {
            chain: Arc::clone(ir),
            http,
            tls,
            admission,
            hosts: Arc::clone(&self.hosts),
            l4: Arc::clone(l4),
        });
        self.table = Some(Arc::clone(&table));
        table
    }
}

/// The hosts of a route, each once; nothing stands for any.
fn hosts_of(route: &CompiledRoute) -> BTreeSet<Option<Hostname>> {
    if route.ir.hostnames.is_empty() {
        return BTreeSet::from([None]);
    }
    let names = route.ir.hostnames.iter();
    names
        .map(|name| (!name.is_any()).then(|| name.clone()))
        .collect()
}
