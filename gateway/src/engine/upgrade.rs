//! Connections that changed their protocol: bytes are copied both ways until one side ends.

use super::{
    buffer::Buffers,
    down::Down,
    down_h1::DownH1,
    fault::Cut,
    flow::Flow,
    inbox::{Amount, Inbox},
    outbox::Outbox,
    up::Up,
};
use crate::engine::down::DownError;
use std::{
    future::poll_fn,
    task::{Context, Poll},
};
use tokio::io::{AsyncRead, AsyncWrite};

/// Rounds before other tasks of the core get their turn.
const ROUNDS: usize = 32;

/// Which side ended an upgraded connection.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Over {
    Client,
    Upstream,
}

/// One direction.
struct Lane<'l> {
    from: &'l mut Inbox,
    to: &'l mut Outbox,
}

/// What a direction came to.
enum Moved {
    /// The source has ended.
    Ended,
    /// The sink failed.
    Broken,
    /// Nothing more for now; how many bytes were moved, and whether the sink was full.
    Waiting(usize, bool),
}

impl Lane<'_> {
    fn poll<R, W>(
        &mut self,
        cx: &mut Context<'_>,
        source: &mut R,
        sink: &mut W,
        buffers: &Buffers,
    ) -> Moved
    where
        R: AsyncRead + Unpin,
        W: AsyncWrite + Unpin,
    {
        let mut moved = 0;
        for _ in 0..ROUNDS {
            if self.from.len() > 0 && self.to.has_room() {
                let data = self.from.bytes().split().freeze();
                moved += data.len();
                self.to.push(data);
            }
            match self.to.poll_write(cx, sink) {
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(_)) => return Moved::Broken,
                Poll::Pending if self.to.has_room() => {}
                Poll::Pending => return Moved::Waiting(moved, true),
            }
            match self.from.poll_fill(cx, source, buffers, Amount::Head) {
                Poll::Ready(Ok(1..)) => {}
                Poll::Ready(Ok(0) | Err(_)) => return Moved::Ended,
                Poll::Pending => return Moved::Waiting(moved, false),
            }
        }
        cx.waker().wake_by_ref();
        Moved::Waiting(moved, false)
    }
}

/// Copies both ways until one side ends, then ends the other: an upgraded connection has no half
/// that could live on.
pub(super) async fn splice(flow: &mut Flow<'_>, up: Up) {
    let Flow {
        core,
        client,
        record,
        ..
    } = flow;
    let (Down::H1(down), Up::H1(up)) = (&mut *client.down, up) else {
        return;
    };
    let down: &mut DownH1 = down;
    let (mut upstream, mut from_up, mut to_up, _guard) = up.into_raw();
    let (io, from_down, to_down) = down.raw();
    let over = poll_fn(|cx| {
        let mut there = Lane {
            from: from_down,
            to: &mut to_up,
        };
        // Both directions are polled in every turn: each leaves its own wakers.
        let request = there.poll(cx, io, &mut upstream, &core.buffers);
        let mut back = Lane {
            from: &mut from_up,
            to: to_down,
        };
        let response = back.poll(cx, &mut upstream, io, &core.buffers);
        if let Moved::Waiting(bytes, _) = request {
            record.count_received(bytes);
        }
        if let Moved::Waiting(bytes, _) = response {
            record.count_sent(bytes);
        }
        match (request, response) {
            (Moved::Ended, _) | (_, Moved::Broken) => Poll::Ready(Over::Client),
            (Moved::Broken, _) | (_, Moved::Ended) => Poll::Ready(Over::Upstream),
            (Moved::Waiting(..), Moved::Waiting(..)) => Poll::Pending,
        }
    })
    .await;
    match over {
        Over::Client => record.down_failed(DownError::Gone),
        Over::Upstream => record.cut(Cut::Closed),
    }
    down.cut();
}
