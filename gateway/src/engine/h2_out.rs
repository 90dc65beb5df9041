//! A message's body on its way out on an HTTP/2 stream.

use bytes::Bytes;
use h2::{Reason, SendStream};
use http::HeaderMap;
use std::{
    collections::VecDeque,
    task::{Context, Poll, ready},
};

/// Above this much waiting for the peer's window, nothing more is asked of the other side.
const HIGH_WATER: usize = 64 * 1024;

/// The first bytes of a body are handed over without asking for the peer's window: the connection
/// keeps that much if need be, and small bodies need no more.
const CREDIT: usize = 4 * 1024;

/// A message's body on its way out on an HTTP/2 stream: hands pieces to the connection as the
/// peer's window allows.
pub(crate) struct H2Out {
    stream: SendStream<Bytes>,
    pieces: VecDeque<Bytes>,
    queued: usize,
    handed: usize,
    end: End,
}

/// Why a stream takes no more.
#[derive(Debug)]
pub(crate) enum Lost {
    /// The peer has reset it.
    Closed,
    /// Its connection failed.
    Error(h2::Error),
}

impl Lost {
    /// What a refused frame means: we only send what the stream's state allows, as far as we know
    /// it.
    fn of(error: h2::Error) -> Self {
        if error.is_io() || error.is_go_away() || error.is_reset() {
            Self::Error(error)
        } else {
            Self::Closed
        }
    }
}

enum End {
    /// More may come.
    Open,
    /// What is queued is all, and these trailers.
    Queued(Option<HeaderMap>),
    /// The peer was told.
    Sent,
}

impl H2Out {
    /// The body after a head; `ended` if the head said that there is none.
    pub(crate) fn new(stream: SendStream<Bytes>, ended: bool) -> Self {
        Self {
            stream,
            pieces: VecDeque::new(),
            queued: 0,
            handed: 0,
            end: if ended { End::Sent } else { End::Open },
        }
    }

    /// Queues body bytes.
    pub(crate) fn push(&mut self, data: Bytes) {
        if !data.is_empty() {
            self.queued += data.len();
            self.pieces.push_back(data);
        }
    }

    /// Queues the end.
    pub(crate) fn finish(&mut self, trailers: Option<HeaderMap>) {
        if matches!(self.end, End::Open) {
            self.end = End::Queued(trailers);
        }
    }

    /// Whether more may be queued.
    pub(crate) fn has_room(&self) -> bool {
        self.queued < HIGH_WATER
    }

    /// Whether everything queued was handed to the connection.
    pub(crate) fn is_done(&self) -> bool {
        self.queued == 0 && !matches!(self.end, End::Queued(_))
    }

    /// Bytes ever handed to the connection, to see progress.
    pub(crate) fn handed(&self) -> u64 {
        u64::try_from(self.handed).unwrap_or(u64::MAX)
    }

    /// Whether the end was handed to the connection.
    pub(crate) fn is_ended(&self) -> bool {
        matches!(self.end, End::Sent)
    }

    /// Hands over what the peer's window allows; ready when nothing is queued.
    ///
    /// # Errors
    ///
    /// The stream takes no more.
    pub(crate) fn poll_write(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Lost>> {
        while let Some(piece) = self.pieces.front_mut() {
            let mut room = CREDIT.saturating_sub(self.handed);
            if room < piece.len() {
                self.stream.reserve_capacity(self.queued);
                room = self.stream.capacity();
            }
            if room == 0 {
                match ready!(self.stream.poll_capacity(cx)) {
                    Some(Ok(capacity)) => room = capacity,
                    Some(Err(error)) => return Poll::Ready(Err(Lost::Error(error))),
                    None => return Poll::Ready(Err(Lost::Closed)),
                }
            }
            let part = piece.split_to(room.min(piece.len()));
            self.queued -= part.len();
            self.handed += part.len();
            if piece.is_empty() {
                self.pieces.pop_front();
            }
            let last = self.pieces.is_empty() && matches!(self.end, End::Queued(None));
            self.stream.send_data(part, last).map_err(Lost::of)?;
            if last {
                self.end = End::Sent;
            }
        }
        match std::mem::replace(&mut self.end, End::Sent) {
            End::Queued(Some(trailers)) => {
                self.stream.send_trailers(trailers).map_err(Lost::of)?;
            }
            End::Queued(None) => self
                .stream
                .send_data(Bytes::new(), true)
                .map_err(Lost::of)?,
            end @ (End::Open | End::Sent) => self.end = end,
        }
        Poll::Ready(Ok(()))
    }

    /// Ready when the peer has reset the stream.
    pub(crate) fn poll_reset(&mut self, cx: &mut Context<'_>) -> Poll<Result<Reason, h2::Error>> {
        self.stream.poll_reset(cx)
    }

    /// Resets the stream.
    pub(crate) fn reset(&mut self, reason: Reason) {
        self.stream.send_reset(reason);
    }
}
