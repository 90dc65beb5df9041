//! Upstreams that answer as told.

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::{Request, Response, body::Incoming, service::service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo};
use std::{
    convert::Infallible,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};
use tokio::net::TcpListener;

/// An HTTP server on a free port of the loopback address; stops when dropped.
pub struct Upstream {
    address: SocketAddr,
    connections: Arc<AtomicUsize>,
    requests: Arc<AtomicUsize>,
    runtime: Option<tokio::runtime::Runtime>,
}

/// What an upstream was asked.
pub struct Asked {
    /// Method.
    pub method: String,
    /// Path and query.
    pub target: String,
    /// Fields in order.
    pub headers: Vec<(String, String)>,
    /// Body.
    pub body: Bytes,
}

impl Upstream {
    /// An upstream that answers 200 with `name`, a blank, and the path it was asked for.
    pub fn named(name: &str) -> Self {
        let name = name.to_owned();
        Self::start(false, move |asked| {
            Response::new(format!("{name} {}", asked.target).into())
        })
    }

    /// An upstream that answers what `answer` makes of each request; with `h2` it speaks HTTP/2
    /// by prior knowledge only.
    pub fn start(
        h2: bool,
        answer: impl Fn(&Asked) -> Response<Full<Bytes>> + Send + Sync + 'static,
    ) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let address = listener.local_addr().unwrap();
        let connections = Arc::new(AtomicUsize::new(0));
        let requests = Arc::new(AtomicUsize::new(0));
        let counters = (Arc::clone(&connections), Arc::clone(&requests));
        runtime.spawn(accept(listener, h2, Arc::new(answer), counters));
        Self {
            address,
            connections,
            requests,
            runtime: Some(runtime),
        }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Connections accepted so far.
    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }

    /// Requests read so far.
    pub fn requests(&self) -> usize {
        self.requests.load(Ordering::SeqCst)
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

type Counters = (Arc<AtomicUsize>, Arc<AtomicUsize>);

async fn accept<A>(listener: TcpListener, h2: bool, answer: Arc<A>, counters: Counters)
where
    A: Fn(&Asked) -> Response<Full<Bytes>> + Send + Sync + 'static,
{
    let (connections, requests) = counters;
    while let Ok((stream, _)) = listener.accept().await {
        connections.fetch_add(1, Ordering::SeqCst);
        let (answer, requests) = (Arc::clone(&answer), Arc::clone(&requests));
        let service = service_fn(move |request: Request<Incoming>| {
            let (answer, requests) = (Arc::clone(&answer), Arc::clone(&requests));
            async move {
                let (parts, body) = request.into_parts();
                let body = body.collect().await.map(|body| body.to_bytes());
                requests.fetch_add(1, Ordering::SeqCst);
                let asked = Asked {
                    method: parts.method.to_string(),
                    target: parts
                        .uri
                        .path_and_query()
                        .map_or_else(String::new, ToString::to_string),
                    headers: parts
                        .headers
                        .iter()
                        .map(|(name, value)| {
                            let value = String::from_utf8_lossy(value.as_bytes()).into_owned();
                            (name.to_string(), value)
                        })
                        .collect(),
                    body: body.unwrap_or_default(),
                };
                Ok::<_, Infallible>(answer(&asked))
            }
        });
        let io = TokioIo::new(stream);
        tokio::spawn(async move {
            // A connection that ends badly is the test's to notice.
            if h2 {
                let builder = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
                let _ = builder.serve_connection(io, service).await;
            } else {
                let builder = hyper::server::conn::http1::Builder::new();
                let _ = builder.serve_connection(io, service).await;
            }
        });
    }
}
