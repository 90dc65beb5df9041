//! What a policy allows in a handshake: key exchange groups, cipher suites, OCSP responses.

#![cfg(test)]

mod support;

use gwanmun_ir::{
    FilterChain, Rejection, Resource, Secret, SecretMaterial, Security, Severity, TlsPolicy,
    TlsVersion,
};
use rustls::{
    crypto::aws_lc_rs::kx_group::{SECP256R1, SECP384R1, X25519},
    version::{TLS12, TLS13},
};
use std::{
    fs,
    io::Write,
    net::SocketAddr,
    process::{Command, Stdio},
};
use support::{
    TestGateway,
    build::*,
    tls::{Authority, Client},
};

const HOST: &str = "a.example.com";

/// A gateway with one host, and a client that trusts it.
struct Scene {
    authority: Authority,
    gateway: TestGateway,
}

impl Scene {
    fn new() -> Self {
        let authority = Authority::new();
        let server = authority.issue(&[HOST]);
        let gateway = TestGateway::start();
        gateway.serve(vec![
            listener(443),
            of_chain(site(|_| {})),
            of_route(route("a", "a")),
            secret("server", &server.certificate, &server.key),
        ]);
        Self { authority, gateway }
    }

    /// What the gateway says about a policy.
    fn allow(&self, change: impl FnOnce(&mut TlsPolicy)) -> Vec<Rejection> {
        let report = self.gateway.upsert(vec![of_chain(site(change))]);
        report.rejected
    }

    fn client(&self) -> Client {
        Client::new(&self.authority)
    }

    fn address(&self) -> SocketAddr {
        self.gateway.address(443)
    }
}

fn site(change: impl FnOnce(&mut TlsPolicy)) -> FilterChain {
    let mut own = hosts(tls(chain("a", 443), &["server"]), &[HOST]);
    if let Security::Tls(policy) = &mut own.security {
        change(policy);
    }
    own
}

#[test]
fn key_exchange_groups_are_the_policys() {
    let scene = Scene::new();
    let group = |client: &Client| {
        let tls = client.connect(scene.address(), HOST).ok()?;
        Some(tls.group())
    };
    let client = scene.client();
    assert_eq!(group(&client).as_deref(), Some("X25519MLKEM768"));
    let classic = Client {
        groups: Some(vec![X25519, SECP256R1, SECP384R1]),
        ..client.clone()
    };
    assert_eq!(group(&classic).as_deref(), Some("X25519"));

    let only = |names: &[&str]| {
        let names = names.iter().map(|name| (*name).to_owned()).collect();
        scene.allow(|policy| policy.key_exchange_groups = names)
    };
    assert_eq!(only(&["P-256"]), []);
    assert_eq!(group(&client).as_deref(), Some("secp256r1"));
    let another = Client {
        groups: Some(vec![X25519]),
        ..client.clone()
    };
    assert_eq!(group(&another), None);
    assert_eq!(only(&["secp384r1", "X25519"]), []);
    // What a client sent a key for saves a round trip.
    assert_eq!(group(&classic).as_deref(), Some("X25519"));
    let nist = Client {
        groups: Some(vec![SECP256R1, SECP384R1]),
        ..client.clone()
    };
    assert_eq!(group(&nist).as_deref(), Some("secp384r1"));

    let rejected = only(&["P-521", "secp256r1"]);
    assert_eq!(rejected[0].severity, Severity::Degraded, "{rejected:?}");
    assert!(rejected[0].message.contains("P-521"), "{rejected:?}");
    assert_eq!(group(&client).as_deref(), Some("secp256r1"));

    let rejected = only(&["P-521"]);
    assert_eq!(rejected[0].severity, Severity::Refused, "{rejected:?}");
    assert!(rejected[0].message.contains("P-521"), "{rejected:?}");
    assert_eq!(group(&client), None, "others than were asked for");
}

#[test]
fn cipher_suites_are_the_policys() {
    let scene = Scene::new();
    let cipher = |version| {
        let client = scene.client().speaking(version);
        let tls = client.connect(scene.address(), HOST).ok()?;
        Some(tls.cipher())
    };
    let only = |names: &[&str], highest| {
        let names = names.iter().map(|name| (*name).to_owned()).collect();
        scene.allow(|policy| {
            policy.cipher_suites = names;
            policy.max_version = highest;
        })
    };
    for name in [
        "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256",
        "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256",
    ] {
        assert_eq!(only(&[name], TlsVersion::V13), []);
        assert_eq!(cipher(&TLS12).as_deref(), Some(name));
        assert!(cipher(&TLS13).is_some(), "those of 1.3 are not restricted");
    }
    let unknown = "TLS_RSA_WITH_AES_128_CBC_SHA";
    let rejected = only(&[unknown], TlsVersion::V13);
    assert_eq!(rejected[0].severity, Severity::Degraded, "{rejected:?}");
    assert!(rejected[0].message.contains(unknown), "{rejected:?}");
    assert_eq!(cipher(&TLS12), None);
    assert!(cipher(&TLS13).is_some());
    let rejected = only(&[unknown], TlsVersion::V12);
    assert_eq!(rejected[0].severity, Severity::Refused, "{rejected:?}");
    assert_eq!(cipher(&TLS12), None);
    assert_eq!(cipher(&TLS13), None);
}

/// Runs openssl in a folder; what it prints.
fn openssl(folder: &std::path::Path, line: &str) -> String {
    let mut child = Command::new("openssl")
        .args(line.split(' '))
        .current_dir(folder)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdin.take());
    let out = child.wait_with_output().unwrap();
    let text = String::from_utf8_lossy(&out.stdout) + String::from_utf8_lossy(&out.stderr);
    text.into_owned()
}

/// Two certificates of one authority, and the responder's answers about each.
fn responses(folder: &std::path::Path) {
    let run = |line: &str| openssl(folder, line);
    run("req -x509 -newkey rsa:2048 -nodes -days 300 -subj /CN=ca -keyout ca.key -out ca.crt");
    for (name, serial) in [("own", "1001"), ("other", "1002"), ("revoked", "1003")] {
        run(&format!(
            "req -newkey rsa:2048 -nodes -subj /CN={name} -keyout {name}.key -out {name}.csr"
        ));
        fs::write(
            folder.join("ext"),
            format!("subjectAltName=DNS:{HOST}\nbasicConstraints=CA:FALSE\n"),
        )
        .unwrap();
        run(&format!(
            "x509 -req -in {name}.csr -CA ca.crt -CAkey ca.key -set_serial 0x{serial} -days 300 \
             -extfile ext -out {name}.crt"
        ));
    }
    fs::write(
        folder.join("index"),
        "V\t400101000000Z\t\t1001\tunknown\t/CN=own\n\
         V\t400101000000Z\t\t1002\tunknown\t/CN=other\n\
         R\t400101000000Z\t200101000000Z\t1003\tunknown\t/CN=revoked\n",
    )
    .unwrap();
    for name in ["own", "other", "revoked"] {
        run(&format!(
            "ocsp -issuer ca.crt -cert {name}.crt -reqout {name}.req"
        ));
        run(&format!(
            "ocsp -index index -CA ca.crt -rsigner ca.crt -rkey ca.key -reqin {name}.req \
             -respout {name}.ocsp -ndays 1"
        ));
    }
}

#[test]
fn an_ocsp_response_is_stapled_when_it_is_one_and_in_time() {
    let folder = tempfile::tempdir().unwrap();
    responses(folder.path());
    let read = |name: &str| fs::read(folder.path().join(name)).unwrap();
    let text = |name: &str| String::from_utf8(read(name)).unwrap();
    let scene = Scene::new();
    let staple = |name: &str, response: &[u8]| {
        let encoded = encode(response);
        let Resource::Secret(Secret { key, source, .. }) = secret("server", "", "") else {
            unreachable!()
        };
        let material = SecretMaterial::KeyPair {
            certificates: gwanmun_ir::Pem::new(text(&format!("{name}.crt"))),
            private_key: gwanmun_ir::PrivatePem::new(text(&format!("{name}.key"))),
            ocsp_staple: Some(encoded),
        };
        let report = scene.gateway.upsert(vec![Resource::Secret(Secret {
            key,
            material,
            source,
        })]);
        let line = format!(
            "s_client -connect {} -servername {HOST} -status",
            scene.address()
        );
        let shown = openssl(folder.path(), &line);
        assert!(shown.contains("BEGIN CERTIFICATE"), "{shown}");
        let sent = shown.contains("OCSP Response Status: successful");
        assert_eq!(sent, !shown.contains("OCSP response: no response sent"));
        let told = report.rejected.into_iter().next();
        (sent, told.map(|one| (one.severity, one.message)))
    };
    let own = read("own.ocsp");
    assert_eq!(staple("own", &own), (true, None));
    for (name, response, sent, reason) in [
        ("own", read("other.ocsp"), false, "not about"),
        ("own", b"nonsense".to_vec(), false, "malformed"),
        ("own", own[..own.len() / 2].to_vec(), false, "malformed"),
        // `tryLater`
        ("own", vec![0x30, 3, 0x0a, 1, 3], false, "no answer"),
        ("own", aged(&own), false, "out of date"),
        ("revoked", read("revoked.ocsp"), true, "good"),
    ] {
        let (was_sent, told) = staple(name, &response);
        let (severity, message) = told.expect(reason);
        assert_eq!(was_sent, sent, "{message}");
        assert_eq!(severity, Severity::Degraded);
        assert!(message.contains(reason), "{message}");
    }
    assert_eq!(staple("own", &own), (true, None));
}

/// The same response with all its times in 2001.
fn aged(response: &[u8]) -> Vec<u8> {
    let mut aged = response.to_vec();
    for start in 0..aged.len().saturating_sub(17) {
        if aged[start..].starts_with(&[0x18, 15]) && aged[start + 16] == b'Z' {
            aged[start + 2..start + 6].copy_from_slice(b"2001");
        }
    }
    aged
}

fn encode(bytes: &[u8]) -> String {
    let mut child = Command::new("base64")
        .args(["-w", "0"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(bytes).unwrap();
    let out = child.wait_with_output().unwrap();
    String::from_utf8(out.stdout).unwrap()
}
