//! Echo backends: one for every loopback endpoint that EndpointSlices name.
//!
//! Each answers with what it got, as JSON. `/status/N` answers with status N and `/delay/N` after
//! N seconds, as httpbin does; a gRPC request gets a gRPC answer.

use crate::files::Files;
use anyhow::Context as _;
use bytes::{BufMut as _, Bytes, BytesMut};
use gwanmun_api::{Object, core::EndpointSlice};
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode, header};
use http_body_util::{BodyExt as _, Full, StreamBody, combinators::BoxBody};
use hyper::body::{Frame, Incoming};
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto,
};
use serde_json::{Map, Value, json};
use std::{
    convert::Infallible,
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};
use tokio::net::TcpListener;

/// Longest `/delay`.
const MAX_DELAY: u64 = 10;
/// Largest request body that is looked at.
const MAX_BODY: usize = 1 << 20;

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
            let listener = runtime
                .block_on(TcpListener::bind(pod.address))
                .with_context(|| {
                    format!(
                        "the backend {}/{} cannot listen on {}",
                        pod.namespace, pod.name, pod.address
                    )
                })?;
            let pod = Arc::new(pod);
            pods.push(Arc::clone(&pod));
            runtime.spawn(accept(listener, pod));
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
                    .filter_map(|port| port.port)
                    .map(|port| Pod {
                        address: SocketAddr::new(address, port),
                        namespace: object.meta.namespace.clone(),
                        service: service.clone(),
                        name: name.clone(),
                    }),
            );
        }
    }
    pods
}

async fn accept(listener: TcpListener, pod: Arc<Pod>) {
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            // Out of file descriptors: give others time to close theirs.
            tokio::time::sleep(Duration::from_millis(50)).await;
            continue;
        };
        let pod = Arc::clone(&pod);
        tokio::spawn(async move {
            let service = hyper::service::service_fn(move |request| {
                let pod = Arc::clone(&pod);
                async move { Ok::<_, Infallible>(answer(&pod, request).await) }
            });
            // A client that goes away is none of our business.
            _ = auto::Builder::new(TokioExecutor::new())
                .serve_connection(TokioIo::new(stream), service)
                .await;
        });
    }
}

async fn answer(pod: &Pod, request: Request<Incoming>) -> Response<BoxBody<Bytes, Infallible>> {
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
    let echo = json!({
        "pod": pod.name,
        "service": pod.service,
        "namespace": pod.namespace,
        "method": head.method.as_str(),
        "path": head.uri.path_and_query().map(ToString::to_string),
        "host": host,
        "protocol": format!("{:?}", head.version),
        "headers": fields(&head.headers),
        "bodyBytes": received,
    });
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
