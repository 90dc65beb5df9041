//! Building metric families.

use prometheus::{
    core::Desc,
    proto::{Bucket, Counter, Gauge, Histogram, LabelPair, Metric, MetricFamily, MetricType},
};
use std::collections::HashMap;

/// One metric family under construction.
pub(super) struct Family {
    name: &'static str,
    help: &'static str,
    kind: MetricType,
    metrics: Vec<Metric>,
}

impl Family {
    pub(super) fn counter(name: &'static str, help: &'static str) -> Self {
        Self::new(name, help, MetricType::COUNTER)
    }

    pub(super) fn gauge(name: &'static str, help: &'static str) -> Self {
        Self::new(name, help, MetricType::GAUGE)
    }

    pub(super) fn histogram(name: &'static str, help: &'static str) -> Self {
        Self::new(name, help, MetricType::HISTOGRAM)
    }

    fn new(name: &'static str, help: &'static str, kind: MetricType) -> Self {
        Self {
            name,
            help,
            kind,
            metrics: Vec::new(),
        }
    }

    /// Adds a counter's or gauge's value.
    pub(super) fn value(&mut self, labels: Vec<LabelPair>, value: u64) {
        let mut metric = Metric::from_label(labels);
        if self.kind == MetricType::GAUGE {
            let mut gauge = Gauge::default();
            gauge.set_value(float(value));
            metric.set_gauge(gauge);
        } else {
            let mut counter = Counter::default();
            counter.set_value(float(value));
            metric.set_counter(counter);
        }
        self.metrics.push(metric);
    }

    /// Adds a value unless it is 0.
    pub(super) fn nonzero(&mut self, labels: &[LabelPair], value: u64) {
        if value > 0 {
            self.value(labels.to_vec(), value);
        }
    }

    /// Adds a histogram from counts per bucket (one more than `bounds`, not cumulative) and a sum
    /// in thousandths.
    pub(super) fn buckets(
        &mut self,
        labels: Vec<LabelPair>,
        bounds: impl Iterator<Item = f64>,
        counts: &[u64],
        thousandths: u64,
    ) {
        let mut total = 0;
        let buckets = bounds
            .zip(counts)
            .map(|(bound, count)| {
                total += count;
                let mut bucket = Bucket::default();
                bucket.set_upper_bound(bound);
                bucket.set_cumulative_count(total);
                bucket
            })
            .collect();
        let mut histogram = Histogram::default();
        histogram.set_bucket(buckets);
        histogram.set_sample_count(counts.iter().sum());
        histogram.set_sample_sum(float(thousandths) / 1000.0);
        let mut metric = Metric::from_label(labels);
        metric.set_histogram(histogram);
        self.metrics.push(metric);
    }

    pub(super) fn build(self) -> MetricFamily {
        let mut family = MetricFamily::default();
        family.set_name(self.name.to_owned());
        family.set_help(self.help.to_owned());
        family.set_field_type(self.kind);
        family.set_metric(self.metrics);
        family
    }
}

/// One label.
pub(super) fn label(name: &str, value: impl Into<String>) -> LabelPair {
    let mut pair = LabelPair::default();
    pair.set_name(name.to_owned());
    pair.set_value(value.into());
    pair
}

/// What a collector must describe at least: one metric of its own.
pub(super) fn desc(name: &str, help: &str) -> prometheus::Result<Desc> {
    Desc::new(name.to_owned(), help.to_owned(), Vec::new(), HashMap::new())
}

/// The nearest floating-point number, exact below 2^53.
#[expect(
    clippy::as_conversions,
    clippy::cast_precision_loss,
    reason = "metrics are floating-point numbers; there is no other conversion"
)]
pub(super) fn float(value: u64) -> f64 {
    value as f64
}
