//! Finishes the handshake that a ClientHello begins.

use super::{ChainGroup, ClientCertificate, TlsInfo, hello::Hello};
use gwanmun_certs::Certificate;
use gwanmun_ir::{Alpn, TlsVersion};
use rustls::{
    CipherSuite, ProtocolVersion, ServerConnection,
    server::{Accepted, Acceptor},
};
use std::{io, sync::Arc};
use tokio::{io::AsyncWriteExt, net::TcpStream};
use tokio_rustls::{StartHandshake, server::TlsStream};

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

/// Performs the handshake that the client began with `hello`, as `group` says, which was chosen by
/// its server name.
pub(super) async fn perform(
    mut stream: TcpStream,
    hello: Hello,
    group: &Arc<ChainGroup>,
) -> Result<Finished, Rejected> {
    let Hello { bytes, sni } = hello;
    let failed = |error: io::Error| Rejected::Handshake {
        sni: sni.clone(),
        error: error.to_string(),
    };
    let Some(tls) = group.tls.clone() else {
        return Err(Rejected::NoChain { sni });
    };
    let accepted = accept(&mut stream, &bytes).await.map_err(failed)?;
    drop(bytes);
    // Two readers must never disagree about whose certificate and whose routes these are.
    let name = accepted.client_hello().server_name().map(canonical);
    if name != sni {
        let error = "the server name is ambiguous".to_owned();
        return Err(Rejected::Handshake { sni, error });
    }
    let config = Arc::clone(tls.config(accepted.client_hello().alpn()));
    let stream = StartHandshake::from_parts(accepted, stream)
        .into_stream(config)
        .await
        .map_err(failed)?;
    let connection = stream.get_ref().1;
    let client = if tls.verifies() {
        verified(connection).map_err(failed)?
    } else {
        None
    };
    let info = describe(connection, sni.clone(), client);
    Ok(Finished {
        stream,
        group: Arc::clone(group),
        info,
    })
}

/// A server name as chains are looked up: lower case, without trailing dot.
fn canonical(name: &str) -> Arc<str> {
    name.strip_suffix('.')
        .unwrap_or(name)
        .to_ascii_lowercase()
        .into()
}

/// Has the library read a whole ClientHello; tells the client what is wrong with it, if something
/// is.
async fn accept(stream: &mut TcpStream, hello: &[u8]) -> io::Result<Accepted> {
    let mut acceptor = Acceptor::default();
    let mut rest = hello;
    while !rest.is_empty() && acceptor.read_tls(&mut rest)? > 0 {}
    match acceptor.accept() {
        Ok(Some(accepted)) => Ok(accepted),
        Ok(None) => Err(io::Error::other("the ClientHello is malformed")),
        Err((error, mut alert)) => {
            let mut bytes = Vec::new();
            alert.write_all(&mut bytes)?;
            // The client may be gone; the error that is reported is its mistake.
            let _ = stream.write_all(&bytes).await;
            Err(io::Error::other(error))
        }
    }
}

/// The client's certificate, which was verified in this handshake or the one it resumes.
fn verified(connection: &ServerConnection) -> io::Result<Option<Arc<ClientCertificate>>> {
    let Some((leaf, others)) = connection.peer_certificates().and_then(<[_]>::split_first) else {
        return Ok(None);
    };
    let certificate = Certificate::from_der(leaf).map_err(io::Error::other)?;
    let others = others.iter().map(|one| one.clone().into_owned()).collect();
    Ok(Some(Arc::new(ClientCertificate::new(certificate, others))))
}

fn describe(
    connection: &ServerConnection,
    sni: Option<Arc<str>>,
    client: Option<Arc<ClientCertificate>>,
) -> TlsInfo {
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
        client,
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
