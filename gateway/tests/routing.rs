//! Requests reach what the configuration says, from first configuration to changes under load.

#![cfg(test)]

mod support;

use gwanmun_ir::{Delta, Key, Resource, RouteKey};
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
};
use support::{TestGateway, build::*, client, client::Raw, eventually, upstream::Upstream};

#[test]
fn a_request_reaches_the_upstream_of_its_route() {
    let upstream = Upstream::named("v1");
    let gateway = TestGateway::start();
    let mut to_upstream = route("v1", "gw");
    to_upstream.action = forward("c");
    to_upstream.matches = vec![prefix("/v1")];
    let mut resources = vec![listener(80), of_chain(chain("gw", 80))];
    resources.extend(cluster("c", &[upstream.address()]));
    resources.push(of_route(to_upstream));
    resources.push(of_route(route("direct", "gw")));
    gateway.serve(resources);

    let answer = client::get(gateway.address(80), "example.com", "/v1/x?y=z");
    assert_eq!(
        (answer.status, answer.text()),
        (200, "v1 /v1/x?y=z".to_owned())
    );
    let answer = client::get(gateway.address(80), "example.com", "/other");
    assert_eq!((answer.status, answer.text()), (200, "direct".to_owned()));
    let mut raw = Raw::connect(gateway.address(80));
    for _ in 0..3 {
        raw.send("GET /v1 HTTP/1.1\r\nHost: a\r\n\r\n");
        assert_eq!(raw.response().text(), "v1 /v1");
    }
}

/// Sends requests on connections of their own, and on one that is kept, until told to stop.
struct Load {
    stop: Arc<AtomicBool>,
    done: Arc<AtomicUsize>,
    threads: Vec<thread::JoinHandle<Vec<String>>>,
}

impl Load {
    fn start(address: std::net::SocketAddr, host: &'static str) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let done = Arc::new(AtomicUsize::new(0));
        let threads = (0..2).map(|kind| {
            let (stop, done) = (Arc::clone(&stop), Arc::clone(&done));
            thread::spawn(move || {
                let mut bad = Vec::new();
                let mut kept = Raw::connect(address);
                while !stop.load(Ordering::Relaxed) {
                    let answer = if kind == 0 {
                        client::get(address, host, "/")
                    } else {
                        kept.send(format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n"));
                        let answer = kept.response();
                        if answer.header("connection") == Some("close") {
                            kept = Raw::connect(address);
                        }
                        answer
                    };
                    if answer.status != 200 {
                        bad.push(format!("{answer:?}"));
                    }
                    done.fetch_add(1, Ordering::Relaxed);
                }
                bad
            })
        });
        Self {
            threads: threads.collect(),
            stop,
            done,
        }
    }

    /// Waits until some more requests are answered.
    fn goes_on(&self) {
        let before = self.done.load(Ordering::Relaxed);
        eventually("requests are answered", || {
            self.done.load(Ordering::Relaxed) > before + 3
        });
    }

    fn finish(self) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads {
            assert_eq!(thread.join().unwrap(), Vec::<String>::new());
        }
    }
}

#[test]
fn no_request_fails_while_the_configuration_changes() {
    let (one, two) = (Upstream::named("one"), Upstream::named("two"));
    let gateway = TestGateway::with(|config| config.concurrency = 2);
    let to = |cluster: &str| {
        let mut route = route("main", "gw");
        route.action = forward(cluster);
        of_route(route)
    };
    let mut resources = vec![listener(80), of_chain(chain("gw", 80)), to("one")];
    resources.extend(cluster("one", &[one.address()]));
    gateway.serve(resources);
    let load = Load::start(gateway.address(80), "example.com");
    for round in 0..20 {
        let (name, server) = if round % 2 == 0 {
            ("two", &two)
        } else {
            ("one", &one)
        };
        // The route and its cluster come together, and so the old cluster goes.
        let mut upserts: Vec<Resource> = cluster(name, &[server.address()]).into();
        upserts.push(to(name));
        let old = gwanmun_ir::ClusterKey::new(if round % 2 == 0 { "one" } else { "two" });
        let report = gateway.gateway().apply(Delta {
            upserts,
            removed: vec![Key::Cluster(old.clone()), Key::Endpoints(old)],
            complete: false,
        });
        assert_eq!(report.rejected, []);
        load.goes_on();
    }
    // A neighbour that comes and goes, a chain that changes, another listener.
    for round in 0..10 {
        gateway.upsert(vec![of_route(route("neighbour", "gw")), listener(8080)]);
        let mut changed = chain("gw", 80);
        changed.rank.0 = round;
        gateway.upsert(vec![of_chain(changed)]);
        load.goes_on();
        gateway.remove(vec![
            Key::Route(RouteKey::new("neighbour@gw")),
            Key::Listener(listener_key(8080)),
        ]);
    }
    load.finish();
    assert!(two.requests() > 0);
}

#[test]
fn a_listener_that_gets_another_key_keeps_its_socket() {
    let gateway = TestGateway::start();
    let mut resources = vec![of_chain(chain("gw", 80)), of_route(route("main", "gw"))];
    let port = {
        let probe = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        probe.local_addr().unwrap().port()
    };
    let renamed = |name: &str| {
        let mut renamed = match listener(port) {
            Resource::Listener(listener) => listener,
            Resource::Chain(_)
            | Resource::Route(_)
            | Resource::Cluster(_)
            | Resource::L4Route(_)
            | Resource::Endpoints(_)
            | Resource::Secret(_) => panic!("not a listener"),
        };
        renamed.key = gwanmun_ir::ListenerKey::new(name);
        renamed
    };
    let mut own_chain = chain("gw", 80);
    own_chain.listener = gwanmun_ir::ListenerKey::new("first");
    resources[0] = of_chain(own_chain.clone());
    resources.push(Resource::Listener(renamed("first")));
    gateway.serve(resources.clone());
    let address = (std::net::Ipv4Addr::LOCALHOST, port).into();
    let load = Load::start(address, "example.com");
    for name in ["second", "third", "fourth"] {
        own_chain.listener = gwanmun_ir::ListenerKey::new(name);
        resources[0] = of_chain(own_chain.clone());
        resources[2] = Resource::Listener(renamed(name));
        gateway.serve(resources.clone());
        load.goes_on();
    }
    load.finish();
}

#[test]
fn a_removed_listener_ends_its_connections_after_their_request() {
    let gateway = TestGateway::start();
    gateway.serve(vec![
        listener(80),
        of_chain(chain("gw", 80)),
        of_route(route("main", "gw")),
    ]);
    let mut idle = Raw::connect(gateway.address(80));
    idle.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(idle.response().status, 200);
    gateway.remove(vec![Key::Listener(listener_key(80))]);
    assert_eq!(idle.rest(), b"");
    gateway.gateway().drain(std::time::Duration::from_secs(5));
}

#[test]
fn draining_ends_when_the_last_request_does() {
    let gateway = TestGateway::start();
    gateway.serve(vec![
        listener(80),
        of_chain(chain("gw", 80)),
        of_route(route("main", "gw")),
    ]);
    let mut busy = Raw::connect(gateway.address(80));
    busy.send("GET / HTTP/1.1\r\nHo");
    // The first half is there before the drain begins.
    let mut other = Raw::connect(gateway.address(80));
    other.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(other.response().status, 200);
    let drained = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            gateway.gateway().drain(std::time::Duration::from_secs(10));
            drained.store(true, Ordering::SeqCst);
        });
        assert_eq!(other.rest(), b"");
        assert!(!drained.load(Ordering::SeqCst));
        busy.send("st: a\r\n\r\n");
        let answer = busy.response();
        assert_eq!(answer.status, 200);
        assert_eq!(answer.header("connection"), Some("close"));
        eventually("drained", || drained.load(Ordering::SeqCst));
    });
}
