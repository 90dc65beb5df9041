//! HTTP/2 answers that are given before the request has arrived whole, frame by frame.

use crate::{
    bench::{Bench, Scripted, read_head},
    support::build::hostnames,
};
use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    time::{Duration, Instant},
};

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const WINDOW_UPDATE: u8 = 8;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;
const ACK: u8 = 1;

/// A frame.
#[derive(Debug)]
struct Frame {
    kind: u8,
    flags: u8,
    stream: u32,
    payload: Vec<u8>,
}

/// A client that sees and says every frame.
struct Frames(TcpStream);

impl Frames {
    /// Connects, and begins a POST whose body is still to come.
    fn post(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_nodelay(true).unwrap();
        let mut frames = Self(stream);
        frames
            .0
            .write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
            .unwrap();
        frames.send(SETTINGS, 0, 0, b"");
        // :method POST, :scheme http, :path /, :authority a.test.
        frames.send(HEADERS, END_HEADERS, 1, b"\x83\x86\x84\x41\x06a.test");
        frames
    }

    fn send(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
        let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
        let mut frame = length[1..].to_vec();
        frame.extend([kind, flags]);
        frame.extend(stream.to_be_bytes());
        frame.extend(payload);
        self.0.write_all(&frame).unwrap();
    }

    /// The next frame; nothing if none comes for that long.
    fn next(&mut self, patience: Duration) -> Option<Frame> {
        self.0.set_read_timeout(Some(patience)).unwrap();
        let mut head = [0; 9];
        self.0.read_exact(&mut head).ok()?;
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        let mut payload = vec![0; usize::try_from(length).unwrap()];
        self.0.read_exact(&mut payload).ok()?;
        let stream = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
        if (head[3], head[4]) == (SETTINGS, 0) {
            self.send(SETTINGS, ACK, 0, b"");
        }
        Some(Frame {
            kind: head[3],
            flags: head[4],
            stream,
            payload,
        })
    }

    /// The next frame of this kind.
    fn until(&mut self, kind: u8) -> Frame {
        loop {
            let frame = self.next(Duration::from_secs(10)).expect("a frame");
            if frame.kind == kind {
                return frame;
            }
            assert_ne!(frame.kind, RST_STREAM, "{frame:?}");
        }
    }
}

/// A gateway that knows no route for what is asked.
fn nothing_here() -> Bench {
    Bench::new(&[], |route, _| route.hostnames = hostnames(&["other.test"]))
}

#[test]
fn a_client_may_end_a_request_that_was_answered_already() {
    let bench = nothing_here();
    let mut client = Frames::post(bench.address());
    let head = client.until(HEADERS);
    assert_eq!(
        head.flags & END_STREAM,
        END_STREAM,
        "the answer is complete"
    );
    assert!(
        client
            .next(Duration::from_millis(100))
            .is_none_or(|frame| frame.kind == SETTINGS),
        "nothing takes the stream away"
    );
    client.send(DATA, END_STREAM, 1, b"hello");
    // Some clients look at what became of the stream only when something comes.
    let ping = client.until(PING);
    assert_eq!((ping.flags & ACK, ping.payload.len()), (0, 8));
    client.send(PING, ACK, 0, &ping.payload);
    assert_eq!(
        client
            .next(Duration::from_millis(1500))
            .map(|frame| frame.kind),
        None
    );
}

#[test]
fn several_requests_may_end_after_their_answers() {
    let bench = nothing_here();
    let mut client = Frames::post(bench.address());
    for stream in [3, 5] {
        client.send(HEADERS, END_HEADERS, stream, b"\x83\x86\x84\x41\x06a.test");
    }
    for _ in 0..3 {
        client.until(HEADERS);
    }
    for stream in [1, 3, 5] {
        client.send(DATA, END_STREAM, stream, b"hello");
        let ping = client.until(PING);
        client.send(PING, ACK, 0, &ping.payload);
    }
}

#[test]
fn what_comes_after_the_answer_is_taken_and_thrown_away() {
    let upstream = Scripted::start(|mut stream, _| {
        read_head(&mut stream);
        let _ = stream.write_all(b"HTTP/1.1 403 Forbidden\r\ncontent-length: 2\r\n\r\nno");
    });
    let bench = Bench::new(&[upstream.address], |_, _| {});
    let mut client = Frames::post(bench.address());
    client.until(HEADERS);
    let body = client.until(DATA);
    assert_eq!(
        (body.flags & END_STREAM, body.payload.as_slice()),
        (END_STREAM, &b"no"[..])
    );
    // More than half of what a stream may have on its way: the window is given back.
    for _ in 0..12 {
        client.send(DATA, 0, 1, &[b'x'; 16_384]);
    }
    while client.until(WINDOW_UPDATE).stream != 1 {}
    client.send(DATA, END_STREAM, 1, b"");
    client.until(PING);
}

#[test]
fn a_client_that_does_not_end_its_request_is_asked_to_stop() {
    let bench = nothing_here();
    let mut client = Frames::post(bench.address());
    client.until(HEADERS);
    let answered = Instant::now();
    let reset = loop {
        let frame = client.next(Duration::from_secs(10)).expect("a reset");
        if frame.kind == RST_STREAM {
            break frame;
        }
    };
    assert_eq!(
        (reset.stream, reset.payload.as_slice()),
        (1, &[0; 4][..]),
        "NO_ERROR"
    );
    let waited = answered.elapsed();
    assert!(
        waited > Duration::from_millis(500) && waited < Duration::from_secs(5),
        "{waited:?}"
    );
}
