//! Filters of routes.

use super::{BackendObjectReference, LocalObjectReference};
use serde::{Deserialize, Serialize};

open_enum! {
    /// Which filter a filter is; the field of the same name holds its settings.
    pub enum FilterType {
        /// Cross-origin requests.
        Cors = "CORS",
        /// A filter of the implementation.
        ExtensionRef = "ExtensionRef",
        /// Asks another service for permission (experimental).
        ExternalAuth = "ExternalAuth",
        /// Edits the request's headers.
        RequestHeaderModifier = "RequestHeaderModifier",
        /// Sends a copy of the request elsewhere.
        RequestMirror = "RequestMirror",
        /// Answers with a redirect.
        RequestRedirect = "RequestRedirect",
        /// Edits the response's headers.
        ResponseHeaderModifier = "ResponseHeaderModifier",
        /// Rewrites host and path towards the backend.
        UrlRewrite = "URLRewrite",
    }
}

/// One filter of an HTTPRoute's rule or backend.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct HttpRouteFilter {
    /// Which filter it is.
    #[serde(rename = "type")]
    pub filter_type: FilterType,
    /// Edits the request's headers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_header_modifier: Option<HeaderFilter>,
    /// Edits the response's headers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub response_header_modifier: Option<HeaderFilter>,
    /// Sends a copy of the request elsewhere.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_mirror: Option<RequestMirrorFilter>,
    /// Answers with a redirect.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_redirect: Option<RequestRedirectFilter>,
    /// Rewrites host and path towards the backend.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url_rewrite: Option<UrlRewriteFilter>,
    /// Cross-origin requests.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cors: Option<CorsFilter>,
    /// Asks another service for permission (experimental).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub external_auth: Option<ExternalAuthFilter>,
    /// A filter of the implementation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub extension_ref: Option<LocalObjectReference>,
}

/// One filter of a GRPCRoute's rule or backend.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct GrpcRouteFilter {
    /// Which filter it is.
    #[serde(rename = "type")]
    pub filter_type: FilterType,
    /// Edits the request's headers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_header_modifier: Option<HeaderFilter>,
    /// Edits the response's headers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub response_header_modifier: Option<HeaderFilter>,
    /// Sends a copy of the request elsewhere.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_mirror: Option<RequestMirrorFilter>,
    /// A filter of the implementation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub extension_ref: Option<LocalObjectReference>,
}

/// Header edits, applied in the order set, add, remove; each name is edited once.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct HeaderFilter {
    /// Fields that replace all of the same name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub set: Vec<HttpHeader>,
    /// Values appended to what is there.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub add: Vec<HttpHeader>,
    /// Names to remove.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub remove: Vec<String>,
}

/// A header field.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct HttpHeader {
    /// Name, in any case.
    pub name: String,
    /// Value.
    pub value: String,
}

/// Sends a copy of requests elsewhere and ignores the answer.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RequestMirrorFilter {
    /// Where to.
    pub backend_ref: BackendObjectReference,
    /// Share of the requests, 0 to 100; absent means all unless `fraction` says otherwise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub percent: Option<u32>,
    /// Share of the requests as a fraction.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fraction: Option<Fraction>,
}

/// A share as a fraction.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Fraction {
    /// Above the line.
    pub numerator: u32,
    /// Below the line; absent means 100.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub denominator: Option<u32>,
}

/// Answers with a redirect. What is absent stays as in the request.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RequestRedirectFilter {
    /// New scheme, `http` or `https`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scheme: Option<String>,
    /// New host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hostname: Option<String>,
    /// New path.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<PathModifier>,
    /// New port; absent means the scheme's, if that is given, else the listener's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    /// Status code; absent means 302.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status_code: Option<u16>,
}

/// Rewrites host and path towards the backend. What is absent stays as in the request.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct UrlRewriteFilter {
    /// New host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hostname: Option<String>,
    /// New path.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<PathModifier>,
}

/// A new path.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PathModifier {
    /// How much of the path changes.
    #[serde(rename = "type")]
    pub modifier_type: PathModifierType,
    /// The whole new path.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replace_full_path: Option<String>,
    /// What replaces the prefix that the rule matched.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replace_prefix_match: Option<String>,
}

open_enum! {
    /// How much of a path changes.
    pub enum PathModifierType {
        /// All of it.
        ReplaceFullPath = "ReplaceFullPath",
        /// The prefix that the rule matched.
        ReplacePrefixMatch = "ReplacePrefixMatch",
    }
}

/// Cross-origin requests.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct CorsFilter {
    /// Origins, `*`, or with `*` for some labels.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub allow_origins: Vec<String>,
    /// Whether credentials may be sent; absent means no.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allow_credentials: Option<bool>,
    /// Methods, or `*`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub allow_methods: Vec<String>,
    /// Request headers, or `*`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub allow_headers: Vec<String>,
    /// Response headers that scripts may see, or `*`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub expose_headers: Vec<String>,
    /// How long a preflight's answer holds, seconds; absent means 5.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_age: Option<u32>,
}

/// Asks another service whether a request may pass (experimental).
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ExternalAuthFilter {
    /// How it is asked.
    pub protocol: ExternalAuthProtocol,
    /// Who is asked.
    pub backend_ref: BackendObjectReference,
    /// Settings of the gRPC protocol.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grpc: Option<GrpcAuth>,
    /// Settings of the HTTP protocol.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub http: Option<HttpAuth>,
    /// Whether the body is sent along; absent means no.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub forward_body: Option<ForwardBody>,
}

open_enum! {
    /// How an authorization service is asked.
    pub enum ExternalAuthProtocol {
        /// Envoy's ext_authz over gRPC.
        Grpc = "GRPC",
        /// An HTTP request.
        Http = "HTTP",
    }
}

/// Asking over gRPC.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct GrpcAuth {
    /// Request headers sent along; empty means all.
    #[serde(
        rename = "allowedHeaders",
        default,
        skip_serializing_if = "Vec::is_empty"
    )]
    pub allowed_request_headers: Vec<String>,
}

/// Asking over HTTP.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct HttpAuth {
    /// Prefix of the path; absent means none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// Further request headers sent along.
    #[serde(
        rename = "allowedHeaders",
        default,
        skip_serializing_if = "Vec::is_empty"
    )]
    pub allowed_request_headers: Vec<String>,
    /// Headers of the answer that the backend's request gets; empty means all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub allowed_response_headers: Vec<String>,
}

/// Sends a request's body along.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ForwardBody {
    /// Largest body, bytes; absent or 0 sends none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_size: Option<u32>,
}
