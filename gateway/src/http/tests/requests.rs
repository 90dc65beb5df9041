//! Requests: framing and hop-by-hop fields, every way through.

use super::{client, h1_request, h2_request, hops, to_h1, to_h2};
use crate::http::{RequestHead, forward};

/// Removes what every request gets.
fn plain(mut head: RequestHead) -> RequestHead {
    forward::enter(&mut head, &client(), &hops(0));
    for name in [
        "x-forwarded-for",
        "x-forwarded-proto",
        "x-envoy-external-address",
        "x-request-id",
    ] {
        head.remove(name);
    }
    head
}

/// Fields from an HTTP/1 client; then what upstreams of HTTP/1 and HTTP/2 receive.
const FROM_H1: &[(&str, &str, &str, &str)] = &[
    // Bodies.
    ("GET", "", "", ""),
    ("DELETE", "", "", ""),
    ("HEAD", "", "", ""),
    ("POST", "", "content-length: 0", ""),
    ("PUT", "", "content-length: 0", ""),
    ("OPTIONS", "", "content-length: 0", ""),
    ("PATCH", "x: y", "x: y|content-length: 0", "x: y"),
    (
        "POST",
        "Content-Length: 0",
        "content-length: 0",
        "content-length: 0",
    ),
    (
        "POST",
        "Content-Length: 3|x: y",
        "content-length: 3|x: y",
        "content-length: 3|x: y",
    ),
    (
        "GET",
        "Content-Length: 3",
        "content-length: 3",
        "content-length: 3",
    ),
    (
        "POST",
        "Transfer-Encoding: chunked|x: y",
        "x: y|transfer-encoding: chunked",
        "x: y",
    ),
    (
        "GET",
        "Transfer-Encoding: chunked",
        "transfer-encoding: chunked",
        "",
    ),
    // Fields about the connection.
    ("GET", "Connection: close", "", ""),
    (
        "GET",
        "Connection: keep-alive|Keep-Alive: timeout=5",
        "",
        "",
    ),
    ("GET", "Proxy-Connection: close", "", ""),
    (
        "GET",
        "Connection: x-hop, Close|X-Hop: 1|x: y",
        "x: y",
        "x: y",
    ),
    (
        "GET",
        "Connection: X-Hop|Connection: x-hop2|x-hop: 1|x-hop2: 2|X-HOP: 3",
        "",
        "",
    ),
    ("GET", "Connection: ,, ,x-hop|x-hop: 1", "", ""),
    // Nobody may have removed what others rely on.
    (
        "GET",
        "Connection: authorization, cookie, x-auth-user, x-api-key, x-real-ip, sec-fetch-site|\
         authorization: 1|cookie: a=2|x-auth-user: 3|x-api-key: 4|x-real-ip: 5|sec-fetch-site: 6",
        "authorization: 1|cookie: a=2|x-auth-user: 3|x-api-key: 4|x-real-ip: 5|sec-fetch-site: 6",
        "authorization: 1|cookie: a=2|x-auth-user: 3|x-api-key: 4|x-real-ip: 5|sec-fetch-site: 6",
    ),
    (
        "POST",
        "Connection: content-length, host, content-type, expect|Content-Length: 3|Content-Type: t",
        "content-length: 3|content-type: t",
        "content-length: 3|content-type: t",
    ),
    (
        "POST",
        "Connection: transfer-encoding|Transfer-Encoding: chunked",
        "transfer-encoding: chunked",
        "",
    ),
    ("GET", "TE: trailers", "te: trailers", "te: trailers"),
    (
        "GET",
        "TE: gzip;q=0.5, Trailers;q=1|Connection: te",
        "te: trailers",
        "te: trailers",
    ),
    ("GET", "TE: gzip", "", ""),
    ("GET", "TE: deflate|TE: trailers", "", ""),
    (
        "POST",
        "Trailer: x|Content-Length: 0",
        "trailer: x|content-length: 0",
        "trailer: x|content-length: 0",
    ),
    // Upgrades.
    (
        "GET",
        "x: y|Upgrade: websocket|Connection: keep-alive, Upgrade|Sec-WebSocket-Key: k",
        "x: y|upgrade: websocket|connection: Upgrade|sec-websocket-key: k",
        "x: y|sec-websocket-key: k",
    ),
    (
        "GET",
        "Upgrade: h2c|Connection: Upgrade, HTTP2-Settings|HTTP2-Settings: a",
        "",
        "",
    ),
    ("GET", "Upgrade: foo|Connection: Upgrade", "", ""),
    ("GET", "Upgrade: websocket", "", ""),
    (
        "POST",
        "Upgrade: websocket|Connection: Upgrade|Content-Length: 3",
        "content-length: 3",
        "content-length: 3",
    ),
    // Passed as it is.
    (
        "GET",
        "Expect: 100-continue",
        "expect: 100-continue",
        "expect: 100-continue",
    ),
    (
        "GET",
        "Via: 1.0 a|Forwarded: for=b",
        "via: 1.0 a|forwarded: for=b",
        "via: 1.0 a|forwarded: for=b",
    ),
    ("GET", "X-Empty:", "x-empty: ", "x-empty: "),
    // Cookies.
    (
        "GET",
        "Cookie: a=1|x: y|Cookie: b=2",
        "cookie: a=1|x: y|cookie: b=2",
        "cookie: a=1; b=2|x: y",
    ),
];

#[test]
fn requests_of_http_1_clients() {
    for (method, fields, h1, h2) in FROM_H1 {
        let bar = |fields: &str| {
            if fields.is_empty() {
                String::new()
            } else {
                format!("|{fields}")
            }
        };
        let head = plain(h1_request(&format!(
            "{method} /p?q HTTP/1.1|Host: A.test{}",
            bar(fields)
        )));
        let expected = format!("{method} /p?q HTTP/1.1|host: A.test{}", bar(h1));
        assert_eq!(to_h1(&head), expected, "{fields}");
        let expected = format!("{method} /p?q A.test{}", bar(h2));
        assert_eq!(to_h2(&head), expected, "{fields}");
    }
}

#[test]
fn requests_of_http_1_0_clients_become_http_1_1() {
    let head = plain(h1_request("GET / HTTP/1.0|Host: a|Connection: keep-alive"));
    assert_eq!(to_h1(&head), "GET / HTTP/1.1|host: a");
}

/// Head of an HTTP/2 client and whether its stream ends; what upstreams receive.
const FROM_H2: &[(&str, bool, &str, &str)] = &[
    (
        "GET /p?q A.test",
        true,
        "GET /p?q HTTP/1.1|host: A.test",
        "GET /p?q A.test",
    ),
    (
        "GET / a|x: y",
        true,
        "GET / HTTP/1.1|host: a|x: y",
        "GET / a|x: y",
    ),
    (
        "GET / a",
        false,
        "GET / HTTP/1.1|host: a|transfer-encoding: chunked",
        "GET / a",
    ),
    (
        "POST / a",
        true,
        "POST / HTTP/1.1|host: a|content-length: 0",
        "POST / a",
    ),
    (
        "POST / a|x: y",
        false,
        "POST / HTTP/1.1|host: a|x: y|transfer-encoding: chunked",
        "POST / a|x: y",
    ),
    (
        "POST / a|content-length: 3|x: y",
        false,
        "POST / HTTP/1.1|host: a|content-length: 3|x: y",
        "POST / a|content-length: 3|x: y",
    ),
    (
        "POST / a|content-length: 3|content-length: 3",
        false,
        "POST / HTTP/1.1|host: a|content-length: 3",
        "POST / a|content-length: 3",
    ),
    (
        "POST / a|content-length: 0",
        true,
        "POST / HTTP/1.1|host: a|content-length: 0",
        "POST / a|content-length: 0",
    ),
    (
        "GET / a|te: trailers",
        true,
        "GET / HTTP/1.1|host: a|te: trailers",
        "GET / a|te: trailers",
    ),
    (
        "GET / a|cookie: a=1|x: y|cookie: b=2",
        true,
        "GET / HTTP/1.1|host: a|x: y|cookie: a=1; b=2",
        "GET / a|x: y|cookie: a=1; b=2",
    ),
    (
        "GET / a|cookie: a=1|x: y",
        true,
        "GET / HTTP/1.1|host: a|x: y|cookie: a=1",
        "GET / a|x: y|cookie: a=1",
    ),
    ("GET / a|host: b", true, "GET / HTTP/1.1|host: a", "GET / a"),
    ("GET / -|host: b", true, "GET / HTTP/1.1|host: b", "GET / b"),
    (
        "GET / a|x-one: 1|x-two: 2|x-one: 3",
        true,
        "GET / HTTP/1.1|host: a|x-one: 1|x-one: 3|x-two: 2",
        "GET / a|x-one: 1|x-one: 3|x-two: 2",
    ),
];

#[test]
fn requests_of_http_2_clients() {
    for (lines, end, h1, h2) in FROM_H2 {
        let head = plain(h2_request(lines, *end));
        assert_eq!(to_h1(&head), *h1, "{lines}");
        assert_eq!(to_h2(&head), *h2, "{lines}");
    }
}
