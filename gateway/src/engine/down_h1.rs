//! The client's side of an HTTP/1 connection.

use super::{
    buffer::{Buffers, SMALL},
    down::DownError,
    inbox::{Amount, Inbox},
    outbox::Outbox,
};
use crate::{
    http::{
        BodyFraming, RequestError, RequestHead, ResponseHead, Version,
        h1::{
            BodyDecoder, BodyEvent, CHUNK_END, Connection, HeadLimits, RequestParser, Trailers,
            write_chunk_start, write_continue, write_last_chunk, write_response,
        },
    },
    listener::Io,
};
use bytes::Bytes;
use std::{
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Bytes read and thrown away while a connection is closed, so that the client reads our answer
/// before it is told that nobody listens.
const DISCARDED: usize = 1024 * 1024;

/// The client's side of an HTTP/1 connection.
pub(crate) struct DownH1 {
    io: Io,
    inbox: Inbox,
    out: Outbox,
    parser: RequestParser,
    /// Body of the current request.
    body: BodyDecoder,
    version: Version,
    /// The current request is a HEAD.
    is_head: bool,
    /// The client lets the connection be used again.
    keep_alive: bool,
    /// The client waits for a 100 before it sends the body.
    expects_continue: bool,
    /// How the end of the current response is told.
    framing: BodyFraming,
    /// The connection is closed after the current response.
    closing: bool,
    /// The final head of the current response is queued.
    answered: bool,
    /// The client was told that nothing more comes.
    shut: bool,
    /// The current response was cut off.
    cut: bool,
    /// Bytes thrown away since then.
    discarded: usize,
}

impl DownH1 {
    /// A connection on which nothing has happened.
    pub(crate) fn new(mut io: Io, limits: HeadLimits) -> Self {
        let inbox = Inbox::new(io.take_ahead());
        let tls = io.is_tls();
        Self {
            io,
            inbox,
            out: Outbox::default(),
            parser: RequestParser::new(limits, tls),
            body: BodyDecoder::new(BodyFraming::None),
            version: Version::Http11,
            is_head: false,
            keep_alive: true,
            expects_continue: false,
            framing: BodyFraming::None,
            closing: false,
            answered: false,
            shut: false,
            cut: false,
            discarded: 0,
        }
    }

    /// Whether any byte of the next request is there.
    pub(crate) fn has_begun(&self) -> bool {
        self.inbox.len() > 0
    }

    /// Reads the next request's head; nothing at the end of the connection.
    ///
    /// # Errors
    ///
    /// What to answer to a malformed head.
    pub(crate) fn poll_request(
        &mut self,
        cx: &mut Context<'_>,
        buffers: &Buffers,
    ) -> Poll<Result<Option<RequestHead>, RequestError>> {
        loop {
            if self.inbox.len() > 0
                && let Some(head) = self.parser.parse(self.inbox.bytes())?
            {
                self.begin(&head, buffers);
                return Poll::Ready(Ok(Some(head)));
            }
            let read = self
                .inbox
                .poll_fill(cx, &mut self.io, buffers, Amount::Head);
            match ready!(read) {
                Ok(1..) => {}
                Ok(0) | Err(_) => return Poll::Ready(Ok(None)),
            }
        }
    }

    fn begin(&mut self, head: &RequestHead, buffers: &Buffers) {
        self.body = BodyDecoder::new(head.framing());
        self.version = head.version();
        self.is_head = head.is_head();
        self.keep_alive = head.keep_alive();
        self.expects_continue = head.expects_continue();
        self.closing = false;
        self.answered = false;
        self.framing = BodyFraming::None;
        if self.out.needs_buffer() {
            self.out.lend(buffers.out());
        }
    }

    /// Readies the connection for an answer to what is not a request.
    pub(crate) fn refuse(&mut self, buffers: &Buffers) {
        self.closing = true;
        self.answered = false;
        if self.out.needs_buffer() {
            self.out.lend(buffers.out());
        }
    }

    /// Reads the request's body.
    ///
    /// # Errors
    ///
    /// The client is gone, or the body is malformed.
    pub(crate) fn poll_body(
        &mut self,
        cx: &mut Context<'_>,
        buffers: &Buffers,
    ) -> Poll<Result<BodyEvent, DownError>> {
        loop {
            match self.body.decode(self.inbox.bytes()) {
                Ok(Some(event)) => return Poll::Ready(Ok(event)),
                Ok(None) => {}
                Err(_malformed) => return Poll::Ready(Err(DownError::Malformed)),
            }
            let large = self
                .body
                .remaining()
                .is_some_and(|left| usize::try_from(left).unwrap_or(usize::MAX) > SMALL);
            let amount = if large { Amount::Body } else { Amount::Head };
            match ready!(self.inbox.poll_fill(cx, &mut self.io, buffers, amount)) {
                Ok(1..) => {}
                Ok(0) | Err(_) => return Poll::Ready(Err(DownError::Gone)),
            }
        }
    }

    /// Whether the request's body was read to its end.
    pub(crate) fn is_request_done(&self) -> bool {
        self.body.is_done() || self.body.remaining() == Some(0)
    }

    /// Ready when the client is gone; its end of sending counts as that. Reads ahead a little.
    pub(crate) fn poll_gone(&mut self, cx: &mut Context<'_>, buffers: &Buffers) -> Poll<()> {
        if self.inbox.len() == 0 {
            // Usually nothing comes: one byte asks without a buffer.
            let mut byte = [0];
            let mut probe = ReadBuf::new(&mut byte);
            let read = ready!(Pin::new(&mut self.io).poll_read(cx, &mut probe));
            if read.is_err() || probe.filled().is_empty() {
                return Poll::Ready(());
            }
            self.inbox.put(probe.filled(), buffers);
        }
        while self.inbox.len() < SMALL {
            let read = self
                .inbox
                .poll_fill(cx, &mut self.io, buffers, Amount::Head);
            match ready!(read) {
                Ok(1..) => {}
                Ok(0) | Err(_) => return Poll::Ready(()),
            }
        }
        Poll::Pending
    }

    /// Queues an informational response. Clients that would not understand it get none.
    pub(crate) fn send_informational(&mut self, head: &ResponseHead) {
        if self.answered || self.version == Version::Http10 {
            return;
        }
        if head.status() == 100 {
            self.send_continue();
        } else {
            write_response(head, self.version, Connection::KeepAlive, self.out.tail());
        }
    }

    /// Tells a client that waits for it to send the body; others nothing.
    pub(crate) fn send_continue(&mut self) {
        if std::mem::take(&mut self.expects_continue) {
            write_continue(self.out.tail());
        }
    }

    /// Queues the final head. `close` ends the connection after this response.
    pub(crate) fn send_head(&mut self, head: &mut ResponseHead, close: bool) {
        let http10 = self.version == Version::Http10;
        match head.framing() {
            BodyFraming::Chunked if http10 => head.set_framing(BodyFraming::UntilClose),
            BodyFraming::UntilClose if !http10 => head.set_framing(BodyFraming::Chunked),
            // An HTTP/2 upstream need not say that there is no body; an HTTP/1 client must know.
            BodyFraming::None
                if !self.is_head && !matches!(head.status(), 100..200 | 204 | 304) =>
            {
                head.set_framing(BodyFraming::Length(0));
            }
            BodyFraming::None
            | BodyFraming::Length(_)
            | BodyFraming::Chunked
            | BodyFraming::UntilClose => {}
        }
        self.framing = head.framing();
        self.closing |= close
            || !self.keep_alive
            || !self.is_request_done()
            || self.framing == BodyFraming::UntilClose;
        let connection = if head.status() == 101 {
            Connection::Upgrade
        } else if self.closing {
            Connection::Close
        } else if http10 {
            Connection::KeepAlive10
        } else {
            Connection::KeepAlive
        };
        self.answered = true;
        write_response(head, self.version, connection, self.out.tail());
    }

    /// Queues body bytes.
    pub(crate) fn push(&mut self, data: Bytes) {
        if data.is_empty() || self.framing == BodyFraming::None {
            return;
        }
        if self.framing == BodyFraming::Chunked {
            write_chunk_start(data.len(), self.out.tail());
            self.out.push(data);
            self.out.tail().extend_from_slice(CHUNK_END);
        } else {
            self.out.push(data);
        }
    }

    /// Queues the end.
    pub(crate) fn finish(&mut self, trailers: Option<&Trailers>) {
        if self.framing == BodyFraming::Chunked {
            write_last_chunk(trailers, self.out.tail());
        }
    }

    /// Whether more may be queued.
    pub(crate) fn has_room(&self) -> bool {
        self.out.has_room()
    }

    /// Whether everything queued is on the wire.
    pub(crate) fn is_flushed(&self) -> bool {
        self.out.is_done()
    }

    /// Bytes ever written, to see progress.
    pub(crate) fn written(&self) -> u64 {
        self.out.written()
    }

    /// Writes what is queued.
    ///
    /// # Errors
    ///
    /// The client is gone.
    pub(crate) fn poll_write(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), DownError>> {
        let written = self.out.poll_write(cx, &mut self.io);
        written.map_err(|_closed| DownError::Gone)
    }

    /// The response cannot be completed: what is queued may leave, its end never will.
    pub(crate) fn cut(&mut self) {
        self.closing = true;
        self.cut = true;
    }

    /// Ends the exchange; whether another request may follow.
    pub(crate) fn end(&mut self, buffers: &Buffers) -> bool {
        self.inbox.release(buffers);
        if let Some(buffer) = self.out.reclaim() {
            buffers.give_out(buffer);
        }
        !self.closing && self.answered && self.is_request_done() && self.out.is_done()
    }

    /// Whether the client may still be sending: closing at once would destroy our answer.
    pub(crate) fn must_linger(&self) -> bool {
        self.answered && self.closing && (self.keep_alive || !self.is_request_done())
    }

    /// Writes what is queued and says that nothing more comes; with `linger`, then discards what
    /// the client sends until it closes.
    pub(crate) fn poll_close(
        &mut self,
        cx: &mut Context<'_>,
        buffers: &Buffers,
        linger: bool,
    ) -> Poll<()> {
        if !self.shut {
            if ready!(self.poll_write(cx)).is_err() {
                return Poll::Ready(());
            }
            if self.cut && self.framing == BodyFraming::UntilClose {
                // An orderly end would make what was sent look whole.
                let _ = socket2::SockRef::from(self.io.tcp()).set_linger(Some(Duration::ZERO));
                return Poll::Ready(());
            }
            if ready!(Pin::new(&mut self.io).poll_shutdown(cx)).is_err() {
                return Poll::Ready(());
            }
            self.shut = true;
        }
        if !linger {
            return Poll::Ready(());
        }
        loop {
            self.discarded += self.inbox.len();
            self.inbox.bytes().clear();
            if self.discarded > DISCARDED {
                return Poll::Ready(());
            }
            let read = self
                .inbox
                .poll_fill(cx, &mut self.io, buffers, Amount::Head);
            match ready!(read) {
                Ok(1..) => {}
                Ok(0) | Err(_) => return Poll::Ready(()),
            }
        }
    }

    /// The parts, for a connection that changes its protocol.
    pub(crate) fn raw(&mut self) -> (&mut Io, &mut Inbox, &mut Outbox) {
        (&mut self.io, &mut self.inbox, &mut self.out)
    }
}
