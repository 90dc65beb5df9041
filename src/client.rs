//! Asks a running gateway's admin interface.

use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty};
use hyper::{Request, StatusCode, header::HOST};
use hyper_util::rt::TokioIo;
use std::{net::SocketAddr, time::Duration};

/// Longest time an answer may take.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Why the admin interface gave no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AskError {
    /// Nobody answers there.
    #[error(
        "no gateway answers at {address} ({reason}); start one with `gwanmun run`, name its --admin address, or read manifests with --config"
    )]
    Unreachable {
        /// The address.
        address: SocketAddr,
        /// Why not.
        reason: String,
    },
    /// The answer is an error.
    #[error("the gateway at {address} answered {status} to {path}: {body}")]
    Refused {
        /// The address.
        address: SocketAddr,
        /// Path and query.
        path: String,
        /// Status.
        status: StatusCode,
        /// Beginning of the body.
        body: String,
    },
}

/// The body of the answer to `GET path`.
pub(crate) fn get(address: SocketAddr, path: &str) -> Result<Bytes, AskError> {
    let unreachable = |reason: String| AskError::Unreachable { address, reason };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let runtime = runtime.map_err(|error| unreachable(error.to_string()))?;
    let answer =
        runtime.block_on(async { tokio::time::timeout(TIMEOUT, exchange(address, path)).await });
    let (status, body) = match answer {
        Ok(Ok(answer)) => answer,
        Ok(Err(error)) => return Err(unreachable(error.to_string())),
        Err(_elapsed) => return Err(unreachable("no answer in time".to_owned())),
    };
    if status.is_success() {
        return Ok(body);
    }
    let body = String::from_utf8_lossy(&body)
        .trim()
        .chars()
        .take(500)
        .collect();
    Err(AskError::Refused {
        address,
        path: path.to_owned(),
        status,
        body,
    })
}

async fn exchange(address: SocketAddr, path: &str) -> anyhow::Result<(StatusCode, Bytes)> {
    let stream = tokio::net::TcpStream::connect(address).await?;
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    let driver = tokio::spawn(connection);
    let request = Request::get(path)
        .header(HOST, address.to_string())
        .body(Empty::<Bytes>::new())?;
    let response = sender.send_request(request).await?;
    let status = response.status();
    let body = response.into_body().collect().await?.to_bytes();
    driver.abort();
    Ok((status, body))
}

/// Percent-encodes a query parameter's value.
pub(crate) fn encode(value: &str) -> String {
    let mut encoded = String::with_capacity(value.len());
    for byte in value.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'~') {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::encode;

    #[test]
    fn values_are_percent_encoded() {
        assert_eq!(
            encode("http://a.b/c?d=e f"),
            "http%3A%2F%2Fa.b%2Fc%3Fd%3De%20f"
        );
        assert_eq!(encode("é"), "%C3%A9");
    }
}
