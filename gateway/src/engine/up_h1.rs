//! One request on an HTTP/1 connection to an upstream.

use super::{
    buffer::{Buffers, SMALL},
    fault::Fault,
    inbox::{Amount, Inbox},
    outbox::Outbox,
    pool::{H1Connection, Pool},
};
use crate::{
    cluster::{Cluster, UpstreamIo},
    http::{
        BodyFraming, RequestHead, ResponseHead,
        h1::{
            BodyDecoder, BodyEvent, CHUNK_END, HeadLimits, ResponseParser, Trailers,
            write_chunk_start, write_last_chunk, write_request,
        },
    },
};
use bytes::Bytes;
use std::{
    net::SocketAddr,
    sync::Arc,
    task::{Context, Poll, ready},
};

/// One request on an HTTP/1 connection to an upstream.
pub(crate) struct UpH1 {
    connection: H1Connection,
    inbox: Inbox,
    out: Outbox,
    parser: ResponseParser,
    body: Option<BodyDecoder>,
    chunked: bool,
    /// The end of the request is queued.
    ended: bool,
    /// The upstream lets the connection be used again.
    keep_alive: bool,
    /// Anything of a response has arrived.
    heard: bool,
}

impl UpH1 {
    /// Queues the head.
    pub(crate) fn start(connection: H1Connection, head: &RequestHead, buffers: &Buffers) -> Self {
        let mut out = Outbox::default();
        out.lend(buffers.out());
        write_request(head, out.tail());
        Self {
            connection,
            inbox: Inbox::default(),
            out,
            parser: ResponseParser::new(HeadLimits::RESPONSE, head.http_method(), head.upgrade()),
            body: None,
            chunked: head.framing() == BodyFraming::Chunked,
            ended: false,
            keep_alive: false,
            heard: false,
        }
    }

    /// Our end's address.
    pub(crate) fn local(&self) -> Option<SocketAddr> {
        self.connection.local
    }

    /// Whether the connection served another request before and nothing of a response to this
    /// one has arrived.
    pub(crate) fn may_be_stale(&self) -> bool {
        self.connection.served > 0 && !self.heard
    }

    /// Queues body bytes.
    pub(crate) fn push(&mut self, data: Bytes) {
        if data.is_empty() {
            return;
        }
        if self.chunked {
            write_chunk_start(data.len(), self.out.tail());
            self.out.push(data);
            self.out.tail().extend_from_slice(CHUNK_END);
        } else {
            self.out.push(data);
        }
    }

    /// Queues the end.
    pub(crate) fn finish(&mut self, trailers: Option<&Trailers>) {
        if self.chunked && !self.ended {
            write_last_chunk(trailers, self.out.tail());
        }
        self.ended = true;
    }

    /// Whether more may be queued.
    pub(crate) fn has_room(&self) -> bool {
        self.out.has_room()
    }

    /// Writes what is queued.
    ///
    /// # Errors
    ///
    /// [`Fault::Closed`]; what the upstream answered before may still be read.
    pub(crate) fn poll_write(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Fault>> {
        let written = self.out.poll_write(cx, &mut self.connection.io);
        written.map_err(|_closed| self.closed())
    }

    fn closed(&self) -> Fault {
        Fault::Closed {
            untouched: self.connection.served > 0 && self.out.written() == 0,
        }
    }

    /// Reads the next head: any number of 1xx, then the final one.
    ///
    /// # Errors
    ///
    /// Why there will be none.
    pub(crate) fn poll_head(
        &mut self,
        cx: &mut Context<'_>,
        buffers: &Buffers,
    ) -> Poll<Result<Box<ResponseHead>, Fault>> {
        loop {
            if self.inbox.len() > 0 {
                match self.parser.parse(self.inbox.bytes()) {
                    Ok(Some(head)) => {
                        self.accept(&head);
                        return Poll::Ready(Ok(Box::new(head)));
                    }
                    Ok(None) => {}
                    Err(error) => {
                        tracing::debug!(%error, "an upstream's answer is malformed");
                        return Poll::Ready(Err(Fault::Protocol));
                    }
                }
            }
            let io = &mut self.connection.io;
            match ready!(self.inbox.poll_fill(cx, io, buffers, Amount::Head)) {
                Ok(1..) => self.heard = true,
                // Cut inside the head.
                Ok(0) | Err(_) if self.inbox.len() > 0 => return Poll::Ready(Err(Fault::Protocol)),
                Ok(0) | Err(_) => return Poll::Ready(Err(self.closed())),
            }
        }
    }

    fn accept(&mut self, head: &ResponseHead) {
        if !head.is_informational() {
            self.body = Some(BodyDecoder::new(head.framing()));
            self.keep_alive = head.keep_alive();
        }
    }

    /// Reads the response's body.
    ///
    /// # Errors
    ///
    /// It ended before its end, or is malformed.
    pub(crate) fn poll_body(
        &mut self,
        cx: &mut Context<'_>,
        buffers: &Buffers,
    ) -> Poll<Result<BodyEvent, Fault>> {
        let Some(body) = &mut self.body else {
            return Poll::Ready(Err(Fault::Protocol));
        };
        loop {
            match body.decode(self.inbox.bytes()) {
                Ok(Some(event)) => return Poll::Ready(Ok(event)),
                Ok(None) => {}
                Err(_malformed) => return Poll::Ready(Err(Fault::Protocol)),
            }
            let large = body
                .remaining()
                .is_some_and(|left| usize::try_from(left).unwrap_or(usize::MAX) > SMALL);
            let amount = if large { Amount::Body } else { Amount::Head };
            let io = &mut self.connection.io;
            match ready!(self.inbox.poll_fill(cx, io, buffers, amount)) {
                Ok(1..) => {}
                Ok(0) => {
                    let last = body.finish().map_err(|_early| Fault::Protocol);
                    return Poll::Ready(last.and_then(|event| event.ok_or(Fault::Protocol)));
                }
                Err(_reset) => return Poll::Ready(Err(Fault::Protocol)),
            }
        }
    }

    /// Ends the exchange: the connection is pooled if nothing is left over on it, else closed.
    pub(crate) fn release(self, buffers: &Buffers, pool: &Pool, cluster: &Arc<Cluster>) {
        let (clean, connection) = self.dismantle(buffers);
        if clean {
            pool.put(connection, cluster);
        }
    }

    fn dismantle(mut self, buffers: &Buffers) -> (bool, H1Connection) {
        let over = self.skip_body();
        let clean =
            over && self.keep_alive && self.ended && self.out.is_done() && self.inbox.len() == 0;
        self.inbox.release(buffers);
        if let Some(buffer) = self.out.reclaim() {
            buffers.give_out(buffer);
        }
        (clean, self.connection)
    }

    /// Reads what has arrived of a body that nobody wants; true if that is all of it.
    fn skip_body(&mut self) -> bool {
        let Some(body) = &mut self.body else {
            return false;
        };
        loop {
            match body.decode(self.inbox.bytes()) {
                Ok(Some(BodyEvent::Data(_))) => {}
                Ok(Some(BodyEvent::End(_))) => return true,
                Ok(None) => return body.is_done(),
                Err(_malformed) => return false,
            }
        }
    }

    /// After a 101: the stream, and what was read of it already.
    pub(crate) fn into_raw(self) -> (UpstreamIo, Inbox, Outbox, H1Guard) {
        let H1Connection { io, guard, .. } = self.connection;
        (io, self.inbox, self.out, guard)
    }
}

/// Counts an upgraded connection against its circuit breaker.
pub(crate) type H1Guard = crate::cluster::Guard;
