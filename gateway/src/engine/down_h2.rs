//! The client's side of one HTTP/2 stream.

use super::{
    down::DownError,
    h2_out::{H2Out, Lost},
    up_h2::poll_recv,
};
use crate::http::{
    ResponseHead,
    h1::{BodyEvent, Trailers},
    h2 as convert,
};
use bytes::Bytes;
use h2::{Reason, RecvStream, server::SendResponse};
use std::task::{Context, Poll, ready};

/// Pieces up to this size are copied, so that they do not keep a whole read buffer alive until
/// the connection has written them.
const COPIED: usize = 1024;

/// The client's side of one HTTP/2 stream.
pub(crate) struct DownH2 {
    respond: SendResponse<Bytes>,
    body: RecvStream,
    /// The request's body was read to its end.
    received: bool,
    expects_continue: bool,
    out: Option<H2Out>,
    bodiless: bool,
}

impl DownH2 {
    /// A stream whose head arrived.
    pub(crate) fn new(
        expects_continue: bool,
        body: RecvStream,
        respond: SendResponse<Bytes>,
    ) -> Self {
        Self {
            respond,
            received: body.is_end_stream(),
            body,
            expects_continue,
            out: None,
            bodiless: false,
        }
    }

    /// Reads the request's body.
    ///
    /// # Errors
    ///
    /// The client is gone, has reset the stream, or broke the protocol.
    pub(crate) fn poll_body(&mut self, cx: &mut Context<'_>) -> Poll<Result<BodyEvent, DownError>> {
        if self.received {
            return Poll::Ready(Ok(BodyEvent::End(None)));
        }
        let event = poll_recv(&mut self.body, cx, &mut self.received);
        event.map_err(|error| classify(&error))
    }

    /// Whether the request's body was read to its end.
    pub(crate) fn is_request_done(&self) -> bool {
        self.received
    }

    /// Reads what is left of the request's body and throws it away; ready when nothing more comes,
    /// with whether that was its end.
    pub(crate) fn poll_discard(&mut self, cx: &mut Context<'_>) -> Poll<bool> {
        while !self.received {
            if ready!(poll_recv(&mut self.body, cx, &mut self.received)).is_err() {
                return Poll::Ready(false);
            }
        }
        Poll::Ready(true)
    }

    /// Whether the final head was sent.
    pub(crate) fn is_answered(&self) -> bool {
        self.out.is_some()
    }

    /// Ready when the client has reset the stream or is gone.
    pub(crate) fn poll_gone(&mut self, cx: &mut Context<'_>) -> Poll<DownError> {
        let reset = match &mut self.out {
            Some(out) if out.is_ended() => return Poll::Pending,
            Some(out) => out.poll_reset(cx),
            None => self.respond.poll_reset(cx),
        };
        reset.map(|reason| match reason {
            Ok(_) => DownError::Reset,
            Err(error) => classify(&error),
        })
    }

    /// Sends an informational response.
    pub(crate) fn send_informational(&mut self, mut head: ResponseHead) {
        if self.out.is_some() {
            return;
        }
        if head.status() == 100 && !std::mem::take(&mut self.expects_continue) {
            return;
        }
        if let Ok(response) = convert::response(&mut head) {
            // A stream that is gone is noticed where it matters.
            let _ = self.respond.send_informational(response);
        }
    }

    /// Tells a client that waits for it to send the body; others nothing.
    pub(crate) fn send_continue(&mut self) {
        if self.expects_continue {
            self.send_informational(ResponseHead::new(100));
        }
    }

    /// Sends the final head; `end` if there is no body.
    ///
    /// # Errors
    ///
    /// The client is gone.
    pub(crate) fn send_head(
        &mut self,
        head: &mut ResponseHead,
        end: bool,
    ) -> Result<(), DownError> {
        let response = convert::response(head).map_err(|_invalid| DownError::Gone)?;
        self.bodiless = end;
        let stream = self
            .respond
            .send_response(response, end)
            .map_err(|error| classify(&error))?;
        self.out = Some(H2Out::new(stream, end));
        Ok(())
    }

    /// Queues body bytes.
    pub(crate) fn push(&mut self, data: Bytes) {
        let Some(out) = &mut self.out else { return };
        if self.bodiless {
            return;
        }
        if data.len() <= COPIED {
            out.push(Bytes::copy_from_slice(&data));
        } else {
            out.push(data);
        }
    }

    /// Queues the end.
    pub(crate) fn finish(&mut self, trailers: Option<Trailers>) {
        if let Some(out) = &mut self.out {
            out.finish(trailers.map(convert::trailer_map));
        }
    }

    /// Whether more may be queued.
    pub(crate) fn has_room(&self) -> bool {
        self.out.as_ref().is_none_or(H2Out::has_room)
    }

    /// Whether everything queued was handed to the connection.
    pub(crate) fn is_flushed(&self) -> bool {
        self.out.as_ref().is_none_or(H2Out::is_done)
    }

    /// Bytes ever handed to the connection, to see progress.
    pub(crate) fn written(&self) -> u64 {
        self.out.as_ref().map_or(0, H2Out::handed)
    }

    /// Hands over what the client's window allows.
    ///
    /// # Errors
    ///
    /// The client is gone or has reset the stream.
    pub(crate) fn poll_write(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), DownError>> {
        match &mut self.out {
            Some(out) => out.poll_write(cx).map_err(|lost| match lost {
                Lost::Closed => DownError::Reset,
                Lost::Error(error) => classify(&error),
            }),
            None => Poll::Ready(Ok(())),
        }
    }

    /// The response cannot be completed.
    pub(crate) fn cut(&mut self) {
        match &mut self.out {
            Some(out) => out.reset(Reason::INTERNAL_ERROR),
            None => self.respond.send_reset(Reason::INTERNAL_ERROR),
        }
    }
}

/// What an error of the `h2` crate says about the client.
fn classify(error: &h2::Error) -> DownError {
    if error.is_reset() && error.is_remote() {
        DownError::Reset
    } else if error.is_io() || error.is_remote() {
        DownError::Gone
    } else {
        DownError::Malformed
    }
}
