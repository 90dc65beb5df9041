//! `gwanmun gateway`: a gateway that follows a controller, and goes on without it.

use crate::support::{Directory, Gwanmun, Network, backend, curl, eventually, gateway_api_route};
use futures_util::{FutureExt as _, future::BoxFuture};
use gwanmun_api::manifest;
use gwanmun_discovery::{Admission, Caller, Distribution, Event, Identity, Refusal, serve};
use gwanmun_ir::{Delta, Report};
use gwanmun_translate::{Options, Store, translate_all};
use rcgen::{CertificateParams, CertifiedIssuer, KeyPair};
use std::{net::SocketAddr, sync::Arc};
use tokio::{net::TcpListener, runtime::Runtime, sync::mpsc};

const HOST: &str = "a.example.com";

/// Admits who shows the token that the test wrote.
struct Gatekeeper;

impl Admission for Gatekeeper {
    fn admit<'a>(&'a self, caller: &'a Caller) -> BoxFuture<'a, Result<(), Refusal>> {
        async move {
            if caller.token == "right" && caller.gateway == "edge/gw" {
                Ok(())
            } else {
                Err(Refusal::Unauthenticated("who are you?".to_owned()))
            }
        }
        .boxed()
    }
}

/// The controller's half of a cluster, without a cluster.
struct Controller {
    distribution: Distribution,
    address: SocketAddr,
    events: mpsc::UnboundedReceiver<Event>,
    runtime: Runtime,
}

impl Controller {
    fn start(directory: &Directory) -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec!["controller.test".to_owned()]).unwrap();
        let chain = params.signed_by(&key, &authority).unwrap().pem();
        let identity = Identity::new(&chain, &key.serialize_pem()).unwrap();
        directory.write("ca.crt", &authority.pem());
        directory.write("token", "right\n");

        let runtime = Runtime::new().unwrap();
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let address = listener.local_addr().unwrap();
        let distribution = Distribution::default();
        let (sender, events) = mpsc::unbounded_channel();
        let serving = serve(
            listener,
            identity,
            distribution.clone(),
            Arc::new(Gatekeeper),
            sender,
            std::future::pending(),
        );
        runtime.spawn(serving);
        Self {
            distribution,
            address,
            events,
            runtime,
        }
    }

    /// Publishes what manifests amount to.
    fn publish(&self, manifests: &[&str]) {
        let mut store = Store::default();
        for (index, text) in manifests.iter().enumerate() {
            for object in manifest::read(&format!("{index}.yaml"), text, "default").objects {
                store.apply(object);
            }
        }
        let translation = translate_all(&store, &Options::default());
        let delta = Delta {
            upserts: translation.resources.into_values().collect(),
            complete: true,
            ..Delta::default()
        };
        self.distribution.publish("edge/gw", &delta).unwrap();
    }

    fn report(&mut self) -> Report {
        loop {
            let event = self.runtime.block_on(self.events.recv()).unwrap();
            if let Event::Reported { report, .. } = event {
                return report;
            }
        }
    }
}

fn gateway(directory: &Directory, controller: SocketAddr, more: &[&str]) -> Gwanmun {
    let file = |name: &str| directory.file(name).to_str().unwrap().to_owned();
    let (ca, token, cache) = (file("ca.crt"), file("token"), file("last-good"));
    let controller = controller.to_string();
    let mut arguments = vec!["gateway", "--controller", &controller];
    arguments.extend([
        "--controller-name",
        "controller.test",
        "--gateway",
        "edge/gw",
    ]);
    arguments.extend(["--instance", "pod-1", "--ca", &ca, "--token", &token]);
    arguments.extend([
        "--cache",
        &cache,
        "--bind",
        "127.0.0.1",
        "--map-port",
        "80:0",
    ]);
    for own in ["--admin", "--health", "--metrics"] {
        arguments.extend([own, "127.0.0.1:0"]);
    }
    arguments.extend(more);
    Gwanmun::start(&arguments)
}

fn readiness(running: &Gwanmun) -> (u16, String) {
    let answer = curl(&[&format!(
        "http://{}/healthz/ready",
        running.own_address("readiness")
    )]);
    (answer.status, answer.body)
}

#[test]
fn a_gateway_serves_what_the_controller_says_and_reports() {
    let directory = Directory::new();
    let network = Network::new();
    let (one, two) = (
        backend("one", &network.address(1)),
        backend("two", &network.address(2)),
    );
    directory.write("one.yaml", &one);
    directory.write("two.yaml", &two);
    let _backends = Gwanmun::backends(&directory);
    let mut controller = Controller::start(&directory);
    let running = gateway(&directory, controller.address, &[]);
    let (status, body) = readiness(&running);
    assert_eq!((status, body.trim()), (503, "no configuration yet"));

    controller.publish(&[&one, &two, &gateway_api_route(HOST, "one")]);
    let report = controller.report();
    assert_eq!(report.rejected, []);
    assert_eq!(report.listeners.len(), 1, "{report:?}");
    assert!(running.get(80, HOST, "/", &[]).is(200, "one-pod"));
    assert_eq!(readiness(&running).0, 200);

    controller.publish(&[&one, &two, &gateway_api_route(HOST, "two")]);
    eventually(
        "the change",
        || running.get(80, HOST, "/", &[]),
        |answer| answer.is(200, "two-pod"),
    );
}

#[test]
fn without_the_controller_a_gateway_serves_on_and_starts_from_its_last_configuration() {
    let directory = Directory::new();
    let one = backend("one", &Network::new().address(1));
    directory.write("one.yaml", &one);
    let _backends = Gwanmun::backends(&directory);
    let controller = Controller::start(&directory);
    let address = controller.address;
    let running = gateway(&directory, address, &[]);
    controller.publish(&[&one, &gateway_api_route(HOST, "one")]);
    eventually(
        "the cache",
        || directory.file("last-good").exists(),
        |there| *there,
    );
    drop(controller);
    running.wait_error("no configuration stream");
    assert!(running.get(80, HOST, "/", &[]).is(200, "one-pod"));
    drop(running);

    let again = gateway(&directory, address, &[]);
    again.wait_error("serving the last good configuration");
    assert!(again.get(80, HOST, "/", &[]).is(200, "one-pod"));
    assert_eq!(readiness(&again).0, 200);
    let status = again.admin("/status").body;
    assert!(status.contains(r#""connected": false"#), "{status}");
}

#[test]
fn a_gateway_with_the_wrong_token_gets_nothing_and_says_why() {
    let directory = Directory::new();
    let controller = Controller::start(&directory);
    directory.write("token", "guessed");
    controller.publish(&[&gateway_api_route(HOST, "one")]);
    let running = gateway(&directory, controller.address, &[]);
    running.wait_error("who are you?");
    assert_eq!(readiness(&running).0, 503);
}

#[test]
fn a_damaged_last_configuration_is_said_and_not_used() {
    let directory = Directory::new();
    let controller = Controller::start(&directory);
    directory.write("last-good", "gwanmun configuration 1 0000 edge/gw\n{}\n");
    let mut running = gateway(&directory, controller.address, &[]);
    running.wait_error("the last good configuration is not used");
    controller.publish(&[]);
    eventually(
        "readiness",
        || readiness(&running).0,
        |status| *status == 200,
    );
    running.signal("TERM");
    assert_eq!(running.wait().code(), Some(0));
}
