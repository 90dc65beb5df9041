//! HTTP/2 on either side and on both.

use crate::{
    bench::{Bench, Scripted, http2, istio_retries, read_head, wait_closed},
    h2_peer::{Client, Server, fields, read_all, request, run, send_all, whole, with_body},
    support::{build::istio, client::Raw, eventually, upstream::Upstream},
};
use bytes::Bytes;
use gwanmun_ir::Key;
use h2::Reason;
use http::{Response, StatusCode};
use std::{
    future::poll_fn,
    io::{Read, Write},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

/// An HTTP/1 upstream that sends every chunked body and its trailers back as they come.
fn echo_h1() -> Scripted {
    Scripted::start(|mut stream, _| {
        while let Some(head) = read_head(&mut stream) {
            if !head.contains("transfer-encoding: chunked") {
                stream
                    .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")
                    .unwrap();
                continue;
            }
            stream
                .write_all(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")
                .unwrap();
            let mut tail = Vec::new();
            let mut buffer = [0; 16_384];
            while !tail.ends_with(b"\r\n\r\n") {
                let Ok(n @ 1..) = stream.read(&mut buffer) else {
                    return;
                };
                if stream.write_all(&buffer[..n]).is_err() {
                    return;
                }
                tail.extend_from_slice(&buffer[..n]);
                let keep = tail.len().saturating_sub(4);
                tail.drain(..keep);
            }
        }
    })
}

#[test]
fn bodies_arrive_whole_from_http2_clients() {
    run(async {
        let body = Bytes::from(vec![b'x'; 300_000]);
        let h2 = Server::echo().await;
        let h1 = tokio::task::spawn_blocking(|| {
            Upstream::start(false, |asked| Response::new(asked.body.clone().into()))
        });
        let h1 = h1.await.unwrap();
        for (address, two) in [(h2.address, true), (h1.address(), false)] {
            let bench = Bench::new(&[address], |_, cluster| {
                if two {
                    http2(cluster);
                }
            });
            let mut client = Client::connect(bench.address()).await;
            let answer = client
                .ask(with_body(request("GET", "/"), ""))
                .await
                .unwrap();
            assert_eq!(answer.status, 200);
            for _ in 0..3 {
                let asked = with_body(request("POST", "/echo"), body.clone());
                let answer = client.ask(asked).await.unwrap();
                assert!(answer.body == body, "h2 upstream: {two}");
            }
            let line = bench.line("/echo");
            assert_eq!(line.summary(), "200 - via_upstream");
            assert_eq!(line.0["bytes_received"], 300_000);
            assert_eq!(line.0["bytes_sent"], 300_000);
            assert_eq!(line.0["protocol"], "HTTP/2");
        }
    });
}

#[test]
fn an_http1_client_is_served_by_an_http2_upstream() {
    run(async {
        let upstream = Server::echo().await;
        let bench = Bench::new(&[upstream.address], |_, cluster| http2(cluster));
        let address = bench.address();
        tokio::task::spawn_blocking(move || {
            let mut client = Raw::connect(address);
            for _ in 0..3 {
                client.send("GET / HTTP/1.1\r\nHost: a.test\r\n\r\n");
                let response = client.response();
                assert_eq!(response.status, 200);
                assert_eq!(response.header("content-length"), Some("0"));
                client.send("POST / HTTP/1.1\r\nHost: a.test\r\ncontent-length: 5\r\n\r\nhello");
                assert_eq!(client.response().text(), "hello");
            }
        })
        .await
        .unwrap();
        assert_eq!(upstream.connections(), 1);
    });
}

#[test]
fn trailers_pass_both_ways_whatever_either_side_speaks() {
    run(async {
        let one = echo_h1();
        let two = Server::echo().await;
        for (address, upstream2) in [(one.address, false), (two.address, true)] {
            let bench = Bench::new(&[address], |_, cluster| {
                if upstream2 {
                    http2(cluster);
                }
            });
            let mut client = Client::connect(bench.address()).await;
            let (response, stream) = client.start(request("POST", "/"), false).await;
            let trailers = fields("x-sum", "42");
            send_all(stream, Bytes::from("body"), Some(trailers.clone()))
                .await
                .unwrap();
            let answer = whole(response.await.unwrap()).await.unwrap();
            assert_eq!(answer.body, "body");
            assert_eq!(answer.trailers, Some(trailers), "h2 upstream: {upstream2}");

            let address = bench.address();
            let all = tokio::task::spawn_blocking(move || {
                let mut client = Raw::connect(address);
                client.send(
                    "POST / HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\
                     Transfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\nX-Sum: 42\r\n\r\n",
                );
                String::from_utf8(client.rest()).unwrap()
            })
            .await
            .unwrap();
            assert!(
                all.ends_with("\r\n4\r\nbody\r\n0\r\nx-sum: 42\r\n\r\n"),
                "{all}"
            );
        }
    });
}

#[test]
fn bytes_flow_both_ways_at_once() {
    run(async {
        let one = echo_h1();
        let two = Server::echo().await;
        for (address, upstream2) in [(one.address, false), (two.address, true)] {
            let bench = Bench::new(&[address], |_, cluster| {
                if upstream2 {
                    http2(cluster);
                }
            });
            // Each piece is sent after the one before it came back.
            let mut client = Client::connect(bench.address()).await;
            let (response, mut stream) = client.start(request("POST", "/"), false).await;
            stream.send_data("first".into(), false).unwrap();
            let mut body = response.await.unwrap().into_body();
            for piece in ["first", "second", "third"] {
                if piece != "first" {
                    stream.send_data(piece.into(), false).unwrap();
                }
                let got = body.data().await.unwrap().unwrap();
                assert_eq!(got, piece);
            }
            stream.send_data(Bytes::new(), true).unwrap();
            assert!(read_all(body).await.unwrap().0.is_empty());

            let address = bench.address();
            tokio::task::spawn_blocking(move || {
                let mut client = Raw::connect(address);
                client
                    .send("POST / HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n");
                client.send("5\r\nfirst\r\n");
                let head = read_head(client.stream()).unwrap();
                assert!(head.starts_with("HTTP/1.1 200"), "{head}");
                let mut piece = [0; 10];
                client.stream().read_exact(&mut piece).unwrap();
                assert_eq!(&piece, b"5\r\nfirst\r\n");
                for _ in 0..3 {
                    client.send("5\r\nagain\r\n");
                    client.stream().read_exact(&mut piece).unwrap();
                    assert_eq!(&piece, b"5\r\nagain\r\n");
                }
            })
            .await
            .unwrap();
        }
    });
}

#[test]
fn a_stream_the_client_resets_is_reset_upstream() {
    run(async {
        let (seen, mut resets) = tokio::sync::mpsc::unbounded_channel();
        let seen_count = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&seen_count);
        let upstream = Server::start(
            |_| {},
            move |_, mut respond| {
                let seen = seen.clone();
                counter.fetch_add(1, SeqCst);
                async move {
                    let reason = poll_fn(|cx| respond.poll_reset(cx)).await;
                    seen.send(reason.ok()).unwrap();
                }
            },
        )
        .await;
        let bench = Bench::new(&[upstream.address], |_, cluster| http2(cluster));
        let mut client = Client::connect(bench.address()).await;
        let (response, mut stream) = client.start(request("POST", "/reset"), false).await;
        stream.send_data("x".into(), false).unwrap();
        eventually("the request is upstream", || seen_count.load(SeqCst) == 1);
        stream.send_reset(Reason::CANCEL);
        drop(response);
        assert_eq!(resets.recv().await.unwrap(), Some(Reason::CANCEL));
        assert_eq!(bench.line("/reset").summary(), "0 DR http2.remote_reset");
        // Its neighbours live on, until the client leaves.
        let _missing = client.start(request("GET", "/missing"), true).await;
        eventually("both requests are upstream", || {
            seen_count.load(SeqCst) == 2
        });
        client.closed.abort();
        assert_eq!(
            bench.line("/missing").summary(),
            "0 DC downstream_remote_disconnect"
        );
    });
}

#[test]
fn upstream_resets_are_told_as_envoy_tells_them() {
    run(async {
        for (reason, body, summary, tries) in [
            (
                Reason::INTERNAL_ERROR,
                "reset reason: remote reset",
                "503 UR upstream_reset_before_response_started{remote_reset}",
                1,
            ),
            (
                Reason::REFUSED_STREAM,
                "retried and the latest reset reason: remote refused stream reset",
                "503 URX,UR upstream_reset_before_response_started{remote_refused_stream_reset}",
                3,
            ),
        ] {
            let count = Arc::new(AtomicUsize::new(0));
            let counter = count.clone();
            let upstream = Server::start(
                |_| {},
                move |_, mut respond| {
                    counter.fetch_add(1, SeqCst);
                    async move { respond.send_reset(reason) }
                },
            )
            .await;
            let bench = Bench::new(&[upstream.address], |route, cluster| {
                *route = istio(route.clone(), 0);
                route.retry = Some(istio_retries());
                http2(cluster);
            });
            let mut client = Client::connect(bench.address()).await;
            let answer = client
                .ask(with_body(request("GET", "/x"), ""))
                .await
                .unwrap();
            assert_eq!(answer.status, 503);
            let text = String::from_utf8(answer.body.to_vec()).unwrap();
            assert!(text.ends_with(body), "{text}");
            assert_eq!(bench.line("/x").summary(), summary);
            assert_eq!(count.load(SeqCst), tries);
            assert_eq!(upstream.connections(), 1);
        }
    });
}

#[test]
fn a_response_the_upstream_resets_is_reset_for_the_client() {
    run(async {
        let upstream = Server::start(
            |_| {},
            |_, mut respond| async move {
                let mut stream = respond.send_response(Response::new(()), false).unwrap();
                stream.send_data("part".into(), false).unwrap();
                tokio::time::sleep(Duration::from_millis(50)).await;
                stream.send_reset(Reason::INTERNAL_ERROR);
            },
        )
        .await;
        let bench = Bench::new(&[upstream.address], |_, cluster| http2(cluster));
        let mut client = Client::connect(bench.address()).await;
        let error = client
            .ask(with_body(request("GET", "/cut"), ""))
            .await
            .unwrap_err();
        assert_eq!(error.reason(), Some(Reason::INTERNAL_ERROR));
        let summary = "200 UR upstream_reset_after_response_started{remote_reset}";
        assert_eq!(bench.line("/cut").summary(), summary);
    });
}

#[test]
fn one_upstream_connection_is_shared_within_its_limit() {
    run(async {
        for (limit, connections) in [(None, 1), (Some(10), 4)] {
            let upstream = Server::start(
                move |builder| {
                    if let Some(limit) = limit {
                        builder.max_concurrent_streams(limit);
                    }
                },
                |_, mut respond| async move {
                    tokio::time::sleep(Duration::from_millis(200)).await;
                    let _ = respond.send_response(Response::new(()), true);
                },
            )
            .await;
            let bench = Bench::new(&[upstream.address], |_, cluster| http2(cluster));
            let mut client = Client::connect(bench.address()).await;
            // The upstream's settings are known after the first request.
            let first = client
                .ask(with_body(request("GET", "/x"), ""))
                .await
                .unwrap();
            assert_eq!(first.status, 200);
            let mut waiting = Vec::new();
            for _ in 0..40 {
                let (response, _) = client.start(request("GET", "/x"), true).await;
                waiting.push(response);
            }
            for response in waiting {
                assert_eq!(response.await.unwrap().status(), StatusCode::OK);
            }
            assert_eq!(upstream.connections(), connections, "{limit:?}");
        }
    });
}

#[test]
fn hints_reach_an_http2_client() {
    run(async {
        let upstream = Scripted::answering(
            "HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok",
        );
        let bench = Bench::new(&[upstream.address], |_, _| {});
        let mut client = Client::connect(bench.address()).await;
        let (mut response, _) = client.start(request("GET", "/"), true).await;
        let hints = poll_fn(|cx| response.poll_informational(cx)).await;
        let hints = hints.unwrap().unwrap();
        assert_eq!(hints.status().as_u16(), 103);
        assert_eq!(hints.headers()["link"], "</a>");
        assert_eq!(whole(response.await.unwrap()).await.unwrap().body, "ok");
    });
}

#[test]
fn draining_tells_http2_clients_to_go_and_finishes_their_requests() {
    run(async {
        let upstream = Scripted::start(|mut stream, number| {
            read_head(&mut stream);
            if number == 1 {
                std::thread::park_timeout(Duration::from_millis(300));
            }
            let _ = stream
                .write_all(b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\nok");
            wait_closed(&mut stream);
        });
        let bench = Bench::new(&[upstream.address], |_, _| {});
        let mut idle = Client::connect(bench.address()).await;
        let answer = idle.ask(with_body(request("GET", "/"), "")).await.unwrap();
        assert_eq!(answer.status, 200);
        let mut client = Client::connect(bench.address()).await;
        let (response, _) = client.start(request("GET", "/"), true).await;
        eventually("the request is upstream", || upstream.connections() == 2);
        bench
            .gateway
            .remove(vec![Key::Listener(crate::support::build::listener_key(80))]);
        assert_eq!(whole(response.await.unwrap()).await.unwrap().body, "ok");
        idle.closed.await.unwrap().unwrap();
        client.closed.await.unwrap().unwrap();
    });
}

#[test]
fn a_client_that_only_resets_is_sent_away() {
    run(async {
        let upstream = Scripted::start(|mut stream, _| {
            read_head(&mut stream);
            wait_closed(&mut stream);
        });
        let bench = Bench::new(&[upstream.address], |_, _| {});
        let mut client = Client::connect(bench.address()).await;
        for _ in 0..500 {
            if poll_fn(|cx| client.send.poll_ready(cx)).await.is_err() {
                break;
            }
            let Ok((_, mut stream)) = client.send.send_request(request("GET", "/x"), true) else {
                break;
            };
            tokio::time::sleep(Duration::from_millis(2)).await;
            stream.send_reset(Reason::CANCEL);
        }
        let error = client.closed.await.unwrap().unwrap_err();
        assert_eq!(error.reason(), Some(Reason::ENHANCE_YOUR_CALM));
        assert!(upstream.connections() < 200, "{}", upstream.connections());
    });
}

#[test]
fn an_upload_larger_than_every_window_arrives() {
    run(async {
        let upstream = Server::start(
            |_| {},
            |request, mut respond| async move {
                // Reads nothing for a while: the client is held back, not the gateway filled up.
                tokio::time::sleep(Duration::from_millis(100)).await;
                let Ok((body, _)) = read_all(request.into_body()).await else {
                    return;
                };
                let stream = respond.send_response(Response::new(()), false).unwrap();
                let _ = send_all(stream, body.len().to_string().into(), None).await;
            },
        )
        .await;
        let bench = Bench::new(&[upstream.address], |_, cluster| http2(cluster));
        let mut client = Client::connect(bench.address()).await;
        let body = Bytes::from(vec![1; 8_000_000]);
        let answer = client
            .ask(with_body(request("POST", "/"), body))
            .await
            .unwrap();
        assert_eq!(answer.body, "8000000");
    });
}

#[test]
fn a_grpc_status_in_the_head_is_repeated_where_the_policy_says_so() {
    run(async {
        let count = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&count);
        let upstream = Server::start(
            |_| {},
            move |_, mut respond| {
                counter.fetch_add(1, SeqCst);
                async move {
                    let response = Response::builder()
                        .header("content-type", "application/grpc")
                        .header("grpc-status", "14");
                    let _ = respond.send_response(response.body(()).unwrap(), true);
                }
            },
        )
        .await;
        let bench = Bench::new(&[upstream.address], |route, cluster| {
            *route = istio(route.clone(), 0);
            route.retry = Some(istio_retries());
            http2(cluster);
        });
        let mut client = Client::connect(bench.address()).await;
        let mut asked = with_body(request("POST", "/s/m"), "x");
        let grpc = "application/grpc".parse().unwrap();
        asked.headers_mut().insert("content-type", grpc);
        let answer = client.ask(asked).await.unwrap();
        assert_eq!(answer.status, 200);
        assert_eq!(answer.headers["grpc-status"], "14");
        assert_eq!(count.load(SeqCst), 3);
        assert_eq!(bench.line("/s/m").summary(), "200 URX via_upstream");
    });
}

#[test]
fn an_upstream_that_goes_away_all_the_time_fails_no_request() {
    run(async {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let connections = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&connections);
        // Says goodbye after three streams on each connection, and answers those.
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                counter.fetch_add(1, SeqCst);
                tokio::spawn(async move {
                    let mut connection = h2::server::handshake(stream).await.unwrap();
                    let mut served = 0;
                    while let Some(Ok((_, mut respond))) = connection.accept().await {
                        served += 1;
                        if served == 3 {
                            connection.graceful_shutdown();
                        }
                        tokio::spawn(async move {
                            tokio::time::sleep(Duration::from_millis(5)).await;
                            let _ = respond.send_response(Response::new(()), true);
                        });
                    }
                });
            }
        });
        let bench = Bench::new(&[address], |_, cluster| http2(cluster));
        let mut client = Client::connect(bench.address()).await;
        for _ in 0..20 {
            let mut waiting = Vec::new();
            for _ in 0..5 {
                waiting.push(client.start(request("GET", "/x"), true).await.0);
            }
            for response in waiting {
                assert_eq!(response.await.unwrap().status(), StatusCode::OK);
            }
        }
        assert!(connections.load(SeqCst) > 5, "{connections:?}");
    });
}
