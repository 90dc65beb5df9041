//! Clusters, access log, metrics and admin interface of a whole gateway on real sockets.

#![cfg(test)]

mod support;

use gwanmun_certs::{Anchors, KeyPair};
use gwanmun_gateway::{AccessLogMode, Workload};
use gwanmun_ir::{
    Cluster, ClusterIdentity, ClusterKey, Discovery, DnsHost, DnsMode, EndpointIdentity, Key,
    OutlierDetection, Pem, Resource, Route, Secret, SecretKey, SecretMaterial, Sni, UpstreamTls,
    Verification,
};
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use std::{
    io::{Read, Write},
    net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener},
    sync::Arc,
};
use support::{
    TestGateway,
    build::*,
    client::{Response, get},
    eventually,
    tls::{Authority, Issued},
    upstream::Upstream,
};

/// A route of Istio's for every request to `back`, and what `more` adds.
fn routed(more: impl IntoIterator<Item = Resource>) -> Vec<Resource> {
    let route = Route {
        action: forward("back"),
        name: "to-back".to_owned(),
        ..istio(route("all", "web"), 0)
    };
    let mut resources = vec![
        listener(80),
        of_chain(exclusive(chain("web", 80))),
        of_route(route),
    ];
    resources.extend(more);
    resources
}

fn named(host: &str, port: u16) -> Cluster {
    let host = DnsHost {
        host: host.to_owned(),
        port,
        weight: 1,
    };
    Cluster {
        discovery: Discovery::Dns {
            hosts: vec![host],
            mode: DnsMode::Strict,
        },
        ..cluster_config("back")
    }
}

fn of_cluster(cluster: Cluster) -> Resource {
    Resource::Cluster(Box::new(cluster))
}

fn ask(gateway: &TestGateway, path: &str) -> Response {
    get(gateway.address(80), "a.example.com", path)
}

#[test]
fn the_first_request_to_a_new_name_waits_for_its_address() {
    let upstream = Upstream::named("one");
    for _ in 0..10 {
        let gateway = TestGateway::start();
        gateway.serve(routed([of_cluster(named(
            "localhost",
            upstream.address().port(),
        ))]));
        assert_eq!(ask(&gateway, "/").text(), "one /");
    }
}

#[test]
fn a_name_that_does_not_resolve_is_no_healthy_upstream() {
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap();
    let gateway = TestGateway::with(|config| {
        // A resolver that answers nothing: the name fails, later or never.
        config.dns = Some(nobody.local_addr().unwrap());
    });
    let cluster = Cluster {
        connect_timeout_ms: 100,
        ..named("nowhere.example", 80)
    };
    gateway.serve(routed([of_cluster(cluster)]));
    let response = ask(&gateway, "/");
    assert_eq!(
        (response.status, response.text().as_str()),
        (503, "no healthy upstream")
    );
}

/// A TLS server that answers every request with the server name it was asked for.
fn tls_upstream(issued: &Issued) -> SocketAddr {
    let pair = KeyPair::parse(&issued.certificate, &issued.key).unwrap();
    let resolver = rustls::sign::SingleCertAndKey::from(pair.certified(None));
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(resolver));
    let config = Arc::new(config);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let connection = ServerConnection::new(Arc::clone(&config)).unwrap();
            let tls = StreamOwned::new(connection, stream.unwrap());
            std::thread::spawn(move || answer_with_server_name(tls));
        }
    });
    address
}

/// Takes each read for one request; ends with the connection.
fn answer_with_server_name(mut tls: StreamOwned<ServerConnection, std::net::TcpStream>) {
    let mut head = [0; 4096];
    while tls.read(&mut head).is_ok_and(|length| length > 0) {
        let name = tls.conn.server_name().unwrap_or("-").to_owned();
        let answer = format!(
            "HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{name}",
            name.len()
        );
        if tls.write_all(answer.as_bytes()).is_err() {
            return;
        }
    }
}

fn trusted(authority: &Authority) -> Resource {
    Resource::Secret(Secret {
        key: SecretKey::new("ca"),
        material: SecretMaterial::Anchors {
            certificates: Pem::new(authority.certificate()),
            revocations: None,
        },
        source: source("ca"),
    })
}

fn verified(sni: Sni, endpoint_of: SocketAddr) -> [Resource; 2] {
    let [_, endpoints] = cluster("back", &[endpoint_of]);
    let config = Cluster {
        tls: Some(UpstreamTls {
            sni,
            verification: Verification::Anchors(SecretKey::new("ca")),
            subject_alt_names: Vec::new(),
            client_certificate: None,
        }),
        ..cluster_config("back")
    };
    [of_cluster(config), endpoints]
}

#[test]
fn upstreams_are_verified_and_a_changed_authority_counts_at_once() {
    let (authority, other) = (Authority::new(), Authority::new());
    let address = tls_upstream(&authority.issue(&["a.example.com", "fixed.example.com"]));
    assert!(Anchors::parse(&authority.certificate(), None).is_ok());
    let gateway = TestGateway::start();
    let mut resources = routed(verified(Sni::FromHost, address));
    resources.push(trusted(&authority));
    gateway.serve(resources);
    assert_eq!(ask(&gateway, "/").text(), "a.example.com");
    let fixed = Sni::Name("fixed.example.com".to_owned());
    gateway.upsert(verified(fixed, address).to_vec());
    assert_eq!(ask(&gateway, "/").text(), "fixed.example.com");
    gateway.upsert(vec![trusted(&other)]);
    let refused = ask(&gateway, "/");
    assert_eq!(refused.status, 503);
    let text = refused.text();
    assert!(text.contains("remote connection failure"), "{text}");
    let report = gateway.remove(vec![Key::Secret(SecretKey::new("ca"))]);
    assert_eq!(report.rejected.len(), 1, "{report:?}");
    assert_eq!(ask(&gateway, "/").status, 503, "never plaintext");
    gateway.upsert(vec![trusted(&authority)]);
    assert_eq!(ask(&gateway, "/").text(), "fixed.example.com");
}

#[test]
fn a_connection_verified_for_one_name_never_serves_another() {
    let authority = Authority::new();
    let address = tls_upstream(&authority.issue(&["a.example.com", "b.example.com"]));
    let gateway = TestGateway::start();
    let mut resources = routed(verified(Sni::FromHost, address));
    resources.push(trusted(&authority));
    gateway.serve(resources);
    for _ in 0..5 {
        for host in ["a.example.com", "b.example.com"] {
            assert_eq!(get(gateway.address(80), host, "/").text(), host);
        }
    }
    // A name the certificate does not have is refused although connections are open.
    assert_eq!(get(gateway.address(80), "c.example.com", "/").status, 503);
}

#[test]
fn an_endpoint_that_keeps_failing_is_ejected() {
    let good = Upstream::named("good");
    let bad = Upstream::start(false, |_| {
        let mut response = http::Response::new("bad".into());
        *response.status_mut() = http::StatusCode::INTERNAL_SERVER_ERROR;
        response
    });
    let [_, endpoints] = cluster("back", &[good.address(), bad.address()]);
    let config = Cluster {
        outlier: Some(OutlierDetection {
            consecutive_5xx: 3,
            consecutive_gateway_errors: 0,
            interval_ms: 60_000,
            base_ejection_ms: 60_000,
            max_ejection_percent: 50,
            consecutive_local_failures: None,
            min_health_percent: 0,
        }),
        ..cluster_config("back")
    };
    let gateway = TestGateway::start();
    gateway.serve(routed([of_cluster(config), endpoints]));
    let statuses: Vec<_> = (0..20).map(|_| ask(&gateway, "/").status).collect();
    assert_eq!(
        statuses.iter().filter(|&&status| status == 500).count(),
        3,
        "{statuses:?}"
    );
    assert_eq!(bad.requests(), 3);
    // Its endpoints changing does not bring it back.
    let third = Upstream::named("third");
    let [_, more] = cluster("back", &[good.address(), bad.address(), third.address()]);
    gateway.upsert(vec![more]);
    assert!((0..10).all(|_| ask(&gateway, "/").status == 200));
}

#[test]
fn one_connection_allowed_is_no_deadlock_between_endpoints_and_workers() {
    let upstreams = [Upstream::named("one"), Upstream::named("two")];
    let [_, endpoints] = cluster("back", &upstreams.each_ref().map(Upstream::address));
    let mut config = cluster_config("back");
    config.limits.max_connections = Some(1);
    let gateway = TestGateway::with(|config| config.concurrency = 2);
    gateway.serve(routed([of_cluster(config), endpoints]));
    for _ in 0..40 {
        assert_eq!(ask(&gateway, "/").status, 200);
    }
    let most = upstreams.iter().map(Upstream::connections).max();
    assert!(most <= Some(2), "one for each worker: {most:?}");
}

#[test]
fn endpoints_come_and_go_without_a_failed_request() {
    let upstreams = [Upstream::named("one"), Upstream::named("two")];
    let set = |index: usize| cluster("back", &[upstreams[index].address()]);
    let gateway = TestGateway::start();
    gateway.serve(routed(set(0)));
    let address = gateway.address(80);
    let client = std::thread::spawn(move || {
        let mut bodies = Vec::new();
        while bodies.len() < 400 {
            let response = get(address, "a.example.com", "/");
            assert_eq!(response.status, 200, "{response:?}");
            bodies.push(response.text());
        }
        bodies
    });
    for round in 1.. {
        let [_, endpoints] = set(round % 2);
        gateway.upsert(vec![endpoints]);
        if client.is_finished() {
            break;
        }
        std::thread::yield_now();
    }
    let bodies = client.join().unwrap();
    assert!(bodies.iter().any(|body| body.starts_with("one")));
    assert!(bodies.iter().any(|body| body.starts_with("two")));
}

/// A cluster that metrics can name.
fn reviews(upstream: &Upstream) -> [Resource; 2] {
    let name = "outbound|9080||reviews.default.svc.cluster.local";
    let config = Cluster {
        name: name.to_owned(),
        identity: ClusterIdentity {
            service: "reviews.default.svc.cluster.local".to_owned(),
            service_name: "reviews".to_owned(),
            service_namespace: "default".to_owned(),
        },
        ..cluster_config("back")
    };
    let mut one = endpoint(upstream.address());
    one.identity = EndpointIdentity {
        workload: "reviews-v1".to_owned(),
        namespace: "default".to_owned(),
        app: "reviews".to_owned(),
        version: "v1".to_owned(),
    };
    let endpoints = gwanmun_ir::EndpointSet {
        cluster: ClusterKey::new("back"),
        endpoints: vec![one],
    };
    [of_cluster(config), Resource::Endpoints(endpoints)]
}

#[test]
fn a_request_is_logged_as_istio_logs_it() {
    let directory = tempfile::tempdir().unwrap();
    let log = directory.path().join("access.log");
    let upstream = Upstream::named("one");
    let gateway = TestGateway::with(|config| {
        config.access_log = AccessLogMode::Text;
        config.access_log_file = Some(log.clone());
    });
    gateway.serve(routed(reviews(&upstream)));
    assert_eq!(ask(&gateway, "/a?b=1").status, 200);
    let mut text = String::new();
    eventually("one line in the log", || {
        text = std::fs::read_to_string(&log).unwrap_or_default();
        text.ends_with('\n')
    });
    let (start, rest) = text.split_once("] ").unwrap();
    assert_eq!(start.len(), "[2026-01-02T03:04:05.678Z".len(), "{text}");
    let fields: Vec<_> = rest.trim_end().split(' ').collect();
    let port = |text: &str, ip: IpAddr| {
        let address: SocketAddr = text.parse().unwrap();
        assert_eq!(address.ip(), ip, "{text}");
    };
    let local = Ipv4Addr::LOCALHOST.into();
    assert_eq!(
        fields[..9],
        [
            "\"GET",
            "/a?b=1",
            "HTTP/1.1\"",
            "200",
            "-",
            "via_upstream",
            "-",
            "\"-\"",
            "0"
        ],
        "{text}"
    );
    assert_eq!(fields[9], "10", "{text}");
    assert!(
        fields[10].parse::<u32>().is_ok() && fields[11].parse::<u32>().is_ok(),
        "{text}"
    );
    assert_eq!(fields[12..14], ["\"127.0.0.1\"", "\"-\""], "{text}");
    assert_eq!(fields[14].len(), 38, "a request id: {text}");
    let host = format!("\"{}\"", upstream.address());
    let cluster = "outbound|9080||reviews.default.svc.cluster.local";
    assert_eq!(
        fields[15..18],
        ["\"a.example.com\"", host.as_str(), cluster],
        "{text}"
    );
    port(fields[18], local);
    assert_eq!(fields[19], gateway.address(80).to_string(), "{text}");
    port(fields[20], local);
    assert_eq!(fields[21..], ["-", "to-back"], "{text}");
}

#[test]
fn requests_are_counted_with_istios_labels_and_endpoints_shown() {
    let any = Some(SocketAddr::from(([127, 0, 0, 1], 0)));
    let upstream = Upstream::named("one");
    let gateway = TestGateway::with(|config| {
        config.admin = any;
        config.metrics = any;
        config.health = any;
        config.workload = Workload {
            name: "gateway".to_owned(),
            ..Workload::default()
        };
    });
    let health = gateway.gateway().health_address().unwrap();
    assert_eq!(get(health, "localhost", "/healthz/ready").status, 503);
    gateway.serve(routed(reviews(&upstream)));
    assert_eq!(get(health, "localhost", "/healthz/ready").status, 200);
    for _ in 0..3 {
        assert_eq!(ask(&gateway, "/").status, 200);
    }
    let metrics = gateway.gateway().metrics_address().unwrap();
    let mut text = String::new();
    eventually("three requests are counted", || {
        text = get(metrics, "localhost", "/metrics").text();
        text.lines().any(|line| {
            line.starts_with("istio_requests_total{reporter=\"source\",source_workload=\"gateway\"")
                && line.contains("destination_workload=\"reviews-v1\"")
                && line.contains("destination_service=\"reviews.default.svc.cluster.local\"")
                && line.contains("response_code=\"200\"")
                && line.ends_with(" 3")
        })
    });
    for part in [
        "envoy_cluster_upstream_rq_total{cluster_name=\"outbound|9080||reviews.default.svc.cluster.local\"} 3",
        "envoy_cluster_upstream_cx_total{cluster_name=\"outbound|9080||reviews.default.svc.cluster.local\"} 1",
        "gwanmun_config_epoch 1",
    ] {
        assert!(text.contains(part), "{part}\n{text}");
    }
    let admin = gateway.gateway().admin_address().unwrap();
    let clusters = get(admin, "localhost", "/clusters").text();
    let line = format!("back::{}::health_flags::healthy", upstream.address());
    assert!(clusters.contains(&line), "{clusters}");
    let dump: serde_json::Value =
        serde_json::from_str(&get(admin, "localhost", "/config_dump").text()).unwrap();
    assert_eq!(dump["gwanmun"]["epoch"], 1);
}
