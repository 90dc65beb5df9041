//! What behaviour tests share: a gateway in this process, configuration in a few words,
//! upstreams that answer as told, and clients that show every byte.

#![allow(dead_code, unreachable_pub, reason = "each test file uses its part")]

pub mod build;
pub mod client;
pub mod tls;
pub mod upstream;

use gwanmun_gateway::{Config, Gateway};
use gwanmun_ir::{Delta, Key, ListenerKey, ListenerState, Report, Resource};
use std::{
    net::{Ipv4Addr, SocketAddr},
    time::{Duration, Instant},
};

/// A gateway of one or more workers on free ports of the loopback address.
pub struct TestGateway {
    gateway: Gateway,
}

impl TestGateway {
    /// Starts a gateway with one worker.
    pub fn start() -> Self {
        Self::with(|_| {})
    }

    /// Starts a gateway after `change` has changed its configuration.
    pub fn with(change: impl FnOnce(&mut Config)) -> Self {
        let mut config = Config {
            concurrency: 1,
            bind: Some(Ipv4Addr::LOCALHOST.into()),
            port_map: [80, 81, 443, 8080, 8443].map(|port| (port, 0)).to_vec(),
            drain: Duration::from_secs(5),
            ..Config::default()
        };
        change(&mut config);
        Self {
            gateway: Gateway::start(config).unwrap(),
        }
    }

    /// The gateway.
    pub fn gateway(&self) -> &Gateway {
        &self.gateway
    }

    /// Replaces the whole configuration; every listener must be bound.
    pub fn serve(&self, resources: Vec<Resource>) -> Report {
        let report = self.gateway.apply(Delta {
            upserts: resources,
            removed: Vec::new(),
            complete: true,
        });
        for (key, state) in &report.listeners {
            assert_eq!(*state, ListenerState::Bound, "{key}");
        }
        report
    }

    /// Adds or replaces resources.
    pub fn upsert(&self, resources: Vec<Resource>) -> Report {
        self.gateway.apply(Delta {
            upserts: resources,
            ..Delta::default()
        })
    }

    /// Removes resources.
    pub fn remove(&self, removed: Vec<Key>) -> Report {
        self.gateway.apply(Delta {
            removed,
            ..Delta::default()
        })
    }

    /// Where the listener made by [`build::listener`] for `port` is really bound.
    pub fn address(&self, port: u16) -> SocketAddr {
        let key = ListenerKey::new(format!("tcp/0.0.0.0:{port}"));
        let addresses = self.gateway.addresses();
        let found = addresses.into_iter().find(|(bound, _)| *bound == key);
        found.unwrap_or_else(|| panic!("{key} is not bound")).1
    }
}

/// Waits until `condition` holds; panics after ten seconds.
pub fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while !condition() {
        assert!(Instant::now() < deadline, "still not: {what}");
        std::thread::park_timeout(Duration::from_millis(2));
    }
}
