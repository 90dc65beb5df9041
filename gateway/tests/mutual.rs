//! Client certificates: which are served, which are refused, and what upstreams learn of them.

#![cfg(test)]

mod support;

use gwanmun_ir::{
    ClientCertificates, ClientValidation, FilterChain, ForwardClientCert, Key, Resource, Secret,
    SecretKey, SecretMaterial, Severity,
};
use rcgen::{ExtendedKeyUsagePurpose, SanType, SerialNumber, date_time_ymd};
use rustls::version::{TLS12, TLS13};
use std::{io, net::SocketAddr};
use support::{
    TestGateway,
    build::*,
    tls::{Authority, Client, Issued},
    upstream::Upstream,
};

const HOST: &str = "a.example.com";

/// A server, and an authority for its clients.
struct Scene {
    servers: Authority,
    clients: Authority,
    server: Issued,
    gateway: TestGateway,
}

impl Scene {
    fn new(asked: ClientCertificates) -> Self {
        Self::with(asked, |_| {})
    }

    fn with(asked: ClientCertificates, change: impl FnOnce(&mut FilterChain)) -> Self {
        let (servers, clients) = (Authority::new(), Authority::new());
        let server = servers.issue(&[HOST, "b.example.com"]);
        let gateway = TestGateway::start();
        let mut own = hosts(tls(chain("a", 443), &["server"]), &[HOST]);
        own = support::build::clients(own, asked);
        change(&mut own);
        gateway.serve(vec![
            listener(443),
            of_chain(own),
            of_route(route("a", "a")),
            secret("server", &server.certificate, &server.key),
            anchors("ca", &clients.certificate(), None),
        ]);
        Self {
            servers,
            clients,
            server,
            gateway,
        }
    }

    fn client(&self) -> Client {
        Client::new(&self.servers)
    }

    fn address(&self) -> SocketAddr {
        self.gateway.address(443)
    }

    /// One request on a connection of its own.
    fn ask(&self, client: &Client) -> io::Result<u16> {
        let mut tls = client.connect(self.address(), HOST)?;
        tls.try_get(HOST, "/").map(|response| response.status)
    }

    /// The outcome, which must be the same with each version. The reason is that of TLS 1.2: in
    /// 1.3 the client has sent its request when it learns it, and may find the connection reset.
    fn outcome(&self, client: &Client) -> Result<u16, String> {
        let new = self.ask(&client.clone().speaking(&TLS13));
        let old = self.ask(&client.clone().speaking(&TLS12));
        assert_eq!(new.is_ok(), old.is_ok(), "{new:?} {old:?}");
        old.map_err(|error| error.to_string())
    }
}

fn required() -> ClientCertificates {
    ClientCertificates::Required(validation("ca"))
}

fn optional() -> ClientCertificates {
    ClientCertificates::Optional(validation("ca"))
}

#[test]
fn a_required_certificate_is_verified() {
    let scene = Scene::new(required());
    let (ca, client) = (&scene.clients, scene.client());
    let good = client.clone().showing(&ca.issue(&["anything"]));
    assert_eq!(scene.outcome(&good), Ok(200));
    let unnamed = client.clone().showing(&ca.issue(&[]));
    assert_eq!(scene.outcome(&unnamed), Ok(200));
    let missing = scene.outcome(&client).unwrap_err();
    assert!(missing.contains("CertificateRequired"), "{missing}");
    for (name, identity, alert) in [
        (
            // Of the same name as the authority that is trusted.
            "another authority",
            Authority::new().issue(&["x"]),
            "UnknownCA",
        ),
        (
            "expired",
            ca.issue_as(&["x"], |params| {
                params.not_after = date_time_ymd(2020, 1, 1);
            }),
            "CertificateExpired",
        ),
        (
            "not yet valid",
            ca.issue_as(&["x"], |params| {
                params.not_before = date_time_ymd(2040, 1, 1);
            }),
            "",
        ),
        (
            "for servers",
            ca.issue_as(&["x"], |params| {
                params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
            }),
            "",
        ),
    ] {
        let outcome = scene.outcome(&client.clone().showing(&identity));
        let error = outcome.expect_err(name);
        assert!(error.contains(alert), "{name}: {error}");
    }
}

#[test]
fn an_optional_certificate_is_verified_where_there_is_one() {
    let scene = Scene::new(optional());
    let client = scene.client();
    assert_eq!(scene.outcome(&client), Ok(200));
    let good = scene.clients.issue(&["x"]);
    assert_eq!(scene.outcome(&client.clone().showing(&good)), Ok(200));
    let bad = Authority::new().issue(&["x"]);
    assert!(scene.outcome(&client.showing(&bad)).is_err());
}

#[test]
fn a_certificate_can_be_demanded_without_being_verified() {
    let scene = Scene::new(ClientCertificates::Presented);
    let missing = scene.outcome(&scene.client()).unwrap_err();
    assert!(missing.contains("CertificateRequired"), "{missing}");
    let any = scene.client().showing(&Authority::new().issue(&["x"]));
    assert_eq!(scene.outcome(&any), Ok(200));
}

#[test]
fn anchors_that_share_a_name_are_told_apart_by_their_keys() {
    let scene = Scene::new(required());
    let (first, second) = (Authority::new(), Authority::new());
    let both = format!("{}{}", first.certificate(), second.certificate());
    scene.gateway.upsert(vec![anchors("ca", &both, None)]);
    let between = second.intermediate("between");
    let mut deep = between.issue(&["x"]);
    let showing = |issued: &Issued| scene.outcome(&scene.client().showing(issued));
    assert_eq!(showing(&first.issue(&["x"])), Ok(200));
    assert_eq!(showing(&second.issue(&["x"])), Ok(200));
    assert!(showing(&deep).is_err(), "its issuer is missing");
    deep.certificate.push_str(&between.certificate());
    assert_eq!(showing(&deep), Ok(200));
    assert!(showing(&scene.clients.issue(&["x"])).is_err());
}

#[test]
fn revoked_certificates_and_stale_lists_are_refused() {
    let scene = Scene::new(required());
    let ca = &scene.clients;
    let numbered = |serial: u8| {
        ca.issue_as(&["x"], |params| {
            params.serial_number = Some(SerialNumber::from(vec![serial]));
        })
    };
    let (revoked, fine) = (numbered(7), numbered(8));
    let showing = |issued: &Issued| scene.outcome(&scene.client().showing(issued));
    assert_eq!(showing(&revoked), Ok(200));
    let with = |list: &str| {
        let report = scene
            .gateway
            .upsert(vec![anchors("ca", &ca.certificate(), Some(list))]);
        assert_eq!(report.rejected, [], "{list}");
    };
    with(&ca.revoke(&[7], 2040));
    let error = showing(&revoked).unwrap_err();
    assert!(error.contains("CertificateRevoked"), "{error}");
    assert_eq!(showing(&fine), Ok(200));
    with(&ca.revoke(&[7], 2021));
    assert!(showing(&fine).is_err());
}

#[test]
fn names_and_pins_are_demanded() {
    let name = "spiffe://a/b";
    let with = |change: &dyn Fn(&mut ClientValidation)| {
        let mut wanted = validation("ca");
        change(&mut wanted);
        Scene::new(ClientCertificates::Required(wanted))
    };
    let scene = with(&|wanted| wanted.subject_alt_names = vec![name.into(), "c.test".into()]);
    let ca = &scene.clients;
    let uri = |uri: &str| {
        ca.issue_as(&[], |params| {
            params.subject_alt_names = vec![SanType::URI(uri.try_into().unwrap())];
        })
    };
    let showing = |issued: &Issued| scene.outcome(&scene.client().showing(issued));
    assert_eq!(showing(&uri(name)), Ok(200));
    assert!(showing(&uri("spiffe://a/b/c")).is_err());
    assert_eq!(showing(&ca.issue(&["other", "c.test"])), Ok(200));
    assert!(showing(&ca.issue(&["d.test"])).is_err());

    let pinned = ca.issue(&["x"]);
    let value = &gwanmun_certs::Certificate::parse_chain(&pinned.certificate).unwrap()[0];
    for (key, hash, served) in [
        (Some(base64(&value.key_hash())), None, true),
        (None, Some(value.fingerprint()), true),
        (Some(base64(&[0; 32])), Some(value.fingerprint()), true),
        (Some(base64(&[0; 32])), None, false),
        (Some("nonsense".to_owned()), None, false),
    ] {
        let mut wanted = validation("ca");
        wanted.spki_sha256.extend(key.clone());
        wanted.certificate_sha256.extend(hash);
        let own = hosts(tls(chain("a", 443), &["server"]), &[HOST]);
        let own = clients(own, ClientCertificates::Required(wanted));
        let report = scene.gateway.upsert(vec![of_chain(own)]);
        let invalid = key.as_deref() == Some("nonsense");
        assert_eq!(report.rejected.len(), usize::from(invalid), "{report:?}");
        assert_eq!(showing(&pinned).is_ok(), served, "{key:?}");
        assert!(showing(&ca.issue(&["x"])).is_err());
    }
}

fn base64(bytes: &[u8]) -> String {
    use std::io::{Read, Write};
    let mut child = std::process::Command::new("base64")
        .args(["-w", "0"])
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(bytes).unwrap();
    let mut text = String::new();
    child
        .stdout
        .take()
        .unwrap()
        .read_to_string(&mut text)
        .unwrap();
    child.wait().unwrap();
    text
}

#[test]
fn missing_anchors_fail_the_handshakes_that_need_them_and_no_others() {
    let scene = Scene::new(required());
    let good = scene.client().showing(&scene.clients.issue(&["x"]));
    let other = hosts(tls(chain("b", 443), &["server"]), &["b.example.com"]);
    scene
        .gateway
        .upsert(vec![of_chain(other), of_route(route("b", "b"))]);
    let open = || {
        let mut tls = scene.client().connect(scene.address(), "b.example.com");
        let tls = tls.as_mut().unwrap();
        tls.get("b.example.com", "/").status
    };
    // A broken version leaves the one before in service.
    let report = scene.gateway.upsert(vec![anchors("ca", "nonsense", None)]);
    assert_eq!(report.rejected[0].severity, Severity::Degraded);
    assert_eq!(scene.outcome(&good), Ok(200));
    let report = scene
        .gateway
        .remove(vec![Key::Secret(SecretKey::new("ca"))]);
    assert_eq!(report.rejected[0].severity, Severity::Refused);
    assert!(
        report.rejected[0]
            .message
            .contains("no usable trust anchors")
    );
    assert!(scene.outcome(&good).is_err());
    assert!(scene.outcome(&scene.client()).is_err());
    assert_eq!(open(), 200);
    scene
        .gateway
        .upsert(vec![anchors("ca", &scene.clients.certificate(), None)]);
    assert_eq!(scene.outcome(&good), Ok(200));
}

#[test]
fn chains_of_one_host_do_not_open_each_other() {
    let scene = Scene::new(required());
    let mut open = hosts(tls(chain("open", 443), &["server"]), &[HOST]);
    open.rank = (i64::MAX, "later".into());
    scene
        .gateway
        .upsert(vec![of_chain(open), of_route(route("open", "open"))]);
    assert!(scene.outcome(&scene.client()).is_err());
    scene
        .gateway
        .remove(vec![Key::Secret(SecretKey::new("ca"))]);
    assert!(scene.outcome(&scene.client()).is_err());
}

/// The upstream's view of `x-forwarded-client-cert`, `-` without.
fn told(
    rule: ForwardClientCert,
    asked: ClientCertificates,
    client: impl Fn(&Scene) -> Client,
    sent: Option<&str>,
) -> Vec<String> {
    let upstream = Upstream::start(false, |asked| {
        let fields = asked.headers.iter();
        let found: Vec<&str> = fields
            .filter(|(name, _)| name == "x-forwarded-client-cert")
            .map(|(_, value)| value.as_str())
            .collect();
        hyper::Response::new(found.join("|").into())
    });
    let scene = Scene::with(asked, |chain| {
        if let gwanmun_ir::AppProtocol::Http(http) = &mut chain.protocol {
            http.forward_client_cert = rule;
        }
    });
    let mut to_upstream = route("a", "a");
    to_upstream.action = forward("up");
    let mut resources = vec![of_route(to_upstream)];
    resources.extend(cluster("up", &[upstream.address()]));
    scene.gateway.upsert(resources);
    let client = client(&scene).resuming();
    let mut seen = Vec::new();
    for _ in 0..2 {
        let mut tls = client.connect(scene.address(), HOST).unwrap();
        let extra = sent.map(|value| format!("X-Forwarded-Client-Cert: {value}\r\n"));
        let response = tls.get_with(HOST, "/", &extra.unwrap_or_default());
        assert_eq!(response.status, 200);
        assert_eq!(tls.is_resumed(), !seen.is_empty());
        seen.push(response.text());
    }
    assert_eq!(seen[0], seen[1], "a resumed session is the same client");
    seen
}

#[test]
fn upstreams_learn_the_verified_certificate_and_nothing_else() {
    let identity = |scene: &Scene| {
        let issued = scene
            .clients
            .issue_as(&["c.example.com", "d.example.com"], |params| {
                let mut subject = rcgen::DistinguishedName::new();
                subject.push(rcgen::DnType::CountryName, "DE");
                subject.push(rcgen::DnType::OrganizationName, "Acme, Inc");
                subject.push(rcgen::DnType::OrganizationalUnitName, "Team \"A\"");
                subject.push(rcgen::DnType::CommonName, "client-1;é");
                params.distinguished_name = subject;
                let uri = "spiffe://a/b;Hash=0,Subject=\"root\"";
                params
                    .subject_alt_names
                    .push(SanType::URI(uri.try_into().unwrap()));
            });
        scene.client().showing(&issued)
    };
    let forged = Some("Hash=forged");
    let seen = &told(ForwardClientCert::SanitizeSet, required(), identity, forged)[0];
    assert!(seen.starts_with("Hash="), "{seen}");
    assert!(
        seen.contains(";Cert=\"-----BEGIN%20CERTIFICATE-----%0A"),
        "{seen}"
    );
    let tail = "%0A-----END%20CERTIFICATE-----%0A\";\
         Subject=\"CN=client-1\\;\\C3\\A9,OU=Team \\\"A\\\",O=Acme\\, Inc,C=DE\";\
         URI=\"spiffe://a/b;Hash=0,Subject=\\\"root\\\"\";DNS=c.example.com;DNS=d.example.com";
    assert!(seen.ends_with(tail), "{seen}");

    let appended = &told(
        ForwardClientCert::AppendForward,
        required(),
        identity,
        forged,
    )[0];
    assert!(appended.starts_with("Hash=forged,Hash="), "{appended}");
    let plain = |scene: &Scene| scene.client();
    for (rule, asked, sent, expected) in [
        (ForwardClientCert::SanitizeSet, optional(), forged, ""),
        (ForwardClientCert::AppendForward, optional(), forged, ""),
        (ForwardClientCert::ForwardOnly, optional(), forged, ""),
        (
            ForwardClientCert::AlwaysForwardOnly,
            optional(),
            forged,
            "Hash=forged",
        ),
        (
            ForwardClientCert::SanitizeSet,
            ClientCertificates::NotRequested,
            forged,
            "",
        ),
    ] {
        assert_eq!(told(rule, asked, plain, sent)[0], expected, "{rule:?}");
    }
    for (rule, asked, expected) in [
        (ForwardClientCert::Sanitize, required(), ""),
        (ForwardClientCert::ForwardOnly, required(), "Hash=forged"),
        (
            ForwardClientCert::SanitizeSet,
            ClientCertificates::Unverified,
            "",
        ),
        (
            ForwardClientCert::ForwardOnly,
            ClientCertificates::Unverified,
            "",
        ),
        (
            ForwardClientCert::AppendForward,
            ClientCertificates::Presented,
            "",
        ),
    ] {
        assert_eq!(told(rule, asked, identity, forged)[0], expected, "{rule:?}");
    }
}

/// Writes a pair next to its place and puts it there at once.
fn replace(path: &std::path::Path, text: &str) {
    let fresh = path.with_extension("new");
    std::fs::write(&fresh, text).unwrap();
    std::fs::rename(&fresh, path).unwrap();
}

/// Waits until `done`, at most for the second a change may take and what a slow machine adds.
fn eventually(what: &str, mut done: impl FnMut() -> bool) {
    let began = std::time::Instant::now();
    while !done() {
        assert!(began.elapsed().as_secs() < 5, "{what}");
        std::thread::yield_now();
    }
}

#[test]
fn secrets_in_files_are_followed() {
    let scene = Scene::new(required());
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str| folder.path().join(name);
    let named = |name: &str| file(name).to_str().unwrap().to_owned();
    let of = |key: &str, material| {
        Resource::Secret(Secret {
            key: SecretKey::new(key),
            material,
            source: source(key),
        })
    };
    // Certificate and key behind a link to a folder, as mounted volumes have them.
    let version = |name: &str, issued: &Issued| {
        std::fs::create_dir(file(name)).unwrap();
        std::fs::write(file(name).join("crt"), &issued.certificate).unwrap();
        std::fs::write(file(name).join("key"), &issued.key).unwrap();
    };
    version("v1", &scene.server);
    std::os::unix::fs::symlink("v1", file("now")).unwrap();
    let report = scene.gateway.upsert(vec![
        of(
            "server",
            SecretMaterial::KeyPairFiles {
                certificates: named("now/crt"),
                private_key: named("now/key"),
            },
        ),
        of(
            "ca",
            SecretMaterial::AnchorFiles {
                certificates: named("ca.pem"),
                revocations: None,
            },
        ),
    ]);
    // The earlier anchors stay in service.
    assert!(report.rejected[0].message.contains("ca.pem"), "{report:?}");
    let first = scene.client().showing(&scene.clients.issue(&["x"]));
    assert_eq!(scene.outcome(&first), Ok(200));

    let rejected = || scene.gateway.gateway().report().rejected;
    let clients = Authority::new();
    replace(&file("ca.pem"), &clients.certificate());
    let second = scene.client().showing(&clients.issue(&["x"]));
    eventually("new anchors are served", || scene.ask(&second).is_ok());
    assert!(scene.outcome(&first).is_err());
    assert_eq!(rejected(), []);

    let shown = || {
        let mut tls = second.connect(scene.address(), HOST).unwrap();
        assert_eq!(tls.get(HOST, "/").status, 200);
        tls.certificate()
    };
    let before = shown();
    let new = scene.servers.issue(&[HOST]);
    version("v2", &new);
    std::os::unix::fs::symlink("v2", file("next")).unwrap();
    std::fs::rename(file("next"), file("now")).unwrap();
    eventually("the new certificate is served", || shown() != before);

    // Half of a change leaves the last good pair.
    let (served, other) = (shown(), scene.servers.issue(&[HOST]));
    replace(&file("v2/crt"), &other.certificate);
    eventually("the mismatch is reported", || rejected().len() == 1);
    assert_eq!(rejected()[0].severity, Severity::Degraded);
    assert_eq!(shown(), served);
    replace(&file("v2/key"), &other.key);
    eventually("the other half is served", || shown() != served);
    assert_eq!(rejected(), []);
    std::fs::remove_file(file("v2/key")).unwrap();
    eventually("the missing file is reported", || rejected().len() == 1);
    assert_eq!(scene.outcome(&second), Ok(200));
}

fn openssl(args: &[&str]) -> String {
    let out = std::process::Command::new("openssl")
        .args(args)
        .stdin(std::process::Stdio::null())
        .output()
        .unwrap();
    let error = String::from_utf8_lossy(&out.stderr).into_owned();
    String::from_utf8_lossy(&out.stdout).into_owned() + &error
}

#[test]
fn certificates_of_version_1_are_verified_as_well() {
    let scene = Scene::new(required());
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let authority = |name: &str| {
        let (key, cert) = (file(&format!("{name}.key")), file(&format!("{name}.crt")));
        let made = "req -x509 -sha256 -nodes -days 365 -newkey rsa:2048 -subj /O=example/CN=e.com";
        let mut args: Vec<&str> = made.split(' ').collect();
        args.extend(["-keyout", &key, "-out", &cert]);
        openssl(&args);
        std::fs::read_to_string(cert).unwrap()
    };
    // As the instructions of Istio have it.
    let issue = |ca: &str, serial: &str| {
        let (key, csr) = (file("client.key"), file("client.csr"));
        let mut args = vec!["req", "-out", &csr, "-newkey", "rsa:2048", "-nodes"];
        args.extend(["-keyout", &key, "-subj", "/CN=client.example.com/O=client"]);
        openssl(&args);
        let (ca, ca_key) = (file(&format!("{ca}.crt")), file(&format!("{ca}.key")));
        let cert = file("client.crt");
        let mut args = vec!["x509", "-req", "-sha256", "-days", "365", "-in", &csr];
        args.extend([
            "-CA",
            &ca,
            "-CAkey",
            &ca_key,
            "-set_serial",
            serial,
            "-out",
            &cert,
        ]);
        openssl(&args);
        let text = openssl(&["x509", "-in", &cert, "-noout", "-text"]);
        assert!(text.contains("Version: 1 "), "{text}");
        Issued {
            certificate: std::fs::read_to_string(cert).unwrap(),
            key: std::fs::read_to_string(key).unwrap(),
        }
    };
    let (own, _) = (authority("own"), authority("other"));
    scene.gateway.upsert(vec![anchors("ca", &own, None)]);
    let showing = |issued: &Issued| scene.outcome(&scene.client().showing(issued));
    let good = issue("own", "1");
    assert_eq!(showing(&good), Ok(200));
    let error = showing(&issue("other", "1")).unwrap_err();
    assert!(error.contains("UnknownCA"), "{error}");
    // A list of another authority says nothing about it.
    let list = scene.clients.revoke(&[1], 2040);
    scene.gateway.upsert(vec![anchors("ca", &own, Some(&list))]);
    assert!(showing(&good).is_err());
}
