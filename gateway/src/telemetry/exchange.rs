//! What is known about one request, connection or rejected handshake when it has ended.

use super::{ConnectionEnd, ListenerStats, ResponseFlags};
use crate::cluster::{Cluster, Endpoint};
use std::{net::SocketAddr, time::Instant};

/// What is known about one request, connection or rejected handshake when it has ended: everything
/// that a line of the access log and the metrics say. Everything is borrowed; text that is absent is
/// written as `-` or `null`.
pub(crate) struct Exchange<'a> {
    /// When the first byte of the request arrived.
    pub(crate) start: Instant,
    /// When the last byte of the answer was handed to the socket, or all was given up.
    pub(crate) end: Instant,
    /// Request method; absent for what never became a request.
    pub(crate) method: Option<&'a str>,
    /// Path and query as the client sent them, after normalisation and before rewriting.
    pub(crate) path: Option<&'a str>,
    /// Version the client speaks; absent for connections that never spoke HTTP.
    pub(crate) version: Option<HttpVersion>,
    /// Status sent to the client; 0 when none was.
    pub(crate) status: u16,
    /// `UF`, `URX`, ….
    pub(crate) flags: ResponseFlags,
    /// `via_upstream`, `route_not_found`, …; blanks already `_`.
    pub(crate) details: Option<&'a str>,
    /// Why the connection was closed, for connections.
    pub(crate) termination: Option<&'a str>,
    /// Why connecting upstream failed; blanks already `_`.
    pub(crate) transport_failure: Option<&'a str>,
    /// Bytes of the request's body.
    pub(crate) bytes_received: u64,
    /// Bytes of the response's body.
    pub(crate) bytes_sent: u64,
    /// Value of the response's `x-envoy-upstream-service-time`: milliseconds, absent when the
    /// upstream did not answer after the whole request.
    pub(crate) upstream_service_ms: Option<u64>,
    /// `x-forwarded-for` as sent upstream.
    pub(crate) forwarded_for: Option<&'a [u8]>,
    /// `user-agent`.
    pub(crate) user_agent: Option<&'a [u8]>,
    /// `x-request-id`.
    pub(crate) request_id: Option<&'a [u8]>,
    /// Authority as sent upstream.
    pub(crate) authority: Option<&'a str>,
    /// The last endpoint tried.
    pub(crate) endpoint: Option<&'a Endpoint>,
    /// Our address on the connection to it.
    pub(crate) upstream_local: Option<SocketAddr>,
    /// The cluster chosen.
    pub(crate) cluster: Option<&'a Cluster>,
    /// Our address on the client's connection.
    pub(crate) local: SocketAddr,
    /// The client's address.
    pub(crate) remote: SocketAddr,
    /// Server name of TLS, lower case.
    pub(crate) sni: Option<&'a str>,
    /// Name of the route; absent when none matched, `-` when it has none.
    pub(crate) route: Option<&'a str>,
    /// Whether it is a gRPC request.
    pub(crate) grpc: bool,
    /// `grpc-status` of the answer, from headers or trailers.
    pub(crate) grpc_status: Option<u32>,
    /// Tries sent to endpoints, the first included; 0 when none was.
    pub(crate) tries: u32,
    /// Counters of the listener it came through.
    pub(crate) listener: Option<&'a ListenerStats>,
    /// How it ended, for connections that carried bytes.
    pub(crate) connection: Option<ConnectionEnd>,
}

/// HTTP version as the log writes it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum HttpVersion {
    /// HTTP/1.0.
    Http10,
    /// HTTP/1.1.
    Http11,
    /// HTTP/2.
    Http2,
}

impl HttpVersion {
    /// `HTTP/1.1`.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Http10 => "HTTP/1.0",
            Self::Http11 => "HTTP/1.1",
            Self::Http2 => "HTTP/2",
        }
    }
}

impl Exchange<'_> {
    /// An exchange of which only the connection is known.
    pub(crate) fn new(start: Instant, local: SocketAddr, remote: SocketAddr) -> Self {
        Self {
            start,
            end: start,
            method: None,
            path: None,
            version: None,
            status: 0,
            flags: ResponseFlags::NONE,
            details: None,
            termination: None,
            transport_failure: None,
            bytes_received: 0,
            bytes_sent: 0,
            upstream_service_ms: None,
            forwarded_for: None,
            user_agent: None,
            request_id: None,
            authority: None,
            endpoint: None,
            upstream_local: None,
            cluster: None,
            local,
            remote,
            sni: None,
            route: None,
            grpc: false,
            grpc_status: None,
            tries: 0,
            listener: None,
            connection: None,
        }
    }
}
