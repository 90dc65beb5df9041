//! What only this gateway has to say, and that it is alive.

use super::family::{Family, desc};
use crate::telemetry::Telemetry;
use prometheus::{
    core::{Collector, Desc},
    proto::MetricFamily,
};
use std::sync::{Arc, atomic::Ordering::Relaxed};

/// `gwanmun_…`, `envoy_server_…`.
pub(super) struct Process {
    telemetry: Arc<Telemetry>,
    desc: Desc,
}

impl Process {
    pub(super) fn new(telemetry: Arc<Telemetry>) -> prometheus::Result<Self> {
        Ok(Self {
            telemetry,
            desc: desc("gwanmun_config_epoch", "Epoch of the snapshot in service.")?,
        })
    }

    fn series_dropped(&self) -> u64 {
        let shards = self.telemetry.shards.lock().clone();
        let views = shards
            .iter()
            .flat_map(|shard| shard.with_counters(|counters| counters.clusters()));
        views
            .map(|(counters, _)| counters.events.series_dropped.get())
            .sum()
    }
}

impl Collector for Process {
    fn desc(&self) -> Vec<&Desc> {
        vec![&self.desc]
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let telemetry = &self.telemetry;
        let gauges = [
            (
                "gwanmun_config_epoch",
                "Epoch of the snapshot in service.",
                telemetry.epoch.load(Relaxed),
            ),
            (
                "gwanmun_config_rejected_resources",
                "Resources of the last change that could not be used as they are.",
                telemetry.rejected.load(Relaxed),
            ),
            (
                "gwanmun_downstream_connections",
                "Open connections of clients.",
                telemetry.listeners().iter().map(|one| one.active()).sum(),
            ),
            ("envoy_server_live", "1 while the process serves.", 1),
            (
                "envoy_server_uptime",
                "Seconds since the start.",
                telemetry.started.elapsed().as_secs(),
            ),
        ];
        let counters = [
            (
                "gwanmun_access_log_lines_dropped_total",
                "Lines lost because the log was not read fast enough.",
                telemetry.log.dropped.load(Relaxed),
            ),
            (
                "gwanmun_access_log_write_errors_total",
                "Writes of the access log that failed.",
                telemetry.log.errors.load(Relaxed),
            ),
            (
                "gwanmun_requests_without_series_total",
                "Requests not counted by label because their cluster has too many series.",
                self.series_dropped(),
            ),
        ];
        let gauges = gauges.map(|(name, help, value)| {
            let mut family = Family::gauge(name, help);
            family.value(Vec::new(), value);
            family.build()
        });
        let counters = counters.map(|(name, help, value)| {
            let mut family = Family::counter(name, help);
            family.value(Vec::new(), value);
            family.build()
        });
        gauges.into_iter().chain(counters).collect()
    }
}
