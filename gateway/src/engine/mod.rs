//! Serves connections: attempts, retries, streaming.

mod buffer;
mod fault;
mod outbox;
mod replay;
mod retry;
mod timer;

pub(crate) use buffer::Buffers;

use crate::{
    core::Core,
    listener::{ConnectionInfo, Io},
};
use std::sync::Arc;

/// Serves one accepted connection until it ends.
///
/// Run it as a task on the worker's own runtime. It returns when the connection is closed; a panic
/// in it costs this connection only.
pub(crate) async fn serve_connection(core: Arc<Core>, io: Io, info: ConnectionInfo) {
    let _ = (core, io, info);
}
