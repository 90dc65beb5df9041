//! Responses: framing and hop-by-hop fields, every way through.

use super::{map, response_to_h1, response_to_h2};
use crate::http::{BodyFraming, ResponseHead, Upgrade, Version, forward, h1, h2};
use bytes::BytesMut;
use gwanmun_ir::{Dialect, ServerHeader};
use http::Method;

/// What an upstream answered to a request of this method, passed on; as the engine does, a body
/// of unknown length becomes chunked for an HTTP/1.1 client.
fn passed(mut head: ResponseHead, client: Version) -> ResponseHead {
    forward::respond(&mut head, &Dialect::GatewayApi, client, Some(1));
    if head.framing() == BodyFraming::UntilClose && client == Version::Http11 {
        head.set_framing(BodyFraming::Chunked);
    }
    head
}

fn from_h1(method: &str, lines: &str) -> ResponseHead {
    let text = format!("{}\r\n\r\n", lines.replace('|', "\r\n"));
    let method = Method::from_bytes(method.as_bytes()).unwrap();
    h1::ResponseParser::new(h1::HeadLimits::RESPONSE, &method, Some(Upgrade::WebSocket))
        .parse(&mut BytesMut::from(text.as_str()))
        .unwrap()
        .unwrap()
}

/// Method; an HTTP/1 upstream's answer without `HTTP/1.1 `; what clients of HTTP/1.1, HTTP/1.0
/// and HTTP/2 receive, without the version.
const FROM_H1: &[(&str, &str, &str, &str, &str)] = &[
    (
        "GET",
        "200 Fine|Content-Length: 3",
        "200 OK|content-length: 3",
        "200 OK|content-length: 3",
        "200|content-length: 3",
    ),
    (
        "GET",
        "200 OK|Content-Length: 0",
        "200 OK|content-length: 0",
        "200 OK|content-length: 0",
        "200|content-length: 0",
    ),
    (
        "GET",
        "200 OK|Transfer-Encoding: chunked|x: y",
        "200 OK|x: y|transfer-encoding: chunked",
        "200 OK|x: y",
        "200|x: y",
    ),
    (
        "GET",
        "200 OK|x: y",
        "200 OK|x: y|transfer-encoding: chunked",
        "200 OK|x: y",
        "200|x: y",
    ),
    (
        "HEAD",
        "200 OK|Content-Length: 3",
        "200 OK|content-length: 3",
        "200 OK|content-length: 3",
        "200|content-length: 3",
    ),
    (
        "HEAD",
        "200 OK|Transfer-Encoding: chunked",
        "200 OK|transfer-encoding: chunked",
        "200 OK",
        "200",
    ),
    ("HEAD", "200 OK", "200 OK", "200 OK", "200"),
    (
        "GET",
        "204 No Content",
        "204 No Content",
        "204 No Content",
        "204",
    ),
    (
        "GET",
        "204 No Content|Content-Length: 0",
        "204 No Content",
        "204 No Content",
        "204",
    ),
    (
        "GET",
        "304 Not Modified|Content-Length: 3",
        "304 Not Modified|content-length: 3",
        "304 Not Modified|content-length: 3",
        "304|content-length: 3",
    ),
    (
        "GET",
        "304 Not Modified|Transfer-Encoding: chunked",
        "304 Not Modified|transfer-encoding: chunked",
        "304 Not Modified",
        "304",
    ),
    ("GET", "100 Continue", "100 Continue", "100 Continue", "100"),
    (
        "GET",
        "103 Early|Link: a|Connection: close",
        "103 Unknown|link: a",
        "103 Unknown|link: a",
        "103|link: a",
    ),
    (
        "GET",
        "418 Teapot|Content-Length: 0",
        "418 Unknown|content-length: 0",
        "418 Unknown|content-length: 0",
        "418|content-length: 0",
    ),
    (
        "GET",
        "200 OK|Content-Length: 0|Connection: close, x-hop|Keep-Alive: 5|Proxy-Connection: a|Upgrade: h2c|X-Hop: 1",
        "200 OK|content-length: 0|x-hop: 1",
        "200 OK|content-length: 0|x-hop: 1",
        "200|content-length: 0|x-hop: 1",
    ),
    (
        "GET",
        "200 OK|Content-Length: 0|Set-Cookie: a=1|Set-Cookie: b=2|Server: s|Via: v|X-Envoy-Foo: f|Trailer: t",
        "200 OK|content-length: 0|set-cookie: a=1|set-cookie: b=2|server: s|via: v|x-envoy-foo: f|trailer: t",
        "200 OK|content-length: 0|set-cookie: a=1|set-cookie: b=2|server: s|via: v|x-envoy-foo: f|trailer: t",
        "200|content-length: 0|set-cookie: a=1|set-cookie: b=2|server: s|via: v|x-envoy-foo: f|trailer: t",
    ),
];

#[test]
fn responses_of_http_1_upstreams() {
    for (method, text, http11, http10, http2) in FROM_H1 {
        let head = from_h1(method, &format!("HTTP/1.1 {text}"));
        let to = |version| passed(head.clone(), version);
        assert_eq!(
            response_to_h1(&to(Version::Http11), Version::Http11),
            format!("HTTP/1.1 {http11}"),
            "{text}"
        );
        assert_eq!(
            response_to_h1(&to(Version::Http10), Version::Http10),
            format!("HTTP/1.0 {http10}"),
            "{text}"
        );
        assert_eq!(response_to_h2(&to(Version::Http2)), *http2, "{text}");
    }
}

#[test]
fn a_websocket_answer_keeps_its_upgrade() {
    let head = from_h1(
        "GET",
        "HTTP/1.1 101 Any|Connection: keep-alive, upgrade|Upgrade: websocket|Sec-WebSocket-Accept: a",
    );
    assert_eq!(
        response_to_h1(&passed(head, Version::Http11), Version::Http11),
        "HTTP/1.1 101 Switching Protocols|connection: Upgrade|upgrade: websocket|sec-websocket-accept: a"
    );
}

/// Status and fields of an HTTP/2 upstream, whether the stream ended, whether it was a HEAD; what
/// clients of HTTP/1.1 and HTTP/2 receive.
const FROM_H2: &[(u16, &str, bool, bool, &str, &str)] = &[
    (
        200,
        "content-length: 3",
        false,
        false,
        "200 OK|content-length: 3",
        "200|content-length: 3",
    ),
    (
        200,
        "x: y",
        false,
        false,
        "200 OK|x: y|transfer-encoding: chunked",
        "200|x: y",
    ),
    (
        200,
        "content-length: 3",
        true,
        true,
        "200 OK|content-length: 3",
        "200|content-length: 3",
    ),
    (200, "x: y", true, true, "200 OK|x: y", "200|x: y"),
    (204, "", true, false, "204 No Content", "204"),
    (
        304,
        "content-length: 3",
        true,
        false,
        "304 Not Modified|content-length: 3",
        "304|content-length: 3",
    ),
    (
        103,
        "link: a",
        false,
        false,
        "103 Unknown|link: a",
        "103|link: a",
    ),
];

#[test]
fn responses_of_http_2_upstreams() {
    for (status, fields, end, is_head, http11, http2) in FROM_H2 {
        let (mut parts, ()) = http::Response::builder()
            .status(*status)
            .body(())
            .unwrap()
            .into_parts();
        parts.headers = map(fields.split('|').filter(|line| !line.is_empty()));
        let head = h2::response_head(parts, *end, *is_head).unwrap();
        let to = |version| passed(head.clone(), version);
        assert_eq!(
            response_to_h1(&to(Version::Http11), Version::Http11),
            format!("HTTP/1.1 {http11}"),
            "{status} {fields}"
        );
        assert_eq!(
            response_to_h2(&to(Version::Http2)),
            *http2,
            "{status} {fields}"
        );
    }
}

#[test]
fn an_http_2_answer_that_ends_with_its_head_has_length_0_for_http_1() {
    let (parts, ()) = http::Response::new(()).into_parts();
    let head = h2::response_head(parts, true, false).unwrap();
    let sent = response_to_h1(&passed(head, Version::Http11), Version::Http11);
    assert_eq!(sent, "HTTP/1.1 200 OK|content-length: 0");
}

fn istio(server: ServerHeader) -> Dialect {
    Dialect::Istio { server }
}

#[test]
fn server_date_and_service_time_stand_as_envoy_has_them() {
    const DATE: &str = "Thu, 01 Jan 1970 00:00:00 GMT";
    let ours = istio(ServerHeader::Overwrite("gwanmun".into()));
    let passed = istio(ServerHeader::PassThrough);
    for (fields, dialect, time, expected) in [
        (
            "x: y",
            &ours,
            Some(7),
            format!("x: y|x-envoy-upstream-service-time: 7|date: {DATE}|server: gwanmun"),
        ),
        (
            "Server: s|x: y",
            &ours,
            None,
            format!("server: gwanmun|x: y|date: {DATE}"),
        ),
        (
            "Date: d|x: y",
            &ours,
            None,
            "date: d|x: y|server: gwanmun".to_owned(),
        ),
        (
            "x-envoy-upstream-service-time: 9|x: y",
            &ours,
            Some(7),
            format!("x-envoy-upstream-service-time: 7|x: y|date: {DATE}|server: gwanmun"),
        ),
        (
            "Server: s",
            &passed,
            Some(7),
            format!("server: s|x-envoy-upstream-service-time: 7|date: {DATE}"),
        ),
        (
            "Server: s",
            &Dialect::GatewayApi,
            Some(7),
            format!("server: s|date: {DATE}"),
        ),
        (
            "x: y",
            &Dialect::GatewayApi,
            Some(7),
            format!("x: y|date: {DATE}"),
        ),
    ] {
        let mut head = from_h1(
            "GET",
            &format!("HTTP/1.1 200 OK|Content-Length: 0|{fields}"),
        );
        forward::respond(&mut head, dialect, Version::Http11, time);
        forward::finish(&mut head, dialect, 0);
        assert_eq!(
            response_to_h1(&head, Version::Http11),
            format!("HTTP/1.1 200 OK|content-length: 0|{expected}")
        );
    }
}

#[test]
fn answers_of_http_2_upstreams_that_make_no_sense_are_refused() {
    for (status, fields) in [
        (101, ""),
        (200, "content-length: x"),
        (200, "content-length: 1|content-length: 2"),
    ] {
        let (mut parts, ()) = http::Response::builder()
            .status(status)
            .body(())
            .unwrap()
            .into_parts();
        parts.headers = map(fields.split('|').filter(|line| !line.is_empty()));
        assert!(
            h2::response_head(parts, false, false).is_err(),
            "{status} {fields}"
        );
    }
}
