//! Serves connections: attempts, retries, streaming.

use crate::{
    core::Core,
    listener::{ConnectionInfo, Io},
};
use std::sync::Arc;

/// Serves one accepted connection until it ends.
pub(crate) async fn serve_connection(core: Arc<Core>, io: Io, info: ConnectionInfo) {
    let _ = (core, io, info);
}
