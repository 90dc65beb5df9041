//! Echo backends: one for every loopback endpoint that EndpointSlices name.
//!
//! Each answers with what it got, as JSON. `/status/N` answers with status N and `/delay/N` after
//! N seconds, as httpbin does; a gRPC request gets a gRPC answer. Ports named `https` speak TLS, with
//! the certificate of the Secret `SERVICE-cert`; ports of UDP answer each datagram.

use crate::files::Files;
use anyhow::Context as _;
use bytes::{BufMut as _, Bytes, BytesMut};
use gwanmun_api::{
    Object,
    core::{EndpointPort, EndpointSlice, Secret},
};
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode, header};
use http_body_util::{BodyExt as _, Full, StreamBody, combinators::BoxBody};
use hyper::body::{Frame, Incoming};
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto,
};
use rustls::{
    ServerConfig,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
};
use serde_json::{Map, Value, json};
use std::{
    convert::Infallible,
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, UdpSocket},
};
use tokio_rustls::TlsAcceptor;

/// Longest `/delay`.
const MAX_DELAY: u64 = 10;
/// Largest request body that is looked at.
const MAX_BODY: usize = 1 << 20;
/// Largest datagram.
const MAX_DATAGRAM: usize = 1 << 16;

/// The running backends; they end when this is dropped.
#[derive(Debug)]
pub(super) struct Backends {
    pods: Vec<Arc<Pod>>,
    runtime: Option<tokio::runtime::Runtime>,
}

/// One backend.
#[derive(Debug)]
struct Pod {
    address: SocketAddr,
    namespace: String,
    service: String,
    name: String,
    speaks: Speaks,
}

/// What is spoken to a backend.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Speaks {
    Plaintext,
    Tls,
    Datagrams,
}

impl Backends {
    /// Answers on every loopback endpoint of the manifests' EndpointSlices.
    pub(super) fn start(files: &Files) -> anyhow::Result<Self> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("backends")
            .enable_all()
            .build()?;
        let mut pods = Vec::new();
        let objects = files.objects();
        for pod in objects.values().flat_map(|object| pods_of(object)) {
            let tls = match pod.speaks {
                Speaks::Plaintext | Speaks::Datagrams => None,
                Speaks::Tls => {
                    let secret = objects.values().find(|object| pod.has_secret(object));
                    let Some(secret) = secret.and_then(|object| object.typed::<Secret>()) else {
                        eprintln!("no Secret {}-cert: nobody is {}", pod.service, pod.address);
                        continue;
                    };
                    Some(acceptor(secret)?)
                }
            };
            let pod = Arc::new(pod);
            runtime.block_on(start(&pod, tls)).with_context(|| {
                format!(
                    "the backend {}/{} cannot listen on {}",
                    pod.namespace, pod.name, pod.address
                )
            })?;
            pods.push(pod);
        }
        Ok(Self {
            pods,
            runtime: Some(runtime),
        })
    }

    /// Each backend in one line: address, service and pod.
    pub(super) fn names(&self) -> impl Iterator<Item = String> {
        self.pods.iter().map(|pod| {
            format!(
                "{}  {}/{}  {}",
                pod.address, pod.namespace, pod.service, pod.name
            )
        })
    }
}

impl Drop for Backends {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// The endpoints of an EndpointSlice that this machine can answer on.
fn pods_of(object: &Object) -> Vec<Pod> {
    let Some(slice) = object.typed::<EndpointSlice>() else {
        return Vec::new();
    };
    let service = object
        .meta
        .labels
        .get("kubernetes.io/service-name")
        .cloned()
        .unwrap_or_default();
    let mut pods = Vec::new();
    for endpoint in &slice.endpoints {
        let addresses = endpoint
            .addresses
            .iter()
            .filter_map(|address| address.parse::<IpAddr>().ok());
        for address in addresses.filter(IpAddr::is_loopback) {
            let name = endpoint
                .target_ref
                .as_ref()
                .map_or_else(|| address.to_string(), |pod| pod.name.clone());
            pods.extend(
                slice
                    .ports
                    .iter()
                    .filter_map(|port| Some((port.port?, Speaks::at(port))))
                    .map(|(port, speaks)| Pod {
                        address: SocketAddr::new(address, port),
                        namespace: object.meta.namespace.clone(),
                        service: service.clone(),
                        name: name.clone(),
                        speaks,
                    }),
            );
        }
    }
    pods
}

impl Speaks {
    fn at(port: &EndpointPort) -> Self {
        match (port.protocol.as_str(), port.name.as_str()) {
            ("UDP", _) => Self::Datagrams,
            (_, "https") => Self::Tls,
            _ => Self::Plaintext,
        }
    }
}

impl Pod {
    /// Whether this is the Secret with its certificate.
    fn has_secret(&self, object: &Object) -> bool {
        object.typed::<Secret>().is_some()
            && object.meta.namespace == self.namespace
            && object.meta.name == format!("{}-cert", self.service)
    }

    fn echo(&self) -> Map<String, Value> {
        let mut echo = Map::new();
        for (key, value) in [
            ("pod", &self.name),
            ("service", &self.service),
            ("namespace", &self.namespace),
        ] {
            echo.insert(key.to_owned(), Value::from(value.as_str()));
        }
        echo
    }
}

fn acceptor(secret: &Secret) -> anyhow::Result<TlsAcceptor> {
    let entry = |key: &str| {
        let value = secret.value(key).map_err(anyhow::Error::msg)?;
        value.with_context(|| format!("a Secret has no {key}"))
    };
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&entry("tls.crt")?).collect();
    let key = PrivateKeyDer::from_pem_slice(&entry("tls.key")?)?;
    let mut config = ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(chain?, key)?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}

/// Listens, and answers from then on.
async fn start(pod: &Arc<Pod>, tls: Option<TlsAcceptor>) -> std::io::Result<()> {
    if pod.speaks == Speaks::Datagrams {
        let socket = UdpSocket::bind(pod.address).await?;
        tokio::spawn(answer_datagrams(socket, Arc::clone(pod)));
    } else {
        let listener = TcpListener::bind(pod.address).await?;
        tokio::spawn(accept(listener, Arc::clone(pod), tls));
    }
    Ok(())
}

async fn answer_datagrams(socket: UdpSocket, pod: Arc<Pod>) {
    let mut datagram = vec![0; MAX_DATAGRAM];
    loop {
        // An error is about a datagram that was sent before, to somebody who has gone.
        let Ok((length, peer)) = socket.recv_from(&mut datagram).await else {
            continue;
        };
        let mut echo = pod.echo();
        let text = String::from_utf8_lossy(datagram.get(..length).unwrap_or_default());
        echo.insert("datagram".to_owned(), Value::from(text.as_ref()));
        _ = socket
            .send_to(format!("{}\n", Value::from(echo)).as_bytes(), peer)
            .await;
    }
}

async fn accept(listener: TcpListener, pod: Arc<Pod>, tls: Option<TlsAcceptor>) {
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            // Out of file descriptors: give others time to close theirs.
            tokio::time::sleep(Duration::from_millis(50)).await;
            continue;
        };
        let (pod, tls) = (Arc::clone(&pod), tls.clone());
        tokio::spawn(async move {
            let Some(acceptor) = tls else {
                return serve(stream, pod, None).await;
            };
            // Handshakes that fail are their client's matter.
            if let Ok(stream) = acceptor.accept(stream).await {
                let name = stream.get_ref().1.server_name().map(str::to_owned);
                serve(stream, pod, Some(name.unwrap_or_default())).await;
            }
        });
    }
}

/// Answers the requests of a connection, with TLS for this server name if there is one.
async fn serve<S>(stream: S, pod: Arc<Pod>, server_name: Option<String>)
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let server_name: Option<Arc<str>> = server_name.map(Arc::from);
    let service = hyper::service::service_fn(move |request| {
        let (pod, server_name) = (Arc::clone(&pod), server_name.clone());
        async move { Ok::<_, Infallible>(answer(&pod, server_name.as_deref(), request).await) }
    });
    // A client that goes away is none of our business.
    _ = auto::Builder::new(TokioExecutor::new())
        .serve_connection(TokioIo::new(stream), service)
        .await;
}

async fn answer(
    pod: &Pod,
    server_name: Option<&str>,
    request: Request<Incoming>,
) -> Response<BoxBody<Bytes, Infallible>> {
    let (head, body) = request.into_parts();
    let path = head.uri.path().to_owned();
    if let Some(seconds) = parameter(&path, "/delay/") {
        tokio::time::sleep(Duration::from_secs(seconds.min(MAX_DELAY))).await;
    }
    let received = match http_body_util::Limited::new(body, MAX_BODY).collect().await {
        Ok(body) => body.to_bytes().len(),
        Err(_) => MAX_BODY,
    };
    let host = head
        .uri
        .authority()
        .map(ToString::to_string)
        .or_else(|| text(&head.headers, &header::HOST));
    let mut echo = pod.echo();
    let mut say = |key: &str, value: Value| _ = echo.insert(key.to_owned(), value);
    say("method", json!(head.method.as_str()));
    say(
        "path",
        json!(head.uri.path_and_query().map(ToString::to_string)),
    );
    say("host", json!(host));
    say("protocol", json!(format!("{:?}", head.version)));
    if let Some(name) = server_name {
        say("serverName", json!(name));
    }
    say("headers", Value::from(fields(&head.headers)));
    say("bodyBytes", json!(received));
    let mut echo = serde_json::to_vec_pretty(&echo).unwrap_or_default();
    echo.push(b'\n');
    let grpc = text(&head.headers, &header::CONTENT_TYPE)
        .is_some_and(|kind| kind.starts_with("application/grpc"));
    let mut response = if grpc {
        grpc_answer(&echo)
    } else {
        plain_answer(echo, &path)
    };
    if let Ok(name) = HeaderValue::from_str(&pod.name) {
        response.headers_mut().insert("x-pod", name);
    }
    response
}

fn plain_answer(echo: Vec<u8>, path: &str) -> Response<BoxBody<Bytes, Infallible>> {
    let status = parameter(path, "/status/")
        .and_then(|code| StatusCode::from_u16(u16::try_from(code).ok()?).ok());
    let mut response = Response::new(Full::new(Bytes::from(echo)).boxed());
    *response.status_mut() = status
        .filter(|status| status.as_u16() >= 200)
        .unwrap_or(StatusCode::OK);
    response.headers_mut().insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("application/json"),
    );
    response
}

/// One message that holds the echo, then the status as trailers.
fn grpc_answer(echo: &[u8]) -> Response<BoxBody<Bytes, Infallible>> {
    let mut message = BytesMut::with_capacity(echo.len() + 5);
    message.put_u8(0);
    message.put_u32(u32::try_from(echo.len()).unwrap_or(u32::MAX));
    message.put_slice(echo);
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", HeaderValue::from_static("0"));
    let frames = [
        Ok(Frame::data(message.freeze())),
        Ok(Frame::trailers(trailers)),
    ];
    let mut response = Response::new(StreamBody::new(futures_util::stream::iter(frames)).boxed());
    response.headers_mut().insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("application/grpc"),
    );
    response
}

/// The number after a path prefix.
fn parameter(path: &str, prefix: &str) -> Option<u64> {
    path.strip_prefix(prefix)?.parse().ok()
}

fn text(headers: &HeaderMap, name: &header::HeaderName) -> Option<String> {
    Some(headers.get(name)?.to_str().ok()?.to_owned())
}

/// Header fields by name; repeated ones are joined.
fn fields(headers: &HeaderMap) -> Map<String, Value> {
    let mut fields = Map::new();
    for name in headers.keys() {
        let values: Vec<_> = headers
            .get_all(name)
            .iter()
            .map(|value| String::from_utf8_lossy(value.as_bytes()))
            .collect();
        fields.insert(name.to_string(), Value::from(values.join(",")));
    }
    fields
}
