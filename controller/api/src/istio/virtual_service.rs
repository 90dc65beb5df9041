//! [VirtualService](https://istio.io/latest/docs/reference/config/networking/virtual-service/):
//! which requests go where.

use super::{Destination, Share, StringMatch};
use crate::ProtoDuration;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Routing rules for hosts.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct VirtualService {
    /// What is wanted; the schema does not require it.
    pub spec: Option<VirtualServiceSpec>,
}

/// What a [`VirtualService`] wants.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct VirtualServiceSpec {
    /// Hosts the rules apply to; required unless this is a delegate.
    pub hosts: Vec<String>,
    /// Gateways the rules apply at, `[namespace/]name` or `mesh`; empty means `mesh` only.
    pub gateways: Vec<String>,
    /// Rules for HTTP, first match wins.
    pub http: Vec<HttpRoute>,
    /// Rules for TLS that is not terminated.
    pub tls: Vec<TlsRoute>,
    /// Rules for everything else.
    pub tcp: Vec<TcpRoute>,
    /// Namespaces that see this object: `*`, `.`, `~` or names; empty follows the mesh.
    pub export_to: Vec<String>,
}

/// One HTTP rule.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct HttpRoute {
    /// Name for logs, with the match's name appended.
    pub name: Option<String>,
    /// Conditions, any of which suffices; empty means every request.
    #[serde(rename = "match")]
    pub matches: Vec<HttpMatchRequest>,
    /// Where requests go, by weight.
    pub route: Vec<HttpRouteDestination>,
    /// Answer with a redirect.
    pub redirect: Option<HttpRedirect>,
    /// Answer with a fixed response.
    pub direct_response: Option<HttpDirectResponse>,
    /// Take the rules from another VirtualService.
    pub delegate: Option<Delegate>,
    /// Change path and authority towards the upstream.
    pub rewrite: Option<HttpRewrite>,
    /// Longest time for a request, retries included; absent or `0s` means unlimited.
    pub timeout: Option<ProtoDuration>,
    /// When to try again; absent follows the mesh.
    pub retries: Option<HttpRetry>,
    /// Faults to inject.
    pub fault: Option<HttpFaultInjection>,
    /// Send a copy there as well; excludes `mirrors`.
    pub mirror: Option<Destination>,
    /// Send copies there as well.
    pub mirrors: Vec<HttpMirrorPolicy>,
    /// Share of the requests copied to `mirror`; absent means all.
    pub mirror_percentage: Option<Share>,
    /// Share of the requests copied; superseded by `mirrorPercentage`.
    pub mirror_percent: Option<u32>,
    /// Old spelling of `mirrorPercent`.
    #[serde(rename = "mirror_percent")]
    pub mirror_percent_old: Option<u32>,
    /// Cross-origin requests.
    pub cors_policy: Option<CorsPolicy>,
    /// Header edits for all destinations.
    pub headers: Option<Headers>,
}

/// Conditions of which all must hold.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct HttpMatchRequest {
    /// Name, appended to the rule's.
    pub name: Option<String>,
    /// Path without query.
    pub uri: Option<StringMatch>,
    /// `http` or `https`.
    pub scheme: Option<StringMatch>,
    /// Method.
    pub method: Option<StringMatch>,
    /// Authority as sent.
    pub authority: Option<StringMatch>,
    /// Headers by name; a condition that says nothing means "is present".
    pub headers: BTreeMap<String, StringMatch>,
    /// Port number of the Gateway's server.
    pub port: Option<u32>,
    /// Labels that the gateway workload must have.
    pub source_labels: BTreeMap<String, String>,
    /// Gateways this entry is for, instead of the object's.
    pub gateways: Vec<String>,
    /// First query parameter of each name.
    pub query_params: BTreeMap<String, StringMatch>,
    /// Compare `uri` without case, where it is `exact` or `prefix`.
    pub ignore_uri_case: Option<bool>,
    /// Headers that must be missing or not match.
    pub without_headers: BTreeMap<String, StringMatch>,
    /// Namespace that the gateway workload must be in.
    pub source_namespace: Option<String>,
    /// Prefix for statistics of this route.
    pub stat_prefix: Option<String>,
}

/// One weighted destination.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct HttpRouteDestination {
    /// Where. Required.
    pub destination: Option<Destination>,
    /// Share among the rule's weights; a single destination needs none.
    pub weight: Option<i32>,
    /// Header edits for this destination.
    pub headers: Option<Headers>,
}

/// Header edits.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Headers {
    /// Towards the upstream.
    pub request: Option<HeaderOperations>,
    /// Towards the client.
    pub response: Option<HeaderOperations>,
}

/// Edits of one direction.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct HeaderOperations {
    /// Replace.
    pub set: BTreeMap<String, String>,
    /// Append.
    pub add: BTreeMap<String, String>,
    /// Remove.
    pub remove: Vec<String>,
}

/// A redirect.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct HttpRedirect {
    /// New path, whole; the query is kept.
    pub uri: Option<String>,
    /// New prefix, where every condition is a prefix.
    pub prefix_rewrite: Option<String>,
    /// New host.
    pub authority: Option<String>,
    /// New port; excludes `derivePort`.
    pub port: Option<u32>,
    /// Where the port comes from.
    pub derive_port: Option<RedirectPortSelection>,
    /// New scheme.
    pub scheme: Option<String>,
    /// 301 (default), 302, 303, 307 or 308.
    pub redirect_code: Option<u32>,
}

crate::open_enum! {
    /// Where the port of a redirect comes from.
    pub enum RedirectPortSelection {
        /// The new scheme's well-known port, which is not written.
        FromProtocolDefault = "FROM_PROTOCOL_DEFAULT",
        /// The port the request came in on.
        FromRequestPort = "FROM_REQUEST_PORT",
    }
}

/// A fixed response.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct HttpDirectResponse {
    /// Status code. Required.
    pub status: Option<u32>,
    /// Body.
    pub body: Option<HttpBody>,
}

/// A body; one of the two is set.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct HttpBody {
    /// Text.
    pub string: Option<String>,
    /// Base64 of bytes.
    pub bytes: Option<String>,
}

/// Another VirtualService to take rules from.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Delegate {
    /// Its name.
    pub name: Option<String>,
    /// Its namespace; absent means the naming object's.
    pub namespace: Option<String>,
}

/// Changes towards the upstream.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct HttpRewrite {
    /// New prefix where the condition is a prefix, else the new path.
    pub uri: Option<String>,
    /// New authority.
    pub authority: Option<String>,
    /// Replace a part of the path; excludes `uri`.
    pub uri_regex_rewrite: Option<RegexRewrite>,
}

/// A substitution in the path.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct RegexRewrite {
    /// RE2 expression, searched in the path.
    #[serde(rename = "match")]
    pub pattern: Option<String>,
    /// Replacement with `\1` for groups.
    pub rewrite: Option<String>,
}

/// When to try again.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct HttpRetry {
    /// Tries after the first; 0 or absent disables.
    pub attempts: Option<i32>,
    /// Longest time for one try.
    pub per_try_timeout: Option<ProtoDuration>,
    /// Comma separated conditions and status codes.
    pub retry_on: Option<String>,
    /// Whether other localities are tried.
    pub retry_remote_localities: Option<bool>,
    /// Whether an endpoint may be tried again.
    pub retry_ignore_previous_hosts: Option<bool>,
    /// Base of the pauses.
    pub backoff: Option<ProtoDuration>,
}

/// Faults to inject.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct HttpFaultInjection {
    /// Wait before forwarding.
    pub delay: Option<FaultDelay>,
    /// Answer instead of forwarding.
    pub abort: Option<FaultAbort>,
}

/// A pause before forwarding.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct FaultDelay {
    /// How long.
    pub fixed_delay: Option<ProtoDuration>,
    /// Not supported by Istio.
    pub exponential_delay: Option<ProtoDuration>,
    /// Share of the requests.
    pub percentage: Option<Share>,
    /// Share of the requests; superseded by `percentage`.
    pub percent: Option<i32>,
}

/// An answer instead of forwarding.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct FaultAbort {
    /// Status code.
    pub http_status: Option<i32>,
    /// gRPC status name.
    pub grpc_status: Option<String>,
    /// Not supported by Istio.
    pub http2_error: Option<String>,
    /// Share of the requests.
    pub percentage: Option<Share>,
}

/// One copy.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct HttpMirrorPolicy {
    /// Where. Required.
    pub destination: Option<Destination>,
    /// Share of the requests; absent means all.
    pub percentage: Option<Share>,
}

/// Cross-origin requests.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct CorsPolicy {
    /// Exact origins; superseded by `allowOrigins`.
    pub allow_origin: Vec<String>,
    /// Origins allowed.
    pub allow_origins: Vec<StringMatch>,
    /// Methods allowed.
    pub allow_methods: Vec<String>,
    /// Request headers allowed.
    pub allow_headers: Vec<String>,
    /// Response headers that scripts may read.
    pub expose_headers: Vec<String>,
    /// How long a preflight answer may be cached.
    pub max_age: Option<ProtoDuration>,
    /// Whether credentials may be sent.
    pub allow_credentials: Option<bool>,
    /// What happens to preflight requests of other origins.
    pub unmatched_preflights: Option<UnmatchedPreflights>,
}

crate::open_enum! {
    /// What happens to preflight requests of origins that are not allowed.
    pub enum UnmatchedPreflights {
        /// As [`UnmatchedPreflights::Forward`].
        Unspecified = "UNSPECIFIED",
        /// They are forwarded.
        Forward = "FORWARD",
        /// They are answered without headers.
        Ignore = "IGNORE",
    }
}

/// One rule for TLS that is not terminated.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct TlsRoute {
    /// Conditions, any of which suffices. Required.
    #[serde(rename = "match")]
    pub matches: Vec<TlsMatchAttributes>,
    /// Where connections go, by weight.
    pub route: Vec<RouteDestination>,
}

/// One rule for connections.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct TcpRoute {
    /// Conditions, any of which suffices; empty means every connection.
    #[serde(rename = "match")]
    pub matches: Vec<L4MatchAttributes>,
    /// Where connections go, by weight.
    pub route: Vec<RouteDestination>,
}

/// Conditions on a TLS connection.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct TlsMatchAttributes {
    /// Server names. Required.
    pub sni_hosts: Vec<String>,
    /// Destination addresses; without effect at gateways.
    pub destination_subnets: Vec<String>,
    /// Port number of the Gateway's server.
    pub port: Option<u32>,
    /// Labels that the gateway workload must have.
    pub source_labels: BTreeMap<String, String>,
    /// Gateways this entry is for, instead of the object's.
    pub gateways: Vec<String>,
    /// Namespace that the gateway workload must be in.
    pub source_namespace: Option<String>,
}

/// Conditions on a connection.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct L4MatchAttributes {
    /// Destination addresses; without effect at gateways.
    pub destination_subnets: Vec<String>,
    /// Port number of the Gateway's server.
    pub port: Option<u32>,
    /// Source addresses; without effect at gateways.
    pub source_subnet: Option<String>,
    /// Labels that the gateway workload must have.
    pub source_labels: BTreeMap<String, String>,
    /// Gateways this entry is for, instead of the object's.
    pub gateways: Vec<String>,
    /// Namespace that the gateway workload must be in.
    pub source_namespace: Option<String>,
}

/// One weighted destination of connections.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct RouteDestination {
    /// Where. Required.
    pub destination: Option<Destination>,
    /// Share among the rule's weights; a single destination needs none.
    pub weight: Option<i32>,
}

impl HttpBody {
    /// The body's bytes; empty when neither is set.
    ///
    /// # Errors
    /// When `bytes` is not base64.
    pub fn content(&self) -> Result<Vec<u8>, String> {
        use base64::Engine;
        let Some(text) = &self.bytes else {
            return Ok(self.string.clone().unwrap_or_default().into_bytes());
        };
        base64::engine::general_purpose::STANDARD
            .decode(text)
            .map_err(|error| format!("not base64: {error}"))
    }
}
