//! Sockets of listeners: addresses, workers, removal, the end of the process.

use super::*;
use gwanmun_ir::{Key, ListenerState};
use std::net::{IpAddr, Ipv4Addr};

const MINUTE: Duration = Duration::from_secs(60);

#[test]
fn replies_come_from_the_address_that_was_asked() {
    let echo = Echo::start("a");
    let gateway = gateway(|config| config.bind = None);
    gateway.serve(configuration(&[("a", 1, &[echo.address])], MINUTE));
    let port = address(&gateway, 80).port();
    for ip in ["127.0.0.1", "127.0.0.9", "::1"] {
        let ip: IpAddr = ip.parse().unwrap();
        let client = client(SocketAddr::new(ip, port));
        // A connected socket hears nobody else.
        assert_eq!(ask(&client, b""), b"a", "{ip}");
    }
    let one = UdpSocket::bind("127.0.0.1:0").unwrap();
    one.set_read_timeout(Some(SOON)).unwrap();
    for host in [3, 4] {
        let to = SocketAddr::from(([127, 0, 0, host], port));
        one.send_to(b"", to).unwrap();
        assert_eq!(one.recv_from(&mut [0; 8]).unwrap().1, to);
    }
}

#[test]
fn several_workers_share_a_port() {
    let echo = Echo::start("a");
    let gateway = gateway(|config| config.concurrency = 3);
    gateway.serve(configuration(&[("a", 1, &[echo.address])], MINUTE));
    let to = address(&gateway, 80);
    for _ in 0..50 {
        let client = client(to);
        assert_eq!(ask(&client, b""), b"a");
        assert_eq!(ask(&client, b""), b"a");
    }
}

#[test]
fn tcp_and_udp_share_a_port_number_and_a_taken_port_is_reported() {
    let taken = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = taken.local_addr().unwrap().port();
    let gateway = gateway(|config| config.port_map = vec![(80, port)]);
    let report = gateway.upsert(vec![listener(80), build::listener(80)]);
    let state = |wanted: ListenerKey| {
        let found = report.listeners.iter().find(|(key, _)| *key == wanted);
        found.unwrap().1.clone()
    };
    let ListenerState::Failed(reason) = state(key(80)) else {
        panic!("bound beside a stranger");
    };
    assert!(
        reason.contains(&format!("cannot bind UDP 127.0.0.1:{port}")),
        "{reason}"
    );
    assert_eq!(state(build::listener_key(80)), ListenerState::Bound);
    drop(taken);
    let report = gateway.upsert(Vec::new());
    assert!(
        report
            .listeners
            .iter()
            .all(|(_, state)| *state == ListenerState::Bound)
    );
}

#[test]
fn a_removed_listener_still_passes_on_answers_and_takes_no_new_client() {
    let server = UdpSocket::bind("127.0.0.1:0").unwrap();
    server.set_read_timeout(Some(SOON)).unwrap();
    let gateway = gateway(|_| {});
    gateway.serve(configuration(
        &[("a", 1, &[server.local_addr().unwrap()])],
        MINUTE,
    ));
    let to = address(&gateway, 80);
    let known = client(to);
    known.send(b"x").unwrap();
    let (_, session) = server.recv_from(&mut [0; 8]).unwrap();
    gateway.remove(vec![Key::Listener(key(80))]);
    let new = client(to);
    // Refused if the socket is closed already, else dropped.
    let _ = new.send(b"x");
    server.send_to(b"answer", session).unwrap();
    assert_eq!(hear(&known), b"answer");
    assert!(hears_nothing(&new));
    support::eventually("the socket is closed", || UdpSocket::bind(to).is_ok());
}

#[test]
fn a_listener_that_comes_back_gets_its_port_back() {
    let echo = Echo::start("a");
    let port = UdpSocket::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let gateway = gateway(|config| config.port_map = vec![(80, port)]);
    let all = configuration(&[("a", 1, &[echo.address])], MINUTE);
    gateway.serve(all.clone());
    let to = address(&gateway, 80);
    let client = client(to);
    ask(&client, b"");
    gateway.remove(vec![Key::Listener(key(80))]);
    gateway.serve(all);
    assert_eq!(ask(&client, b""), b"a");
    eventually_answers(to, b"a");
}

#[test]
fn draining_waits_for_answers_but_not_for_idle_times() {
    let server = UdpSocket::bind("127.0.0.1:0").unwrap();
    server.set_read_timeout(Some(SOON)).unwrap();
    let gateway = gateway(|_| {});
    gateway.serve(configuration(
        &[("a", 1, &[server.local_addr().unwrap()])],
        MINUTE,
    ));
    let client = client(address(&gateway, 80));
    client.send(b"x").unwrap();
    let (_, session) = server.recv_from(&mut [0; 8]).unwrap();
    let before = std::time::Instant::now();
    std::thread::scope(|scope| {
        let draining = scope.spawn(|| gateway.gateway().drain(Duration::from_secs(30)));
        support::eventually("draining", || {
            !gateway
                .gateway()
                .addresses()
                .iter()
                .any(|(k, _)| *k == key(80))
        });
        server.send_to(b"answer", session).unwrap();
        assert_eq!(hear(&client), b"answer");
        draining.join().unwrap();
    });
    assert!(before.elapsed() < Duration::from_secs(15));
}
