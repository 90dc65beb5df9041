//! TLS that ends here, and bytes behind it.

use crate::bench::{Bench, Server, cluster_of};
use crate::support::{
    build::*,
    tls::{Authority, Client},
};
use gwanmun_ir::Resource;
use std::{
    io::{self, Read, Write},
    net::{Shutdown, SocketAddr},
};

fn bench(authority: &Authority, servers: &[SocketAddr]) -> Bench {
    let issued = authority.issue(&["a.test"]);
    let mut resources: Vec<Resource> = vec![
        listener(443),
        of_chain(tcp(tls(chain("chain", 443), &["cert"]))),
        of_l4(l4_route("route", "chain", &[("servers", 1)])),
        secret("cert", &issued.certificate, &issued.key),
    ];
    resources.extend(cluster_of("servers", servers));
    Bench::start(resources)
}

#[test]
fn bytes_inside_go_both_ways_and_ends_are_told_apart_from_cuts() {
    let authority = Authority::new();
    let server = Server::start(|mut stream| {
        stream.write_all(b"hi ")?;
        let mut all = Vec::new();
        stream.read_to_end(&mut all)?;
        stream.write_all(format!("got {}", all.len()).as_bytes())
    });
    let bench = bench(&authority, &[server.address]);
    let client = Client::new(&authority);
    let mut tls = client.connect(bench.address(443), "a.test").unwrap();
    let mut first = [0; 3];
    tls.stream().read_exact(&mut first).unwrap();
    assert_eq!(&first, b"hi ");
    let sent = vec![9; 300_000];
    tls.stream().write_all(&sent).unwrap();
    // The end of the client's half, as TLS says it; a cut would be an error of read_to_end below.
    tls.stream().conn.send_close_notify();
    tls.stream().flush().unwrap();
    let mut rest = String::new();
    tls.stream().read_to_string(&mut rest).unwrap();
    assert_eq!(rest, "got 300000");
    assert_eq!(
        bench.summary(),
        format!("- - - 300000 13 {} servers a.test", server.address)
    );
}

#[test]
fn much_is_carried_whole() {
    let authority = Authority::new();
    let server = Server::start(|mut stream| {
        let block = vec![5; 1 << 20];
        for _ in 0..8 {
            stream.write_all(&block)?;
        }
        stream.shutdown(Shutdown::Write)?;
        stream.read_to_end(&mut Vec::new()).map(drop)
    });
    let bench = bench(&authority, &[server.address]);
    let client = Client::new(&authority);
    let mut tls = client.connect(bench.address(443), "a.test").unwrap();
    let copied = io::copy(tls.stream(), &mut io::sink()).unwrap();
    assert_eq!(copied, 8 << 20);
}

#[test]
fn without_a_server_the_connection_ends_without_an_alert() {
    let authority = Authority::new();
    let bench = bench(&authority, &[]);
    let client = Client::new(&authority);
    let mut tls = client.connect(bench.address(443), "a.test").unwrap();
    let error = tls.stream().read(&mut [0]).unwrap_err();
    // No alert of any kind, not even a polite end.
    assert!(
        matches!(
            error.kind(),
            io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset
        ),
        "{error}"
    );
    assert_eq!(bench.summary(), "UH - - 0 0 - servers a.test");
}
