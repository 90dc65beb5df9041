//! Reads a ClientHello, chooses the filter chain, and finishes the handshake.

use super::{ChainGroup, ListenerTable, TlsInfo};
use gwanmun_ir::{Alpn, TlsVersion};
use rustls::{
    CipherSuite, ProtocolVersion, ServerConfig, ServerConnection,
    server::{Accepted, Acceptor},
};
use std::{io, sync::Arc};
use tokio::{io::AsyncWriteExt, net::TcpStream};
use tokio_rustls::{StartHandshake, server::TlsStream};

/// First byte of every TLS record of a handshake.
pub(super) const TLS_RECORD: u8 = 0x16;

/// Largest ClientHello, in bytes as received.
const MAX_HELLO: usize = 16 * 1024;

/// Kind of the error about a client that does not speak TLS.
const NOT_TLS: io::ErrorKind = io::ErrorKind::Unsupported;

/// A connection whose handshake is finished.
pub(super) struct Finished {
    pub(super) stream: TlsStream<TcpStream>,
    pub(super) group: Arc<ChainGroup>,
    pub(super) info: TlsInfo,
}

/// Why a connection did not become one of ours.
#[derive(Debug)]
pub(super) enum Rejected {
    /// No chain takes this server name, or the one that does has no usable certificate.
    NoChain { sni: Option<Arc<str>> },
    /// The client does not speak TLS, or not ours.
    Handshake {
        sni: Option<Arc<str>>,
        error: String,
    },
}

/// Performs the handshake on a fresh connection.
pub(super) async fn perform(
    mut stream: TcpStream,
    table: &ListenerTable,
) -> Result<Finished, Rejected> {
    let failed = |sni: Option<Arc<str>>, error: io::Error| Rejected::Handshake {
        sni,
        error: error.to_string(),
    };
    let accepted = match read_hello(&mut stream).await {
        Ok(accepted) => accepted,
        Err(error) if error.kind() == NOT_TLS && table.group_for_sni(None).is_none() => {
            return Err(Rejected::NoChain { sni: None });
        }
        Err(error) => return Err(failed(None, error)),
    };
    let sni: Option<Arc<str>> = accepted.client_hello().server_name().map(canonical);
    let group = table.group_for_sni(sni.as_deref());
    let Some((group, config)) = group.and_then(|group| Some((group, group.tls.clone()?))) else {
        // Reset instead of a polite end: there is nobody here to talk to.
        let _ = socket2::SockRef::from(&stream).set_linger(Some(std::time::Duration::ZERO));
        return Err(Rejected::NoChain { sni });
    };
    let config = fit_alpn(config, accepted.client_hello().alpn());
    let stream = StartHandshake::from_parts(accepted, stream)
        .into_stream(config)
        .await
        .map_err(|error| failed(sni.clone(), error))?;
    let info = describe(stream.get_ref().1, sni);
    Ok(Finished {
        stream,
        group: Arc::clone(group),
        info,
    })
}

/// A client that offers only protocols we do not have is served without any, as Envoy does;
/// the library alone would refuse it.
fn fit_alpn<'h>(
    config: Arc<ServerConfig>,
    offered: Option<impl Iterator<Item = &'h [u8]>>,
) -> Arc<ServerConfig> {
    let Some(mut offered) = offered else {
        return config;
    };
    let known = &config.alpn_protocols;
    if known.is_empty() || offered.any(|one| known.iter().any(|own| own == one)) {
        return config;
    }
    let mut without = ServerConfig::clone(&config);
    without.alpn_protocols.clear();
    Arc::new(without)
}

/// A server name as chains are looked up: lower case, without trailing dot.
fn canonical(name: &str) -> Arc<str> {
    name.strip_suffix('.')
        .unwrap_or(name)
        .to_ascii_lowercase()
        .into()
}

async fn read_hello(stream: &mut TcpStream) -> io::Result<Accepted> {
    let mut acceptor = Acceptor::default();
    let mut total = 0;
    loop {
        stream.readable().await?;
        match read_some(stream, &mut acceptor, total) {
            Ok(n) => total += n,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => continue,
            Err(error) => return Err(error),
        }
        match acceptor.accept() {
            Ok(Some(accepted)) => return Ok(accepted),
            Ok(None) if total >= MAX_HELLO => {
                return Err(io::Error::other("the ClientHello is too long"));
            }
            Ok(None) => {}
            Err((error, mut alert)) => {
                let mut bytes = Vec::new();
                alert.write_all(&mut bytes)?;
                // The client may be gone; the error that is reported is its mistake.
                let _ = stream.write_all(&bytes).await;
                return Err(io::Error::other(error));
            }
        }
    }
}

/// Reads what there is into the acceptor. `before` bytes were read earlier.
fn read_some(stream: &TcpStream, acceptor: &mut Acceptor, before: usize) -> io::Result<usize> {
    let mut buffer = [0; 4096];
    let n = stream.try_read(&mut buffer)?;
    let bytes = buffer.get(..n).unwrap_or_default();
    match bytes.first() {
        None => return Err(io::ErrorKind::UnexpectedEof.into()),
        Some(first) if before == 0 && *first != TLS_RECORD => {
            return Err(io::Error::new(NOT_TLS, "not a TLS handshake"));
        }
        Some(_) => {}
    }
    let mut rest = bytes;
    while !rest.is_empty() {
        if acceptor.read_tls(&mut rest)? == 0 {
            break;
        }
    }
    Ok(n)
}

fn describe(connection: &ServerConnection, sni: Option<Arc<str>>) -> TlsInfo {
    let version = match connection.protocol_version() {
        Some(ProtocolVersion::TLSv1_2) => TlsVersion::V12,
        Some(_) | None => TlsVersion::V13,
    };
    let suite = connection.negotiated_cipher_suite();
    TlsInfo {
        sni,
        alpn: connection.alpn_protocol().and_then(|id| match id {
            b"h2" => Some(Alpn::H2),
            b"http/1.1" => Some(Alpn::Http11),
            _ => None,
        }),
        version,
        cipher: suite.map_or("-", |suite| cipher_name(suite.suite())),
    }
}

/// The suite's name as IANA and OpenSSL have it.
fn cipher_name(suite: CipherSuite) -> &'static str {
    match suite.as_str() {
        Some("TLS13_AES_128_GCM_SHA256") => "TLS_AES_128_GCM_SHA256",
        Some("TLS13_AES_256_GCM_SHA384") => "TLS_AES_256_GCM_SHA384",
        Some("TLS13_CHACHA20_POLY1305_SHA256") => "TLS_CHACHA20_POLY1305_SHA256",
        Some(name) => name,
        None => "-",
    }
}
