//! Servers that say what they see of their connections.

use super::{Authority, Identity};
use rustls::{
    RootCertStore, ServerConfig, ServerConnection, StreamOwned,
    crypto::aws_lc_rs::default_provider,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
    server::WebPkiClientVerifier,
};
use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{TcpListener, TcpStream, UdpSocket},
    sync::Arc,
    thread,
};

/// Says its name first, reads to the end and then repeats what it got; on port 9000.
pub(crate) fn greeter(name: &'static str, address: &str) {
    let listener = TcpListener::bind((address, 9000)).unwrap();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            thread::spawn(move || {
                // A peer that has gone already needs no greeting.
                _ = stream.write_all(name.as_bytes());
                let mut got = Vec::new();
                _ = stream.read_to_end(&mut got);
                _ = stream.write_all(&got);
            });
        }
    });
}

/// Repeats datagrams after its name; on port 9000.
pub(crate) fn datagram_greeter(name: &'static str, address: &str) {
    let socket = UdpSocket::bind((address, 9000)).unwrap();
    thread::spawn(move || {
        let mut datagram = [0; 2048];
        while let Ok((length, peer)) = socket.recv_from(&mut datagram) {
            let answer = [name.as_bytes(), &datagram[..length]].concat();
            _ = socket.send_to(&answer, peer);
        }
    });
}

/// An HTTPS server on port 9000 that answers `NAME sni=SNI client=CERTIFICATE`, each `none` where there is
/// none. With `clients` it serves only those with a certificate of this authority.
pub(crate) fn tls_server(
    name: &'static str,
    address: &str,
    identity: &Identity,
    clients: Option<&Authority>,
) {
    let provider = Arc::new(default_provider());
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .unwrap();
    let builder = match clients {
        None => builder.with_no_client_auth(),
        Some(authority) => {
            let mut anchors = RootCertStore::empty();
            anchors.add(certificate(&authority.pem())).unwrap();
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(anchors), provider);
            builder.with_client_cert_verifier(verifier.build().unwrap())
        }
    };
    let key = PrivateKeyDer::from_pem_slice(identity.key.as_bytes()).unwrap();
    let config = builder
        .with_single_cert(vec![certificate(&identity.certificate)], key)
        .unwrap();
    let config = Arc::new(config);
    let listener = TcpListener::bind((address, 9000)).unwrap();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let (stream, config) = (stream.unwrap(), Arc::clone(&config));
            thread::spawn(move || answer(name, stream, config));
        }
    });
}

fn answer(name: &str, stream: TcpStream, config: Arc<ServerConfig>) {
    let connection = ServerConnection::new(config).unwrap();
    let mut reader = BufReader::new(StreamOwned::new(connection, stream));
    loop {
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            // Handshakes that are refused and connections that have ended are its peer's matter.
            if !matches!(reader.read_line(&mut head), Ok(1..)) {
                return;
            }
        }
        let connection = &reader.get_ref().conn;
        let sni = connection.server_name().unwrap_or("none");
        let client = connection.peer_certificates().and_then(<[_]>::first);
        let client = client.map_or("none".to_owned(), |one| hex(one));
        let body = format!("{name} sni={sni} client={client}\n");
        let answer = format!(
            "HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        );
        if reader.get_mut().write_all(answer.as_bytes()).is_err() {
            return;
        }
    }
}

/// How `tls_server` writes the certificate of a client.
pub(crate) fn shown(identity: &Identity) -> String {
    hex(&certificate(&identity.certificate))
}

fn certificate(pem: &str) -> CertificateDer<'static> {
    CertificateDer::from_pem_slice(pem.as_bytes()).unwrap()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
