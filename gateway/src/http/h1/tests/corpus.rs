//! Raw requests that two recipients might read differently, and what becomes of each.
//!
//! Sources: RFC 9112 §11.2, HTTP Garden's findings, and the request smuggling advisories of
//! proxies named in the comments.

use super::{decode, request};
use crate::{http::head::BodyFraming, telemetry::Flag};

/// What becomes of a request.
#[derive(Debug, PartialEq)]
enum Is {
    /// The head is refused with this status and details.
    Refused(u16, &'static str),
    /// The head is accepted and its body refused.
    BadBody,
    /// It is served: this body, then these bytes belong to the next request.
    Served(&'static str, &'static str),
    /// More bytes are needed.
    Incomplete,
}
use Is::{BadBody, Incomplete, Refused, Served};

const CODEC: Is = Refused(400, "http1.codec_error");
const BOTH: Is = Refused(400, "http1.content_length_and_chunked_not_allowed");
const CODING: Is = Refused(501, "http1.invalid_transfer_encoding");
const CHARACTERS: Is = Refused(400, "http1.invalid_characters");
const AUTHORITY: Is = Refused(400, "http.invalid_authority");
const VERSION: Is = Refused(426, "low_version");

/// Fields after `POST / HTTP/1.1` and `Host: a`, an empty line and a body.
const POSTS: &[(&str, Is)] = &[
    // Length against chunks.
    (
        "Content-Length: 6\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nX",
        BOTH,
    ),
    (
        "Transfer-Encoding: chunked\r\nContent-Length: 6\r\n\r\n0\r\n\r\nX",
        BOTH,
    ),
    (
        "Content-Length: 0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        BOTH,
    ),
    (
        "Content-Length: 3\r\nTransfer-Encoding: identity\r\n\r\nabc",
        BOTH,
    ),
    ("content-length: x\r\ntransfer-encoding: x\r\n\r\n", BOTH),
    // Transfer codings other than exactly one `chunked`.
    ("Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", CODING),
    (
        "Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n",
        CODING,
    ),
    (
        "Transfer-Encoding: identity, chunked\r\n\r\n0\r\n\r\n",
        CODING,
    ),
    ("Transfer-Encoding: identity\r\n\r\n", CODING),
    (
        "Transfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n",
        CODING,
    ),
    ("Transfer-Encoding: ,chunked\r\n\r\n0\r\n\r\n", CODING),
    ("Transfer-Encoding: chunked,\r\n\r\n0\r\n\r\n", CODING),
    ("Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n", CODING),
    ("Transfer-Encoding: chunkedx\r\n\r\n0\r\n\r\n", CODING),
    ("Transfer-Encoding: chunked;q=1\r\n\r\n0\r\n\r\n", CODING),
    ("Transfer-Encoding: \"chunked\"\r\n\r\n0\r\n\r\n", CODING),
    ("Transfer-Encoding:\r\n\r\n", CODING),
    (
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        CODING,
    ),
    (
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: cow\r\n\r\n0\r\n\r\n",
        CODING,
    ),
    (
        "Transfer-Encoding: cow\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        CODING,
    ),
    ("Transfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n", CODEC),
    ("Transfer-Encoding: chunked\x0b\r\n\r\n0\r\n\r\n", CODEC),
    ("Transfer-Encoding\r\n : chunked\r\n\r\n0\r\n\r\n", CODEC),
    ("Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n", CODEC),
    ("Transfer-Encoding\t: chunked\r\n\r\n0\r\n\r\n", CODEC),
    (" Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n", CODEC),
    (
        "X: y\r\n Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        CODEC,
    ),
    ("Transfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n", CODEC),
    ("Transfer-Encoding: \u{ff}chunked\r\n\r\n0\r\n\r\n", CODING),
    (
        "Transfer\u{2d}Encoding: CHUNKED\r\n\r\n1\r\nx\r\n0\r\n\r\nrest",
        Served("x", "rest"),
    ),
    (
        "Transfer-Encoding:\tchunked \t\r\n\r\n1\r\nx\r\n0\r\n\r\n",
        Served("x", ""),
    ),
    ("Transfer_Encoding: chunked\r\n\r\n", Served("", "")),
    // Lengths that are not digits.
    ("Content-Length: +3\r\n\r\nabc", CODEC),
    ("Content-Length: -1\r\n\r\n", CODEC),
    ("Content-Length: 0x3\r\n\r\nabc", CODEC),
    ("Content-Length: 3 3\r\n\r\nabc", CODEC),
    ("Content-Length: 3, 3\r\n\r\nabc", CODEC),
    ("Content-Length: 3,\r\n\r\nabc", CODEC),
    ("Content-Length: 3;a\r\n\r\nabc", CODEC),
    ("Content-Length: 3_0\r\n\r\n", CODEC),
    ("Content-Length: 1e1\r\n\r\n", CODEC),
    ("Content-Length: \"3\"\r\n\r\nabc", CODEC),
    ("Content-Length:\r\n\r\n", CODEC),
    ("Content-Length: \r\n\r\n", CODEC),
    ("Content-Length: 18446744073709551616\r\n\r\n", CODEC),
    ("Content-Length: 99999999999999999999999\r\n\r\n", CODEC),
    ("Content-Length: 3\r\nContent-Length: 3\r\n\r\nabc", CODEC),
    ("Content-Length: 3\r\nContent-Length: 4\r\n\r\nabcd", CODEC),
    ("Content-Length: 3\r\ncontent-length: 0\r\n\r\nabc", CODEC),
    ("Content-Length\0: 3\r\n\r\nabc", CODEC),
    ("Content-Length : 3\r\n\r\nabc", CODEC),
    ("Content-Length: 3\rX: y\r\n\r\nabc", CODEC),
    ("Content-Length: 3\r\n\r\nabcGET", Served("abc", "GET")),
    ("Content-Length: 0003\r\n\r\nabc", Served("abc", "")),
    ("Content-Length: 0\r\n\r\nGET", Served("", "GET")),
    ("\r\nGET", Served("", "GET")),
    // Characters.
    ("X: a\0b\r\n\r\n", CHARACTERS),
    ("X: a\rb\r\n\r\n", CODEC),
    ("X: a\x7fb\r\n\r\n", CODEC),
    ("X: a\x1bb\r\n\r\n", CODEC),
    ("X\r: a\r\n\r\n", CODEC),
    (": a\r\n\r\n", CODEC),
    ("X\r\n\r\n", CODEC),
    ("X Y: a\r\n\r\n", CODEC),
    ("X@Y: a\r\n\r\n", CODEC),
    ("X\u{e9}: a\r\n\r\n", CODEC),
    ("X: a\r\n folded\r\n\r\n", CODEC),
    ("X: a\r\n\tTransfer-Encoding: chunked\r\n\r\n", CODEC),
    ("X: a\r\r\n\r\n", CODEC),
    // Lines that end with LF among lines that end with CRLF.
    ("X: a\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", CODEC),
    ("Content-Length: 3\n\r\nabc", CODEC),
    ("X: a\r\n\nGET / HTTP/1.1\r\n\r\n", CODEC),
    // Two hosts, and hosts that are not.
    ("Host: b\r\n\r\n", AUTHORITY),
    ("Host: a\r\n\r\n", AUTHORITY),
    ("host:\r\n\r\n", AUTHORITY),
    ("Host : b\r\n\r\n", CODEC),
    // Chunks.
    (
        "Transfer-Encoding: chunked\r\n\r\n0x3\r\nabc\r\n0\r\n\r\n",
        BadBody,
    ),
    (
        "Transfer-Encoding: chunked\r\n\r\n+3\r\nabc\r\n0\r\n\r\n",
        BadBody,
    ),
    (
        "Transfer-Encoding: chunked\r\n\r\n-3\r\nabc\r\n0\r\n\r\n",
        BadBody,
    ),
    (
        "Transfer-Encoding: chunked\r\n\r\n 3\r\nabc\r\n0\r\n\r\n",
        BadBody,
    ),
    (
        "Transfer-Encoding: chunked\r\n\r\n3 \r\nabc\r\n0\r\n\r\n",
        BadBody,
    ),
    (
        "Transfer-Encoding: chunked\r\n\r\n3_0\r\nabc\r\n0\r\n\r\n",
        BadBody,
    ),
    (
        "Transfer-Encoding: chunked\r\n\r\n\r\nabc\r\n0\r\n\r\n",
        BadBody,
    ),
    (
        "Transfer-Encoding: chunked\r\n\r\n00000000000000003\r\nabc\r\n0\r\n\r\n",
        BadBody,
    ),
    (
        "Transfer-Encoding: chunked\r\n\r\n10000000000000003\r\nabc\r\n0\r\n\r\n",
        BadBody,
    ),
    (
        "Transfer-Encoding: chunked\r\n\r\n3\nabc\r\n0\r\n\r\n",
        BadBody,
    ),
    (
        "Transfer-Encoding: chunked\r\n\r\n3\rabc\r\n0\r\n\r\n",
        BadBody,
    ),
    (
        "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\n0\r\n\r\n",
        BadBody,
    ),
    (
        "Transfer-Encoding: chunked\r\n\r\n3\r\nabcd\r\n0\r\n\r\n",
        BadBody,
    ),
    (
        "Transfer-Encoding: chunked\r\n\r\n3\r\nabc0\r\n\r\n",
        BadBody,
    ),
    (
        "Transfer-Encoding: chunked\r\n\r\n3\r\nabcXX0\r\n\r\n",
        BadBody,
    ),
    (
        "Transfer-Encoding: chunked\r\n\r\n3;a\nabc\r\n0\r\n\r\n",
        BadBody,
    ),
    (
        "Transfer-Encoding: chunked\r\n\r\n3;a\rX\r\nabc\r\n0\r\n\r\n",
        BadBody,
    ),
    (
        "Transfer-Encoding: chunked\r\n\r\n3;\0\r\nabc\r\n0\r\n\r\n",
        BadBody,
    ),
    ("Transfer-Encoding: chunked\r\n\r\n3a;b=c;d\r\nabc", BadBody),
    (
        "Transfer-Encoding: chunked\r\n\r\n3;a=b\r\nabc\r\n0\r\n\r\nnext",
        Served("abc", "next"),
    ),
    (
        "Transfer-Encoding: chunked\r\n\r\n003\r\nabc\r\n00\r\n\r\nnext",
        Served("abc", "next"),
    ),
    (
        "Transfer-Encoding: chunked\r\n\r\nA\r\n0123456789\r\n0\r\n\r\n",
        Served("0123456789", ""),
    ),
    ("Transfer-Encoding: chunked\r\n\r\n0\n\n", BadBody),
    ("Transfer-Encoding: chunked\r\n\r\n0\r\n\nGET", BadBody),
    (
        "Transfer-Encoding: chunked\r\n\r\n0\r\nX: a\nY: b\r\n\r\n",
        BadBody,
    ),
    (
        "Transfer-Encoding: chunked\r\n\r\n0\r\nX : a\r\n\r\n",
        BadBody,
    ),
    (
        "Transfer-Encoding: chunked\r\n\r\n0\r\nX: a\r\n b\r\n\r\n",
        BadBody,
    ),
    (
        "Transfer-Encoding: chunked\r\n\r\n0\r\nX: a\0\r\n\r\n",
        BadBody,
    ),
    (
        "Transfer-Encoding: chunked\r\n\r\n0\r\nGET / HTTP/1.1\r\n\r\n",
        BadBody,
    ),
    (
        "Transfer-Encoding: chunked\r\n\r\n0\r\nX: a\r\n\r\nnext",
        Served("", "next"),
    ),
];

/// Whole requests.
const WHOLE: &[(&str, Is)] = &[
    ("", Incomplete),
    ("\r\n\r\n", Incomplete),
    ("GET / HTTP/1.1\r\nHost: a\r\n", Incomplete),
    ("\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", Served("", "")),
    ("GET / HTTP/1.1\nHost: a\n\nnext", Served("", "next")),
    (
        "GET / HTTP/1.1\r\nHost: a\r\n\r\nGET /2 HTTP/1.1\r\n",
        Served("", "GET /2 HTTP/1.1\r\n"),
    ),
    ("GET / HTTP/1.1\nHost: a\r\n\r\n", CODEC),
    ("GET /\r\n\r\n", CODEC),
    ("GET / HTTP/0.9\r\nHost: a\r\n\r\n", VERSION),
    ("GET / HTTP/1.2\r\nHost: a\r\n\r\n", VERSION),
    ("GET / HTTP/2.0\r\nHost: a\r\n\r\n", VERSION),
    ("GET / http/1.1\r\nHost: a\r\n\r\n", VERSION),
    ("GET / HTTP/11\r\nHost: a\r\n\r\n", VERSION),
    ("GET / HTTP/1.1 \r\nHost: a\r\n\r\n", CODEC),
    ("GET  / HTTP/1.1\r\nHost: a\r\n\r\n", CODEC),
    ("GET /  HTTP/1.1\r\nHost: a\r\n\r\n", VERSION),
    ("GET\t/ HTTP/1.1\r\nHost: a\r\n\r\n", CODEC),
    (" GET / HTTP/1.1\r\nHost: a\r\n\r\n", CODEC),
    ("get / HTTP/1.1\r\nHost: a\r\n\r\n", CODEC),
    ("FOO / HTTP/1.1\r\nHost: a\r\n\r\n", CODEC),
    ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", VERSION),
    ("\x16\x03\x01\x02\0\x01\0\x01\u{fc}\x03\x03", CODEC),
    ("GET / a HTTP/1.1\r\nHost: a\r\n\r\n", VERSION),
    ("GET /\u{e9} HTTP/1.1\r\nHost: a\r\n\r\n", CODEC),
    ("GET /\0 HTTP/1.1\r\nHost: a\r\n\r\n", CODEC),
    ("GET a HTTP/1.1\r\nHost: a\r\n\r\n", CODEC),
    ("GET ?a HTTP/1.1\r\nHost: a\r\n\r\n", CODEC),
    (
        "GET * HTTP/1.1\r\nHost: a\r\n\r\n",
        Refused(400, "http1.invalid_url"),
    ),
    ("GET ftp://a/ HTTP/1.1\r\nHost: a\r\n\r\n", CODEC),
    (
        "GET https://a/ HTTP/1.1\r\nHost: a\r\n\r\n",
        Refused(403, "http1.https_url_on_plaintext_connection"),
    ),
    ("GET http:///a HTTP/1.1\r\nHost: a\r\n\r\n", AUTHORITY),
    ("GET http://u@b/ HTTP/1.1\r\nHost: a\r\n\r\n", AUTHORITY),
    ("GET http://a\\@b/ HTTP/1.1\r\nHost: a\r\n\r\n", AUTHORITY),
    (
        "GET http://b HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
        AUTHORITY,
    ),
    ("GET / HTTP/1.1\r\nHost: a b\r\n\r\n", AUTHORITY),
    ("GET / HTTP/1.1\r\nHost: a,b\r\n\r\n", AUTHORITY),
    ("GET / HTTP/1.1\r\nHost: u@a\r\n\r\n", AUTHORITY),
    ("GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", AUTHORITY),
    ("GET / HTTP/1.1\r\nHost:\r\n\r\n", Served("", "")),
    (
        "POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        CODEC,
    ),
    (
        "POST / HTTP/1.0\r\nHost: a\r\n\r\nGET / HTTP/1.1\r\n\r\n",
        Served("", "GET / HTTP/1.1\r\n\r\n"),
    ),
    (
        "GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabcX",
        Served("abc", "X"),
    ),
    ("CONNECT a b HTTP/1.1\r\nHost: a\r\n\r\n", VERSION),
    ("CONNECT u@a:80 HTTP/1.1\r\nHost: a\r\n\r\n", AUTHORITY),
];

fn outcome(text: &[u8]) -> Is {
    let head_end = |framing: BodyFraming, body: &[u8]| match decode(framing, body) {
        Ok((data, _, rest)) => Served(leak(data), leak(rest)),
        Err(_) => BadBody,
    };
    let mut buffer = bytes::BytesMut::from(text);
    match super::RequestParser::new(super::HeadLimits::REQUEST, false).parse(&mut buffer) {
        Ok(Some(head)) => head_end(head.framing(), &buffer),
        Ok(None) => Incomplete,
        Err(error) => Refused(error.status, error.details),
    }
}

fn leak(bytes: Vec<u8>) -> &'static str {
    Box::leak(String::from_utf8(bytes).unwrap().into_boxed_str())
}

/// Bytes of a test case: characters up to U+00FF stand for one byte each.
fn raw(text: &str) -> Vec<u8> {
    text.chars()
        .map(|c| u8::try_from(u32::from(c)).unwrap())
        .collect()
}

#[test]
fn ambiguous_posts_are_refused() {
    for (text, expected) in POSTS {
        let text = raw(&format!("POST / HTTP/1.1\r\nHost: a\r\n{text}"));
        assert_eq!(
            outcome(&text),
            *expected,
            "{:?}",
            String::from_utf8_lossy(&text)
        );
    }
}

#[test]
fn ambiguous_requests_are_refused() {
    for (text, expected) in WHOLE {
        let text = raw(text);
        assert_eq!(
            outcome(&text),
            *expected,
            "{:?}",
            String::from_utf8_lossy(&text)
        );
    }
}

#[test]
fn refusals_carry_envoys_texts() {
    for (text, status, body, flag) in [
        ("foo\r\n\r\n", 400, "Bad Request", Some(Flag::Dpe)),
        (
            "GET / HTTP/1.2\r\n\r\n",
            426,
            "Upgrade Required",
            Some(Flag::Dpe),
        ),
        (
            "GET https://a/ HTTP/1.1\r\n\r\n",
            403,
            "Forbidden",
            Some(Flag::Dpe),
        ),
        (
            "GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: a\r\n\r\n",
            501,
            "Not Implemented",
            Some(Flag::Dpe),
        ),
    ] {
        let error = request(text.as_bytes()).unwrap_err();
        assert_eq!(
            (error.status, error.body, error.flag),
            (status, body, flag),
            "{text}"
        );
    }
}
