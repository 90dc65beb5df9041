//! TLS towards backends as BackendTLSPolicies and Gateways say, with real TLS servers.

use crate::support::{
    Authority, Directory, Gwanmun, Network, backend, eventually, gateway_api_route, shown,
    tls_server,
};

const HOST: &str = "web.example.com";

/// A policy for the Service `web`.
fn policy(validation: &str) -> String {
    format!(
        "apiVersion: gateway.networking.k8s.io/v1
kind: BackendTLSPolicy
metadata: {{name: web}}
spec:
  targetRefs: [{{group: '', kind: Service, name: web}}]
  validation: {{{validation}}}
---
"
    )
}

/// The validation by a ConfigMap, for the host.
fn by(authorities: &str) -> String {
    format!(
        "caCertificateRefs: [{{group: '', kind: ConfigMap, name: {authorities}}}], hostname: {HOST}"
    )
}

/// A directory with a Gateway on port 80, a route to a TLS server, and two authorities: `ours`,
/// which has signed its certificate, and `others`.
fn directory(network: Network, clients: Option<&Authority>) -> (Directory, Authority) {
    let directory = Directory::new();
    let (ours, others) = (Authority::new(), Authority::new());
    let server = ours.server(&[HOST, "spiffe://example.com/web"]);
    tls_server("web", &network.address(1), &server, clients);
    directory.write("web.yaml", &backend("web", &network.address(1)));
    directory.write("gateway.yaml", &gateway_api_route("a.example.com", "web"));
    directory.write("ours.yaml", &ours.config_map("ours"));
    directory.write("others.yaml", &others.config_map("others"));
    (directory, ours)
}

#[test]
fn a_backend_is_asked_by_its_name_and_believed_by_its_authority_alone() {
    let (directory, _) = directory(Network::new(), None);
    directory.write("policy.yaml", &policy(&by("ours")));
    let running = Gwanmun::run(&directory, &[]);
    let get = || running.get(80, "a.example.com", "/", &[]);
    let answer = get();
    assert!(
        answer.is(200, "web sni=web.example.com client=none"),
        "{answer:?}"
    );
    directory.write("policy.yaml", &policy(&by("others")));
    let answer = eventually("a refusal", get, |answer| answer.status == 503);
    assert!(
        answer.body.contains("remote connection failure"),
        "{answer:?}"
    );
    let line = running.wait_output(" 503 ");
    for part in [
        " 503 UF ",
        "CERTIFICATE_VERIFY_FAILED",
        "certificate_signature_failure",
    ] {
        assert!(line.contains(part), "{line}");
    }
    // Without the policy it is plaintext that is spoken, which this server does not understand.
    directory.remove("policy.yaml");
    eventually("plaintext", get, |answer| {
        !answer.body.contains("certificate")
    });
    assert_ne!(get().status, 200);
}

#[test]
fn names_of_a_backend_are_those_of_the_policy() {
    let (directory, _) = directory(Network::new(), None);
    let names = |names: &str| policy(&format!("{}, subjectAltNames: [{names}]", by("ours")));
    for (manifest, status) in [
        (policy(&by("ours").replace(HOST, "other.example.com")), 503),
        // With names, the hostname is only asked for.
        (names("{type: Hostname, hostname: web.example.com}"), 200),
        (names("{type: Hostname, hostname: other.example.com}"), 503),
        (names("{type: URI, uri: 'spiffe://example.com/web'}"), 200),
        (names("{type: URI, uri: 'spiffe://example.com/other'}"), 503),
        (
            names(
                "{type: Hostname, hostname: other.example.com}, {type: URI, uri: 'spiffe://example.com/web'}",
            ),
            200,
        ),
    ] {
        directory.write("policy.yaml", &manifest);
        let running = Gwanmun::run(&directory, &[]);
        let answer = running.get(80, "a.example.com", "/", &[]);
        assert_eq!(answer.status, status, "{manifest}: {answer:?}");
    }
}

#[test]
fn a_policy_without_usable_authorities_brings_no_plaintext_and_heals() {
    let (directory, _) = directory(Network::new(), None);
    directory.write("policy.yaml", &policy(&by("nobody")));
    let running = Gwanmun::run(&directory, &[]);
    let get = || running.get(80, "a.example.com", "/", &[]);
    let answer = get();
    assert!([500, 503].contains(&answer.status), "{answer:?}");
    let authority = std::fs::read_to_string(directory.file("ours.yaml")).unwrap();
    let healed = authority.replace("name: ours", "name: nobody");
    directory.write("nobody.yaml", &healed);
    eventually("trust", get, |answer| answer.status == 200);
    directory.write(
        "nobody.yaml",
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: nobody}\ndata: {ca.crt: ''}\n",
    );
    eventually("no trust", get, |answer| answer.status != 200);
    let status = running.admin("/status");
    assert!(status.body.contains("NoValidCACertificate"), "{status:?}");
}

#[test]
fn well_known_authorities_are_the_systems() {
    let (directory, ours) = directory(Network::new(), None);
    directory.write(
        "policy.yaml",
        &policy(&format!(
            "wellKnownCACertificates: System, hostname: {HOST}"
        )),
    );
    directory.write("system.pem", &ours.pem());
    let get = |running: &Gwanmun| running.get(80, "a.example.com", "/", &[]).status;
    assert_eq!(get(&Gwanmun::run(&directory, &[])), 503);
    let file = directory.file("system.pem");
    let trusting = Gwanmun::run_trusting(&directory, &file);
    assert_eq!(get(&trusting), 200);
}

#[test]
fn the_policy_of_a_port_stands_before_that_of_the_service() {
    let network = Network::new();
    let (directory, ours) = directory(network, None);
    tls_server(
        "second",
        &network.address(2),
        &ours.server(&["second.example.com"]),
        None,
    );
    let service = backend("web", &network.address(1)).replace(
        "targetPort: 9000}]",
        "targetPort: 9000}, {name: second, port: 81, targetPort: 9000}]",
    ) + &format!(
        "apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {{name: web-2, labels: {{kubernetes.io/service-name: web}}}}
addressType: IPv4
ports: [{{name: second, port: 9000}}]
endpoints: [{{addresses: [{}]}}]
",
        network.address(2)
    );
    directory.write("web.yaml", &service);
    let of_port = policy(&by("ours").replace(HOST, "second.example.com"))
        .replace("metadata: {name: web}", "metadata: {name: port}")
        .replace("name: web}]", "name: web, sectionName: second}]");
    let late = policy(&by("others")).replace("metadata: {name: web}", "metadata: {name: zzz}");
    directory.write(
        "policy.yaml",
        &[policy(&by("ours")), of_port, late].concat(),
    );
    let route = gateway_api_route("a.example.com", "web").replace(
        "  rules: [{",
        "  rules: [{matches: [{path: {value: /second}}], backendRefs: [{name: web, port: 81}]}, {",
    );
    directory.write("gateway.yaml", &route);
    let running = Gwanmun::run(&directory, &[]);
    let first = running.get(80, "a.example.com", "/", &[]);
    assert!(first.is(200, "web sni=web.example.com"), "{first:?}");
    let second = running.get(80, "a.example.com", "/second", &[]);
    assert!(
        second.is(200, "second sni=second.example.com"),
        "{second:?}"
    );
    let status = running.admin("/status");
    assert!(status.body.contains("Conflicted"), "{status:?}");
}

#[test]
fn each_gateway_shows_its_own_certificate_to_a_backend_that_demands_one() {
    let clients = Authority::new();
    let (directory, _) = directory(Network::new(), Some(&clients));
    let (one, two) = (clients.client(), clients.client());
    directory.write("one.yaml", &one.secret("one"));
    directory.write("two.yaml", &two.secret("two"));
    directory.write("policy.yaml", &policy(&by("ours")));
    let gateway = |name: &str, port: u16, tls: &str| {
        gateway_api_route("a.example.com", "web")
            .replace("name: gw", &format!("name: {name}"))
            .replace("name: route", &format!("name: {name}"))
            .replace("port: 80, protocol", &format!("port: {port}, protocol"))
            .replace(
                "  gatewayClassName",
                &format!("  tls: {{{tls}}}\n  gatewayClassName"),
            )
    };
    let shows = |name: &str| format!("backend: {{clientCertificateRef: {{name: {name}}}}}");
    let manifest = [
        gateway("one", 80, &shows("one")),
        gateway("two", 8080, &shows("two")),
        gateway("three", 443, ""),
        gateway("four", 9000, &shows("nobody")),
    ];
    directory.write("gateway.yaml", &manifest.concat());
    let running = Gwanmun::run(&directory, &["--map-port", "9000:0"]);
    // Connections of one Gateway are never another's.
    for _ in 0..5 {
        for (port, identity) in [(80, &one), (8080, &two)] {
            let answer = running.get(port, "a.example.com", "/", &[]);
            let client = format!("client={}", shown(identity));
            assert!(answer.is(200, &client), "{port}: {answer:?}");
        }
        for port in [443, 9000] {
            let answer = running.get(port, "a.example.com", "/", &[]);
            assert!([500, 503].contains(&answer.status), "{port}: {answer:?}");
        }
    }
}
