//! What becomes of one request, told to log and metrics exactly once.

use super::{
    Served,
    down::DownError,
    fault::{Cut, Fault},
};
use crate::{
    cluster::{Cluster, EndpointRef, Outcome},
    compile::CompiledRoute,
    core::Core,
    filter::Context,
    http::{Known, RequestHead, Version, h1::Trailers},
    listener::HttpVersion as Spoken,
    telemetry::{Exchange, Flag, HttpVersion, ResponseFlags},
};
use gwanmun_ir::{Dialect, TlsVersion};
use std::{
    borrow::Cow,
    net::SocketAddr,
    sync::Arc,
    time::{Instant, SystemTime},
};

/// What becomes of one request. Dropping it, also because the task was cancelled, writes the log
/// line and counts.
pub(crate) struct Record<'c> {
    core: &'c Core,
    conn: &'c Served,
    /// The request, as it is sent upstream; nothing if what came was not a request.
    pub(crate) head: Option<Box<RequestHead>>,
    /// When the first byte of the request was seen.
    pub(crate) started: Instant,
    /// When the request was complete.
    complete: Option<Instant>,
    /// Status sent to the client; 0 when none was.
    pub(crate) status: u16,
    /// Flags in the order they were set.
    pub(crate) flags: ResponseFlags,
    /// Details; nothing means that it was cancelled.
    pub(crate) details: Option<Cow<'static, str>>,
    /// Why connecting failed.
    pub(crate) transport_failure: Option<Cow<'static, str>>,
    /// Body bytes from the client.
    pub(crate) received: u64,
    /// Body bytes to the client.
    pub(crate) sent: u64,
    /// Milliseconds from the end of the request to the response's head.
    pub(crate) service_ms: Option<u64>,
    /// The last endpoint tried.
    pub(crate) endpoint: Option<EndpointRef>,
    /// Our end of the connection to it.
    pub(crate) upstream_local: Option<SocketAddr>,
    /// The cluster.
    pub(crate) cluster: Option<&'c Arc<Cluster>>,
    /// The route.
    pub(crate) route: Option<&'c CompiledRoute>,
    /// It is a gRPC request.
    pub(crate) grpc: bool,
    /// `grpc-status` of the answer.
    pub(crate) grpc_status: Option<u32>,
    /// Tries sent to endpoints.
    pub(crate) tries: u32,
    /// The client's address, as far as proxies are trusted.
    pub(crate) remote: SocketAddr,
    written: bool,
}

impl<'c> Record<'c> {
    /// A request that begins.
    pub(crate) fn new(
        core: &'c Core,
        conn: &'c Served,
        head: Option<Box<RequestHead>>,
        started: Instant,
    ) -> Self {
        let grpc = head.as_deref().is_some_and(RequestHead::is_grpc);
        Self {
            core,
            conn,
            head,
            started,
            complete: None,
            status: 0,
            flags: ResponseFlags::NONE,
            details: None,
            transport_failure: None,
            received: 0,
            sent: 0,
            service_ms: None,
            endpoint: None,
            upstream_local: None,
            cluster: None,
            route: None,
            grpc,
            grpc_status: None,
            tries: 0,
            remote: conn.info.peer,
            written: false,
        }
    }

    /// What the client speaks.
    pub(crate) fn version(&self) -> Version {
        self.head
            .as_deref()
            .map_or(Version::Http11, RequestHead::version)
    }

    /// What the formats of header edits may refer to.
    pub(crate) fn context(&self) -> Context<'_> {
        let info = &self.conn.info;
        let tls = info.tls.as_ref();
        let began = SystemTime::now().checked_sub(self.started.elapsed());
        let began = began.and_then(|at| at.duration_since(SystemTime::UNIX_EPOCH).ok());
        Context {
            client: self.remote,
            peer: info.peer,
            local: info.local,
            start_micros: began
                .and_then(|at| u64::try_from(at.as_micros()).ok())
                .unwrap_or(0),
            hostname: &self.core.config.workload.name,
            sni: tls.and_then(|tls| tls.sni.as_deref()),
            tls_version: tls.map(|tls| match tls.version {
                TlsVersion::V12 => "TLSv1.2",
                TlsVersion::V13 => "TLSv1.3",
            }),
            tls_cipher: tls.map(|tls| tls.cipher),
            route: self.route.as_ref().map_or("-", |route| &route.name),
            cluster: self.cluster.as_ref().map(|cluster| &*cluster.name),
            upstream: self.endpoint.as_ref().map(|endpoint| endpoint.address),
            connection: info.id,
        }
    }

    /// The request has arrived whole.
    pub(crate) fn request_complete(&mut self) {
        self.complete = Some(if self.received == 0 {
            self.started
        } else {
            Instant::now()
        });
    }

    /// Counts body bytes from the client.
    pub(crate) fn count_received(&mut self, bytes: usize) {
        self.received += u64::try_from(bytes).unwrap_or(0);
    }

    /// Counts body bytes to the client.
    pub(crate) fn count_sent(&mut self, bytes: usize) {
        self.sent += u64::try_from(bytes).unwrap_or(0);
    }

    /// The final head of the upstream's response has arrived.
    pub(crate) fn answered(&mut self, status: u16, grpc_status: Option<u32>) {
        self.status = status;
        self.grpc_status = grpc_status;
        self.details = Some("via_upstream".into());
        // The Gateway API has no field for it: that saves looking at the clock.
        let said = self
            .route
            .is_some_and(|route| matches!(route.dialect, Dialect::Istio { .. }));
        self.service_ms = self
            .complete
            .filter(|_| said)
            .and_then(|at| u64::try_from(at.elapsed().as_millis()).ok());
    }

    /// The response's trailers have arrived.
    pub(crate) fn note_trailers(&mut self, trailers: &Trailers) {
        if self.grpc {
            self.grpc_status = trailers.grpc_status().or(self.grpc_status);
        }
    }

    /// A try came to nothing, and so does the request.
    pub(crate) fn failed(&mut self, fault: &Fault) {
        self.flags.set(fault.flag());
        self.details = Some(fault.details());
        if let Fault::Connect(error) = fault
            && !error.transport.is_empty()
        {
            self.transport_failure = Some(error.transport.clone());
        }
    }

    /// The response was cut off.
    pub(crate) fn cut(&mut self, cut: Cut) {
        if let Some(flag) = cut.flag() {
            self.flags.set(flag);
        }
        self.details = Some(cut.details().into());
    }

    /// Tells outlier detection how a try on the last endpoint ended.
    pub(crate) fn report(&self, outcome: Outcome) {
        if let (Some(cluster), Some(endpoint)) = (self.cluster, &self.endpoint) {
            cluster.report(endpoint, outcome);
        }
    }

    /// The client's side failed.
    pub(crate) fn down_failed(&mut self, error: DownError) {
        let (flag, details) = match error {
            DownError::Gone => (Flag::Dc, "downstream_remote_disconnect"),
            DownError::Malformed => (Flag::Dpe, "http1.codec_error"),
            DownError::Reset => (Flag::Dr, "http2.remote_reset"),
        };
        self.flags.set(flag);
        self.details = Some(details.into());
    }
}

fn text(bytes: Option<&[u8]>) -> Option<&str> {
    std::str::from_utf8(bytes?).ok()
}

impl Record<'_> {
    /// Writes the log line and counts, now rather than on drop; when that was.
    pub(crate) fn finish(&mut self) -> Instant {
        let end = Instant::now();
        self.write(end);
        end
    }

    fn write(&mut self, end: Instant) {
        self.written = true;
        if self.details.is_none() {
            self.down_failed(DownError::Gone);
        }
        let head = self.head.as_deref();
        let mut exchange = Exchange::new(self.started, self.conn.info.local, self.remote);
        exchange.end = end;
        if let Some(head) = head {
            exchange.method = Some(head.method());
            exchange.path = text(Some(head.original_target())).filter(|path| !path.is_empty());
            exchange.version = Some(match head.version() {
                Version::Http10 => HttpVersion::Http10,
                Version::Http11 => HttpVersion::Http11,
                Version::Http2 => HttpVersion::Http2,
            });
            exchange.forwarded_for = head.get(Known::XForwardedFor);
            exchange.user_agent = head.get(Known::UserAgent);
            exchange.request_id = head.get(Known::XRequestId);
            exchange.authority = Some(head.authority()).filter(|authority| !authority.is_empty());
        } else {
            exchange.version = Some(match self.conn.info.protocol {
                Spoken::Http1 => HttpVersion::Http11,
                Spoken::Http2 => HttpVersion::Http2,
            });
        }
        exchange.status = self.status;
        exchange.flags = self.flags;
        exchange.details = self.details.as_deref();
        exchange.transport_failure = self.transport_failure.as_deref();
        exchange.bytes_received = self.received;
        exchange.bytes_sent = self.sent;
        exchange.upstream_service_ms = self.service_ms;
        exchange.endpoint = self.endpoint.as_deref();
        exchange.upstream_local = self.upstream_local;
        exchange.cluster = self.cluster.map(|cluster| &**cluster);
        let tls = self.conn.info.tls.as_ref();
        exchange.sni = tls.and_then(|tls| tls.sni.as_deref());
        exchange.route = self.route.map(|route| &*route.name);
        exchange.grpc = self.grpc;
        exchange.grpc_status = self.grpc_status;
        exchange.tries = self.tries;
        exchange.listener = Some(&self.conn.info.stats);
        self.core.telemetry.record(&exchange);
    }
}

impl Drop for Record<'_> {
    fn drop(&mut self) {
        if !self.written {
            self.write(Instant::now());
        }
    }
}
