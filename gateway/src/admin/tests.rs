//! The three servers over real sockets.

use super::*;
use crate::{Config, cluster::Registry};
use gwanmun_ir::{
    Action, AppProtocol, BindAddress, ChainKey, ChainMatch, ClusterKey, Dialect, Discovery,
    DnsHost, DnsMode, FilterChain, HostRule, HttpOptions, Key, Listener, LoadBalancing,
    PathNormalization, Pem, Precedence, PrivatePem, Route, RouteKey, RouteKind, Secret, SecretKey,
    SecretMaterial, Security, ServerHeader, SourceRef, Target, Timeouts, Transport,
    UpstreamProtocol, WeightedTarget,
};
use parking_lot::Mutex;
use serde_json::Value;
use std::{
    collections::BTreeMap,
    io::{Read, Write},
    net::TcpStream,
};

const NAME: &str = "outbound|9080||reviews.default.svc.cluster.local";

struct Fake {
    resources: BTreeMap<Key, Arc<Resource>>,
    clusters: Clusters,
    ready: Mutex<Result<(), String>>,
    calls: Mutex<Vec<&'static str>>,
}

impl Subject for Fake {
    fn epoch(&self) -> u64 {
        7
    }
    fn resources(&self) -> Vec<Arc<Resource>> {
        self.resources.values().cloned().collect()
    }
    fn clusters(&self) -> Clusters {
        Arc::clone(&self.clusters)
    }
    fn certificates(&self) -> Vec<InService> {
        Vec::new()
    }
    fn rejected(&self) -> Vec<Rejection> {
        Vec::new()
    }
    fn listeners(&self) -> Vec<(ListenerKey, ListenerState, Option<SocketAddr>)> {
        let bound = SocketAddr::from(([0, 0, 0, 0], 8080));
        vec![
            (
                ListenerKey::new("tcp/0.0.0.0:80"),
                ListenerState::Bound,
                Some(bound),
            ),
            (
                ListenerKey::new("tcp/0.0.0.0:81"),
                ListenerState::Failed("address in use".to_owned()),
                None,
            ),
        ]
    }
    fn readiness(&self) -> Result<(), String> {
        self.ready.lock().clone()
    }
    fn explain(&self, request: &AdminRequest) -> Result<Value, String> {
        match request.parameter("url") {
            Some(url) => Ok(serde_json::json!({ "request": { "url": url } })),
            None => Err("url is missing".to_owned()),
        }
    }
    fn drain_listeners(&self) {
        self.calls.lock().push("drain");
    }
    fn quit(&self) {
        self.calls.lock().push("quit");
    }
    fn extra(&self) -> Option<ExtraAdmin> {
        Some(Arc::new(|request| {
            (request.path == "/logging").then(|| {
                AdminResponse::text(200, format!("{} {:?}", request.method, request.query))
            })
        }))
    }
}

fn source(kind: &str, name: &str) -> SourceRef {
    SourceRef {
        kind: kind.to_owned(),
        namespace: "default".to_owned(),
        name: name.to_owned(),
        section: String::new(),
    }
}

fn chain_and_route() -> [Resource; 3] {
    let listener = ListenerKey::new("tcp/0.0.0.0:80");
    let chain = ChainKey::new("http.80");
    let options = HttpOptions {
        forward_client_cert: gwanmun_ir::ForwardClientCert::SanitizeSet,
        host_rule: HostRule::Exclusive,
        path_normalization: PathNormalization::Base,
        trusted_hops: 0,
        detect_misdirected: false,
        accept_http10: false,
    };
    [
        Resource::Listener(Listener {
            proxy_protocol: None,
            key: listener.clone(),
            address: BindAddress::Any,
            port: 80,
            transport: Transport::Tcp,
        }),
        Resource::Chain(Box::new(FilterChain {
            key: chain.clone(),
            listener,
            matches: ChainMatch::default(),
            security: Security::Plaintext,
            protocol: AppProtocol::Http(options),
            rank: (0, "default/gw".to_owned()),
            port: 80,
            source: source("Gateway", "gw"),
        })),
        Resource::Route(Box::new(Route {
            key: RouteKey::new("VirtualService/default/reviews/0@http.80"),
            chain,
            hostnames: vec!["reviews.example.com".parse().unwrap()],
            precedence: Precedence::InOrder(0),
            kind: RouteKind::Http,
            matches: Vec::new(),
            filters: Vec::new(),
            action: Action::Forward(vec![WeightedTarget {
                target: Target::Cluster(ClusterKey::new(NAME)),
                weight: 1,
                filters: Vec::new(),
            }]),
            timeouts: Timeouts {
                request_ms: Some(1500),
                per_try_ms: None,
            },
            retry: None,
            max_request_body: None,
            dialect: Dialect::Istio {
                server: ServerHeader::PassThrough,
            },
            name: "-".to_owned(),
            source: source("VirtualService", "reviews"),
        })),
    ]
}

fn resources() -> BTreeMap<Key, Arc<Resource>> {
    let host = DnsHost {
        host: "127.0.0.1".to_owned(),
        port: 9080,
        weight: 1,
    };
    let cluster = gwanmun_ir::Cluster {
        hash: None,
        warmup: None,
        max_connection_duration_ms: None,
        keepalive: None,
        http2_keepalive: None,
        proxy_protocol: None,
        key: ClusterKey::new(NAME),
        name: NAME.to_owned(),
        discovery: Discovery::Dns {
            hosts: vec![host],
            mode: DnsMode::Strict,
        },
        balancing: LoadBalancing::LeastRequest,
        protocol: UpstreamProtocol::Http1,
        connect_timeout_ms: 10_000,
        idle_timeout_ms: 60_000,
        tls: None,
        limits: gwanmun_ir::CircuitBreakers::default(),
        outlier: None,
        identity: gwanmun_ir::ClusterIdentity::default(),
        policy: Some(source("DestinationRule", "reviews")),
        source: source("Service", "reviews"),
    };
    let key = rcgen::KeyPair::generate().unwrap();
    let certificate = rcgen::CertificateParams::new(vec!["reviews.example.com".to_owned()])
        .unwrap()
        .self_signed(&key)
        .unwrap();
    let secret = Secret {
        key: SecretKey::new("kubernetes://default/reviews"),
        material: SecretMaterial::KeyPair {
            certificates: Pem::new(certificate.pem()),
            private_key: PrivatePem::new(key.serialize_pem()),
            ocsp_staple: None,
        },
        source: source("Secret", "reviews"),
    };
    chain_and_route()
        .into_iter()
        .chain([
            Resource::Cluster(Box::new(cluster)),
            Resource::Secret(secret),
        ])
        .map(|resource| (resource.key(), Arc::new(resource)))
        .collect()
}

struct Servers {
    bound: Bound,
    fake: Arc<Fake>,
    /// Ends with the test.
    control: tokio::runtime::Runtime,
}

fn servers() -> Servers {
    let control = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap();
    let any = Some(SocketAddr::from(([127, 0, 0, 1], 0)));
    let config = Config {
        admin: any,
        metrics: any,
        health: any,
        ..Config::default()
    };
    let resources = resources();
    let mut registry = Registry::new(&config, control.handle().clone()).unwrap();
    let keys: Vec<_> = resources.keys().cloned().collect();
    registry.reconcile(&resources, &keys);
    let fake = Arc::new(Fake {
        clusters: registry.clusters(),
        resources,
        ready: Mutex::new(Ok(())),
        calls: Mutex::default(),
    });
    let telemetry = Telemetry::with_sink(&config, Box::new(io::sink())).unwrap();
    let subject = Arc::<Fake>::clone(&fake);
    let bound = serve(&config, control.handle(), telemetry, subject).unwrap();
    Servers {
        bound,
        fake,
        control,
    }
}

/// Status, header block and body.
fn ask(address: Option<SocketAddr>, method: &str, path: &str) -> (u16, String, String) {
    let mut stream = TcpStream::connect(address.unwrap()).unwrap();
    write!(
        stream,
        "{method} {path} HTTP/1.1\r\nhost: localhost:15000\r\nconnection: close\r\n\r\n"
    )
    .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    (status, head.to_ascii_lowercase(), body.to_owned())
}

fn json(address: Option<SocketAddr>, path: &str) -> Value {
    let (status, head, body) = ask(address, "GET", path);
    assert_eq!(status, 200, "{path}: {body}");
    assert!(head.contains("content-type: application/json"), "{head}");
    serde_json::from_str(&body).unwrap()
}

#[test]
fn readiness_is_200_or_503_with_the_reason() {
    let servers = servers();
    for (port, path) in [
        (servers.bound.health, "/healthz/ready"),
        (servers.bound.admin, "/ready"),
    ] {
        *servers.fake.ready.lock() = Ok(());
        assert_eq!(ask(port, "GET", path).0, 200);
        *servers.fake.ready.lock() = Err("no configuration yet".to_owned());
        let (status, _, body) = ask(port, "GET", path);
        assert_eq!((status, body.as_str()), (503, "no configuration yet\n"));
    }
    assert_eq!(ask(servers.bound.health, "GET", "/config_dump").0, 404);
}

#[test]
fn metrics_are_served_on_both_paths_and_nothing_else_is() {
    let servers = servers();
    for path in ["/metrics", "/stats/prometheus"] {
        let (status, head, body) = ask(servers.bound.metrics, "GET", path);
        assert_eq!(status, 200);
        assert!(
            head.contains("content-type: text/plain; version=0.0.4"),
            "{head}"
        );
        assert!(body.contains("istio_build{component=\"proxy\""), "{body}");
    }
    assert_eq!(ask(servers.bound.metrics, "GET", "/config_dump").0, 404);
    assert_eq!(ask(servers.bound.metrics, "POST", "/metrics").0, 405);
}

#[test]
fn the_configuration_has_envoys_shape_and_no_private_key() {
    let servers = servers();
    let (_, _, text) = ask(servers.bound.admin, "GET", "/config_dump?include_eds");
    assert!(!text.contains("PRIVATE KEY"), "a private key is shown");
    let dump: Value = serde_json::from_str(&text).unwrap();
    let part = |name: &str| {
        let configs = dump["configs"].as_array().unwrap().iter();
        configs
            .filter_map(|config| config.get(name))
            .next()
            .unwrap()
            .clone()
    };
    let cluster = &part("dynamic_active_clusters")[0]["cluster"];
    assert_eq!(cluster["name"], NAME);
    assert_eq!(cluster["type"], "STRICT_DNS");
    assert_eq!(
        cluster["metadata"]["filter_metadata"]["istio"]["config"],
        "/apis/networking.istio.io/v1alpha3/namespaces/default/destination-rule/reviews"
    );
    let listener = &part("dynamic_listeners")[0];
    assert_eq!(listener["name"], "0.0.0.0_80");
    let chain = &listener["active_state"]["listener"]["filter_chains"][0];
    let manager = &chain["filters"][0]["typed_config"];
    assert_eq!(manager["rds"]["route_config_name"], "http.80");
    let routes = &part("dynamic_route_configs")[0]["route_config"];
    let host = &routes["virtual_hosts"][0];
    assert_eq!(host["name"], "reviews.example.com:80");
    assert_eq!(host["routes"][0]["match"]["prefix"], "/");
    assert_eq!(host["routes"][0]["route"]["cluster"], NAME);
    assert_eq!(host["routes"][0]["route"]["timeout"], "1.500s");
    let secret = &part("dynamic_active_secrets")[0]["secret"];
    let key = &secret["tls_certificate"]["private_key"]["inline_bytes"];
    assert_eq!(key, "W3JlZGFjdGVkXQ==");
    assert_eq!(dump["gwanmun"]["epoch"], 7);
    assert_eq!(dump["gwanmun"]["resources"].as_array().unwrap().len(), 5);
    let only = json(
        servers.bound.admin,
        "/config_dump?resource=dynamic_listeners",
    );
    assert_eq!(only["configs"][0]["name"], "0.0.0.0_80");
    assert_eq!(
        ask(servers.bound.admin, "GET", "/config_dump?resource=x").0,
        404
    );
}

#[test]
fn clusters_listeners_and_certificates_are_listed() {
    let servers = servers();
    let admin = servers.bound.admin;
    let clusters = json(admin, "/clusters?format=json");
    let host = &clusters["cluster_statuses"][0]["host_statuses"][0];
    assert_eq!(host["address"]["socket_address"]["port_value"], 9080);
    assert_eq!(host["health_status"]["eds_health_status"], "HEALTHY");
    let (_, _, text) = ask(admin, "GET", "/clusters");
    assert!(
        text.contains(&format!("{NAME}::127.0.0.1:9080::health_flags::healthy\n")),
        "{text}"
    );
    let (_, _, text) = ask(admin, "GET", "/listeners");
    assert_eq!(
        text,
        "0.0.0.0_80::0.0.0.0:8080\n0.0.0.0_81::failed: address in use\n"
    );
    let listeners = json(admin, "/listeners?format=json");
    let address = &listeners["listener_statuses"][0]["local_address"]["socket_address"];
    assert_eq!(address["port_value"], 8080);
    let certs = json(admin, "/certs");
    let leaf = &certs["certificates"][0]["cert_chain"][0];
    assert_eq!(leaf["subject_alt_names"][0]["dns"], "reviews.example.com");
    assert_eq!(leaf["path"], "kubernetes://default/reviews");
    let info = json(admin, "/server_info");
    assert_eq!(info["state"], "LIVE");
}

#[test]
fn stats_have_envoys_names_and_can_be_filtered() {
    let servers = servers();
    let (_, _, text) = ask(servers.bound.admin, "GET", "/stats?filter=%5Eserver");
    assert!(
        text.starts_with("server.live: 1\nserver.uptime: "),
        "{text}"
    );
    assert_eq!(text.lines().count(), 2, "{text}");
    let stats = json(servers.bound.admin, "/stats?format=json&filter=server.live");
    assert_eq!(stats["stats"][0]["value"], 1);
    assert_eq!(ask(servers.bound.admin, "GET", "/stats?filter=(").0, 400);
    let (_, _, text) = ask(servers.bound.admin, "GET", "/stats?format=prometheus");
    assert!(text.contains("# TYPE gwanmun_config_epoch gauge"), "{text}");
}

#[test]
fn only_post_changes_anything() {
    let servers = servers();
    let admin = servers.bound.admin;
    for path in ["/drain_listeners", "/quitquitquit"] {
        assert_eq!(ask(admin, "GET", path).0, 405);
    }
    assert!(servers.fake.calls.lock().is_empty());
    assert_eq!(ask(admin, "POST", "/config_dump").0, 405);
    assert_eq!(ask(admin, "POST", "/drain_listeners").2, "OK\n");
    assert_eq!(ask(admin, "POST", "/quitquitquit").2, "OK\n");
    assert_eq!(*servers.fake.calls.lock(), ["drain", "quit"]);
}

#[test]
fn the_programs_own_paths_come_first_and_unknown_ones_list_the_others() {
    let servers = servers();
    let admin = servers.bound.admin;
    let (status, _, body) = ask(admin, "POST", "/logging?level=debug");
    assert_eq!(
        (status, body.as_str()),
        (200, "POST [(\"level\", \"debug\")]")
    );
    let (status, _, body) = ask(admin, "GET", "/nonsense");
    assert_eq!(status, 404);
    assert!(body.contains("/config_dump"), "{body}");
    assert_eq!(ask(admin, "GET", "/help").0, 200);
    let explained = json(admin, "/explain?url=http%3A%2F%2Fa%2Fb");
    assert_eq!(explained["request"]["url"], "http://a/b");
    let (status, _, body) = ask(admin, "GET", "/explain");
    assert_eq!((status, body.as_str()), (400, "url is missing\n"));
}

#[test]
fn a_name_that_a_web_pagecontrols_is_refused() {
    let servers = servers();
    let mut stream = TcpStream::connect(servers.bound.admin.unwrap()).unwrap();
    write!(
        stream,
        "GET /config_dump HTTP/1.1\r\nhost: evil.example\r\nconnection: close\r\n\r\n"
    )
    .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 403 "), "{answer}");
}

#[test]
fn an_address_in_use_is_one_clear_error() {
    let servers = servers();
    let config = Config {
        metrics: servers.bound.metrics,
        ..Config::default()
    };
    let telemetry = Telemetry::with_sink(&config, Box::new(io::sink())).unwrap();
    let subject = Arc::<Fake>::clone(&servers.fake);
    let handle = servers.control.handle();
    let error = serve(&config, handle, telemetry, subject).unwrap_err();
    assert_eq!(error.purpose, "metrics");
    assert_eq!(Some(error.address), servers.bound.metrics);
    assert_eq!(error.source.kind(), io::ErrorKind::AddrInUse);
}
