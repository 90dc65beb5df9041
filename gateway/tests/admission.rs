//! Open connections when what is asked of clients changes, and hosts that ask for more than the
//! one that a connection was made to.

#![cfg(test)]

mod support;

use gwanmun_ir::{
    AppProtocol, ClientCertificates, ClientValidation, FilterChain, Key, Resource, SecretKey,
};
use rcgen::SerialNumber;
use std::{sync::Arc, time::Duration};
use support::{
    TestGateway,
    build::*,
    tls::{Authority, Client, Issued, Tls},
};

const HOST: &str = "a.example.com";
const OTHER: &str = "b.example.com";

/// A gateway that asks what it is told, and an authority for its clients.
struct Scene {
    servers: Authority,
    clients: Authority,
    server: Issued,
    gateway: TestGateway,
}

fn site(asked: ClientCertificates) -> FilterChain {
    let own = hosts(tls(chain("a", 443), &["server"]), &[HOST]);
    clients(own, asked)
}

impl Scene {
    fn new(asked: ClientCertificates) -> Self {
        let (servers, clients) = (Authority::new(), Authority::new());
        let server = servers.issue(&[HOST, OTHER]);
        let gateway = TestGateway::start();
        gateway.serve(vec![
            listener(443),
            of_chain(site(asked)),
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

    /// A connection that is served.
    fn connect(&self, client: &Client) -> Tls {
        let mut tls = client.connect(self.gateway.address(443), HOST).unwrap();
        assert_eq!(tls.get(HOST, "/").status, 200);
        tls
    }

    /// A certificate with this number.
    fn numbered(&self, serial: u8) -> Issued {
        self.clients.issue_as(&["x"], |params| {
            params.serial_number = Some(SerialNumber::from(vec![serial]));
        })
    }
}

fn required(change: impl FnOnce(&mut ClientValidation)) -> ClientCertificates {
    let mut wanted = validation("ca");
    change(&mut wanted);
    ClientCertificates::Required(wanted)
}

fn optional() -> ClientCertificates {
    ClientCertificates::Optional(validation("ca"))
}

/// A change, and its name.
type Change<'c> = (&'c str, &'c dyn Fn(&Scene));

/// The connection is told to ask elsewhere, and ended.
fn assert_sent_away(tls: &mut Tls, what: &str) {
    for path in ["/", "/nowhere"] {
        let Ok(response) = tls.try_get(HOST, path) else {
            assert_eq!(path, "/nowhere", "{what}: the first request is answered");
            return;
        };
        assert_eq!(path, "/", "{what}: the connection goes on");
        assert_eq!(response.status, 421, "{what}");
        assert_eq!(response.header("connection"), Some("close"), "{what}");
    }
}

#[test]
fn a_connection_does_not_outlive_what_it_was_asked() {
    use ClientCertificates::{NotRequested, Unverified};
    for (before, after) in [
        (NotRequested, required(|_| {})),
        (NotRequested, optional()),
        (Unverified, required(|_| {})),
        (Unverified, optional()),
        (optional(), required(|_| {})),
    ] {
        let what = format!("{before:?} {after:?}");
        let scene = Scene::new(before);
        let mut tls = scene.connect(&scene.client());
        let mut unknown = scene.connect(&scene.client());
        scene.gateway.upsert(vec![of_chain(site(after))]);
        assert_sent_away(&mut tls, &what);
        // Nor does it learn what there is and what not.
        assert_eq!(unknown.get(HOST, "/nowhere").status, 421, "{what}");
    }
}

#[test]
fn a_connection_ends_when_its_certificate_is_accepted_no_longer() {
    let changes: [Change<'_>; 5] = [
        ("another authority", &|scene| {
            let other = Authority::new().certificate();
            scene.gateway.upsert(vec![anchors("ca", &other, None)]);
        }),
        ("no authority", &|scene| {
            scene
                .gateway
                .remove(vec![Key::Secret(SecretKey::new("ca"))]);
        }),
        ("revoked", &|scene| {
            let list = scene.clients.revoke(&[7], 2040);
            let ca = scene.clients.certificate();
            scene.gateway.upsert(vec![anchors("ca", &ca, Some(&list))]);
        }),
        ("another name", &|scene| {
            let asked = required(|wanted| wanted.subject_alt_names = vec!["y".into()]);
            scene.gateway.upsert(vec![of_chain(site(asked))]);
        }),
        ("another pin", &|scene| {
            let asked = required(|wanted| wanted.certificate_sha256 = vec!["0".repeat(64)]);
            scene.gateway.upsert(vec![of_chain(site(asked))]);
        }),
    ];
    for (what, change) in changes {
        let scene = Scene::new(required(|_| {}));
        let client = scene.client().showing(&scene.numbered(7)).resuming();
        let mut first = scene.connect(&client);
        let mut resumed = scene.connect(&client);
        assert!(resumed.is_resumed());
        change(&scene);
        assert_sent_away(&mut first, what);
        assert_sent_away(&mut resumed, what);
    }
}

#[test]
fn a_connection_outlives_changes_that_leave_its_certificate_good() {
    let scene = Scene::new(required(|_| {}));
    let between = scene.clients.intermediate("between");
    let mut deep = between.issue(&["x"]);
    deep.certificate.push_str(&between.certificate());
    let mut shallow = scene.connect(&scene.client().showing(&scene.numbered(8)));
    let mut deep = scene.connect(&scene.client().showing(&deep));
    let mut served = |what: &str, resources: Vec<Resource>| {
        scene.gateway.upsert(resources);
        assert_eq!(deep.get(HOST, "/").status, 200, "{what}");
        assert_eq!(shallow.get(HOST, "/").status, 200, "{what}");
        assert_eq!(shallow.get(HOST, "/").status, 200, "{what}, again");
    };
    let ca = scene.clients.certificate();
    let both = format!("{}{ca}", Authority::new().certificate());
    served(
        "another authority as well",
        vec![anchors("ca", &both, None)],
    );
    let names = required(|wanted| wanted.subject_alt_names = vec!["y".into(), "x".into()]);
    served("names", vec![of_chain(site(names))]);
    let server = scene.servers.issue(&[HOST, OTHER]);
    served(
        "another certificate of ours",
        vec![secret("server", &server.certificate, &server.key)],
    );
    served("nonsense", vec![anchors("ca", "nonsense", None)]);
    let other = hosts(tls(chain("b", 443), &["server"]), &[OTHER]);
    served(
        "another host",
        vec![of_chain(other), of_route(route("b", "b"))],
    );
    let list = scene.clients.revoke(&[7], 2040);
    scene.gateway.upsert(vec![anchors("ca", &ca, Some(&list))]);
    assert_eq!(shallow.get(HOST, "/").status, 200, "another's revocation");

    let open = Scene::new(ClientCertificates::NotRequested);
    let mut tls = open.connect(&open.client());
    open.gateway
        .upsert(vec![anchors("ca", &Authority::new().certificate(), None)]);
    let key = Key::Secret(SecretKey::new("server"));
    open.gateway.remove(vec![key]);
    assert_eq!(tls.get(HOST, "/").status, 200, "no certificate of ours");
    drop(scene.server);
}

#[test]
fn a_host_that_asks_for_more_is_misdirected_whatever_the_options() {
    let without_detection = |mut chain: FilterChain| {
        if let AppProtocol::Http(http) = &mut chain.protocol {
            http.detect_misdirected = false;
        }
        of_chain(chain)
    };
    for (asked, status) in [
        (ClientCertificates::NotRequested, 200),
        (optional(), 421),
        (required(|_| {}), 421),
        (ClientCertificates::Unverified, 421),
    ] {
        let scene = Scene::new(ClientCertificates::NotRequested);
        let other = hosts(tls(chain("b", 443), &["server"]), &[OTHER]);
        let other = clients(other, asked.clone());
        scene.gateway.upsert(vec![
            without_detection(site(ClientCertificates::NotRequested)),
            without_detection(other),
            of_route(route("b", "b")),
        ]);
        let mut tls = scene.connect(&scene.client());
        let response = tls.get(OTHER, "/");
        assert_eq!(response.status, status, "{asked:?}");
        assert_ne!(response.text(), "b", "{asked:?}");
        assert_eq!(tls.get(HOST, "/").status, 200, "{asked:?}");
    }
}

#[test]
fn an_http2_connection_that_was_asked_for_less_is_seen_off() {
    let scene = Scene::new(ClientCertificates::NotRequested);
    let config = Arc::new(scene.client().offering(&["h2"]).config());
    let address = scene.gateway.address(443);
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let stream = tokio::net::TcpStream::connect(address).await.unwrap();
        let name = HOST.try_into().unwrap();
        let connector = tokio_rustls::TlsConnector::from(config);
        let stream = connector.connect(name, stream).await.unwrap();
        let (mut send, connection) = h2::client::handshake(stream).await.unwrap();
        let connection = tokio::spawn(connection);
        let mut ask = async || {
            let request = http::Request::get(format!("https://{HOST}/"));
            let (response, _) = send.send_request(request.body(()).unwrap(), true).unwrap();
            response.await.unwrap().status().as_u16()
        };
        assert_eq!(ask().await, 200);
        scene.gateway.upsert(vec![of_chain(site(required(|_| {})))]);
        assert_eq!(ask().await, 421);
        let ended = tokio::time::timeout(Duration::from_secs(10), connection).await;
        assert!(ended.is_ok(), "it goes on");
        drop(send);
    });
}
