//! One request on an HTTP/2 connection to an upstream.

use super::{
    fault::Fault,
    h2_out::{H2Out, Lost},
    pool::Want,
};
use crate::{
    cluster::{ConnectError, ConnectFailure, Connection, Guard, Protocol},
    http::{RequestHead, ResponseHead, h1::BodyEvent, h2 as convert},
};
use bytes::Bytes;
use gwanmun_ir::Http2Keepalive;
use h2::{
    Ping, PingPong, Reason, RecvStream,
    client::{ResponseFuture, SendRequest},
};
use parking_lot::Mutex;
use std::{
    future::poll_fn,
    net::SocketAddr,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, Ordering::Relaxed},
    },
    task::{Context, Poll, ready},
    time::{Duration, Instant},
};

/// What one response may have in flight before we have passed it on.
const STREAM_WINDOW: u32 = 256 * 1024;
/// Requests at once on a connection, however many the upstream would take.
const STREAMS: u32 = 128;
/// Enough for every stream's window: a client that stops reading cannot block other requests on
/// the same connection.
const CONNECTION_WINDOW: u32 = STREAM_WINDOW * STREAMS;
/// Request bytes queued in the connection per stream.
const SEND_BUFFER: usize = 64 * 1024;
/// Stands for a limit of requests at once that the upstream has not told yet.
const UNTOLD: usize = 99;
/// How long the upstream is given to tell it.
const SETTLE: Duration = Duration::from_secs(1);
/// As the limit for heads of HTTP/1 upstreams.
const HEADER_LIST: u32 = 80 * 1024;

/// An HTTP/2 connection to an upstream, shared by the requests of a core.
pub(crate) struct H2Shared {
    send: SendRequest<Bytes>,
    /// Our end's address.
    local: Option<SocketAddr>,
    active: AtomicU32,
    /// Requests that may still begin here.
    left: AtomicU32,
    /// Requests that may be active here at once.
    streams: u32,
    /// When it takes no more requests.
    until: Option<Instant>,
    closed: AtomicBool,
    unused_since: Mutex<Instant>,
}

impl H2Shared {
    /// Whether no more requests can begin.
    pub(crate) fn is_closed(&self) -> bool {
        self.closed.load(Relaxed)
            || self.left.load(Relaxed) == 0
            || self.until.is_some_and(|until| until <= Instant::now())
    }

    /// Whether the connection is worth keeping.
    pub(crate) fn is_wanted(&self, now: Instant, longest: Duration) -> bool {
        !self.is_closed()
            && (self.active.load(Relaxed) > 0
                || now.duration_since(*self.unused_since.lock()) < longest)
    }
}

/// A place on a connection for one request.
pub(crate) struct H2Lease {
    shared: Arc<H2Shared>,
}

impl H2Lease {
    /// A place, if there is one.
    pub(crate) fn take(shared: &Arc<H2Shared>) -> Option<Self> {
        if shared.is_closed() {
            return None;
        }
        // Only this core's thread takes places: no race between looking and taking.
        let limit = u32::try_from(shared.send.current_max_send_streams()).unwrap_or(u32::MAX);
        if shared.active.load(Relaxed) >= limit.min(shared.streams) {
            return None;
        }
        shared.active.fetch_add(1, Relaxed);
        shared.left.fetch_sub(1, Relaxed);
        Some(Self {
            shared: Arc::clone(shared),
        })
    }

    /// Our end's address.
    pub(crate) fn local(&self) -> Option<SocketAddr> {
        self.shared.local
    }
}

impl Drop for H2Lease {
    fn drop(&mut self) {
        if self.shared.active.fetch_sub(1, Relaxed) == 1 {
            *self.shared.unused_since.lock() = Instant::now();
        }
    }
}

/// What the endpoint chose.
pub(crate) enum Made {
    /// HTTP/1.
    H1(Box<Connection>),
    /// HTTP/2.
    H2(Arc<H2Shared>),
}

/// Makes a connection and starts the task that drives it.
///
/// # Errors
///
/// Those of connecting. A connection that fails later fails its requests.
pub(crate) async fn connect(want: Want<'_>) -> Result<Made, ConnectError> {
    let made = want
        .cluster
        .connect(
            want.endpoint,
            want.host,
            Protocol::Http2,
            Some(&want.addresses),
        )
        .await?;
    if made.protocol == Protocol::Http1 {
        return Ok(Made::H1(Box::new(made)));
    }
    let handshake = h2::client::Builder::new()
        .enable_push(false)
        .initial_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_header_list_size(HEADER_LIST)
        .max_send_buffer_size(SEND_BUFFER)
        .initial_max_send_streams(UNTOLD)
        .handshake::<_, Bytes>(made.io)
        .await;
    let (send, mut connection) = handshake.map_err(|error| no_http2(&error))?;
    // How many requests the upstream takes is known with its first frame. Requests beyond that
    // would be refused.
    let settled = poll_fn(|cx| {
        if let Poll::Ready(result) = Pin::new(&mut connection).poll(cx) {
            let ended = result.err().unwrap_or_else(|| Reason::NO_ERROR.into());
            return Poll::Ready(Err(ended));
        }
        if send.current_max_send_streams() == UNTOLD {
            Poll::Pending
        } else {
            Poll::Ready(Ok(()))
        }
    });
    match tokio::time::timeout(SETTLE, settled).await {
        Ok(Ok(())) | Err(_) => {}
        Ok(Err(error)) => return Err(no_http2(&error)),
    }
    let left = match want.cluster.max_requests_per_connection {
        Some(max) if max > 0 => max,
        _ => u32::MAX,
    };
    let limits = &want.cluster.config.limits;
    let shared = Arc::new(H2Shared {
        send,
        local: made.local,
        active: AtomicU32::new(0),
        left: AtomicU32::new(left),
        streams: limits
            .max_concurrent_streams
            .map_or(STREAMS, |most| most.clamp(1, STREAMS)),
        until: want.cluster.lives_until(),
        closed: AtomicBool::new(false),
        unused_since: Mutex::new(Instant::now()),
    });
    let closed = Arc::downgrade(&shared);
    let guard: Guard = made.guard;
    let keepalive = want.cluster.config.http2_keepalive;
    let answers = keepalive.and_then(|settings| Some((settings, connection.ping_pong()?)));
    tokio::spawn(async move {
        let result = match answers {
            None => connection.await,
            Some((settings, pings)) => tokio::select! {
                result = &mut connection => result,
                () = unanswered(settings, pings) => {
                    tracing::debug!("an upstream answers no PING");
                    Ok(())
                }
            },
        };
        if let Some(shared) = closed.upgrade() {
            shared.closed.store(true, Relaxed);
        }
        if let Err(error) = result {
            tracing::debug!(%error, "HTTP/2 connection to an upstream ended");
        }
        drop(guard);
    });
    Ok(Made::H2(shared))
}

/// Asks the upstream again and again whether it is there; ends when it does not answer.
async fn unanswered(settings: Http2Keepalive, mut pings: PingPong) {
    loop {
        tokio::time::sleep(Duration::from_millis(settings.interval_ms.max(1))).await;
        let wait = Duration::from_millis(settings.timeout_ms.max(1));
        let answered = tokio::time::timeout(wait, pings.ping(Ping::opaque())).await;
        if !matches!(answered, Ok(Ok(_))) {
            return;
        }
    }
}

fn no_http2(error: &h2::Error) -> ConnectError {
    tracing::debug!(%error, "an upstream does not speak HTTP/2");
    ConnectError {
        failure: ConnectFailure::Remote,
        transport: "".into(),
    }
}

/// One request on an HTTP/2 connection to an upstream. Dropped before its end, it resets the
/// stream.
pub(crate) struct UpH2 {
    out: H2Out,
    response: ResponseFuture,
    body: Option<RecvStream>,
    /// The response's body was read to its end.
    received: bool,
    lease: H2Lease,
    is_head: bool,
}

impl UpH2 {
    /// Sends the head.
    ///
    /// # Errors
    ///
    /// [`Fault::Closed`] when the connection takes no more requests: nothing was sent.
    pub(crate) fn start(
        lease: H2Lease,
        head: &RequestHead,
        scheme_tls: bool,
        end: bool,
    ) -> Result<Self, Fault> {
        let mut send = lease.shared.send.clone();
        let request = convert::request(head, scheme_tls).map_err(|_invalid| Fault::Protocol)?;
        match send.send_request(request, end) {
            Ok((response, stream)) => Ok(Self {
                out: H2Out::new(stream, end),
                response,
                body: None,
                received: false,
                lease,
                is_head: head.is_head(),
            }),
            Err(error) => {
                tracing::debug!(%error, "HTTP/2 connection to an upstream takes no request");
                lease.shared.closed.store(true, Relaxed);
                Err(Fault::Closed { untouched: true })
            }
        }
    }

    /// Our end's address.
    pub(crate) fn local(&self) -> Option<SocketAddr> {
        self.lease.local()
    }

    /// The request's body on its way.
    pub(crate) fn out(&mut self) -> &mut H2Out {
        &mut self.out
    }

    /// Sends what is queued.
    ///
    /// # Errors
    ///
    /// Why the stream takes no more.
    pub(crate) fn poll_write(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Fault>> {
        self.out.poll_write(cx).map_err(|lost| match lost {
            Lost::Closed => Fault::Reset,
            Lost::Error(error) => classify(&error),
        })
    }

    /// Waits for the next head: any number of 1xx, then the final one.
    ///
    /// # Errors
    ///
    /// Why there will be none.
    pub(crate) fn poll_head(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Box<ResponseHead>, Fault>> {
        if let Poll::Ready(Some(Ok(informational))) = self.response.poll_informational(cx) {
            let (parts, ()) = informational.into_parts();
            let head = convert::response_head(parts, false, self.is_head);
            return Poll::Ready(head.map(Box::new).map_err(|_invalid| Fault::Protocol));
        }
        let response = match ready!(Pin::new(&mut self.response).poll(cx)) {
            Ok(response) => response,
            Err(error) => return Poll::Ready(Err(classify(&error))),
        };
        let (parts, body) = response.into_parts();
        let end = body.is_end_stream();
        self.received = end;
        self.body = Some(body);
        let head = convert::response_head(parts, end, self.is_head);
        Poll::Ready(head.map(Box::new).map_err(|_invalid| Fault::Protocol))
    }

    /// Reads the response's body.
    ///
    /// # Errors
    ///
    /// Why it ended before its end.
    pub(crate) fn poll_body(&mut self, cx: &mut Context<'_>) -> Poll<Result<BodyEvent, Fault>> {
        match &mut self.body {
            Some(body) if !self.received => {
                poll_recv(body, cx, &mut self.received).map_err(|error| classify(&error))
            }
            Some(_) | None => Poll::Ready(Ok(BodyEvent::End(None))),
        }
    }

    /// Gives up: the upstream shall stop.
    pub(crate) fn reset(&mut self) {
        self.out.reset(Reason::CANCEL);
    }
}

/// Reads the next piece of a body and gives its window back; `received` is set once nothing more
/// comes.
pub(crate) fn poll_recv(
    body: &mut RecvStream,
    cx: &mut Context<'_>,
    received: &mut bool,
) -> Poll<Result<BodyEvent, h2::Error>> {
    loop {
        match ready!(body.poll_data(cx)) {
            Some(Ok(data)) => {
                // Passed on at once or held back by the other side's limit: the peer may send on.
                body.flow_control().release_capacity(data.len())?;
                if data.is_empty() {
                    continue;
                }
                *received = body.is_end_stream();
                return Poll::Ready(Ok(BodyEvent::Data(data)));
            }
            Some(Err(error)) => return Poll::Ready(Err(error)),
            None => {
                let trailers = ready!(body.poll_trailers(cx))?;
                *received = true;
                return Poll::Ready(Ok(BodyEvent::End(trailers.map(convert::trailers))));
            }
        }
    }
}

/// What an error of the `h2` crate means for a request that got no response yet.
fn classify(error: &h2::Error) -> Fault {
    let reason = error.reason();
    if reason == Some(Reason::REFUSED_STREAM) && error.is_remote() {
        Fault::Refused
    } else if error.is_go_away() && error.is_remote() && reason == Some(Reason::NO_ERROR) {
        // The upstream said that it has not seen this stream.
        Fault::Closed { untouched: true }
    } else if error.is_reset() && error.is_remote() {
        Fault::Reset
    } else if error.is_io() || error.is_remote() {
        Fault::Closed { untouched: false }
    } else {
        Fault::Protocol
    }
}
