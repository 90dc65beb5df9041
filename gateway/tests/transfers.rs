//! Random transfers through every combination of protocols, their bodies compared; afterwards
//! nothing is left behind and nothing costs processor time.

#![cfg(test)]
#![allow(
    dead_code,
    unreachable_pub,
    reason = "each test file uses its part of what they share"
)]

#[path = "engine/h2_peer.rs"]
mod h2_peer;
mod support;

use bytes::{Bytes, BytesMut};
use gwanmun_ir::{ClusterKey, EndpointSet, Resource, UpstreamProtocol};
use h2_peer::{read_all, send_all};
use http::{Request, Response};
use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::{Duration, Instant},
};
use support::{TestGateway, build::*};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

const RUN: Duration = Duration::from_secs(10);
const CLIENTS: usize = 32;

/// Bytes that tell where they belong.
fn pattern(seed: u64, len: usize) -> Bytes {
    let mut rng = fastrand::Rng::with_seed(seed);
    let mut out = BytesMut::with_capacity(len);
    while out.len() < len {
        out.extend_from_slice(&rng.u64(..).to_le_bytes());
    }
    out.truncate(len);
    out.freeze()
}

fn random_size() -> usize {
    match fastrand::u32(0..10) {
        0..4 => fastrand::usize(0..200),
        4..8 => fastrand::usize(200..40_000),
        _ => fastrand::usize(40_000..1_200_000),
    }
}

trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Stream for T {}

/// An upstream that speaks both protocols' echo: `x-size` and `x-seed` say what to answer; the
/// request's body must be the pattern of its own `x-seed`.
async fn h1_upstream() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut stream = tokio::io::BufReader::new(stream);
                while serve_h1(&mut stream).await.is_some() {}
            });
        }
    });
    address
}

async fn read_head(stream: &mut (impl AsyncRead + Unpin)) -> Option<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.ok()?);
    }
    String::from_utf8(head).ok()
}

fn field(head: &str, name: &str) -> Option<String> {
    head.lines().find_map(|line| {
        let (own, value) = line.split_once(':')?;
        own.eq_ignore_ascii_case(name)
            .then(|| value.trim().to_owned())
    })
}

fn number(head: &str, name: &str) -> u64 {
    field(head, name)
        .and_then(|value| value.parse().ok())
        .unwrap_or(0)
}

/// Reads a body framed as the head says.
async fn read_body(stream: &mut (impl AsyncRead + Unpin), head: &str) -> Option<Bytes> {
    if field(head, "transfer-encoding").is_none() {
        let mut body = vec![0; usize::try_from(number(head, "content-length")).ok()?];
        stream.read_exact(&mut body).await.ok()?;
        return Some(body.into());
    }
    let mut body = BytesMut::new();
    loop {
        let mut line = Vec::new();
        while !line.ends_with(b"\r\n") {
            line.push(stream.read_u8().await.ok()?);
        }
        let size = usize::from_str_radix(String::from_utf8(line).ok()?.trim(), 16).ok()?;
        let mut chunk = vec![0; size + 2];
        stream.read_exact(&mut chunk).await.ok()?;
        if size == 0 {
            return Some(body.freeze());
        }
        body.extend_from_slice(&chunk[..size]);
    }
}

/// Writes a body in random pieces, with or without chunks.
async fn write_body(
    stream: &mut (impl AsyncWrite + Unpin),
    mut body: Bytes,
    chunked: bool,
) -> Option<()> {
    while !body.is_empty() {
        let piece = body.split_to(fastrand::usize(1..=body.len().min(100_000)));
        if chunked {
            let size = format!("{:x}\r\n", piece.len());
            stream.write_all(size.as_bytes()).await.ok()?;
        }
        stream.write_all(&piece).await.ok()?;
        if chunked {
            stream.write_all(b"\r\n").await.ok()?;
        }
        if fastrand::u32(0..20) == 0 {
            stream.flush().await.ok()?;
            tokio::time::sleep(Duration::from_millis(fastrand::u64(0..4))).await;
        }
    }
    if chunked {
        stream.write_all(b"0\r\n\r\n").await.ok()?;
    }
    stream.flush().await.ok()
}

async fn serve_h1(stream: &mut (impl AsyncRead + AsyncWrite + Unpin)) -> Option<()> {
    let head = read_head(stream).await?;
    let body = read_body(stream, &head).await?;
    let good = body == pattern(number(&head, "x-seed"), body.len());
    let answer = answer_body(&head, good);
    let chunked = fastrand::bool();
    let framing = if chunked {
        "transfer-encoding: chunked".to_owned()
    } else {
        format!("content-length: {}", answer.len())
    };
    let head = format!("HTTP/1.1 200 OK\r\n{framing}\r\n\r\n");
    stream.write_all(head.as_bytes()).await.ok()?;
    write_body(stream, answer, chunked).await
}

fn answer_body(head: &str, good: bool) -> Bytes {
    if good {
        let size = usize::try_from(number(head, "x-size")).unwrap();
        pattern(number(head, "x-seed") + 1, size)
    } else {
        Bytes::from_static(b"damaged request")
    }
}

async fn h2_upstream() -> SocketAddr {
    let server = h2_peer::Server::start(
        |_| {},
        |request, mut respond| async move {
            let value = |name: &str| {
                let value = request.headers().get(name)?;
                value.to_str().ok()?.parse::<u64>().ok()
            };
            let seed = value("x-seed").unwrap_or(0);
            let size = usize::try_from(value("x-size").unwrap_or(0)).unwrap();
            let Ok((body, _)) = read_all(request.into_body()).await else {
                return;
            };
            let answer = if body == pattern(seed, body.len()) {
                pattern(seed + 1, size)
            } else {
                Bytes::from_static(b"damaged request")
            };
            let end = answer.is_empty();
            if let Ok(stream) = respond.send_response(Response::new(()), end)
                && !end
            {
                let _ = send_all(stream, answer, None).await;
            }
        },
    )
    .await;
    server.address
}

/// One client: transfers one after the other until the time is over. The number of transfers, or
/// what was wrong.
async fn h1_client(
    mut stream: Box<dyn Stream>,
    host: &str,
    until: Instant,
) -> Result<usize, String> {
    let mut done = 0;
    while Instant::now() < until {
        let (seed, size, upload) = (fastrand::u64(1..1 << 40), random_size(), random_size());
        let body = pattern(seed, upload);
        let chunked = fastrand::bool();
        let framing = if chunked {
            "transfer-encoding: chunked".to_owned()
        } else {
            format!("content-length: {upload}")
        };
        let head = format!(
            "POST /x HTTP/1.1\r\nhost: {host}\r\nx-seed: {seed}\r\nx-size: {size}\r\n{framing}\r\n\r\n"
        );
        stream
            .write_all(head.as_bytes())
            .await
            .map_err(|e| format!("head: {e}"))?;
        write_body(&mut stream, body, chunked)
            .await
            .ok_or("cannot send the body")?;
        let head = read_head(&mut stream).await.ok_or("no response")?;
        if !head.starts_with("HTTP/1.1 200") {
            return Err(head);
        }
        let body = read_body(&mut stream, &head).await.ok_or("no body")?;
        if body != pattern(seed + 1, size) {
            return Err(format!("wrong body of {} bytes for {size}", body.len()));
        }
        done += 1;
    }
    Ok(done)
}

async fn h2_client(stream: Box<dyn Stream>, host: &str, until: Instant) -> Result<usize, String> {
    let (mut send, connection) = h2::client::handshake::<_>(stream)
        .await
        .map_err(|e| format!("handshake: {e}"))?;
    tokio::spawn(connection);
    let mut done = 0;
    while Instant::now() < until {
        let (seed, size, upload) = (fastrand::u64(1..1 << 40), random_size(), random_size());
        let body = pattern(seed, upload);
        let request = Request::builder()
            .method("POST")
            .uri(format!("http://{host}/x"))
            .header("x-seed", seed)
            .header("x-size", size)
            .body(())
            .unwrap();
        std::future::poll_fn(|cx| send.poll_ready(cx))
            .await
            .map_err(|e| e.to_string())?;
        let (response, stream) = send
            .send_request(request, body.is_empty())
            .map_err(|e| e.to_string())?;
        if !body.is_empty() {
            send_all(stream, body, None)
                .await
                .map_err(|e| format!("upload: {e}"))?;
        }
        let response = response.await.map_err(|e| format!("response: {e}"))?;
        if response.status() != 200 {
            return Err(response.status().to_string());
        }
        let (body, _) = read_all(response.into_body())
            .await
            .map_err(|e| format!("body: {e}"))?;
        if body != pattern(seed + 1, size) {
            return Err(format!("wrong body of {} bytes for {size}", body.len()));
        }
        done += 1;
    }
    Ok(done)
}

/// A TLS connection that trusts anybody: only the bytes are tested here.
async fn tls(stream: TcpStream, roots: Arc<rustls::RootCertStore>, alpn: &[u8]) -> Box<dyn Stream> {
    let mut config = rustls::ClientConfig::builder()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![alpn.to_vec()];
    let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
    let name = rustls_pki_types::ServerName::try_from("h1.test").unwrap();
    Box::new(connector.connect(name, stream).await.unwrap())
}

fn serve(
    gateway: &TestGateway,
    h1: SocketAddr,
    h2: SocketAddr,
    certificate: &rcgen::CertifiedKey<rcgen::KeyPair>,
) {
    let mut resources = vec![
        listener(80),
        listener(443),
        of_chain(chain("web", 80)),
        of_chain(tls_chain()),
        secret(
            "cert",
            &certificate.cert.pem(),
            &certificate.signing_key.serialize_pem(),
        ),
    ];
    for (name, address, protocol) in [
        ("h1", h1, UpstreamProtocol::Http1),
        ("h2", h2, UpstreamProtocol::Http2),
    ] {
        let mut cluster = cluster_config(name);
        cluster.protocol = protocol;
        resources.push(Resource::Cluster(Box::new(cluster)));
        resources.push(Resource::Endpoints(EndpointSet {
            cluster: ClusterKey::new(name),
            endpoints: vec![endpoint(address)],
        }));
        for chain in ["web", "secure"] {
            let mut route = route(name, chain);
            route.hostnames = hostnames(&[&format!("{name}.test")]);
            route.action = forward(name);
            resources.push(of_route(route));
        }
    }
    gateway.serve(resources);
}

fn tls_chain() -> gwanmun_ir::FilterChain {
    support::build::tls(chain("secure", 443), &["cert"])
}

/// Processor time of the gateway's worker threads so far.
fn worker_time() -> Duration {
    let mut total = Duration::ZERO;
    for task in std::fs::read_dir("/proc/self/task").unwrap().flatten() {
        let name = std::fs::read_to_string(task.path().join("comm")).unwrap_or_default();
        if !name.starts_with("gwanmun-worker") {
            continue;
        }
        let stat = std::fs::read_to_string(task.path().join("schedstat")).unwrap_or_default();
        let nanos = stat
            .split(' ')
            .next()
            .and_then(|n| n.parse().ok())
            .unwrap_or(0);
        total += Duration::from_nanos(nanos);
    }
    total
}

#[test]
fn bodies_arrive_as_they_were_sent_through_every_combination() {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let names = ["h1.test".to_owned(), "h2.test".to_owned()];
    let certificate = rcgen::generate_simple_self_signed(names).unwrap();
    let mut roots = rustls::RootCertStore::empty();
    roots.add(certificate.cert.der().clone()).unwrap();
    let roots = Arc::new(roots);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    let gateway = TestGateway::with(|config| config.concurrency = 2);
    let (h1, h2) = runtime.block_on(async { (h1_upstream().await, h2_upstream().await) });
    serve(&gateway, h1, h2, &certificate);
    let (plain, secure) = (gateway.address(80), gateway.address(443));
    let until = Instant::now() + RUN;
    let total = Arc::new(AtomicUsize::new(0));
    let tasks: Vec<_> = (0..CLIENTS)
        .map(|n| {
            let roots = Arc::clone(&roots);
            let total = Arc::clone(&total);
            runtime.spawn(async move {
                let host = if n % 2 == 0 { "h1.test" } else { "h2.test" };
                let (two, encrypted) = (n / 2 % 2 == 0, n / 4 % 2 == 0);
                let stream = TcpStream::connect(if encrypted { secure } else { plain })
                    .await
                    .unwrap();
                let alpn: &[u8] = if two { b"h2" } else { b"http/1.1" };
                let stream: Box<dyn Stream> = if encrypted {
                    tls(stream, roots, alpn).await
                } else {
                    Box::new(stream)
                };
                let result = if two {
                    h2_client(stream, host, until).await
                } else {
                    h1_client(stream, host, until).await
                };
                match result {
                    Ok(done) => {
                        assert!(
                            done > 0,
                            "no transfer at all: {host} h2={two} tls={encrypted}"
                        );
                        total.fetch_add(done, SeqCst);
                    }
                    Err(error) => panic!("{error}: to {host} h2={two} tls={encrypted}"),
                }
            })
        })
        .collect();
    runtime.block_on(async {
        for task in tasks {
            let limit = RUN + Duration::from_secs(20);
            tokio::time::timeout(limit, task)
                .await
                .expect("a transfer hangs")
                .unwrap();
        }
    });
    let transfers = total.load(SeqCst);
    println!("{transfers} transfers");
    assert!(transfers > CLIENTS, "{transfers}");

    // Idle connections of every state cost nothing.
    let before = worker_time();
    assert!(before > Duration::ZERO, "the workers have another name now");
    std::thread::park_timeout(Duration::from_millis(500));
    let spent = worker_time() - before;
    assert!(
        spent < Duration::from_millis(20),
        "{spent:?} while nothing happened"
    );
    runtime.shutdown_background();
}
