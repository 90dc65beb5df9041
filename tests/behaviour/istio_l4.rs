//! Istio's `tcp` rules and PROXY headers, with real sockets.

use crate::support::{
    Directory, Gwanmun, Network, backend, eventually, istio_gateway, virtual_service,
};
use std::{
    io::{Read as _, Write as _},
    net::{Shutdown, TcpListener, TcpStream},
    thread,
};

const GATEWAY: &str = "apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: bytes}
spec:
  selector: {istio: ingressgateway}
  servers: [{port: {number: 8080, name: tcp, protocol: TCP}, hosts: ['*']}]
---
";

fn route(service: &str) -> String {
    format!(
        "apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {{name: bytes}}
spec:
  hosts: ['*']
  gateways: [bytes]
  tcp: [{{match: [{{port: 8080}}], route: [{{destination: {{host: {service}}}}}]}}]
"
    )
}

/// Greets everyone first, reads to the end and says what it got.
fn greeter(address: &str) {
    let listener = TcpListener::bind((address, 9000)).unwrap();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            // A peer that has gone already needs no greeting.
            _ = stream.write_all(b"hello\n");
            let mut got = Vec::new();
            _ = stream.read_to_end(&mut got);
            _ = stream.write_all(&got);
        }
    });
}

fn talk(running: &Gwanmun, port: u16, text: &str) -> String {
    let mut stream = TcpStream::connect(running.address(port)).unwrap();
    let mut answer = String::new();
    _ = stream.write_all(text.as_bytes());
    _ = stream.shutdown(Shutdown::Write);
    _ = stream.read_to_string(&mut answer);
    answer
}

#[test]
fn bytes_go_both_ways_and_each_side_may_end_first() {
    let (directory, network) = (Directory::new(), Network::new());
    greeter(&network.address(1));
    directory.write("gateway.yaml", GATEWAY);
    directory.write("backend.yaml", &backend("greeter", &network.address(1)));
    directory.write("route.yaml", &route("greeter"));
    let running = Gwanmun::run(&directory, &[]);
    assert_eq!(talk(&running, 8080, "bye"), "hello\nbye");
}

#[test]
fn a_port_is_bound_while_a_virtual_service_brings_routes() {
    let (directory, network) = (Directory::new(), Network::new());
    greeter(&network.address(1));
    directory.write("gateway.yaml", GATEWAY);
    directory.write("backend.yaml", &backend("greeter", &network.address(1)));
    let running = Gwanmun::run(&directory, &[]);
    assert_eq!(running.count_errors("listening on"), 0);
    running.wait_error("GWM0012");
    directory.write("route.yaml", &route("greeter"));
    running.wait_error("listening on");
    eventually(
        "an answer",
        || talk(&running, 8080, "1"),
        |answer| answer == "hello\n1",
    );
    directory.remove("route.yaml");
    let address = running.address(8080);
    eventually(
        "a closed port",
        || TcpStream::connect(&address).is_err(),
        |closed| *closed,
    );
}

#[test]
fn an_unknown_destination_closes_the_connection() {
    let directory = Directory::new();
    directory.write("gateway.yaml", GATEWAY);
    directory.write("route.yaml", &route("nobody"));
    let running = Gwanmun::run(&directory, &[]);
    assert_eq!(talk(&running, 8080, ""), "");
    let line = running.wait_output("\"- - -\" 0 ");
    assert!(line.contains("\"- - -\" 0 NC"), "{line}");
}

#[test]
fn the_upstream_is_told_of_the_client_by_a_proxy_header() {
    let (directory, network) = (Directory::new(), Network::new());
    greeter(&network.address(1));
    directory.write("gateway.yaml", GATEWAY);
    directory.write("backend.yaml", &backend("greeter", &network.address(1)));
    directory.write("route.yaml", &route("greeter"));
    directory.write(
        "rule.yaml",
        "apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: greeter}
spec: {host: greeter, trafficPolicy: {proxyProtocol: {version: V1}}}
",
    );
    let running = Gwanmun::run(&directory, &[]);
    let answer = talk(&running, 8080, "bye");
    assert!(
        answer.starts_with("hello\nPROXY TCP4 127.0.0.1 127.0.0.1 "),
        "{answer}"
    );
    assert!(answer.ends_with("\r\nbye"), "{answer}");
}

#[test]
fn a_trusted_peers_proxy_header_names_the_client() {
    let (directory, network) = (Directory::new(), Network::new());
    let gateway = istio_gateway(80).replace(
        "{name: istio-gw}",
        "{name: istio-gw, annotations: {gwanmun.io/proxy-protocol-from: 127.0.0.0/8}}",
    );
    directory.write("gateway.yaml", &gateway);
    directory.write("backend.yaml", &backend("web", &network.address(1)));
    directory.write(
        "route.yaml",
        &virtual_service("web", "a.example.com", "web"),
    );
    let _backends = Gwanmun::backends(&directory);
    let running = Gwanmun::run(&directory, &[]);
    let request = "GET / HTTP/1.1\r\nhost: a.example.com\r\nconnection: close\r\n\r\n";
    let header = "PROXY TCP4 192.0.2.9 192.0.2.1 4321 80\r\n";
    let ask = |text: &str| {
        let mut stream = TcpStream::connect(running.address(80)).unwrap();
        let mut answer = String::new();
        _ = stream.write_all(text.as_bytes());
        _ = stream.read_to_string(&mut answer);
        answer
    };
    let answer = ask(&format!("{header}{request}"));
    assert!(
        answer.contains("\"x-forwarded-for\": \"192.0.2.9\""),
        "{answer}"
    );
    // Its connections must begin with one.
    assert!(!ask(request).contains("200 OK"));
}
