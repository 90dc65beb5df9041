//! Istio's standard metrics, as a gateway reports them: `reporter="source"`.

use super::family::{Family, desc, label};
use crate::{
    Workload,
    telemetry::{
        ResponseFlags, Telemetry,
        series::{BOUNDS, ClusterCounters, Histogram, Series},
    },
};
use gwanmun_ir::EndpointIdentity;
use prometheus::{
    core::{Collector, Desc},
    proto::{LabelPair, MetricFamily},
};
use std::{collections::BTreeMap, sync::Arc};

/// `istio_requests_total` and the histograms beside it.
pub(super) struct Requests {
    telemetry: Arc<Telemetry>,
    desc: Desc,
}

/// One set of labels, summed over workers.
#[derive(Default)]
struct Sum {
    requests: u64,
    duration: ([u64; 20], u64),
    request_bytes: ([u64; 20], u64),
    response_bytes: ([u64; 20], u64),
}

impl Requests {
    pub(super) fn new(telemetry: Arc<Telemetry>) -> prometheus::Result<Self> {
        Ok(Self {
            telemetry,
            desc: desc("istio_requests_total", "Requests that ended.")?,
        })
    }

    fn sums(&self) -> BTreeMap<[String; 25], Sum> {
        let mut sums = BTreeMap::new();
        let shards = self.telemetry.shards.lock().clone();
        for shard in shards {
            for (cluster, series) in shard.with_counters(|counters| counters.clusters()) {
                for one in series {
                    let values = values(&self.telemetry.workload, &cluster, &one);
                    let sum: &mut Sum = sums.entry(values).or_default();
                    sum.requests += one.requests.get();
                    add(&mut sum.duration, &one.duration);
                    add(&mut sum.request_bytes, &one.request_bytes);
                    add(&mut sum.response_bytes, &one.response_bytes);
                }
            }
        }
        sums
    }
}

impl Collector for Requests {
    fn desc(&self) -> Vec<&Desc> {
        vec![&self.desc]
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let mut requests = Family::counter("istio_requests_total", "Requests that ended.");
        let mut duration = Family::histogram(
            "istio_request_duration_milliseconds",
            "Time from the first byte of the request to the last of the answer.",
        );
        let mut request_bytes =
            Family::histogram("istio_request_bytes", "Bytes of request bodies.");
        let mut response_bytes =
            Family::histogram("istio_response_bytes", "Bytes of response bodies.");
        for (values, sum) in self.sums() {
            let labels: Vec<LabelPair> = LABELS
                .into_iter()
                .zip(values)
                .map(|(name, value)| label(name, value))
                .collect();
            requests.value(labels.clone(), sum.requests);
            for (family, (counts, thousandths)) in [
                (&mut duration, sum.duration),
                (&mut request_bytes, sum.request_bytes),
                (&mut response_bytes, sum.response_bytes),
            ] {
                family.buckets(labels.clone(), bounds(), &counts, thousandths);
            }
        }
        let mut build = Family::gauge("istio_build", "Build information.");
        let tag = label("tag", env!("CARGO_PKG_VERSION"));
        build.value(vec![label("component", "proxy"), tag], 1);
        [requests, duration, request_bytes, response_bytes, build]
            .map(Family::build)
            .into()
    }
}

/// Upper bounds of the finite buckets.
fn bounds() -> impl Iterator<Item = f64> {
    std::iter::once(0.5).chain(BOUNDS.into_iter().map(super::family::float))
}

fn add(sum: &mut ([u64; 20], u64), histogram: &Histogram) {
    let (counts, thousandths) = histogram.read();
    for (sum, count) in sum.0.iter_mut().zip(counts) {
        *sum += count;
    }
    sum.1 += thousandths;
}

/// The labels, in the order of [`values`].
pub(super) const LABELS: [&str; 25] = [
    "reporter",
    "source_workload",
    "source_workload_namespace",
    "source_principal",
    "source_app",
    "source_version",
    "source_cluster",
    "source_canonical_service",
    "source_canonical_revision",
    "destination_workload",
    "destination_workload_namespace",
    "destination_principal",
    "destination_app",
    "destination_version",
    "destination_service",
    "destination_service_name",
    "destination_service_namespace",
    "destination_cluster",
    "destination_canonical_service",
    "destination_canonical_revision",
    "request_protocol",
    "response_code",
    "grpc_response_status",
    "response_flags",
    "connection_security_policy",
];

fn values(from: &Workload, cluster: &ClusterCounters, series: &Series) -> [String; 25] {
    let key = &series.key;
    let told = Told {
        protocol: if key.grpc { "grpc" } else { "http" },
        code: key.status.to_string(),
        grpc: key
            .grpc_status
            .map_or_else(String::new, |status| status.to_string()),
        flags: key.flags,
    };
    labelled(from, cluster, series.endpoint.as_deref(), told)
}

/// The labels that do not come from who talks to whom.
pub(super) struct Told {
    pub(super) protocol: &'static str,
    pub(super) code: String,
    pub(super) grpc: String,
    pub(super) flags: ResponseFlags,
}

/// The values of [`LABELS`].
pub(super) fn labelled(
    from: &Workload,
    cluster: &ClusterCounters,
    to: Option<&EndpointIdentity>,
    told: Told,
) -> [String; 25] {
    let nobody = EndpointIdentity::default();
    let to = to.unwrap_or(&nobody);
    let service = &cluster.identity;
    let flags: Vec<_> = told.flags.iter().map(super::super::Flag::as_str).collect();
    [
        "source".to_owned(),
        known(&from.name),
        known(&from.namespace),
        known(""),
        known(&from.app),
        known(&from.version),
        known(&from.cluster),
        known(&from.app),
        known(&from.version),
        known(&to.workload),
        known(&to.namespace),
        known(""),
        known(&to.app),
        known(&to.version),
        known(&service.service),
        known(&service.service_name),
        known(&service.service_namespace),
        known(""),
        known(&to.app),
        known(&to.version),
        told.protocol.to_owned(),
        told.code,
        told.grpc,
        if flags.is_empty() {
            "-".to_owned()
        } else {
            flags.join(",")
        },
        known(""),
    ]
}

/// Empty text means `unknown`.
fn known(text: &str) -> String {
    if text.is_empty() { "unknown" } else { text }.to_owned()
}
