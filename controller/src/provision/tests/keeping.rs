//! What is made, kept and let go, against an API server.

use super::{infrastructure, server::Server, settings};
use crate::provision::Provisioner;
use gwanmun_api::{Kind, ObjectKey};
use gwanmun_translate::Infrastructure;
use serde_json::{Value, json};
use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};
use tokio::sync::mpsc;

const DEPLOYMENT: &str = "/apis/apps/v1/namespaces/shop/deployments/edge-gwanmun";
const SERVICE: &str = "/api/v1/namespaces/shop/services/edge-gwanmun";
const ACCOUNT: &str = "/api/v1/namespaces/shop/serviceaccounts/edge-gwanmun";
const BUDGET: &str = "/apis/policy/v1/namespaces/shop/poddisruptionbudgets/edge-gwanmun";
const AUTOSCALER: &str =
    "/apis/autoscaling/v2/namespaces/shop/horizontalpodautoscalers/edge-gwanmun";
const BUNDLE: &str = "/api/v1/namespaces/shop/configmaps/gwanmun-ca";
const GATEWAY: &str = "/apis/gateway.networking.k8s.io/v1/namespaces/shop/gateways/edge";
const ALL: [&str; 5] = [DEPLOYMENT, SERVICE, ACCOUNT, BUDGET, BUNDLE];

struct Bench {
    server: Server,
    provisioner: Provisioner,
    addresses: mpsc::UnboundedReceiver<(ObjectKey, Vec<String>)>,
}

fn gateway() -> ObjectKey {
    ObjectKey::new(Kind::Gateway, "shop", "edge")
}

fn with(key: &str, text: &str) -> Infrastructure {
    Infrastructure {
        parameters: BTreeMap::from([(key.to_owned(), text.to_owned())]),
        ..infrastructure()
    }
}

impl Bench {
    async fn start() -> Self {
        let (server, client) = Server::start().await;
        let (provisioner, addresses) = Provisioner::new(client, settings());
        Self {
            server,
            provisioner,
            addresses,
        }
    }

    /// With a Gateway that is provisioned, and nothing under way.
    async fn provisioned() -> Self {
        let mut bench = Self::start().await;
        bench.provisioner.set_leading(true);
        bench.provisioner.set_bundle("PEM");
        bench.provisioner.set(gateway(), Some(infrastructure()));
        bench
            .until(|server| ALL.iter().all(|path| server.get(path).is_some()))
            .await;
        bench.settle().await;
        bench.server.writes();
        bench
    }

    async fn until(&self, holds: impl Fn(&Server) -> bool) {
        let wait = async {
            while !holds(&self.server) {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        };
        let waited = tokio::time::timeout(Duration::from_secs(10), wait).await;
        waited.expect("the condition holds within ten seconds");
    }

    /// Waits for another namespace's authorities: what was asked for earlier is under way or done.
    async fn settle(&mut self) {
        static NEXT: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
        for _ in 0..3 {
            let number = NEXT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            let namespace = format!("mark-{number}");
            let path = format!("/api/v1/namespaces/{namespace}/configmaps/gwanmun-ca");
            self.provisioner.set_namespaces(BTreeSet::from([namespace]));
            self.until(|server| server.get(&path).is_some()).await;
        }
    }

    /// Writes but those of `settle`.
    fn writes(&self) -> Vec<String> {
        let mut writes = self.server.writes();
        writes.retain(|write| !write.contains("/mark-"));
        writes
    }
}

#[tokio::test]
async fn a_gateway_gets_all_it_needs_and_its_authorities_first() {
    let mut bench = Bench::start().await;
    bench.provisioner.set_leading(true);
    bench.provisioner.set(gateway(), Some(infrastructure()));
    bench.provisioner.set_bundle("PEM");
    bench
        .until(|server| ALL.iter().all(|path| server.get(path).is_some()))
        .await;
    let writes = bench.server.writes();
    assert_eq!(writes.first(), Some(&format!("PATCH {BUNDLE}")));
    assert_eq!(bench.server.get(BUNDLE).unwrap()["data"]["ca.crt"], "PEM");
    assert_eq!(bench.server.get(AUTOSCALER), None);
}

#[tokio::test]
async fn what_is_there_already_is_not_written_again() {
    let mut bench = Bench::provisioned().await;
    bench.provisioner.set(gateway(), Some(infrastructure()));
    bench.provisioner.set_bundle("PEM");
    bench.settle().await;
    assert_eq!(bench.writes(), [""; 0]);
}

#[tokio::test]
async fn only_the_leader_writes() {
    let mut bench = Bench::start().await;
    bench.provisioner.set_bundle("PEM");
    bench.provisioner.set(gateway(), Some(infrastructure()));
    bench.server.put(SERVICE, service("198.51.100.7"));
    let told = bench.addresses.recv().await.unwrap();
    assert_eq!(told, (gateway(), vec!["198.51.100.7".to_owned()]));
    assert_eq!(bench.server.writes(), [""; 0]);
}

fn service(address: &str) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {
            "name": "edge-gwanmun",
            "namespace": "shop",
            "uid": "s1",
            "labels": {
                "gateway.networking.k8s.io/gateway-name": "edge",
                "app.kubernetes.io/managed-by": "gwanmun",
            },
            "ownerReferences": [{
                "apiVersion": "gateway.networking.k8s.io/v1",
                "kind": "Gateway",
                "name": "edge",
                "uid": infrastructure().uid,
                "controller": true,
            }],
        },
        "spec": { "type": "LoadBalancer" },
        "status": { "loadBalancer": { "ingress": [{ "ip": address }] } },
    })
}

#[tokio::test]
async fn addresses_are_told_as_they_come_and_go() {
    let mut bench = Bench::provisioned().await;
    let mut object = bench.server.get(SERVICE).unwrap();
    object["status"] = json!({ "loadBalancer": { "ingress": [{ "ip": "198.51.100.7" }] } });
    bench.server.put(SERVICE, object);
    let told = bench.addresses.recv().await.unwrap();
    assert_eq!(told, (gateway(), vec!["198.51.100.7".to_owned()]));
    bench.settle().await;
    assert_eq!(bench.writes(), [""; 0]);
    bench.server.remove(SERVICE);
    let told = bench.addresses.recv().await.unwrap();
    assert_eq!(told, (gateway(), Vec::new()));
}

#[tokio::test]
async fn what_others_change_or_delete_is_put_right() {
    let mut bench = Bench::provisioned().await;
    let mut object = bench.server.get(DEPLOYMENT).unwrap();
    object["spec"]["template"]["spec"]["containers"][0]["image"] = json!("other");
    bench.server.put(DEPLOYMENT, object);
    bench
        .until(|server| {
            let image = "/spec/template/spec/containers/0/image";
            server.get(DEPLOYMENT).unwrap().pointer(image) == Some(&json!("gwanmun:test"))
        })
        .await;
    bench.settle().await;
    bench.server.remove(BUDGET);
    bench.until(|server| server.get(BUDGET).is_some()).await;
}

#[tokio::test]
async fn an_object_of_somebody_else_is_left_alone() {
    let mut bench = Bench::start().await;
    let theirs = json!({
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": { "name": "edge-gwanmun", "namespace": "shop", "uid": "theirs" },
        "spec": { "type": "ClusterIP" },
    });
    bench.server.put(SERVICE, theirs);
    bench.provisioner.set_leading(true);
    bench.provisioner.set_bundle("PEM");
    bench.provisioner.set(gateway(), Some(infrastructure()));
    bench.until(|server| server.get(DEPLOYMENT).is_some()).await;
    bench.settle().await;
    assert_eq!(
        bench.server.get(SERVICE).unwrap()["metadata"]["uid"],
        "theirs"
    );
    assert_eq!(
        bench.server.get(SERVICE).unwrap()["spec"]["type"],
        "ClusterIP"
    );
    bench.server.remove(SERVICE);
    bench.until(|server| server.get(SERVICE).is_some()).await;
}

#[tokio::test]
async fn failures_are_tried_again() {
    let mut bench = Bench::start().await;
    bench.server.fail(3);
    bench.provisioner.set_leading(true);
    bench.provisioner.set_bundle("PEM");
    bench.provisioner.set(gateway(), Some(infrastructure()));
    bench
        .until(|server| ALL.iter().all(|path| server.get(path).is_some()))
        .await;
}

#[tokio::test]
async fn what_is_no_longer_asked_for_goes() {
    let mut bench = Bench::provisioned().await;
    let scaled = with("horizontalPodAutoscaler", "spec: {maxReplicas: 4}");
    bench.provisioner.set(gateway(), Some(scaled));
    bench.until(|server| server.get(AUTOSCALER).is_some()).await;
    bench.settle().await;
    bench.provisioner.set(gateway(), Some(infrastructure()));
    bench.until(|server| server.get(AUTOSCALER).is_none()).await;
    assert!(bench.server.get(DEPLOYMENT).is_some());
}

#[tokio::test]
async fn parameters_that_cannot_be_used_change_nothing() {
    let mut bench = Bench::provisioned().await;
    bench
        .provisioner
        .set(gateway(), Some(with("service", "- no object")));
    bench.settle().await;
    assert_eq!(bench.writes(), [""; 0]);
}

#[tokio::test]
async fn a_gateway_that_is_not_accepted_any_more_keeps_its_pods_and_one_of_another_class_does_not()
{
    for (class, stays) in [("gwanmun", true), ("other", false)] {
        let mut bench = Bench::provisioned().await;
        let object = json!({
            "apiVersion": "gateway.networking.k8s.io/v1",
            "kind": "Gateway",
            "metadata": { "name": "edge", "namespace": "shop" },
            "spec": { "gatewayClassName": class },
        });
        bench.server.put(GATEWAY, object);
        bench.provisioner.set(gateway(), None);
        if !stays {
            bench.until(|server| server.get(DEPLOYMENT).is_none()).await;
            bench.until(|server| server.get(SERVICE).is_none()).await;
        }
        bench.settle().await;
        assert_eq!(bench.server.get(DEPLOYMENT).is_some(), stays);
    }
}

#[tokio::test]
async fn new_authorities_reach_every_namespace_with_gateways() {
    let mut bench = Bench::provisioned().await;
    let elsewhere = "/api/v1/namespaces/istio-ingress/configmaps/gwanmun-ca";
    let namespaces = BTreeSet::from(["istio-ingress".to_owned()]);
    bench.provisioner.set_namespaces(namespaces);
    bench.until(|server| server.get(elsewhere).is_some()).await;
    bench.provisioner.set_bundle("NEW");
    for path in [BUNDLE, elsewhere] {
        bench
            .until(|server| server.get(path).unwrap()["data"]["ca.crt"] == "NEW")
            .await;
    }
}
