//! WebSockets and other changes of protocol.

use crate::bench::{Bench, Scripted, read_head, wait_closed};
use std::{
    io::{Read, Write},
    net::TcpStream,
};
use tokio_tungstenite::tungstenite::{self, Message};

fn echo() -> Scripted {
    Scripted::start(|stream: TcpStream, _| {
        let Ok(mut socket) = tungstenite::accept(stream) else {
            return;
        };
        while let Ok(message) = socket.read() {
            if message.is_close() {
                break;
            }
            if socket.send(message).is_err() {
                break;
            }
        }
    })
}

#[test]
fn a_websocket_carries_messages_both_ways() {
    let upstream = echo();
    let bench = Bench::new(&[upstream.address], |_, _| {});
    let stream = TcpStream::connect(bench.address()).unwrap();
    let (mut socket, response) = tungstenite::client("ws://a.test/ws", stream).unwrap();
    assert_eq!(response.status(), 101);
    for size in [1, 100, 10_000, 1_000_000] {
        let message = Message::binary(vec![7_u8; size]);
        socket.send(message.clone()).unwrap();
        assert_eq!(socket.read().unwrap(), message);
    }
    drop(socket);
    let line = bench.line("/ws");
    assert_eq!(line.summary(), "101 DC downstream_remote_disconnect");
    assert!(line.0["bytes_sent"].as_u64().unwrap() > 1_000_000);
}

#[test]
fn bytes_right_behind_a_101_are_not_lost() {
    let upstream = Scripted::start(|mut stream, _| {
        read_head(&mut stream).unwrap();
        stream
            .write_all(b"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\nhello")
            .unwrap();
        let mut bytes = [0; 5];
        stream.read_exact(&mut bytes).unwrap();
        stream.write_all(&bytes).unwrap();
    });
    let bench = Bench::new(&[upstream.address], |_, _| {});
    let mut client = bench.connect();
    client.send(
        "GET /ws HTTP/1.1\r\nHost: a.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nworld",
    );
    let head = read_head(client.stream()).unwrap();
    assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
    assert!(head.contains("connection: Upgrade\r\n"), "{head}");
    assert_eq!(client.rest(), b"helloworld");
    let summary = "101 UC upstream_reset_after_response_started{connection_termination}";
    assert_eq!(bench.line("/ws").summary(), summary);
}

#[test]
fn a_refused_upgrade_closes_the_connection() {
    let upstream = Scripted::answering("HTTP/1.1 403 Forbidden\r\ncontent-length: 2\r\n\r\nno");
    let bench = Bench::new(&[upstream.address], |_, _| {});
    let mut client = bench.connect();
    client.send(
        "GET /ws HTTP/1.1\r\nHost: a.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
    );
    let response = client.response();
    assert_eq!((response.status, response.text().as_str()), (403, "no"));
    assert_eq!(response.header("connection"), Some("close"));
    assert_eq!(bench.line("/ws").summary(), "403 - via_upstream");
}

#[test]
fn other_protocols_are_refused_and_h2c_is_ignored() {
    let upstream = Scripted::start(|mut stream, _| {
        while let Some(head) = read_head(&mut stream) {
            assert!(!head.contains("upgrade"), "{head}");
            stream
                .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")
                .unwrap();
        }
    });
    let bench = Bench::new(&[upstream.address], |_, _| {});
    let mut client = bench.connect();
    client.send("GET /foo HTTP/1.1\r\nHost: a.test\r\nConnection: Upgrade\r\nUpgrade: foo\r\n\r\n");
    let response = client.response();
    assert_eq!(response.status, 403);
    assert_eq!(response.header("connection"), Some("close"));
    assert_eq!(bench.line("/foo").summary(), "403 - upgrade_failed");
    let mut client = bench.connect();
    client.send(
        "GET /h2c HTTP/1.1\r\nHost: a.test\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n\
         HTTP2-Settings: AAMAAABkAAQAAP__\r\n\r\n",
    );
    assert_eq!(client.response().text(), "ok");
}

#[test]
fn a_client_that_leaves_ends_the_upgraded_upstream() {
    let (closed, seen) = std::sync::mpsc::channel();
    let closed = parking_lot::Mutex::new(closed);
    let upstream = Scripted::start(move |mut stream, _| {
        read_head(&mut stream).unwrap();
        stream
            .write_all(b"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n")
            .unwrap();
        wait_closed(&mut stream);
        closed.lock().send(()).unwrap();
    });
    let bench = Bench::new(&[upstream.address], |_, _| {});
    let mut client = bench.connect();
    client.send(
        "GET /ws HTTP/1.1\r\nHost: a.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
    );
    read_head(client.stream()).unwrap();
    drop(client);
    seen.recv_timeout(std::time::Duration::from_secs(5))
        .unwrap();
}
