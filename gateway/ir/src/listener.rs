//! Sockets and what their connections become.

use crate::{ChainKey, Hostname, ListenerKey, SecretKey, SourceRef};
use serde::{Deserialize, Serialize};
use std::net::IpAddr;

use ipnet::IpNet;

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
    /// Which connections begin with a PROXY protocol header; absent means none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proxy_protocol: Option<ProxyProtocol>,
}

/// Which TCP connections of a [`Listener`] begin with a [PROXY protocol] header, version 1 or 2,
/// that names their client.
///
/// [PROXY protocol]: https://www.haproxy.org/download/3.0/doc/proxy-protocol.txt
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ProxyProtocol {
    /// Peers whose connections must begin with one, and whose word is taken; those of other peers
    /// are served as they are. Empty means every peer.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub trusted: Vec<IpNet>,
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
    /// TLS that is not ours: its bytes are passed through, to where the server name says.
    Passthrough,
    /// TLS, terminated here.
    Tls(TlsPolicy),
}

/// How a [`FilterChain`] terminates TLS.
#[derive(Clone, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
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
    /// Key exchange groups by IANA name (`X25519MLKEM768`, `x25519`, `secp256r1`, …), most preferred
    /// first; empty means the library's defaults.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub key_exchange_groups: Vec<String>,
    /// Protocols offered, most preferred first. Empty means none.
    pub alpn: Vec<Alpn>,
    /// What is asked of clients.
    #[serde(default, skip_serializing_if = "ClientCertificates::is_not_requested")]
    pub client: ClientCertificates,
}

impl TlsPolicy {
    /// The secrets it names: certificates, and anchors for those of clients.
    pub fn secrets(&self) -> impl Iterator<Item = &SecretKey> {
        let anchors = self.client.validation();
        let anchors = anchors.map(|validation| &validation.anchors);
        self.certificates.iter().chain(anchors)
    }
}

/// What a [`TlsPolicy`] asks of clients.
#[derive(Clone, Debug, Default, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum ClientCertificates {
    /// No certificate is asked for.
    #[default]
    NotRequested,
    /// One is asked for; a client that sends none is served, one that sends an invalid one is not.
    Optional(ClientValidation),
    /// Only clients with a valid one are served.
    Required(ClientValidation),
    /// One is asked for; any is accepted, and none. It is never taken for verified.
    Unverified,
    /// Only clients that show one are served; any is accepted. It is never taken for verified.
    Presented,
}

impl ClientCertificates {
    /// Whether no certificate is asked for.
    pub fn is_not_requested(&self) -> bool {
        *self == Self::NotRequested
    }

    /// How certificates are verified, where they are.
    pub fn validation(&self) -> Option<&ClientValidation> {
        match self {
            Self::Optional(validation) | Self::Required(validation) => Some(validation),
            Self::NotRequested | Self::Unverified | Self::Presented => None,
        }
    }
}

/// What makes a client's certificate valid: a path to an anchor that is in time, fit for client
/// authentication and not revoked, and, where such lists are given, one of the names, and one of
/// the pins of either list.
#[derive(Clone, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ClientValidation {
    /// Trust anchors and revocation lists. A key that names nothing, or nothing usable, fails every
    /// handshake that asks for a certificate.
    pub anchors: SecretKey,
    /// Subject alternative names of any type, compared exactly; empty means any.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub subject_alt_names: Vec<String>,
    /// SHA-256 of subject public keys (SPKI, DER), base64.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub spki_sha256: Vec<String>,
    /// SHA-256 of certificates (DER), lower-case hexadecimal without separators.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub certificate_sha256: Vec<String>,
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
    /// Bytes, to the targets of an [`L4Route`](crate::L4Route).
    Tcp,
    /// Datagrams, to the targets of an [`L4Route`](crate::L4Route).
    Udp,
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
    /// What becomes of `x-forwarded-client-cert`.
    #[serde(default, skip_serializing_if = "ForwardClientCert::is_default")]
    pub forward_client_cert: ForwardClientCert,
}

/// What becomes of the header `x-forwarded-client-cert`, as Istio's
/// [`forwardClientCertDetails`](https://istio.io/latest/docs/reference/config/istio.mesh.v1alpha1/#ForwardClientCertDetails).
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum ForwardClientCert {
    /// The client's is forwarded, also without mutual TLS.
    AlwaysForwardOnly,
    /// With mutual TLS ours is appended to the client's, else the client's is removed.
    AppendForward,
    /// With mutual TLS the client's is forwarded, else removed.
    ForwardOnly,
    /// The client's is removed, none is set.
    Sanitize,
    /// The client's is removed; with mutual TLS it is set from the verified certificate.
    #[default]
    SanitizeSet,
}

impl ForwardClientCert {
    fn is_default(&self) -> bool {
        *self == Self::default()
    }
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
