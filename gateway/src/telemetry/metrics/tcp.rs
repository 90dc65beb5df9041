//! Connections that carry bytes: Istio's standard metrics, and Envoy's, labelled `tcp_prefix`.

use super::{
    family::{Family, desc, label},
    istio::{LABELS, Told, labelled},
};
use crate::telemetry::{
    Telemetry,
    series::ClusterCounters,
    tcp::{Connections, TcpSeries},
};
use prometheus::{
    core::{Collector, Desc},
    proto::{LabelPair, MetricFamily},
};
use std::{collections::BTreeMap, sync::Arc};

/// `istio_tcp_…` and `envoy_tcp_…`.
pub(super) struct Bytes {
    telemetry: Arc<Telemetry>,
    desc: Desc,
}

const ISTIO: [(&str, &str); 4] = [
    ("istio_tcp_connections_opened_total", "Connections opened."),
    ("istio_tcp_connections_closed_total", "Connections closed."),
    (
        "istio_tcp_received_bytes_total",
        "Bytes received from clients.",
    ),
    ("istio_tcp_sent_bytes_total", "Bytes sent to clients."),
];

const ENVOY: [(&str, &str); 4] = [
    ("envoy_tcp_downstream_cx_total", "Connections of clients."),
    (
        "envoy_tcp_downstream_cx_rx_bytes_total",
        "Bytes received from clients.",
    ),
    (
        "envoy_tcp_downstream_cx_tx_bytes_total",
        "Bytes sent to clients.",
    ),
    (
        "envoy_tcp_idle_timeout",
        "Connections closed because nobody said anything for too long.",
    ),
];

/// All views, summed over workers.
#[derive(Default)]
struct Sums {
    istio: BTreeMap<[String; 25], [u64; 4]>,
    envoy: BTreeMap<Arc<str>, [u64; 4]>,
    exceeded: BTreeMap<Arc<str>, u64>,
}

impl Bytes {
    pub(super) fn new(telemetry: Arc<Telemetry>) -> prometheus::Result<Self> {
        Ok(Self {
            telemetry,
            desc: desc("istio_tcp_connections_opened_total", "Connections opened.")?,
        })
    }

    fn sums(&self) -> Sums {
        let mut sums = Sums::default();
        let shards = self.telemetry.shards.lock().clone();
        for shard in shards {
            for (cluster, _) in shard.with_counters(|counters| counters.clusters()) {
                if cluster.connections.total.get() > 0 {
                    self.add(&mut sums, &cluster);
                }
            }
        }
        sums
    }

    fn add(&self, sums: &mut Sums, cluster: &ClusterCounters) {
        let Connections {
            total,
            idle_timeout,
            attempts_exceeded,
            ..
        } = &cluster.connections;
        let (mut rx, mut tx) = (0, 0);
        for one in cluster.connections.all() {
            let now = read(&one);
            let [_, _, received, sent] = now;
            rx += received;
            tx += sent;
            let told = Told {
                protocol: "tcp",
                code: String::new(),
                grpc: String::new(),
                flags: one.flags(),
            };
            let values = labelled(
                &self.telemetry.workload,
                cluster,
                one.endpoint.as_deref(),
                told,
            );
            plus(sums.istio.entry(values).or_default(), now);
        }
        let now = [total.get(), rx, tx, idle_timeout.get()];
        plus(
            sums.envoy.entry(Arc::clone(&cluster.name)).or_default(),
            now,
        );
        let exceeded = sums.exceeded.entry(Arc::clone(&cluster.name)).or_default();
        *exceeded += attempts_exceeded.get();
    }
}

fn read(series: &TcpSeries) -> [u64; 4] {
    [
        series.opened.get(),
        series.closed.get(),
        series.received.get(),
        series.sent.get(),
    ]
}

fn plus(sum: &mut [u64; 4], now: [u64; 4]) {
    for (sum, value) in sum.iter_mut().zip(now) {
        *sum += value;
    }
}

impl Collector for Bytes {
    fn desc(&self) -> Vec<&Desc> {
        vec![&self.desc]
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let sums = self.sums();
        let mut istio = ISTIO.map(|(name, help)| Family::counter(name, help));
        for (values, sum) in sums.istio {
            // Answers have codes; connections have none, not even unknown ones.
            let labels: Vec<LabelPair> = LABELS
                .into_iter()
                .zip(values)
                .filter(|(name, _)| !matches!(*name, "response_code" | "grpc_response_status"))
                .map(|(name, value)| label(name, value))
                .collect();
            for (family, value) in istio.iter_mut().zip(sum) {
                family.nonzero(&labels, value);
            }
        }
        let mut envoy = ENVOY.map(|(name, help)| Family::counter(name, help));
        for (name, sum) in sums.envoy {
            let labels = [label("tcp_prefix", &*name)];
            for (family, value) in envoy.iter_mut().zip(sum) {
                family.nonzero(&labels, value);
            }
        }
        let mut exceeded = Family::counter(
            "envoy_cluster_upstream_cx_connect_attempts_exceeded",
            "Connections of bytes whose tries ran out.",
        );
        for (name, value) in sums.exceeded {
            exceeded.nonzero(&[label("cluster_name", &*name)], value);
        }
        istio
            .into_iter()
            .chain(envoy)
            .chain([exceeded])
            .map(Family::build)
            .collect()
    }
}
