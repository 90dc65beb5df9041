//! Connections to real sockets, and what their failures are called.

use super::*;
use crate::cluster::{Resource, state::State, tls::ClientTls};
use gwanmun_ir::{
    Pem, PrivatePem, Secret, SecretKey, SecretMaterial, Sni, SourceRef, UpstreamTls, Verification,
};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, SanType};
use rustls::{RootCertStore, ServerConfig, server::WebPkiClientVerifier};
use std::{sync::Arc, time::Duration};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};
use tokio_rustls::TlsAcceptor;

const CA: &str = "kubernetes://default/ca";
const CLIENT: &str = "kubernetes://default/client";

/// An authority and what it signed.
struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
}

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        Self {
            issuer: CertifiedIssuer::self_signed(params, key).unwrap(),
        }
    }

    /// PEM of a certificate for these names, and of its key.
    fn issue(&self, names: Vec<SanType>) -> (String, String) {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.subject_alt_names = names;
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        (certificate.pem(), key.serialize_pem())
    }

    fn anchors(&self) -> Secret {
        secret(
            CA,
            SecretMaterial::Anchors {
                certificates: Pem::new(self.issuer.pem()),
                revocations: None,
            },
        )
    }
}

fn secret(key: &str, material: SecretMaterial) -> Secret {
    Secret {
        key: SecretKey::new(key),
        material,
        source: SourceRef::default(),
    }
}

fn pair((certificates, private_key): &(String, String)) -> SecretMaterial {
    SecretMaterial::KeyPair {
        certificates: Pem::new(certificates.as_str()),
        private_key: PrivatePem::new(private_key.as_str()),
        ocsp_staple: None,
    }
}

fn dns(name: &str) -> SanType {
    SanType::DnsName(name.try_into().unwrap())
}

fn uri(uri: &str) -> SanType {
    SanType::URI(uri.try_into().unwrap())
}

/// A TLS server that says what it saw: the server name, the protocol, and the client's names.
async fn serve(pair: &(String, String), alpn: &[&str], client: Option<&Authority>) -> SocketAddr {
    let parsed = gwanmun_certs::KeyPair::parse(&pair.0, &pair.1).unwrap();
    let builder = ServerConfig::builder_with_provider(crate::cluster::verify::provider())
        .with_safe_default_protocol_versions()
        .unwrap();
    let builder = match client {
        None => builder.with_no_client_auth(),
        Some(authority) => {
            let mut roots = RootCertStore::empty();
            roots.add(authority.issuer.der().clone()).unwrap();
            let provider = crate::cluster::verify::provider();
            let verifier =
                WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build();
            builder.with_client_cert_verifier(verifier.unwrap())
        }
    };
    let resolver = rustls::sign::SingleCertAndKey::from(parsed.certified(None));
    let mut config = builder.with_cert_resolver(Arc::new(resolver));
    config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let Ok(mut stream) = acceptor.accept(stream).await else {
                continue;
            };
            let connection = stream.get_ref().1;
            let alpn = connection.alpn_protocol().unwrap_or_default();
            let text = format!(
                "{} {} {}",
                connection.server_name().unwrap_or("-"),
                String::from_utf8_lossy(alpn),
                connection.peer_certificates().map_or(0, <[_]>::len),
            );
            let _gone = stream.write_all(text.as_bytes()).await;
            let _gone = stream.shutdown().await;
        }
    });
    address
}

fn cluster(tls: Option<UpstreamTls>, secrets: &[Secret]) -> Cluster {
    let mut config = (*Cluster::for_test("a").config).clone();
    config.connect_timeout_ms = 5_000;
    let tls = tls.map(|tls| {
        let find = |key: &SecretKey| secrets.iter().find(|secret| secret.key == *key);
        ClientTls::build(&tls, find, None).0
    });
    Cluster::new(config, tls, Arc::new(State::new(1)))
}

fn verifying() -> UpstreamTls {
    UpstreamTls {
        sni: Sni::FromHost,
        verification: Verification::Anchors(SecretKey::new(CA)),
        subject_alt_names: Vec::new(),
        client_certificate: None,
    }
}

async fn open(
    cluster: &Cluster,
    address: SocketAddr,
    protocol: Protocol,
) -> Result<Connection, ConnectError> {
    let endpoint = Endpoint::new(address, Arc::default(), Arc::default());
    cluster
        .connect(&endpoint, "a.example", protocol, None)
        .await
}

/// What the server saw.
async fn seen(cluster: &Cluster, address: SocketAddr, protocol: Protocol) -> String {
    let mut connection = open(cluster, address, protocol).await.unwrap();
    let mut text = String::new();
    connection.io.read_to_string(&mut text).await.unwrap();
    text
}

/// The transport failure.
async fn failure(cluster: &Cluster, address: SocketAddr) -> String {
    let error = open(cluster, address, Protocol::Http1).await.unwrap_err();
    assert_eq!(error.failure, ConnectFailure::Remote);
    assert!(
        error
            .details()
            .starts_with("remote_connection_failure|TLS_error:|")
    );
    error.transport.into_owned()
}

#[tokio::test]
async fn the_servers_name_and_protocol_are_asked_for() {
    let authority = Authority::new();
    let pair = authority.issue(vec![dns("a.example"), dns("b.example")]);
    let address = serve(&pair, &["h2", "http/1.1"], None).await;
    let secrets = [authority.anchors()];
    let from_host = cluster(Some(verifying()), &secrets);
    assert_eq!(
        seen(&from_host, address, Protocol::Http1).await,
        "a.example http/1.1 0"
    );
    assert_eq!(
        seen(&from_host, address, Protocol::Http2).await,
        "a.example h2 0"
    );
    let named = UpstreamTls {
        sni: Sni::Name("b.example".to_owned()),
        ..verifying()
    };
    let named = cluster(Some(named), &secrets);
    assert_eq!(
        seen(&named, address, Protocol::Http1).await,
        "b.example http/1.1 0"
    );
    let stats = &from_host.state.stats;
    assert_eq!((stats.cx_total.get(), stats.cx_http2_total.get()), (2, 1));
}

#[tokio::test]
async fn a_server_without_alpn_is_spoken_to_as_configured() {
    let authority = Authority::new();
    let address = serve(&authority.issue(vec![dns("a.example")]), &[], None).await;
    let cluster = cluster(Some(verifying()), &[authority.anchors()]);
    assert!(open(&cluster, address, Protocol::Http2).await.is_ok());
}

#[tokio::test]
async fn certificates_of_others_are_refused_with_envoys_word_for_it() {
    let (authority, other) = (Authority::new(), Authority::new());
    let good = serve(&authority.issue(vec![dns("a.example")]), &[], None).await;
    let misnamed = serve(&authority.issue(vec![dns("evil.example")]), &[], None).await;
    let stranger = cluster(Some(verifying()), &[other.anchors()]);
    let cluster = cluster(Some(verifying()), &[authority.anchors()]);
    for (cluster, address) in [(&cluster, misnamed), (&stranger, good)] {
        let text = failure(cluster, address).await;
        assert!(text.contains("CERTIFICATE_VERIFY_FAILED"), "{text}");
        assert!(
            text.ends_with(":TLS_error_end") && !text.contains(' '),
            "{text}"
        );
        assert_eq!(cluster.state.stats.ssl_fail_verify_error.get(), 1);
        assert_eq!(cluster.state.stats.cx_connect_fail.get(), 1);
    }
}

#[tokio::test]
async fn alternative_names_replace_the_servers_name() {
    let authority = Authority::new();
    let identity = "spiffe://cluster.local/ns/default/sa/a";
    let names = vec![dns("pod.example"), uri(identity)];
    let address = serve(&authority.issue(names), &[], None).await;
    let secrets = [authority.anchors()];
    for (accepted, good) in [
        (vec![identity], true),
        (vec!["other.example", "pod.example"], true),
        (vec!["POD.example"], true),
        (vec!["spiffe://cluster.local/ns/default/sa/b"], false),
        (vec!["a.example"], false),
    ] {
        let tls = UpstreamTls {
            subject_alt_names: accepted.iter().map(|&name| name.to_owned()).collect(),
            ..verifying()
        };
        let cluster = cluster(Some(tls), &secrets);
        let opened = open(&cluster, address, Protocol::Http1).await;
        assert_eq!(opened.is_ok(), good, "{accepted:?}: {opened:?}");
    }
    // The right name under the wrong authority.
    let tls = UpstreamTls {
        subject_alt_names: vec![identity.to_owned()],
        ..verifying()
    };
    let stranger = cluster(Some(tls), &[Authority::new().anchors()]);
    assert!(
        failure(&stranger, address)
            .await
            .contains("CERTIFICATE_VERIFY_FAILED")
    );
}

#[tokio::test]
async fn a_self_signed_certificate_is_trusted_when_it_is_itself_the_anchor() {
    let mut params = CertificateParams::new(vec!["a.example".to_owned()]).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate().unwrap();
    let certificate = params.self_signed(&key).unwrap();
    let address = serve(&(certificate.pem(), key.serialize_pem()), &[], None).await;
    let anchors = secret(
        CA,
        SecretMaterial::Anchors {
            certificates: Pem::new(certificate.pem()),
            revocations: None,
        },
    );
    let trusting = cluster(Some(verifying()), std::slice::from_ref(&anchors));
    assert!(open(&trusting, address, Protocol::Http1).await.is_ok());
    let named = UpstreamTls {
        sni: Sni::Name("b.example".to_owned()),
        ..verifying()
    };
    let elsewhere = cluster(Some(named), &[anchors]);
    assert!(
        failure(&elsewhere, address)
            .await
            .contains("CERTIFICATE_VERIFY_FAILED")
    );
}

#[tokio::test]
async fn nothing_is_verified_when_told_so() {
    let address = serve(
        &Authority::new().issue(vec![dns("evil.example")]),
        &[],
        None,
    )
    .await;
    let tls = UpstreamTls {
        verification: Verification::InsecureSkip,
        ..verifying()
    };
    assert_eq!(
        seen(&cluster(Some(tls), &[]), address, Protocol::Http1).await,
        "a.example  0"
    );
}

#[tokio::test]
async fn our_certificate_is_shown() {
    let authority = Authority::new();
    let pair_of_server = authority.issue(vec![dns("a.example")]);
    let address = serve(&pair_of_server, &[], Some(&authority)).await;
    let ours = secret(CLIENT, pair(&authority.issue(vec![dns("gateway")])));
    let tls = UpstreamTls {
        client_certificate: Some(SecretKey::new(CLIENT)),
        ..verifying()
    };
    let with = cluster(Some(tls.clone()), &[authority.anchors(), ours]);
    assert_eq!(seen(&with, address, Protocol::Http1).await, "a.example  1");
    let without = cluster(Some(tls), &[authority.anchors()]);
    let error = open(&without, address, Protocol::Http1).await.unwrap_err();
    assert_eq!(error.transport, "TLS_error:_Secret_is_not_supplied_by_SDS");
}

#[tokio::test]
async fn a_refused_connection_is_called_as_envoy_calls_it() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let cluster = cluster(None, &[]);
    let error = open(&cluster, address, Protocol::Http1).await.unwrap_err();
    assert_eq!(error.transport, "delayed_connect_error:_Connection_refused");
    assert_eq!(
        error.details(),
        "remote_connection_failure|delayed_connect_error:_Connection_refused"
    );
    assert_eq!(error.reset_reason(), "remote connection failure");
    assert_eq!(cluster.state.stats.cx_connect_fail.get(), 1);
}

#[tokio::test]
async fn a_handshake_that_hangs_is_a_connection_timeout() {
    // Accepts by its backlog, and never answers.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let authority = Authority::new();
    let mut cluster = cluster(Some(verifying()), &[authority.anchors()]);
    cluster.connect_timeout = Duration::from_millis(50);
    let address = listener.local_addr().unwrap();
    let error = open(&cluster, address, Protocol::Http1).await.unwrap_err();
    assert_eq!(error.details(), "connection_timeout");
    assert_eq!(error.reset_reason(), "connection timeout");
    assert_eq!(error.transport, "");
    assert_eq!(cluster.state.stats.cx_connect_timeout.get(), 1);
}

#[tokio::test]
async fn connections_count_against_the_limit_until_they_end() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let mut config = (*Cluster::for_test("a").config).clone();
    config.limits.max_connections = Some(1);
    let cluster = Cluster::new(config, None, Arc::new(State::new(1)));
    let endpoint = Endpoint::new(address, Arc::default(), Arc::default());
    let connect = || cluster.connect(&endpoint, "a.example", Protocol::Http1, None);
    let used = || cluster.state.usage().get(Resource::Connections);
    let first = connect().await.unwrap();
    assert_eq!(first.local, first.io.local_addr());
    let error = connect().await.unwrap_err();
    assert_eq!(
        (error.failure, error.details().as_ref()),
        (ConnectFailure::Overflow, "overflow")
    );
    assert_eq!((used(), endpoint.state.open.total()), (1, 1));
    // Another endpoint's first connection would wait for ever otherwise.
    let other = open(&cluster, address, Protocol::Http1).await.unwrap();
    assert_eq!(used(), 2);
    assert!(connect().await.is_err());
    drop((first, other));
    assert_eq!((used(), endpoint.state.open.total()), (0, 0));
    assert!(connect().await.is_ok());
}

#[tokio::test]
async fn addresses_are_verified_by_their_names_in_the_certificate() {
    let authority = Authority::new();
    let ip = SanType::IpAddress([127, 0, 0, 1].into());
    let address = serve(&authority.issue(vec![ip]), &[], None).await;
    for (name, good) in [("127.0.0.1", true), ("127.0.0.2", false)] {
        for (sni, names) in [
            (name, Vec::new()),
            ("ignored.example", vec![name.to_owned()]),
        ] {
            let tls = UpstreamTls {
                sni: Sni::Name(sni.to_owned()),
                subject_alt_names: names,
                ..verifying()
            };
            let cluster = cluster(Some(tls), &[authority.anchors()]);
            let opened = open(&cluster, address, Protocol::Http1).await;
            assert_eq!(opened.is_ok(), good, "{sni} {name}: {opened:?}");
        }
    }
}

#[tokio::test]
async fn authorities_of_one_name_are_told_apart_by_their_keys() {
    // All of them have the same, empty subject.
    let (one, two) = (Authority::new(), Authority::new());
    let both = secret(
        CA,
        SecretMaterial::Anchors {
            certificates: Pem::new(format!("{}{}", one.issuer.pem(), two.issuer.pem())),
            revocations: None,
        },
    );
    let trusting = cluster(Some(verifying()), &[both]);
    for authority in [&one, &two] {
        let address = serve(&authority.issue(vec![dns("a.example")]), &[], None).await;
        assert!(open(&trusting, address, Protocol::Http1).await.is_ok());
        let address = serve(&Authority::new().issue(vec![dns("a.example")]), &[], None).await;
        assert!(open(&trusting, address, Protocol::Http1).await.is_err());
    }
}
