//! Every manifest of `examples/` runs and answers as its comment says.

use crate::support::{Answer, Directory, Gwanmun, curl, datagram, eventually, gwanmun};
use std::{
    collections::BTreeSet,
    fs,
    net::{SocketAddr, TcpListener},
    path::Path,
    process::Command,
};

const EXAMPLES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/examples");

/// Files of one example, served, before its backends.
struct Example {
    directory: Directory,
    running: Gwanmun,
    _backends: Gwanmun,
}

impl Example {
    /// Serves `files` of `examples/NAME` and its services.
    fn run(name: &str, files: &[&str]) -> Self {
        Self::run_with(name, files, &[])
    }

    /// As [`Example::run`], with more arguments.
    fn run_with(name: &str, files: &[&str], more: &[&str]) -> Self {
        let directory = Directory::new();
        let network = free_network();
        for file in files.iter().chain(&["services.yaml"]) {
            let manifest = fs::read_to_string(Path::new(EXAMPLES).join(name).join(file)).unwrap();
            directory.write(
                file,
                &manifest.replace("- 127.0.", &format!("- 127.{network}.")),
            );
        }
        let script = Path::new(EXAMPLES).join("secrets.sh");
        assert!(
            Command::new(script)
                .arg(directory.path())
                .status()
                .unwrap()
                .success()
        );
        let backends = Gwanmun::backends(&directory);
        let running = Gwanmun::run(&directory, more);
        assert_eq!(running.count_errors(" ERROR "), 0);
        Self {
            directory,
            running,
            _backends: backends,
        }
    }

    fn get(&self, port: u16, host: &str, path: &str) -> Answer {
        self.running.get(port, host, path, &[])
    }

    fn get_with(&self, port: u16, host: &str, path: &str, header: &str) -> Answer {
        self.running.get(port, host, path, &["--header", header])
    }

    fn get_tls(&self, host: &str, path: &str, more: &[&str]) -> Answer {
        let authority = self.directory.file("ca.crt").display().to_string();
        let to = format!("::{}", self.running.address(443));
        let url = format!("https://{host}{path}");
        let mut arguments = vec!["--cacert", &authority, "--connect-to", &to, &url];
        arguments.extend(more);
        curl(&arguments)
    }

    /// Which pods answer many requests.
    fn pods(&self, host: &str, path: &str, header: &str) -> Vec<(String, usize)> {
        let mut pods: Vec<(String, usize)> = Vec::new();
        for _ in 0..100 {
            let answer = self.get_with(
                if host == "reviews.example.com" {
                    8080
                } else {
                    80
                },
                host,
                path,
                header,
            );
            assert_eq!(answer.status, 200, "{answer:?}");
            let pod = answer.field("x-pod").unwrap().to_owned();
            match pods.iter_mut().find(|(name, _)| *name == pod) {
                Some((_, count)) => *count += 1,
                None => pods.push((pod, 1)),
            }
        }
        pods.sort();
        pods
    }
}

/// A second number of 127.0.0.0/8 whose first backend address is free.
fn free_network() -> u8 {
    use std::sync::atomic::{AtomicU8, Ordering};
    static NEXT: AtomicU8 = AtomicU8::new(20);
    loop {
        let network = NEXT.fetch_add(1, Ordering::Relaxed);
        let free = |rest: &str| TcpListener::bind(format!("127.{network}.{rest}")).is_ok();
        if free("1.1:9080") && free("2.1:8088") && free("3.1:8089") && free("4.1:8090") {
            return network;
        }
    }
}

/// Asserts that both pods of a 90/10 split answer, the first one mostly.
fn assert_split(pods: &[(String, usize)], first: &str, second: &str) {
    let names: Vec<&str> = pods.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, [first, second], "{pods:?}");
    assert!(pods[0].1 > 70, "{pods:?}");
}

#[test]
fn bookinfo() {
    let example = Example::run(
        "bookinfo",
        &[
            "bookinfo-gateway.yaml",
            "destination-rule-all.yaml",
            "reviews-at-the-gateway.yaml",
        ],
    );
    for path in [
        "/productpage",
        "/static/bootstrap.css",
        "/login",
        "/logout",
        "/api/v1/products/0",
    ] {
        let answer = example.get(8080, "anything.example.com", path);
        assert!(answer.is(200, "\"productpage-v1\""), "{path}: {answer:?}");
        assert_eq!(answer.field("server"), Some("gwanmun"));
    }
    for path in ["/", "/productpage/", "/loginx", "/api/v1"] {
        assert_eq!(
            example.get(8080, "anything.example.com", path).status,
            404,
            "{path}"
        );
    }
    let host = "reviews.example.com";
    assert!(
        example
            .get_with(8080, host, "/reviews/0", "end-user: jason")
            .is(200, "\"reviews-v2\"")
    );
    assert_split(
        &example.pods(host, "/reviews/0", "end-user: someone"),
        "reviews-v1",
        "reviews-v3",
    );
}

#[test]
fn httpbin() {
    let example = Example::run("httpbin", &["httpbin-gateway.yaml", "secure-ingress.yaml"]);
    assert!(
        example
            .get(80, "httpbin.example.com", "/status/200")
            .is(200, "\"httpbin\"")
    );
    assert_eq!(
        example.get(80, "httpbin.example.com", "/status/418").status,
        418
    );
    assert_eq!(
        example.get(80, "httpbin.example.com", "/headers").status,
        404
    );
    assert_eq!(
        example.get(80, "other.example.com", "/status/200").status,
        404
    );
    for version in ["--http2", "--http1.1"] {
        let answer = example.get_tls("httpbin.example.com", "/status/418", &[version]);
        assert_eq!(answer.status, 418, "{answer:?}");
    }
    // Nobody has a certificate for another name.
    assert_eq!(
        example
            .get_tls("other.example.com", "/status/418", &[])
            .status,
        0
    );
}

#[test]
fn securing_gateway_traffic() {
    let example = Example::run("tls-and-tcp", &["securing-gateway-traffic.yaml"]);
    let host = "webapp.example.com";
    let (certificate, key) = (
        example.directory.file("client.crt").display().to_string(),
        example.directory.file("client.key").display().to_string(),
    );
    let known = ["--cert", &certificate, "--key", &key];
    assert!(example.get_tls(host, "/", &known).is(200, "\"webapp\""));
    assert_eq!(example.get_tls(host, "/", &[]).status, 0);
    let plain = example.get(80, host, "/a?b");
    assert_eq!(plain.status, 301, "{plain:?}");
    assert!(
        plain
            .field("location")
            .unwrap()
            .starts_with("https://webapp.example.com")
    );
}

#[test]
fn virtual_hosts_with_tls() {
    let example = Example::run("tls-and-tcp", &["virtual-hosts-with-tls.yaml"]);
    for (host, pod) in [
        ("store.example.com", "\"webapp\""),
        ("catalog.example.com", "\"catalog\""),
    ] {
        let answer = example.get_tls(host, "/", &[]);
        assert!(answer.is(200, pod), "{answer:?}");
    }
    assert_eq!(example.get_tls("other.example.com", "/", &[]).status, 0);
}

#[test]
fn tcp() {
    let example = Example::run_with("tls-and-tcp", &["tcp.yaml"], &["--map-port", "31400:0"]);
    let mut pods = Vec::new();
    for _ in 0..100 {
        let answer = example.get(31400, "anything", "/");
        assert_eq!(answer.status, 200, "{answer:?}");
        pods.push(answer.field("x-pod").unwrap().to_owned());
    }
    let of = |pod: &str| pods.iter().filter(|one| *one == pod).count();
    let (first, second) = (of("tcp-echo-v1"), of("tcp-echo-v2"));
    assert!(
        first > 60 && second > 2 && first + second == 100,
        "{pods:?}"
    );
}

#[test]
fn split_gateways() {
    // Each workload binds the ports of its own Gateways only.
    let files = ["split-gateways.yaml", "tcp.yaml"];
    let ports = ["--map-port", "31400:0", "--map-port", "31402:0"];
    for (label, port, pod) in [
        ("istio=my-user-gateway", 31402, "\"catalog\""),
        ("istio=ingressgateway", 31400, "\"tcp-echo-v"),
    ] {
        let arguments = [&ports[..], &["--label", label]].concat();
        let example = Example::run_with("tls-and-tcp", &files, &arguments);
        assert!(example.get(port, "anything", "/").is(200, pod), "{label}");
        assert_eq!(example.running.count_errors("listening on"), 1, "{label}");
    }
}

#[test]
fn sni_passthrough() {
    let example = Example::run("tls-and-tcp", &["virtual-hosts-with-tls.yaml"]);
    // Another gateway in front of it sees only server names.
    let backend = example.running.address(443).parse::<SocketAddr>().unwrap();
    let front = Directory::new();
    let manifest = fs::read_to_string(Path::new(EXAMPLES).join("tls-and-tcp/sni-passthrough.yaml"));
    let manifest = manifest
        .unwrap()
        .replace("simple-sni.example.com", "catalog.example.com")
        .replace("127.0.6.1", "127.0.0.1")
        .replace("port: 8443", &format!("port: {}", backend.port()));
    front.write("sni-passthrough.yaml", &manifest);
    let running = Gwanmun::run(&front, &["--map-port", "15443:0"]);
    let authority = example.directory.file("ca.crt").display().to_string();
    let get = |host: &str| {
        let to = format!("::{}", running.address(15443));
        let url = format!("https://{host}/");
        curl(&["--cacert", &authority, "--connect-to", &to, &url])
    };
    let answer = get("catalog.example.com");
    assert!(answer.is(200, "\"catalog\""), "{answer:?}");
    assert_eq!(get("store.example.com").status, 0);
    let line = running.wait_output("catalog.example.com");
    assert!(line.contains("\"- - -\" 0 - -"), "{line}");
}

#[test]
fn simple_gateway() {
    let example = Example::run("gateway-api", &["simple-gateway.yaml"]);
    assert!(
        example
            .get(80, "anything.example.com", "/any/path")
            .is(200, "\"foo-svc\"")
    );
}

#[test]
fn http_routing() {
    let example = Example::run("gateway-api", &["http-routing.yaml"]);
    assert!(
        example
            .get(80, "example.com", "/anything")
            .is(200, "\"example-svc\"")
    );
    assert!(
        example
            .get(80, "foo.example.com", "/login")
            .is(200, "\"foo-svc\"")
    );
    assert!(
        example
            .get(80, "foo.example.com", "/login/x")
            .is(200, "\"foo-svc\"")
    );
    assert_eq!(example.get(80, "foo.example.com", "/loginx").status, 404);
    assert!(
        example
            .get(80, "bar.example.com", "/")
            .is(200, "\"bar-svc\"")
    );
    assert!(
        example
            .get_with(80, "bar.example.com", "/", "env: canary")
            .is(200, "\"bar-svc-canary\"")
    );
    assert_eq!(example.get(80, "nobody.example.com", "/").status, 404);
}

#[test]
fn tls() {
    let example = Example::run("gateway-api", &["tls.yaml"]);
    let h2 = example.get_tls("foo.example.com", "/", &["--http2"]);
    assert!(
        h2.is(200, "\"foo-svc\"") && h2.head.starts_with("http/2 200"),
        "{h2:?}"
    );
    assert!(
        example
            .get_tls("a.wildcard.example.com", "/", &[])
            .is(200, "\"bar-svc\"")
    );
    assert_eq!(example.get_tls("nobody.example.com", "/", &[]).status, 0);
    // The connection's name leads to one listener, the request's host to the other.
    let misdirected = example.get_tls(
        "foo.example.com",
        "/",
        &["--header", "host: a.wildcard.example.com"],
    );
    assert_eq!(misdirected.status, 421, "{misdirected:?}");
}

#[test]
fn cross_namespace() {
    let example = Example::run("gateway-api", &["cross-namespace.yaml"]);
    assert!(
        example
            .get(80, "shop.example.com", "/store")
            .is(200, "\"store-svc\"")
    );
    assert!(
        example
            .get(80, "shop.example.com", "/content")
            .is(200, "\"content-svc\"")
    );
    assert_eq!(example.get(80, "shop.example.com", "/").status, 404);
    // Without the grant the other namespace's Service answers no more, and only it.
    let manifest = fs::read_to_string(example.directory.file("cross-namespace.yaml")).unwrap();
    example.directory.replace(
        "cross-namespace.yaml",
        &manifest.replace("kind: ReferenceGrant", "kind: NoGrant"),
    );
    eventually(
        "500",
        || example.get(80, "shop.example.com", "/content"),
        |answer| answer.status == 500,
    );
    assert!(
        example
            .get(80, "shop.example.com", "/store")
            .is(200, "\"store-svc\"")
    );
}

#[test]
fn traffic_splitting() {
    let example = Example::run("gateway-api", &["traffic-splitting.yaml"]);
    assert!(
        example
            .get_with(80, "split.example.com", "/", "traffic: test")
            .is(200, "\"foo-v2\"")
    );
    assert_split(
        &example.pods("split.example.com", "/", "x: y"),
        "foo-v1",
        "foo-v2",
    );
}

#[test]
fn header_modifiers() {
    let example = Example::run("gateway-api", &["header-modifiers.yaml"]);
    let answer = example.get_with(80, "headers.example.com", "/", "x-remove-me: please");
    let echo: serde_json::Value = serde_json::from_str(&answer.body).unwrap();
    let headers = &echo["headers"];
    assert_eq!(headers["my-header-name"], "my-header-value", "{echo}");
    assert_eq!(headers["my-set-header"], "set", "{echo}");
    assert!(headers.get("x-remove-me").is_none(), "{echo}");
    assert_eq!(
        answer.field("x-header-add-1"),
        Some("header-add-1"),
        "{answer:?}"
    );
    assert_eq!(
        answer.field("x-header-set-1"),
        Some("header-set-1"),
        "{answer:?}"
    );
    assert_eq!(answer.field("x-pod"), None, "{answer:?}");
}

#[test]
fn redirects_and_rewrites() {
    let example = Example::run("gateway-api", &["redirects-and-rewrites.yaml"]);
    let to_https = example.get(80, "redirect.example.com", "/some/path?q=1");
    assert_eq!(to_https.status, 301);
    assert_eq!(
        to_https.field("location"),
        Some("https://redirect.example.com/some/path?q=1"),
        "{to_https:?}"
    );
    let path = example.get(80, "redirect.example.com", "/cayenne/hot");
    assert_eq!(path.status, 302);
    assert!(
        path.field("location").unwrap().ends_with("/paprika/hot"),
        "{path:?}"
    );
    let rewritten = example.get(80, "rewrite.example.com", "/cardamom/pods?q=1");
    let echo: serde_json::Value = serde_json::from_str(&rewritten.body).unwrap();
    assert_eq!(echo["path"], "/fennel?q=1", "{echo}");
    assert_eq!(echo["host"], "elsewhere.example.com", "{echo}");
}

#[test]
fn grpc_routing() {
    let example = Example::run("gateway-api", &["grpc-routing.yaml"]);
    // An empty message: no compression, length 0.
    example.directory.write("message", "\0\0\0\0\0");
    let message = format!("@{}", example.directory.file("message").display());
    let call = |method: &str| {
        let mut arguments = vec![
            "--http2-prior-knowledge",
            "--output",
            "-",
            "--data-binary",
            &message,
        ];
        for header in ["content-type: application/grpc", "te: trailers"] {
            arguments.extend(["--header", header]);
        }
        example
            .running
            .get(80, "grpc.example.com", method, &arguments)
    };
    let login = call("/com.example/Login");
    assert!(login.is(200, "\"grpc-svc\""), "{login:?}");
    assert!(login.body.contains("HTTP/2.0"), "{login:?}");
    // This is answered before the message has arrived, which must keep no client from sending it.
    for _ in 0..20 {
        let logout = call("/com.example/Logout");
        assert_eq!(logout.field("grpc-status"), Some("12"), "{logout:?}");
    }
}

#[test]
fn tls_passthrough() {
    let example = Example::run("gateway-api", &["tls-passthrough.yaml"]);
    let answer = example.get_tls("secure.example.com", "/", &[]);
    assert!(
        answer.is(200, "\"serverName\": \"secure.example.com\""),
        "{answer:?}"
    );
    assert_eq!(answer.field("server"), None, "{answer:?}");
    assert_eq!(example.get_tls("other.example.com", "/", &[]).status, 0);
}

#[test]
fn tls_termination_to_tcp() {
    let example = Example::run("gateway-api", &["tls-termination-to-tcp.yaml"]);
    let answer = example.get_tls("terminated.example.com", "/", &[]);
    assert!(answer.is(200, "\"tcp-v1\""), "{answer:?}");
    assert!(!answer.body.contains("serverName"), "{answer:?}");
    assert_eq!(answer.field("server"), None, "{answer:?}");
}

#[test]
fn tcp_routing() {
    let more = ["--map-port", "9000:0"];
    let example = Example::run_with("gateway-api", &["tcp-routing.yaml"], &more);
    let mut pods: Vec<String> = (0..100)
        .map(|_| {
            let answer = example.get(9000, "anything", "/");
            answer.field("x-pod").unwrap().to_owned()
        })
        .collect();
    pods.sort();
    let first = pods.iter().filter(|pod| *pod == "tcp-v1").count();
    assert!((70..100).contains(&first), "{pods:?}");
    assert_eq!(pods.last().unwrap(), "tcp-v2");
}

#[test]
fn udp_routing() {
    let more = ["--map-port", "5300:0"];
    let example = Example::run_with("gateway-api", &["udp-routing.yaml"], &more);
    let address = example.running.udp_address(5300);
    let answer = datagram(&address, "hello").unwrap();
    assert!(answer.contains("\"datagram\":\"hello\""), "{answer}");
    assert!(answer.contains("\"udp-svc\""), "{answer}");
}

#[test]
fn client_certificates() {
    let example = Example::run("gateway-api", &["client-certificates.yaml"]);
    let path = |name: &str| example.directory.file(name).display().to_string();
    let (certificate, key) = (path("client.crt"), path("client.key"));
    let known = ["--cert", certificate.as_str(), "--key", &key];
    let answer = example.get_tls("clients.example.com", "/", &known);
    assert!(answer.is(200, "x-forwarded-client-cert"), "{answer:?}");
    assert_eq!(example.get_tls("clients.example.com", "/", &[]).status, 0);
}

#[test]
fn backend_tls() {
    let example = Example::run("gateway-api", &["backend-tls.yaml"]);
    let answer = example.get(80, "reencrypted.example.com", "/");
    assert!(
        answer.is(200, "\"serverName\": \"secure.example.com\""),
        "{answer:?}"
    );
    // Another name is not the backend's.
    let manifest = fs::read_to_string(example.directory.file("backend-tls.yaml")).unwrap();
    let other = manifest.replace("hostname: secure.", "hostname: other.");
    example.directory.replace("backend-tls.yaml", &other);
    eventually(
        "503",
        || example.get(80, "reencrypted.example.com", "/"),
        |answer| answer.status == 503,
    );
}

#[test]
fn all_examples_serve_side_by_side_and_check_finds_nothing_but_missing_keys() {
    let directory = Directory::new();
    let script = Path::new(EXAMPLES).join("secrets.sh");
    assert!(
        Command::new(script)
            .arg(directory.path())
            .status()
            .unwrap()
            .success()
    );
    let output = gwanmun(&[
        "check",
        "--strict",
        EXAMPLES,
        directory.path().to_str().unwrap(),
    ]);
    assert_eq!((output.code, output.out.as_str()), (0, ""), "{output:?}");
}

/// Demonstrations that start at the same moment would choose the same ports.
static ONE_DEMONSTRATION: parking_lot::Mutex<()> = parking_lot::Mutex::new(());

#[test]
fn the_demonstration_checks_itself() {
    let _alone = ONE_DEMONSTRATION.lock();
    let output = gwanmun(&["demo", "--check"]);
    assert_eq!(output.code, 0, "{output:?}");
    assert!(output.out.ends_with(" passed, 0 failed\n"), "{output:?}");
}

#[test]
fn the_lines_that_the_demonstration_prints_work() {
    let _alone = ONE_DEMONSTRATION.lock();
    let running = Gwanmun::start(&["demo"]);
    running.wait_output("Stop with Ctrl-C");
    let lines = running.output_with("curl ");
    assert!(lines.len() > 10, "{lines:?}");
    for line in lines {
        let output = Command::new("bash").args(["-c", &line]).output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "{line}: {output:?}");
        assert!(
            text.contains("pod") || line.contains(" -i "),
            "{line}: {text}"
        );
    }
}

#[test]
fn every_example_has_a_test() {
    let this = include_str!("examples.rs");
    let mut missing = BTreeSet::new();
    for entry in ["bookinfo", "httpbin", "gateway-api", "tls-and-tcp"] {
        for file in fs::read_dir(Path::new(EXAMPLES).join(entry)).unwrap() {
            let name = file.unwrap().file_name().into_string().unwrap();
            if !this.contains(&format!("\"{name}\"")) {
                missing.insert(name);
            }
        }
    }
    assert!(missing.is_empty(), "{missing:?}");
}
