//! Connections when their configuration changes or goes away.

use crate::bench::{Bench, Server, carrying, cluster_of, ending, exactly, rest};
use crate::support::{build::*, eventually};
use gwanmun_ir::Key;
use std::{
    io::Write,
    net::TcpStream,
    time::{Duration, Instant},
};

fn alive(client: &mut TcpStream) {
    client.write_all(b"ping").unwrap();
    assert_eq!(exactly(client, 4), b"ping");
}

#[test]
fn open_connections_stay_where_they_are_when_the_rule_changes() {
    let (old, new) = (Server::echo(), Server::named("new"));
    let bench = Bench::start(carrying(&[old.address], |_| {}));
    let mut client = bench.connect(80);
    alive(&mut client);
    let mut resources = cluster_of("other", &[new.address]).to_vec();
    resources.push(of_l4(l4_route("route", "tcp", &[("other", 1)])));
    bench.gateway().upsert(resources);
    assert_eq!(rest(&mut bench.connect(80)), b"new");
    alive(&mut client);
    // Even when there is no rule any more.
    let key = l4_route("route", "tcp", &[]).key;
    bench.gateway().remove(vec![Key::L4Route(key)]);
    assert_eq!(ending(&mut bench.connect(80)).1, "reset");
    alive(&mut client);
}

#[test]
fn a_removed_listener_gives_its_connections_time() {
    let server = Server::echo();
    let bench = Bench::with(carrying(&[server.address], |_| {}), |config| {
        config.drain = Duration::from_millis(600);
    });
    let mut client = bench.connect(80);
    alive(&mut client);
    let address = bench.address(80);
    bench
        .gateway()
        .remove(vec![Key::Listener(listener_key(80))]);
    let begin = Instant::now();
    assert!(TcpStream::connect(address).is_err());
    alive(&mut client);
    let (said, _) = ending(&mut client);
    assert_eq!(said, b"");
    let waited = begin.elapsed();
    assert!(waited >= Duration::from_millis(400), "{waited:?}");
    // Cut off, it is on record all the same.
    assert_eq!(
        bench.summary(),
        format!("- - - 8 8 {} servers -", server.address)
    );
}

#[test]
fn a_gateway_that_drains_waits_for_connections() {
    let server = Server::echo();
    let bench = Bench::start(carrying(&[server.address], |_| {}));
    let mut client = bench.connect(80);
    alive(&mut client);
    std::thread::scope(|scope| {
        let draining = scope.spawn(|| bench.gateway().gateway().drain(Duration::from_secs(10)));
        eventually("no new connections", || {
            bench.gateway().gateway().addresses().is_empty()
        });
        alive(&mut client);
        assert!(!draining.is_finished());
        drop(client);
        draining.join().unwrap();
    });
}
