//! HTTPS of the Gateway API with `curl`: client certificates, listeners chosen by server name, and
//! requests that arrive at another listener than their own.

use crate::support::{Answer, Authority, Directory, Gwanmun, Identity, Network, backend, curl};

/// A directory with a server certificate for `*.example.com`, backends that echo, and clients.
struct Setup {
    directory: Directory,
    clients: Vec<&'static str>,
    _backends: Gwanmun,
}

impl Setup {
    fn new() -> Self {
        let (directory, network) = (Directory::new(), Network::new());
        directory.write("web.yaml", &backend("web", &network.address(1)));
        directory.write("other.yaml", &backend("other", &network.address(2)));
        let backends = Gwanmun::backends(&directory);
        let (servers, clients, strangers) = (Authority::new(), Authority::new(), Authority::new());
        let mut setup = Self {
            directory,
            clients: Vec::new(),
            _backends: backends,
        };
        let server = servers.server(&["*.example.com", "*.wild.example.com"]);
        setup.directory.write("authority.pem", &servers.pem());
        setup
            .directory
            .write("server.yaml", &server.secret("server"));
        setup
            .directory
            .write("clients.yaml", &clients.config_map("clients"));
        setup
            .directory
            .write("strangers.yaml", &strangers.config_map("strangers"));
        setup.client("client", &clients.client());
        setup.client("stranger", &strangers.client());
        setup.client("expired", &clients.expired_client());
        setup.client("server", &server);
        setup
    }

    fn client(&mut self, name: &'static str, identity: &Identity) {
        let both = [identity.certificate.as_str(), &identity.key].concat();
        self.directory.write(&format!("{name}.pem"), &both);
        self.clients.push(name);
    }

    fn path(&self, name: &str) -> String {
        self.directory.file(name).display().to_string()
    }

    /// A Gateway with these listeners, and a route of each of them to the backend `web`.
    fn gateway(&self, tls: &str, listeners: &str) {
        self.directory
            .write("gateway.yaml", &(gateway("gw", tls, listeners) + ROUTE));
    }

    fn run(&self) -> Gwanmun {
        Gwanmun::run(&self.directory, &["--map-port", "8443:0"])
    }

    /// `GET https://HOST/` with the certificate of a client.
    fn get(&self, running: &Gwanmun, port: u16, host: &str, client: Option<&str>) -> Answer {
        let shown = client.map(|name| self.path(&format!("{name}.pem")));
        let more = match &shown {
            Some(path) => vec!["--cert", path],
            None => Vec::new(),
        };
        self.get_with(running, (port, host), &more)
    }

    /// A request for `host` on a connection for `sni`.
    fn get_other(&self, running: &Gwanmun, (sni, host): (&str, &str), version: &str) -> u16 {
        let header = format!("host: {host}");
        let more = ["--header", &header, version];
        self.get_with(running, (443, sni), &more).status
    }

    fn get_with(&self, running: &Gwanmun, (port, host): (u16, &str), more: &[&str]) -> Answer {
        let to = format!("::{}", running.address(port));
        let url = format!("https://{host}/");
        let authority = self.path("authority.pem");
        let mut arguments = vec!["--cacert", &authority, "--connect-to", &to, &url];
        arguments.extend(more);
        curl(&arguments)
    }
}

fn gateway(name: &str, tls: &str, listeners: &str) -> String {
    format!(
        "apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {{name: {name}}}
spec:
  gatewayClassName: gwanmun
  tls: {{{tls}}}
  allowedListeners: {{namespaces: {{from: Same}}}}
  listeners:
{listeners}---
"
    )
}

const ROUTE: &str = "apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: web}
spec:
  parentRefs: [{name: gw}]
  rules: [{backendRefs: [{name: web, port: 80}]}]
---
";

const HTTPS: &str =
    "  - {name: https, port: 443, protocol: HTTPS, tls: {certificateRefs: [{name: server}]}}
  - {name: other, port: 8443, protocol: HTTPS, tls: {certificateRefs: [{name: server}]}}
";

/// `spec.tls.frontend`'s validation by a ConfigMap.
fn validation(authorities: &str, more: &str) -> String {
    format!(
        "validation: {{caCertificateRefs: [{{group: '', kind: ConfigMap, name: {authorities}}}]{more}}}"
    )
}

/// An HTTPS listener for a host.
fn listener(name: &str, host: &str) -> String {
    let hostname = match host {
        "" => String::new(),
        host => format!("hostname: '{host}', "),
    };
    format!(
        "  - {{name: {name}, port: 443, protocol: HTTPS, {hostname}tls: {{certificateRefs: [{{name: server}}]}}}}\n"
    )
}

#[test]
fn each_port_asks_for_certificates_of_its_own_authority() {
    let setup = Setup::new();
    let tls = format!(
        "frontend: {{default: {{{}}}, perPort: [{{port: 8443, tls: {{{}}}}}]}}",
        validation("clients", ""),
        validation("strangers", "")
    );
    setup.gateway(&tls, HTTPS);
    let running = setup.run();
    let status = |port, client| setup.get(&running, port, "a.example.com", client).status;
    // The authorities have one name: only the signature tells whose a certificate is.
    assert_eq!(status(443, Some("client")), 200);
    assert_eq!(status(8443, Some("stranger")), 200);
    for refused in [None, Some("stranger"), Some("expired"), Some("server")] {
        assert_eq!(status(443, refused), 0, "{refused:?}");
    }
    for refused in [None, Some("client")] {
        assert_eq!(status(8443, refused), 0, "{refused:?}");
    }
    let answer = setup.get(&running, 443, "a.example.com", Some("client"));
    assert!(
        answer.body.contains("x-forwarded-client-cert"),
        "{answer:?}"
    );
}

#[test]
fn a_port_may_ask_for_no_certificate() {
    let setup = Setup::new();
    let default = validation("clients", "");
    let tls = format!("frontend: {{default: {{{default}}}, perPort: [{{port: 8443, tls: {{}}}}]}}");
    setup.gateway(&tls, HTTPS);
    let running = setup.run();
    assert_eq!(setup.get(&running, 443, "a.example.com", None).status, 0);
    let answer = setup.get(&running, 8443, "a.example.com", None);
    assert!(answer.is(200, "\"web\""), "{answer:?}");
}

#[test]
fn without_usable_authorities_nobody_is_served_until_they_are_there() {
    let setup = Setup::new();
    let default = validation("nobody", "");
    let tls = format!("frontend: {{default: {{{default}}}, perPort: [{{port: 8443, tls: {{}}}}]}}");
    let http = "  - {name: http, port: 80, protocol: HTTP}\n";
    setup.gateway(&tls, &format!("{HTTPS}{http}"));
    let running = setup.run();
    let status = |port, client| setup.get(&running, port, "a.example.com", client).status;
    assert_eq!(status(443, Some("client")), 0);
    assert_eq!(status(443, None), 0);
    assert_eq!(status(8443, None), 200);
    assert_eq!(running.get(80, "a.example.com", "/", &[]).status, 200);
    let authorities = std::fs::read_to_string(setup.directory.file("clients.yaml")).unwrap();
    setup.directory.write(
        "nobody.yaml",
        &authorities.replace("name: clients", "name: nobody"),
    );
    let ask = || status(443, Some("client"));
    crate::support::eventually("a served client", ask, |status| *status == 200);
    assert_eq!(status(443, Some("stranger")), 0);
    assert_eq!(status(443, None), 0);
}

#[test]
fn every_client_is_served_where_invalid_certificates_are_allowed_and_none_is_vouched_for() {
    let setup = Setup::new();
    let insecure = validation("clients", ", mode: AllowInsecureFallback");
    setup.gateway(&format!("frontend: {{default: {{{insecure}}}}}"), HTTPS);
    let running = setup.run();
    for client in [Some("client"), Some("stranger"), Some("expired"), None] {
        let answer = setup.get(&running, 443, "a.example.com", client);
        assert!(answer.is(200, "\"web\""), "{client:?} {answer:?}");
        assert!(
            !answer.body.contains("x-forwarded-client-cert"),
            "{client:?} {answer:?}"
        );
    }
}

#[test]
fn a_younger_gateway_cannot_lose_its_client_certificates_to_an_older_one_of_its_host() {
    let setup = Setup::new();
    let demanding = format!("frontend: {{default: {{{}}}}}", validation("clients", ""));
    let manifest = [
        &gateway("open", "", &listener("https", "*.example.com")),
        &gateway("gw", &demanding, &listener("https", "*.example.com")),
        ROUTE,
        &gateway("else", &demanding, &listener("https", "b.example.com")),
        &ROUTE
            .replace("web", "other")
            .replace("name: gw", "name: else"),
    ];
    setup
        .directory
        .write("gateway.yaml", &manifest.map(str::to_owned).concat());
    let running = setup.run();
    // Its listener is refused: the port and name are the older one's, which has no routes.
    assert_eq!(setup.get(&running, 443, "a.example.com", None).status, 404);
    let refused = running.wait_error("with other demands on TLS");
    assert!(refused.contains("default/gw"), "{refused}");
    // Another name is nobody's but its own.
    assert_eq!(setup.get(&running, 443, "b.example.com", None).status, 0);
    let answer = setup.get(&running, 443, "b.example.com", Some("client"));
    assert!(answer.is(200, "\"other\""), "{answer:?}");
    assert_eq!(
        setup.get_other(&running, ("a.example.com", "b.example.com"), "--http2"),
        421
    );
}

#[test]
fn a_listener_set_brings_names_and_certificates_and_keeps_the_gateways_demands() {
    let setup = Setup::new();
    let authority = Authority::new();
    let identity = authority.server(&["set.example.com"]);
    setup.directory.write("set.pem", &authority.pem());
    setup
        .directory
        .write("set-secret.yaml", &identity.secret("set"));
    let set = "apiVersion: gateway.networking.k8s.io/v1
kind: ListenerSet
metadata: {name: set}
spec:
  parentRef: {name: gw}
  listeners:
  - {name: https, port: 443, protocol: HTTPS, hostname: set.example.com, tls: {certificateRefs: [{name: set}]}}
  - {name: taken, port: 443, protocol: HTTPS, hostname: a.example.com, tls: {certificateRefs: [{name: set}]}}
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: set}
spec:
  parentRefs: [{kind: ListenerSet, name: set}]
  rules: [{backendRefs: [{name: other, port: 80}]}]
";
    setup.directory.write("set.yaml", set);
    let tls = format!("frontend: {{default: {{{}}}}}", validation("clients", ""));
    setup.gateway(&tls, &listener("https", "a.example.com"));
    let running = setup.run();
    let own = setup.get(&running, 443, "a.example.com", Some("client"));
    assert!(own.is(200, "\"web\""), "{own:?}");
    let (ca, client) = (setup.path("set.pem"), setup.path("client.pem"));
    let ask = |more: &[&str]| {
        let all = [&["--cacert", &ca][..], more].concat();
        setup.get_with(&running, (443, "set.example.com"), &all)
    };
    let answer = ask(&["--cert", &client]);
    assert!(answer.is(200, "\"other\""), "{answer:?}");
    assert_eq!(ask(&[]).status, 0);
}

#[test]
fn requests_for_another_listeners_host_are_misdirected() {
    let setup = Setup::new();
    let listeners = [
        ("any", ""),
        ("second", "second.example.com"),
        ("wild", "*.wild.example.com"),
        ("fourth", "fourth.wild.example.com"),
    ];
    let manifest = listeners.map(|(name, host)| listener(name, host)).concat();
    setup.gateway("", &manifest);
    let routes: String = listeners
        .iter()
        .map(|(name, host)| {
            let host = if host.is_empty() {
                "first.example.com"
            } else {
                host
            };
            ROUTE
                .replace("{name: web}", &format!("{{name: {name}}}"))
                .replace("{name: gw}", &format!("{{name: gw, sectionName: {name}}}"))
                .replace("  rules", &format!("  hostnames: ['{host}']\n  rules"))
        })
        .collect();
    setup
        .directory
        .write("gateway.yaml", &(gateway("gw", "", &manifest) + &routes));
    let running = setup.run();
    let [first, second, third, fourth, fifth, unknown, other] = [
        "first.example.com",
        "second.example.com",
        "third.wild.example.com",
        "fourth.wild.example.com",
        "fifth.wild.example.com",
        "unknown.example.com",
        "other.example.com",
    ];
    for (sni, host, status) in [
        (first, first, 200),
        (first, second, 421),
        (first, third, 421),
        (first, unknown, 404),
        (second, second, 200),
        (second, first, 421),
        (second, unknown, 421),
        (third, third, 200),
        (third, fifth, 200),
        (third, fourth, 421),
        (third, second, 421),
        (third, unknown, 421),
        (fourth, fourth, 200),
        (fourth, fifth, 421),
        (unknown, first, 200),
        (unknown, other, 404),
        (unknown, fourth, 421),
        // Neither case, dots nor ports make another host of it.
        (second, "SECOND.Example.com", 200),
        (second, "second.example.com:443", 200),
        (first, "second.example.com:443", 421),
    ] {
        for version in ["--http1.1", "--http2"] {
            assert_eq!(
                setup.get_other(&running, (sni, host), version),
                status,
                "{sni} {host} {version}"
            );
        }
    }
}

#[test]
fn each_listener_has_its_own_routes_and_less_specific_ones_do_not_stand_in() {
    let setup = Setup::new();
    let manifest = [
        &gateway(
            "gw",
            "",
            &[
                listener("wild", "*.example.com"),
                listener("exact", "a.example.com"),
            ]
            .concat(),
        ),
        &ROUTE.replace("{name: gw}", "{name: gw, sectionName: wild}"),
        &ROUTE
            .replace("{name: gw}", "{name: gw, sectionName: exact}")
            .replace("web", "other")
            .replace(
                "{backendRefs",
                "{matches: [{path: {value: /mine}}], backendRefs",
            ),
    ];
    setup
        .directory
        .write("gateway.yaml", &manifest.map(String::as_str).concat());
    let running = setup.run();
    let answer = setup.get(&running, 443, "b.example.com", None);
    assert!(answer.is(200, "\"web\""), "{answer:?}");
    assert_eq!(setup.get(&running, 443, "a.example.com", None).status, 404);
    let to = format!("::{}", running.address(443));
    let authority = setup.path("authority.pem");
    let url = "https://a.example.com/mine";
    let answer = curl(&["--cacert", &authority, "--connect-to", &to, url]);
    assert!(answer.is(200, "\"other\""), "{answer:?}");
}

#[test]
fn https_and_terminated_tls_share_a_port_by_server_name() {
    let setup = Setup::new();
    let terminated = "  - {name: tls, port: 443, protocol: TLS, hostname: b.example.com, tls: {mode: Terminate, certificateRefs: [{name: server}]}}\n";
    setup.gateway("", &(listener("https", "a.example.com") + terminated));
    let route = ROUTE
        .replace("HTTPRoute", "TLSRoute")
        .replace("  rules", "  hostnames: [b.example.com]\n  rules");
    setup.directory.write("route.yaml", &route);
    let running = setup.run();
    let proxied = setup.get(&running, 443, "a.example.com", None);
    assert!(proxied.is(200, "x-request-id"), "{proxied:?}");
    // Bytes go through as they are: nothing is added to the request.
    let forwarded = setup.get(&running, 443, "b.example.com", None);
    assert!(forwarded.is(200, "\"web\""), "{forwarded:?}");
    assert!(!forwarded.body.contains("x-request-id"), "{forwarded:?}");
    assert_eq!(setup.get(&running, 443, "c.example.com", None).status, 0);
}
