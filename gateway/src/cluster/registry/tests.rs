//! What survives which change.

use super::*;
use crate::cluster::{Outcome, Protocol};
use gwanmun_ir::{
    CircuitBreakers, ClusterIdentity, DnsHost, DnsMode, Endpoint, EndpointHealth, EndpointIdentity,
    LoadBalancing, OutlierDetection, Pem, SecretMaterial, Sni, UpstreamProtocol,
};
use std::net::SocketAddr;

fn key() -> ClusterKey {
    ClusterKey::new("outbound|80||a.default.svc.cluster.local")
}

fn config() -> ClusterConfig {
    ClusterConfig {
        hash: None,
        warmup: None,
        max_connection_duration_ms: None,
        keepalive: None,
        http2_keepalive: None,
        proxy_protocol: None,
        key: key(),
        name: key().to_string(),
        discovery: Discovery::Endpoints,
        balancing: LoadBalancing::RoundRobin,
        protocol: UpstreamProtocol::Http1,
        connect_timeout_ms: 10_000,
        idle_timeout_ms: 60_000,
        tls: None,
        limits: CircuitBreakers::default(),
        outlier: None,
        identity: ClusterIdentity::default(),
        policy: None,
        source: gwanmun_ir::SourceRef::default(),
    }
}

fn address(port: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], port))
}

fn set(ports: &[u16]) -> Resource {
    Resource::Endpoints(EndpointSet {
        cluster: key(),
        endpoints: ports
            .iter()
            .map(|&port| Endpoint {
                address: address(port),
                weight: 1,
                health: EndpointHealth::Healthy,
                identity: EndpointIdentity::default(),
            })
            .collect(),
    })
}

fn anchors(name: &str) -> Resource {
    let issuer = rcgen::KeyPair::generate().unwrap();
    let certificate = rcgen::CertificateParams::new(vec![name.to_owned()])
        .unwrap()
        .self_signed(&issuer)
        .unwrap();
    secret_resource(SecretMaterial::Anchors {
        certificates: Pem::new(certificate.pem()),
        revocations: None,
    })
}

fn secret_resource(material: SecretMaterial) -> Resource {
    Resource::Secret(Secret {
        key: SecretKey::new("kubernetes://default/ca"),
        material,
        source: gwanmun_ir::SourceRef::default(),
    })
}

fn with_tls() -> Resource {
    let tls = UpstreamTls {
        sni: Sni::Name("a.example".to_owned()),
        verification: Verification::Anchors(SecretKey::new("kubernetes://default/ca")),
        subject_alt_names: Vec::new(),
        client_certificate: None,
    };
    Resource::Cluster(Box::new(ClusterConfig {
        tls: Some(tls),
        ..config()
    }))
}

/// A registry and everything it was told.
struct World {
    registry: Registry,
    resources: Resources,
}

impl World {
    fn new() -> Self {
        let control = tokio::runtime::Handle::current();
        Self {
            registry: Registry::new(&Config::default(), control).unwrap(),
            resources: Resources::new(),
        }
    }

    fn apply(&mut self, resources: impl IntoIterator<Item = Resource>) -> Changes {
        let mut keys = Vec::new();
        for resource in resources {
            keys.push(resource.key());
            self.resources.insert(resource.key(), Arc::new(resource));
        }
        self.registry.reconcile(&self.resources, &keys)
    }

    fn remove(&mut self, key: &Key) -> Changes {
        self.resources.remove(key);
        self.registry
            .reconcile(&self.resources, std::slice::from_ref(key))
    }

    fn cluster(&self) -> Arc<Cluster> {
        Arc::clone(self.registry.clusters().get(&key()).unwrap())
    }
}

fn plain(change: impl FnOnce(&mut ClusterConfig)) -> Resource {
    let mut config = config();
    change(&mut config);
    Resource::Cluster(Box::new(config))
}

#[tokio::test]
async fn endpoint_changes_keep_the_cluster_and_what_is_known_of_the_others() {
    let mut world = World::new();
    let changes = world.apply([plain(|_| ()), set(&[1, 2])]);
    assert_eq!(changes.changed, [key()]);
    let cluster = world.cluster();
    let picked = cluster.pick(&[address(2)]).unwrap();
    assert_eq!(picked.address, address(1));
    let changes = world.apply([set(&[1, 3])]);
    assert!(changes.changed.is_empty());
    assert!(Arc::ptr_eq(&cluster, &world.cluster()));
    assert!(cluster.has(address(3)) && !cluster.has(address(2)));
    let members = cluster.state.endpoints();
    let active = |member: &crate::cluster::Member| {
        let state = &member.endpoint.state;
        state.active.load(std::sync::atomic::Ordering::Relaxed)
    };
    assert_eq!(members.iter().map(active).collect::<Vec<_>>(), [1, 0]);
    drop(picked);
    world.remove(&Key::Endpoints(key()));
    assert!(cluster.pick(&[]).is_err());
}

#[tokio::test]
async fn configuration_changes_make_a_new_cluster_with_the_old_state() {
    let mut world = World::new();
    world.apply([plain(|_| ()), set(&[1])]);
    let before = world.cluster();
    let nothing = world.apply([plain(|_| ())]);
    assert!(nothing.changed.is_empty());
    let changes = world.apply([plain(|config| config.connect_timeout_ms = 1)]);
    assert_eq!(changes.changed, [key()]);
    let after = world.cluster();
    assert!(!Arc::ptr_eq(&before, &after));
    assert!(Arc::ptr_eq(&before.state, &after.state));
    assert_eq!(before.id, after.id);
    assert!(after.pick(&[]).is_ok());
    let changes = world.remove(&Key::Cluster(key()));
    assert_eq!(changes.changed, [key()]);
    assert!(world.registry.clusters().is_empty());
    world.apply([plain(|_| ())]);
    assert_ne!(
        world.cluster().id,
        after.id,
        "a cluster that comes back is another"
    );
}

#[tokio::test]
async fn a_key_of_another_cluster_is_left_alone() {
    let mut world = World::new();
    world.apply([plain(|_| ()), set(&[1])]);
    let other = ClusterKey::new("other");
    assert!(
        world
            .remove(&Key::Cluster(other.clone()))
            .changed
            .is_empty()
    );
    assert!(world.remove(&Key::Endpoints(other)).changed.is_empty());
    assert!(world.cluster().pick(&[]).is_ok());
}

#[tokio::test]
async fn limits_are_shared_by_all_versions_of_a_cluster() {
    let limited = |limit| plain(|config| config.limits.max_requests = Some(limit));
    let mut world = World::new();
    world.apply([limited(1)]);
    let before = world.cluster();
    let guard = before.admit(crate::cluster::Resource::Requests).unwrap();
    assert!(before.admit(crate::cluster::Resource::Requests).is_err());
    world.apply([limited(2)]);
    let after = world.cluster();
    let second = after.admit(crate::cluster::Resource::Requests).unwrap();
    assert!(after.admit(crate::cluster::Resource::Requests).is_err());
    drop((guard, second));
    assert_eq!(
        after.state.usage().get(crate::cluster::Resource::Requests),
        0
    );
    assert!(
        after.admit(crate::cluster::Resource::Retries).is_ok(),
        "unlimited"
    );
}

#[tokio::test]
async fn failing_endpoints_are_ejected_and_come_back() {
    let outlier = OutlierDetection {
        consecutive_5xx: 2,
        consecutive_gateway_errors: 0,
        interval_ms: 10,
        base_ejection_ms: 1,
        max_ejection_percent: 100,
        consecutive_local_failures: None,
        min_health_percent: 0,
    };
    let mut world = World::new();
    world.apply([plain(|config| config.outlier = Some(outlier)), set(&[1])]);
    let cluster = world.cluster();
    let picked = cluster.pick(&[]).unwrap();
    cluster.report(&picked, Outcome::Answered(500));
    assert!(cluster.pick(&[]).is_ok());
    cluster.report(&picked, Outcome::Failed);
    assert!(cluster.pick(&[]).is_err());
    assert_eq!(cluster.state.ejections(), (1, 1, 0));
    while cluster.pick(&[]).is_err() {
        tokio::task::yield_now().await;
    }
    cluster.report(&picked, Outcome::Failed);
    cluster.report(&picked, Outcome::Failed);
    assert!(cluster.pick(&[]).is_err());
    world.apply([plain(|_| ())]);
    assert!(
        world.cluster().pick(&[]).is_ok(),
        "turning it off brings all back"
    );
}

#[tokio::test]
async fn a_new_secret_changes_the_tls_generation_and_an_equal_one_does_not() {
    let mut world = World::new();
    let first = anchors("one");
    world.apply([with_tls(), first.clone(), set(&[1])]);
    let before = world.cluster();
    assert_ne!(before.tls_generation, 0);
    assert!(world.apply([first]).changed.is_empty());
    let changes = world.apply([anchors("two")]);
    assert_eq!(changes.changed, [key()]);
    assert_ne!(world.cluster().tls_generation, before.tls_generation);
    assert!(changes.rejected.is_empty());
}

#[tokio::test]
async fn a_secret_that_becomes_invalid_keeps_the_old_one_in_service() {
    let mut world = World::new();
    world.apply([with_tls(), anchors("one"), set(&[1])]);
    let before = world.cluster();
    let changes = world.apply([secret_resource(SecretMaterial::Invalid {
        reason: "key ca.crt is missing".to_owned(),
    })]);
    assert!(Arc::ptr_eq(&before, &world.cluster()));
    let [rejection] = changes.rejected.as_slice() else {
        panic!("{changes:?}");
    };
    assert_eq!(rejection.severity, Severity::Degraded);
    assert!(
        rejection.message.contains("key ca.crt is missing"),
        "{}",
        rejection.message
    );
    assert!(
        rejection
            .message
            .ends_with("the earlier material stays in service")
    );
}

#[tokio::test]
async fn a_missing_secret_fails_connections_and_heals_when_it_appears() {
    let mut world = World::new();
    let changes = world.apply([with_tls(), set(&[1])]);
    assert!(
        changes.rejected[0]
            .message
            .ends_with("its connections fail")
    );
    let cluster = world.cluster();
    let endpoint = cluster.pick(&[]).unwrap();
    let error = cluster.connect(&endpoint, "a.example", Protocol::Http1, None);
    let error = error.await.unwrap_err();
    assert_eq!(error.transport, "TLS_error:_Secret_is_not_supplied_by_SDS");
    assert_eq!(error.reset_reason(), "remote connection failure");
    let changes = world.apply([anchors("one")]);
    assert_eq!((changes.changed.len(), changes.rejected.len()), (1, 0));
    let changes = world.remove(&Key::Secret(SecretKey::new("kubernetes://default/ca")));
    assert_eq!((changes.changed.len(), changes.rejected.len()), (1, 1));
}

fn dns(hosts: &[(&str, u16)], mode: DnsMode) -> Resource {
    let hosts = hosts
        .iter()
        .map(|&(host, port)| DnsHost {
            host: host.to_owned(),
            port,
            weight: 1,
        })
        .collect();
    plain(|config| config.discovery = Discovery::Dns { hosts, mode })
}

#[tokio::test]
async fn addresses_written_as_hosts_need_no_resolver() {
    let mut world = World::new();
    world.apply([dns(&[("127.0.0.1", 1), ("[::1]", 2)], DnsMode::Strict)]);
    let cluster = world.cluster();
    assert!(cluster.has(address(1)) && cluster.has("[::1]:2".parse().unwrap()));
    assert!(cluster.pick(&[]).is_ok());
    assert!(!cluster.warmed().await, "nothing to wait for");
}

#[tokio::test]
async fn a_logical_name_uses_its_first_address_and_keeps_connections_to_others() {
    let mut world = World::new();
    world.apply([dns(&[("127.0.0.1", 1), ("127.0.0.1", 2)], DnsMode::Logical)]);
    let cluster = world.cluster();
    for _ in 0..10 {
        assert_eq!(cluster.pick(&[]).unwrap().address, address(1));
    }
    assert!(cluster.has(address(2)));
}

#[tokio::test]
async fn requests_can_wait_for_the_first_answer() {
    let mut world = World::new();
    world.apply([dns(&[("localhost", 1)], DnsMode::Strict)]);
    let cluster = world.cluster();
    assert!(cluster.pick(&[]).is_err());
    assert!(cluster.warmed().await);
    assert_eq!(cluster.pick(&[]).unwrap().address, address(1));
    assert!(!cluster.warmed().await);
    world.apply([plain(|_| ()), set(&[7])]);
    assert_eq!(world.cluster().pick(&[]).unwrap().address, address(7));
}
