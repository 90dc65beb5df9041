//! What HTTP/2 clients may not send, and trailers.

use super::{h2_parts, h2_request, map};
use crate::http::{BodyFraming, RequestHead, TargetForm, h1, h2};
use crate::telemetry::Flag;
use bytes::BytesMut;

#[test]
fn malformed_heads_are_refused() {
    for (lines, status, details) in [
        ("GET / -", 0, "http2.violation.of.messaging.rule"),
        ("GET / -|host: a|host: b", 400, "http.invalid_authority"),
        ("GET / a|host: b|host: c", 400, "http.invalid_authority"),
        ("GET / u@a", 400, "http.invalid_authority"),
        ("GET / -|host: a b", 400, "http.invalid_authority"),
        ("GET / -|host: a,b", 400, "http.invalid_authority"),
        ("GET * -|host: a", 0, "http2.invalid.header.field"),
        (
            "POST / a|content-length: x",
            0,
            "http2.invalid.header.field",
        ),
        (
            "POST / a|content-length: 1|content-length: 2",
            0,
            "http2.invalid.header.field",
        ),
    ] {
        let error = h2::request_head(h2_parts(lines), false).unwrap_err();
        assert_eq!((error.status, error.details), (status, details), "{lines}");
        assert_eq!(error.flag, Some(Flag::Dpe));
        assert_eq!(error.is_reset(), status == 0);
    }
}

#[test]
fn heads_are_taken_apart() {
    let head = h2_request(
        "POST /a/b?c=1 A.Test:8080|content-type: application/grpc",
        false,
    );
    assert_eq!((head.path(), head.query()), ("/a/b", Some("c=1")));
    assert_eq!((head.authority(), head.host()), ("A.Test:8080", "a.test"));
    assert_eq!(head.framing(), BodyFraming::Chunked);
    assert!(head.is_grpc() && head.keep_alive());
    let options = h2_request("OPTIONS * -|host: a", true);
    assert_eq!(options.form(), TargetForm::Asterisk);
    let connect = h2_request("CONNECT / a.test:443", false);
    assert_eq!(connect.form(), TargetForm::Authority);
    assert_eq!(connect.authority(), "a.test:443");
}

#[test]
fn a_head_without_authority_can_be_said() {
    let head = RequestHead::test("GET", "/a", &[("x", "y")]);
    let request = h2::request(&head, true).unwrap();
    assert_eq!(request.version(), http::Version::HTTP_11);
    assert_eq!(request.uri(), "/a");
    let head = RequestHead::test("GET", "/a?b", &[("host", "c.test")]);
    assert_eq!(
        h2::request(&head, true).unwrap().uri(),
        "https://c.test/a?b"
    );
}

#[test]
fn trailers_pass_both_ways() {
    let trailers = h2::trailers(map([
        "grpc-status: 0",
        "x-sum: 1",
        "content-length: 3",
        "authorization: a",
    ]
    .into_iter()));
    assert_eq!(trailers.grpc_status(), Some(0));
    let mut out = Vec::new();
    h1::write_last_chunk(Some(&trailers), &mut out);
    assert_eq!(out, b"0\r\ngrpc-status: 0\r\nx-sum: 1\r\n\r\n");

    let mut decoder = h1::BodyDecoder::new(BodyFraming::Chunked);
    let mut buffer = BytesMut::from("0\r\nGrpc-Status: 5\r\nX-Sum: 1\r\n\r\n");
    let Some(h1::BodyEvent::End(Some(trailers))) = decoder.decode(&mut buffer).unwrap() else {
        panic!("no trailers");
    };
    let map = h2::trailer_map(trailers);
    assert_eq!(map.len(), 2);
    assert_eq!(map["grpc-status"], "5");
    assert_eq!(map["x-sum"], "1");
}
