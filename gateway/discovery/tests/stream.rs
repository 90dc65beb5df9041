//! Controller and gateway sides against each other, over real sockets and TLS.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on says where")]

use futures_util::{FutureExt, future::BoxFuture};
use gwanmun_discovery::{
    Admission, Caller, Controller, Distribution, Event, Handler, Identity, Refusal, follow, serve,
};
use gwanmun_ir::{ClusterKey, Delta, EndpointSet, Key, Report, Resource};
use parking_lot::Mutex;
use rcgen::{CertificateParams, CertifiedIssuer, KeyPair};
use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};
use tempfile::TempDir;
use tokio::{net::TcpListener, sync::mpsc, task::JoinHandle};

const PATIENCE: Duration = Duration::from_secs(20);

/// Admits one token, for one gateway.
struct Gatekeeper;

impl Admission for Gatekeeper {
    fn admit<'a>(&'a self, caller: &'a Caller) -> BoxFuture<'a, Result<(), Refusal>> {
        async move {
            if caller.token != "right" {
                return Err(Refusal::Unauthenticated("unknown token".to_owned()));
            }
            if caller.gateway != "ns/gw" {
                return Err(Refusal::Forbidden("not your gateway".to_owned()));
            }
            Ok(())
        }
        .boxed()
    }
}

/// Remembers what it is told.
#[derive(Default)]
struct Recorder {
    epoch: AtomicU64,
    deltas: Mutex<Vec<(Vec<Key>, Vec<Key>)>>,
    unreachable: Mutex<Vec<String>>,
}

impl Handler for Recorder {
    fn apply(&self, delta: Delta) -> Report {
        let mut upserts: Vec<Key> = delta.upserts.iter().map(Resource::key).collect();
        upserts.sort();
        self.deltas.lock().push((upserts, delta.removed));
        Report {
            epoch: self.epoch.fetch_add(1, Ordering::Relaxed) + 1,
            ..Report::default()
        }
    }

    fn reachable(&self, state: Result<(), String>) {
        if let Err(reason) = state {
            self.unreachable.lock().push(reason);
        }
    }
}

impl Recorder {
    async fn told(&self, count: usize) -> Vec<(Vec<Key>, Vec<Key>)> {
        eventually("deltas", || {
            let deltas = self.deltas.lock();
            (deltas.len() >= count).then(|| deltas.clone())
        })
        .await
    }
}

async fn eventually<T>(what: &str, mut check: impl FnMut() -> Option<T>) -> T {
    let deadline = tokio::time::Instant::now() + PATIENCE;
    loop {
        if let Some(found) = check() {
            return found;
        }
        assert!(tokio::time::Instant::now() < deadline, "waited for {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        Self(CertifiedIssuer::self_signed(params, key).unwrap())
    }

    fn issue(&self) -> (String, String) {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec!["controller.test".to_owned()]).unwrap();
        let certificate = params.signed_by(&key, &self.0).unwrap();
        (certificate.pem(), key.serialize_pem())
    }
}

struct Setup {
    directory: TempDir,
    authority: Authority,
    identity: Identity,
    distribution: Distribution,
}

impl Setup {
    fn new() -> Self {
        let authority = Authority::new();
        let (chain, key) = authority.issue();
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("ca.crt"), authority.0.pem()).unwrap();
        std::fs::write(directory.path().join("token"), "right\n").unwrap();
        Self {
            directory,
            authority,
            identity: Identity::new(&chain, &key).unwrap(),
            distribution: Distribution::default(),
        }
    }

    async fn serve(
        &self,
        address: SocketAddr,
    ) -> (SocketAddr, mpsc::UnboundedReceiver<Event>, JoinHandle<()>) {
        let listener = TcpListener::bind(address).await.unwrap();
        let address = listener.local_addr().unwrap();
        let (sender, events) = mpsc::unbounded_channel();
        let (identity, distribution) = (self.identity.clone(), self.distribution.clone());
        let server = tokio::spawn(async move {
            serve(
                listener,
                identity,
                distribution,
                Arc::new(Gatekeeper),
                sender,
                std::future::pending(),
            )
            .await
            .unwrap();
        });
        (address, events, server)
    }

    fn controller(&self, address: SocketAddr) -> Controller {
        Controller {
            address: address.to_string(),
            server_name: "controller.test".to_owned(),
            authorities: self.directory.path().join("ca.crt"),
            token: self.directory.path().join("token"),
            gateway: "ns/gw".to_owned(),
            instance: "pod-1".to_owned(),
        }
    }
}

/// A gateway that follows until it is dropped.
struct Following {
    recorder: Arc<Recorder>,
    reports: mpsc::Sender<Report>,
    task: JoinHandle<()>,
}

impl Following {
    fn start(controller: Controller) -> Self {
        let recorder = Arc::<Recorder>::default();
        let handler = Arc::clone(&recorder);
        let (reports, receiver) = mpsc::channel(1);
        let task = tokio::spawn(async move {
            follow(&controller, handler, BTreeMap::new(), receiver).await;
        });
        Self {
            recorder,
            reports,
            task,
        }
    }
}

impl Drop for Following {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn any() -> SocketAddr {
    ([127, 0, 0, 1], 0).into()
}

fn key(name: &str) -> Key {
    Key::Endpoints(ClusterKey::new(name))
}

fn resource(name: &str) -> Resource {
    Resource::Endpoints(EndpointSet {
        cluster: ClusterKey::new(name),
        endpoints: Vec::new(),
    })
}

fn delta(upserts: &[&str], removed: &[&str]) -> Delta {
    Delta {
        upserts: upserts.iter().map(|name| resource(name)).collect(),
        removed: removed.iter().map(|name| key(name)).collect(),
        complete: false,
    }
}

async fn report(events: &mut mpsc::UnboundedReceiver<Event>) -> Report {
    loop {
        let event = tokio::time::timeout(PATIENCE, events.recv()).await;
        if let Event::Reported {
            gateway,
            instance,
            report,
        } = event.unwrap().unwrap()
        {
            assert_eq!((&*gateway, &*instance), ("ns/gw", "pod-1"));
            return report;
        }
    }
}

#[tokio::test]
async fn a_gateway_gets_everything_then_each_change_and_reports() {
    let setup = Setup::new();
    let (address, mut events, _server) = setup.serve(any()).await;
    let gateway = Following::start(setup.controller(address));
    setup
        .distribution
        .publish("ns/gw", &delta(&["a", "b"], &[]))
        .unwrap();
    let told = gateway.recorder.told(1).await;
    assert_eq!(told, [(vec![key("a"), key("b")], vec![])]);
    assert_eq!(report(&mut events).await.epoch, 1);

    setup
        .distribution
        .publish("ns/gw", &delta(&["c"], &["a"]))
        .unwrap();
    let told = gateway.recorder.told(2).await;
    assert_eq!(told[1], (vec![key("c")], vec![key("a")]));
    assert_eq!(report(&mut events).await.epoch, 2);

    let later = Report {
        epoch: 7,
        ..Report::default()
    };
    gateway.reports.send(later.clone()).await.unwrap();
    assert_eq!(report(&mut events).await, later);
    drop(gateway);
    loop {
        let event = tokio::time::timeout(PATIENCE, events.recv()).await;
        if matches!(event.unwrap().unwrap(), Event::Disconnected { .. }) {
            break;
        }
    }
}

#[tokio::test]
async fn more_than_one_message_of_resources_is_one_update() {
    let setup = Setup::new();
    let (address, _events, _server) = setup.serve(any()).await;
    let names: Vec<String> = (0..2_000).map(|n| format!("{n:0>1000}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    setup
        .distribution
        .publish("ns/gw", &delta(&names, &[]))
        .unwrap();
    let gateway = Following::start(setup.controller(address));
    let told = gateway.recorder.told(1).await;
    assert_eq!(told[0].0.len(), 2_000);
}

#[tokio::test]
async fn an_empty_configuration_is_told_so_that_the_gateway_is_complete() {
    let setup = Setup::new();
    let (address, _events, _server) = setup.serve(any()).await;
    setup
        .distribution
        .publish("ns/gw", &Delta::default())
        .unwrap();
    let gateway = Following::start(setup.controller(address));
    assert_eq!(gateway.recorder.told(1).await, [(vec![], vec![])]);
}

#[tokio::test]
async fn a_new_stream_brings_only_what_is_lacking() {
    let setup = Setup::new();
    let (address, events, server) = setup.serve(any()).await;
    setup
        .distribution
        .publish("ns/gw", &delta(&["a", "b"], &[]))
        .unwrap();
    let gateway = Following::start(setup.controller(address));
    gateway.recorder.told(1).await;
    server.abort();
    drop(events);
    setup.distribution.retire("ns/gw");
    // Another replica, which has what changed meanwhile.
    let other = Setup {
        distribution: Distribution::default(),
        ..setup
    };
    other
        .distribution
        .publish("ns/gw", &delta(&["b", "c"], &[]))
        .unwrap();
    let (_, _events, _server) = {
        let mut bound = None;
        for _ in 0..200 {
            if let Ok(listener) = TcpListener::bind(address).await {
                drop(listener);
                bound = Some(other.serve(address).await);
                break;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        bound.unwrap()
    };
    let told = gateway.recorder.told(2).await;
    assert_eq!(told[1], (vec![key("c")], vec![key("a")]));
}

#[tokio::test]
async fn callers_who_may_not_see_a_gateway_get_nothing() {
    let setup = Setup::new();
    let (address, mut events, _server) = setup.serve(any()).await;
    for gateway in ["ns/gw", "ns/other"] {
        setup
            .distribution
            .publish(gateway, &delta(&["a"], &[]))
            .unwrap();
    }
    std::fs::write(setup.directory.path().join("wrong"), "guessed").unwrap();
    let wrong_token = Controller {
        token: setup.directory.path().join("wrong"),
        ..setup.controller(address)
    };
    let wrong_gateway = Controller {
        gateway: "ns/other".to_owned(),
        ..setup.controller(address)
    };
    for (controller, reason) in [
        (wrong_token, "unknown token"),
        (wrong_gateway, "not your gateway"),
    ] {
        let gateway = Following::start(controller);
        let said = eventually("a refusal", || {
            gateway.recorder.unreachable.lock().first().cloned()
        })
        .await;
        assert!(said.contains(reason), "{said}");
        assert!(gateway.recorder.deltas.lock().is_empty());
    }
    assert!(events.try_recv().is_err(), "nobody was admitted");
}

#[tokio::test]
async fn a_controller_without_the_right_certificate_is_not_followed() {
    let setup = Setup::new();
    let (address, mut events, _server) = setup.serve(any()).await;
    let stranger = Authority::new();
    std::fs::write(setup.directory.path().join("ca.crt"), stranger.0.pem()).unwrap();
    let gateway = Following::start(setup.controller(address));
    let said = eventually("a refusal", || {
        gateway.recorder.unreachable.lock().first().cloned()
    })
    .await;
    assert!(said.contains("connect"), "{said}");
    assert!(events.try_recv().is_err(), "its token was shown to nobody");
}

#[tokio::test]
async fn the_certificate_is_replaced_while_it_serves() {
    let setup = Setup::new();
    let (address, _events, _server) = setup.serve(any()).await;
    setup
        .distribution
        .publish("ns/gw", &delta(&["a"], &[]))
        .unwrap();
    let old = Following::start(setup.controller(address));
    old.recorder.told(1).await;
    let renewed = Authority::new();
    let (chain, key) = renewed.issue();
    setup.identity.replace(&chain, &key).unwrap();
    assert!(setup.identity.replace("nonsense", &key).is_err());
    std::fs::write(setup.directory.path().join("ca.crt"), renewed.0.pem()).unwrap();
    let new = Following::start(setup.controller(address));
    new.recorder.told(1).await;
    setup
        .distribution
        .publish("ns/gw", &delta(&["b"], &[]))
        .unwrap();
    old.recorder.told(2).await;
    assert!(setup.authority.0.pem() != renewed.0.pem());
}
