//! The filter chains of one socket.

use gwanmun_ir::{FilterChain, Hostname, HttpOptions, ListenerKey};
use std::sync::Arc;

/// The filter chains of one socket.
pub(crate) struct ListenerTable {
    /// Key of the listener, as the access log and dumps name it.
    pub(crate) key: ListenerKey,
    /// The port the user wrote, as seen by clients.
    pub(crate) port: u16,
}

impl ListenerTable {
    /// The group of chains for a server name: exact, then longest wildcard, then any.
    /// `sni` is in lower case without trailing dot.
    pub(crate) fn group_for_sni(&self, sni: Option<&str>) -> Option<&Arc<ChainGroup>> {
        let _ = sni;
        None
    }
}

/// The chains of a socket that share a hostname, in the order they are tried.
pub(crate) struct ChainGroup {
    /// The hostname; nothing means any.
    pub(crate) hostname: Option<Hostname>,
    /// The chains, by rank.
    pub(crate) chains: Vec<Arc<ChainTable>>,
    /// How TLS is terminated; nothing in plaintext or without a usable certificate.
    pub(crate) tls: Option<Arc<rustls::ServerConfig>>,
}

/// One filter chain with its routes.
pub(crate) struct ChainTable {
    /// The chain as configured.
    pub(crate) chain: Arc<FilterChain>,
    /// How it treats HTTP.
    pub(crate) http: HttpOptions,
}
