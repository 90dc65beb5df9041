//! Bodies, early answers, 1xx, old clients, circuit breakers, draining.

use crate::{
    bench::{Bench, Scripted, read_head, wait_closed},
    support::{build::*, client::Raw, eventually, upstream::Upstream},
};
use gwanmun_ir::{AppProtocol, Key};
use std::{
    io::{Read, Write},
    time::{Duration, Instant},
};

#[test]
fn a_body_over_the_limit_is_413() {
    let upstream = Scripted::start(|mut stream, _| {
        read_head(&mut stream);
        wait_closed(&mut stream);
    });
    let bench = Bench::new(&[upstream.address], |route, _| {
        route.max_request_body = Some(10);
    });
    let mut client = bench.connect();
    client.send("POST /length HTTP/1.1\r\nHost: a.test\r\ncontent-length: 11\r\n\r\n");
    let response = client.response();
    assert_eq!(
        (response.status, response.text().as_str()),
        (413, "Payload Too Large")
    );
    assert_eq!(response.header("connection"), Some("close"));
    assert_eq!(
        bench.line("/length").summary(),
        "413 - request_payload_too_large"
    );

    let mut client = bench.connect();
    client.send("POST /chunks HTTP/1.1\r\nHost: a.test\r\ntransfer-encoding: chunked\r\n\r\n");
    client.send("6\r\nabcdef\r\n6\r\nabcdef\r\n");
    assert_eq!(client.response().status, 413);
    assert_eq!(
        bench.line("/chunks").summary(),
        "413 - request_payload_too_large"
    );
}

#[test]
fn an_answer_before_the_upload_ends_reaches_the_client() {
    let upstream = Scripted::start(|mut stream, _| {
        read_head(&mut stream);
        let _ = stream.write_all(b"HTTP/1.1 403 Forbidden\r\ncontent-length: 2\r\n\r\nno");
    });
    let bench = Bench::new(&[upstream.address], |_, _| {});
    let mut client = bench.connect();
    client.send("POST /up HTTP/1.1\r\nHost: a.test\r\ncontent-length: 5000000\r\n\r\n");
    let piece = vec![b'x'; 50_000];
    for _ in 0..100 {
        // The gateway may have closed: what counts is that the answer can still be read.
        if client.stream().write_all(&piece).is_err() {
            break;
        }
    }
    let response = client.response();
    assert_eq!((response.status, response.text().as_str()), (403, "no"));
    assert_eq!(response.header("connection"), Some("close"));
    assert_eq!(bench.line("/up").summary(), "403 - via_upstream");
}

#[test]
fn a_route_that_is_not_there_closes_an_upload() {
    let bench = Bench::new(&[], |route, _| route.hostnames = hostnames(&["other.test"]));
    let mut client = bench.connect();
    client.send("POST /up HTTP/1.1\r\nHost: a.test\r\ncontent-length: 5\r\n\r\nabcde");
    let response = client.response();
    assert_eq!(response.status, 404);
    assert_eq!(response.header("connection"), Some("close"));
    let mut client = bench.connect();
    for _ in 0..3 {
        client.send("GET /a HTTP/1.1\r\nHost: a.test\r\n\r\n");
        let response = client.response();
        assert_eq!(response.status, 404);
        assert_eq!(
            response.header("connection"),
            None,
            "the connection lives on"
        );
    }
    assert_eq!(bench.line("/a").summary(), "404 NR route_not_found");
}

#[test]
fn a_client_that_waits_for_100_gets_it_from_the_upstream() {
    let upstream = Scripted::start(|mut stream, _| {
        let head = read_head(&mut stream).unwrap();
        assert!(head.contains("expect: 100-continue"), "{head}");
        stream
            .write_all(b"HTTP/1.1 100 Continue\r\nx: y\r\n\r\n")
            .unwrap();
        let mut body = [0; 5];
        stream.read_exact(&mut body).unwrap();
        stream
            .write_all(b"HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n")
            .unwrap();
        stream.write_all(&body).unwrap();
    });
    let bench = Bench::new(&[upstream.address], |_, _| {});
    let mut client = bench.connect();
    client.send(
        "POST / HTTP/1.1\r\nHost: a.test\r\nExpect: 100-continue\r\ncontent-length: 5\r\n\r\n",
    );
    let response = client.response();
    assert_eq!(response.status, 100);
    assert!(response.headers.is_empty());
    client.send("hello");
    let response = client.response();
    assert_eq!(response.status, 103);
    assert_eq!(response.header("link"), Some("</a>"));
    assert_eq!(client.response().text(), "hello");
}

#[test]
fn an_http10_client_gets_no_chunks() {
    let upstream = Scripted::answering(
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
    );
    let bench = Bench::new(&[upstream.address], |_, _| {});
    let mut client = bench.connect();
    client.send("GET / HTTP/1.0\r\nHost: a.test\r\n\r\n");
    let all = String::from_utf8(client.rest()).unwrap();
    assert!(all.starts_with("HTTP/1.0 200 OK\r\n"), "{all}");
    assert!(all.ends_with("\r\n\r\nabc"), "{all}");
    assert!(!all.contains("chunked"), "{all}");
}

#[test]
fn of_an_old_client_that_is_refused_the_log_says_nothing() {
    let bench = Bench::new(&[], |_, _| {});
    let mut chain = chain("web", 80);
    let mut options = http_options();
    options.accept_http10 = false;
    chain.protocol = AppProtocol::Http(options);
    bench.gateway.serve(vec![listener(80), of_chain(chain)]);
    let mut client = bench.connect();
    client.send("GET /old HTTP/1.0\r\nHost: a.test\r\nUser-Agent: old\r\n\r\n");
    let response = client.response();
    assert_eq!(
        (response.status, response.text().as_str()),
        (426, "Upgrade Required")
    );
    let line = bench.line_with("response_code_details", "low_version");
    assert_eq!(line.summary(), "426 DPE low_version");
    for key in ["method", "path", "authority", "user_agent", "request_id"] {
        assert!(line.0[key].is_null(), "{key}: {:?}", line.0[key]);
    }
}

#[test]
fn bodiless_answers_have_no_body() {
    let upstream = Scripted::start(|mut stream, _| {
        while let Some(head) = read_head(&mut stream) {
            let answer: &[u8] = if head.starts_with("HEAD") {
                b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n"
            } else if head.contains("/204") {
                b"HTTP/1.1 204 No Content\r\n\r\n"
            } else {
                b"HTTP/1.1 304 Not Modified\r\ncontent-length: 7\r\n\r\n"
            };
            stream.write_all(answer).unwrap();
        }
    });
    let bench = Bench::new(&[upstream.address], |_, _| {});
    let mut client = bench.connect();
    for (request, status, length) in [
        ("HEAD /", "200 OK", Some("1000")),
        ("GET /204", "204 No Content", None),
        ("GET /304", "304 Not Modified", Some("7")),
        ("HEAD /", "200 OK", Some("1000")),
    ] {
        client.send(format!("{request} HTTP/1.1\r\nHost: a.test\r\n\r\n"));
        let head = read_head(client.stream()).unwrap();
        assert!(
            head.starts_with(&format!("HTTP/1.1 {status}\r\n")),
            "{head}"
        );
        let found = head
            .lines()
            .find_map(|line| line.strip_prefix("content-length: "));
        assert_eq!(found, length, "{head}");
        assert!(!head.contains("chunked"), "{head}");
    }
    assert_eq!(upstream.connections(), 1);
}

#[test]
fn a_full_circuit_breaker_is_uo() {
    let upstream = Scripted::start(|mut stream, _| {
        read_head(&mut stream);
        wait_closed(&mut stream);
    });
    let bench = Bench::new(&[upstream.address], |_, cluster| {
        cluster.limits.max_requests = Some(1);
    });
    let mut first = bench.connect();
    first.send("GET /first HTTP/1.1\r\nHost: a.test\r\n\r\n");
    eventually("the first request holds the only place", || {
        upstream.connections() == 1
    });
    let mut second = bench.connect();
    second.send("GET /second HTTP/1.1\r\nHost: a.test\r\n\r\n");
    let response = second.response();
    assert_eq!(response.status, 503);
    assert_eq!(
        response.headers.first().map(|(name, _)| name.as_str()),
        Some("x-envoy-overloaded")
    );
    assert!(response.text().ends_with("reset reason: overflow"));
    let summary = "503 UO upstream_reset_before_response_started{overflow}";
    assert_eq!(bench.line("/second").summary(), summary);
}

#[test]
fn a_connection_serves_no_more_requests_than_allowed() {
    let upstream = Upstream::named("one");
    let bench = Bench::new(&[upstream.address()], |_, cluster| {
        cluster.limits.max_requests_per_connection = Some(2);
    });
    let mut client = bench.connect();
    for _ in 0..6 {
        client.send("GET /x HTTP/1.1\r\nHost: a.test\r\n\r\n");
        assert_eq!(client.response().status, 200);
    }
    assert_eq!(upstream.connections(), 3);
}

#[test]
fn connections_over_the_limit_wait_for_one_another() {
    let upstream = Scripted::start(|mut stream, _| {
        while read_head(&mut stream).is_some() {
            std::thread::park_timeout(Duration::from_millis(20));
            stream
                .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")
                .unwrap();
        }
    });
    let bench = Bench::new(&[upstream.address], |_, cluster| {
        cluster.limits.max_connections = Some(1);
    });
    let mut clients: Vec<Raw> = (0..4).map(|_| bench.connect()).collect();
    for client in &mut clients {
        client.send("GET /x HTTP/1.1\r\nHost: a.test\r\n\r\n");
    }
    for client in &mut clients {
        assert_eq!(client.response().status, 200);
    }
    assert_eq!(upstream.connections(), 1);
}

#[test]
fn removed_listeners_close_idle_connections_and_finish_requests() {
    let upstream = Scripted::start(|mut stream, _| {
        let head = read_head(&mut stream).unwrap();
        if head.contains("/slow") {
            std::thread::park_timeout(Duration::from_millis(300));
        }
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok");
    });
    let bench = Bench::new(&[upstream.address], |_, _| {});
    let mut idle = bench.connect();
    idle.send("GET /fast HTTP/1.1\r\nHost: a.test\r\n\r\n");
    assert_eq!(idle.response().status, 200);
    let mut busy = bench.connect();
    busy.send("GET /slow HTTP/1.1\r\nHost: a.test\r\n\r\n");
    eventually("the slow request has arrived", || {
        upstream.connections() == 2
    });
    let start = Instant::now();
    bench.gateway.remove(vec![Key::Listener(listener_key(80))]);
    assert!(idle.rest().is_empty());
    assert!(
        start.elapsed() < Duration::from_secs(3),
        "{:?}",
        start.elapsed()
    );
    let response = busy.response();
    assert_eq!((response.status, response.text().as_str()), (200, "ok"));
    assert_eq!(response.header("connection"), Some("close"));
}

#[test]
fn an_endpoint_that_goes_takes_its_pooled_connections_along() {
    let (closed, seen) = std::sync::mpsc::channel();
    let closed = parking_lot::Mutex::new(closed);
    let upstream = Scripted::start(move |mut stream, _| {
        read_head(&mut stream);
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok");
        wait_closed(&mut stream);
        closed.lock().send(()).unwrap();
    });
    let other = Upstream::named("other");
    let bench = Bench::new(&[upstream.address], |_, _| {});
    let mut client = bench.connect();
    client.send("GET /x HTTP/1.1\r\nHost: a.test\r\n\r\n");
    assert_eq!(client.response().text(), "ok");
    bench.serve(&[other.address()], |_, _| {});
    seen.recv_timeout(Duration::from_secs(5)).unwrap();
    client.send("GET /x HTTP/1.1\r\nHost: a.test\r\n\r\n");
    assert_eq!(client.response().text(), "other /x");
}
