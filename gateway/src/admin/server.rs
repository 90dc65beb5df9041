//! A small HTTP/1 server.

use super::{AdminRequest, AdminResponse};
use bytes::Bytes;
use http::{HeaderMap, Request, Response, header};
use http_body_util::Full;
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use std::{convert::Infallible, io, net::SocketAddr, sync::Arc, time::Duration};
use tokio::{net::TcpListener, sync::Semaphore};

/// Connections at once.
const CONNECTIONS: usize = 128;
/// Longest wait for a request's head, which also ends idle connections.
const HEAD: Duration = Duration::from_secs(60);
/// Pause after a failed accept, e.g. for want of file descriptors.
const PAUSE: Duration = Duration::from_millis(100);

/// Answers a request. Runs where waiting for a lock is fine.
pub(super) type Handler = Arc<dyn Fn(&AdminRequest, &HeaderMap) -> AdminResponse + Send + Sync>;

/// Binds `address` and serves it on `control` for ever. Returns the real address.
pub(super) fn start(
    address: SocketAddr,
    control: &tokio::runtime::Handle,
    handler: Handler,
) -> io::Result<SocketAddr> {
    let listener = bind(address)?;
    let bound = listener.local_addr()?;
    let _context = control.enter();
    let listener = TcpListener::from_std(listener)?;
    control.spawn(accept(listener, handler));
    Ok(bound)
}

fn bind(address: SocketAddr) -> io::Result<std::net::TcpListener> {
    let domain = socket2::Domain::for_address(address);
    let socket = socket2::Socket::new(domain, socket2::Type::STREAM, None)?;
    // A restart must not wait for old connections; two processes on one port stay impossible.
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(128)?;
    Ok(socket.into())
}

async fn accept(listener: TcpListener, handler: Handler) {
    let room = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        let Ok(permit) = Arc::clone(&room).acquire_owned().await else {
            return;
        };
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection to the admin interface");
                tokio::time::sleep(PAUSE).await;
                continue;
            }
        };
        let handler = Arc::clone(&handler);
        tokio::spawn(async move {
            let service = service_fn(|request| answer(request, Arc::clone(&handler)));
            let served = http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(HEAD)
                .serve_connection(TokioIo::new(stream), service)
                .await;
            if let Err(error) = served {
                tracing::debug!(%error, "connection to the admin interface");
            }
            drop(permit);
        });
    }
}

async fn answer(
    request: Request<Incoming>,
    handler: Handler,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let (head, _) = request.into_parts();
    let request = AdminRequest {
        method: match head.method {
            http::Method::HEAD => "GET".to_owned(),
            ref other => other.to_string(),
        },
        path: head.uri.path().to_owned(),
        query: parse_query(head.uri.query().unwrap_or_default()),
    };
    let headers = head.headers;
    let answered = tokio::task::spawn_blocking(move || handler(&request, &headers)).await;
    let answer = answered.unwrap_or_else(|error| {
        tracing::error!(%error, "a page of the admin interface failed");
        AdminResponse::text(500, "this page failed, see the log\n")
    });
    let mut response = Response::new(Full::new(Bytes::from(answer.body)));
    *response.status_mut() = http::StatusCode::from_u16(answer.status)
        .unwrap_or(http::StatusCode::INTERNAL_SERVER_ERROR);
    let fields = response.headers_mut();
    let content_type = http::HeaderValue::from_static(answer.content_type);
    fields.insert(header::CONTENT_TYPE, content_type);
    let cache = http::HeaderValue::from_static("no-cache, max-age=0");
    fields.insert(header::CACHE_CONTROL, cache);
    let sniff = http::HeaderValue::from_static("nosniff");
    fields.insert(header::X_CONTENT_TYPE_OPTIONS, sniff);
    Ok(response)
}

/// `a=1&b` as pairs, percent-decoded, `+` as blank.
fn parse_query(query: &str) -> Vec<(String, String)> {
    query
        .split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            (decode(key), decode(value))
        })
        .collect()
}

fn decode(text: &str) -> String {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        match (byte, after) {
            (b'+', _) => out.push(b' '),
            (b'%', [high, low, after @ ..]) => match (hex(*high), hex(*low)) {
                (Some(high), Some(low)) => {
                    out.push(high * 16 + low);
                    rest = after;
                }
                _ => out.push(byte),
            },
            _ => out.push(byte),
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit)
        .to_digit(16)
        .and_then(|value| u8::try_from(value).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queries_are_decoded() {
        let pairs = [
            ("url", "http://a/b c?x=1&y"),
            ("flag", ""),
            ("bad", "%zz%4"),
        ]
        .map(|(key, value)| (key.to_owned(), value.to_owned()));
        let query = "url=http%3A%2F%2Fa/b+c?x=1%26y&flag&bad=%zz%4&";
        assert_eq!(parse_query(query), pairs);
    }
}
