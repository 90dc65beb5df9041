//! Sockets and what their connections become.

use crate::{ChainKey, Hostname, ListenerKey, SecretKey, SourceRef};
use serde::{Deserialize, Serialize};
use std::net::IpAddr;

/// A socket: one address and port the gateway accepts connections on.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Listener {
    /// Key of this resource.
    pub key: ListenerKey,
    /// Address to bind.
    pub address: BindAddress,
    /// Port to bind, never 0.
    pub port: u16,
    /// Transport protocol.
    pub transport: Transport,
}

/// Where a [`Listener`] binds.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum BindAddress {
    /// The gateway's default: all addresses, IPv4 and IPv6, unless it was told otherwise.
    Any,
    /// This address only.
    Ip(IpAddr),
}

/// Transport protocol of a [`Listener`].
#[derive(Clone, Copy, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Transport {
    /// Streams.
    Tcp,
    /// Datagrams.
    Udp,
}

/// What a connection becomes once accepted. One Gateway API listener, or one Istio server
/// (all plaintext HTTP servers of one port and bind together), is one filter chain.
///
/// Several chains share a socket. With TLS the chain is chosen by SNI, in plaintext HTTP by the
/// request's host; the most specific of `matches.hostnames` wins. Chains that are equally
/// specific (two Gateways in one process) are tried in the order of `rank`, each host's rules by
/// the most specific of their hostnames first.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct FilterChain {
    /// Key of this resource.
    pub key: ChainKey,
    /// The socket.
    pub listener: ListenerKey,
    /// Which connections or requests belong to this chain.
    pub matches: ChainMatch,
    /// Plaintext, or what to do with TLS.
    pub security: Security,
    /// What is spoken inside.
    pub protocol: AppProtocol,
    /// Order among equally specific chains: creation time of the source object in seconds since
    /// the Unix epoch, then its text, which is unique.
    pub rank: (i64, String),
    /// The port number the user wrote, which may differ from the bound port
    /// (`match.port`, redirects and `explain` speak of this one).
    pub port: u16,
    /// The user object it came from.
    pub source: SourceRef,
}

/// Which connections or requests belong to a [`FilterChain`].
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ChainMatch {
    /// SNI, or host of a plaintext request. Empty means any, also connections without SNI.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub hostnames: Vec<Hostname>,
}

/// Whether and how a [`FilterChain`] speaks TLS.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Security {
    /// No TLS. HTTP chains speak HTTP/1.1 and, by prior knowledge, HTTP/2.
    Plaintext,
    /// TLS.
    Tls(TlsPolicy),
}

/// How a [`FilterChain`] terminates TLS.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TlsPolicy {
    /// Certificates, most preferred first; one fitting the client's SNI and algorithms is served.
    /// A key that names nothing, or an invalid secret, is skipped; with none left the handshake
    /// fails.
    pub certificates: Vec<SecretKey>,
    /// Lowest version.
    pub min_version: TlsVersion,
    /// Highest version.
    pub max_version: TlsVersion,
    /// TLS 1.2 cipher suites by IANA name, restricted to these; empty means the library's defaults.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub cipher_suites: Vec<String>,
    /// Protocols offered, most preferred first. Empty means none.
    pub alpn: Vec<Alpn>,
}

/// A TLS version.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
pub enum TlsVersion {
    /// TLS 1.2.
    #[serde(rename = "1.2")]
    V12,
    /// TLS 1.3.
    #[serde(rename = "1.3")]
    V13,
}

/// An application protocol of TLS.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
pub enum Alpn {
    /// HTTP/2.
    #[serde(rename = "h2")]
    H2,
    /// HTTP/1.1.
    #[serde(rename = "http/1.1")]
    Http11,
}

/// What is spoken inside a [`FilterChain`].
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum AppProtocol {
    /// HTTP/1 and HTTP/2.
    Http(HttpOptions),
}

/// How a [`FilterChain`] treats HTTP.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct HttpOptions {
    /// How routes' hostnames relate.
    pub host_rule: HostRule,
    /// How request paths are normalised before anything sees them.
    pub path_normalization: PathNormalization,
    /// How many proxies in front of us are trusted: their `x-forwarded-for` entries and
    /// `x-forwarded-proto` count.
    pub trusted_hops: u32,
    /// Whether a request whose host belongs to a chain of the same port other than the one its
    /// SNI chose is answered with 421 ([GEP-3567]).
    ///
    /// [GEP-3567]: https://gateway-api.sigs.k8s.io/geps/gep-3567/
    pub detect_misdirected: bool,
    /// Whether HTTP/1.0 requests are served; otherwise they are answered with 426.
    pub accept_http10: bool,
}

/// How the hostnames of a chain's routes relate.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum HostRule {
    /// The most specific hostname owns the request; no match there is the end (Istio).
    Exclusive,
    /// A request that matches no rule of a hostname tries less specific ones (Gateway API).
    FallThrough,
}

/// How request paths are normalised, as Istio's `pathNormalization`.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum PathNormalization {
    /// Not at all.
    None,
    /// Dot segments, backslashes and unreserved percent-encodings.
    Base,
    /// Base, and runs of slashes become one.
    MergeSlashes,
    /// Base, with encoded slashes and backslashes decoded first, then merged.
    DecodeAndMergeSlashes,
}

/// What the `server` header of responses says. Set per route by its dialect, see
/// [`Dialect`](crate::Dialect).
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum ServerHeader {
    /// This value, whatever the upstream sent.
    Overwrite(String),
    /// The upstream's; local answers say `gwanmun`.
    PassThrough,
}
