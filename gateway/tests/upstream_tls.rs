//! TLS towards upstreams on real sockets: who is believed, who we are, and what changes under load.

#![cfg(test)]

mod support;

use bytes::Bytes;
use gwanmun_certs::{Certificate, KeyPair};
use gwanmun_gateway::AccessLogMode;
use gwanmun_ir::{
    Cluster, HashCookie, HashKey, Key, LoadBalancing, Pem, PrivatePem, ProxyProtocolVersion,
    Rejection, Resource, Route, Secret, SecretKey, SecretMaterial, Sni, UpstreamProtocol,
    UpstreamTls, Verification,
};
use http_body_util::Full;
use hyper::{Request, Response, body::Incoming, service::service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo};
use parking_lot::Mutex;
use rustls::{ServerConfig, ServerConnection, StreamOwned, server::WebPkiClientVerifier};
use std::{
    collections::BTreeSet,
    convert::Infallible,
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst},
    },
};
use support::{
    TestGateway,
    build::*,
    client::{Raw, get},
    eventually,
    tls::{Authority, Issued},
    upstream::Upstream,
};

const OK: &str = "HTTP/1.1 200 OK\r\n";

/// A TLS server whose certificate can be replaced. It answers with the certificate's first name,
/// a blank, and the first name of the client's, if any.
struct Server {
    address: SocketAddr,
    config: Arc<Mutex<Arc<ServerConfig>>>,
    connections: Arc<AtomicUsize>,
}

fn server_config(issued: &Issued, clients: Option<&Authority>) -> Arc<ServerConfig> {
    let pair = KeyPair::parse(&issued.certificate, &issued.key).unwrap();
    let resolver = rustls::sign::SingleCertAndKey::from(pair.certified(None));
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .unwrap();
    let builder = match clients {
        None => builder.with_no_client_auth(),
        Some(authority) => builder.with_client_cert_verifier(
            WebPkiClientVerifier::builder_with_provider(Arc::new(authority.roots()), provider)
                .build()
                .unwrap(),
        ),
    };
    Arc::new(builder.with_cert_resolver(Arc::new(resolver)))
}

impl Server {
    fn start(issued: &Issued, clients: Option<&Authority>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let server = Self {
            address: listener.local_addr().unwrap(),
            config: Arc::new(Mutex::new(server_config(issued, clients))),
            connections: Arc::default(),
        };
        let (config, connections) = (Arc::clone(&server.config), Arc::clone(&server.connections));
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let connection = ServerConnection::new(Arc::clone(&config.lock())).unwrap();
                connections.fetch_add(1, SeqCst);
                let tls = StreamOwned::new(connection, stream.unwrap());
                std::thread::spawn(move || answer(tls));
            }
        });
        server
    }

    fn replace(&self, issued: &Issued) {
        *self.config.lock() = server_config(issued, None);
    }

    fn connections(&self) -> usize {
        self.connections.load(SeqCst)
    }
}

/// Takes each read for one request; ends with the connection.
fn answer(mut tls: StreamOwned<ServerConnection, TcpStream>) {
    let mut head = [0; 4096];
    while tls.read(&mut head).is_ok_and(|length| length > 0) {
        let peer = tls.conn.peer_certificates().and_then(<[_]>::first);
        let peer = peer.map(|der| Certificate::from_der(der).unwrap().title());
        let text = peer.unwrap_or_else(|| "nobody".to_owned());
        let answer = format!("{OK}content-length: {}\r\n\r\n{text}", text.len());
        if tls.write_all(answer.as_bytes()).is_err() {
            return;
        }
    }
}

fn anchors(name: &str, authorities: &[&Authority]) -> Resource {
    let pem: String = authorities.iter().map(|one| one.certificate()).collect();
    Resource::Secret(Secret {
        key: SecretKey::new(name),
        material: SecretMaterial::Anchors {
            certificates: Pem::new(pem),
            revocations: None,
        },
        source: source(name),
    })
}

fn pair(name: &str, issued: &Issued) -> Resource {
    Resource::Secret(Secret {
        key: SecretKey::new(name),
        material: SecretMaterial::KeyPair {
            certificates: Pem::new(issued.certificate.as_str()),
            private_key: PrivatePem::new(issued.key.as_str()),
            ocsp_staple: None,
        },
        source: source(name),
    })
}

fn tls_by(ca: &str) -> UpstreamTls {
    UpstreamTls {
        sni: Sni::Name("a.example.com".to_owned()),
        verification: Verification::Anchors(SecretKey::new(ca)),
        subject_alt_names: Vec::new(),
        client_certificate: None,
    }
}

fn backend(name: &str, address: SocketAddr, change: impl FnOnce(&mut Cluster)) -> [Resource; 2] {
    let [_, endpoints] = cluster(name, &[address]);
    let mut config = cluster_config(name);
    change(&mut config);
    [Resource::Cluster(Box::new(config)), endpoints]
}

/// Routes `/NAME` to the cluster of that name.
fn routed(clusters: &[&str], more: impl IntoIterator<Item = Resource>) -> Vec<Resource> {
    let mut resources = vec![listener(80), of_chain(exclusive(chain("web", 80)))];
    resources.extend(clusters.iter().zip(0..).map(|(name, position)| {
        of_route(Route {
            matches: vec![prefix(&format!("/{name}"))],
            action: forward(name),
            ..istio(route(name, "web"), position)
        })
    }));
    resources.extend(more);
    resources
}

fn ask(gateway: &TestGateway, path: &str) -> (u16, String) {
    let response = get(gateway.address(80), "a.example.com", path);
    (response.status, response.text())
}

#[test]
fn a_rotation_with_overlapping_authorities_fails_no_request() {
    let (old, new) = (Authority::new(), Authority::new());
    let names = &["a.example.com"];
    let server = Server::start(&old.issue(names), None);
    let gateway = TestGateway::start();
    let secured = |config: &mut Cluster| config.tls = Some(tls_by("ca"));
    let mut resources = routed(&["a"], backend("a", server.address, secured));
    resources.push(anchors("ca", &[&old]));
    gateway.serve(resources);
    let (stop, address) = (AtomicBool::new(false), gateway.address(80));
    let (requests, failed) = (AtomicUsize::new(0), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while !stop.load(SeqCst) {
                    let status = get(address, "a.example.com", "/a").status;
                    requests.fetch_add(1, SeqCst);
                    failed.fetch_add(usize::from(status != 200), SeqCst);
                }
            });
        }
        let (mut from, mut to) = (&old, &new);
        for _ in 0..20 {
            let some = |count: usize| {
                let before = requests.load(SeqCst);
                eventually("requests", || requests.load(SeqCst) >= before + count);
            };
            gateway.upsert(vec![anchors("ca", &[from, to])]);
            server.replace(&to.issue(names));
            some(5);
            // New trust means new connections.
            let before = server.connections();
            gateway.upsert(vec![anchors("ca", &[to])]);
            some(5);
            assert!(server.connections() > before);
            (from, to) = (to, from);
        }
        stop.store(true, SeqCst);
    });
    assert_eq!(failed.load(SeqCst), 0, "of {}", requests.load(SeqCst));
}

#[test]
fn connections_of_one_identity_never_serve_another() {
    let authority = Authority::new();
    let server = Server::start(&authority.issue(&["a.example.com"]), Some(&authority));
    let gateway = TestGateway::start();
    let with = |key: &str| {
        let tls = UpstreamTls {
            client_certificate: Some(SecretKey::new(key)),
            ..tls_by("ca")
        };
        move |config: &mut Cluster| config.tls = Some(tls)
    };
    let mut resources = routed(&["one", "two"], [anchors("ca", &[&authority])]);
    resources.extend(backend("one", server.address, with("first")));
    resources.extend(backend("two", server.address, with("second")));
    resources.push(pair("first", &authority.issue(&["first.example"])));
    resources.push(pair("second", &authority.issue(&["second.example"])));
    gateway.serve(resources);
    for _ in 0..5 {
        assert_eq!(ask(&gateway, "/one"), (200, "first.example".to_owned()));
        assert_eq!(ask(&gateway, "/two"), (200, "second.example".to_owned()));
    }
    // A new certificate counts from the next request on, for its own cluster.
    gateway.upsert(vec![pair("first", &authority.issue(&["third.example"]))]);
    assert_eq!(ask(&gateway, "/one"), (200, "third.example".to_owned()));
    assert_eq!(ask(&gateway, "/two"), (200, "second.example".to_owned()));
    // A key that does not belong to it keeps the one before, and is told.
    let torn = Issued {
        key: authority.issue(&["x.example"]).key,
        ..authority.issue(&["fourth.example"])
    };
    let report = gateway.upsert(vec![pair("first", &torn)]);
    let told = |rejection: &Rejection| matches!(&rejection.key, Key::Cluster(key) if key.as_str() == "one");
    assert!(report.rejected.iter().any(told), "{report:?}");
    assert_eq!(ask(&gateway, "/one"), (200, "third.example".to_owned()));
}

#[test]
fn failures_are_logged_in_envoys_words() {
    let directory = tempfile::tempdir().unwrap();
    let log = directory.path().join("access.log");
    let (authority, other) = (Authority::new(), Authority::new());
    let good = Server::start(&authority.issue(&["a.example.com"]), None);
    let misnamed = Server::start(&authority.issue(&["b.example.com"]), None);
    let picky = Server::start(&authority.issue(&["a.example.com"]), Some(&authority));
    let plain = Upstream::named("plain");
    let gateway = TestGateway::with(|config| {
        config.access_log = AccessLogMode::Text;
        config.access_log_file = Some(log.clone());
    });
    let by = |ca: &'static str| move |config: &mut Cluster| config.tls = Some(tls_by(ca));
    let verify = "268435581:SSL_routines:OPENSSL_internal:CERTIFICATE_VERIFY_FAILED:\
                  verify_cert_failed:";
    // Both authorities have the same subject: only their keys differ.
    let issuer = format!(
        "{verify}_X509_verify_cert:_certificate_verification_error_at_depth_0:\
         _certificate_signature_failure"
    );
    let cases = [
        (
            "stranger",
            good.address,
            "other",
            format!("TLS_error:|{issuer}:TLS_error_end"),
        ),
        (
            "misnamed",
            misnamed.address,
            "ca",
            format!("TLS_error:|{verify}_verify_SAN_list:TLS_error_end"),
        ),
        (
            "plain",
            plain.address(),
            "ca",
            "TLS_error:|268435703:SSL_routines:OPENSSL_internal:WRONG_VERSION_NUMBER:TLS_error_end"
                .to_owned(),
        ),
        (
            "missing",
            good.address,
            "nothing",
            "TLS_error:_Secret_is_not_supplied_by_SDS".to_owned(),
        ),
    ];
    let names: Vec<_> = cases.iter().map(|(name, ..)| *name).collect();
    let mut resources = routed(
        &names,
        [anchors("ca", &[&authority]), anchors("other", &[&other])],
    );
    for (name, address, ca, _) in &cases {
        resources.extend(backend(name, *address, by(ca)));
    }
    gateway.serve(resources);
    for (name, _, _, reason) in &cases {
        let (status, text) = ask(&gateway, &format!("/{name}"));
        assert_eq!(status, 503, "{name}");
        assert!(
            text.ends_with("reset reason: remote connection failure"),
            "{text}"
        );
        let expected = format!(
            "503 UF upstream_reset_before_response_started\
             {{remote_connection_failure|{reason}}} - \"{reason}\""
        );
        let mut lines = String::new();
        eventually(name, || {
            lines = std::fs::read_to_string(&log).unwrap_or_default();
            lines
                .lines()
                .any(|line| line.contains(&format!("/{name} ")))
        });
        let line = lines
            .lines()
            .find(|line| line.contains(&format!("/{name} ")));
        assert!(line.unwrap().contains(&expected), "{line:?}\n{expected}");
    }
    assert_eq!(plain.requests(), 0, "never plaintext");
    drop(picky);
}

#[test]
fn a_connection_with_a_proxy_header_serves_one_client_connection() {
    let listener_back = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener_back.local_addr().unwrap();
    let headers = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&headers);
    std::thread::spawn(move || {
        for stream in listener_back.incoming() {
            let (mut stream, seen) = (stream.unwrap(), Arc::clone(&seen));
            std::thread::spawn(move || {
                let mut text = [0; 4096];
                let mut first = true;
                while let Ok(length @ 1..) = stream.read(&mut text) {
                    let read = String::from_utf8_lossy(&text[..length]).into_owned();
                    if first {
                        seen.lock().push(read.lines().next().unwrap().to_owned());
                    }
                    first = false;
                    if read.contains("\r\n\r\n") {
                        let answer = format!("{OK}content-length: 0\r\n\r\n");
                        stream.write_all(answer.as_bytes()).unwrap();
                    }
                }
            });
        }
    });
    let gateway = TestGateway::start();
    let proxied = |config: &mut Cluster| config.proxy_protocol = Some(ProxyProtocolVersion::V1);
    gateway.serve(routed(&["a"], backend("a", address, proxied)));
    let mut expected = Vec::new();
    let mut clients: Vec<_> = (0..2).map(|_| Raw::connect(gateway.address(80))).collect();
    for _ in 0..2 {
        for client in &mut clients {
            client.send("GET /a HTTP/1.1\r\nHost: a.example.com\r\n\r\n");
            assert_eq!(client.response().status, 200);
        }
    }
    for client in &mut clients {
        let stream = client.stream();
        let (from, to) = (stream.local_addr().unwrap(), stream.peer_addr().unwrap());
        let (ip, port) = (from.ip(), from.port());
        expected.push(format!("PROXY TCP4 {ip} {} {port} {}", to.ip(), to.port()));
    }
    assert_eq!(*headers.lock(), expected);
}

#[test]
fn a_client_stays_with_its_endpoint() {
    let upstreams: Vec<_> = (0..5)
        .map(|one| Upstream::named(&one.to_string()))
        .collect();
    let addresses: Vec<_> = upstreams.iter().map(Upstream::address).collect();
    let gateway = TestGateway::start();
    let hashed = |name: &str, balancing, hash| {
        let [_, endpoints] = cluster(name, &addresses);
        let config = Cluster {
            balancing,
            hash: Some(hash),
            ..cluster_config(name)
        };
        [Resource::Cluster(Box::new(config)), endpoints]
    };
    let ring = LoadBalancing::RingHash { minimum_size: 1024 };
    let maglev = LoadBalancing::Maglev { table_size: 65_537 };
    let cookie = HashKey::Cookie(HashCookie {
        name: "stay".to_owned(),
        path: "/".to_owned(),
        ttl_seconds: Some(60),
        attributes: Vec::new(),
    });
    let mut resources = routed(&["ring", "maglev", "cookie"], []);
    resources.extend(hashed("ring", ring, HashKey::Header("x-user".to_owned())));
    resources.extend(hashed("maglev", maglev, HashKey::Query("user".to_owned())));
    resources.extend(hashed("cookie", ring, cookie));
    gateway.serve(resources);
    let send = |path: &str, header: &str| {
        let mut client = Raw::connect(gateway.address(80));
        client.send(format!("GET {path} HTTP/1.1\r\nHost: a\r\n{header}\r\n"));
        let response = client.response();
        let name = response.text().split(' ').next().unwrap().to_owned();
        (name, response.header("set-cookie").map(str::to_owned))
    };
    for (path, header) in [("/ring", "x-user: u\r\n"), ("/maglev?user=u", "")] {
        let mut all = BTreeSet::new();
        for user in 0..30 {
            let path = path.replace("=u", &format!("={user}"));
            let header = header.replace(": u", &format!(": {user}"));
            let first = send(&path, &header);
            for _ in 0..3 {
                assert_eq!(send(&path, &header), first);
            }
            all.insert(first.0);
        }
        assert!(all.len() >= 3, "{path}: {all:?}");
    }
    for _ in 0..10 {
        let (first, cookie) = send("/cookie", "");
        let cookie = cookie.unwrap();
        assert!(
            cookie.ends_with("; Max-Age=60; Path=/; HttpOnly"),
            "{cookie}"
        );
        let value = cookie.split(';').next().unwrap();
        for _ in 0..3 {
            assert_eq!(
                send("/cookie", &format!("cookie: {value}\r\n")),
                (first.clone(), None)
            );
        }
    }
}

/// A server with this ALPN that answers with the version of HTTP it was asked in.
async fn choosing(issued: &Issued, alpn: &[&str]) -> (SocketAddr, Arc<AtomicUsize>) {
    let mut config = (*server_config(issued, None)).clone();
    config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let connections = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&connections);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            counter.fetch_add(1, SeqCst);
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                let Ok(tls) = acceptor.accept(stream).await else {
                    return;
                };
                let is_h2 = tls.get_ref().1.alpn_protocol() == Some(b"h2");
                let service = service_fn(|request: Request<Incoming>| async move {
                    let text = format!("{:?}", request.version());
                    Ok::<_, Infallible>(Response::new(Full::new(Bytes::from(text))))
                });
                let io = TokioIo::new(tls);
                if is_h2 {
                    let builder = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
                    let _gone = builder.serve_connection(io, service).await;
                } else {
                    let builder = hyper::server::conn::http1::Builder::new();
                    let _gone = builder.serve_connection(io, service).await;
                }
            });
        }
    });
    (address, connections)
}

/// What HTTP/2 clients get for five requests one after the other.
async fn asked_in_http2(gateway: SocketAddr) -> BTreeSet<String> {
    let stream = tokio::net::TcpStream::connect(gateway).await.unwrap();
    let (mut send, connection) = h2::client::handshake(stream).await.unwrap();
    tokio::spawn(connection);
    let mut texts = BTreeSet::new();
    for _ in 0..5 {
        let request = Request::get("http://a.example.com/a").body(()).unwrap();
        let (response, _) = send.send_request(request, true).unwrap();
        let response = response.await.unwrap();
        let mut body = response.into_body();
        let data = body.data().await.unwrap().unwrap();
        texts.insert(String::from_utf8(data.to_vec()).unwrap());
    }
    texts
}

#[test]
fn an_http2_client_reaches_endpoints_that_choose_their_protocol() {
    let authority = Authority::new();
    let issued = authority.issue(&["a.example.com"]);
    let runtime = tokio::runtime::Runtime::new().unwrap();
    for (alpn, version) in [
        (&["h2", "http/1.1"][..], "HTTP/2.0"),
        (&["http/1.1"], "HTTP/1.1"),
        (&[], "HTTP/1.1"),
    ] {
        let (address, connections) = runtime.block_on(choosing(&issued, alpn));
        let gateway = TestGateway::start();
        let client = |config: &mut Cluster| {
            config.protocol = UpstreamProtocol::Client;
            config.tls = Some(tls_by("ca"));
        };
        let mut resources = routed(&["a"], backend("a", address, client));
        resources.push(anchors("ca", &[&authority]));
        gateway.serve(resources);
        let texts = runtime.block_on(asked_in_http2(gateway.address(80)));
        assert_eq!(texts, BTreeSet::from([version.to_owned()]), "{alpn:?}");
        assert_eq!(connections.load(SeqCst), 1, "{alpn:?}");
    }
}
