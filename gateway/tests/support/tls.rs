//! Certificates and TLS clients.

use super::client::{Response, read_response};
use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, CertifiedIssuer, IsCa,
    KeyPair as Key, RevokedCertParams, SerialNumber, SignatureAlgorithm,
};
use rustls::{
    ClientConfig, ClientConnection, HandshakeKind, ProtocolVersion, RootCertStore, ServerConfig,
    StreamOwned, SupportedProtocolVersion,
    client::Resumption,
    crypto::{SupportedKxGroup, aws_lc_rs},
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject},
    sign::SingleCertAndKey,
};
use std::{
    io::{self, Write},
    net::{SocketAddr, TcpStream},
    sync::{Arc, OnceLock},
    time::{Duration, SystemTime},
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

    /// A certificate for these names after `change` has changed what it says.
    pub fn issue_as(&self, names: &[&str], change: impl FnOnce(&mut CertificateParams)) -> Issued {
        let key = Key::generate().unwrap();
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = CertificateParams::new(names).unwrap();
        change(&mut params);
        Issued {
            certificate: params.signed_by(&key, &self.issuer).unwrap().pem(),
            key: key.serialize_pem(),
        }
    }

    /// An authority that this one vouches for.
    pub fn intermediate(&self, name: &str) -> Self {
        let mut params = CertificateParams::new(Vec::<String>::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let mut subject = rcgen::DistinguishedName::new();
        subject.push(rcgen::DnType::CommonName, name);
        params.distinguished_name = subject;
        let key = Key::generate().unwrap();
        Self {
            issuer: CertifiedIssuer::signed_by(params, key, &self.issuer).unwrap(),
        }
    }

    /// A revocation list with these serial numbers, good until this year.
    pub fn revoke(&self, serials: &[u8], until: i32) -> String {
        self.revoke_until(serials, rcgen::date_time_ymd(until, 1, 1).into())
    }

    /// A revocation list with these serial numbers, good until then.
    pub fn revoke_until(&self, serials: &[u8], until: SystemTime) -> String {
        let revoked = serials.iter().map(|serial| RevokedCertParams {
            serial_number: SerialNumber::from(vec![*serial]),
            revocation_time: rcgen::date_time_ymd(2020, 1, 2),
            reason_code: None,
            invalidity_date: None,
        });
        let params = CertificateRevocationListParams {
            this_update: rcgen::date_time_ymd(2020, 1, 1),
            next_update: until.into(),
            crl_number: SerialNumber::from(1_u64),
            issuing_distribution_point: None,
            revoked_certs: revoked.collect(),
            key_identifier_method: rcgen::KeyIdMethod::Sha256,
        };
        params.signed_by(&self.issuer).unwrap().pem().unwrap()
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
    /// What it shows when it is asked for a certificate.
    pub identity: Option<Issued>,
    /// What it keeps between connections, to resume sessions.
    pub sessions: Option<Arc<OnceLock<Arc<ClientConfig>>>>,
    /// Key exchange groups offered; nothing means all.
    pub groups: Option<Vec<&'static dyn SupportedKxGroup>>,
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
            identity: None,
            sessions: None,
            groups: None,
        }
    }

    /// The same client, offering these protocols.
    pub fn offering(mut self, alpn: &[&'static str]) -> Self {
        self.alpn = alpn.to_vec();
        self
    }

    /// The same client with this certificate.
    pub fn showing(mut self, identity: &Issued) -> Self {
        self.identity = Some(identity.clone());
        self
    }

    /// The same client with a memory of sessions.
    pub fn resuming(mut self) -> Self {
        self.sessions = Some(Arc::default());
        self
    }

    /// The same client speaking this version only.
    pub fn speaking(mut self, version: &'static SupportedProtocolVersion) -> Self {
        self.versions = vec![version];
        self
    }

    /// The configuration that says so.
    pub fn config(&self) -> ClientConfig {
        let mut provider = aws_lc_rs::default_provider();
        if self.rsa_only {
            provider.cipher_suites.retain(|suite| {
                let name = format!("{:?}", suite.suite());
                name.contains("RSA") && !name.contains("ECDSA")
            });
        }
        if let Some(groups) = &self.groups {
            provider.kx_groups.clone_from(groups);
        }
        let config = ClientConfig::builder_with_provider(Arc::new(provider))
            .with_protocol_versions(&self.versions)
            .unwrap()
            .with_root_certificates(self.roots.clone());
        let mut config = match &self.identity {
            None => config.with_no_client_auth(),
            Some(identity) => {
                let pair = gwanmun_certs::KeyPair::parse(&identity.certificate, &identity.key);
                let resolver = SingleCertAndKey::from(pair.unwrap().certified(None));
                config.with_client_cert_resolver(Arc::new(resolver))
            }
        };
        config.resumption = match &self.sessions {
            Some(_) => Resumption::in_memory_sessions(64),
            None => Resumption::disabled(),
        };
        config.enable_sni = self.sni;
        config.alpn_protocols = self.alpn.iter().map(|id| id.as_bytes().to_vec()).collect();
        config
    }

    /// Connects and finishes the handshake, verifying the certificate for `name`.
    pub fn connect(&self, address: SocketAddr, name: &str) -> io::Result<Tls> {
        self.connect_after(address, name, b"")
    }

    /// The same, sending `first` before the handshake.
    pub fn connect_after(&self, address: SocketAddr, name: &str, first: &[u8]) -> io::Result<Tls> {
        let config = match &self.sessions {
            Some(kept) => Arc::clone(kept.get_or_init(|| Arc::new(self.config()))),
            None => Arc::new(self.config()),
        };
        let name = ServerName::try_from(name.to_owned()).unwrap();
        let mut connection = ClientConnection::new(config, name).unwrap();
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

    /// One GET with further header lines, each ended, on this connection.
    pub fn get_with(&mut self, host: &str, path: &str, lines: &str) -> Response {
        let request = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n{lines}\r\n");
        self.stream.write_all(request.as_bytes()).unwrap();
        read_response(&mut self.stream).unwrap()
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

    /// Whether the handshake resumed an earlier session.
    pub fn is_resumed(&self) -> bool {
        self.stream.conn.handshake_kind() == Some(HandshakeKind::Resumed)
    }

    /// Name of the key exchange group, as rustls has it.
    pub fn group(&self) -> String {
        format!(
            "{:?}",
            self.stream
                .conn
                .negotiated_key_exchange_group()
                .unwrap()
                .name()
        )
    }

    /// Name of the cipher suite, as rustls has it.
    pub fn cipher(&self) -> String {
        let suite = self.stream.conn.negotiated_cipher_suite();
        format!("{:?}", suite.unwrap().suite())
    }

    /// DER of the server's certificate.
    pub fn certificate(&self) -> Vec<u8> {
        self.stream.conn.peer_certificates().unwrap()[0].to_vec()
    }
}
