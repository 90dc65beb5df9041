//! What runs in the background for a cluster, on the control runtime.

use super::{
    dns::{Dns, Name},
    state::State,
};
use futures_util::future::select_all;
use gwanmun_ir::{DnsHost, DnsMode, Endpoint, EndpointHealth, EndpointIdentity, OutlierDetection};
use std::{
    collections::HashMap,
    net::{IpAddr, SocketAddr},
    sync::{Arc, Weak},
    time::{Duration, Instant},
};
use tokio::task::AbortHandle;

/// A background task that ends when this is dropped.
pub(super) struct Task(AbortHandle);

impl Drop for Task {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Keeps the endpoints of a cluster equal to what `hosts` resolve to.
pub(super) fn resolve(
    control: &tokio::runtime::Handle,
    dns: &Arc<Dns>,
    state: &Arc<State>,
    (hosts, mode): (&[DnsHost], DnsMode),
) -> Task {
    let sources: Vec<_> = hosts
        .iter()
        .map(|host| Source {
            port: host.port,
            weight: host.weight,
            addresses: match literal(&host.host) {
                Some(address) => Addresses::Fixed(address),
                None => Addresses::Resolved(dns.watch(&host.host)),
            },
        })
        .collect();
    state.set_warming(!sources.iter().all(Source::is_known));
    apply(state, &sources, mode);
    let state = Arc::downgrade(state);
    Task(control.spawn(follow(state, sources, mode)).abort_handle())
}

/// Where some endpoints come from.
struct Source {
    port: u16,
    weight: u32,
    addresses: Addresses,
}

enum Addresses {
    Fixed(IpAddr),
    Resolved(Arc<Name>),
}

impl Source {
    fn is_known(&self) -> bool {
        match &self.addresses {
            Addresses::Fixed(_) => true,
            Addresses::Resolved(name) => name.resolution.borrow().addresses.is_some(),
        }
    }

    /// Addresses of the other family, which stand by.
    fn others(&self) -> Vec<IpAddr> {
        match &self.addresses {
            Addresses::Fixed(_) => Vec::new(),
            Addresses::Resolved(name) => name.resolution.borrow().others.to_vec(),
        }
    }

    fn addresses(&self) -> Vec<IpAddr> {
        match &self.addresses {
            Addresses::Fixed(address) => vec![*address],
            Addresses::Resolved(name) => name
                .resolution
                .borrow()
                .addresses
                .as_deref()
                .map(<[_]>::to_vec)
                .unwrap_or_default(),
        }
    }
}

/// The address that `host` is, perhaps in brackets.
fn literal(host: &str) -> Option<IpAddr> {
    host.trim_start_matches('[')
        .trim_end_matches(']')
        .parse()
        .ok()
}

async fn follow(state: Weak<State>, sources: Vec<Source>, mode: DnsMode) {
    let mut receivers: Vec<_> = sources
        .iter()
        .filter_map(|source| match &source.addresses {
            Addresses::Fixed(_) => None,
            Addresses::Resolved(name) => Some(name.resolution.clone()),
        })
        .collect();
    if receivers.is_empty() {
        return;
    }
    let mut before: Vec<_> = receivers
        .iter()
        .map(|receiver| receiver.borrow().clone())
        .collect();
    loop {
        {
            let Some(state) = state.upgrade() else {
                return;
            };
            for (receiver, before) in receivers.iter_mut().zip(&mut before) {
                let now = receiver.borrow_and_update().clone();
                let stats = &state.stats;
                stats.update_success.add(now.answers - before.answers);
                stats.update_failure.add(now.failures - before.failures);
                *before = now;
            }
            apply(&state, &sources, mode);
            if sources.iter().all(Source::is_known) {
                state.set_warming(false);
            }
        }
        let changes = receivers
            .iter_mut()
            .map(|receiver| Box::pin(receiver.changed()));
        if select_all(changes).await.0.is_err() {
            return;
        }
    }
}

/// Sets the endpoints once something is known; until then those of before stay.
fn apply(state: &State, sources: &[Source], mode: DnsMode) {
    if !sources.is_empty() && !sources.iter().any(Source::is_known) {
        return;
    }
    let mut endpoints = Vec::new();
    let mut standbys = HashMap::new();
    for source in sources {
        let others = source.others();
        for (address, other) in source.addresses().iter().zip(others.iter().cycle()) {
            let standby = SocketAddr::new(*other, source.port);
            standbys.insert(SocketAddr::new(*address, source.port), standby);
        }
        for address in source.addresses() {
            let chosen = mode == DnsMode::Strict || endpoints.is_empty();
            endpoints.push(Endpoint {
                address: SocketAddr::new(address, source.port),
                weight: source.weight,
                // Connections to the other addresses of a logical name stay usable.
                health: if chosen {
                    EndpointHealth::Healthy
                } else {
                    EndpointHealth::Unhealthy
                },
                identity: EndpointIdentity::default(),
            });
        }
    }
    state.set_standbys(standbys);
    state.set_endpoints(&endpoints);
}

/// Brings ejected endpoints back in time. Without settings, brings all back now.
pub(super) fn sweep(
    control: &tokio::runtime::Handle,
    state: &Arc<State>,
    settings: Option<OutlierDetection>,
) -> Option<Task> {
    let Some(settings) = settings else {
        state.sweep(None, Instant::now());
        return None;
    };
    let weak = Arc::downgrade(state);
    let every = Duration::from_millis(settings.interval_ms.max(10));
    let task = control.spawn(async move {
        loop {
            tokio::time::sleep(every).await;
            let Some(state) = weak.upgrade() else {
                return;
            };
            state.sweep(Some(&settings), Instant::now());
        }
    });
    Some(Task(task.abort_handle()))
}
