//! Bytes on their way out of a connection.

use bytes::{Buf, Bytes};
use std::{
    collections::VecDeque,
    io::{self, IoSlice},
    pin::Pin,
    task::{Context, Poll, ready},
};
use tokio::io::AsyncWrite;

/// Pieces up to this size are copied behind what is waiting already; larger ones are kept as they
/// are and written with one vectored call.
const COPIED: usize = 2 * 1024;
/// Above this much waiting, nothing more is asked of the other side.
const HIGH_WATER: usize = 16 * 1024;
/// Slices per vectored write.
const SLICES: usize = 16;

/// Bytes on their way out of a connection: a queue of pieces, then a tail that is appended to.
#[derive(Default)]
pub(crate) struct Outbox {
    pieces: VecDeque<Bytes>,
    queued: usize,
    tail: Vec<u8>,
    /// How much of the tail is written.
    tail_at: usize,
    /// Written since the last flush: a TLS stream may still hold it.
    unflushed: bool,
    /// Everything ever written.
    written: u64,
}

impl Outbox {
    /// Whether there is no buffer to append to yet.
    pub(crate) fn needs_buffer(&self) -> bool {
        self.tail.capacity() == 0
    }

    /// Lends a buffer to append to; the one held before, if any, must be empty.
    pub(crate) fn lend(&mut self, buffer: Vec<u8>) {
        debug_assert!(self.tail.is_empty());
        self.tail = buffer;
    }

    /// Gives the buffer back; nothing if it still holds bytes.
    pub(crate) fn reclaim(&mut self) -> Option<Vec<u8>> {
        (self.is_done() && self.tail.capacity() > 0).then(|| std::mem::take(&mut self.tail))
    }

    /// The buffer that heads and framing are appended to.
    pub(crate) fn tail(&mut self) -> &mut Vec<u8> {
        &mut self.tail
    }

    /// Appends body bytes.
    pub(crate) fn push(&mut self, data: Bytes) {
        if data.len() <= COPIED {
            self.tail.extend_from_slice(&data);
            return;
        }
        if !self.tail.is_empty() {
            // The buffer itself joins the queue; what follows starts a small one.
            let mut before = Bytes::from(std::mem::take(&mut self.tail));
            before.advance(std::mem::take(&mut self.tail_at));
            self.queued += before.len();
            self.pieces.push_back(before);
        }
        self.queued += data.len();
        self.pieces.push_back(data);
    }

    /// Bytes not yet written.
    pub(crate) fn len(&self) -> usize {
        self.queued + self.tail.len() - self.tail_at
    }

    /// Whether everything is written and flushed.
    pub(crate) fn is_done(&self) -> bool {
        self.len() == 0 && !self.unflushed
    }

    /// Bytes ever written, to see progress.
    pub(crate) fn written(&self) -> u64 {
        self.written
    }

    /// Whether more may be appended.
    pub(crate) fn has_room(&self) -> bool {
        self.len() < HIGH_WATER
    }

    /// Writes and flushes everything. Ready means on the wire, as far as we can know.
    ///
    /// # Errors
    ///
    /// Those of the stream, and `WriteZero`.
    pub(crate) fn poll_write<W: AsyncWrite + Unpin>(
        &mut self,
        cx: &mut Context<'_>,
        stream: &mut W,
    ) -> Poll<io::Result<()>> {
        while self.len() > 0 {
            let written = ready!(self.poll_some(cx, stream))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.unflushed = true;
            self.written += u64::try_from(written).unwrap_or(0);
            self.advance(written);
        }
        if self.unflushed {
            ready!(Pin::new(stream).poll_flush(cx))?;
            self.unflushed = false;
        }
        Poll::Ready(Ok(()))
    }

    fn poll_some<W: AsyncWrite + Unpin>(
        &mut self,
        cx: &mut Context<'_>,
        stream: &mut W,
    ) -> Poll<io::Result<usize>> {
        let tail = self.tail.get(self.tail_at..).unwrap_or_default();
        if self.pieces.is_empty() {
            return Pin::new(stream).poll_write(cx, tail);
        }
        let mut slices = [IoSlice::new(&[]); SLICES];
        let sources = self
            .pieces
            .iter()
            .map(Bytes::as_ref)
            .chain(std::iter::once(tail))
            .filter(|piece| !piece.is_empty());
        let mut used = 0;
        for (slot, piece) in slices.iter_mut().zip(sources) {
            *slot = IoSlice::new(piece);
            used += 1;
        }
        let slices = slices.get(..used).unwrap_or_default();
        Pin::new(stream).poll_write_vectored(cx, slices)
    }

    fn advance(&mut self, mut written: usize) {
        while let Some(first) = self.pieces.front_mut() {
            if written < first.len() {
                first.advance(written);
                self.queued -= written;
                return;
            }
            written -= first.len();
            self.queued -= first.len();
            self.pieces.pop_front();
            if written == 0 {
                return;
            }
        }
        self.tail_at += written;
        if self.tail_at >= self.tail.len() {
            self.tail.clear();
            self.tail_at = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::task::Waker;

    /// Takes at most `at_once` bytes per call.
    struct Slow {
        got: Vec<u8>,
        at_once: usize,
    }

    impl AsyncWrite for Slow {
        fn poll_write(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
            buf: &[u8],
        ) -> Poll<io::Result<usize>> {
            let n = buf.len().min(self.at_once);
            self.got.extend_from_slice(&buf[..n]);
            Poll::Ready(Ok(n))
        }
        fn poll_write_vectored(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
            bufs: &[IoSlice<'_>],
        ) -> Poll<io::Result<usize>> {
            let all: Vec<u8> = bufs.iter().flat_map(|b| b.iter().copied()).collect();
            let n = all.len().min(self.at_once);
            self.got.extend_from_slice(&all[..n]);
            Poll::Ready(Ok(n))
        }
        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    #[test]
    fn pieces_leave_in_order_however_little_is_taken() {
        for at_once in [1, 7, 2048, 4096, 1 << 20] {
            let mut outbox = Outbox::default();
            let mut expected = Vec::new();
            for (i, size) in [10, 3000, 5, 2048, 2049, 1, 9000].into_iter().enumerate() {
                let piece = vec![u8::try_from(i).unwrap(); size];
                expected.extend_from_slice(&piece);
                if i % 3 == 0 {
                    outbox.tail().extend_from_slice(&piece);
                } else {
                    outbox.push(piece.into());
                }
            }
            assert_eq!(outbox.len(), expected.len());
            let mut slow = Slow {
                got: Vec::new(),
                at_once,
            };
            let mut cx = Context::from_waker(Waker::noop());
            assert!(outbox.poll_write(&mut cx, &mut slow).is_ready());
            assert!(outbox.is_done());
            assert_eq!(slow.got, expected);
        }
    }
}
