//! The upstream's side of one try, whatever it speaks.

use super::{
    buffer::Buffers,
    fault::Fault,
    pool::{Found, Pool},
    up_h1::UpH1,
    up_h2::UpH2,
};
use crate::{
    cluster::Cluster,
    http::{
        RequestHead, ResponseHead,
        h1::{BodyEvent, Trailers},
        h2 as convert,
    },
};
use bytes::Bytes;
use std::{
    net::SocketAddr,
    sync::Arc,
    task::{Context, Poll},
};

/// The upstream's side of one try.
pub(crate) enum Up {
    /// HTTP/1.
    H1(Box<UpH1>),
    /// HTTP/2.
    H2(Box<UpH2>),
}

impl Up {
    /// Queues the head; `end` if there is no body.
    ///
    /// # Errors
    ///
    /// Why the connection takes no request.
    pub(crate) fn start(
        found: Found,
        head: &RequestHead,
        cluster: &Cluster,
        end: bool,
        buffers: &Buffers,
    ) -> Result<Self, Fault> {
        match found {
            Found::H1(connection) => Ok(Self::H1(Box::new(UpH1::start(connection, head, buffers)))),
            Found::H2(lease) => {
                UpH2::start(lease, head, cluster.is_tls(), end).map(|up| Self::H2(Box::new(up)))
            }
        }
    }

    /// Our end's address.
    pub(crate) fn local(&self) -> Option<SocketAddr> {
        match self {
            Self::H1(up) => up.local(),
            Self::H2(up) => up.local(),
        }
    }

    /// Whether a failure now may only mean that a pooled connection was closed meanwhile.
    pub(crate) fn may_be_stale(&self) -> bool {
        match self {
            Self::H1(up) => up.may_be_stale(),
            Self::H2(_) => false,
        }
    }

    /// Queues body bytes.
    pub(crate) fn push(&mut self, data: Bytes) {
        match self {
            Self::H1(up) => up.push(data),
            Self::H2(up) => up.out().push(data),
        }
    }

    /// Queues the end.
    pub(crate) fn finish(&mut self, trailers: Option<&Trailers>) {
        match self {
            Self::H1(up) => up.finish(trailers),
            Self::H2(up) => up.out().finish(trailers.cloned().map(convert::trailer_map)),
        }
    }

    /// Whether more may be queued.
    pub(crate) fn has_room(&mut self) -> bool {
        match self {
            Self::H1(up) => up.has_room(),
            Self::H2(up) => up.out().has_room(),
        }
    }

    /// Writes what is queued.
    ///
    /// # Errors
    ///
    /// The upstream takes no more; it may have answered all the same.
    pub(crate) fn poll_write(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Fault>> {
        match self {
            Self::H1(up) => up.poll_write(cx),
            Self::H2(up) => up.poll_write(cx),
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
        match self {
            Self::H1(up) => up.poll_head(cx, buffers),
            Self::H2(up) => up.poll_head(cx),
        }
    }

    /// Reads the response's body.
    ///
    /// # Errors
    ///
    /// Why it ended before its end.
    pub(crate) fn poll_body(
        &mut self,
        cx: &mut Context<'_>,
        buffers: &Buffers,
    ) -> Poll<Result<BodyEvent, Fault>> {
        match self {
            Self::H1(up) => up.poll_body(cx, buffers),
            Self::H2(up) => up.poll_body(cx),
        }
    }

    /// Ends the try. A connection on which nothing is left over is used again; otherwise the
    /// upstream learns that nobody waits any more.
    pub(crate) fn release(self, buffers: &Buffers, pool: &Pool, cluster: &Arc<Cluster>) {
        match self {
            Self::H1(up) => up.release(buffers, pool, cluster),
            Self::H2(mut up) => up.reset(),
        }
    }
}
