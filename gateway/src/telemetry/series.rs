//! Request counters of one worker: who is counted where.
//!
//! Each counter has one writer, so counting is a relaxed load and a store. The collector reads
//! whatever is there. What is looked up per request is a map by cluster id, then a short list.

use super::{
    Exchange, Flag, ResponseFlags,
    tcp::{Connections, TcpSeries},
};
use crate::cluster::{Cluster, Endpoint, State};
use foldhash::fast::RandomState;
use gwanmun_ir::{ClusterIdentity, EndpointIdentity};
use std::{
    collections::HashMap,
    sync::{
        Arc, Weak,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

/// Distinct series of one cluster and worker; a cluster that answers with any status at all must
/// not fill the memory.
const MOST_SERIES: usize = 256;

/// Upper bounds of Envoy's histogram buckets, except 0.5, which is the first. Without unit:
/// milliseconds or bytes.
pub(super) const BOUNDS: [u64; 18] = [
    1, 5, 10, 25, 50, 100, 250, 500, 1000, 2500, 5000, 10_000, 30_000, 60_000, 300_000, 600_000,
    1_800_000, 3_600_000,
];

/// A counter with one writer.
#[derive(Debug, Default)]
pub(super) struct Local(AtomicU64);

impl Local {
    /// Adds. Only its worker may call this.
    pub(super) fn add(&self, count: u64) {
        self.0
            .store(self.0.load(Relaxed).wrapping_add(count), Relaxed);
    }

    pub(super) fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

/// A histogram with one writer and Envoy's buckets.
#[derive(Debug, Default)]
pub(super) struct Histogram {
    /// Up to 0.5, up to each of [`BOUNDS`], above: not cumulative.
    buckets: [Local; 20],
    sum: Local,
}

impl Histogram {
    /// Records `value`, given in thousandths.
    fn record(&self, thousandths: u64) {
        let index = if thousandths <= 500 {
            0
        } else {
            1 + BOUNDS.partition_point(|&bound| bound.saturating_mul(1000) < thousandths)
        };
        if let Some(bucket) = self.buckets.get(index) {
            bucket.add(1);
        }
        self.sum.add(thousandths);
    }

    /// Values per bucket, and their sum in thousandths.
    pub(super) fn read(&self) -> ([u64; 20], u64) {
        (self.buckets.each_ref().map(Local::get), self.sum.get())
    }
}

/// What distinguishes requests to one cluster in `istio_*` metrics.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(super) struct SeriesKey {
    /// Hash of the endpoint's identity.
    identity: u64,
    pub(super) flags: ResponseFlags,
    pub(super) status: u16,
    /// Status of a gRPC call that has one.
    pub(super) grpc_status: Option<u32>,
    pub(super) grpc: bool,
}

/// `istio_*` metrics of requests that have the same labels.
#[derive(Debug)]
pub(super) struct Series {
    pub(super) key: SeriesKey,
    pub(super) endpoint: Option<Arc<EndpointIdentity>>,
    pub(super) requests: Local,
    /// Milliseconds.
    pub(super) duration: Histogram,
    pub(super) request_bytes: Histogram,
    pub(super) response_bytes: Histogram,
}

/// Events of one cluster, named as Envoy's `envoy_cluster_upstream_…`.
#[derive(Debug, Default)]
pub(super) struct Events {
    pub(super) rq_total: Local,
    pub(super) rq_retry: Local,
    pub(super) rq_retry_success: Local,
    pub(super) rq_retry_limit_exceeded: Local,
    pub(super) rq_timeout: Local,
    pub(super) rq_per_try_timeout: Local,
    pub(super) rq_pending_overflow: Local,
    pub(super) cx_none_healthy: Local,
    pub(super) cx_protocol_error: Local,
    pub(super) cx_destroy_remote_with_active_rq: Local,
    pub(super) series_dropped: Local,
}

/// What one worker knows about one cluster, or about requests without one.
#[derive(Debug)]
pub(super) struct ClusterCounters {
    /// What metrics call the cluster; empty where there is none.
    pub(super) name: Arc<str>,
    pub(super) identity: ClusterIdentity,
    pub(super) events: Events,
    pub(super) connections: Connections,
}

#[derive(Debug)]
struct Entry {
    counters: Arc<ClusterCounters>,
    /// Gone when the cluster is.
    state: Option<Weak<State>>,
    series: Vec<Arc<Series>>,
}

/// What one worker counts about one listener, named as Envoy's `envoy_http_downstream_…`.
#[derive(Debug, Default)]
pub(super) struct ListenerCounters {
    /// Answers by the first digit of their status; 0 counts requests without an answer.
    pub(super) classes: [Local; 6],
    pub(super) no_route: Local,
    pub(super) no_cluster: Local,
    pub(super) direct_response: Local,
    pub(super) too_large: Local,
    pub(super) failed_path_normalization: Local,
    pub(super) protocol_error: Local,
    pub(super) rx_reset: Local,
}

/// All counters of one worker.
#[derive(Debug, Default)]
pub(super) struct Counters {
    clusters: HashMap<u64, Entry, RandomState>,
    listeners: HashMap<u64, Arc<ListenerCounters>, RandomState>,
}

/// A cluster's counters and series, to be read.
pub(super) type ClusterView = (Arc<ClusterCounters>, Vec<Arc<Series>>);

impl Counters {
    /// Counts a request that ended.
    pub(super) fn count(&mut self, x: &Exchange<'_>) {
        if let Some(listener) = x.listener {
            let counters = self.listeners.entry(listener.id).or_default();
            count_listener(counters, x);
        }
        if let Some(end) = x.connection {
            if let Some(cluster) = x.cluster {
                let counters = &self.entry(Some(cluster)).counters;
                counters.connections.ended(x, end);
                if x.flags.contains(Flag::Uh) {
                    counters.events.cx_none_healthy.add(1);
                }
            }
            return;
        }
        if x.method.is_none() {
            return;
        }
        let entry = self.entry(x.cluster);
        count_events(&entry.counters.events, x);
        entry.count(x);
    }

    /// Counts a connection that carries bytes as open.
    pub(super) fn opened(&mut self, cluster: &Cluster, endpoint: &Endpoint) -> Arc<TcpSeries> {
        let entry = self.entry(Some(cluster));
        entry.counters.connections.opened(endpoint)
    }

    fn entry(&mut self, cluster: Option<&Cluster>) -> &mut Entry {
        let id = cluster.map_or(0, |cluster| cluster.id);
        let entry = self.clusters.entry(id);
        entry.or_insert_with(|| Entry::new(cluster))
    }

    /// Everything about clusters, to be read after the lock is gone. Forgets clusters that are
    /// gone.
    pub(super) fn clusters(&mut self) -> Vec<ClusterView> {
        self.clusters.retain(|_, entry| {
            let gone = entry
                .state
                .as_ref()
                .is_some_and(|state| state.strong_count() == 0);
            !gone
        });
        self.clusters
            .values()
            .map(|entry| (Arc::clone(&entry.counters), entry.series.clone()))
            .collect()
    }

    /// The counters of a listener, to be read.
    pub(super) fn listener(&self, id: u64) -> Option<Arc<ListenerCounters>> {
        self.listeners.get(&id).cloned()
    }

    /// Forgets listeners other than these.
    pub(super) fn retain_listeners(&mut self, live: impl Fn(u64) -> bool) {
        self.listeners.retain(|&id, _| live(id));
    }
}

impl Entry {
    fn new(cluster: Option<&Cluster>) -> Self {
        Self {
            counters: Arc::new(ClusterCounters {
                name: cluster.map_or_else(|| Arc::from(""), |cluster| Arc::clone(&cluster.name)),
                identity: cluster
                    .map(|cluster| cluster.config.identity.clone())
                    .unwrap_or_default(),
                events: Events::default(),
                connections: Connections::default(),
            }),
            state: cluster.map(|cluster| Arc::downgrade(&cluster.state)),
            series: Vec::new(),
        }
    }

    fn count(&mut self, x: &Exchange<'_>) {
        let key = SeriesKey {
            identity: x.endpoint.map_or(0, |endpoint| endpoint.identity_hash),
            flags: x.flags,
            status: x.status,
            grpc_status: x.grpc_status.filter(|_| x.grpc),
            grpc: x.grpc,
        };
        let position = match self.series.iter().position(|series| series.key == key) {
            Some(position) => position,
            None if self.series.len() >= MOST_SERIES => {
                self.counters.events.series_dropped.add(1);
                return;
            }
            None => {
                self.series.push(Arc::new(Series {
                    key,
                    endpoint: x.endpoint.map(|endpoint| Arc::clone(&endpoint.identity)),
                    requests: Local::default(),
                    duration: Histogram::default(),
                    request_bytes: Histogram::default(),
                    response_bytes: Histogram::default(),
                }));
                self.series.len() - 1
            }
        };
        if let Some(series) = self.series.get(position) {
            series.requests.add(1);
            series
                .duration
                .record(micros(x.end.saturating_duration_since(x.start)));
            series
                .request_bytes
                .record(x.bytes_received.saturating_mul(1000));
            series
                .response_bytes
                .record(x.bytes_sent.saturating_mul(1000));
        }
        // Frequent series wander to the front.
        if position > 0 {
            self.series.swap(position, position / 2);
        }
    }
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

fn count_events(events: &Events, x: &Exchange<'_>) {
    if x.tries > 0 {
        events.rq_total.add(x.tries.into());
    }
    let retries = x.tries.saturating_sub(1);
    if retries > 0 {
        events.rq_retry.add(retries.into());
        if !x.flags.contains(Flag::Urx) && x.details == Some("via_upstream") {
            events.rq_retry_success.add(1);
        }
    }
    if x.flags.is_empty() {
        return;
    }
    for flag in x.flags.iter() {
        match flag {
            Flag::Urx => events.rq_retry_limit_exceeded.add(1),
            Flag::Ut if x.details == Some("upstream_per_try_timeout") => {
                events.rq_per_try_timeout.add(1);
            }
            Flag::Ut => events.rq_timeout.add(1),
            Flag::Uo => events.rq_pending_overflow.add(1),
            Flag::Uh => events.cx_none_healthy.add(1),
            Flag::Upe => events.cx_protocol_error.add(1),
            Flag::Uc => events.cx_destroy_remote_with_active_rq.add(1),
            Flag::Dc
            | Flag::Di
            | Flag::Dpe
            | Flag::Dr
            | Flag::Fi
            | Flag::Nc
            | Flag::Nr
            | Flag::Rl
            | Flag::Uaex
            | Flag::Uf
            | Flag::Ur => {}
        }
    }
}

fn count_listener(counters: &ListenerCounters, x: &Exchange<'_>) {
    if x.version.is_none() {
        return;
    }
    let class = usize::from(x.status / 100);
    if let Some(counter) = counters.classes.get(class).or(counters.classes.first()) {
        counter.add(1);
    }
    match x.details {
        Some("route_not_found") => counters.no_route.add(1),
        Some("cluster_not_found") => counters.no_cluster.add(1),
        Some("direct_response") => counters.direct_response.add(1),
        Some("request_payload_too_large") => counters.too_large.add(1),
        Some("path_normalization_failed") => counters.failed_path_normalization.add(1),
        Some(_) | None => {}
    }
    if x.flags.contains(Flag::Dpe) {
        counters.protocol_error.add(1);
    }
    if x.flags.contains(Flag::Dc) {
        counters.rx_reset.add(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::{Cluster, Endpoint};
    use std::time::Instant;

    fn exchange<'a>(cluster: Option<&'a Cluster>, endpoint: Option<&'a Endpoint>) -> Exchange<'a> {
        let address = std::net::SocketAddr::from(([127, 0, 0, 1], 80));
        Exchange {
            method: Some("GET"),
            status: 200,
            details: Some("via_upstream"),
            cluster,
            endpoint,
            tries: 1,
            ..Exchange::new(Instant::now(), address, address)
        }
    }

    #[test]
    fn requests_are_told_apart_by_status_flags_and_grpc() {
        let cluster = Cluster::for_test("a");
        let endpoint = Endpoint::for_test(1);
        let mut counters = Counters::default();
        let base = || exchange(Some(&cluster), Some(&endpoint));
        for x in [
            base(),
            base(),
            Exchange {
                status: 503,
                flags: ResponseFlags::one(Flag::Uf),
                ..base()
            },
            Exchange {
                grpc: true,
                grpc_status: Some(14),
                ..base()
            },
        ] {
            counters.count(&x);
        }
        let views = counters.clusters();
        let [(_, series)] = views.as_slice() else {
            panic!("{views:?}");
        };
        let mut counts: Vec<_> = series
            .iter()
            .map(|series| {
                (
                    series.key.status,
                    series.key.grpc_status,
                    series.requests.get(),
                )
            })
            .collect();
        counts.sort_unstable();
        assert_eq!(counts, [(200, None, 2), (200, Some(14), 1), (503, None, 1)]);
    }

    #[test]
    fn a_cluster_that_answers_anything_is_bounded() {
        let cluster = Cluster::for_test("a");
        let mut counters = Counters::default();
        for status in 0..1000 {
            counters.count(&Exchange {
                status,
                ..exchange(Some(&cluster), None)
            });
        }
        let views = counters.clusters();
        let (events, series) = &views[0];
        assert_eq!(series.len(), MOST_SERIES);
        assert_eq!(events.events.series_dropped.get(), 1000 - 256);
    }

    #[test]
    fn clusters_that_are_gone_are_forgotten() {
        let cluster = Cluster::for_test("a");
        let mut counters = Counters::default();
        counters.count(&exchange(Some(&cluster), None));
        counters.count(&exchange(None, None));
        assert_eq!(counters.clusters().len(), 2);
        drop(cluster);
        assert_eq!(counters.clusters().len(), 1);
    }

    #[test]
    fn tries_and_flags_become_envoys_events() {
        let cluster = Cluster::for_test("a");
        let mut counters = Counters::default();
        let flags = ResponseFlags::one(Flag::Urx).with(Flag::Uf);
        counters.count(&Exchange {
            tries: 3,
            flags,
            details: None,
            ..exchange(Some(&cluster), None)
        });
        counters.count(&Exchange {
            tries: 2,
            ..exchange(Some(&cluster), None)
        });
        let views = counters.clusters();
        let events = &views[0].0.events;
        assert_eq!(events.rq_total.get(), 5);
        assert_eq!(events.rq_retry.get(), 3);
        assert_eq!(events.rq_retry_success.get(), 1);
        assert_eq!(events.rq_retry_limit_exceeded.get(), 1);
    }

    #[test]
    fn bucket_bounds_are_inclusive() {
        for (thousandths, bucket) in [
            (0, 0),
            (500, 0),
            (501, 1),
            (1000, 1),
            (1001, 2),
            (5000, 2),
            (3_600_000_000, 18),
            (3_600_000_001, 19),
        ] {
            let histogram = Histogram::default();
            histogram.record(thousandths);
            let (buckets, sum) = histogram.read();
            assert_eq!(buckets.iter().position(|&count| count == 1), Some(bucket));
            assert_eq!(sum, thousandths);
        }
    }
}
