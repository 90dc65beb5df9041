//! `/stats`: the metrics under Envoy's own names, `cluster.NAME.upstream_rq_total: 7`.

use super::{AdminRequest, AdminResponse};
use crate::telemetry::Metrics;
use prometheus::proto::{LabelPair, Metric, MetricFamily, MetricType};
use regex::Regex;
use serde_json::json;

/// The page.
pub(super) fn page(metrics: &Metrics, request: &AdminRequest) -> AdminResponse {
    let filter = match request.parameter("filter").map(Regex::new) {
        None => None,
        Some(Ok(filter)) => Some(filter),
        Some(Err(error)) => {
            return AdminResponse::text(400, format!("filter: {error}\n"));
        }
    };
    let format = request.parameter("format").unwrap_or("text");
    if format == "prometheus" {
        return AdminResponse::text(200, metrics.text());
    }
    let mut stats: Vec<_> = metrics.gather().iter().flat_map(flatten).collect();
    stats.retain(|(name, _)| filter.as_ref().is_none_or(|filter| filter.is_match(name)));
    stats.sort();
    match format {
        "text" => {
            let lines = stats
                .iter()
                .map(|(name, value)| format!("{name}: {value}\n"));
            AdminResponse::text(200, lines.collect::<String>())
        }
        "json" => {
            let stats: Vec<_> = stats
                .into_iter()
                .map(|(name, value)| json!({ "name": name, "value": value }))
                .collect();
            AdminResponse::json(&json!({ "stats": stats }))
        }
        _ => AdminResponse::text(400, "format is text, json or prometheus\n"),
    }
}

/// Prefixes of families, the label that names the thing, and what Envoy puts before it.
const SCOPES: [(&str, &str, &str); 3] = [
    ("envoy_cluster_", "cluster_name", "cluster"),
    ("envoy_http_", "http_conn_manager_prefix", "http"),
    ("envoy_listener_", "listener_address", "listener"),
];

fn flatten(family: &MetricFamily) -> Vec<(String, u64)> {
    let metrics = family.get_metric().iter();
    let all = metrics.map(|metric| flatten_one(family, metric));
    all.flatten().collect()
}

fn flatten_one(family: &MetricFamily, metric: &Metric) -> Vec<(String, u64)> {
    let name = name(family.name(), metric.get_label());
    match family.get_field_type() {
        MetricType::COUNTER => vec![(name, whole(metric.get_counter().get_value()))],
        MetricType::GAUGE => vec![(name, whole(metric.get_gauge().get_value()))],
        MetricType::HISTOGRAM => {
            let histogram = metric.get_histogram();
            vec![
                (format!("{name}.count"), histogram.get_sample_count()),
                (format!("{name}.sum"), whole(histogram.get_sample_sum())),
            ]
        }
        MetricType::SUMMARY | MetricType::UNTYPED => Vec::new(),
    }
}

fn name(family: &str, labels: &[LabelPair]) -> String {
    for (prefix, label, scope) in SCOPES {
        let Some(rest) = family.strip_prefix(prefix) else {
            continue;
        };
        let Some(thing) = labels.iter().find(|pair| pair.name() == label) else {
            continue;
        };
        let mut name = format!("{scope}.{}.{rest}", thing.value());
        for pair in labels {
            match pair.name() {
                "response_code" => name = format!("{name}_{}", pair.value()),
                "response_code_class" => name = format!("{name}_{}", pair.value()),
                _ => {}
            }
        }
        return name;
    }
    let family = family
        .strip_prefix("envoy_server_")
        .map_or_else(|| family.to_owned(), |rest| format!("server.{rest}"));
    let labels = labels
        .iter()
        .map(|pair| format!(".{}.{}", pair.name(), pair.value()));
    std::iter::once(family).chain(labels).collect()
}

/// The whole part; metrics here never have another but sums of milliseconds.
#[expect(
    clippy::as_conversions,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "there is no other conversion, and it saturates"
)]
fn whole(value: f64) -> u64 {
    value as u64
}
