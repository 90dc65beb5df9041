//! Heads and chunk framing as bytes.

use super::Trailers;
use crate::http::head::{BodyFraming, RequestHead, ResponseHead, Version};
use crate::http::known::Known;
use crate::http::reason::reason;
use http::Method;

/// What a response says about its connection.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Connection {
    /// Nothing: it lives on.
    KeepAlive,
    /// It is closed after this response.
    Close,
    /// To an HTTP/1.0 client that asked: it lives on.
    KeepAlive10,
    /// It changes its protocol.
    Upgrade,
}

/// Ends the data of a chunk.
pub(crate) const CHUNK_END: &[u8] = b"\r\n";

/// Appends a request head, with the field that says how its body ends, in the last place unless
/// the client sent it.
pub(crate) fn write_request(head: &RequestHead, out: &mut Vec<u8>) {
    let target = head.target();
    let authority = head.authority_bytes();
    out.reserve(
        target
            .len()
            .saturating_add(authority.len())
            .saturating_add(512),
    );
    out.extend_from_slice(head.method().as_bytes());
    out.push(b' ');
    out.extend_from_slice(target);
    out.extend_from_slice(b" HTTP/1.1\r\nhost: ");
    out.extend_from_slice(authority);
    out.extend_from_slice(b"\r\n");
    head.fields().write_lines(out);
    let length = head.fields().has(Known::ContentLength);
    match head.framing() {
        BodyFraming::Chunked | BodyFraming::UntilClose => {
            out.extend_from_slice(b"transfer-encoding: chunked\r\n\r\n");
        }
        BodyFraming::Length(n) if !length => {
            write_length(n, out);
            out.extend_from_slice(b"\r\n");
        }
        BodyFraming::None if !length && has_body(head.http_method()) => {
            out.extend_from_slice(b"content-length: 0\r\n\r\n");
        }
        BodyFraming::None | BodyFraming::Length(_) => out.extend_from_slice(b"\r\n"),
    }
}

/// Whether a request of this method without a body says so.
fn has_body(method: &Method) -> bool {
    !matches!(
        *method,
        Method::GET | Method::HEAD | Method::DELETE | Method::TRACE | Method::CONNECT
    )
}

/// Appends a response head for a client of this version, with `connection` and then the field
/// that says how its body ends in the last places.
pub(crate) fn write_response(
    head: &ResponseHead,
    client: Version,
    connection: Connection,
    out: &mut Vec<u8>,
) {
    out.reserve(512);
    match (client, head.status()) {
        (Version::Http11 | Version::Http2, 200) => out.extend_from_slice(b"HTTP/1.1 200 OK\r\n"),
        (version, status) => {
            out.extend_from_slice(match version {
                Version::Http10 => b"HTTP/1.0 ",
                Version::Http11 | Version::Http2 => b"HTTP/1.1 ",
            });
            out.extend_from_slice(itoa::Buffer::new().format(status).as_bytes());
            out.push(b' ');
            out.extend_from_slice(reason(status).as_bytes());
            out.extend_from_slice(b"\r\n");
        }
    }
    head.fields().write_lines(out);
    if head.status() != 101 {
        match connection {
            Connection::Close => out.extend_from_slice(b"connection: close\r\n"),
            Connection::KeepAlive10 => out.extend_from_slice(b"connection: keep-alive\r\n"),
            Connection::KeepAlive | Connection::Upgrade => {}
        }
    }
    match head.framing() {
        BodyFraming::Chunked if client != Version::Http10 => {
            out.extend_from_slice(b"transfer-encoding: chunked\r\n");
        }
        BodyFraming::Length(n) if !head.fields().has(Known::ContentLength) => write_length(n, out),
        BodyFraming::None
        | BodyFraming::Length(_)
        | BodyFraming::Chunked
        | BodyFraming::UntilClose => {}
    }
    out.extend_from_slice(b"\r\n");
}

fn write_length(length: u64, out: &mut Vec<u8>) {
    out.extend_from_slice(b"content-length: ");
    out.extend_from_slice(itoa::Buffer::new().format(length).as_bytes());
    out.extend_from_slice(b"\r\n");
}

/// Appends what an informational response without fields is.
pub(crate) fn write_continue(out: &mut Vec<u8>) {
    out.extend_from_slice(b"HTTP/1.1 100 Continue\r\n\r\n");
}

/// Appends what stands before the data of a chunk; [`CHUNK_END`] stands after it. `length` must
/// not be 0: an empty chunk would end the body.
pub(crate) fn write_chunk_start(length: usize, out: &mut Vec<u8>) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    debug_assert!(length > 0, "an empty chunk ends the body");
    let mut text = [0_u8; 18];
    let mut at = 16_usize;
    text[16] = b'\r';
    text[17] = b'\n';
    let mut rest = length;
    while rest > 0 && at > 0 {
        at -= 1;
        if let (Some(slot), Some(digit)) = (text.get_mut(at), HEX.get(rest & 15)) {
            *slot = *digit;
        }
        rest >>= 4;
    }
    out.extend_from_slice(text.get(at..).unwrap_or_default());
}

/// Appends the end of a chunked body.
pub(crate) fn write_last_chunk(trailers: Option<&Trailers>, out: &mut Vec<u8>) {
    out.extend_from_slice(b"0\r\n");
    if let Some(trailers) = trailers {
        trailers.write_lines(out);
    }
    out.extend_from_slice(b"\r\n");
}
