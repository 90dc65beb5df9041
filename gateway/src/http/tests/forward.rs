//! What the gateway adds to requests, and in which order.

use super::{client, h1_request, hops, to_h1};
use crate::http::{RequestHead, Scheme, forward};
use gwanmun_ir::{Dialect, ServerHeader};

const ISTIO: Dialect = Dialect::Istio {
    server: ServerHeader::PassThrough,
};

/// The request with its id replaced.
fn shown(head: &mut RequestHead) -> String {
    let id = head.header("x-request-id").unwrap();
    assert!(id.len() == 36 || id == b"ID");
    head.set("x-request-id", b"ID");
    to_h1(head)
}

#[test]
fn fields_stand_in_envoys_order() {
    let mut head =
        h1_request("POST /a HTTP/1.1|Host: a|User-Agent: u|Transfer-Encoding: chunked|X: y");
    assert_eq!(forward::enter(&mut head, &client(), &hops(0)), None);
    forward::attempt(&mut head, &ISTIO, 1, Some(300));
    head.append("x-route", b"r");
    assert_eq!(
        shown(&mut head),
        "POST /a HTTP/1.1|host: a|user-agent: u|x: y|x-forwarded-for: 203.0.113.7|\
         x-forwarded-proto: http|x-envoy-external-address: 203.0.113.7|x-request-id: ID|\
         x-envoy-expected-rq-timeout-ms: 300|x-envoy-attempt-count: 1|x-route: r|\
         transfer-encoding: chunked"
    );
    forward::attempt(&mut head, &ISTIO, 2, Some(95));
    assert!(shown(&mut head).contains(
        "|x-request-id: ID|x-envoy-expected-rq-timeout-ms: 95|x-envoy-attempt-count: 2|x-route: r|"
    ));
    forward::attempt(&mut head, &ISTIO, 3, None);
    assert!(!shown(&mut head).contains("expected"));
}

#[test]
fn gateway_api_upstreams_get_no_envoy_fields() {
    let mut head = h1_request("GET / HTTP/1.1|Host: a|X-Envoy-Attempt-Count: 9|X-Envoy-Foo: 1");
    forward::enter(&mut head, &client(), &hops(0));
    forward::attempt(&mut head, &Dialect::GatewayApi, 1, Some(300));
    assert_eq!(
        shown(&mut head),
        "GET / HTTP/1.1|host: a|x-forwarded-for: 203.0.113.7|x-forwarded-proto: http|x-request-id: ID"
    );
}

#[test]
fn what_the_client_says_itself_is_overwritten_in_its_place() {
    let mut head = h1_request(
        "GET / HTTP/1.1|X-Request-Id: mine|Host: a|X-Forwarded-Proto: ftp|A: 1|\
         X-Forwarded-For: 9.9.9.9, 8.8.8.8|B: 2|X-Forwarded-For: 7.7.7.7|\
         X-Envoy-External-Address: 1.1.1.1|X-Envoy-Attempt-Count: 7|X-Envoy-Internal: true|\
         X-Envoy-Original-Path: /x|X-Envoy-Retry-On: 5xx|X-Envoy-Foo: f|\
         X-Forwarded-Client-Cert: Hash=a|C: 3",
    );
    forward::enter(&mut head, &client(), &hops(0));
    forward::attempt(&mut head, &ISTIO, 1, None);
    assert_eq!(
        shown(&mut head),
        "GET / HTTP/1.1|host: a|x-request-id: ID|x-forwarded-proto: http|a: 1|\
         x-forwarded-for: 9.9.9.9, 8.8.8.8,7.7.7.7,203.0.113.7|b: 2|\
         x-envoy-external-address: 203.0.113.7|x-envoy-attempt-count: 1|c: 3"
    );
}

#[test]
fn trusted_hops_choose_the_clients_address() {
    const CHAIN: &str = "X-Forwarded-For: 56.5.6.7, 72.9.5.6, 98.1.2.3";
    for (fields, hops, external) in [
        (CHAIN, 0, "203.0.113.7"),
        (CHAIN, 1, "98.1.2.3"),
        (CHAIN, 2, "72.9.5.6"),
        (CHAIN, 3, "56.5.6.7"),
        (CHAIN, 4, "203.0.113.7"),
        (
            "X-Forwarded-For: 1.1.1.1|X-Forwarded-For: 2.2.2.2",
            2,
            "1.1.1.1",
        ),
        ("X-Forwarded-For: 1.1.1.1, unknown", 1, "203.0.113.7"),
        ("X-Forwarded-For: 1.1.1.1,::1", 1, "::1"),
        ("X: y", 1, "203.0.113.7"),
    ] {
        let mut head = h1_request(&format!("GET / HTTP/1.1|Host: a|{fields}"));
        let trusted = forward::enter(&mut head, &client(), &super::hops(hops));
        let shown = head.header("x-envoy-external-address").unwrap();
        assert_eq!(shown, external.as_bytes(), "{fields} {hops}");
        let expected = (external != "203.0.113.7").then(|| external.parse().unwrap());
        assert_eq!(trusted, expected);
    }
}

#[test]
fn the_protocol_is_the_clients_only_behind_trusted_proxies() {
    for (fields, hops, proto, scheme) in [
        ("X: y", 0, "http", Scheme::Http),
        ("X-Forwarded-Proto: https", 0, "http", Scheme::Http),
        ("X-Forwarded-Proto: https", 1, "https", Scheme::Https),
        ("X-Forwarded-Proto: ftp", 1, "ftp", Scheme::Http),
        ("X: y", 1, "http", Scheme::Http),
    ] {
        let mut head = h1_request(&format!("GET / HTTP/1.1|Host: a|{fields}"));
        forward::enter(&mut head, &client(), &super::hops(hops));
        assert_eq!(head.header("x-forwarded-proto").unwrap(), proto.as_bytes());
        assert_eq!(head.scheme(), scheme, "{fields} {hops}");
    }
    let mut head = h1_request("GET / HTTP/1.1|Host: a");
    let tls = forward::Client::new("::ffff:192.0.2.1".parse().unwrap(), true);
    forward::enter(&mut head, &tls, &hops(0));
    assert_eq!(head.header("x-forwarded-proto"), Some(&b"https"[..]));
    assert_eq!(head.header("x-forwarded-for"), Some(&b"192.0.2.1"[..]));
}

#[test]
fn a_client_cannot_take_away_what_a_trusted_proxy_said() {
    let mut head = h1_request(
        "GET / HTTP/1.1|Host: a|Connection: x-forwarded-for, x-forwarded-proto, x-forwarded-host|\
         X-Forwarded-For: 1.1.1.1|X-Forwarded-Proto: https|X-Forwarded-Host: h",
    );
    forward::enter(&mut head, &client(), &hops(1));
    assert_eq!(
        head.header("x-forwarded-for"),
        Some(&b"1.1.1.1,203.0.113.7"[..])
    );
    assert_eq!(head.header("x-forwarded-host"), Some(&b"h"[..]));
    assert_eq!(head.scheme(), Scheme::Https);
}

#[test]
fn retry_fields_of_a_route_are_for_us() {
    let mut head = h1_request("GET / HTTP/1.1|Host: a|X-Envoy-Retry-On: reset");
    forward::enter(&mut head, &client(), &hops(0));
    assert_eq!(forward::take_retry_override(&mut head), None);
    head.set("x-envoy-retry-on", b"5xx");
    head.set("x-envoy-max-retries", b"4");
    let taken = forward::take_retry_override(&mut head).unwrap();
    assert_eq!(
        (taken.retry_on.as_deref(), taken.max_retries),
        (Some("5xx"), Some(4))
    );
    assert!(!shown(&mut head).contains("retr"));
}
