//! Certificates that change while clients connect, and many of them on one port.

#![cfg(test)]

mod support;

use gwanmun_ir::Resource;
use parking_lot::Mutex;
use rcgen::{CertificateParams, KeyPair};
use std::{
    sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst},
    time::{Duration, Instant},
};
use support::{
    TestGateway,
    build::*,
    eventually,
    tls::{Authority, Client, Issued},
};

const HOST: &str = "a.example.com";

/// Memory and time are measured: one test at a time.
static ALONE: Mutex<()> = Mutex::new(());

fn serial(issued: &Issued) -> Vec<u8> {
    let chain = gwanmun_certs::Certificate::parse_chain(&issued.certificate).unwrap();
    chain[0].der().to_vec()
}

#[test]
fn no_handshake_fails_while_certificates_rotate() {
    let _alone = ALONE.lock();
    let authority = Authority::new();
    let gateway = TestGateway::with(|config| config.concurrency = 2);
    let first = authority.issue(&[HOST]);
    gateway.serve(vec![
        listener(443),
        of_chain(hosts(tls(chain("a", 443), &["a"]), &[HOST])),
        of_route(route("a", "a")),
        secret("a", &first.certificate, &first.key),
    ]);
    let address = gateway.address(443);
    let (done, handshakes) = (AtomicBool::new(false), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        let clients: Vec<_> = (0..4)
            .map(|_| {
                scope.spawn(|| {
                    let client = Client::new(&authority);
                    while !done.load(SeqCst) {
                        let mut tls = client.connect(address, HOST).unwrap();
                        assert_eq!(tls.get(HOST, "/").status, 200);
                        handshakes.fetch_add(1, SeqCst);
                    }
                })
            })
            .collect();
        let client = Client::new(&authority);
        let mut open = client.connect(address, HOST).unwrap();
        for round in 0..50 {
            let before = handshakes.load(SeqCst);
            let next = authority.issue(&[HOST]);
            // Half of a change, as mounted volumes show it at times.
            let half = secret("a", &next.certificate, &first.key);
            let report = gateway.upsert(vec![half]);
            assert_eq!(report.rejected.len(), 1, "{round}");
            let report = gateway.upsert(vec![secret("a", &next.certificate, &next.key)]);
            assert_eq!(report.rejected, [], "{round}");
            let shown = client.connect(address, HOST).unwrap().certificate();
            assert_eq!(shown, serial(&next), "{round}");
            eventually("others connect meanwhile", || {
                handshakes.load(SeqCst) > before || clients.iter().any(|one| one.is_finished())
            });
        }
        assert_eq!(open.get(HOST, "/").status, 200);
        done.store(true, SeqCst);
    });
}

/// Resident memory in bytes.
fn resident() -> usize {
    let text = std::fs::read_to_string("/proc/self/statm").unwrap();
    let pages: usize = text.split(' ').nth(1).unwrap().parse().unwrap();
    pages * 4096
}

#[test]
fn ten_thousand_certificates_share_a_port() {
    const COUNT: usize = 10_000;
    let _alone = ALONE.lock();
    let key = KeyPair::generate().unwrap();
    let text = key.serialize_pem();
    let issue = |name: &str| {
        let params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        params.self_signed(&key).unwrap().pem()
    };
    let host = |index: usize| format!("h{index}.example.com");
    let gateway = TestGateway::start();
    gateway.serve(vec![listener(443)]);
    let site = |index: usize| -> [Resource; 3] {
        let (name, host) = (format!("s{index}"), host(index));
        let own = hosts(tls(chain(&name, 443), &[&name]), &[&host]);
        let certificate = issue(&host);
        [
            of_chain(own),
            of_route(route(&name, &name)),
            secret(&name, &certificate, &text),
        ]
    };
    let resources: Vec<Resource> = (0..COUNT).flat_map(site).collect();
    let before = resident();
    gateway.upsert(resources);
    let each = resident().saturating_sub(before) / COUNT;

    let authority = Authority::new();
    let client = Client::new(&authority);
    let chosen = host(7_777);
    assert!(client.connect(gateway.address(443), &chosen).is_err());
    let mut longest = Duration::ZERO;
    for _ in 0..10 {
        let new = authority.issue(&[&chosen]);
        let began = Instant::now();
        gateway.upsert(vec![secret("s7777", &new.certificate, &new.key)]);
        let mut tls = client.connect(gateway.address(443), &chosen).unwrap();
        longest = longest.max(began.elapsed());
        assert_eq!(tls.get(&chosen, "/").text(), "s7777");
    }
    eprintln!("{each} bytes each, a change is served within {longest:?}");
    assert!(each <= 12 * 1024, "{each} bytes each");
    // Without optimization, and next to other tests.
    assert!(longest < Duration::from_secs(1), "{longest:?}");
}
