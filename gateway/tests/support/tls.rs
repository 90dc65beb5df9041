//! Certificates and TLS clients.

use super::client::{Response, read_response};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair as Key, SignatureAlgorithm,
};
use rustls::{
    ClientConfig, ClientConnection, ProtocolVersion, RootCertStore, ServerConfig, StreamOwned,
    SupportedProtocolVersion,
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject},
};
use std::{
    io::{self, Write},
    net::{SocketAddr, TcpStream},
    sync::Arc,
    time::Duration,
};

/// Something that signs certificates.
pub struct Authority {
    issuer: CertifiedIssuer<'static, Key>,
}

/// A certificate and key in PEM.
#[derive(Clone)]
pub struct Issued {
    pub certificate: String,
    pub key: String,
}

impl Authority {
    /// A new one.
    pub fn new() -> Self {
        let mut params = CertificateParams::new(Vec::<String>::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = Key::generate().unwrap();
        Self {
            issuer: CertifiedIssuer::self_signed(params, key).unwrap(),
        }
    }

    /// A certificate for these names.
    pub fn issue(&self, names: &[&str]) -> Issued {
        self.issue_with(names, &rcgen::PKCS_ECDSA_P256_SHA256)
    }

    /// A certificate for these names with a key of this kind.
    pub fn issue_with(&self, names: &[&str], algorithm: &'static SignatureAlgorithm) -> Issued {
        let key = Key::generate_for(algorithm).unwrap();
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let params = CertificateParams::new(names).unwrap();
        Issued {
            certificate: params.signed_by(&key, &self.issuer).unwrap().pem(),
            key: key.serialize_pem(),
        }
    }

    /// Its own certificate in PEM.
    pub fn certificate(&self) -> String {
        self.issuer.pem()
    }

    /// What clients trust.
    pub fn roots(&self) -> RootCertStore {
        let mut roots = RootCertStore::empty();
        roots.add(self.issuer.der().clone()).unwrap();
        roots
    }
}

/// How a client connects.
#[derive(Clone)]
pub struct Client {
    pub roots: RootCertStore,
    /// Offered protocols; empty offers none.
    pub alpn: Vec<&'static str>,
    pub versions: Vec<&'static SupportedProtocolVersion>,
    /// Whether a server name is sent.
    pub sni: bool,
    /// Cipher suites and signature schemes are restricted to RSA.
    pub rsa_only: bool,
}

/// A TLS connection.
pub struct Tls {
    stream: StreamOwned<ClientConnection, TcpStream>,
}

impl Client {
    /// A client that trusts `authority`.
    pub fn new(authority: &Authority) -> Self {
        Self {
            roots: authority.roots(),
            alpn: Vec::new(),
            versions: rustls::ALL_VERSIONS.to_vec(),
            sni: true,
            rsa_only: false,
        }
    }

    /// The same client, offering these protocols.
    pub fn offering(mut self, alpn: &[&'static str]) -> Self {
        self.alpn = alpn.to_vec();
        self
    }

    /// Connects and finishes the handshake, verifying the certificate for `name`.
    pub fn connect(&self, address: SocketAddr, name: &str) -> io::Result<Tls> {
        self.connect_after(address, name, b"")
    }

    /// The same, sending `first` before the handshake.
    pub fn connect_after(&self, address: SocketAddr, name: &str, first: &[u8]) -> io::Result<Tls> {
        let mut provider = aws_lc_rs::default_provider();
        if self.rsa_only {
            provider.cipher_suites.retain(|suite| {
                let name = format!("{:?}", suite.suite());
                name.contains("RSA") && !name.contains("ECDSA")
            });
        }
        let mut config = ClientConfig::builder_with_provider(Arc::new(provider))
            .with_protocol_versions(&self.versions)
            .unwrap()
            .with_root_certificates(self.roots.clone())
            .with_no_client_auth();
        config.enable_sni = self.sni;
        config.alpn_protocols = self.alpn.iter().map(|id| id.as_bytes().to_vec()).collect();
        let name = ServerName::try_from(name.to_owned()).unwrap();
        let mut connection = ClientConnection::new(Arc::new(config), name).unwrap();
        let mut stream = TcpStream::connect(address)?;
        stream.set_read_timeout(Some(Duration::from_secs(10)))?;
        stream.write_all(first)?;
        while connection.is_handshaking() {
            connection.complete_io(&mut stream)?;
        }
        Ok(Tls {
            stream: StreamOwned::new(connection, stream),
        })
    }
}

/// A server with this certificate.
pub fn server_config(issued: &Issued) -> Arc<ServerConfig> {
    let certificate = CertificateDer::from_pem_slice(issued.certificate.as_bytes()).unwrap();
    let key = PrivateKeyDer::from_pem_slice(issued.key.as_bytes()).unwrap();
    let provider = Arc::new(aws_lc_rs::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)
        .unwrap();
    Arc::new(config)
}

impl Tls {
    /// The stream.
    pub fn stream(&mut self) -> &mut StreamOwned<ClientConnection, TcpStream> {
        &mut self.stream
    }

    /// One GET on this connection.
    pub fn get(&mut self, host: &str, path: &str) -> Response {
        self.try_get(host, path).unwrap()
    }

    /// One GET on this connection; its error when it is gone.
    pub fn try_get(&mut self, host: &str, path: &str) -> io::Result<Response> {
        write!(self.stream, "GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n")?;
        read_response(&mut self.stream)
    }

    /// Negotiated protocol.
    pub fn alpn(&self) -> Option<String> {
        let id = self.stream.conn.alpn_protocol()?;
        Some(String::from_utf8_lossy(id).into_owned())
    }

    /// Negotiated version.
    pub fn version(&self) -> ProtocolVersion {
        self.stream.conn.protocol_version().unwrap()
    }

    /// DER of the server's certificate.
    pub fn certificate(&self) -> Vec<u8> {
        self.stream.conn.peer_certificates().unwrap()[0].to_vec()
    }
}
