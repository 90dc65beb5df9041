//! The client's side of one exchange, whatever it speaks.

use super::{buffer::Buffers, down_h1::DownH1, down_h2::DownH2};
use crate::http::{
    ResponseHead,
    h1::{BodyEvent, Trailers},
};
use bytes::Bytes;
use std::task::{Context, Poll};

/// Why the client's side cannot go on.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum DownError {
    /// The client closed its connection: flag `DC`.
    Gone,
    /// The body is malformed: flag `DPE`.
    Malformed,
    /// The client reset the stream: flag `DR`.
    Reset,
}

/// The client's side of one exchange.
pub(crate) enum Down {
    /// HTTP/1.
    H1(Box<DownH1>),
    /// HTTP/2.
    H2(Box<DownH2>),
}

impl Down {
    /// Reads the request's body.
    ///
    /// # Errors
    ///
    /// Why it ended before its end.
    pub(crate) fn poll_body(
        &mut self,
        cx: &mut Context<'_>,
        buffers: &Buffers,
    ) -> Poll<Result<BodyEvent, DownError>> {
        match self {
            Self::H1(down) => down.poll_body(cx, buffers),
            Self::H2(down) => down.poll_body(cx),
        }
    }

    /// Whether the request's body was read to its end.
    pub(crate) fn is_request_done(&self) -> bool {
        match self {
            Self::H1(down) => down.is_request_done(),
            Self::H2(down) => down.is_request_done(),
        }
    }

    /// Ready when the client is gone.
    pub(crate) fn poll_gone(&mut self, cx: &mut Context<'_>, buffers: &Buffers) -> Poll<DownError> {
        match self {
            Self::H1(down) => down.poll_gone(cx, buffers).map(|()| DownError::Gone),
            Self::H2(down) => down.poll_gone(cx),
        }
    }

    /// Queues an informational response.
    pub(crate) fn send_informational(&mut self, head: ResponseHead) {
        match self {
            Self::H1(down) => down.send_informational(&head),
            Self::H2(down) => down.send_informational(head),
        }
    }

    /// Tells a client that waits for it to send the body; others nothing.
    pub(crate) fn send_continue(&mut self) {
        match self {
            Self::H1(down) => down.send_continue(),
            Self::H2(down) => down.send_continue(),
        }
    }

    /// Queues the final head. `end` if there is no body; `close` ends the connection afterwards.
    ///
    /// # Errors
    ///
    /// The client is gone.
    pub(crate) fn send_head(
        &mut self,
        head: &mut ResponseHead,
        end: bool,
        close: bool,
    ) -> Result<(), DownError> {
        match self {
            Self::H1(down) => {
                down.send_head(head, close);
                Ok(())
            }
            Self::H2(down) => down.send_head(head, end),
        }
    }

    /// Queues body bytes.
    pub(crate) fn push(&mut self, data: Bytes) {
        match self {
            Self::H1(down) => down.push(data),
            Self::H2(down) => down.push(data),
        }
    }

    /// Queues the end.
    pub(crate) fn finish(&mut self, trailers: Option<Trailers>) {
        match self {
            Self::H1(down) => down.finish(trailers.as_ref()),
            Self::H2(down) => down.finish(trailers),
        }
    }

    /// Whether more may be queued.
    pub(crate) fn has_room(&self) -> bool {
        match self {
            Self::H1(down) => down.has_room(),
            Self::H2(down) => down.has_room(),
        }
    }

    /// Whether everything queued has left.
    pub(crate) fn is_flushed(&self) -> bool {
        match self {
            Self::H1(down) => down.is_flushed(),
            Self::H2(down) => down.is_flushed(),
        }
    }

    /// Bytes that ever left, to see progress.
    pub(crate) fn written(&self) -> u64 {
        match self {
            Self::H1(down) => down.written(),
            Self::H2(down) => down.written(),
        }
    }

    /// Writes what is queued.
    ///
    /// # Errors
    ///
    /// The client is gone.
    pub(crate) fn poll_write(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), DownError>> {
        match self {
            Self::H1(down) => down.poll_write(cx),
            Self::H2(down) => down.poll_write(cx),
        }
    }

    /// The response cannot be completed: the client must not take it for whole.
    pub(crate) fn cut(&mut self) {
        match self {
            Self::H1(down) => down.cut(),
            Self::H2(down) => down.cut(),
        }
    }
}
