//! Connections that come to nothing: what the client and the log are told, as Envoy was seen to do
//! it.

use crate::bench::{Bench, Server, carrying, connect, ending, refusing, rest};
use crate::support::build::*;
use gwanmun_ir::{ClusterKey, Failure, L4Target, Target};
use std::{
    io::Write,
    net::{SocketAddr, TcpListener},
    time::Duration,
};

const REFUSED: &str = "delayed_connect_error:_Connection_refused";

#[test]
fn a_cluster_without_endpoints_is_uh() {
    let bench = Bench::start(carrying(&[], |_| {}));
    assert_eq!(ending(&mut bench.connect(80)), (Vec::new(), "end"));
    assert_eq!(bench.summary(), "UH - - 0 0 - servers -");
    assert_eq!(
        bench.metric(
            "envoy_cluster_upstream_cx_none_healthy",
            &["cluster_name=\"servers\""]
        ),
        Some(1)
    );
}

#[test]
fn a_refused_connection_is_uf_urx() {
    let refused = refusing();
    let bench = Bench::start(carrying(&[refused], |_| {}));
    assert_eq!(ending(&mut bench.connect(80)), (Vec::new(), "end"));
    assert_eq!(
        bench.summary(),
        format!("UF,URX - {REFUSED} 0 0 {refused} servers -")
    );
    assert_eq!(
        bench.metric(
            "envoy_cluster_upstream_cx_connect_attempts_exceeded",
            &["cluster_name=\"servers\""]
        ),
        Some(1)
    );
    assert_eq!(
        bench.metric(
            "istio_tcp_connections_closed_total",
            &[
                "response_flags=\"UF,URX\"",
                "destination_workload=\"server\""
            ]
        ),
        Some(1)
    );
}

#[test]
fn other_endpoints_are_tried_as_often_as_the_rule_says() {
    let server = Server::named("served");
    let endpoints = [refusing(), refusing(), server.address];
    let bench = Bench::start(carrying(&endpoints, |route| route.connect_attempts = 3));
    for _ in 0..6 {
        assert_eq!(rest(&mut bench.connect(80)), b"served");
    }
    let dead = [refusing(), refusing(), refusing()];
    let bench = Bench::start(carrying(&dead, |route| route.connect_attempts = 3));
    assert_eq!(ending(&mut bench.connect(80)), (Vec::new(), "end"));
    let summary = bench.summary();
    assert!(summary.starts_with("UF,URX - "), "{summary}");
    let cluster = ["cluster_name=\"servers\""];
    assert_eq!(
        bench.metric("envoy_cluster_upstream_cx_connect_fail", &cluster),
        Some(3)
    );
}

/// An address where connections are never established.
fn silent() -> (SocketAddr, TcpListener, Vec<std::net::TcpStream>) {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    socket
        .bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into())
        .unwrap();
    socket.listen(0).unwrap();
    let listener = TcpListener::from(socket);
    let address = listener.local_addr().unwrap();
    // The backlog is full after these.
    let waiting = (0..4)
        .filter_map(|_| {
            std::net::TcpStream::connect_timeout(&address, Duration::from_millis(200)).ok()
        })
        .collect();
    (address, listener, waiting)
}

#[test]
fn a_connection_that_takes_too_long_is_uf_urx_without_a_reason() {
    let (address, _listener, _waiting) = silent();
    let bench = Bench::start(carrying(&[address], |_| {}));
    assert_eq!(ending(&mut bench.connect(80)), (Vec::new(), "end"));
    assert_eq!(
        bench.summary(),
        format!("UF,URX - - 0 0 {address} servers -")
    );
}

#[test]
fn rules_that_lead_nowhere_close_the_connection() {
    let to = |target, weight| vec![L4Target { target, weight }];
    let unknown = Target::Cluster(ClusterKey::new("nowhere"));
    for (targets, line) in [
        (Vec::new(), "- invalid_backend - 0 0 - - -"),
        (
            to(Target::Fail(Failure::InvalidBackend), 1),
            "- invalid_backend - 0 0 - - -",
        ),
        (
            to(Target::Cluster(ClusterKey::new("servers")), 0),
            "- invalid_backend - 0 0 - - -",
        ),
        (to(unknown, 1), "NC cluster_not_found - 0 0 - - -"),
    ] {
        let bench = Bench::start(carrying(&[], |route| route.targets = targets));
        assert_eq!(ending(&mut bench.connect(80)), (Vec::new(), "end"));
        assert_eq!(bench.summary(), line);
    }
}

#[test]
fn a_chain_without_a_rule_resets_the_connection() {
    let bench = Bench::start(vec![listener(80), of_chain(tcp(chain("tcp", 80)))]);
    assert_eq!(ending(&mut bench.connect(80)), (Vec::new(), "reset"));
    assert_eq!(bench.summary(), "NR filter_chain_not_found - 0 0 - - -");
    assert_eq!(
        bench.metric("envoy_listener_no_filter_chain_match", &[]),
        Some(1)
    );
}

#[test]
fn what_the_client_said_is_not_sent_before_there_is_a_server() {
    let server = Server::echo();
    let bench = Bench::start(carrying(&[], |_| {}));
    let mut early = bench.connect(80);
    // Whether this arrives before the close decides between end and reset.
    let _ = early.write_all(b"x");
    let _ = ending(&mut early);
    assert_eq!(server.connections(), 0);
    let line = bench.summary();
    assert_eq!(line, "UH - - 0 0 - servers -");
    // The listener lives on.
    bench
        .gateway()
        .upsert(crate::bench::cluster_of("servers", &[server.address]).to_vec());
    let mut client = connect(bench.address(80));
    client.write_all(b"y").unwrap();
    assert_eq!(crate::bench::exactly(&mut client, 1), b"y");
}
