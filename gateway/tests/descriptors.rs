//! The gateway outlives a lack of file descriptors, and serves no more connections at once than
//! it has room for. One test: the limits are the process's.

#![cfg(test)]

mod support;

use rustix::process::{Resource, getrlimit, setrlimit};
use std::{net::TcpStream, time::Duration};
use support::{TestGateway, build::*, client, client::Raw, eventually};

#[test]
fn connections_wait_while_there_is_no_room_for_them() {
    let gateway = TestGateway::with(|config| config.limits.max_connections = Some(2));
    let resources = vec![
        listener(80),
        of_chain(chain("gw", 80)),
        of_route(route("main", "gw")),
    ];
    gateway.serve(resources.clone());
    let address = gateway.address(80);
    let request = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
    let mut held: Vec<Raw> = (0..2)
        .map(|_| {
            let mut raw = Raw::connect(address);
            raw.send(request);
            assert_eq!(raw.response().status, 200);
            raw
        })
        .collect();
    let mut waiting = Raw::connect(address);
    waiting.send(request);
    let stream = waiting.stream();
    stream
        .set_read_timeout(Some(Duration::from_millis(100)))
        .unwrap();
    assert!(stream.peek(&mut [0]).is_err());
    stream
        .set_read_timeout(Some(Duration::from_secs(10)))
        .unwrap();
    held.pop();
    assert_eq!(waiting.response().status, 200);
    drop((held, waiting, gateway));

    // No descriptors at all.
    let gateway = TestGateway::start();
    gateway.serve(resources);
    let address = gateway.address(80);
    assert_eq!(client::get(address, "a", "/").status, 200);
    let before = getrlimit(Resource::Nofile);
    let mut low = before;
    low.current = Some(64);
    setrlimit(Resource::Nofile, low).unwrap();
    let mut taken = Vec::new();
    while let Ok(stream) = TcpStream::connect(address) {
        taken.push(stream);
    }
    // The kernel has completed some that cannot be accepted; room is made and they are served.
    setrlimit(Resource::Nofile, before).unwrap();
    drop(taken);
    eventually("it is served again", || {
        client::get(address, "a", "/").status == 200
    });
}
