//! Finds out by its first bytes what a plaintext client speaks.

use super::HttpVersion;
use bytes::BytesMut;
use std::io;
use tokio::net::TcpStream;

/// What an HTTP/2 client sends first ([RFC 9113, section 3.4]).
///
/// [RFC 9113, section 3.4]: https://www.rfc-editor.org/rfc/rfc9113#section-3.4
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Room for the first bytes; a longer head is read on by the codec.
const FIRST_READ: usize = 4096;

/// Whether a connection starts with a TLS record. Reads nothing; waits for the first byte.
///
/// # Errors
///
/// The connection's, and [`io::ErrorKind::UnexpectedEof`] when it ends without a byte.
pub(super) async fn is_tls(stream: &TcpStream) -> io::Result<bool> {
    let mut first = [0];
    match stream.peek(&mut first).await? {
        0 => Err(io::ErrorKind::UnexpectedEof.into()),
        _ => Ok(first == [super::hello::TLS_RECORD]),
    }
}

/// Reads until it is known whether the client speaks HTTP/2. Returns the bytes read, too.
///
/// # Errors
///
/// The connection's, and [`io::ErrorKind::UnexpectedEof`] when it ends before it is known.
pub(super) async fn http_version(stream: &TcpStream) -> io::Result<(HttpVersion, BytesMut)> {
    // No room is held while the client is silent.
    let mut bytes = BytesMut::new();
    loop {
        stream.readable().await?;
        bytes.reserve(FIRST_READ);
        match stream.try_read_buf(&mut bytes) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(_) => {
                if let Some(version) = decide(&bytes) {
                    return Ok((version, bytes));
                }
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
}

/// What the first bytes say; nothing while they are the beginning of the preface.
fn decide(bytes: &[u8]) -> Option<HttpVersion> {
    if bytes.starts_with(PREFACE) {
        Some(HttpVersion::Http2)
    } else if PREFACE.starts_with(bytes) {
        None
    } else {
        Some(HttpVersion::Http1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_byte_that_differs_decides() {
        for (bytes, expected) in [
            (&b"P"[..], None),
            (b"PR", None),
            (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r", None),
            (PREFACE, Some(HttpVersion::Http2)),
            (
                b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0",
                Some(HttpVersion::Http2),
            ),
            (b"G", Some(HttpVersion::Http1)),
            (b"PO", Some(HttpVersion::Http1)),
            (b"PRI * HTTP/1.1", Some(HttpVersion::Http1)),
            (b"GET / HTTP/1.0\r\n\r\n", Some(HttpVersion::Http1)),
        ] {
            assert_eq!(decide(bytes), expected, "{}", bytes.escape_ascii());
        }
    }
}
