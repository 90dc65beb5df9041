//! Routes: which requests, changed how, sent where.

use crate::{ChainKey, ClusterKey, Filter, Hostname, RouteKey, ServerHeader, SourceRef};
use serde::{Deserialize, Serialize};

/// One rule of one user resource on one filter chain.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Route {
    /// Key of this resource.
    pub key: RouteKey,
    /// The chain this rule is attached to.
    pub chain: ChainKey,
    /// Hosts this rule answers, as the user's object has them (not intersected with the chain's:
    /// precedence speaks of the original). Empty means every host of the chain.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub hostnames: Vec<Hostname>,
    /// Where this rule stands among others that match the same request.
    pub precedence: Precedence,
    /// Which kind of rule this is; rules of the two kinds are never merged.
    pub kind: RouteKind,
    /// Conditions, any of which suffices. Empty means every request.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub matches: Vec<HttpMatch>,
    /// Transformations in order, before those of the chosen target.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub filters: Vec<Filter>,
    /// What to do with a matched request.
    pub action: Action,
    /// Time limits.
    #[serde(default)]
    pub timeouts: Timeouts,
    /// When to try again; absent means never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry: Option<RetryPolicy>,
    /// Largest request body in bytes; above it the answer is 413. Absent means unlimited.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_request_body: Option<u64>,
    /// Whose conventions this rule follows.
    pub dialect: Dialect,
    /// What access log and metrics call this rule: `-` when the user gave no name to it.
    pub name: String,
    /// The user object and rule it came from.
    pub source: SourceRef,
}

/// How routes that match the same request are ordered.
#[derive(Clone, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Precedence {
    /// First match in list order wins, as in an Istio virtual host. Numbers are unique in a chain.
    InOrder(u32),
    /// Most specific match wins, then this order, as for an
    /// [HTTPRoute](https://gateway-api.sigs.k8s.io/reference/api-spec/main/spec/#httprouterule).
    MostSpecific {
        /// Creation time of the source object, seconds since the Unix epoch.
        created: i64,
        /// `namespace/name` of the source object.
        object: String,
        /// Index of the rule in the object.
        rule: u32,
    },
}

/// Which kind of user rule a [`Route`] is.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum RouteKind {
    /// Only requests with content type `application/grpc` (or `application/grpc+…`); tried before
    /// [`RouteKind::Http`].
    Grpc,
    /// Any request.
    Http,
}

/// Whose conventions a [`Route`] follows where the two APIs differ.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Dialect {
    /// Gateway API: no `x-envoy-*` headers, the upstream's `server` is kept, the request timeout
    /// counts from the request's first byte.
    GatewayApi,
    /// Istio: `x-envoy-*` headers as Envoy's, the request timeout counts from the end of the
    /// request, `grpc-timeout` is honoured where no timeout is set.
    Istio {
        /// What the `server` header says.
        server: ServerHeader,
    },
}

/// Conditions of which all must hold.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct HttpMatch {
    /// The path, without query.
    pub path: PathMatch,
    /// `:method`; absent means any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub method: Option<StringMatch>,
    /// `:scheme`; absent means any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scheme: Option<StringMatch>,
    /// `:authority` as sent; absent means any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub authority: Option<StringMatch>,
    /// Header conditions.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub headers: Vec<HeaderMatch>,
    /// Query parameter conditions.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub query: Vec<QueryMatch>,
    /// Which entry of the user's rule this is, e.g. `match[0]`; for `explain`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub section: String,
}

/// A condition on the path.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum PathMatch {
    /// Every path.
    Any,
    /// Exactly this path.
    Exact {
        /// The path.
        path: String,
        /// Compare ASCII letters without case.
        #[serde(default)]
        ignore_case: bool,
    },
    /// The gRPC method `/service/method`; an absent half matches anything.
    GrpcMethod {
        /// Full service name.
        service: Option<String>,
        /// Method name.
        method: Option<String>,
    },
    /// Whole path segments, without trailing slash: `/foo` matches `/foo`, `/foo/` and
    /// `/foo/bar`, not `/foobar`. `/` matches everything.
    Prefix(String),
    /// A RE2 expression that must match the whole path. An invalid one never matches.
    Regex(String),
    /// A raw string prefix: `/foo` matches `/foobar`.
    StringPrefix {
        /// The prefix.
        prefix: String,
        /// Compare ASCII letters without case.
        #[serde(default)]
        ignore_case: bool,
    },
}

/// A condition on a string.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum StringMatch {
    /// Exactly this.
    Exact(String),
    /// Starts with this.
    Prefix(String),
    /// Is present, with any value.
    Present,
    /// A RE2 expression that must match the whole string. An invalid one never matches.
    Regex(String),
}

/// A condition on one header.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct HeaderMatch {
    /// Field name, lower case; pseudo headers (`:method`, …) are allowed. Several fields of the
    /// name are compared as one value joined with `,`.
    pub name: String,
    /// What the value must be.
    pub value: StringMatch,
    /// The condition holds when the value does not match, or the header is missing
    /// (Istio's `withoutHeaders`).
    #[serde(default)]
    pub invert: bool,
}

/// A condition on one query parameter.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct QueryMatch {
    /// Parameter name, case-sensitive, percent-decoding applied; the first one counts.
    pub name: String,
    /// What the value must be.
    pub value: StringMatch,
}

/// What happens to a matched request.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Action {
    /// Answer because the configuration names nothing usable.
    ///
    /// A broken reference must fail its own requests, not its neighbours'.
    Fail(Failure),
    /// Send to one of these, chosen by weight. Empty or all weights 0:
    /// [`Failure::InvalidBackend`].
    Forward(Vec<WeightedTarget>),
    /// Answer with a redirect.
    Redirect(Redirect),
    /// Answer as configured.
    Respond(DirectResponse),
}

/// Why a target cannot be served.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Failure {
    /// 503, flag `NC`, `cluster_not_found`: a VirtualService's destination is unknown.
    ClusterNotFound,
    /// 500, `invalid_backend`: a Gateway API backend is invalid or not permitted.
    InvalidBackend,
}

/// One of the targets of [`Action::Forward`].
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct WeightedTarget {
    /// Where requests go.
    pub target: Target,
    /// Share among the weights of the rule; 0 gets nothing.
    pub weight: u32,
    /// Transformations for this target, after those of the route.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub filters: Vec<Filter>,
}

/// Where requests go.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Target {
    /// To this cluster; a key that names nothing behaves as [`Failure::ClusterNotFound`].
    Cluster(ClusterKey),
    /// Nowhere: this share of the requests is answered so.
    Fail(Failure),
}

/// A redirect. What is absent stays as in the request; the query is always kept.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Redirect {
    /// 301, 302, 303, 307 or 308.
    pub status: u16,
    /// New scheme, `http` or `https`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scheme: Option<String>,
    /// New host, without port.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// How the port of the location is found.
    pub port: RedirectPort,
    /// New path.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<RedirectPath>,
}

/// The port of a redirect's location.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum RedirectPort {
    /// This port, omitted where it is the scheme's well-known one.
    Explicit(u16),
    /// Envoy's rule: the `Host` header's port is kept, unless host or scheme are replaced.
    FromHost,
    /// The chain's port, omitted where it is the scheme's well-known one.
    FromListener,
    /// The [Gateway API]'s rule: the new scheme's well-known port if the scheme is replaced,
    /// else the chain's port; well-known ports are omitted.
    ///
    /// [Gateway API]: https://gateway-api.sigs.k8s.io/reference/api-spec/main/spec/#httprequestredirectfilter
    GatewayApi,
    /// No port.
    None,
    /// As [`RedirectPort::FromHost`], and kept also when the scheme is replaced
    /// (Istio's `httpsRedirect`).
    KeepHost,
}

/// The path of a redirect's location.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum RedirectPath {
    /// The whole path becomes this.
    Full(String),
    /// Replaces the matched segment prefix, see [`PathRewrite::Prefix`](crate::PathRewrite).
    Prefix(String),
    /// Replaces the matched raw string prefix by plain concatenation.
    StringPrefix(String),
}

/// A configured answer.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct DirectResponse {
    /// HTTP status.
    pub status: u16,
    /// Body bytes; empty sends none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub body: Vec<u8>,
}

/// Time limits of a route, in milliseconds. Absent means unlimited.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Timeouts {
    /// All tries together; where it starts is decided by the [`Dialect`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_ms: Option<u64>,
    /// One try, from its start to the response's headers (Istio) or end (Gateway API).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub per_try_ms: Option<u64>,
}

/// When to try again.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RetryPolicy {
    /// Tries after the first one.
    pub attempts: u32,
    /// What is tried again.
    pub conditions: Vec<RetryCondition>,
    /// Response codes that are tried again.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub status_codes: Vec<u16>,
    /// Pauses between tries.
    pub backoff: Backoff,
}

/// Something that makes a try worth repeating, as Envoy's `retry_on` names them.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum RetryCondition {
    /// gRPC status 1 in the response headers.
    Cancelled,
    /// No connection.
    ConnectFailure,
    /// gRPC status 4 in the response headers.
    DeadlineExceeded,
    /// Any 5xx, no answer at all, or the per-try timeout.
    #[serde(rename = "5xx")]
    FiveXx,
    /// 502, 503, 504, or the per-try timeout.
    GatewayError,
    /// gRPC status 13 in the response headers.
    Internal,
    /// REFUSED_STREAM.
    RefusedStream,
    /// Disconnect, reset or timeout without a response.
    Reset,
    /// As `reset`, as long as nothing of the request was sent.
    ResetBeforeRequest,
    /// gRPC status 8 in the response headers.
    ResourceExhausted,
    /// 409.
    #[serde(rename = "retriable-4xx")]
    Retriable4xx,
    /// gRPC status 14 in the response headers.
    Unavailable,
}

/// Exponential pauses with jitter, in milliseconds.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Backoff {
    /// Base of the first pause: each pause is random between 0 and base × (2^n − 1).
    pub base_ms: u64,
    /// Longest pause.
    pub max_ms: u64,
}
