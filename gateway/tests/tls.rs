//! TLS termination: which certificate and chain a client gets, and what changes leave alone.

#![cfg(test)]

mod support;

use gwanmun_certs::Certificate;
use gwanmun_ir::{
    FilterChain, Key, Resource, Secret, SecretKey, SecretMaterial, Security, Severity, TlsVersion,
};
use rustls::ProtocolVersion;
use std::{io::Write, time::Duration};
use support::{
    TestGateway,
    build::*,
    client::Raw,
    tls::{Authority, Client, Issued},
};

fn der(issued: &Issued) -> Vec<u8> {
    let chain = Certificate::parse_chain(&issued.certificate).unwrap();
    chain[0].der().to_vec()
}

/// A chain named `name` for `host`, with the secret of the same name and a route that answers it.
fn site(name: &str, host: Option<&str>, issued: &Issued) -> Vec<Resource> {
    let own = tls(chain(name, 443), &[name]);
    let own = host.map_or_else(|| own.clone(), |host| hosts(own.clone(), &[host]));
    vec![
        of_chain(own),
        of_route(route(name, name)),
        secret(name, &issued.certificate, &issued.key),
    ]
}

fn start(sites: Vec<Vec<Resource>>) -> TestGateway {
    let gateway = TestGateway::start();
    let mut resources = vec![listener(443)];
    resources.extend(sites.into_iter().flatten());
    gateway.serve(resources);
    gateway
}

#[test]
fn the_server_name_chooses_certificate_and_chain() {
    let authority = Authority::new();
    let exact = authority.issue(&["a.example.com"]);
    let wild = authority.issue(&["*.example.com", "x.y.example.com"]);
    let any = authority.issue(&["any.org", "other.org"]);
    let gateway = start(vec![
        site("exact", Some("a.example.com"), &exact),
        site("wild", Some("*.example.com"), &wild),
        site("any", None, &any),
    ]);
    let address = gateway.address(443);
    let client = Client::new(&authority);
    for (name, expected, certificate) in [
        ("a.example.com", "exact", &exact),
        ("A.Example.COM", "exact", &exact),
        ("b.example.com", "wild", &wild),
        ("x.y.example.com", "wild", &wild),
        ("any.org", "any", &any),
    ] {
        let mut tls = client.connect(address, name).unwrap();
        assert_eq!(tls.certificate(), der(certificate), "{name}");
        assert_eq!(tls.get(name, "/").text(), expected, "{name}");
    }
    let without = Client {
        sni: false,
        ..client
    };
    let mut tls = without.connect(address, "other.org").unwrap();
    assert_eq!(tls.get("other.org", "/").text(), "any");
}

#[test]
fn an_unknown_server_name_is_not_served() {
    let authority = Authority::new();
    let issued = authority.issue(&["a.example.com", "b.example.com"]);
    let gateway = start(vec![site("a", Some("a.example.com"), &issued)]);
    let client = Client::new(&authority);
    client
        .connect(gateway.address(443), "a.example.com")
        .unwrap();
    assert!(
        client
            .connect(gateway.address(443), "b.example.com")
            .is_err()
    );
    let without = Client {
        sni: false,
        ..client
    };
    assert!(
        without
            .connect(gateway.address(443), "a.example.com")
            .is_err()
    );
}

#[test]
fn a_host_of_another_chain_is_misdirected() {
    let authority = Authority::new();
    let both = authority.issue(&["a.example.com", "b.example.com"]);
    let gateway = start(vec![
        site("a", Some("a.example.com"), &both),
        site("b", Some("b.example.com"), &both),
    ]);
    let client = Client::new(&authority);
    let mut tls = client
        .connect(gateway.address(443), "a.example.com")
        .unwrap();
    assert_eq!(tls.get("a.example.com", "/").status, 200);
    assert_eq!(tls.get("b.example.com", "/").status, 421);
    assert_eq!(tls.get("c.example.com", "/").status, 404);
    assert_eq!(tls.get("a.example.com:8443", "/").status, 200);
}

#[test]
fn versions_and_protocols_are_the_policys() {
    let authority = Authority::new();
    let issued = authority.issue(&["a.example.com"]);
    let restrict = |resources: Vec<Resource>, min, max| {
        let each = resources.into_iter();
        each.map(|mut resource| {
            if let Resource::Chain(chain) = &mut resource
                && let Security::Tls(policy) = &mut chain.security
            {
                (policy.min_version, policy.max_version) = (min, max);
            }
            resource
        })
        .collect::<Vec<Resource>>()
    };
    let all = site("a", Some("a.example.com"), &issued);
    let gateway = start(vec![all.clone()]);
    let client = Client::new(&authority);
    let connect = |client: &Client| client.connect(gateway.address(443), "a.example.com");
    assert_eq!(
        connect(&client).unwrap().version(),
        ProtocolVersion::TLSv1_3
    );
    let old = Client {
        versions: vec![&rustls::version::TLS12],
        ..client.clone()
    };
    assert_eq!(connect(&old).unwrap().version(), ProtocolVersion::TLSv1_2);

    for (offered, expected) in [
        (&["h2", "http/1.1"][..], Some("h2")),
        (&["http/1.1"], Some("http/1.1")),
        (&["http/1.1", "h2"], Some("h2")),
        (&["spdy/3"], None),
        (&[], None),
    ] {
        let tls = connect(&client.clone().offering(offered)).unwrap();
        assert_eq!(tls.alpn().as_deref(), expected, "{offered:?}");
    }

    gateway.upsert(restrict(all.clone(), TlsVersion::V13, TlsVersion::V13));
    assert!(connect(&old).is_err());
    connect(&client).unwrap();
    gateway.upsert(restrict(all, TlsVersion::V12, TlsVersion::V12));
    assert_eq!(
        connect(&client).unwrap().version(),
        ProtocolVersion::TLSv1_2
    );
}

#[test]
fn the_certificate_fits_the_clients_algorithms() {
    let authority = Authority::new();
    let rsa = authority.issue_with(&["a.example.com"], &rcgen::PKCS_RSA_SHA256);
    let ecdsa = authority.issue(&["a.example.com"]);
    let gateway = TestGateway::start();
    let own = tls(chain("a", 443), &["ecdsa", "rsa"]);
    gateway.serve(vec![
        listener(443),
        of_chain(own),
        of_route(route("a", "a")),
        secret("rsa", &rsa.certificate, &rsa.key),
        secret("ecdsa", &ecdsa.certificate, &ecdsa.key),
    ]);
    let client = Client::new(&authority);
    let modern = client.connect(gateway.address(443), "a.example.com");
    assert_eq!(modern.unwrap().certificate(), der(&ecdsa));
    let old = Client {
        rsa_only: true,
        versions: vec![&rustls::version::TLS12],
        ..client
    };
    let served = old.connect(gateway.address(443), "a.example.com");
    assert_eq!(served.unwrap().certificate(), der(&rsa));
    // Without one that fits, the alert is the one that clients know what to do with.
    gateway.upsert(vec![of_chain(tls(chain("a", 443), &["ecdsa"]))]);
    let refused = old.connect(gateway.address(443), "a.example.com");
    let reason = refused.err().unwrap().to_string();
    assert!(reason.contains("HandshakeFailure"), "{reason}");
}

#[test]
fn a_new_certificate_serves_new_connections_and_leaves_open_ones_alone() {
    let authority = Authority::new();
    let (old, new) = (
        authority.issue(&["a.example.com"]),
        authority.issue(&["a.example.com"]),
    );
    let gateway = start(vec![site("a", None, &old)]);
    let client = Client::new(&authority);
    let connect = || {
        client
            .connect(gateway.address(443), "a.example.com")
            .unwrap()
    };
    let mut open = connect();
    assert_eq!(open.get("a.example.com", "/").status, 200);
    let report = gateway.upsert(vec![secret("a", &new.certificate, &new.key)]);
    assert_eq!(report.rejected, []);
    assert_eq!(connect().certificate(), der(&new));
    assert_eq!(open.certificate(), der(&old));
    assert_eq!(open.get("a.example.com", "/").status, 200);
}

#[test]
fn a_bad_secret_fails_its_own_server_name_only() {
    let authority = Authority::new();
    let (a, b) = (
        authority.issue(&["a.example.com"]),
        authority.issue(&["b.example.com"]),
    );
    let gateway = TestGateway::start();
    let mut resources = vec![listener(443)];
    resources.extend(site("a", Some("a.example.com"), &a));
    resources.extend(site("b", Some("b.example.com"), &b));
    resources.extend(site("any", None, &a));
    // The key of another certificate.
    resources.retain(|one| one.key() != Key::Secret(SecretKey::new("b")));
    resources.push(secret("b", &b.certificate, &a.key));
    let report = gateway.serve(resources);
    let said: Vec<_> = report
        .rejected
        .iter()
        .map(|one| (one.key.to_string(), one.severity, one.message.clone()))
        .collect();
    assert_eq!(
        said,
        [
            (
                "filter chain b".to_owned(),
                Severity::Refused,
                "no usable certificate in b; its handshakes fail".to_owned()
            ),
            (
                "secret b".to_owned(),
                Severity::Refused,
                "private key: the private key does not belong to the certificate \
                 `b.example.com`; handshakes that need it fail"
                    .to_owned()
            ),
        ]
    );
    let client = Client::new(&authority);
    let connect = |name: &str| client.connect(gateway.address(443), name);
    connect("a.example.com").unwrap();
    // Not by the chain for any name either: it is not its business.
    assert!(connect("b.example.com").is_err());

    // It is said as long as it is so.
    let report = gateway.upsert(vec![of_route(route("other", "a"))]);
    assert_eq!(report.rejected.len(), 2);

    // Repaired, it serves; broken again, the last good pair stays.
    let report = gateway.upsert(vec![secret("b", &b.certificate, &b.key)]);
    assert_eq!(report.rejected, []);
    assert_eq!(connect("b.example.com").unwrap().certificate(), der(&b));
    let report = gateway.upsert(vec![Resource::Secret(Secret {
        key: SecretKey::new("b"),
        material: SecretMaterial::Invalid {
            reason: "tls.key is missing".to_owned(),
        },
        source: source("b"),
    })]);
    assert_eq!(report.rejected.len(), 1);
    assert_eq!(report.rejected[0].severity, Severity::Degraded);
    assert_eq!(
        report.rejected[0].message,
        "tls.key is missing; the earlier certificate `b.example.com` stays in service"
    );
    assert_eq!(connect("b.example.com").unwrap().certificate(), der(&b));

    // Deleted, its server name ends.
    gateway.remove(vec![Key::Secret(SecretKey::new("b"))]);
    assert!(connect("b.example.com").is_err());
    connect("a.example.com").unwrap();
}

#[test]
fn plaintext_on_a_tls_port_is_closed_without_an_answer() {
    let authority = Authority::new();
    let issued = authority.issue(&["a.example.com"]);
    for host in [None, Some("a.example.com")] {
        let gateway = start(vec![site("a", host, &issued)]);
        let mut raw = Raw::connect(gateway.address(443));
        raw.send("GET / HTTP/1.1\r\nHost: a.example.com\r\n\r\n");
        assert_eq!(raw.rest(), b"");
    }
}

#[test]
fn a_silent_client_is_cut_off() {
    let authority = Authority::new();
    let issued = authority.issue(&["a.example.com"]);
    let gateway = TestGateway::with(|config| {
        config.limits.handshake_timeout = Duration::from_millis(100);
    });
    let mut resources = vec![listener(443)];
    resources.extend(site("a", None, &issued));
    gateway.serve(resources);
    assert!(Raw::connect(gateway.address(443)).is_ended());
}

#[test]
fn an_endless_hello_is_cut_off() {
    let authority = Authority::new();
    let issued = authority.issue(&["a.example.com"]);
    let gateway = start(vec![site("a", None, &issued)]);
    // A hello that announces 128 KiB, in records of 4 KiB.
    let mut raw = Raw::connect(gateway.address(443));
    let mut record = vec![0x16, 3, 1, 0x10, 0, 1, 2, 0, 0];
    record.resize(5 + 0x1000, 0);
    for _ in 0..8 {
        if raw.stream().write_all(&record).is_err() {
            return;
        }
    }
    assert!(raw.is_ended());
}

#[test]
fn plaintext_and_tls_share_a_port_when_both_are_asked_for() {
    let authority = Authority::new();
    let issued = authority.issue(&["a.example.com"]);
    let plain: FilterChain = chain("plain", 443);
    let mut resources = site("a", None, &issued);
    resources.push(of_chain(plain));
    resources.push(of_route(route("plain", "plain")));
    let gateway = start(vec![resources]);
    let answer = support::client::get(gateway.address(443), "a.example.com", "/");
    assert_eq!(answer.text(), "plain");
    let client = Client::new(&authority);
    let mut tls = client
        .connect(gateway.address(443), "a.example.com")
        .unwrap();
    assert_eq!(tls.get("a.example.com", "/").text(), "a");
}
