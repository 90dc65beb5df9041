//! HTTP/1 connections of clients: one request after the other.

use super::{Held, Served, down::Down, down_h1::DownH1, flow::Flow, request, timer::Timer};
use crate::{
    core::Core,
    http::{RequestError, RequestHead, h1::HeadLimits},
    listener::Io,
};
use std::{
    future::{Future, poll_fn},
    pin::{Pin, pin},
    sync::Arc,
    task::Poll,
    time::Duration,
};
use tokio::time::Instant;

/// How long an answer that ends a connection is given to reach a client that still sends.
const LINGER: Duration = Duration::from_secs(1);
/// How long a last answer may take to be written.
const LAST_WRITE: Duration = Duration::from_secs(10);

/// What a connection comes to while no request is served.
enum Next {
    Request(Box<RequestHead>, Instant),
    Malformed(RequestError, Instant),
    Over,
}

/// Serves an HTTP/1 connection until it ends.
pub(super) async fn serve(core: Arc<Core>, io: Io, conn: Served) {
    let (core, conn) = (&*core, &conn);
    let limits = HeadLimits {
        bytes: core.config.limits.header_bytes,
        fields: core.config.limits.headers,
    };
    let mut down = Down::H1(Box::new(DownH1::new(io, limits)));
    let mut timer = Timer::default();
    let mut signal = conn.info.drain.clone();
    let mut draining = pin!(async move { signal.wait().await });
    let mut held = Held::now(core, &conn.info);
    let mut ended = Instant::now();
    loop {
        let Down::H1(client) = &mut down else { return };
        let waiting = Waiting {
            core,
            client,
            timer: &mut timer,
            idle_since: ended,
        };
        let (head, started) = match next(waiting, draining.as_mut()).await {
            Next::Request(head, started) => (Ok(head), started),
            Next::Malformed(error, started) => (Err(error), started),
            Next::Over => return,
        };
        if !held.is_current(core) {
            held = Held::now(core, &conn.info);
        }
        // Its own allocation: an idle connection need not hold a request's state.
        let exchange = Box::pin(async {
            match head {
                Ok(head) => {
                    let shared = (core, conn, &*held.table);
                    let mut flow = Flow::new(shared, &mut down, &mut timer, Some(head), started);
                    request::serve(&mut flow).await
                }
                Err(error) => request::refuse((core, conn), &mut down, error, started).await,
            }
        });
        ended = Instant::from_std(exchange.await);
        let Down::H1(client) = &mut down else { return };
        if !client.end(&core.buffers) {
            return close(core, client, &mut timer).await;
        }
    }
}

/// A connection between two requests.
struct Waiting<'w> {
    core: &'w Core,
    client: &'w mut DownH1,
    timer: &'w mut Timer,
    idle_since: Instant,
}

/// Waits for the next request. Over when the listener drains and no request has begun.
async fn next(waiting: Waiting<'_>, mut draining: Pin<&mut impl Future<Output = ()>>) -> Next {
    let Waiting {
        core,
        client,
        timer,
        idle_since,
    } = waiting;
    let limits = &core.config.limits;
    let mut begun: Option<Instant> = None;
    poll_fn(|cx| {
        let read = client.poll_request(cx, &core.buffers);
        if client.has_begun() && begun.is_none() {
            begun = Some(Instant::now());
        }
        let started = |begun: Option<Instant>| begun.unwrap_or_else(Instant::now);
        match read {
            Poll::Ready(Ok(Some(head))) => {
                return Poll::Ready(Next::Request(Box::new(head), started(begun)));
            }
            Poll::Ready(Ok(None)) => return Poll::Ready(Next::Over),
            Poll::Ready(Err(error)) => {
                return Poll::Ready(Next::Malformed(error, started(begun)));
            }
            Poll::Pending => {}
        }
        let deadline = match begun {
            Some(begun) => begun + limits.header_timeout,
            None => {
                if draining.as_mut().poll(cx).is_ready() {
                    return Poll::Ready(Next::Over);
                }
                idle_since + limits.idle_timeout
            }
        };
        timer.poll(cx, Some(deadline)).map(|()| Next::Over)
    })
    .await
}

/// Closes a connection so that the client gets the answer it was sent.
async fn close(core: &Core, client: &mut DownH1, timer: &mut Timer) {
    let lingering = client.must_linger();
    let mut deadline = Instant::now() + LAST_WRITE;
    let mut flushed = false;
    poll_fn(|cx| {
        if !flushed && client.is_flushed() {
            flushed = true;
            deadline = Instant::now() + LINGER;
        }
        if client.poll_close(cx, &core.buffers, lingering).is_ready() {
            return Poll::Ready(());
        }
        timer.poll(cx, Some(deadline))
    })
    .await;
}
