//! Copies bytes both ways between two connections.
//!
//! A connection that waits owns no buffer: each direction takes one of the worker's when there is
//! something to read, and gives it back as soon as everything has been written. A direction reads
//! nothing while its sink does not take what was read before.

use crate::{
    cluster::UpstreamIo,
    core::Core,
    engine::{Buffers, Timer},
    listener::Io,
};
use bytes::{Buf, BytesMut};
use std::{
    future::{Future, poll_fn},
    io,
    pin::{Pin, pin},
    task::{Context, Poll, ready},
    time::Duration,
};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite},
    time::Instant,
};

/// Reads of one direction before others get their turn.
const ROUNDS: usize = 32;

/// How two connections came to their end.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Over {
    /// Both sides have ended what they had to say, and it was delivered.
    Ended,
    /// Nobody said anything for too long.
    Idle,
    /// The client reset the connection.
    ClientGone,
    /// The upstream did.
    UpstreamGone,
}

/// Copies both ways until it is over. An end is passed on, and the other direction lives on.
/// `moved` learns how many bytes were received from the client and sent to it.
pub(super) async fn both(
    core: &Core,
    (down, up): (&mut Io, &mut UpstreamIo),
    idle_timeout: Option<Duration>,
    mut moved: impl FnMut(u64, u64),
) -> Over {
    let (mut there, mut back) = (Lane::default(), Lane::default());
    let mut timer = Timer::default();
    let mut last = Instant::now();
    poll_fn(|cx| {
        let (mut received, mut sent) = (0, 0);
        // Both directions are polled in every turn: each leaves its own wakers.
        let request = there.poll(cx, (&mut *down, &mut *up), &core.buffers, &mut received);
        let response = back.poll(cx, (&mut *up, &mut *down), &core.buffers, &mut sent);
        if received > 0 || sent > 0 {
            moved(received, sent);
            last = Instant::now();
        }
        match (request, response) {
            (Poll::Ready(Err(Broken::Source)), _) | (_, Poll::Ready(Err(Broken::Sink))) => {
                return Poll::Ready(Over::ClientGone);
            }
            (_, Poll::Ready(Err(Broken::Source))) => return Poll::Ready(Over::UpstreamGone),
            (Poll::Ready(Ok(())), Poll::Ready(Ok(()))) => return Poll::Ready(Over::Ended),
            // What the upstream said before it went away is delivered first.
            (Poll::Ready(Err(Broken::Sink)), Poll::Ready(Ok(()))) => {
                return Poll::Ready(Over::UpstreamGone);
            }
            (_, Poll::Pending) | (Poll::Pending, _) => {}
        }
        ready!(timer.poll(cx, idle_timeout.map(|longest| last + longest)));
        Poll::Ready(Over::Idle)
    })
    .await
}

/// Says goodbye where that can be done at once.
pub(super) async fn farewell(sink: &mut (impl AsyncWrite + Unpin)) {
    poll_fn(|cx| {
        let _ = Pin::new(&mut *sink).poll_shutdown(cx);
        Poll::Ready(())
    })
    .await;
}

/// Which side of a direction failed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Broken {
    Source,
    Sink,
}

/// One direction.
#[derive(Default)]
struct Lane {
    /// What was read and is not written yet.
    pending: BytesMut,
    /// Something was written and perhaps not sent.
    unflushed: bool,
    phase: Phase,
}

#[derive(Clone, Copy, Default)]
enum Phase {
    #[default]
    Copying,
    /// The source has ended; the sink is to be told.
    Ending,
    Over(Result<(), Broken>),
}

impl Lane {
    /// Moves what can be moved; the bytes are counted in `moved`. Ready when this direction is
    /// over.
    fn poll<R, W>(
        &mut self,
        cx: &mut Context<'_>,
        (source, sink): (&mut R, &mut W),
        buffers: &Buffers,
        moved: &mut u64,
    ) -> Poll<Result<(), Broken>>
    where
        R: AsyncRead + Unpin,
        W: AsyncWrite + Unpin,
    {
        for _ in 0..ROUNDS {
            if let Err(broken) = ready!(self.poll_write(cx, sink, buffers, moved)) {
                self.phase = Phase::Over(Err(broken));
            }
            self.phase = match self.phase {
                Phase::Over(result) => return Poll::Ready(result),
                Phase::Copying => ready!(self.poll_read(cx, (source, sink), buffers)),
                Phase::Ending => {
                    let told = ready!(Pin::new(&mut *sink).poll_shutdown(cx));
                    Phase::Over(told.map_err(|_error| Broken::Sink))
                }
            };
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// Ready when nothing is pending any more.
    fn poll_write<W: AsyncWrite + Unpin>(
        &mut self,
        cx: &mut Context<'_>,
        sink: &mut W,
        buffers: &Buffers,
        moved: &mut u64,
    ) -> Poll<Result<(), Broken>> {
        if self.pending.is_empty() {
            return Poll::Ready(Ok(()));
        }
        while !self.pending.is_empty() {
            match ready!(Pin::new(&mut *sink).poll_write(cx, &self.pending)) {
                Ok(written @ 1..) => {
                    self.pending.advance(written);
                    *moved += u64::try_from(written).unwrap_or_default();
                }
                Ok(0) | Err(_) => {
                    self.pending = BytesMut::new();
                    return Poll::Ready(Err(Broken::Sink));
                }
            }
        }
        self.unflushed = true;
        buffers.give(std::mem::take(&mut self.pending));
        Poll::Ready(Ok(()))
    }

    /// Ready with the next phase when something was read, or the source has ended.
    fn poll_read<R, W>(
        &mut self,
        cx: &mut Context<'_>,
        (source, sink): (&mut R, &mut W),
        buffers: &Buffers,
    ) -> Poll<Phase>
    where
        R: AsyncRead + Unpin,
        W: AsyncWrite + Unpin,
    {
        let mut buffer = buffers.large();
        let read = pin!(source.read_buf(&mut buffer)).poll(cx);
        match read {
            Poll::Ready(Ok(1..)) => {
                self.pending = buffer;
                return Poll::Ready(Phase::Copying);
            }
            Poll::Ready(_) | Poll::Pending => buffers.give(buffer),
        }
        match read {
            Poll::Ready(Ok(_)) => Poll::Ready(Phase::Ending),
            // TLS that ended without saying so: nothing else is known to be missing.
            Poll::Ready(Err(error)) if error.kind() == io::ErrorKind::UnexpectedEof => {
                Poll::Ready(Phase::Ending)
            }
            Poll::Ready(Err(_)) => Poll::Ready(Phase::Over(Err(Broken::Source))),
            Poll::Pending => {
                if self.unflushed {
                    match Pin::new(sink).poll_flush(cx) {
                        Poll::Ready(Ok(())) => self.unflushed = false,
                        Poll::Ready(Err(_)) => {
                            return Poll::Ready(Phase::Over(Err(Broken::Sink)));
                        }
                        Poll::Pending => {}
                    }
                }
                Poll::Pending
            }
        }
    }
}
