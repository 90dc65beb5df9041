//! The demonstration's requests: as `curl` lines, and sent by itself.

use anyhow::Context as _;
use bytes::Bytes;
use http::{HeaderMap, Request, Response, Version};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, ServerName, pem::PemObject as _},
};
use std::{
    io::Write as _,
    net::{Ipv4Addr, SocketAddr},
    path::PathBuf,
    sync::Arc,
    time::Duration,
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
};
use tokio_rustls::TlsConnector;

/// Longest time an answer may take.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Where the gateway is.
pub(super) struct Place {
    /// Ports of the examples and what is bound for them.
    pub(super) ports: Vec<(u16, u16)>,
    /// Certificate of the certification authority.
    pub(super) authority: PathBuf,
}

impl Place {
    fn port(&self, port: u16) -> u16 {
        self.ports
            .iter()
            .find(|(from, _)| *from == port)
            .map_or(port, |(_, to)| *to)
    }
}

/// How a request is sent.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Scheme {
    /// A gRPC message over HTTP/2 in plaintext.
    Grpc,
    /// HTTP/1.1 in plaintext.
    Http,
    /// HTTP/2 over TLS.
    Https,
}

/// A request and what has to come back.
#[derive(Clone, Copy)]
struct Case {
    scheme: Scheme,
    /// Port as the example has it.
    port: u16,
    host: &'static str,
    path: &'static str,
    header: Option<(&'static str, &'static str)>,
    status: u16,
    /// Any of these must be in the head or body of the answer; empty means nothing is expected.
    one_of: &'static [&'static str],
}

const fn get(
    port: u16,
    host: &'static str,
    path: &'static str,
    status: u16,
    one_of: &'static [&'static str],
) -> Case {
    let scheme = if port == 443 {
        Scheme::Https
    } else {
        Scheme::Http
    };
    Case {
        scheme,
        port,
        host,
        path,
        header: None,
        status,
        one_of,
    }
}

const fn with(case: Case, name: &'static str, value: &'static str) -> Case {
    Case {
        header: Some((name, value)),
        ..case
    }
}

/// A title, and the requests below it.
const CASES: &[(&str, &[Case])] = &[
    (
        "Istio's bookinfo: Gateway, VirtualService, DestinationRule",
        &[
            get(
                8080,
                "bookinfo.example.com",
                "/productpage",
                200,
                &["productpage-v1"],
            ),
            get(8080, "bookinfo.example.com", "/nowhere", 404, &[]),
            get(
                8080,
                "reviews.example.com",
                "/reviews/0",
                200,
                &["reviews-v1", "reviews-v3"],
            ),
            with(
                get(
                    8080,
                    "reviews.example.com",
                    "/reviews/0",
                    200,
                    &["reviews-v2"],
                ),
                "end-user",
                "jason",
            ),
        ],
    ),
    (
        "Istio's httpbin: ingress, and TLS from a Secret",
        &[
            get(80, "httpbin.example.com", "/status/418", 418, &["httpbin"]),
            get(
                443,
                "httpbin.example.com",
                "/status/200",
                200,
                &["HTTP/2.0", "HTTP/1.1"],
            ),
        ],
    ),
    (
        "Gateway API: routes, headers, weights, redirects, TLS, TCP, namespaces, gRPC",
        &[
            get(80, "example.com", "/", 200, &["example-svc"]),
            get(80, "foo.example.com", "/login", 200, &["foo-svc"]),
            with(
                get(80, "bar.example.com", "/", 200, &["bar-svc-canary"]),
                "env",
                "canary",
            ),
            get(80, "split.example.com", "/", 200, &["foo-v1", "foo-v2"]),
            get(80, "headers.example.com", "/", 200, &["my-header-value"]),
            get(
                80,
                "redirect.example.com",
                "/",
                301,
                &["https://redirect.example.com/"],
            ),
            get(80, "rewrite.example.com", "/cardamom", 200, &["/fennel"]),
            get(443, "foo.example.com", "/", 200, &["foo-svc"]),
            get(443, "a.wildcard.example.com", "/", 200, &["bar-svc"]),
            get(443, "secure.example.com", "/", 200, &["serverName"]),
            get(80, "reencrypted.example.com", "/", 200, &["serverName"]),
            get(9000, "tcp.example.com", "/", 200, &["tcp-v1", "tcp-v2"]),
            get(80, "shop.example.com", "/content", 200, &["content-svc"]),
            Case {
                scheme: Scheme::Grpc,
                port: 80,
                host: "grpc.example.com",
                path: "/com.example/Login",
                header: None,
                status: 200,
                one_of: &["grpc-svc"],
            },
        ],
    ),
];

/// The requests as `curl` lines, under their titles.
pub(super) fn lines(place: &Place) -> Vec<String> {
    let mut lines = Vec::new();
    for (title, cases) in CASES {
        lines.push(format!("# {title}"));
        lines.extend(cases.iter().map(|case| curl(case, place)));
    }
    lines
}

fn curl(case: &Case, place: &Place) -> String {
    let port = place.port(case.port);
    let mut line = format!("curl -s --resolve {}:{port}:127.0.0.1", case.host);
    if case.status != 200 {
        line.push_str(" -i");
    }
    let scheme = if case.scheme == Scheme::Https {
        line.push_str(&format!(" --cacert {}", place.authority.display()));
        "https"
    } else {
        "http"
    };
    if let Some((name, value)) = case.header {
        line.push_str(&format!(" -H '{name}: {value}'"));
    }
    if case.scheme == Scheme::Grpc {
        line.insert_str(0, "printf '\\0\\0\\0\\0\\0' | ");
        line.push_str(" --http2-prior-knowledge --data-binary @- -H 'content-type: application/grpc' -H 'te: trailers' -o /dev/null -D -");
    }
    format!("{line} {scheme}://{}:{port}{}", case.host, case.path)
}

/// Sends every request; prints a line for each and says whether all answers were right.
pub(super) fn check(place: &Place) -> anyhow::Result<bool> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let mut out = std::io::stdout();
    let mut failed = 0;
    for case in CASES.iter().flat_map(|(_, cases)| cases.iter()) {
        let answer =
            runtime.block_on(async { tokio::time::timeout(TIMEOUT, send(case, place)).await });
        let verdict = match answer {
            Ok(Ok(answer)) => answer.verdict(case),
            Ok(Err(error)) => Err(format!("{error:#}")),
            Err(_elapsed) => Err("no answer in time".to_owned()),
        };
        match verdict {
            Ok(()) => writeln!(out, "ok    {}  {}", case.status, curl(case, place))?,
            Err(reason) => {
                failed += 1;
                writeln!(out, "WRONG {reason}  {}", curl(case, place))?;
            }
        }
    }
    let total: usize = CASES.iter().map(|(_, cases)| cases.len()).sum();
    writeln!(out, "{} passed, {failed} failed", total - failed)?;
    Ok(failed == 0)
}

/// What came back.
struct Answer {
    status: u16,
    text: String,
}

impl Answer {
    fn verdict(&self, case: &Case) -> Result<(), String> {
        if self.status != case.status {
            return Err(format!("status {} instead of {}", self.status, case.status));
        }
        if !case.one_of.is_empty() && !case.one_of.iter().any(|part| self.text.contains(part)) {
            return Err(format!("the answer has none of {}", case.one_of.join(", ")));
        }
        Ok(())
    }
}

async fn send(case: &Case, place: &Place) -> anyhow::Result<Answer> {
    let port = place.port(case.port);
    let stream = TcpStream::connect(SocketAddr::from((Ipv4Addr::LOCALHOST, port))).await?;
    let authority = format!("{}:{port}", case.host);
    match case.scheme {
        Scheme::Grpc => over_http2(case, stream, &format!("http://{authority}")).await,
        Scheme::Http => over_http1(case, stream, &authority).await,
        Scheme::Https => {
            let connector = TlsConnector::from(Arc::new(client_tls(place)?));
            let stream = connector
                .connect(ServerName::try_from(case.host)?, stream)
                .await?;
            over_http2(case, stream, &format!("https://{authority}")).await
        }
    }
}

fn client_tls(place: &Place) -> anyhow::Result<ClientConfig> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(&place.authority)? {
        roots.add(certificate?)?;
    }
    let mut config = ClientConfig::builder()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec()];
    Ok(config)
}

async fn over_http1(case: &Case, stream: TcpStream, authority: &str) -> anyhow::Result<Answer> {
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    let driver = tokio::spawn(connection);
    let mut request = Request::get(case.path).header("host", authority);
    if let Some((name, value)) = case.header {
        request = request.header(name, value);
    }
    let answer = read(
        sender
            .send_request(request.body(Full::<Bytes>::default())?)
            .await?,
    )
    .await;
    driver.abort();
    answer
}

async fn over_http2<S>(case: &Case, stream: S, origin: &str) -> anyhow::Result<Answer>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await?;
    let driver = tokio::spawn(connection);
    let grpc = case.scheme == Scheme::Grpc;
    let mut request = Request::builder()
        .version(Version::HTTP_2)
        .method(if grpc { "POST" } else { "GET" })
        .uri(format!("{origin}{}", case.path));
    if grpc {
        request = request
            .header("content-type", "application/grpc")
            .header("te", "trailers");
    }
    if let Some((name, value)) = case.header {
        request = request.header(name, value);
    }
    let body = if grpc {
        Bytes::from_static(&[0; 5])
    } else {
        Bytes::new()
    };
    let answer = read(sender.send_request(request.body(Full::new(body))?).await?).await;
    driver.abort();
    answer
}

async fn read(response: Response<Incoming>) -> anyhow::Result<Answer> {
    let (head, body) = response.into_parts();
    let body = body.collect().await.context("the answer ends too early")?;
    let trailers = body.trailers().cloned().unwrap_or_default();
    let fields = |headers: &HeaderMap| format!("{headers:?}\n");
    let text = format!(
        "{:?}\n{}{}{}",
        head.version,
        fields(&head.headers),
        fields(&trailers),
        String::from_utf8_lossy(&body.to_bytes())
    );
    Ok(Answer {
        status: head.status.as_u16(),
        text,
    })
}
