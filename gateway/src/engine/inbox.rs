//! Bytes that arrived on a connection and are not consumed yet.

use super::buffer::{Buffers, LARGE, SMALL};
use bytes::BytesMut;
use std::{
    io,
    pin::pin,
    task::{Context, Poll},
};
use tokio::io::{AsyncRead, AsyncReadExt};

/// How much is read at once.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Amount {
    /// Enough for heads.
    Head,
    /// Enough for large bodies.
    Body,
}

/// Bytes that arrived on a connection and are not consumed yet. Holds a buffer only while there
/// are any.
#[derive(Default)]
pub(crate) struct Inbox {
    buffer: BytesMut,
}

impl Inbox {
    /// Starts with what was read already.
    pub(crate) fn new(ahead: BytesMut) -> Self {
        Self { buffer: ahead }
    }

    /// What is there.
    pub(crate) fn bytes(&mut self) -> &mut BytesMut {
        &mut self.buffer
    }

    /// How much is there.
    pub(crate) fn len(&self) -> usize {
        self.buffer.len()
    }

    /// Reads more; ready with 0 at the end of the stream.
    ///
    /// # Errors
    ///
    /// The stream's.
    pub(crate) fn poll_fill<R: AsyncRead + Unpin>(
        &mut self,
        cx: &mut Context<'_>,
        stream: &mut R,
        buffers: &Buffers,
        amount: Amount,
    ) -> Poll<io::Result<usize>> {
        let (wanted, spare) = match amount {
            Amount::Head => (SMALL, SMALL / 4),
            Amount::Body => (LARGE, LARGE / 2),
        };
        if self.buffer.capacity() - self.buffer.len() < spare {
            if self.buffer.is_empty() && !self.buffer.try_reclaim(wanted) {
                let old = std::mem::replace(
                    &mut self.buffer,
                    match amount {
                        Amount::Head => buffers.small(),
                        Amount::Body => buffers.large(),
                    },
                );
                buffers.give(old);
            } else {
                self.buffer.reserve(wanted);
            }
        }
        let read = pin!(stream.read_buf(&mut self.buffer)).poll(cx);
        if read.is_pending() {
            self.release(buffers);
        }
        read
    }

    /// Adds bytes that were read elsewhere.
    pub(crate) fn put(&mut self, bytes: &[u8], buffers: &Buffers) {
        if self.buffer.capacity() == 0 {
            self.buffer = buffers.small();
        }
        self.buffer.extend_from_slice(bytes);
    }

    /// Gives the buffer back if it is empty.
    pub(crate) fn release(&mut self, buffers: &Buffers) {
        if self.buffer.is_empty() && self.buffer.capacity() > 0 {
            buffers.give(std::mem::take(&mut self.buffer));
        }
    }
}
