//! What the tries of one exchange share.

use super::{
    Served,
    deadline::{Deadlines, Expired, earliest},
    down::{Down, DownError},
    record::Record,
    replay::Replay,
    timer::Timer,
    up::Up,
};
use crate::{
    core::Core,
    http::{RequestHead, h1::Trailers},
    listener::ListenerTable,
};
use bytes::Bytes;
use std::{
    task::{Context, Poll},
    time::Duration,
};
use tokio::time::Instant;

/// Longest time a client may take nothing of what waits for it.
const STALL: Duration = Duration::from_secs(60);

/// What the tries of one exchange share.
pub(crate) struct Flow<'f> {
    /// The worker.
    pub(crate) core: &'f Core,
    /// The client and the clock.
    pub(crate) client: Client<'f>,
    /// What becomes of the exchange.
    pub(crate) record: Record<'f>,
    /// The request's body.
    pub(crate) body: RequestBody,
    /// The client's connection.
    pub(crate) conn: &'f Served,
    /// What the listener serves, for the whole of the request.
    pub(crate) table: &'f ListenerTable,
    /// When the request's first byte was seen.
    pub(crate) started: Instant,
    /// Whether the route's edits apply to our own answer.
    pub(crate) edits_reply: bool,
    /// A cookie for the client that keeps it with the endpoint.
    pub(crate) set_cookie: Option<Box<str>>,
}

/// The client's side of an exchange, and the clock.
pub(crate) struct Client<'f> {
    /// The client's side.
    pub(crate) down: &'f mut Down,
    /// Time limits.
    pub(crate) deadlines: Deadlines,
    timer: &'f mut Timer,
    /// Since when, and at how many bytes written, the client takes nothing.
    stalled: Option<(Instant, u64)>,
}

/// What interrupts a wait.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Idle {
    /// The client is gone.
    Down(DownError),
    /// A time limit has passed.
    Expired(Expired),
}

impl Client<'_> {
    /// Watches the client, unless somebody else does, and the clock.
    pub(crate) fn poll_idle(
        &mut self,
        cx: &mut Context<'_>,
        core: &Core,
        watch: bool,
    ) -> Poll<Idle> {
        if watch && let Poll::Ready(error) = self.down.poll_gone(cx, &core.buffers) {
            return Poll::Ready(Idle::Down(error));
        }
        let stalled = self.stalled();
        let next = earliest(self.deadlines.next(), stalled);
        if self.timer.poll(cx, next).is_pending() {
            return Poll::Pending;
        }
        if let Some(expired) = self.deadlines.expired() {
            return Poll::Ready(Idle::Expired(expired));
        }
        if stalled.is_some_and(|at| at <= Instant::now()) {
            return Poll::Ready(Idle::Down(DownError::Gone));
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// When a client that takes nothing is given up.
    fn stalled(&mut self) -> Option<Instant> {
        if self.down.is_flushed() {
            self.stalled = None;
            return None;
        }
        let written = self.down.written();
        let since = match self.stalled {
            Some((since, before)) if before == written => since,
            _ => {
                let now = Instant::now();
                self.stalled = Some((now, written));
                now
            }
        };
        Some(since + STALL)
    }

    /// Waits between tries.
    ///
    /// # Errors
    ///
    /// What made waiting pointless.
    pub(crate) async fn pause(&mut self, core: &Core, length: Duration) -> Result<(), Idle> {
        let mut pause = std::pin::pin!(tokio::time::sleep(length));
        std::future::poll_fn(|cx| {
            if pause.as_mut().poll(cx).is_ready() {
                return Poll::Ready(Ok(()));
            }
            self.poll_idle(cx, core, true).map(Err)
        })
        .await
    }
}

impl<'f> Flow<'f> {
    /// An exchange that begins with this head.
    pub(crate) fn new(
        (core, conn, table): (&'f Core, &'f Served, &'f ListenerTable),
        down: &'f mut Down,
        timer: &'f mut Timer,
        head: Option<Box<RequestHead>>,
        started: Instant,
    ) -> Self {
        Self {
            core,
            conn,
            table,
            client: Client {
                down,
                deadlines: Deadlines::none(),
                timer,
                stalled: None,
            },
            record: Record::new(core, conn, head, started.into_std()),
            body: RequestBody::default(),
            started,
            edits_reply: false,
            set_cookie: None,
        }
    }

    /// Writes everything queued for the client.
    ///
    /// # Errors
    ///
    /// What made waiting pointless.
    pub(crate) async fn flush(&mut self) -> Result<(), Idle> {
        std::future::poll_fn(|cx| match self.client.down.poll_write(cx) {
            Poll::Ready(Ok(())) => Poll::Ready(Ok(())),
            Poll::Ready(Err(error)) => Poll::Ready(Err(Idle::Down(error))),
            Poll::Pending => self.client.poll_idle(cx, self.core, true).map(Err),
        })
        .await
    }

    /// The request has arrived whole.
    pub(crate) fn request_complete(&mut self) {
        self.client.deadlines.request_complete();
        self.record.request_complete();
    }

    /// The upstream's part is over.
    pub(crate) fn release(&self, up: Up) {
        if let Some(cluster) = self.record.cluster {
            up.release(&self.core.buffers, &self.core.pool, cluster);
        }
    }
}

/// A request's body on its way, across tries.
#[derive(Debug, Default)]
pub(crate) struct RequestBody {
    /// What earlier tries sent.
    pub(crate) replay: Replay,
    /// The body was read to its end.
    pub(crate) ended: bool,
    /// What came after it.
    pub(crate) trailers: Option<Trailers>,
    /// Largest size allowed.
    limit: Option<u64>,
    received: u64,
}

impl RequestBody {
    /// A body of which nothing is read; `replay` says whether to keep it for another try.
    pub(crate) fn new(replay: bool, limit: Option<u64>) -> Self {
        Self {
            replay: Replay::new(replay),
            limit,
            ..Self::default()
        }
    }

    /// Counts and keeps a piece; false if the body is too large now.
    #[must_use]
    pub(crate) fn count(&mut self, data: &Bytes) -> bool {
        self.received += u64::try_from(data.len()).unwrap_or(u64::MAX);
        if self.limit.is_some_and(|limit| self.received > limit) {
            return false;
        }
        self.replay.record(data);
        true
    }
}
