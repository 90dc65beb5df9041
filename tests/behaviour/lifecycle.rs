//! Start, readiness, and the end in good order.

use crate::support::{
    Directory, Gwanmun, Load, Network, backend, curl, eventually, gateway_api_route,
};
use std::{
    process::Command,
    time::{Duration, Instant},
};

const HOST: &str = "a.example.com";

fn setup(more: &[&str]) -> (Directory, Gwanmun, Gwanmun) {
    let directory = Directory::new();
    directory.write("backend.yaml", &backend("one", &Network::new().address(1)));
    directory.write("route.yaml", &gateway_api_route(HOST, "one"));
    let backends = Gwanmun::backends(&directory);
    let running = Gwanmun::run(&directory, more);
    (directory, backends, running)
}

fn readiness(running: &Gwanmun) -> u16 {
    curl(&[&format!(
        "http://{}/healthz/ready",
        running.own_address("readiness")
    )])
    .status
}

/// A request that takes some seconds, sent in the background.
fn slow_request(running: &Gwanmun, seconds: u8) -> std::thread::JoinHandle<crate::support::Answer> {
    let to = format!("::{}", running.address(80));
    let url = format!("http://{HOST}/delay/{seconds}");
    let sent = std::thread::spawn(move || curl(&["--connect-to", &to, &url]));
    // It is on its way once the gateway counts it.
    eventually(
        "the request to arrive",
        || running.admin("/clusters").body,
        |clusters| {
            clusters
                .lines()
                .any(|line| line.ends_with("::rq_active::1"))
        },
    );
    sent
}

#[test]
fn it_is_ready_once_it_serves() {
    let (_directory, _backends, running) = setup(&[]);
    eventually("readiness", || readiness(&running), |status| *status == 200);
    assert!(running.get(80, HOST, "/", &[]).is(200, "one-pod"));
}

#[test]
fn termination_lets_requests_in_flight_finish_and_exits_0() {
    let (_directory, _backends, mut running) = setup(&[]);
    let slow = slow_request(&running, 2);
    running.signal("TERM");
    eventually(
        "readiness to end",
        || readiness(&running),
        |status| *status == 503,
    );
    let answer = slow.join().unwrap();
    assert!(answer.is(200, "one-pod"), "{answer:?}");
    assert_eq!(running.wait().code(), Some(0));
    // The last line of the access log is written before the end.
    running.wait_output("GET /delay/2 HTTP/1.1\" 200");
}

#[test]
fn the_drain_ends_at_its_limit() {
    let (_directory, _backends, mut running) = setup(&["--drain", "1s"]);
    let slow = slow_request(&running, 10);
    let began = Instant::now();
    running.signal("INT");
    assert_eq!(running.wait().code(), Some(0));
    assert!(
        began.elapsed() < Duration::from_secs(8),
        "{:?}",
        began.elapsed()
    );
    drop(slow);
}

#[test]
fn a_second_signal_ends_it_at_once() {
    let (_directory, _backends, mut running) = setup(&[]);
    let slow = slow_request(&running, 10);
    running.signal("TERM");
    running.wait_error("stopping");
    let began = Instant::now();
    running.signal("TERM");
    assert_eq!(running.wait().code(), Some(1));
    assert!(
        began.elapsed() < Duration::from_secs(5),
        "{:?}",
        began.elapsed()
    );
    drop(slow);
}

#[test]
fn a_drain_under_load_fails_no_request() {
    let (_directory, _backends, mut running) = setup(&[]);
    let load = Load::start(&running.address(80), HOST, 8);
    eventually(
        "load",
        || running.admin("/stats").status,
        |status| *status == 200,
    );
    running.signal("TERM");
    assert_eq!(running.wait().code(), Some(0));
    let summary = load.join();
    assert_eq!(summary.failed, Vec::<String>::new());
    assert!(summary.answered > 0);
}

#[test]
fn quitquitquit_needs_post_and_ends_it() {
    let (_directory, _backends, mut running) = setup(&[]);
    let url = format!(
        "http://{}/quitquitquit",
        running.own_address("admin interface")
    );
    assert_eq!(curl(&[&url]).status, 405);
    assert!(running.is_running());
    assert_eq!(curl(&["--request", "POST", &url]).status, 200);
    assert_eq!(running.wait().code(), Some(0));
}

#[test]
fn log_levels_change_while_running() {
    let (_directory, _backends, running) = setup(&[]);
    let admin = running.own_address("admin interface");
    assert!(curl(&[&format!("http://{admin}/logging")]).is(200, "default: info"));
    let post = |query: &str| {
        curl(&[
            "--request",
            "POST",
            &format!("http://{admin}/logging?{query}"),
        ])
    };
    assert!(post("level=warning").is(200, "warning"));
    assert!(post("gwanmun_gateway=debug").is(200, "gwanmun_gateway: debug"));
    assert_eq!(post("level=loud").status, 400);
}

#[test]
fn the_access_log_is_on_standard_output_and_the_rest_on_standard_error() {
    let (_directory, _backends, running) = setup(&["--access-log", "json"]);
    assert!(running.get(80, HOST, "/some/path", &[]).is(200, "one-pod"));
    let line = running.wait_output("/some/path");
    let entry: serde_json::Value = serde_json::from_str(&line).unwrap();
    assert_eq!(entry["response_code"], 200, "{line}");
    assert_eq!(entry["authority"], HOST, "{line}");
}

#[test]
fn a_certificate_is_served_and_a_broken_one_keeps_the_last_good_pair() {
    let (directory, _backends, running) = setup(&[]);
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/secrets.sh");
    assert!(
        Command::new(script)
            .arg(directory.path())
            .status()
            .unwrap()
            .success()
    );
    directory.write(
        "tls.yaml",
        "apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: tls}
spec:
  gatewayClassName: gwanmun
  listeners:
  - {name: https, port: 443, protocol: HTTPS, hostname: foo.example.com, tls: {certificateRefs: [{name: foo-example-com-cert}]}}
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: tls}
spec:
  parentRefs: [{name: tls}]
  rules: [{backendRefs: [{name: one, port: 80}]}]
",
    );
    running.wait_error(":443");
    let authority = directory.file("ca.crt").display().to_string();
    let ask = || {
        let to = format!("::{}", running.address(443));
        curl(&[
            "--cacert",
            &authority,
            "--connect-to",
            &to,
            "https://foo.example.com/",
        ])
    };
    eventually("TLS", ask, |answer| answer.is(200, "one-pod"));
    let secret = "apiVersion: v1\nkind: Secret\ntype: kubernetes.io/tls\nmetadata: {name: foo-example-com-cert}\nstringData: {tls.crt: no, tls.key: no}\n";
    directory.write("foo-example-com-cert.yaml", secret);
    running.wait_error("foo-example-com-cert");
    assert!(ask().is(200, "one-pod"));
    directory.remove("foo-example-com-cert.yaml");
    eventually("the end of the name", ask, |answer| answer.status == 0);
    assert!(running.get(80, HOST, "/", &[]).is(200, "one-pod"));
}
