//! [Telemetry](https://istio.io/latest/docs/reference/config/telemetry/): metrics, traces, logs.

use super::{LabelSelector, PolicyTargetReference, WorkloadMode};
use crate::{Percent, ProtoDuration};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Metrics, traces and access logs of workloads.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Telemetry {
    /// What is wanted; the schema does not require it.
    pub spec: Option<TelemetrySpec>,
}

/// What a [`Telemetry`] wants.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct TelemetrySpec {
    /// Workloads; absent means all of the namespace, in the root namespace all.
    pub selector: Option<LabelSelector>,
    /// Object whose workloads are meant; superseded by `targetRefs`.
    pub target_ref: Option<PolicyTargetReference>,
    /// Objects whose workloads are meant.
    pub target_refs: Vec<PolicyTargetReference>,
    /// Traces.
    pub tracing: Vec<Tracing>,
    /// Metrics.
    pub metrics: Vec<Metrics>,
    /// Access logs.
    pub access_logging: Vec<AccessLogging>,
}

/// A provider of the mesh configuration.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ProviderRef {
    /// Its name. Required.
    pub name: String,
}

/// Which side of the traffic.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct TelemetrySelector {
    /// The side; absent means both.
    pub mode: Option<WorkloadMode>,
}

/// Traces.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Tracing {
    /// Which traffic.
    #[serde(rename = "match")]
    pub matches: Option<TelemetrySelector>,
    /// Where traces go.
    pub providers: Vec<ProviderRef>,
    /// Share of the requests that are traced.
    pub random_sampling_percentage: Option<Percent>,
    /// Whether no spans are reported.
    pub disable_span_reporting: Option<bool>,
    /// Further tags.
    pub custom_tags: BTreeMap<String, CustomTag>,
    /// Whether the request id carries the sampling decision.
    pub use_request_id_for_trace_sampling: Option<bool>,
    /// Whether Istio's tags are added.
    pub enable_istio_tags: Option<bool>,
    /// Whether trace headers are left alone.
    pub disable_context_propagation: Option<bool>,
}

/// The value of a tag; one of the four is set.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct CustomTag {
    /// A text.
    pub literal: Option<TagLiteral>,
    /// An environment variable.
    pub environment: Option<TagFrom>,
    /// A request header.
    pub header: Option<TagFrom>,
    /// An access log format.
    pub formatter: Option<TagLiteral>,
}

/// A text.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct TagLiteral {
    /// The text. Required.
    pub value: String,
}

/// Something by name.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct TagFrom {
    /// Its name. Required.
    pub name: String,
    /// Value if it is missing.
    pub default_value: Option<String>,
}

/// Metrics.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Metrics {
    /// Where metrics go.
    pub providers: Vec<ProviderRef>,
    /// Changes, in order.
    pub overrides: Vec<MetricsOverrides>,
    /// Time between reports.
    pub reporting_interval: Option<ProtoDuration>,
}

/// A change of metrics.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct MetricsOverrides {
    /// Which.
    #[serde(rename = "match")]
    pub matches: Option<MetricSelector>,
    /// Whether they are off.
    pub disabled: Option<bool>,
    /// Changes of labels.
    pub tag_overrides: BTreeMap<String, TagOverride>,
}

/// Which metrics.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct MetricSelector {
    /// One of Istio's.
    pub metric: Option<IstioMetric>,
    /// Another.
    pub custom_metric: Option<String>,
    /// Which side of the traffic.
    pub mode: Option<WorkloadMode>,
}

crate::open_enum! {
    /// One of Istio's metrics.
    pub enum IstioMetric {
        /// All of them.
        AllMetrics = "ALL_METRICS",
        /// `istio_requests_total`.
        RequestCount = "REQUEST_COUNT",
        /// `istio_request_duration_milliseconds`.
        RequestDuration = "REQUEST_DURATION",
        /// `istio_request_bytes`.
        RequestSize = "REQUEST_SIZE",
        /// `istio_response_bytes`.
        ResponseSize = "RESPONSE_SIZE",
        /// `istio_tcp_connections_opened_total`.
        TcpOpenedConnections = "TCP_OPENED_CONNECTIONS",
        /// `istio_tcp_connections_closed_total`.
        TcpClosedConnections = "TCP_CLOSED_CONNECTIONS",
        /// `istio_tcp_sent_bytes_total`.
        TcpSentBytes = "TCP_SENT_BYTES",
        /// `istio_tcp_received_bytes_total`.
        TcpReceivedBytes = "TCP_RECEIVED_BYTES",
        /// `istio_request_messages_total`.
        GrpcRequestMessages = "GRPC_REQUEST_MESSAGES",
        /// `istio_response_messages_total`.
        GrpcResponseMessages = "GRPC_RESPONSE_MESSAGES",
    }
}

/// A change of a label.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct TagOverride {
    /// What is done; absent means [`TagOperation::Upsert`].
    pub operation: Option<TagOperation>,
    /// CEL expression.
    pub value: Option<String>,
}

crate::open_enum! {
    /// What is done to a label.
    pub enum TagOperation {
        /// It is added or replaced.
        Upsert = "UPSERT",
        /// It is removed.
        Remove = "REMOVE",
    }
}

/// Access logs.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct AccessLogging {
    /// Which traffic.
    #[serde(rename = "match")]
    pub matches: Option<TelemetrySelector>,
    /// Where logs go.
    pub providers: Vec<ProviderRef>,
    /// Whether they are off.
    pub disabled: Option<bool>,
    /// Which requests are logged.
    pub filter: Option<AccessLogFilter>,
}

/// Which requests are logged.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct AccessLogFilter {
    /// CEL expression.
    pub expression: Option<String>,
}
