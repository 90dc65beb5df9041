//! Time limits are absolute, whatever trickles in.

use crate::{
    bench::{Bench, Scripted, read_head, retries, wait_closed},
    support::{build::istio, client::Raw},
};
use gwanmun_ir::{RetryCondition, Route};
use std::{
    io::Write,
    time::{Duration, Instant},
};

const LATE: &str = "upstream request timeout";

fn silent() -> Scripted {
    Scripted::start(|mut stream, _| {
        read_head(&mut stream);
        wait_closed(&mut stream);
    })
}

/// Writes a piece every few milliseconds until nobody takes it.
fn trickling(first: &'static str, piece: &'static str) -> Scripted {
    Scripted::start(move |mut stream, _| {
        read_head(&mut stream);
        let _ = stream.write_all(first.as_bytes());
        while stream.write_all(piece.as_bytes()).is_ok() {
            std::thread::park_timeout(Duration::from_millis(5));
        }
    })
}

fn ask(client: &mut Raw, path: &str) -> (u16, String, Duration) {
    let start = Instant::now();
    client.send(format!("GET {path} HTTP/1.1\r\nHost: a.test\r\n\r\n"));
    let response = client.response();
    (response.status, response.text(), start.elapsed())
}

fn limited(upstream: &Scripted, change: impl FnOnce(&mut Route)) -> Bench {
    Bench::new(&[upstream.address], |route, _| {
        *route = istio(route.clone(), 0);
        change(route);
    })
}

#[test]
fn a_request_that_takes_too_long_is_504() {
    for upstream in [
        silent(),
        trickling("HTTP/1.1 200 OK\r\n", "x: y\r\n"),
        trickling("", "HTTP/1.1 102 Processing\r\n\r\n"),
    ] {
        let bench = limited(&upstream, |route| route.timeouts.request_ms = Some(150));
        let (status, body, took) = ask(&mut bench.connect(), "/late");
        if status == 102 {
            continue;
        }
        assert_eq!((status, body.as_str()), (504, LATE));
        assert!(took >= Duration::from_millis(150), "{took:?}");
        assert!(took < Duration::from_secs(3), "{took:?}");
        assert_eq!(bench.line("/late").summary(), "504 UT response_timeout");
    }
}

#[test]
fn a_connection_survives_the_timeout_of_a_request() {
    let upstream = Scripted::start(|mut stream, number| {
        read_head(&mut stream);
        if number == 0 {
            wait_closed(&mut stream);
        } else {
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok");
        }
    });
    let bench = limited(&upstream, |route| route.timeouts.request_ms = Some(100));
    let mut client = bench.connect();
    assert_eq!(ask(&mut client, "/a").0, 504);
    assert_eq!(ask(&mut client, "/b").1, "ok");
}

#[test]
fn a_body_that_takes_too_long_is_cut() {
    let upstream = trickling(
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n",
        "1\r\nx\r\n",
    );
    let bench = limited(&upstream, |route| route.timeouts.request_ms = Some(150));
    let mut client = bench.connect();
    client.send("GET /slow HTTP/1.1\r\nHost: a.test\r\n\r\n");
    let all = String::from_utf8(client.rest()).unwrap();
    assert!(all.starts_with("HTTP/1.1 200 OK"), "{all}");
    assert!(!all.ends_with("0\r\n\r\n"), "{all}");
    assert_eq!(bench.line("/slow").summary(), "200 UT response_timeout");
}

#[test]
fn istio_counts_from_the_end_of_the_upload_and_the_gateway_api_from_its_start() {
    for istios in [true, false] {
        let upstream = Scripted::start(|mut stream, _| {
            let head = read_head(&mut stream).unwrap();
            assert!(head.contains("content-length: 4"));
            let mut body = [0; 4];
            if std::io::Read::read_exact(&mut stream, &mut body).is_ok() {
                let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok");
            }
        });
        let bench = Bench::new(&[upstream.address], |route, _| {
            if istios {
                *route = istio(route.clone(), 0);
            }
            route.timeouts.request_ms = Some(200);
        });
        let mut client = bench.connect();
        client.send("POST /up HTTP/1.1\r\nHost: a.test\r\ncontent-length: 4\r\n\r\n");
        for piece in ["a", "b", "c", "d"] {
            std::thread::park_timeout(Duration::from_millis(80));
            // The gateway may have answered and closed.
            let _ = client.stream().write_all(piece.as_bytes());
        }
        let status = client.response().status;
        assert_eq!(status, if istios { 200 } else { 504 }, "istio: {istios}");
    }
}

#[test]
fn a_try_that_takes_too_long_is_repeated_where_the_policy_says_so() {
    let upstream = silent();
    for (conditions, flags, tries) in [
        (vec![RetryCondition::ConnectFailure], "UT", 1),
        (vec![RetryCondition::FiveXx], "URX,UT", 3),
        (vec![RetryCondition::GatewayError], "URX,UT", 3),
        (vec![RetryCondition::Reset], "URX,UT", 3),
    ] {
        let before = upstream.connections();
        let bench = limited(&upstream, |route| {
            route.timeouts.per_try_ms = Some(60);
            route.retry = Some(retries(&conditions));
        });
        let (status, body, _) = ask(&mut bench.connect(), "/late");
        assert_eq!((status, body.as_str()), (504, LATE));
        let summary = format!("504 {flags} upstream_per_try_timeout");
        assert_eq!(bench.line("/late").summary(), summary);
        assert_eq!(upstream.connections() - before, tries);
    }
}

#[test]
fn the_route_limit_ends_tries_too() {
    let upstream = silent();
    let bench = limited(&upstream, |route| {
        route.timeouts.per_try_ms = Some(100);
        route.timeouts.request_ms = Some(150);
        route.retry = Some(retries(&[RetryCondition::FiveXx]));
    });
    let (status, _, took) = ask(&mut bench.connect(), "/late");
    assert_eq!(status, 504);
    assert!(took < Duration::from_secs(3), "{took:?}");
    assert_eq!(bench.line("/late").summary(), "504 UT response_timeout");
}

#[test]
fn a_grpc_timeout_counts_where_the_route_has_none() {
    let upstream = silent();
    let bench = limited(&upstream, |_| {});
    let mut client = bench.connect();
    client.send(
        "POST /s/m HTTP/1.1\r\nHost: a.test\r\ncontent-type: application/grpc\r\n\
         grpc-timeout: 100m\r\ncontent-length: 0\r\n\r\n",
    );
    let response = client.response();
    assert_eq!(response.status, 200);
    assert_eq!(response.header("grpc-status"), Some("14"));
    assert_eq!(response.header("grpc-message"), Some(LATE));
    assert_eq!(bench.line("/s/m").summary(), "200 UT response_timeout");
}

#[test]
fn a_connection_that_cannot_be_made_in_time_fails() {
    // A listener whose backlog is full takes no more connections.
    let full = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let socket = socket2::SockRef::from(&full);
    socket.listen(0).unwrap();
    let address = full.local_addr().unwrap();
    let mut held = Vec::new();
    for _ in 0..4 {
        let socket =
            socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
        socket.set_nonblocking(true).unwrap();
        let _ = socket.connect(&address.into());
        held.push(socket);
    }
    let bench = Bench::new(&[address], |route, cluster| {
        *route = istio(route.clone(), 0);
        cluster.connect_timeout_ms = 100;
    });
    let (status, body, _) = ask(&mut bench.connect(), "/x");
    assert_eq!(status, 503);
    assert!(body.ends_with("reset reason: connection timeout"), "{body}");
    let summary = "503 UF upstream_reset_before_response_started{connection_timeout}";
    assert_eq!(bench.line("/x").summary(), summary);
}
