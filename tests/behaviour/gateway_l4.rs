//! TLSRoutes, TCPRoutes and UDPRoutes of the Gateway API, with `openssl s_client`, `curl` and
//! sockets.

use crate::support::{
    Answer, Authority, DEADLINE, Directory, Gwanmun, Network, backend, curl, datagram,
    datagram_greeter, eventually, greeter, tls_server,
};
use std::{
    collections::BTreeSet,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{Shutdown, TcpStream, UdpSocket},
    process::{Command, Stdio},
};

fn gateway(listeners: &str) -> String {
    format!(
        "apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {{name: gw}}
spec:
  gatewayClassName: gwanmun
  listeners:
{listeners}---
"
    )
}

const TCP: &str = "  - {name: tcp, port: 9000, protocol: TCP}\n";

/// A route of the Gateway with this specification after its parents.
fn route(kind: &str, name: &str, more: &str) -> String {
    format!(
        "apiVersion: gateway.networking.k8s.io/v1
kind: {kind}
metadata: {{name: {name}}}
spec:
  parentRefs: [{{name: gw}}]
{more}---
"
    )
}

fn to(service: &str) -> String {
    format!("  rules: [{{backendRefs: [{{name: {service}, port: 80}}]}}]\n")
}

fn run(directory: &Directory) -> Gwanmun {
    let more = ["--map-port", "9000:0", "--map-port", "8443:0"];
    Gwanmun::run(directory, &more)
}

fn talk(running: &Gwanmun, port: u16, text: &str) -> String {
    let mut stream = TcpStream::connect(running.address(port)).unwrap();
    let mut answer = String::new();
    _ = stream.write_all(text.as_bytes());
    _ = stream.shutdown(Shutdown::Write);
    _ = stream.read_to_string(&mut answer);
    answer
}

/// What `openssl s_client` says of a handshake.
fn s_client(running: &Gwanmun, port: u16, more: &[&str]) -> String {
    let output = Command::new("timeout")
        .args([
            "15",
            "openssl",
            "s_client",
            "-connect",
            &running.address(port),
        ])
        .args(more)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let (out, err) = (output.stdout, output.stderr);
    String::from_utf8_lossy(&[out, err].concat()).into_owned()
}

/// The first line that a server says inside TLS before the client has said anything.
fn first_line(running: &Gwanmun, port: u16, more: &[&str]) -> String {
    let mut client = Command::new("timeout")
        .args([
            "15",
            "openssl",
            "s_client",
            "-quiet",
            "-verify_return_error",
        ])
        .args(["-connect", &running.address(port)])
        .args(more)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut line = String::new();
    let mut lines = BufReader::new(client.stdout.take().unwrap());
    lines.read_line(&mut line).unwrap();
    client.kill().unwrap();
    client.wait().unwrap();
    line.trim_end().to_owned()
}

/// `GET https://HOST/` where only this authority is believed.
fn get(directory: &Directory, running: &Gwanmun, port: u16, host: &str) -> Answer {
    let authority = directory.file("authority.pem").display().to_string();
    let to = format!("::{}", running.address(port));
    let url = format!("https://{host}/");
    curl(&["--cacert", &authority, "--connect-to", &to, &url])
}

/// Backends `one` and `two` with TLS of their own.
fn tls_backends(directory: &Directory, network: Network) -> Authority {
    let authority = Authority::new();
    directory.write("authority.pem", &authority.pem());
    let identity = authority.server(&["*.example.com", "*.deep.example.com", "example.com"]);
    for (host, name) in [(1, "one"), (2, "two")] {
        tls_server(name, &network.address(host), &identity, None);
        let manifest = backend(name, &network.address(host));
        directory.write(&format!("{name}.yaml"), &manifest);
    }
    authority
}

#[test]
fn server_names_choose_where_tls_is_passed_through() {
    let (directory, network) = (Directory::new(), Network::new());
    tls_backends(&directory, network);
    let listener = "  - {name: tls, port: 443, protocol: TLS, hostname: '*.example.com', tls: {mode: Passthrough}}\n";
    let hosts = |hosts: &str, service| format!("  hostnames: [{hosts}]\n{}", to(service));
    let manifest = [
        gateway(listener),
        route("TLSRoute", "wild", &hosts("'*.com'", "one")),
        route("TLSRoute", "exact", &hosts("b.example.com", "two")),
        route("TLSRoute", "deep", &hosts("'*.deep.example.com'", "two")),
        route("TLSRoute", "lost", &hosts("lost.example.com", "nobody")),
    ];
    directory.write("gateway.yaml", &manifest.concat());
    let running = run(&directory);
    for (host, backend) in [
        ("a.example.com", "one"),
        ("b.example.com", "two"),
        ("a.deep.example.com", "two"),
        ("x.b.example.com", "one"),
    ] {
        // The certificate of x.b is not for it: the backend's is the one that is seen.
        let answer = get(&directory, &running, 443, host);
        if host == "x.b.example.com" {
            assert_eq!(answer.status, 0, "{answer:?}");
            continue;
        }
        let body = format!("{backend} sni={host}");
        assert!(answer.is(200, &body), "{host}: {answer:?}");
    }
    for refused in [
        &["-servername", "example.com"][..],
        &["-servername", "a.example.org"],
        &["-servername", "lost.example.com"],
        &["-noservername"],
    ] {
        let text = s_client(&running, 443, refused);
        assert!(!text.contains("alert"), "{refused:?} {text}");
        assert!(
            text.contains("no peer certificate available"),
            "{refused:?} {text}"
        );
    }
    let line = running.wait_output("b.example.com");
    assert!(line.contains("\"- - -\" 0 - -"), "{line}");
}

#[test]
fn a_listener_for_any_name_passes_connections_without_one_only_to_routes_of_any_name() {
    let (directory, network) = (Directory::new(), Network::new());
    tls_backends(&directory, network);
    let listener = "  - {name: tls, port: 443, protocol: TLS, tls: {mode: Passthrough}}\n";
    let hosts = format!("  hostnames: [a.example.com]\n{}", to("one"));
    let manifest = [gateway(listener), route("TLSRoute", "a", &hosts)];
    directory.write("gateway.yaml", &manifest.concat());
    let running = run(&directory);
    let answer = get(&directory, &running, 443, "a.example.com");
    assert!(answer.is(200, "one sni=a.example.com"), "{answer:?}");
    let text = s_client(&running, 443, &["-noservername"]);
    assert!(text.contains("no peer certificate available"), "{text}");
}

#[test]
fn modes_are_mixed_on_one_port_by_server_name() {
    let (directory, network) = (Directory::new(), Network::new());
    tls_backends(&directory, network);
    let gateways = Authority::new();
    let names = ["tls.example.com", "web.example.com"];
    directory.write("server.yaml", &gateways.server(&names).secret("server"));
    directory.write("gateways.pem", &gateways.pem());
    directory.write("raw.yaml", &backend("raw", &network.address(3)));
    greeter("hello\n", &network.address(3));
    let tls = "{certificateRefs: [{name: server}]}";
    let listeners = format!(
        "  - {{name: passed, port: 8443, protocol: TLS, hostname: a.example.com, tls: {{mode: Passthrough}}}}
  - {{name: ended, port: 8443, protocol: TLS, hostname: tls.example.com, tls: {tls}}}
  - {{name: web, port: 8443, protocol: HTTPS, hostname: web.example.com, tls: {tls}}}
"
    );
    let hosts = |host: &str, service| format!("  hostnames: [{host}]\n{}", to(service));
    let redirect = "  rules: [{filters: [{type: RequestRedirect, requestRedirect: {hostname: there.example.com}}]}]\n";
    let manifest = [
        gateway(&listeners),
        route("TLSRoute", "passed", &hosts("a.example.com", "one")),
        route("TLSRoute", "ended", &hosts("tls.example.com", "raw")),
        route("HTTPRoute", "web", redirect),
    ];
    directory.write("gateway.yaml", &manifest.concat());
    let running = run(&directory);
    let answer = get(&directory, &running, 8443, "a.example.com");
    assert!(answer.is(200, "one sni=a.example.com"), "{answer:?}");
    let ours = directory.file("gateways.pem").display().to_string();
    // The server speaks first, inside.
    let first = first_line(
        &running,
        8443,
        &["-servername", "tls.example.com", "-CAfile", &ours],
    );
    assert_eq!(first, "hello");
    let to = format!("::{}", running.address(8443));
    let arguments = [
        "--cacert",
        &ours,
        "--connect-to",
        &to,
        "https://web.example.com/",
    ];
    let answer = curl(&arguments);
    assert_eq!(answer.status, 302, "{answer:?}");
}

#[test]
fn terminated_tls_is_encrypted_again_where_a_policy_says_so() {
    let (directory, network) = (Directory::new(), Network::new());
    let backends = tls_backends(&directory, network);
    let gateways = Authority::new();
    let identity = gateways.server(&["tls.example.com"]);
    directory.write("server.yaml", &identity.secret("server"));
    directory.write("authority.pem", &gateways.pem());
    directory.write("backends.yaml", &backends.config_map("backends"));
    let listener = "  - {name: tls, port: 443, protocol: TLS, hostname: tls.example.com, tls: {mode: Terminate, certificateRefs: [{name: server}]}}\n";
    let hosts = format!("  hostnames: [tls.example.com]\n{}", to("one"));
    let policy = "apiVersion: gateway.networking.k8s.io/v1
kind: BackendTLSPolicy
metadata: {name: one}
spec:
  targetRefs: [{group: '', kind: Service, name: one}]
  validation: {caCertificateRefs: [{group: '', kind: ConfigMap, name: backends}], hostname: b.example.com}
";
    let manifest = [
        gateway(listener),
        route("TLSRoute", "tls", &hosts),
        policy.to_owned(),
    ];
    directory.write("gateway.yaml", &manifest.concat());
    let running = run(&directory);
    let ask = || get(&directory, &running, 443, "tls.example.com");
    let answer = ask();
    assert!(answer.is(200, "one sni=b.example.com"), "{answer:?}");
    let wrong = manifest
        .concat()
        .replace("hostname: b.example.com", "hostname: b.example.org");
    directory.write("gateway.yaml", &wrong);
    eventually("a refusal", ask, |answer| answer.status == 0);
}

#[test]
fn the_oldest_tcp_route_of_a_listener_is_used_and_the_next_when_it_goes() {
    let (directory, network) = (Directory::new(), Network::new());
    greeter("old ", &network.address(1));
    greeter("new ", &network.address(2));
    directory.write("gateway.yaml", &gateway(TCP));
    directory.write("old.yaml", &backend("old", &network.address(1)));
    directory.write("new.yaml", &backend("new", &network.address(2)));
    let created = |name: &str, when: &str, service: &str| {
        let created = format!("name: {name}, creationTimestamp: '{when}'");
        route("TCPRoute", name, &to(service)).replace(&format!("name: {name}"), &created)
    };
    directory.write("a.yaml", &created("a", "2026-02-02T00:00:00Z", "new"));
    directory.write("b.yaml", &created("b", "2026-01-01T00:00:00Z", "old"));
    let running = run(&directory);
    for _ in 0..20 {
        assert_eq!(talk(&running, 9000, "bye"), "old bye");
    }
    directory.remove("b.yaml");
    let answer = || talk(&running, 9000, "bye");
    eventually("the younger route", answer, |answer| answer == "new bye");
}

#[test]
fn connections_are_shared_out_by_weight() {
    let (directory, network) = (Directory::new(), Network::new());
    for (host, name) in [(1, "one"), (2, "two"), (3, "three")] {
        greeter(name, &network.address(host));
        let manifest = backend(name, &network.address(host));
        directory.write(&format!("{name}.yaml"), &manifest);
    }
    let weights = "  rules: [{backendRefs: [{name: one, port: 80, weight: 70}, {name: two, port: 80, weight: 30}, {name: three, port: 80, weight: 0}]}]\n";
    let manifest = gateway(TCP) + &route("TCPRoute", "weights", weights);
    directory.write("gateway.yaml", &manifest);
    let running = run(&directory);
    let answers: Vec<String> = (0..500).map(|_| talk(&running, 9000, "")).collect();
    let of = |name: &str| answers.iter().filter(|answer| *answer == name).count();
    let (one, two) = (of("one"), of("two"));
    // Seven standard deviations.
    assert!(
        one + two == 500 && (280..=420).contains(&one),
        "{one} {two}"
    );
}

#[test]
fn backends_of_another_namespace_need_its_grant() {
    let (directory, network) = (Directory::new(), Network::new());
    greeter("there ", &network.address(1));
    let there = backend("there", &network.address(1))
        .replace("metadata: {", "metadata: {namespace: other, ");
    directory.write("there.yaml", &there);
    let rules = to("there").replace("name: there", "name: there, namespace: other");
    directory.write(
        "gateway.yaml",
        &(gateway(TCP) + &route("TCPRoute", "tcp", &rules)),
    );
    let grant = "apiVersion: gateway.networking.k8s.io/v1
kind: ReferenceGrant
metadata: {name: grant, namespace: other}
spec:
  from: [{group: gateway.networking.k8s.io, kind: TCPRoute, namespace: default}]
  to: [{group: '', kind: Service}]
";
    let running = run(&directory);
    assert_eq!(talk(&running, 9000, "x"), "");
    directory.write("grant.yaml", grant);
    let answer = || talk(&running, 9000, "x");
    eventually("an answer", answer, |answer| answer == "there x");
    directory.write("grant.yaml", &grant.replace("TCPRoute", "TLSRoute"));
    eventually("a closed connection", answer, String::is_empty);
}

#[test]
fn a_connection_for_a_backend_that_does_not_exist_is_closed() {
    let directory = Directory::new();
    let manifest = gateway(TCP) + &route("TCPRoute", "a", &to("nobody"));
    directory.write("gateway.yaml", &manifest);
    let running = run(&directory);
    assert_eq!(talk(&running, 9000, ""), "");
}

/// A Service on UDP port 80, one endpoint.
fn udp_backend(name: &str, address: &str) -> String {
    backend(name, address)
        .replace("port: 80, ", "port: 80, protocol: UDP, ")
        .replace("port: 9000}]", "port: 9000, protocol: UDP}]")
        .replace("targetPort: 9000, protocol: UDP}]", "targetPort: 9000}]")
}

#[test]
fn datagrams_are_shared_out_by_weight_per_client_and_stay_together() {
    let (directory, network) = (Directory::new(), Network::new());
    for (host, name) in [(1, "one"), (2, "two"), (3, "three")] {
        datagram_greeter(name, &network.address(host));
        let manifest = udp_backend(name, &network.address(host));
        directory.write(&format!("{name}.yaml"), &manifest);
    }
    let weights = "  rules: [{backendRefs: [{name: one, port: 80, weight: 70}, {name: two, port: 80, weight: 30}, {name: three, port: 80, weight: 0}]}]\n";
    let listener = "  - {name: udp, port: 9000, protocol: UDP}\n";
    let manifest = gateway(listener) + &route("UDPRoute", "weights", weights);
    directory.write("gateway.yaml", &manifest);
    let running = run(&directory);
    let address = running.udp_address(9000);
    let answers: Vec<String> = (0..500)
        .map(|number| datagram(&address, &format!(" {number}")).unwrap())
        .collect();
    let of = |name: &str| {
        let answers = answers.iter().enumerate();
        answers
            .filter(|(number, answer)| **answer == format!("{name} {number}"))
            .count()
    };
    let (one, two) = (of("one"), of("two"));
    assert!(
        one + two == 500 && (280..=420).contains(&one),
        "{one} {two}"
    );
    // Datagrams of one client are one session.
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.connect(&address).unwrap();
    socket.set_read_timeout(Some(DEADLINE)).unwrap();
    let mut answers = BTreeSet::new();
    for _ in 0..50 {
        socket.send(b"").unwrap();
        let mut answer = [0; 16];
        let length = socket.recv(&mut answer).unwrap();
        answers.insert(answer[..length].to_vec());
    }
    assert_eq!(answers.len(), 1, "{answers:?}");
}

#[test]
fn udp_has_ports_of_its_own_and_a_bad_backend_answers_nothing() {
    let (directory, network) = (Directory::new(), Network::new());
    datagram_greeter("datagram ", &network.address(1));
    greeter("stream ", &network.address(2));
    directory.write("udp.yaml", &udp_backend("udp", &network.address(1)));
    directory.write("tcp.yaml", &backend("tcp", &network.address(2)));
    let listeners = format!("{TCP}  - {{name: udp, port: 9000, protocol: UDP}}\n");
    let manifest = [
        gateway(&listeners),
        route("TCPRoute", "tcp", &to("tcp")),
        route("UDPRoute", "udp", &to("udp")),
    ];
    directory.write("gateway.yaml", &manifest.concat());
    let running = run(&directory);
    assert_eq!(talk(&running, 9000, "x"), "stream x");
    let ask = || datagram(&running.udp_address(9000), "x");
    assert_eq!(ask().as_deref(), Some("datagram x"));
    let elsewhere = to("udp").replace("name: udp", "name: udp, namespace: other");
    let bad = [
        gateway(&listeners),
        route("TCPRoute", "tcp", &to("tcp")),
        route("UDPRoute", "udp", &elsewhere),
    ];
    directory.write("gateway.yaml", &bad.concat());
    eventually("silence", ask, Option::is_none);
    assert_eq!(talk(&running, 9000, "x"), "stream x");
    directory.write("gateway.yaml", &manifest.concat());
    eventually("an answer", ask, Option::is_some);
}
