//! HTTP/2 clients and upstreams over the `h2` crate, where every frame counts.

use bytes::Bytes;
use h2::{
    RecvStream, SendStream,
    client::{ResponseFuture, SendRequest},
    server::SendResponse,
};
use http::{HeaderMap, Request, Response};
use std::{
    future::{Future, poll_fn},
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};
use tokio::net::{TcpListener, TcpStream};

/// Runs a test's tasks; nothing may take longer than twenty seconds.
pub fn run<T>(test: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    let result =
        runtime.block_on(async { tokio::time::timeout(Duration::from_secs(20), test).await });
    runtime.shutdown_background();
    result.expect("the test hangs")
}

/// A client's connection.
pub struct Client {
    pub send: SendRequest<Bytes>,
    pub closed: tokio::task::JoinHandle<Result<(), h2::Error>>,
}

impl Client {
    /// Connects in plaintext.
    pub async fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        let (send, connection) = h2::client::handshake(stream).await.unwrap();
        Self {
            send,
            closed: tokio::spawn(connection),
        }
    }

    /// Sends a head.
    pub async fn start(
        &mut self,
        request: Request<()>,
        end: bool,
    ) -> (ResponseFuture, SendStream<Bytes>) {
        poll_fn(|cx| self.send.poll_ready(cx)).await.unwrap();
        self.send.send_request(request, end).unwrap()
    }

    /// Sends a request and reads the whole response.
    pub async fn ask(&mut self, request: Request<Bytes>) -> Result<Whole, h2::Error> {
        let (parts, body) = request.into_parts();
        let (response, stream) = self
            .start(Request::from_parts(parts, ()), body.is_empty())
            .await;
        if !body.is_empty() {
            tokio::spawn(async move {
                // A response may come before all is sent.
                let _ = send_all(stream, body, None).await;
            });
        }
        whole(response.await?).await
    }
}

/// A whole response.
#[derive(Debug)]
pub struct Whole {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Bytes,
    pub trailers: Option<HeaderMap>,
}

/// Reads a whole response.
pub async fn whole(response: Response<RecvStream>) -> Result<Whole, h2::Error> {
    let (parts, body) = response.into_parts();
    let (body, trailers) = read_all(body).await?;
    Ok(Whole {
        status: parts.status.as_u16(),
        headers: parts.headers,
        body,
        trailers,
    })
}

/// Reads a whole body.
pub async fn read_all(mut body: RecvStream) -> Result<(Bytes, Option<HeaderMap>), h2::Error> {
    let mut all = Vec::new();
    while let Some(data) = body.data().await {
        let data = data?;
        body.flow_control().release_capacity(data.len())?;
        all.extend_from_slice(&data);
    }
    Ok((all.into(), body.trailers().await?))
}

/// Sends a whole body as the window allows.
pub async fn send_all(
    mut stream: SendStream<Bytes>,
    mut body: Bytes,
    trailers: Option<HeaderMap>,
) -> Result<(), h2::Error> {
    while !body.is_empty() {
        stream.reserve_capacity(body.len());
        let capacity = match stream.capacity() {
            0 => match poll_fn(|cx| stream.poll_capacity(cx)).await {
                Some(capacity) => capacity?,
                None => return Ok(()),
            },
            capacity => capacity,
        };
        let piece = body.split_to(capacity.min(body.len()));
        stream.send_data(piece, body.is_empty() && trailers.is_none())?;
    }
    if let Some(trailers) = trailers {
        stream.send_trailers(trailers)?;
    }
    Ok(())
}

/// A request for a path of `a.test`.
pub fn request(method: &str, path: &str) -> Request<()> {
    Request::builder()
        .method(method)
        .uri(format!("http://a.test{path}"))
        .body(())
        .unwrap()
}

/// The same with a body.
pub fn with_body(request: Request<()>, body: impl Into<Bytes>) -> Request<Bytes> {
    request.map(|()| body.into())
}

/// Fields of one.
pub fn fields(name: &'static str, value: &'static str) -> HeaderMap {
    let mut map = HeaderMap::new();
    map.insert(name, value.parse().unwrap());
    map
}

/// An HTTP/2 upstream that does what a script says with each stream.
pub struct Server {
    pub address: SocketAddr,
    connections: Arc<AtomicUsize>,
}

impl Server {
    /// Starts it on the current runtime.
    pub async fn start<F>(
        configure: impl Fn(&mut h2::server::Builder) + Send + 'static,
        script: impl Fn(Request<RecvStream>, SendResponse<Bytes>) -> F + Send + Sync + 'static,
    ) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let connections = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&connections);
        let script = Arc::new(script);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                counter.fetch_add(1, SeqCst);
                stream.set_nodelay(true).unwrap();
                let mut builder = h2::server::Builder::new();
                configure(&mut builder);
                let handshake = builder.handshake::<_, Bytes>(stream);
                let script = Arc::clone(&script);
                tokio::spawn(async move {
                    let Ok(mut connection) = handshake.await else {
                        return;
                    };
                    while let Some(Ok((request, respond))) = connection.accept().await {
                        tokio::spawn(script(request, respond));
                    }
                });
            }
        });
        Self {
            address,
            connections,
        }
    }

    /// Sends every body and its trailers back.
    pub async fn echo() -> Self {
        Self::start(
            |_| {},
            |request, mut respond| async move {
                let mut body = request.into_body();
                let end = body.is_end_stream();
                let Ok(mut stream) = respond.send_response(Response::new(()), end) else {
                    return;
                };
                if end {
                    return;
                }
                while let Some(Ok(data)) = body.data().await {
                    let _ = body.flow_control().release_capacity(data.len());
                    stream.reserve_capacity(data.len());
                    if stream.send_data(data, false).is_err() {
                        return;
                    }
                }
                match body.trailers().await {
                    Ok(Some(trailers)) => {
                        let _ = stream.send_trailers(trailers);
                    }
                    Ok(None) => {
                        let _ = stream.send_data(Bytes::new(), true);
                    }
                    Err(_) => {}
                }
            },
        )
        .await
    }

    /// Connections accepted so far.
    pub fn connections(&self) -> usize {
        self.connections.load(SeqCst)
    }
}
