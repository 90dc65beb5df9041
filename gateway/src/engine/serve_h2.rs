//! HTTP/2 connections of clients: one task per stream.

use super::{
    Held, Served, down::Down, down_h2::DownH2, flow::Flow, linger::Lingering, request, timer::Timer,
};
use crate::{
    core::Core,
    http::{RequestError, RequestHead, h2 as convert},
    listener::Io,
};
use bytes::Bytes;
use futures_util::task::AtomicWaker;
use h2::{
    Ping, PingPong, Reason, RecvStream,
    server::{Connection, SendResponse},
};
use parking_lot::Mutex;
use pingora_core::protocols::http::v2::server::default_h2_options;
use std::{
    future::{Future, poll_fn},
    pin::{Pin, pin},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed},
    },
    task::{Context, Poll},
    time::Duration,
};
use tokio::time::Instant;

/// Requests at once on a connection.
const STREAMS: u32 = 128;
/// What one request body may have in flight before we have passed it on.
const STREAM_WINDOW: u32 = 256 * 1024;
/// What all request bodies of a connection may have in flight.
const CONNECTION_WINDOW: u32 = 4 * 1024 * 1024;
/// Response bytes queued in the connection per stream.
const SEND_BUFFER: usize = 64 * 1024;
/// Streams a client may reset before we have answered them, above which it is not a client that
/// changed its mind but one that wants to keep us busy.
const RESETS: usize = 100;
/// How long after the last request a connection that drains may stay.
const DRAIN: Duration = Duration::from_secs(5);

/// How long a client may go on sending a request that was answered already. It is asked to stop
/// then: asked at once, some clients take the answer for lost.
const LINGER: Duration = Duration::from_secs(1);

/// What the streams of a connection share.
struct Shared {
    core: Arc<Core>,
    conn: Served,
    held: Mutex<Arc<Held>>,
    active: AtomicUsize,
    /// Streams that the client reset before it had an answer, less those that were answered.
    resets: AtomicUsize,
    /// A request ended after its answer, of which its client is to be told.
    late: AtomicBool,
    /// Wakes the connection for that, and when it is to end.
    waker: AtomicWaker,
}

impl Shared {
    /// A request has ended after its answer.
    fn ended_late(&self) {
        self.late.store(true, Relaxed);
        self.waker.wake();
    }

    /// What is served now.
    fn held(&self) -> Arc<Held> {
        let mut held = self.held.lock();
        if !held.is_current(&self.core) {
            *held = Arc::new(Held::now(&self.core, &self.conn.info));
        }
        Arc::clone(&held)
    }
}

/// Serves an HTTP/2 connection until it ends.
pub(super) async fn serve(core: Arc<Core>, io: Io, conn: Served) {
    let limits = core.config.limits;
    // Pingora's defaults bound what a peer may make us decode; ours are narrower where we know more.
    let mut builder = default_h2_options();
    builder
        .max_concurrent_streams(STREAMS)
        .initial_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_send_buffer_size(SEND_BUFFER)
        .max_header_list_size(u32::try_from(limits.header_bytes).unwrap_or(u32::MAX));
    let handshake = builder.handshake::<_, Bytes>(Lingering::new(io, Arc::clone(&core)));
    let handshake = Box::pin(tokio::time::timeout(limits.header_timeout, handshake));
    let Ok(Ok(mut connection)) = handshake.await else {
        return;
    };
    let held = Mutex::new(Arc::new(Held::now(&core, &conn.info)));
    let shared = Arc::new(Shared {
        core,
        conn,
        held,
        active: AtomicUsize::new(0),
        resets: AtomicUsize::new(0),
        late: AtomicBool::new(false),
        waker: AtomicWaker::new(),
    });
    let mut signal = shared.conn.info.drain.clone();
    let mut draining = pin!(async move { signal.wait().await });
    accept(&shared, &mut connection, draining.as_mut()).await;
}

/// Takes streams as they come.
async fn accept(
    shared: &Arc<Shared>,
    connection: &mut Connection<Lingering, Bytes>,
    mut draining: Pin<&mut impl Future<Output = ()>>,
) {
    let idle = shared.core.config.limits.idle_timeout;
    let mut timer = Timer::default();
    let mut since = Instant::now();
    let mut drained = false;
    let mut nudge = Nudge {
        ping: connection.ping_pong(),
        waiting: false,
    };
    poll_fn(|cx| {
        shared.waker.register(cx.waker());
        let ended = shared.conn.admitted.is_ended();
        if !drained && (ended || draining.as_mut().poll(cx).is_ready()) {
            drained = true;
            since = Instant::now();
            connection.graceful_shutdown();
        }
        loop {
            match connection.poll_accept(cx) {
                Poll::Ready(Some(Ok((request, respond)))) => {
                    since = Instant::now();
                    if shared.resets.load(Relaxed) > RESETS {
                        connection.abrupt_shutdown(Reason::ENHANCE_YOUR_CALM);
                    }
                    begin(shared, request, respond);
                }
                Poll::Ready(Some(Err(error))) => {
                    tracing::debug!(%error, "HTTP/2 connection of a client failed");
                    return Poll::Ready(());
                }
                Poll::Ready(None) => return Poll::Ready(()),
                Poll::Pending => break,
            }
        }
        nudge.poll(shared, cx);
        poll_unused(
            shared,
            &mut timer,
            cx,
            since,
            if drained { DRAIN } else { idle },
        )
    })
    .await;
}

/// Ready when a connection without streams has been so for too long.
fn poll_unused(
    shared: &Shared,
    timer: &mut Timer,
    cx: &mut Context<'_>,
    since: Instant,
    longest: Duration,
) -> Poll<()> {
    let mut deadline = since + longest;
    loop {
        if timer.poll(cx, Some(deadline)).is_pending() {
            return Poll::Pending;
        }
        if shared.active.load(Relaxed) == 0 {
            return Poll::Ready(());
        }
        deadline = Instant::now() + longest;
    }
}

/// Sends a PING once a request has ended after its answer. Nothing else is left to be said on such
/// a stream, and some clients (curl 7.88) look at what became of it only when something comes.
struct Nudge {
    ping: Option<PingPong>,
    /// For the answer to one.
    waiting: bool,
}

impl Nudge {
    fn poll(&mut self, shared: &Shared, cx: &mut Context<'_>) {
        let Some(ping) = &mut self.ping else { return };
        if self.waiting {
            self.waiting = ping.poll_pong(cx).is_pending();
        }
        if !self.waiting && shared.late.swap(false, Relaxed) {
            self.waiting =
                ping.send_ping(Ping::opaque()).is_ok() && ping.poll_pong(cx).is_pending();
        }
    }
}

/// Starts the task of one stream.
fn begin(
    shared: &Arc<Shared>,
    request: http::Request<RecvStream>,
    mut respond: SendResponse<Bytes>,
) {
    let started = Instant::now();
    let (parts, body) = request.into_parts();
    let head = match convert::request_head(parts, body.is_end_stream()) {
        Ok(head) => Ok(Box::new(head)),
        Err(error) if error.is_reset() => {
            respond.send_reset(Reason::PROTOCOL_ERROR);
            request::reject(&shared.core, &shared.conn, &error, started);
            return;
        }
        Err(error) => Err(error),
    };
    shared.active.fetch_add(1, Relaxed);
    let active = Active(Arc::clone(shared));
    let expects_continue = head.as_ref().is_ok_and(|head| head.expects_continue());
    // Boxed here, and what serves it below: a task is moved several times, as it starts and ends.
    let down = Down::H2(Box::new(DownH2::new(expects_continue, body, respond)));
    match head {
        Ok(head) => {
            tokio::spawn(Box::pin(stream(active, head, down, started)));
        }
        Err(error) => {
            tokio::spawn(Box::pin(refuse(active, error, down, started)));
        }
    }
}

/// Answers what is not a request.
async fn refuse(active: Active, error: RequestError, mut down: Down, started: Instant) {
    let Shared { core, conn, .. } = &*active.0;
    request::refuse((core, conn), &mut down, error, started).await;
    Box::pin(see_off(&active, &mut down)).await;
}

/// Serves one stream.
async fn stream(active: Active, head: Box<RequestHead>, mut down: Down, started: Instant) {
    let Shared {
        core, conn, resets, ..
    } = &*active.0;
    let held = active.0.held();
    let mut timer = Timer::default();
    let shared = (&**core, conn, &*held.table);
    let mut flow = Flow::new(shared, &mut down, &mut timer, Some(head), started);
    request::serve(&mut flow).await;
    drop(flow);
    if conn.admitted.is_ended() {
        active.0.waker.wake();
    }
    let Down::H2(stream) = &mut down else { return };
    if stream.is_answered() {
        // Saturates at 0: a client that behaves may make up for what it did before.
        let _ = resets.fetch_update(Relaxed, Relaxed, |resets| resets.checked_sub(1));
    } else if core.resets.is_flood(conn.info.peer.ip()) {
        resets.store(RESETS + 1, Relaxed);
    } else {
        resets.fetch_add(1, Relaxed);
    }
    if !stream.is_request_done() {
        Box::pin(see_off(&active, &mut down)).await;
    }
}

/// Takes what still comes of a request that was answered already.
async fn see_off(active: &Active, down: &mut Down) {
    let Down::H2(stream) = down else { return };
    if !stream.is_answered() || stream.is_request_done() {
        return;
    }
    let discard = poll_fn(|cx| stream.poll_discard(cx));
    if let Ok(true) = tokio::time::timeout(LINGER, discard).await {
        active.0.ended_late();
    }
}

/// A stream that is being served.
struct Active(Arc<Shared>);

impl Drop for Active {
    fn drop(&mut self) {
        self.0.active.fetch_sub(1, Relaxed);
    }
}
