//! TLS that is passed through by its server name.

use crate::bench::{Bench, Server, cluster_of, ending, refusing};
use crate::hello::{hello, passing};
use crate::support::{
    TestGateway,
    build::*,
    tls::{Authority, Client, Issued},
};
use gwanmun_ir::Resource;
use std::{
    io::{self, Read, Write},
    net::Shutdown,
    sync::Arc,
};

/// A TLS server that sends its name as soon as a client is there, then echoes.
fn tls_server(issued: &Issued, name: &'static str) -> Server {
    let config = crate::support::tls::server_config(issued);
    Server::start(move |mut stream| {
        let mut tls = rustls::ServerConnection::new(Arc::clone(&config)).unwrap();
        let mut tls = rustls::Stream::new(&mut tls, &mut stream);
        tls.write_all(name.as_bytes())?;
        let mut buffer = [0; 1000];
        loop {
            match tls.read(&mut buffer)? {
                0 => {
                    tls.conn.send_close_notify();
                    let _ = tls.flush();
                    return tls.sock.shutdown(Shutdown::Write);
                }
                n => tls.write_all(&buffer[..n])?,
            }
        }
    })
}

fn said(address: std::net::SocketAddr, client: &Client, name: &str, length: usize) -> String {
    let mut tls = client.connect(address, name).unwrap();
    let mut bytes = vec![0; length];
    tls.stream().read_exact(&mut bytes).unwrap();
    String::from_utf8(bytes).unwrap()
}

#[test]
fn the_most_specific_server_name_decides() {
    let authority = Authority::new();
    let issued = authority.issue(&["a.test", "b.a.test", "c.b.a.test", "other.org", "A.test"]);
    let [exact, wild, any] = ["exact", "wild", "any  "].map(|name| tls_server(&issued, name));
    let bench = Bench::start(passing(&[
        ("a.test", &exact),
        ("*.a.test", &wild),
        ("*", &any),
    ]));
    let client = Client::new(&authority);
    for (name, expected) in [
        ("a.test", "exact"),
        ("A.TEST", "exact"),
        ("b.a.test", "wild"),
        ("c.b.a.test", "wild"),
        ("other.org", "any  "),
    ] {
        let length = expected.len();
        assert_eq!(said(bench.address(443), &client, name, length), expected);
    }
}

#[test]
fn rules_of_one_chain_are_chosen_by_server_name_too() {
    let authority = Authority::new();
    let issued = authority.issue(&["abc.example.com", "x.example.com"]);
    let [older, newer] = ["older", "newer"].map(|name| tls_server(&issued, name));
    let mut wild = l4_route("wild", "chain", &[("older", 1)]);
    wild.hostnames = hostnames(&["*.example.com"]);
    let mut exact = l4_route("exact", "chain", &[("newer", 1)]);
    exact.hostnames = hostnames(&["abc.example.com"]);
    let mut resources = vec![
        listener(443),
        of_chain(passthrough(chain("chain", 443))),
        of_l4(wild),
        of_l4(exact),
    ];
    resources.extend(cluster_of("older", &[older.address]));
    resources.extend(cluster_of("newer", &[newer.address]));
    let bench = Bench::start(resources);
    let client = Client::new(&authority);
    assert_eq!(
        said(bench.address(443), &client, "abc.example.com", 5),
        "newer"
    );
    assert_eq!(
        said(bench.address(443), &client, "x.example.com", 5),
        "older"
    );
    // A chain for any name, but no rule.
    let mut unknown = bench.connect(443);
    unknown.write_all(&hello("example.org")).unwrap();
    assert_eq!(ending(&mut unknown), (Vec::new(), "reset"));
    let lines = bench.lines(3);
    let line = lines
        .iter()
        .find(|line| line["requested_server_name"] == "example.org");
    assert_eq!(line.unwrap()["response_flags"], "NR");
}

#[test]
fn what_no_chain_takes_is_reset_without_an_alert() {
    let server = Server::echo();
    let bench = Bench::start(passing(&[("a.test", &server)]));
    for name in ["b.test", "192.0.2.1"] {
        let mut client = bench.connect(443);
        client.write_all(&hello(name)).unwrap();
        assert_eq!(ending(&mut client), (Vec::new(), "reset"), "{name}");
    }
    // Neither does anyone answer who does not speak TLS.
    let mut plain = bench.connect(443);
    plain.write_all(b"GET / HTTP/1.1\r\n\r\n").unwrap();
    assert_eq!(ending(&mut plain).0, b"");
    let names: Vec<_> = bench
        .lines(3)
        .iter()
        .map(|line| {
            assert_eq!(line["response_flags"], "NR");
            assert_eq!(line["response_code_details"], "filter_chain_not_found");
            line["requested_server_name"].as_str().map(str::to_owned)
        })
        .collect();
    assert_eq!(names, [Some("b.test".to_owned()), None, None]);
    assert_eq!(server.connections(), 0);
}

#[test]
fn a_known_name_without_a_living_server_is_reset() {
    let refused = refusing();
    for (servers, line) in [
        (vec![], "UH - - 0 0 - cluster0 a.test".to_owned()),
        (
            vec![refused],
            format!(
                "UF,URX - delayed_connect_error:_Connection_refused 0 0 {refused} cluster0 a.test"
            ),
        ),
    ] {
        let mut resources = passing(&[("a.test", &Server::echo())]);
        resources.extend(cluster_of("cluster0", &servers));
        let bench = Bench::start(Vec::new());
        bench.gateway().upsert(resources);
        let mut client = bench.connect(443);
        client.write_all(&hello("a.test")).unwrap();
        assert_eq!(ending(&mut client), (Vec::new(), "reset"));
        assert_eq!(bench.summary(), line);
    }
}

#[test]
fn modes_share_one_port() {
    let authority = Authority::new();
    let issued = authority.issue(&["abc.example.com", "tls.example.com", "www.example.com"]);
    let inner = tls_server(&issued, "through");
    let bytes = Server::start(|mut stream| {
        stream.write_all(b"plain  ")?;
        io::copy(&mut stream.try_clone()?, &mut stream).map(drop)
    });
    let gateway = TestGateway::start();
    let mut resources: Vec<Resource> = vec![
        listener(443),
        of_chain(hosts(tls(chain("web", 443), &["cert"]), &["*.example.com"])),
        of_route(route("web", "web")),
        of_chain(hosts(
            tcp(tls(chain("terminated", 443), &["cert"])),
            &["tls.example.com"],
        )),
        of_l4(l4_route("terminated", "terminated", &[("bytes", 1)])),
        of_chain(hosts(
            passthrough(chain("through", 443)),
            &["abc.example.com"],
        )),
        of_l4(l4_route("through", "through", &[("inner", 1)])),
        secret("cert", &issued.certificate, &issued.key),
    ];
    resources.extend(cluster("bytes", &[bytes.address]));
    resources.extend(cluster("inner", &[inner.address]));
    gateway.serve(resources);
    let address = gateway.address(443);
    let client = Client::new(&authority);
    assert_eq!(said(address, &client, "abc.example.com", 7), "through");
    assert_eq!(said(address, &client, "tls.example.com", 7), "plain  ");
    let mut web = client.connect(address, "www.example.com").unwrap();
    assert_eq!(web.get("www.example.com", "/").text(), "web");
    // Another chain's host on this connection: what it was before.
    assert_eq!(web.get("abc.example.com", "/").status, 421);
}
