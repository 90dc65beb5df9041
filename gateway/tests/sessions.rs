//! Resumed sessions: what a ticket is worth, and where it is worth nothing.

#![cfg(test)]

mod support;

use gwanmun_ir::{ClientCertificates, Key, SecretKey};
use rustls::version::{TLS12, TLS13};
use std::{
    io::Write as _,
    net::SocketAddr,
    process::{Command, Stdio},
};
use support::{
    TestGateway,
    build::*,
    tls::{Authority, Client, Issued},
};

const OPEN: &str = "open.example.com";
const CLOSED: &str = "closed.example.com";

/// `open` asks for nothing, `closed` and `other` for a certificate of `ca`.
struct Scene {
    servers: Authority,
    clients: Authority,
    gateway: TestGateway,
}

impl Scene {
    fn new() -> Self {
        let (servers, clients) = (Authority::new(), Authority::new());
        let server = servers.issue(&[OPEN, CLOSED, "other.example.com"]);
        let gateway = TestGateway::start();
        let required = || ClientCertificates::Required(validation("ca"));
        let site = |name: &str, host: &str| hosts(tls(chain(name, 443), &["server"]), &[host]);
        gateway.serve(vec![
            listener(443),
            secret("server", &server.certificate, &server.key),
            anchors("ca", &clients.certificate(), None),
            of_chain(site("open", OPEN)),
            of_route(route("open", "open")),
            of_chain(support::build::clients(site("closed", CLOSED), required())),
            of_route(route("closed", "closed")),
            of_chain(support::build::clients(
                site("other", "other.example.com"),
                required(),
            )),
            of_route(route("other", "other")),
        ]);
        Self {
            servers,
            clients,
            gateway,
        }
    }

    fn address(&self) -> SocketAddr {
        self.gateway.address(443)
    }

    fn client(&self) -> Client {
        Client::new(&self.servers).resuming()
    }

    /// Whether a request is answered, and whether its session was resumed.
    fn visit(&self, client: &Client, host: &str) -> Option<bool> {
        let mut tls = client.connect(self.address(), host).ok()?;
        let response = tls.try_get(host, "/").ok()?;
        assert_eq!(response.status, 200);
        Some(tls.is_resumed())
    }
}

#[test]
fn sessions_are_resumed_until_their_policy_changes() {
    for version in [&TLS12, &TLS13] {
        let scene = Scene::new();
        let identity = scene.clients.issue(&["x"]);
        let client = scene.client().speaking(version).showing(&identity);
        let visit = || scene.visit(&client, CLOSED);
        assert_eq!(visit(), Some(false));
        assert_eq!(visit(), Some(true));
        // The same content again is no change.
        let ca = || anchors("ca", &scene.clients.certificate(), None);
        scene.gateway.upsert(vec![ca()]);
        assert_eq!(visit(), Some(true));
        // Another authority in the bundle, a revocation list: all start anew.
        let both = format!(
            "{}{}",
            scene.clients.certificate(),
            Authority::new().certificate()
        );
        scene.gateway.upsert(vec![anchors("ca", &both, None)]);
        assert_eq!(visit(), Some(false));
        assert_eq!(visit(), Some(true));
        let list = scene.clients.revoke(&[99], 2040);
        let listed = anchors("ca", &scene.clients.certificate(), Some(&list));
        scene.gateway.upsert(vec![listed]);
        assert_eq!(visit(), Some(false));
        // The authority is gone, and with it who it vouched for.
        let other = Authority::new();
        scene
            .gateway
            .upsert(vec![anchors("ca", &other.certificate(), None)]);
        assert_eq!(visit(), None);
        // Gone and back: keys of tickets do not come back.
        scene.gateway.upsert(vec![ca()]);
        assert_eq!(visit(), Some(false));
        scene
            .gateway
            .remove(vec![Key::Secret(SecretKey::new("ca"))]);
        assert_eq!(visit(), None);
    }
}

#[test]
fn a_policy_that_begins_to_ask_for_certificates_forgets_sessions_without() {
    for version in [&TLS12, &TLS13] {
        let scene = Scene::new();
        let client = scene.client().speaking(version);
        assert_eq!(scene.visit(&client, OPEN), Some(false));
        assert_eq!(scene.visit(&client, OPEN), Some(true));
        let own = hosts(tls(chain("open", 443), &["server"]), &[OPEN]);
        let own = clients(own, ClientCertificates::Required(validation("ca")));
        scene.gateway.upsert(vec![of_chain(own)]);
        assert_eq!(scene.visit(&client, OPEN), None);
    }
}

#[test]
fn a_session_ends_with_the_certificate_it_stands_for() {
    for version in [&TLS12, &TLS13] {
        let scene = Scene::new();
        let ends = std::time::SystemTime::now() + std::time::Duration::from_secs(4);
        let identity = scene
            .clients
            .issue_as(&["x"], |params| params.not_after = ends.into());
        let client = scene.client().speaking(version).showing(&identity);
        let visit = || scene.visit(&client, CLOSED);
        assert_eq!(visit(), Some(false));
        assert_eq!(visit(), Some(true));
        let mut last = Some(true);
        while std::time::SystemTime::now() < ends + std::time::Duration::from_secs(2) {
            last = visit();
        }
        assert_eq!(last, None);
    }
}

#[test]
fn a_session_ends_with_the_revocation_list_it_was_checked_against() {
    for version in [&TLS12, &TLS13] {
        let scene = Scene::new();
        let ends = std::time::SystemTime::now() + std::time::Duration::from_secs(4);
        let list = scene.clients.revoke_until(&[99], ends);
        let listed = anchors("ca", &scene.clients.certificate(), Some(&list));
        scene.gateway.upsert(vec![listed]);
        let identity = scene.clients.issue(&["x"]);
        let client = scene.client().speaking(version).showing(&identity);
        let visit = || scene.visit(&client, CLOSED);
        assert_eq!(visit(), Some(false));
        assert_eq!(visit(), Some(true));
        // A client that was not asked for a certificate has none to be revoked.
        let open = scene.client().speaking(version);
        assert_eq!(scene.visit(&open, OPEN), Some(false));
        let mut last = Some(true);
        while std::time::SystemTime::now() < ends + std::time::Duration::from_secs(2) {
            last = visit();
        }
        assert_eq!(last, None);
        assert_eq!(scene.visit(&open, OPEN), Some(true));
    }
}

/// What `openssl s_client` prints, and whether its session was resumed.
fn s_client(address: SocketAddr, host: &str, args: &[&str]) -> (String, bool) {
    let mut child = Command::new("openssl")
        .args(["s_client", "-connect", &address.to_string()])
        .args(["-servername", host, "-ign_eof"])
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let request = format!("GET / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
    let mut stdin = child.stdin.take().unwrap();
    // The handshake may have been refused already.
    let _ = stdin.write_all(request.as_bytes());
    drop(stdin);
    let out = child.wait_with_output().unwrap();
    let text = String::from_utf8_lossy(&out.stdout).into_owned();
    let resumed = text.contains("\nReused, ");
    (text + &String::from_utf8_lossy(&out.stderr), resumed)
}

#[test]
fn a_ticket_opens_no_other_host() {
    let scene = Scene::new();
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let Issued { certificate, key } = scene.clients.issue(&["x"]);
    let (cert, key) = (file("crt", &certificate), file("key", &key));
    let answered = |text: &str| text.contains("HTTP/1.1 200");
    for version in ["-tls1_2", "-tls1_3"] {
        let (plain, mutual) = (file("plain", ""), file("mutual", ""));
        let (text, _) = s_client(scene.address(), OPEN, &[version, "-sess_out", &plain]);
        assert!(answered(&text), "{text}");
        let (text, resumed) = s_client(scene.address(), OPEN, &[version, "-sess_in", &plain]);
        assert!(answered(&text) && resumed, "{text}");
        let args = [version, "-cert", &cert, "-key", &key, "-sess_out", &mutual];
        let (text, _) = s_client(scene.address(), CLOSED, &args);
        assert!(answered(&text), "{text}");
        let (text, resumed) = s_client(scene.address(), CLOSED, &[version, "-sess_in", &mutual]);
        assert!(answered(&text) && resumed, "{text}");
        for (session, host, served) in [
            (&plain, CLOSED, false),
            (&mutual, "other.example.com", false),
            (&mutual, OPEN, true),
        ] {
            let (text, resumed) = s_client(scene.address(), host, &[version, "-sess_in", session]);
            assert!(!resumed, "{version} {host} {text}");
            assert_eq!(answered(&text), served, "{version} {host} {text}");
        }
    }
}
