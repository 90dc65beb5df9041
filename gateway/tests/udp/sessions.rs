//! Which endpoint a client's datagrams go to, and for how long.

use super::*;
use gwanmun_ir::{Failure, L4Target, Target};
use std::collections::{BTreeMap, BTreeSet};

const MINUTE: Duration = Duration::from_secs(60);

#[test]
fn datagrams_of_any_size_go_to_the_endpoint_and_back_whole() {
    let echo = Echo::start("");
    let gateway = gateway(|_| {});
    gateway.serve(configuration(&[("a", 1, &[echo.address])], MINUTE));
    let client = client(address(&gateway, 80));
    for size in [0, 1, 1400, 9000, 65_507] {
        let question: Vec<u8> = (0..size)
            .map(|at| u8::try_from(at % 251).unwrap())
            .collect();
        assert!(ask(&client, &question) == question, "{size} bytes");
    }
}

#[test]
fn a_client_keeps_its_endpoint_and_clients_are_spread_by_weight() {
    let (a, b, c) = (Echo::start("a"), Echo::start("b"), Echo::start("c"));
    let gateway = gateway(|_| {});
    gateway.serve(configuration(
        &[
            ("a", 70, &[a.address]),
            ("b", 30, &[b.address]),
            ("c", 0, &[c.address]),
        ],
        MINUTE,
    ));
    let to = address(&gateway, 80);
    let mut counts = BTreeMap::<Vec<u8>, u32>::new();
    for _ in 0..400 {
        let client = client(to);
        let first = ask(&client, b"");
        assert_eq!(ask(&client, b""), first);
        *counts.entry(first).or_default() += 1;
    }
    let share = counts[b"a".as_slice()];
    assert!((230..330).contains(&share), "{counts:?}");
    assert!(
        !counts.contains_key(b"c".as_slice()),
        "a weight of 0 gets nothing"
    );
}

#[test]
fn endpoints_of_a_cluster_take_turns() {
    let (a, b) = (Echo::start("a"), Echo::start("b"));
    let gateway = gateway(|_| {});
    gateway.serve(configuration(&[("x", 1, &[a.address, b.address])], MINUTE));
    let to = address(&gateway, 80);
    let answers: BTreeSet<_> = (0..10).map(|_| ask(&client(to), b"")).collect();
    assert_eq!(answers.len(), 2);
}

#[test]
fn a_burst_is_neither_lost_nor_reordered() {
    let echo = Echo::start("");
    let gateway = gateway(|_| {});
    gateway.serve(configuration(&[("a", 1, &[echo.address])], MINUTE));
    let client = client(address(&gateway, 80));
    for number in 0..100u32 {
        client.send(&number.to_be_bytes()).unwrap();
    }
    for number in 0..100u32 {
        assert_eq!(hear(&client), number.to_be_bytes());
    }
}

#[test]
fn an_endpoint_that_disappears_ends_its_sessions() {
    let (a, b) = (Echo::start("a"), Echo::start("b"));
    let gateway = gateway(|_| {});
    gateway.serve(configuration(&[("x", 1, &[a.address])], MINUTE));
    let client = client(address(&gateway, 80));
    assert_eq!(ask(&client, b""), b"a");
    gateway.upsert(build::cluster("x", &[b.address]).to_vec());
    assert_eq!(ask(&client, b""), b"b", "the next datagram goes elsewhere");
}

#[test]
fn a_session_follows_its_route_to_another_cluster() {
    let (a, b) = (Echo::start("a"), Echo::start("b"));
    let gateway = gateway(|_| {});
    let with = |one, other| {
        configuration(
            &[("a", one, &[a.address][..]), ("b", other, &[b.address])],
            MINUTE,
        )
    };
    gateway.serve(with(1, 0));
    let client = client(address(&gateway, 80));
    assert_eq!(ask(&client, b""), b"a");
    gateway.serve(with(50, 50));
    assert_eq!(ask(&client, b""), b"a", "another share moves nobody");
    gateway.serve(with(0, 1));
    assert_eq!(ask(&client, b""), b"b");
}

#[test]
fn an_endpoint_that_refuses_is_left_for_another() {
    let b = Echo::start("b");
    let closed = UdpSocket::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let gateway = gateway(|_| {});
    gateway.serve(configuration(&[("x", 1, &[closed, b.address])], MINUTE));
    let client = client(address(&gateway, 80));
    client.set_read_timeout(Some(NEVER)).unwrap();
    let mut heard = 0;
    support::eventually("an answer", || {
        client.send(b"").unwrap();
        heard += 1;
        client.recv(&mut [0; 8]).is_ok()
    });
    assert!(heard <= 3, "after {heard} datagrams");
}

#[test]
fn a_silent_session_ends_and_the_next_datagram_opens_another() {
    let server = UdpSocket::bind("127.0.0.1:0").unwrap();
    server.set_read_timeout(Some(SOON)).unwrap();
    let gateway = gateway(|_| {});
    let idle = Duration::from_millis(100);
    gateway.serve(configuration(
        &[("a", 1, &[server.local_addr().unwrap()])],
        idle,
    ));
    let client = client(address(&gateway, 80));
    let from = || {
        client.send(b"x").unwrap();
        server.recv_from(&mut [0; 8]).unwrap().1
    };
    let first = from();
    support::eventually("another session", || {
        from() != first || {
            std::thread::park_timeout(idle * 2);
            false
        }
    });
    server.send_to(b"late", first).ok();
    assert!(
        hears_nothing(&client),
        "a session that has ended passes nothing on"
    );
}

#[test]
fn only_the_sessions_own_endpoint_is_heard() {
    let server = UdpSocket::bind("127.0.0.1:0").unwrap();
    let stranger = UdpSocket::bind("127.0.0.1:0").unwrap();
    server.set_read_timeout(Some(SOON)).unwrap();
    let gateway = gateway(|_| {});
    gateway.serve(configuration(
        &[("a", 1, &[server.local_addr().unwrap()])],
        MINUTE,
    ));
    let client = client(address(&gateway, 80));
    client.send(b"x").unwrap();
    let (_, session) = server.recv_from(&mut [0; 8]).unwrap();
    stranger.send_to(b"forged", session).unwrap();
    assert!(hears_nothing(&client));
    server.send_to(b"one", session).unwrap();
    server.send_to(b"two", session).unwrap();
    assert_eq!(hear(&client), b"one");
    assert_eq!(hear(&client), b"two");
    assert!(
        hears_nothing(&client),
        "nothing that the endpoint did not send"
    );
}

#[test]
fn datagrams_that_go_nowhere_are_dropped_without_an_answer() {
    let gateway = gateway(|_| {});
    let route = L4Route {
        targets: vec![L4Target {
            target: Target::Fail(Failure::InvalidBackend),
            weight: 1,
        }],
        ..build::l4_route("r", "c", &[])
    };
    let mut all = vec![listener(80), chain("c", 80)];
    gateway.serve(all.clone());
    let to = address(&gateway, 80);
    let quiet = client(to);
    quiet.send(b"x").unwrap();
    assert!(hears_nothing(&quiet), "no route");
    all.push(build::of_l4(route));
    gateway.serve(all);
    quiet.send(b"x").unwrap();
    assert!(hears_nothing(&quiet), "an invalid backend");
    gateway.serve(configuration(&[("a", 1, &[])], MINUTE));
    quiet.send(b"x").unwrap();
    assert!(hears_nothing(&quiet), "no endpoint");
    let echo = Echo::start("a");
    gateway.serve(configuration(&[("a", 1, &[echo.address])], MINUTE));
    assert_eq!(ask(&quiet, b""), b"a");
}

#[test]
fn a_source_at_its_limit_gives_up_its_own_sessions_that_are_not_confirmed() {
    let echo = Echo::start("a");
    let gateway = gateway(|config| config.limits.udp_sessions_per_source = 2);
    gateway.serve(configuration(&[("a", 1, &[echo.address])], MINUTE));
    let to = address(&gateway, 80);
    let confirmed = [client(to), client(to)];
    for client in &confirmed {
        ask(client, b"");
    }
    // A third displaces one that has spoken only once.
    let third = client(to);
    assert_eq!(ask(&third, b""), b"a");
    assert_eq!(ask(&third, b""), b"a");
    assert_eq!(ask(&confirmed[1], b""), b"a");
    // Now both sessions are confirmed: nobody else gets in.
    let late = client(to);
    late.send(b"").unwrap();
    assert!(hears_nothing(&late));
    assert_eq!(ask(&third, b""), b"a");
}

#[test]
fn the_process_at_its_limit_takes_no_more_than_that() {
    let echo = Echo::start("a");
    let gateway = gateway(|config| config.limits.udp_sessions = Some(1));
    gateway.serve(configuration(&[("a", 1, &[echo.address])], MINUTE));
    let to = address(&gateway, 80);
    let first = client(to);
    ask(&first, b"");
    ask(&first, b"");
    let second = client(to);
    second.send(b"").unwrap();
    assert!(hears_nothing(&second));
    assert_eq!(ask(&first, b""), b"a");
}
