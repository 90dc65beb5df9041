//! TLS of Istio's Gateways and DestinationRules, with `curl` as the client.

use crate::support::{Answer, Directory, Gwanmun, Network, backend, curl};
use std::{path::Path, process::Command};

/// A directory with the certificates of the examples, and a backend that echoes.
struct Setup {
    directory: Directory,
    _backends: Gwanmun,
}

impl Setup {
    fn new() -> Self {
        let (directory, network) = (Directory::new(), Network::new());
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/secrets.sh");
        let made = Command::new(script).arg(directory.path()).status().unwrap();
        assert!(made.success());
        directory.write("backend.yaml", &backend("web", &network.address(1)));
        let backends = Gwanmun::backends(&directory);
        Self {
            directory,
            _backends: backends,
        }
    }

    fn path(&self, name: &str) -> String {
        self.directory.file(name).display().to_string()
    }

    fn get(&self, running: &Gwanmun, host: &str, more: &[&str]) -> Answer {
        let to = format!("::{}", running.address(443));
        let url = format!("https://{host}/");
        let authority = self.path("ca.crt");
        let mut arguments = vec!["--cacert", &authority, "--connect-to", &to, &url];
        arguments.extend(more);
        curl(&arguments)
    }

    /// A Gateway with these servers, and a VirtualService with `http` and `tcp` rules to the
    /// backend.
    fn gateway(&self, servers: &str) {
        let manifest = format!(
            "apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {{name: gw}}
spec:
  selector: {{istio: ingressgateway}}
  servers:
{servers}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {{name: web}}
spec:
  hosts: ['*']
  gateways: [gw]
  http: [{{route: [{{destination: {{host: web}}}}]}}]
  tcp: [{{route: [{{destination: {{host: web}}}}]}}]
"
        );
        self.directory.write("gateway.yaml", &manifest);
    }
}

fn server(host: &str, protocol: &str, tls: &str) -> String {
    let name = host.replace('.', "-");
    format!(
        "  - {{port: {{number: 443, name: {name}, protocol: {protocol}}}, hosts: [{host}], tls: {{{tls}}}}}\n"
    )
}

#[test]
fn modes_are_mixed_on_one_port_and_none_waives_anothers_client_certificate() {
    let setup = Setup::new();
    setup.gateway(&[
        server("webapp.example.com", "HTTPS", "mode: MUTUAL, credentialName: webapp-credential-mtls"),
        server("store.example.com", "HTTPS", "mode: OPTIONAL_MUTUAL, credentialName: store-credential, caCertCredentialName: 'configmap://default/ca'"),
        server("catalog.example.com", "TLS", "mode: SIMPLE, credentialName: catalog-credential"),
    ].concat());
    let authority = std::fs::read_to_string(setup.directory.file("ca.crt")).unwrap();
    let authority: String = authority
        .lines()
        .map(|line| format!("    {line}\n"))
        .collect();
    setup.directory.write("ca.yaml", &format!(
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: ca}}\ndata:\n  ca.crt: |\n{authority}"
    ));
    let running = Gwanmun::run(&setup.directory, &[]);
    let (certificate, key) = (setup.path("client.crt"), setup.path("client.key"));
    let known = ["--cert", certificate.as_str(), "--key", &key];
    let stranger = Setup::new();
    let (certificate, key) = (stranger.path("client.crt"), stranger.path("client.key"));
    let unknown = ["--cert", certificate.as_str(), "--key", &key];

    let answer = setup.get(&running, "webapp.example.com", &known);
    assert!(answer.is(200, "x-forwarded-client-cert"), "{answer:?}");
    assert!(answer.body.contains("client.example.com"), "{answer:?}");
    for refused in [&[][..], &unknown] {
        assert_eq!(setup.get(&running, "webapp.example.com", refused).status, 0);
    }
    let forged = ["--header", "x-forwarded-client-cert: Hash=0"];
    let answer = setup.get(&running, "store.example.com", &forged);
    assert_eq!(answer.status, 200, "{answer:?}");
    assert!(
        !answer.body.contains("x-forwarded-client-cert"),
        "{answer:?}"
    );
    let answer = setup.get(&running, "store.example.com", &known);
    assert!(answer.is(200, "x-forwarded-client-cert"), "{answer:?}");
    assert_eq!(setup.get(&running, "store.example.com", &unknown).status, 0);

    // TLS ends here, and what is inside is the backend's.
    let answer = setup.get(&running, "catalog.example.com", &["--http1.1"]);
    assert!(answer.is(200, "\"web\""), "{answer:?}");
    assert_eq!(answer.field("server"), None, "{answer:?}");
    // A request for the host that needs a certificate, on a connection that needed none.
    let host = ["--header", "host: webapp.example.com"];
    let answer = setup.get(&running, "store.example.com", &host);
    assert_eq!(answer.status, 421, "{answer:?}");
}

#[test]
fn without_authorities_nobody_is_served_and_neighbours_are() {
    let setup = Setup::new();
    setup.gateway(
        &[
            server(
                "store.example.com",
                "HTTPS",
                "mode: MUTUAL, credentialName: store-credential",
            ),
            server(
                "catalog.example.com",
                "HTTPS",
                "mode: SIMPLE, credentialName: catalog-credential",
            ),
        ]
        .concat(),
    );
    let running = Gwanmun::run(&setup.directory, &[]);
    running.wait_error("IST0161");
    let (certificate, key) = (setup.path("client.crt"), setup.path("client.key"));
    let known = ["--cert", certificate.as_str(), "--key", &key];
    assert_eq!(setup.get(&running, "store.example.com", &known).status, 0);
    assert_eq!(setup.get(&running, "store.example.com", &[]).status, 0);
    assert_eq!(setup.get(&running, "catalog.example.com", &[]).status, 200);
}

#[test]
fn requests_are_encrypted_again_with_a_certificate_of_our_own() {
    let setup = Setup::new();
    let mutual = "mode: MUTUAL, credentialName: webapp-credential-mtls";
    setup.gateway(&server("webapp.example.com", "HTTPS", mutual));
    let behind = Gwanmun::run(&setup.directory, &[]);
    let (_, port) = {
        let address = behind.address(443);
        let (ip, port) = address.rsplit_once(':').unwrap();
        (ip.to_owned(), port.to_owned())
    };
    let front = Directory::new();
    for secret in ["webapp-credential-mtls.yaml", "store-credential.yaml"] {
        let text = std::fs::read_to_string(setup.directory.file(secret)).unwrap();
        front.write(secret, &text);
    }
    let manifest = |tls: &str| {
        format!(
            "apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {{name: gw}}
spec:
  selector: {{istio: ingressgateway}}
  servers: [{{port: {{number: 80, name: http, protocol: HTTP}}, hosts: ['*']}}]
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {{name: webapp}}
spec:
  hosts: [webapp.example.com]
  gateways: [gw]
  http: [{{route: [{{destination: {{host: webapp.example.com}}}}]}}]
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {{name: webapp}}
spec:
  hosts: [webapp.example.com]
  resolution: STATIC
  ports: [{{number: {port}, name: https, protocol: HTTPS}}]
  endpoints: [{{address: 127.0.0.1}}]
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {{name: webapp}}
spec: {{host: webapp.example.com, trafficPolicy: {{tls: {{{tls}}}}}}}
"
        )
    };
    for (tls, status) in [
        ("mode: MUTUAL, credentialName: webapp-credential-mtls", 200),
        (
            "mode: MUTUAL, credentialName: webapp-credential-mtls, sni: webapp.example.com, subjectAltNames: [other.example.com]",
            503,
        ),
        // Neither our certificate nor the authorities: never plaintext, never unverified.
        ("mode: SIMPLE", 503),
        ("mode: MUTUAL, credentialName: nothing", 503),
        ("mode: MUTUAL, credentialName: store-credential", 503),
        ("mode: ISTIO_MUTUAL", 503),
        (
            "mode: MUTUAL, clientCertificate: /nowhere/tls.crt, privateKey: /nowhere/tls.key",
            503,
        ),
    ] {
        front.write("front.yaml", &manifest(tls));
        let running = Gwanmun::run(&front, &[]);
        let answer = running.get(80, "webapp.example.com", "/", &[]);
        assert_eq!(answer.status, status, "{tls}: {answer:?}");
    }
}
