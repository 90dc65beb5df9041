//! A client that tries one combination on real sockets.

use super::{
    rows::{Host, Kind, Offer, Outcome, Row, Sni, Ticket, right},
    scene::{A, B, Pair, Scene, WILD},
};
use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty};
use hyper_util::rt::{TokioExecutor, TokioIo};
use parking_lot::Mutex;
use rustls::{
    ClientConfig, DigitallySignedStruct, Error, HandshakeKind, NamedGroup, SignatureScheme,
    SupportedProtocolVersion,
    client::{
        ClientSessionStore, ResolvesClientCert, Resumption, Tls12ClientSessionValue,
        Tls13ClientSessionValue,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, ServerName, UnixTime},
    sign::CertifiedKey,
};
use std::{
    io::Write as _,
    process::{Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};
use tokio_rustls::{TlsConnector, client::TlsStream};

/// Somebody who connects: keeps one session whatever server it is of, shows what is in the wallet.
pub(super) struct Client {
    version: &'static SupportedProtocolVersion,
    pocket: Arc<Pocket>,
    wallet: Arc<Wallet>,
    met: Arc<Met>,
}

/// What is asked for on one connection.
struct Question<'a> {
    address: &'a str,
    sni: Sni,
    offer: Offer,
    /// `Host`, and the authority of the target where it is another.
    host: String,
    target: Option<String>,
}

impl Client {
    pub(super) fn new(version: &'static SupportedProtocolVersion) -> Self {
        Self {
            version,
            pocket: Arc::default(),
            wallet: Arc::default(),
            met: Arc::default(),
        }
    }

    /// Begins the session that a row offers to resume. It must come to be where it is the
    /// gateway's to begin one.
    pub(super) async fn prepare(&self, scene: &Scene, row: &Row) {
        let (sni, pair) = match row.ticket {
            Ticket::Nothing => return,
            Ticket::Own => (row.sni, scene.pair(right(row.sni))),
            Ticket::Other => {
                let sni = if row.sni == Sni::B { Sni::A } else { Sni::B };
                (sni, scene.pair(right(sni)))
            }
            Ticket::Removed => (Sni::A, Some(&scene.former)),
            Ticket::Revoked => (Sni::A, scene.pair(super::rows::Shown::Revoked)),
        };
        let question = Question {
            address: &scene.address(row.kind),
            sni,
            offer: row.offer,
            host: name(sni).to_owned(),
            target: None,
        };
        let outcome = self.ask(pair, &question).await;
        assert!(
            matches!(outcome, Outcome::Answered { status: 200, .. }),
            "{row}: no session to resume: {outcome}"
        );
        let theirs = row.kind == Kind::Passthrough && sni == Sni::A;
        assert!(theirs || self.pocket.is_full(), "{row}: no ticket");
    }

    /// Tries a row.
    pub(super) async fn attempt(&self, scene: &Scene, row: &Row) -> Outcome {
        let own = name(row.sni);
        let other = if row.sni == Sni::B { A } else { B };
        let (host, target) = match row.host {
            Host::Own => (own.to_owned(), None),
            Host::Other => (other.to_owned(), None),
            Host::Unknown => ("unknown.example.org".to_owned(), None),
            Host::Port => (format!("{own}:8440"), None),
            Host::Absolute => (own.to_owned(), Some(format!("https://{other}/"))),
        };
        let question = Question {
            address: &scene.address(row.kind),
            sni: row.sni,
            offer: row.offer,
            host,
            target,
        };
        if super::rows::by_openssl(row.sni) {
            return by_openssl(self.version, scene.pair(row.shown), &question);
        }
        self.ask(scene.pair(row.shown), &question).await
    }

    /// A visit with the certificate of the authority that goes away.
    pub(super) async fn former(&self, scene: &Scene, row: &Row) -> Outcome {
        let question = Question {
            address: &scene.address(row.kind),
            sni: row.sni,
            offer: row.offer,
            host: name(row.sni).to_owned(),
            target: None,
        };
        self.ask(Some(&scene.former), &question).await
    }

    async fn ask(&self, pair: Option<&Pair>, question: &Question<'_>) -> Outcome {
        *self.wallet.0.lock() = pair.map(Pair::certified);
        self.met.0.store(false, Ordering::SeqCst);
        let attempt = tokio::time::timeout(Duration::from_secs(20), self.try_ask(question));
        match attempt.await.expect("an end of the attempt") {
            Some(outcome) => outcome,
            // Whoever has seen our certificate was refused afterwards.
            None if self.met.0.load(Ordering::SeqCst) => Outcome::Refused,
            None => Outcome::Reset,
        }
    }

    async fn try_ask(&self, question: &Question<'_>) -> Option<Outcome> {
        let tcp = TcpStream::connect(question.address).await.unwrap();
        let server = match question.sni {
            Sni::Missing => ServerName::IpAddress(std::net::Ipv4Addr::LOCALHOST.into()),
            Sni::A | Sni::Wild | Sni::B | Sni::Unknown | Sni::Upper | Sni::Dot => {
                ServerName::try_from(name(question.sni)).unwrap()
            }
        };
        let connector = TlsConnector::from(Arc::new(self.config(question.offer)));
        let stream = connector.connect(server, tcp).await.ok()?;
        let connection = stream.get_ref().1;
        let resumed = connection.handshake_kind() == Some(HandshakeKind::Resumed);
        let alpn = match connection.alpn_protocol() {
            Some(b"h2") => "h2",
            Some(b"http/1.1") => "h1",
            Some(_) => "?",
            None => "-",
        };
        let (status, body) = if alpn == "h2" {
            http2(stream, question).await?
        } else {
            http1(stream, question).await?
        };
        Some(outcome(status, &body, resumed, alpn))
    }

    fn config(&self, offer: Offer) -> ClientConfig {
        let (met, wallet) = (Arc::clone(&self.met), Arc::clone(&self.wallet));
        let pocket = Arc::clone(&self.pocket);
        let provider = Arc::new(aws_lc_rs::default_provider());
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[self.version])
            .unwrap()
            .dangerous()
            .with_custom_certificate_verifier(met)
            .with_client_cert_resolver(wallet);
        config.resumption = Resumption::store(pocket);
        config.alpn_protocols = protocols(offer)
            .iter()
            .map(|id| id.as_bytes().to_vec())
            .collect();
        config
    }
}

fn protocols(offer: Offer) -> &'static [&'static str] {
    match offer {
        Offer::Nothing => &[],
        Offer::Http1 => &["http/1.1"],
        Offer::Http2 => &["h2"],
        Offer::Unknown => &["gopher/1"],
    }
}

/// The name that is sent, or that the request is for where none is.
fn name(sni: Sni) -> &'static str {
    match sni {
        Sni::Missing | Sni::A | Sni::Upper | Sni::Dot => A,
        Sni::Wild => WILD,
        Sni::B => B,
        Sni::Unknown => "unknown.example.org",
    }
}

/// What an answer says. Backends answer with their name and their client's.
fn outcome(status: u16, body: &str, resumed: bool, alpn: &'static str) -> Outcome {
    let (backend, client) = body.split_once(' ').unzip();
    Outcome::Answered {
        status,
        backend: backend.map(str::to_owned),
        resumed,
        alpn,
        client: client.unwrap_or("-").to_owned(),
    }
}

fn request(question: &Question<'_>) -> String {
    let target = question.target.as_deref().unwrap_or("/");
    format!(
        "GET {target} HTTP/1.1\r\nHost: {}\r\nX-Forwarded-Client-Cert: Hash=forged\r\n\
         Connection: close\r\n\r\n",
        question.host
    )
}

async fn http1(mut stream: TlsStream<TcpStream>, question: &Question<'_>) -> Option<(u16, String)> {
    // Whether it is read is told by the answer.
    let _ = stream.write_all(request(question).as_bytes()).await;
    let _ = stream.flush().await;
    let mut bytes = Vec::new();
    // How it ends is nobody's business once there is an answer.
    let _ = stream.read_to_end(&mut bytes).await;
    answer(&String::from_utf8_lossy(&bytes))
}

fn answer(text: &str) -> Option<(u16, String)> {
    let at = text.find("HTTP/1.1 ")?;
    let (head, body) = text.get(at..)?.split_once("\r\n\r\n")?;
    let length = head.lines().find_map(|line| {
        let (field, value) = line.split_once(':')?;
        let own = field.eq_ignore_ascii_case("content-length");
        own.then(|| value.trim().parse::<usize>().unwrap())
    });
    let body = body.get(..length.unwrap_or_default())?;
    Some((head.split(' ').nth(1)?.parse().ok()?, body.to_owned()))
}

async fn http2(stream: TlsStream<TcpStream>, question: &Question<'_>) -> Option<(u16, String)> {
    let builder = hyper::client::conn::http2::Builder::new(TokioExecutor::new());
    let (mut sender, connection) = builder.handshake(TokioIo::new(stream)).await.ok()?;
    let driver = tokio::spawn(connection);
    let request = hyper::Request::get(format!("https://{}/", question.host))
        .header("x-forwarded-client-cert", "Hash=forged")
        .body(Empty::<Bytes>::new())
        .unwrap();
    let response = sender.send_request(request).await.ok()?;
    let status = response.status().as_u16();
    let body = response.into_body().collect().await.ok()?.to_bytes();
    driver.abort();
    Some((status, String::from_utf8_lossy(&body).into_owned()))
}

/// The same with `openssl s_client`, which sends names as they are written.
fn by_openssl(
    version: &SupportedProtocolVersion,
    pair: Option<&Pair>,
    question: &Question<'_>,
) -> Outcome {
    let sent = if question.sni == Sni::Upper {
        A.to_uppercase()
    } else {
        format!("{A}.")
    };
    let folder = tempfile::tempdir().unwrap();
    let mut command = Command::new("openssl");
    command.args([
        "s_client",
        "-ign_eof",
        "-connect",
        question.address,
        "-servername",
        &sent,
    ]);
    command.arg(if version.version == rustls::ProtocolVersion::TLSv1_2 {
        "-tls1_2"
    } else {
        "-tls1_3"
    });
    if let [first, ..] = protocols(question.offer) {
        command.args(["-alpn", first]);
    }
    if let Some(pair) = pair {
        let path = folder.path().join("pair.pem");
        std::fs::write(&path, format!("{}{}", pair.certificate, pair.key)).unwrap();
        command.arg("-cert").arg(&path).arg("-key").arg(&path);
    }
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // The handshake may have been refused already.
    let _ = child
        .stdin
        .take()
        .unwrap()
        .write_all(request(question).as_bytes());
    let out = child.wait_with_output().unwrap();
    let text = String::from_utf8_lossy(&out.stdout);
    let alpn = if text.contains("ALPN protocol: http/1.1") {
        "h1"
    } else {
        "-"
    };
    match answer(&text) {
        Some((status, body)) => outcome(status, &body, text.contains("\nReused, "), alpn),
        None if text.contains("BEGIN CERTIFICATE") => Outcome::Refused,
        None => Outcome::Reset,
    }
}

/// Keeps the newest session and offers it to any server.
#[derive(Debug, Default)]
struct Pocket {
    old: Mutex<Option<Tls12ClientSessionValue>>,
    new: Mutex<Vec<Tls13ClientSessionValue>>,
}

impl Pocket {
    fn is_full(&self) -> bool {
        self.old.lock().is_some() || !self.new.lock().is_empty()
    }
}

impl ClientSessionStore for Pocket {
    fn set_kx_hint(&self, _: ServerName<'static>, _: NamedGroup) {}

    fn kx_hint(&self, _: &ServerName<'_>) -> Option<NamedGroup> {
        None
    }

    fn set_tls12_session(&self, _: ServerName<'static>, value: Tls12ClientSessionValue) {
        *self.old.lock() = Some(value);
    }

    fn tls12_session(&self, _: &ServerName<'_>) -> Option<Tls12ClientSessionValue> {
        self.old.lock().clone()
    }

    fn remove_tls12_session(&self, _: &ServerName<'static>) {
        self.old.lock().take();
    }

    fn insert_tls13_ticket(&self, _: ServerName<'static>, value: Tls13ClientSessionValue) {
        self.new.lock().push(value);
    }

    fn take_tls13_ticket(&self, _: &ServerName<'static>) -> Option<Tls13ClientSessionValue> {
        self.new.lock().pop()
    }
}

/// What is shown to whoever asks.
#[derive(Debug, Default)]
struct Wallet(Mutex<Option<Arc<CertifiedKey>>>);

impl ResolvesClientCert for Wallet {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        self.0.lock().clone()
    }

    fn has_certs(&self) -> bool {
        true
    }
}

/// Believes every server, and remembers that there was one.
#[derive(Debug, Default)]
struct Met(AtomicBool);

impl ServerCertVerifier for Met {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        self.0.store(true, Ordering::SeqCst);
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        let provider = aws_lc_rs::default_provider();
        provider
            .signature_verification_algorithms
            .supported_schemes()
    }
}
