//! Sockets follow the configuration, and a connection never notices.

#![cfg(test)]

mod support;

use gwanmun_ir::{Key, ListenerState};
use std::net::TcpListener;
use support::{TestGateway, build::*};

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
