//! What clients and the access log are told when upstreams fail, as Envoy was seen to do it.

use crate::{
    bench::{Bench, Scripted, istio_retries, read_head, refusing, retries, wait_closed},
    support::{build::istio, client::Raw, eventually, upstream::Upstream},
};
use gwanmun_ir::{Backoff, RetryCondition, RetryPolicy};
use std::{
    io::Write,
    net::SocketAddr,
    sync::atomic::{AtomicUsize, Ordering::SeqCst},
};

const BEFORE: &str = "upstream connect error or disconnect/reset before headers. ";

/// Sends one GET and compares status, body and log.
fn check(
    endpoints: &[SocketAddr],
    policy: Option<RetryPolicy>,
    status: u16,
    body: &str,
    summary: &str,
) -> Bench {
    let bench = Bench::new(endpoints, |route, _| {
        *route = istio(route.clone(), 0);
        route.retry = policy;
    });
    let mut client = bench.connect();
    client.send("GET /x HTTP/1.1\r\nHost: a.test\r\n\r\n");
    let response = client.response();
    assert_eq!(
        (response.status, response.text().as_str()),
        (status, body),
        "{summary}"
    );
    assert_eq!(bench.line("/x").summary(), summary);
    bench
}

#[test]
fn a_refused_connection_is_uf() {
    let refused = refusing();
    let details = "upstream_reset_before_response_started{remote_connection_failure|delayed_connect_error:_Connection_refused}";
    let one = format!("{BEFORE}reset reason: remote connection failure");
    check(&[refused], None, 503, &one, &format!("503 UF {details}"));
    let many = format!("{BEFORE}retried and the latest reset reason: remote connection failure");
    let bench = check(
        &[refused],
        Some(istio_retries()),
        503,
        &many,
        &format!("503 URX,UF {details}"),
    );
    let line = bench.line("/x");
    assert_eq!(
        line.0["upstream_transport_failure_reason"],
        "delayed_connect_error:_Connection_refused"
    );
    assert_eq!(line.0["upstream_host"], refused.to_string());
}

#[test]
fn another_endpoint_answers_when_one_refuses() {
    let good = Upstream::start(false, |asked| {
        let count = asked
            .headers
            .iter()
            .find(|(name, _)| name == "x-envoy-attempt-count");
        http::Response::new(
            count
                .map(|(_, value)| value.clone())
                .unwrap_or_default()
                .into(),
        )
    });
    let endpoints = [refusing(), good.address()];
    let bench = Bench::new(&endpoints, |route, _| {
        *route = istio(route.clone(), 0);
        route.retry = Some(istio_retries());
    });
    let mut counts = Vec::new();
    for _ in 0..4 {
        let mut client = bench.connect();
        client.send("GET /x HTTP/1.1\r\nHost: a.test\r\n\r\n");
        let response = client.response();
        assert_eq!(response.status, 200);
        counts.push(response.text());
    }
    assert!(counts.contains(&"2".to_owned()), "{counts:?}");
}

#[test]
fn no_endpoint_is_uh() {
    check(
        &[],
        None,
        503,
        "no healthy upstream",
        "503 UH no_healthy_upstream",
    );
}

#[test]
fn an_upstream_that_hangs_up_is_uc() {
    let details = "upstream_reset_before_response_started{connection_termination}";
    let upstream = Scripted::answering("");
    let body = format!("{BEFORE}reset reason: connection termination");
    let summary = format!("503 UC {details}");
    check(
        &[upstream.address],
        Some(istio_retries()),
        503,
        &body,
        &summary,
    );
    assert_eq!(
        upstream.connections(),
        1,
        "the default policy does not repeat it"
    );
    let before = retries(&[RetryCondition::ResetBeforeRequest]);
    check(&[upstream.address], Some(before), 503, &body, &summary);
    let again = format!("{BEFORE}retried and the latest reset reason: connection termination");
    let reset = retries(&[RetryCondition::Reset]);
    let summary = format!("503 URX,UC {details}");
    check(&[upstream.address], Some(reset), 503, &again, &summary);
    assert_eq!(upstream.connections(), 5);
}

#[test]
fn an_upstream_that_breaks_the_protocol_is_upe() {
    let body = format!("{BEFORE}reset reason: protocol error");
    let summary = "502 UPE upstream_reset_before_response_started{protocol_error}";
    let long = format!("HTTP/1.1 200 OK\r\nx: {}\r\n\r\n", "a".repeat(90_000));
    let many = format!("HTTP/1.1 200 OK\r\n{}\r\n", "x: y\r\n".repeat(101));
    for answer in [
        "garbage\r\n\r\n",
        "HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nxx",
        "HTTP/1.1 200 OK\r\nb ad: 1\r\n\r\n",
        "HTTP/1.1 200 OK\r\ncontent-le",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        "HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\n\r\n",
        &long,
        &many,
    ] {
        let upstream = Scripted::answering(answer);
        check(
            &[upstream.address],
            Some(istio_retries()),
            502,
            &body,
            summary,
        );
        assert_eq!(upstream.connections(), 1);
    }
}

#[test]
fn a_response_that_is_cut_short_does_not_look_whole() {
    for (answer, expected) in [
        ("HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nabc", "abc"),
        (
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n",
            "3\r\nabc\r\n",
        ),
    ] {
        let upstream = Scripted::answering(answer);
        let bench = Bench::new(&[upstream.address], |_, _| {});
        let mut client = bench.connect();
        client.send("GET /cut HTTP/1.1\r\nHost: a.test\r\n\r\n");
        let all = String::from_utf8(client.rest()).unwrap();
        let (_, body) = all.split_once("\r\n\r\n").unwrap();
        assert_eq!(body, expected);
        let summary = bench.line("/cut").summary();
        assert_eq!(
            summary,
            "200 UPE upstream_reset_after_response_started{protocol_error}"
        );
    }
}

#[test]
fn an_answer_without_length_is_chunked_for_the_client() {
    let upstream = Scripted::answering("HTTP/1.0 200 OK\r\n\r\nabc");
    let bench = Bench::new(&[upstream.address], |_, _| {});
    let mut client = bench.connect();
    client.send("GET /x HTTP/1.1\r\nHost: a.test\r\n\r\n");
    let response = client.response();
    assert_eq!(response.header("transfer-encoding"), Some("chunked"));
    assert_eq!(response.text(), "abc");
    assert_eq!(bench.line("/x").summary(), "200 - via_upstream");
}

#[test]
fn listed_statuses_are_repeated_with_their_body() {
    let seen = std::sync::Arc::new(parking_lot::Mutex::new(Vec::new()));
    let log = std::sync::Arc::clone(&seen);
    let upstream = Upstream::start(false, move |asked| {
        let mut seen = log.lock();
        seen.push(asked.body.clone());
        let mut response = http::Response::new(bytes::Bytes::from("done").into());
        if seen.len() < 3 {
            *response.status_mut() = http::StatusCode::SERVICE_UNAVAILABLE;
        }
        response
    });
    let bench = Bench::new(&[upstream.address()], |route, _| {
        route.retry = Some(RetryPolicy {
            status_codes: vec![503],
            ..retries(&[])
        });
    });
    let body = "x".repeat(300_000);
    let mut client = bench.connect();
    client.send(format!(
        "POST /x HTTP/1.1\r\nHost: a.test\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    ));
    let response = client.response();
    assert_eq!((response.status, response.text().as_str()), (200, "done"));
    let seen = seen.lock();
    assert_eq!(seen.len(), 3);
    assert!(
        seen.iter().all(|seen| *seen == body),
        "every try had the whole body"
    );
    assert_eq!(bench.line("/x").summary(), "200 - via_upstream");
}

#[test]
fn the_last_answer_is_passed_when_retries_run_out() {
    let upstream = Scripted::answering(
        "HTTP/1.1 503 Service Unavailable\r\ncontent-length: 3\r\nx-a: b\r\n\r\nbad",
    );
    let bench = check(
        &[upstream.address],
        Some(retries(&[RetryCondition::FiveXx])),
        503,
        "bad",
        "503 URX via_upstream",
    );
    drop(bench);
    assert_eq!(upstream.connections(), 3);
    // A body over the replay buffer is not repeated.
    let bench = Bench::new(&[upstream.address], |route, _| {
        route.retry = Some(retries(&[RetryCondition::FiveXx]));
    });
    let upstream = Upstream::start(false, |_| {
        let mut response = http::Response::new(bytes::Bytes::from("bad").into());
        *response.status_mut() = http::StatusCode::SERVICE_UNAVAILABLE;
        response
    });
    bench.serve(&[upstream.address()], |route, _| {
        route.retry = Some(retries(&[RetryCondition::FiveXx]));
    });
    let body = "x".repeat(1_100_000);
    let mut client = bench.connect();
    client.send(format!(
        "POST /big HTTP/1.1\r\nHost: a.test\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    ));
    assert_eq!(client.response().status, 503);
    assert_eq!(bench.line("/big").summary(), "503 - via_upstream");
    assert_eq!(upstream.requests(), 1);
}

#[test]
fn a_pooled_connection_that_was_closed_is_replaced_unseen() {
    // Answers once per connection, then closes it without saying so.
    let upstream = Scripted::start(|mut stream, _| {
        if read_head(&mut stream).is_some() {
            stream
                .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")
                .unwrap();
        }
    });
    let bench = Bench::new(&[upstream.address], |_, _| {});
    let mut client = bench.connect();
    for _ in 0..30 {
        client.send("GET /x HTTP/1.1\r\nHost: a.test\r\n\r\n");
        assert_eq!(client.response().text(), "ok");
    }
}

#[test]
fn a_post_is_not_sent_twice_by_ourselves() {
    let posts = std::sync::Arc::new(AtomicUsize::new(0));
    let counter = std::sync::Arc::clone(&posts);
    let upstream = Scripted::start(move |mut stream, _| {
        // Serves GETs, and hangs up once a POST was read.
        while let Some(head) = read_head(&mut stream) {
            if head.starts_with("POST") {
                counter.fetch_add(1, SeqCst);
                return;
            }
            stream
                .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")
                .unwrap();
        }
    });
    let bench = Bench::new(&[upstream.address], |_, _| {});
    let mut client = bench.connect();
    client.send("GET / HTTP/1.1\r\nHost: a.test\r\n\r\n");
    assert_eq!(client.response().status, 200);
    client.send("POST /p HTTP/1.1\r\nHost: a.test\r\ncontent-length: 0\r\n\r\n");
    assert_eq!(client.response().status, 503);
    assert_eq!(posts.load(SeqCst), 1);
    client.send("GET /again HTTP/1.1\r\nHost: a.test\r\n\r\n");
    assert_eq!(client.response().status, 200);
}

#[test]
fn what_follows_a_response_is_not_taken_for_the_next_one() {
    let upstream = Scripted::start(|mut stream, _| {
        while read_head(&mut stream).is_some() {
            let _ = stream.write_all(
                b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nokHTTP/1.1 666 Evil\r\n\r\n",
            );
        }
    });
    let bench = Bench::new(&[upstream.address], |_, _| {});
    let mut client = bench.connect();
    for _ in 0..5 {
        client.send("GET /x HTTP/1.1\r\nHost: a.test\r\n\r\n");
        let response = client.response();
        assert_eq!((response.status, response.text().as_str()), (200, "ok"));
    }
}

#[test]
fn a_client_that_leaves_takes_its_upstream_request_along() {
    let (left, gone) = std::sync::mpsc::channel();
    let left = parking_lot::Mutex::new(left);
    let upstream = Scripted::start(move |mut stream, _| {
        read_head(&mut stream);
        let sender = left.lock().clone();
        sender.send("asked").unwrap();
        wait_closed(&mut stream);
        sender.send("closed").unwrap();
    });
    let bench = Bench::new(&[upstream.address], |_, _| {});
    let mut client: Raw = bench.connect();
    client.send("GET /left HTTP/1.1\r\nHost: a.test\r\n\r\n");
    assert_eq!(gone.recv().unwrap(), "asked");
    drop(client);
    assert_eq!(
        gone.recv_timeout(std::time::Duration::from_secs(5))
            .unwrap(),
        "closed"
    );
    assert_eq!(
        bench.line("/left").summary(),
        "0 DC downstream_remote_disconnect"
    );
}

#[test]
fn a_client_that_leaves_between_tries_is_noticed() {
    let upstream =
        Scripted::answering("HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\n\r\n");
    let bench = Bench::new(&[upstream.address], |route, _| {
        route.retry = Some(RetryPolicy {
            backoff: Backoff {
                base_ms: 3_600_000,
                max_ms: 3_600_000,
            },
            ..retries(&[RetryCondition::FiveXx])
        });
    });
    let mut client = bench.connect();
    client.send("GET /paused HTTP/1.1\r\nHost: a.test\r\n\r\n");
    eventually("the first try was made", || upstream.connections() == 1);
    drop(client);
    let line = bench.line("/paused");
    assert_eq!(line.summary(), "0 DC downstream_remote_disconnect");
}

#[test]
fn without_a_retry_budget_the_answer_is_passed() {
    let upstream =
        Scripted::answering("HTTP/1.1 503 Service Unavailable\r\ncontent-length: 2\r\n\r\nno");
    let bench = Bench::new(&[upstream.address], |route, cluster| {
        route.retry = Some(retries(&[RetryCondition::FiveXx]));
        cluster.limits.max_retries = Some(0);
    });
    let mut client = bench.connect();
    client.send("GET /x HTTP/1.1\r\nHost: a.test\r\n\r\n");
    let response = client.response();
    assert_eq!((response.status, response.text().as_str()), (503, "no"));
    assert_eq!(response.header("x-envoy-overloaded"), None);
    assert_eq!(bench.line("/x").summary(), "503 UO via_upstream");
    assert_eq!(upstream.connections(), 1);
}

#[test]
fn requests_that_may_not_wait_for_a_connection_are_uo() {
    let upstream = Upstream::named("one");
    let bench = Bench::new(&[upstream.address()], |_, cluster| {
        cluster.limits.max_pending_requests = Some(0);
    });
    let mut client = bench.connect();
    client.send("GET /x HTTP/1.1\r\nHost: a.test\r\n\r\n");
    assert_eq!(client.response().status, 503);
    let summary = "503 UO upstream_reset_before_response_started{overflow}";
    assert_eq!(bench.line("/x").summary(), summary);
}

#[test]
fn a_malformed_chunk_is_400() {
    let upstream = Scripted::start(|mut stream, _| {
        read_head(&mut stream);
        wait_closed(&mut stream);
    });
    let bench = Bench::new(&[upstream.address], |_, _| {});
    let mut client = bench.connect();
    client.send("POST /bad HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\nxyz\r\n");
    let response = client.response();
    assert_eq!(
        (response.status, response.text().as_str()),
        (400, "Bad Request")
    );
    assert_eq!(response.header("connection"), Some("close"));
    assert_eq!(bench.line("/bad").summary(), "400 DPE http1.codec_error");
}

#[test]
fn configuration_that_changes_fails_no_request() {
    let upstream = Upstream::named("one");
    let bench = Bench::new(&[upstream.address()], |_, _| {});
    let address = bench.address();
    let stop = std::sync::Arc::new(AtomicUsize::new(0));
    let stopped = std::sync::Arc::clone(&stop);
    let served = std::sync::Arc::new(AtomicUsize::new(0));
    let counted = std::sync::Arc::clone(&served);
    let client = std::thread::spawn(move || {
        let mut client = Raw::connect(address);
        while stopped.load(SeqCst) == 0 {
            client.send("GET /x HTTP/1.1\r\nHost: a.test\r\n\r\n");
            assert_eq!(client.response().status, 200);
            counted.fetch_add(1, SeqCst);
        }
    });
    eventually("the first request is served", || served.load(SeqCst) > 0);
    for round in 0..50 {
        bench.serve(&[upstream.address()], |route, cluster| {
            route.name = format!("route-{round}");
            cluster.connect_timeout_ms = 1000 + round;
        });
    }
    stop.store(1, SeqCst);
    client.join().unwrap();
    eventually("the last configuration is logged", || bench.lines() > 0);
}
