//! Sockets follow the configuration, and a connection never notices.

#![cfg(test)]

mod support;

use gwanmun_ir::{BindAddress, Key, Listener, ListenerKey, ListenerState, Resource, Transport};
use std::net::{Ipv4Addr, TcpListener};
use support::{TestGateway, build::*, client};

#[test]
fn a_taken_port_is_reported_and_the_others_are_served() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let gateway = TestGateway::start();
    let report = gateway.upsert(vec![listener(80), listener(port)]);
    assert_eq!(report.listeners.len(), 2);
    let state = |port| {
        let key = listener_key(port);
        let found = report.listeners.iter().find(|(own, _)| *own == key);
        found.unwrap().1.clone()
    };
    assert_eq!(state(80), ListenerState::Bound);
    let ListenerState::Failed(reason) = state(port) else {
        panic!("{port} cannot be bound");
    };
    assert!(reason.contains(&port.to_string()), "{reason}");
    assert!(reason.contains("in use"), "{reason}");

    // With the next delta it is tried again.
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
fn a_removed_listener_refuses_connections() {
    let gateway = TestGateway::start();
    gateway.serve(vec![listener(80)]);
    let address = gateway.address(80);
    std::net::TcpStream::connect(address).unwrap();
    gateway.remove(vec![Key::Listener(listener_key(80))]);
    std::net::TcpStream::connect(address).unwrap_err();
    assert!(gateway.gateway().addresses().is_empty());
}

#[test]
fn one_port_is_bound_at_several_addresses_and_moved_between_them() {
    let port = {
        let probe = TcpListener::bind("127.0.0.1:0").unwrap();
        probe.local_addr().unwrap().port()
    };
    let on = |name: &str, address: BindAddress| {
        Resource::Listener(Listener {
            proxy_protocol: None,
            key: ListenerKey::new(name),
            address,
            port,
            transport: Transport::Tcp,
        })
    };
    let loopback = |last| BindAddress::Ip([127, 0, 0, last].into());
    let of = |name: &str| {
        let mut own = chain(name, 80);
        own.listener = ListenerKey::new(name);
        [of_chain(own), of_route(route(name, name))]
    };
    let gateway = TestGateway::with(|config| config.bind = None);
    let mut resources = vec![on("all", BindAddress::Any), on("one", loopback(1))];
    resources.extend(of("all"));
    resources.extend(of("one"));
    gateway.serve(resources);
    let ask = |last: u8| {
        let address = (Ipv4Addr::new(127, 0, 0, last), port).into();
        client::get(address, "a", "/").text()
    };
    assert_eq!((ask(1), ask(2)), ("one".to_owned(), "all".to_owned()));

    // The same place twice is an error of the second.
    let report = gateway.upsert(vec![on("twice", loopback(1))]);
    let failed: Vec<_> = report
        .listeners
        .iter()
        .filter_map(|(key, state)| match state {
            ListenerState::Failed(reason) => Some((key.as_str(), reason.clone())),
            ListenerState::Bound => None,
        })
        .collect();
    let reason = format!("127.0.0.1:{port} is in use by one");
    assert_eq!(failed, [("twice", reason)]);
    gateway.remove(vec![Key::Listener(ListenerKey::new("twice"))]);

    // From everywhere to one address, and back.
    gateway.remove(vec![Key::Listener(ListenerKey::new("one"))]);
    assert_eq!(ask(1), "all");
    let report = gateway.upsert(vec![on("all", loopback(2))]);
    assert!(
        report
            .listeners
            .iter()
            .all(|(_, state)| *state == ListenerState::Bound)
    );
    assert_eq!(ask(2), "all");
    assert!(std::net::TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_err());
    gateway.upsert(vec![on("all", BindAddress::Any)]);
    assert_eq!(ask(1), "all");
}

#[test]
fn listeners_change_places_in_one_delta() {
    let port = {
        let probe = TcpListener::bind("127.0.0.1:0").unwrap();
        probe.local_addr().unwrap().port()
    };
    let on = |name: &str, last| {
        Resource::Listener(Listener {
            proxy_protocol: None,
            key: ListenerKey::new(name),
            address: BindAddress::Ip([127, 0, 0, last].into()),
            port,
            transport: Transport::Tcp,
        })
    };
    let of = |name: &str| {
        let mut own = chain(name, 80);
        own.listener = ListenerKey::new(name);
        [of_chain(own), of_route(route(name, name))]
    };
    let gateway = TestGateway::start();
    let mut resources = vec![on("a", 1), on("b", 2), on("c", 3)];
    for name in ["a", "b", "c"] {
        resources.extend(of(name));
    }
    gateway.serve(resources);
    let ask = |last: u8| {
        let address = (Ipv4Addr::new(127, 0, 0, last), port).into();
        client::get(address, "a", "/").text()
    };
    assert_eq!([ask(1), ask(2), ask(3)], ["a", "b", "c"]);
    for (places, served) in [
        ([on("a", 2), on("b", 1), on("c", 3)], ["b", "a", "c"]),
        ([on("a", 3), on("b", 2), on("c", 1)], ["c", "b", "a"]),
        // One of them moves on.
        ([on("a", 4), on("b", 3), on("c", 2)], ["", "c", "b"]),
    ] {
        let report = gateway.upsert(places.to_vec());
        for (key, state) in &report.listeners {
            assert_eq!(*state, ListenerState::Bound, "{key}");
        }
        for (last, name) in (1..).zip(served) {
            if name.is_empty() {
                let address = (Ipv4Addr::new(127, 0, 0, last), port);
                assert!(std::net::TcpStream::connect(address).is_err());
            } else {
                assert_eq!(ask(last), name);
            }
        }
    }
}
