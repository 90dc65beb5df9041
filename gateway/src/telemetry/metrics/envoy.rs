//! The metrics of Envoy that dashboards know, with Istio's labels: `cluster_name`,
//! `response_code`, `listener_address`, `http_conn_manager_prefix`.

use super::{
    ClusterSource,
    family::{Family, desc, label},
};
use crate::{
    cluster::{Cluster, Resource},
    telemetry::{
        ListenerStats, Telemetry,
        series::{ClusterCounters, ListenerCounters, Local, Series},
        udp::NAMES as UDP,
    },
};
use prometheus::{
    core::{Collector, Desc},
    proto::{LabelPair, MetricFamily},
};
use std::{
    collections::BTreeMap,
    sync::{Arc, atomic::Ordering::Relaxed},
};

/// `envoy_cluster_…`, for clusters that have been used.
pub(super) struct Clusters {
    telemetry: Arc<Telemetry>,
    clusters: ClusterSource,
    desc: Desc,
}

/// Events of one cluster, summed over workers, in the order of [`EVENTS`].
#[derive(Default)]
struct Sum {
    events: [u64; 10],
    codes: BTreeMap<u16, u64>,
}

/// Names and meanings of [`Sum::events`].
const EVENTS: [(&str, &str); 10] = [
    ("envoy_cluster_upstream_rq_total", "Tries sent."),
    ("envoy_cluster_upstream_rq_retry", "Tries after the first."),
    (
        "envoy_cluster_upstream_rq_retry_success",
        "Retried requests that were served.",
    ),
    (
        "envoy_cluster_upstream_rq_retry_limit_exceeded",
        "Requests whose retries ran out.",
    ),
    (
        "envoy_cluster_upstream_rq_timeout",
        "Requests over the route's time limit.",
    ),
    (
        "envoy_cluster_upstream_rq_per_try_timeout",
        "Requests over the time limit of a try.",
    ),
    (
        "envoy_cluster_upstream_rq_pending_overflow",
        "Requests refused by a circuit breaker.",
    ),
    (
        "envoy_cluster_upstream_cx_none_healthy",
        "Requests without a healthy endpoint.",
    ),
    (
        "envoy_cluster_upstream_cx_protocol_error",
        "Answers that break the protocol.",
    ),
    (
        "envoy_cluster_upstream_cx_destroy_remote_with_active_rq",
        "Connections closed by the upstream during a request.",
    ),
];

impl Sum {
    fn add(&mut self, counters: &ClusterCounters, series: &[Arc<Series>]) {
        let events = &counters.events;
        let now = [
            &events.rq_total,
            &events.rq_retry,
            &events.rq_retry_success,
            &events.rq_retry_limit_exceeded,
            &events.rq_timeout,
            &events.rq_per_try_timeout,
            &events.rq_pending_overflow,
            &events.cx_none_healthy,
            &events.cx_protocol_error,
            &events.cx_destroy_remote_with_active_rq,
        ]
        .map(Local::get);
        for (sum, count) in self.events.iter_mut().zip(now) {
            *sum += count;
        }
        for one in series {
            *self.codes.entry(one.key.status).or_default() += one.requests.get();
        }
    }
}

impl Clusters {
    pub(super) fn new(
        telemetry: Arc<Telemetry>,
        clusters: ClusterSource,
    ) -> prometheus::Result<Self> {
        Ok(Self {
            telemetry,
            clusters,
            desc: desc("envoy_cluster_upstream_rq_total", "Tries sent.")?,
        })
    }

    fn requests(&self) -> Vec<MetricFamily> {
        let mut sums: BTreeMap<Arc<str>, Sum> = BTreeMap::new();
        let shards = self.telemetry.shards.lock().clone();
        for shard in shards {
            for (counters, series) in shard.with_counters(|counters| counters.clusters()) {
                if !counters.name.is_empty() {
                    let sum = sums.entry(Arc::clone(&counters.name)).or_default();
                    sum.add(&counters, &series);
                }
            }
        }
        let mut events = EVENTS.map(|(name, help)| Family::counter(name, help));
        let mut completed = Family::counter(
            "envoy_cluster_upstream_rq_completed",
            "Requests that were answered, also by the gateway itself.",
        );
        let mut codes = Family::counter(
            "envoy_cluster_upstream_rq",
            "Requests by the status of their answer.",
        );
        for (name, sum) in sums {
            let labels = vec![label("cluster_name", &*name)];
            for (index, (family, value)) in events.iter_mut().zip(sum.events).enumerate() {
                // The first is always there, so that rates start at 0.
                if index == 0 {
                    family.value(labels.clone(), value);
                } else {
                    family.nonzero(&labels, value);
                }
            }
            completed.value(labels.clone(), sum.codes.values().sum());
            let mut classes: BTreeMap<u16, u64> = BTreeMap::new();
            for (&code, &count) in &sum.codes {
                *classes.entry(code / 100).or_default() += count;
                let code = label("response_code", code.to_string());
                codes.value([labels.clone(), vec![code]].concat(), count);
            }
            for (class, count) in classes {
                let class = label("response_code_class", format!("{class}xx"));
                codes.value([labels.clone(), vec![class]].concat(), count);
            }
        }
        events
            .into_iter()
            .chain([completed, codes])
            .map(Family::build)
            .collect()
    }

    fn connections(&self) -> Vec<MetricFamily> {
        let mut gauges = GAUGES.map(|(name, help)| Family::gauge(name, help));
        let mut counters = CONNECTIONS.map(|(name, help)| Family::counter(name, help));
        for cluster in (self.clusters)().values() {
            let values = connection_counters(cluster);
            if values.iter().all(|&value| value == 0) {
                continue;
            }
            let labels = vec![label("cluster_name", &*cluster.name)];
            for (family, value) in gauges.iter_mut().zip(gauge_values(cluster)) {
                family.value(labels.clone(), value);
            }
            for (index, (family, value)) in counters.iter_mut().zip(values).enumerate() {
                if index == 0 {
                    family.value(labels.clone(), value);
                } else {
                    family.nonzero(&labels, value);
                }
            }
        }
        gauges
            .into_iter()
            .chain(counters)
            .map(Family::build)
            .collect()
    }
}

const GAUGES: [(&str, &str); 5] = [
    ("envoy_cluster_upstream_cx_active", "Open connections."),
    ("envoy_cluster_upstream_rq_active", "Requests in flight."),
    ("envoy_cluster_membership_total", "Endpoints."),
    (
        "envoy_cluster_membership_healthy",
        "Endpoints that may be chosen.",
    ),
    (
        "envoy_cluster_outlier_detection_ejections_active",
        "Endpoints out of service.",
    ),
];

fn gauge_values(cluster: &Cluster) -> [u64; 5] {
    let members = cluster.state.endpoints();
    let healthy = members.iter().filter(|member| member.is_available());
    let active = members
        .iter()
        .map(|member| u64::from(member.endpoint.state.active.load(Relaxed)));
    [
        cluster.state.usage().get(Resource::Connections).into(),
        active.sum(),
        count(members.len()),
        count(healthy.count()),
        count(cluster.state.ejections().0),
    ]
}

const CONNECTIONS: [(&str, &str); 11] = [
    ("envoy_cluster_upstream_cx_total", "Connections opened."),
    (
        "envoy_cluster_upstream_cx_http1_total",
        "HTTP/1.1 connections opened.",
    ),
    (
        "envoy_cluster_upstream_cx_http2_total",
        "HTTP/2 connections opened.",
    ),
    (
        "envoy_cluster_upstream_cx_connect_fail",
        "Connections that could not be opened.",
    ),
    (
        "envoy_cluster_upstream_cx_connect_timeout",
        "Connections not opened in time.",
    ),
    (
        "envoy_cluster_upstream_cx_overflow",
        "Connections refused by the circuit breaker.",
    ),
    (
        "envoy_cluster_ssl_fail_verify_error",
        "Certificates that could not be verified.",
    ),
    ("envoy_cluster_update_success", "Names that were resolved."),
    (
        "envoy_cluster_update_failure",
        "Names that could not be resolved.",
    ),
    (
        "envoy_cluster_outlier_detection_ejections_enforced_total",
        "Ejections.",
    ),
    (
        "envoy_cluster_outlier_detection_ejections_overflow",
        "Ejections forbidden by the largest share.",
    ),
];

fn connection_counters(cluster: &Cluster) -> [u64; 11] {
    let stats = &cluster.state.stats;
    let (_, ejections, overflow) = cluster.state.ejections();
    [
        stats.cx_total.get(),
        stats.cx_http1_total.get(),
        stats.cx_http2_total.get(),
        stats.cx_connect_fail.get(),
        stats.cx_connect_timeout.get(),
        stats.cx_overflow.get(),
        stats.ssl_fail_verify_error.get(),
        stats.update_success.get(),
        stats.update_failure.get(),
        ejections,
        overflow,
    ]
}

fn count(number: usize) -> u64 {
    u64::try_from(number).unwrap_or(u64::MAX)
}

impl Collector for Clusters {
    fn desc(&self) -> Vec<&Desc> {
        vec![&self.desc]
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let mut families = self.requests();
        families.extend(self.connections());
        families
    }
}

/// `envoy_listener_…` and `envoy_http_…`.
pub(super) struct Listeners {
    telemetry: Arc<Telemetry>,
    desc: Desc,
}

const LISTENER: [(&str, &str); 7] = [
    (
        "envoy_listener_downstream_cx_total",
        "Connections accepted.",
    ),
    (
        "envoy_listener_downstream_cx_overflow",
        "Connections refused by the limit.",
    ),
    (
        "envoy_listener_no_filter_chain_match",
        "Connections that match no filter chain.",
    ),
    (
        "envoy_listener_ssl_handshake",
        "TLS handshakes that ended well.",
    ),
    (
        "envoy_listener_ssl_connection_error",
        "TLS handshakes that failed.",
    ),
    (
        "envoy_listener_downstream_listener_filter_error",
        "Connections without the PROXY header they must have.",
    ),
    (
        "gwanmun_listener_restarts_total",
        "Panics of the loop that accepts connections, which goes on.",
    ),
];

const HTTP: [(&str, &str); 8] = [
    ("envoy_http_downstream_rq_completed", "Requests answered."),
    ("envoy_http_no_route", "Requests no route matches."),
    (
        "envoy_http_no_cluster",
        "Requests whose cluster is unknown.",
    ),
    (
        "envoy_http_rq_direct_response",
        "Redirects and configured answers.",
    ),
    (
        "envoy_http_downstream_rq_too_large",
        "Request bodies over the limit.",
    ),
    (
        "envoy_http_downstream_rq_failed_path_normalization",
        "Paths that cannot be normalised.",
    ),
    (
        "envoy_http_downstream_cx_protocol_error",
        "Requests that break the protocol.",
    ),
    (
        "envoy_http_downstream_rq_rx_reset",
        "Requests abandoned by the client.",
    ),
];

impl Listeners {
    pub(super) fn new(telemetry: Arc<Telemetry>) -> prometheus::Result<Self> {
        Ok(Self {
            telemetry,
            desc: desc(
                "envoy_listener_downstream_cx_total",
                "Connections accepted.",
            )?,
        })
    }

    /// Forgets what was counted about listeners that are gone.
    fn forget_others(&self, listeners: &[Arc<ListenerStats>]) {
        let shards = self.telemetry.shards.lock().clone();
        for shard in shards {
            shard.with_counters(|counters| {
                counters.retain_listeners(|id| listeners.iter().any(|one| one.id == id));
            });
        }
    }

    fn shards_of(&self, listener: &ListenerStats) -> Vec<Arc<ListenerCounters>> {
        let shards = self.telemetry.shards.lock().clone();
        shards
            .iter()
            .filter_map(|shard| shard.with_counters(|counters| counters.listener(listener.id)))
            .collect()
    }
}

/// Sums over workers: by class of status, and the others of [`HTTP`].
fn http_values(shards: &[Arc<ListenerCounters>]) -> ([u64; 6], [u64; 8]) {
    let mut classes = [0; 6];
    let mut values = [0; 8];
    for shard in shards {
        for (sum, class) in classes.iter_mut().zip(&shard.classes) {
            *sum += class.get();
        }
        let now = [
            shard.classes.iter().map(Local::get).sum(),
            shard.no_route.get(),
            shard.no_cluster.get(),
            shard.direct_response.get(),
            shard.too_large.get(),
            shard.failed_path_normalization.get(),
            shard.protocol_error.get(),
            shard.rx_reset.get(),
        ];
        for (sum, value) in values.iter_mut().zip(now) {
            *sum += value;
        }
    }
    (classes, values)
}

impl Collector for Listeners {
    fn desc(&self) -> Vec<&Desc> {
        vec![&self.desc]
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let listeners = self.telemetry.listeners();
        self.forget_others(&listeners);
        let mut active = Family::gauge("envoy_listener_downstream_cx_active", "Open connections.");
        let mut counters = LISTENER.map(|(name, help)| Family::counter(name, help));
        let mut udp = UDP.map(|(name, help)| Family::counter(name, help));
        let mut http = HTTP.map(|(name, help)| Family::counter(name, help));
        let mut classes = Family::counter(
            "envoy_http_downstream_rq",
            "Requests by the class of their answer's status.",
        );
        for listener in listeners {
            let labels = vec![label("listener_address", &listener.address)];
            active.value(labels.clone(), listener.active());
            for (family, value) in counters.iter_mut().zip([
                listener.connections.load(Relaxed),
                listener.overflows.load(Relaxed),
                listener.no_filter_chain.load(Relaxed),
                listener.handshakes.load(Relaxed),
                listener.handshake_errors.load(Relaxed),
                listener.proxy_headers_refused.load(Relaxed),
                listener.restarts.load(Relaxed),
            ]) {
                family.value(labels.clone(), value);
            }
            for (family, value) in udp
                .iter_mut()
                .zip(listener.udp.read().into_iter().flatten())
            {
                family.value(labels.clone(), value);
            }
            let prefix = format!("outbound_{}", listener.address);
            let labels: Vec<LabelPair> = vec![label("http_conn_manager_prefix", prefix)];
            let (by_class, values) = http_values(&self.shards_of(&listener));
            for (index, (family, value)) in http.iter_mut().zip(values).enumerate() {
                if index == 0 {
                    family.value(labels.clone(), value);
                } else {
                    family.nonzero(&labels, value);
                }
            }
            for (class, value) in by_class.into_iter().enumerate().skip(1) {
                let class = label("response_code_class", format!("{class}xx"));
                classes.nonzero(&[labels.clone(), vec![class]].concat(), value);
            }
        }
        [active, classes]
            .into_iter()
            .chain(counters)
            .chain(udp)
            .chain(http)
            .map(Family::build)
            .collect()
    }
}
