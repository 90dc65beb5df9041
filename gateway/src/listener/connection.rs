//! What is known about a client connection once it is accepted.

use super::{ChainGroup, ClientCertificate, DrainSignal, ListenerTable};
use crate::telemetry::ListenerStats;
use gwanmun_ir::{Alpn, TlsVersion};
use std::{net::SocketAddr, sync::Arc};

/// What is known about a client connection once it is accepted and its TLS is finished.
pub(crate) struct ConnectionInfo {
    /// The listener's table when the connection was accepted. A request uses that of the current
    /// snapshot under the same key, and this one only when the listener is removed meanwhile.
    pub(crate) table: Arc<ListenerTable>,
    /// The group of chains that the SNI chose; nothing in plaintext.
    pub(crate) group: Option<Arc<ChainGroup>>,
    /// The client's address.
    pub(crate) peer: SocketAddr,
    /// Our address on this connection.
    pub(crate) local: SocketAddr,
    /// What the handshake settled; nothing in plaintext.
    pub(crate) tls: Option<TlsInfo>,
    /// Number of the connection, unique in the process.
    pub(crate) id: u64,
    /// What is spoken first: by ALPN, or by the client's preface in plaintext.
    pub(crate) protocol: HttpVersion,
    /// Raised when the connection must end after its current request.
    pub(crate) drain: DrainSignal,
    /// Counters of the listener.
    pub(crate) stats: Arc<ListenerStats>,
}

/// What a TLS handshake settled.
#[derive(Clone, Debug)]
pub(crate) struct TlsInfo {
    /// Server name: lower case, without trailing dot.
    pub(crate) sni: Option<Arc<str>>,
    /// Negotiated application protocol.
    pub(crate) alpn: Option<Alpn>,
    /// Negotiated version.
    pub(crate) version: TlsVersion,
    /// Negotiated cipher suite, by IANA name.
    pub(crate) cipher: &'static str,
    /// The client's certificate, where it was verified.
    pub(crate) client: Option<Arc<ClientCertificate>>,
}

/// Which HTTP a connection speaks.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum HttpVersion {
    /// HTTP/1.0 or HTTP/1.1.
    Http1,
    /// HTTP/2.
    Http2,
}
