//! Connections that changed their protocol: bytes are copied both ways until one side ends.

use super::{
    buffer::Buffers,
    down::{Down, DownError},
    fault::Cut,
    flow::Flow,
    inbox::{Amount, Inbox},
    outbox::Outbox,
    up::Up,
};
use socket2::{SockRef, TcpKeepalive};
use std::{
    future::poll_fn,
    task::{Context, Poll},
    time::Duration,
};
use tokio::io::{AsyncRead, AsyncWrite};

/// How long a peer may be silent before it is asked whether it is there.
const PROBED_AFTER: Duration = Duration::from_secs(120);
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
    /// The source has ended.
    ended: bool,
}

/// What a direction came to.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Moved {
    /// The source has ended, and everything it sent has left.
    Ended,
    /// The sink failed.
    Broken,
    /// Nothing more for now.
    Waiting,
}

impl Lane<'_> {
    /// Moves what can be moved; the bytes are counted in `moved`.
    fn poll<R, W>(
        &mut self,
        cx: &mut Context<'_>,
        (source, sink): (&mut R, &mut W),
        buffers: &Buffers,
        moved: &mut usize,
    ) -> Moved
    where
        R: AsyncRead + Unpin,
        W: AsyncWrite + Unpin,
    {
        for _ in 0..ROUNDS {
            if self.from.len() > 0 && self.to.has_room() {
                let data = self.from.bytes().split().freeze();
                *moved += data.len();
                self.to.push(data);
            }
            match self.to.poll_write(cx, sink) {
                Poll::Ready(Ok(())) => self.give_back(buffers),
                Poll::Ready(Err(_)) => return Moved::Broken,
                Poll::Pending if self.to.has_room() && !self.ended => {}
                Poll::Pending => return Moved::Waiting,
            }
            if self.ended {
                return Moved::Ended;
            }
            match self.from.poll_fill(cx, source, buffers, Amount::Head) {
                Poll::Ready(Ok(1..)) => {}
                // What came before the end is written first.
                Poll::Ready(Ok(0) | Err(_)) => self.ended = true,
                Poll::Pending => return Moved::Waiting,
            }
        }
        cx.waker().wake_by_ref();
        Moved::Waiting
    }

    /// A connection that waits owns no buffer.
    fn give_back(&mut self, buffers: &Buffers) {
        if let Some(buffer) = self.to.reclaim() {
            buffers.give_out(buffer);
        }
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
    let (mut upstream, mut from_up, mut to_up, _guard) = up.into_raw();
    let (io, from_down, to_down) = down.raw();
    for socket in [io.tcp(), upstream.tcp()] {
        // No clock runs any more: only this tells of a peer that is gone without a word. A socket
        // that cannot do it is served without.
        let probing = TcpKeepalive::new().with_time(PROBED_AFTER);
        let _ = SockRef::from(socket).set_tcp_keepalive(&probing);
    }
    let mut there = Lane {
        from: from_down,
        to: &mut to_up,
        ended: false,
    };
    let mut back = Lane {
        from: &mut from_up,
        to: to_down,
        ended: false,
    };
    let over = poll_fn(|cx| {
        let (mut received, mut sent) = (0, 0);
        // Both directions are polled in every turn: each leaves its own wakers.
        let request = there.poll(cx, (io, &mut upstream), &core.buffers, &mut received);
        let response = back.poll(cx, (&mut upstream, io), &core.buffers, &mut sent);
        record.count_received(received);
        record.count_sent(sent);
        match (request, response) {
            (Moved::Ended, _) | (_, Moved::Broken) => Poll::Ready(Over::Client),
            (Moved::Broken, _) | (_, Moved::Ended) => Poll::Ready(Over::Upstream),
            (Moved::Waiting, Moved::Waiting) => Poll::Pending,
        }
    })
    .await;
    match over {
        Over::Client => record.down_failed(DownError::Gone),
        Over::Upstream => record.cut(Cut::Closed),
    }
    down.cut();
}
