//! What one worker writes, and what collects it.

use super::{Exchange, ListenerStats};
use crate::Config;
use std::{net::SocketAddr, sync::Arc, time::Duration};

/// The access log and the metrics of the process.
#[derive(Debug)]
pub(crate) struct Telemetry {}

/// The part of [`Telemetry`] that one worker writes to.
#[derive(Debug)]
pub(crate) struct Shard {
    telemetry: Arc<Telemetry>,
}

impl Telemetry {
    /// Starts the log's writer thread.
    ///
    /// # Errors
    ///
    /// When the thread cannot be spawned.
    pub(crate) fn start(config: &Config) -> std::io::Result<Arc<Self>> {
        let _ = config;
        Ok(Arc::new(Self {}))
    }

    /// A new part for one worker; call it once per worker.
    pub(crate) fn shard(self: &Arc<Self>) -> Shard {
        Shard {
            telemetry: Arc::clone(self),
        }
    }

    /// The counters of the listener on `address`; the same ones as long as somebody holds them.
    pub(crate) fn listener(&self, address: SocketAddr) -> Arc<ListenerStats> {
        Arc::new(ListenerStats::new(address))
    }

    /// What the last delta led to.
    pub(crate) fn configured(&self, epoch: u64, rejected: usize) {
        let _ = (epoch, rejected);
    }

    /// Writes all lines there are, waiting at most `longest`.
    pub(crate) fn flush(&self, longest: Duration) {
        let _ = longest;
    }
}

impl Shard {
    /// Writes the line and counts. Call it exactly once per request, however it ended.
    pub(crate) fn record(&self, exchange: &Exchange<'_>) {
        let _ = (exchange, &self.telemetry);
    }
}
