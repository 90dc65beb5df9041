//! Counters of the datagrams of one listener.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Counters of the datagrams of one listener, named as Envoy's `udp.…downstream_sess_…`.
#[derive(Debug, Default)]
pub(crate) struct UdpStats {
    received: AtomicU64,
    received_bytes: AtomicU64,
    sent: AtomicU64,
    sent_bytes: AtomicU64,
    dropped: AtomicU64,
}

impl UdpStats {
    /// Datagrams came from clients.
    pub(crate) fn received(&self, datagrams: usize, bytes: u64) {
        self.received.fetch_add(number(datagrams), Relaxed);
        self.received_bytes.fetch_add(bytes, Relaxed);
    }

    /// Datagrams were sent to clients.
    pub(crate) fn sent(&self, datagrams: usize, bytes: u64) {
        self.sent.fetch_add(number(datagrams), Relaxed);
        self.sent_bytes.fetch_add(bytes, Relaxed);
    }

    /// Datagrams, of clients or endpoints, went nowhere.
    pub(crate) fn dropped(&self, datagrams: usize) {
        self.dropped.fetch_add(number(datagrams), Relaxed);
    }

    /// All of them, in the order of [`NAMES`]; nothing where no datagram ever came.
    pub(super) fn read(&self) -> Option<[u64; 5]> {
        let all = [
            &self.received,
            &self.received_bytes,
            &self.sent,
            &self.sent_bytes,
            &self.dropped,
        ];
        let all = all.map(|counter| counter.load(Relaxed));
        (all != [0; 5]).then_some(all)
    }
}

/// Names and meanings of what [`UdpStats::read`] returns.
pub(super) const NAMES: [(&str, &str); 5] = [
    (
        "envoy_udp_downstream_sess_rx_datagrams",
        "Datagrams from clients.",
    ),
    (
        "envoy_udp_downstream_sess_rx_bytes",
        "Bytes of datagrams from clients.",
    ),
    (
        "envoy_udp_downstream_sess_tx_datagrams",
        "Datagrams to clients.",
    ),
    (
        "envoy_udp_downstream_sess_tx_bytes",
        "Bytes of datagrams to clients.",
    ),
    (
        "gwanmun_udp_datagrams_dropped",
        "Datagrams, of clients or endpoints, that went nowhere.",
    ),
];

fn number(count: usize) -> u64 {
    u64::try_from(count).unwrap_or(u64::MAX)
}
