//! Connections that carry bytes: plain, after TLS, or TLS that is passed through.
//!
//! A connection's way: its filter chains were chosen when it was accepted ([`Accepted`]); the rule
//! by its server name and the target by weight are chosen in [`tcp`], once; [`copy`] moves the
//! bytes, and [`record`] tells log and metrics, however the connection ends.

mod copy;
mod record;
pub(crate) mod tcp;
pub(crate) mod udp;

use crate::{listener::ChainGroup, telemetry::ListenerStats};
use std::{net::SocketAddr, sync::Arc, time::Instant};

/// A client's connection that carries bytes, as it was accepted.
pub(crate) struct Accepted {
    /// The chains that take it.
    pub(crate) group: Arc<ChainGroup>,
    /// The client's address.
    pub(crate) peer: SocketAddr,
    /// Our address on this connection.
    pub(crate) local: SocketAddr,
    /// Server name: lower case, without trailing dot.
    pub(crate) sni: Option<Arc<str>>,
    /// When it was accepted.
    pub(crate) start: Instant,
    /// Counters of the listener.
    pub(crate) stats: Arc<ListenerStats>,
}
