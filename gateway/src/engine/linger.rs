//! Closes the socket of a client that may still be sending.
//!
//! A socket that is closed with unread bytes is reset, and the reset may destroy what the peer has
//! not read yet. The `h2` crate closes as soon as it has said everything, so what it is given
//! closes itself with care.

use super::buffer::Buffers;
use crate::{
    core::Core,
    engine::inbox::{Amount, Inbox},
    listener::Io,
};
use std::{
    future::poll_fn,
    io::{self, IoSlice},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};

/// How long the client is listened to after the end.
const LINGER: Duration = Duration::from_secs(1);
/// Bytes read and thrown away at most.
const DISCARDED: usize = 1024 * 1024;

/// A client's connection that is closed with care.
pub(crate) struct Lingering {
    io: Option<Io>,
    core: Arc<Core>,
}

impl Lingering {
    /// Takes care of a connection.
    pub(crate) fn new(io: Io, core: Arc<Core>) -> Self {
        Self { io: Some(io), core }
    }

    fn io(&mut self) -> io::Result<Pin<&mut Io>> {
        let io = self.io.as_mut().ok_or(io::ErrorKind::NotConnected)?;
        Ok(Pin::new(io))
    }
}

impl Drop for Lingering {
    fn drop(&mut self) {
        if let (Some(io), Ok(runtime)) = (self.io.take(), tokio::runtime::Handle::try_current()) {
            let core = Arc::clone(&self.core);
            runtime.spawn(async move {
                // Whoever still sends after that is reset.
                let _ = tokio::time::timeout(LINGER, discard(io, &core.buffers)).await;
            });
        }
    }
}

async fn discard(mut io: Io, buffers: &Buffers) {
    if io.shutdown().await.is_err() {
        return;
    }
    let mut inbox = Inbox::default();
    let mut discarded = 0;
    while discarded < DISCARDED {
        let read = poll_fn(|cx| inbox.poll_fill(cx, &mut io, buffers, Amount::Head)).await;
        match read {
            Ok(bytes @ 1..) => discarded += bytes,
            Ok(0) | Err(_) => break,
        }
        inbox.bytes().clear();
    }
    inbox.release(buffers);
}

impl AsyncRead for Lingering {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.io()?.poll_read(cx, buf)
    }
}

impl AsyncWrite for Lingering {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.io()?.poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.io()?.poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.as_ref().is_some_and(AsyncWrite::is_write_vectored)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.io()?.poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.io()?.poll_shutdown(cx)
    }
}
