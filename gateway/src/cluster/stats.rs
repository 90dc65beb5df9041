//! What a cluster counts about its connections. Requests are counted by telemetry.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Counts events.
#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    /// One more.
    pub(crate) fn inc(&self) {
        self.0.fetch_add(1, Relaxed);
    }

    /// More.
    pub(crate) fn add(&self, count: u64) {
        self.0.fetch_add(count, Relaxed);
    }

    /// How many.
    pub(crate) fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

/// What a cluster counts about its connections, named as Envoy's `upstream_cx_…`.
#[derive(Debug, Default)]
pub(crate) struct Stats {
    /// Connections opened, TLS finished.
    pub(crate) cx_total: Counter,
    /// … that speak HTTP/1.1.
    pub(crate) cx_http1_total: Counter,
    /// … that speak HTTP/2.
    pub(crate) cx_http2_total: Counter,
    /// Connections that could not be opened, time-outs included.
    pub(crate) cx_connect_fail: Counter,
    /// Connections not opened in time.
    pub(crate) cx_connect_timeout: Counter,
    /// Connections refused by the circuit breaker.
    pub(crate) cx_overflow: Counter,
    /// Certificates that could not be verified.
    pub(crate) ssl_fail_verify_error: Counter,
    /// Names that were resolved.
    pub(crate) update_success: Counter,
    /// Names that could not be resolved.
    pub(crate) update_failure: Counter,
}
