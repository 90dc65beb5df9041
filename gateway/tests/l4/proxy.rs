//! PROXY protocol headers of clients.

use crate::bench::{Bench, Server, carrying, ending, exactly};
use crate::support::{
    TestGateway,
    build::*,
    client::read_response,
    tls::{Authority, Client},
    upstream::Upstream,
};
use gwanmun_ir::{ProxyProtocol, Resource};
use std::{
    io::{Read, Write},
    net::TcpStream,
    time::Duration,
};

const V1: &[u8] = b"PROXY TCP4 203.0.113.7 198.51.100.2 56324 443\r\n";
const ADDRESSES: [u8; 12] = [203, 0, 113, 7, 198, 51, 100, 2, 0xdc, 4, 1, 0xbb];

fn v2(command: u8, rest: &[u8]) -> Vec<u8> {
    let length = u16::try_from(rest.len()).unwrap().to_be_bytes();
    let start = b"\r\n\r\n\0\r\nQUIT\n";
    [&start[..], &[command, 0x11], &length, rest].concat()
}

/// The same resources, the listener with PROXY headers from these peers.
fn trusting(mut resources: Vec<Resource>, trusted: &[&str]) -> Vec<Resource> {
    for resource in &mut resources {
        if let Resource::Listener(listener) = resource {
            let trusted = trusted.iter().map(|net| net.parse().unwrap()).collect();
            listener.proxy_protocol = Some(ProxyProtocol { trusted });
        }
    }
    resources
}

#[test]
fn the_announced_client_is_in_the_log() {
    let server = Server::echo();
    let with_tlvs = v2(0x21, &[&ADDRESSES[..], &[4, 0, 2, 0, 0]].concat());
    for header in [V1.to_vec(), v2(0x21, &ADDRESSES), with_tlvs] {
        for step in [1, 1000] {
            let bench = Bench::start(trusting(carrying(&[server.address], |_| {}), &[]));
            let mut client = bench.connect(80);
            client.set_nodelay(true).unwrap();
            // What follows in the same segment is the client's.
            for piece in [&header[..], b"hello"].concat().chunks(step) {
                client.write_all(piece).unwrap();
            }
            assert_eq!(exactly(&mut client, 5), b"hello");
            drop(client);
            let [line] = bench.lines(1).try_into().unwrap();
            assert_eq!(line["downstream_remote_address"], "203.0.113.7:56324");
            assert_eq!(line["downstream_local_address"], "198.51.100.2:443");
            assert_eq!(line["bytes_received"], 5);
        }
    }
}

#[test]
fn a_proxy_may_speak_for_itself() {
    let server = Server::echo();
    let bench = Bench::start(trusting(carrying(&[server.address], |_| {}), &[]));
    for header in [b"PROXY UNKNOWN\r\n".to_vec(), v2(0x20, &ADDRESSES)] {
        let mut client = bench.connect(80);
        client.write_all(&[&header[..], b"x"].concat()).unwrap();
        assert_eq!(exactly(&mut client, 1), b"x");
    }
    for line in bench.lines(2) {
        let remote = line["downstream_remote_address"].as_str().unwrap();
        assert!(remote.starts_with("127.0.0.1:"), "{remote}");
    }
}

#[test]
fn without_a_valid_header_a_trusted_peer_is_not_served() {
    let server = Server::echo();
    let resources = trusting(carrying(&[server.address], |_| {}), &["127.0.0.0/8"]);
    let bench = Bench::with(resources, |config| {
        config.limits.handshake_timeout = Duration::from_millis(500);
    });
    let long = [b"PROXY UNKNOWN ".to_vec(), vec![b'x'; 200]].concat();
    for bad in [
        &b"GET / HTTP/1.1\r\n\r\n"[..],
        b"PROXY TCP4 nobody nowhere 1 2\r\n",
        &long,
        &v2(0x21, &[1; 5]),
        &v2(0x31, &ADDRESSES),
        // Cut off: the time is over.
        &V1[..20],
        b"",
    ] {
        let mut client = bench.connect(80);
        client.write_all(bad).unwrap();
        let (said, _) = ending(&mut client);
        assert_eq!(said, b"");
    }
    assert_eq!(server.connections(), 0);
    assert_eq!(
        bench.metric("envoy_listener_downstream_listener_filter_error", &[]),
        Some(7)
    );
}

#[test]
fn the_word_of_others_is_not_taken() {
    let server = Server::echo();
    let resources = trusting(carrying(&[server.address], |_| {}), &["192.0.2.0/24"]);
    let bench = Bench::start(resources);
    let mut client = bench.connect(80);
    client.write_all(V1).unwrap();
    // It is data like any other.
    assert_eq!(exactly(&mut client, V1.len()), V1);
}

#[test]
fn upstreams_are_told_of_the_announced_client() {
    let authority = Authority::new();
    let issued = authority.issue(&["a.test"]);
    let upstream = Upstream::start(false, |asked| {
        let value = |wanted: &str| {
            let found = asked.headers.iter().find(|(name, _)| name == wanted);
            found.map_or("-", |(_, value)| value).to_owned()
        };
        http::Response::new(value("x-forwarded-for").into())
    });
    let mut web = route("web", "web");
    web.action = forward("up");
    let mut secure = route("secure", "secure");
    secure.action = forward("up");
    let mut resources = vec![
        listener(80),
        of_chain(chain("web", 80)),
        of_route(web),
        of_chain(tls(chain("secure", 80), &["cert"])),
        of_route(secure),
        secret("cert", &issued.certificate, &issued.key),
    ];
    resources.extend(cluster("up", &[upstream.address()]));
    let gateway = TestGateway::start();
    gateway.serve(trusting(resources, &["127.0.0.1/32"]));
    let mut client = TcpStream::connect(gateway.address(80)).unwrap();
    client
        .set_read_timeout(Some(Duration::from_secs(10)))
        .unwrap();
    client.write_all(V1).unwrap();
    client
        .write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        .unwrap();
    assert_eq!(read_response(&mut client).unwrap().text(), "203.0.113.7");
    // TLS on the same port, after its header.
    let mut tls = Client::new(&authority)
        .connect_after(gateway.address(80), "a.test", &v2(0x21, &ADDRESSES))
        .unwrap();
    assert_eq!(tls.get("a.test", "/").text(), "203.0.113.7");
    // Without a header there is nobody to talk to.
    let mut bare = TcpStream::connect(gateway.address(80)).unwrap();
    bare.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        .unwrap();
    let mut said = Vec::new();
    let _ = bare.read_to_end(&mut said);
    assert_eq!(said, b"");
}
