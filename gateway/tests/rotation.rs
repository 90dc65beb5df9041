//! Certificates that change under load. `make bench-rotation` does the same more often, with the
//! real binary.

#![cfg(test)]

mod support;

use gwanmun_certs::KeyPair;
use gwanmun_ir::{Resource, Secret, SecretKey, SecretMaterial};
use std::{
    fs,
    path::Path,
    sync::atomic::{
        AtomicBool, AtomicUsize,
        Ordering::{Relaxed, SeqCst},
    },
    time::{Duration, Instant},
};
use support::{
    TestGateway,
    build::*,
    tls::{Authority, Client, Issued},
};

const HOST: &str = "a.example.com";
const ROTATIONS: usize = 50;
/// Every how many rotations a connection is opened that has to live on.
const HELD: usize = 10;
const CLIENTS: u64 = 2;
/// Between two handshakes of a client: 200 a second together, where the machine can.
const PAUSE: Duration = Duration::from_millis(10);

/// Puts a file where another was, at once.
fn replace(path: &Path, text: &str) {
    let fresh = path.with_extension("new");
    fs::write(&fresh, text).unwrap();
    fs::rename(&fresh, path).unwrap();
}

fn der(issued: &Issued) -> Vec<u8> {
    let pair = KeyPair::parse(&issued.certificate, &issued.key).unwrap();
    pair.leaf().der().to_vec()
}

/// Certificate and key in two files: each rotation has a moment at which they do not match.
#[test]
fn no_handshake_fails_while_certificates_rotate_and_open_connections_live_on() {
    let authority = Authority::new();
    let folder = tempfile::tempdir().unwrap();
    let (certificate, key) = (folder.path().join("crt"), folder.path().join("key"));
    let put = |issued: &Issued| {
        replace(&certificate, &issued.certificate);
        replace(&key, &issued.key);
    };
    put(&authority.issue(&[HOST]));
    let gateway = TestGateway::start();
    let path = |file: &Path| file.to_str().unwrap().to_owned();
    gateway.serve(vec![
        listener(443),
        of_chain(hosts(tls(chain("a", 443), &["server"]), &[HOST])),
        of_route(route("a", "a")),
        Resource::Secret(Secret {
            key: SecretKey::new("server"),
            material: SecretMaterial::KeyPairFiles {
                certificates: path(&certificate),
                private_key: path(&key),
            },
            source: source("server"),
        }),
    ]);
    let (client, address) = (Client::new(&authority), gateway.address(443));
    let (stop, handshakes) = (AtomicBool::new(false), AtomicUsize::new(0));
    let mut held = Vec::new();
    let mut slowest = Duration::ZERO;
    std::thread::scope(|scope| {
        let load = || {
            while !stop.load(Relaxed) {
                let mut tls = client.connect(address, HOST).expect("a handshake failed");
                assert_eq!(tls.get(HOST, "/").status, 200);
                handshakes.fetch_add(1, SeqCst);
                #[expect(
                    clippy::disallowed_methods,
                    reason = "a rate of handshakes, nothing is waited for"
                )]
                std::thread::sleep(PAUSE);
            }
        };
        let loads: Vec<_> = (0..CLIENTS).map(|_| scope.spawn(load)).collect();
        for number in 0..ROTATIONS {
            if number % HELD == 0 {
                held.push(client.connect(address, HOST).unwrap());
            }
            let next = authority.issue(&[HOST]);
            let expected = der(&next);
            put(&next);
            let began = Instant::now();
            while client.connect(address, HOST).unwrap().certificate() != expected {
                assert!(began.elapsed().as_secs() < 10, "{number} is not served");
                std::thread::yield_now();
            }
            slowest = slowest.max(began.elapsed());
        }
        stop.store(true, Relaxed);
        for load in loads {
            load.join().unwrap();
        }
    });
    for tls in &mut held {
        assert_eq!(tls.get(HOST, "/").status, 200, "an open connection ended");
    }
    assert!(handshakes.load(SeqCst) >= ROTATIONS);
    assert_eq!(gateway.gateway().report().rejected, []);
    // A second is promised; a slow machine that runs all tests at once adds to it.
    assert!(slowest < Duration::from_secs(5), "{slowest:?}");
}
