//! Lines as Envoy wrote them.

use super::*;
use crate::{
    cluster::{Cluster, Endpoint},
    telemetry::{Flag, HttpVersion, ResponseFlags},
};
use std::time::{Duration, Instant};

const START: u64 = 1_767_323_045_678;
const CLUSTER: &str = "outbound|8000||back.default.svc.cluster.local";

fn local() -> SocketAddr {
    "10.0.0.9:8080".parse().unwrap()
}

fn remote() -> SocketAddr {
    "203.0.113.7:4711".parse().unwrap()
}

fn as_text(exchange: &Exchange<'_>) -> String {
    let mut out = Vec::new();
    write_text(&mut out, &mut Clock::new(exchange.start), START, exchange);
    String::from_utf8(out).unwrap()
}

fn as_json(exchange: &Exchange<'_>) -> String {
    let mut out = Vec::new();
    write_json(&mut out, &mut Clock::new(exchange.start), START, exchange);
    String::from_utf8(out).unwrap()
}

fn served<'a>(cluster: &'a Cluster, endpoint: &'a Endpoint) -> Exchange<'a> {
    let start = Instant::now();
    Exchange {
        end: start + Duration::from_micros(4999),
        method: Some("GET"),
        path: Some("/a?b=1"),
        version: Some(HttpVersion::Http11),
        status: 200,
        details: Some("via_upstream"),
        bytes_sent: 2,
        upstream_service_ms: Some(3),
        forwarded_for: Some(b"203.0.113.7"),
        user_agent: Some(b"ua"),
        request_id: Some(b"6c01d65f"),
        authority: Some("named.test"),
        endpoint: Some(endpoint),
        upstream_local: Some("127.0.0.1:40000".parse().unwrap()),
        cluster: Some(cluster),
        route: Some("my-rule"),
        ..Exchange::new(start, local(), remote())
    }
}

#[test]
fn a_served_request_is_written_as_envoy_writes_it() {
    let (cluster, endpoint) = (Cluster::for_test(CLUSTER), Endpoint::for_test(22000));
    assert_eq!(
        as_text(&served(&cluster, &endpoint)),
        "[2026-01-02T03:04:05.678Z] \"GET /a?b=1 HTTP/1.1\" 200 - via_upstream - \"-\" 0 2 4 3 \
         \"203.0.113.7\" \"ua\" \"6c01d65f\" \"named.test\" \"127.0.0.1:22000\" \
         outbound|8000||back.default.svc.cluster.local 127.0.0.1:40000 10.0.0.9:8080 \
         203.0.113.7:4711 - my-rule\n"
    );
}

#[test]
fn failures_name_flags_in_order_and_the_transport_failure() {
    let (cluster, endpoint) = (Cluster::for_test(CLUSTER), Endpoint::for_test(9));
    let exchange = Exchange {
        status: 503,
        flags: ResponseFlags::one(Flag::Urx).with(Flag::Uf),
        details: Some(
            "upstream_reset_before_response_started{remote_connection_failure|\
             delayed_connect_error:_Connection_refused}",
        ),
        transport_failure: Some("delayed_connect_error:_Connection_refused"),
        upstream_service_ms: None,
        upstream_local: None,
        route: None,
        sni: Some("named.test"),
        ..served(&cluster, &endpoint)
    };
    assert_eq!(
        as_text(&exchange),
        "[2026-01-02T03:04:05.678Z] \"GET /a?b=1 HTTP/1.1\" 503 URX,UF \
         upstream_reset_before_response_started{remote_connection_failure|\
         delayed_connect_error:_Connection_refused} - \
         \"delayed_connect_error:_Connection_refused\" 0 2 4 - \"203.0.113.7\" \"ua\" \
         \"6c01d65f\" \"named.test\" \"127.0.0.1:9\" \
         outbound|8000||back.default.svc.cluster.local - 10.0.0.9:8080 203.0.113.7:4711 \
         named.test -\n"
    );
}

#[test]
fn what_never_became_a_request_is_written_with_dashes() {
    let nothing = Exchange::new(Instant::now(), local(), remote());
    let refused = Exchange {
        flags: ResponseFlags::one(Flag::Nr),
        details: Some("filter_chain_not_found"),
        sni: Some("unknown.test"),
        ..nothing
    };
    assert_eq!(
        as_text(&refused),
        "[2026-01-02T03:04:05.678Z] \"- - -\" 0 NR filter_chain_not_found - \"-\" 0 0 0 - \"-\" \
         \"-\" \"-\" \"-\" \"-\" - - 10.0.0.9:8080 203.0.113.7:4711 unknown.test -\n"
    );
    let garbage = Exchange {
        status: 400,
        version: Some(HttpVersion::Http11),
        flags: ResponseFlags::one(Flag::Dpe),
        details: Some("http1.codec_error"),
        bytes_sent: 11,
        ..Exchange::new(Instant::now(), local(), "[2001:db8::1]:99".parse().unwrap())
    };
    assert_eq!(
        as_text(&garbage),
        "[2026-01-02T03:04:05.678Z] \"- - HTTP/1.1\" 400 DPE http1.codec_error - \"-\" 0 11 0 - \
         \"-\" \"-\" \"-\" \"-\" \"-\" - - 10.0.0.9:8080 [2001:db8::1]:99 - -\n"
    );
}

#[test]
fn quotes_in_paths_are_encoded_and_in_headers_are_not() {
    let (cluster, endpoint) = (Cluster::for_test(CLUSTER), Endpoint::for_test(9));
    let exchange = Exchange {
        path: Some("/a\"b"),
        user_agent: Some(b"say \"hi\\\""),
        request_id: Some(b"a\nb\x7f"),
        ..served(&cluster, &endpoint)
    };
    let line = as_text(&exchange);
    assert!(line.contains("\"GET /a%22b HTTP/1.1\""), "{line}");
    assert!(line.contains("\"say \"hi\\\"\" \"a%0Ab%7F\""), "{line}");
    assert_eq!(line.matches('\n').count(), 1);
}

#[test]
fn json_has_envoys_keys_in_alphabetical_order() {
    let (cluster, endpoint) = (Cluster::for_test(CLUSTER), Endpoint::for_test(22000));
    let json = as_json(&served(&cluster, &endpoint));
    assert_eq!(
        json,
        "{\"authority\":\"named.test\",\"bytes_received\":0,\"bytes_sent\":2,\
         \"connection_termination_details\":null,\"downstream_local_address\":\"10.0.0.9:8080\",\
         \"downstream_remote_address\":\"203.0.113.7:4711\",\"duration\":4,\"method\":\"GET\",\
         \"path\":\"/a?b=1\",\"protocol\":\"HTTP/1.1\",\"request_id\":\"6c01d65f\",\
         \"requested_server_name\":null,\"response_code\":200,\
         \"response_code_details\":\"via_upstream\",\"response_flags\":\"-\",\
         \"route_name\":\"my-rule\",\"start_time\":\"2026-01-02T03:04:05.678Z\",\
         \"upstream_cluster\":\"outbound|8000||back.default.svc.cluster.local\",\
         \"upstream_host\":\"127.0.0.1:22000\",\"upstream_local_address\":\"127.0.0.1:40000\",\
         \"upstream_service_time\":\"3\",\"upstream_transport_failure_reason\":null,\
         \"user_agent\":\"ua\",\"x_forwarded_for\":\"203.0.113.7\"}\n"
    );
    let parsed: serde_json::Map<String, serde_json::Value> = serde_json::from_str(&json).unwrap();
    assert!(parsed.keys().is_sorted());
}

#[test]
fn json_has_null_for_a_route_without_name() {
    let exchange = Exchange {
        route: Some("-"),
        ..Exchange::new(Instant::now(), local(), remote())
    };
    let json: serde_json::Value = serde_json::from_str(&as_json(&exchange)).unwrap();
    assert_eq!(json["route_name"], serde_json::Value::Null);
}

#[test]
fn addresses_are_written_as_the_library_prints_them() {
    for text in [
        "1.23.100.255:0",
        "0.9.10.99:65535",
        "[::]:1",
        "[2001:db8::a]:8080",
    ] {
        let mut out = Vec::new();
        address(&mut out, text.parse().unwrap());
        assert_eq!(String::from_utf8(out).unwrap(), text);
    }
}

#[test]
fn json_survives_any_bytes() {
    let start = Instant::now();
    let exchange = Exchange {
        user_agent: Some(b"\xff\"\\\x01\x7fz\xc3\xa9"),
        ..Exchange::new(start, local(), remote())
    };
    let json: serde_json::Value = serde_json::from_str(&as_json(&exchange)).unwrap();
    assert_eq!(json["user_agent"], "\u{fffd}\"\\\u{1}\u{7f}z\u{e9}");
    assert_eq!(json["method"], serde_json::Value::Null);
    assert_eq!(json["response_code"], 0);
}
