//! Access log and metrics.
//!
//! Workers write to their own [`Shard`]: a buffer of log lines that a writer thread takes away,
//! and counters that only they write. Nothing shared is written on the request path.

mod clock;
mod exchange;
mod flags;
mod line;
mod listener;
mod metrics;
mod series;
mod shard;
mod tcp;
mod udp;
mod writer;

pub(crate) use clock::rfc3339;
pub(crate) use exchange::{Exchange, HttpVersion};
pub(crate) use flags::{Flag, ResponseFlags};
pub(crate) use listener::ListenerStats;
pub(crate) use metrics::Metrics;
pub(crate) use shard::{Shard, Telemetry};
pub(crate) use tcp::{ConnectionEnd, TcpSeries};
