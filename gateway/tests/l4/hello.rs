//! ClientHellos in pieces.

use crate::bench::{Bench, Server, cluster_of, ending, exactly};
use crate::support::build::*;
use gwanmun_ir::Resource;
use rustls::{ClientConfig, ClientConnection, RootCertStore, pki_types::ServerName};
use std::{io::Write, net::Shutdown, sync::Arc, time::Duration};

/// A real ClientHello for `name`, without one for an address.
pub fn hello(name: &str) -> Vec<u8> {
    let provider = rustls::crypto::aws_lc_rs::default_provider();
    let config = ClientConfig::builder_with_provider(Arc::new(provider))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(RootCertStore::empty())
        .with_no_client_auth();
    let name = ServerName::try_from(name.to_owned()).unwrap();
    let mut client = ClientConnection::new(Arc::new(config), name).unwrap();
    let mut bytes = Vec::new();
    while client.wants_write() {
        client.write_tls(&mut bytes).unwrap();
    }
    bytes
}

/// The message of `hello` in records of `size` bytes.
fn cut(hello: &[u8], size: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    for content in hello[5..].chunks(size) {
        bytes.extend([0x16, 3, 1]);
        bytes.extend(u16::try_from(content.len()).unwrap().to_be_bytes());
        bytes.extend(content);
    }
    bytes
}

pub fn passing(names: &[(&str, &Server)]) -> Vec<Resource> {
    let mut resources = vec![listener(443)];
    for (index, (name, server)) in names.iter().enumerate() {
        let key = format!("chain{index}");
        let own = passthrough(chain(&key, 443));
        let cluster = format!("cluster{index}");
        resources.push(of_chain(hosts(own, &[name])));
        resources.push(of_l4(l4_route("route", &key, &[(&cluster, 1)])));
        resources.extend(cluster_of(&cluster, &[server.address]));
    }
    resources
}

#[test]
fn every_byte_of_a_hello_is_replayed_however_it_came() {
    let server = Server::echo();
    let bench = Bench::start(passing(&[("a.test", &server)]));
    let whole = hello("a.test");
    for (sent, step) in [
        (whole.clone(), 1),
        (whole.clone(), 100),
        (whole.clone(), usize::MAX),
        (cut(&whole, 1), 400),
        (cut(&whole, 7), 11),
        (cut(&whole, 100), 1),
        ([whole.clone(), b"and more".to_vec()].concat(), usize::MAX),
    ] {
        let mut client = bench.connect(443);
        client.set_nodelay(true).unwrap();
        for piece in sent.chunks(step) {
            client.write_all(piece).unwrap();
            if step < 20 {
                std::thread::yield_now();
            }
        }
        assert_eq!(exactly(&mut client, sent.len()), sent);
        client.shutdown(Shutdown::Write).unwrap();
        assert_eq!(ending(&mut client), (Vec::new(), "end"));
    }
    for line in bench.lines(7) {
        assert_eq!(line["requested_server_name"], "a.test");
        assert_eq!(line["upstream_cluster"], "cluster0");
    }
}

#[test]
fn no_server_is_connected_before_the_name_is_known() {
    let server = Server::echo();
    let bench = Bench::start(passing(&[("a.test", &server)]));
    let whole = hello("a.test");
    let mut client = bench.connect(443);
    client.write_all(&whole[..whole.len() - 1]).unwrap();
    std::thread::park_timeout(Duration::from_millis(100));
    assert_eq!(server.connections(), 0);
    client.write_all(&whole[whole.len() - 1..]).unwrap();
    assert_eq!(exactly(&mut client, whole.len()), whole);
}

#[test]
fn a_hello_has_little_time_and_little_room() {
    let server = Server::echo();
    let bench = Bench::with(passing(&[("a.test", &server)]), |config| {
        config.limits.handshake_timeout = Duration::from_millis(300);
    });
    // Time.
    let mut slow = bench.connect(443);
    slow.write_all(&hello("a.test")[..50]).unwrap();
    assert_eq!(ending(&mut slow), (Vec::new(), "end"));
    // Room: one long message in many records.
    let mut long = bench.connect(443);
    let mut bytes = Vec::new();
    for index in 0..5 {
        bytes.extend([0x16, 3, 1, 0x10, 0]);
        let start: &[u8] = if index == 0 {
            &[1, 0, 0xff, 0xff]
        } else {
            &[0; 4]
        };
        bytes.extend(start);
        bytes.extend([0; 4092]);
    }
    // It may be reset before everything is written.
    let _ = long.write_all(&bytes);
    let (said, _) = ending(&mut long);
    assert_eq!(said, b"");
    assert_eq!(server.connections(), 0);
}
