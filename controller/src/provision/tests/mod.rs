//! What is applied, as goldens; and how it is kept.

mod keeping;
mod server;

use super::manifests::{Settings, bundle, manifests};
use gwanmun_api::{Kind, ObjectKey};
use gwanmun_ir::Transport;
use gwanmun_translate::Infrastructure;
use serde_json::{Value, json};
use std::collections::BTreeMap;

fn settings() -> Settings {
    Settings {
        image: "gwanmun:test".to_owned(),
        controller: "gwanmun-controller.gwanmun-system.svc".to_owned(),
        port: 15012,
    }
}

fn infrastructure() -> Infrastructure {
    let one = |name: &str, value: &str| BTreeMap::from([(name.to_owned(), value.to_owned())]);
    Infrastructure {
        uid: "8c5b3a0e-0001".to_owned(),
        class: "gwanmun".to_owned(),
        ports: [
            (53, Transport::Udp),
            (53, Transport::Tcp),
            (80, Transport::Tcp),
        ]
        .into(),
        labels: one("team", "edge"),
        annotations: one("example.com/cost", "low"),
        addresses: vec!["198.51.100.7".to_owned(), "198.51.100.8".to_owned()],
        parameters: BTreeMap::new(),
    }
}

fn made(parameters: &[(&str, &str)]) -> Vec<Value> {
    let gateway = ObjectKey::new(Kind::Gateway, "shop", "edge");
    let parameters = parameters.iter();
    let parameters = parameters.map(|(key, text)| ((*key).to_owned(), (*text).to_owned()));
    let wanted = Infrastructure {
        parameters: parameters.collect(),
        ..infrastructure()
    };
    manifests(&gateway, &wanted, &settings()).unwrap()
}

fn of<'a>(all: &'a [Value], kind: &str) -> &'a Value {
    all.iter().find(|one| one["kind"] == kind).unwrap()
}

#[test]
fn a_gateway_without_parameters() {
    insta::assert_yaml_snapshot!(made(&[]));
}

#[test]
fn a_gateway_with_parameters() {
    let all = made(&[
        (
            "deployment",
            "spec:\n  replicas: 3\n  template:\n    spec:\n      nodeSelector: {edge: yes}\n      containers:\n      - name: istio-proxy\n        resources: {limits: {memory: 2Gi}}\n",
        ),
        ("service", "spec:\n  type: ClusterIP\n"),
        ("serviceAccount", "metadata:\n  annotations: {role: edge}\n"),
        ("podDisruptionBudget", "spec: {minAvailable: 2}\n"),
        (
            "horizontalPodAutoscaler",
            "spec: {minReplicas: 3, maxReplicas: 9}\n",
        ),
    ]);
    insta::assert_yaml_snapshot!(all);
}

#[test]
fn the_authorities() {
    insta::assert_yaml_snapshot!(bundle("shop", "PEM\n"));
}

#[test]
fn parameters_take_nothing_away_that_a_gateway_needs() {
    let all = made(&[
        (
            "deployment",
            "metadata: {name: other, ownerReferences: null, labels: null}\nspec:\n  selector: null\n  template:\n    metadata: {labels: null}\n    spec:\n      serviceAccountName: other\n      volumes: null\n      containers:\n      - name: gateway\n        env: null\n        volumeMounts: null\n",
        ),
        ("service", "spec: {selector: {app: other}}"),
    ]);
    let (plain, changed) = (made(&[]), of(&all, "Deployment"));
    let before = of(&plain, "Deployment");
    for same in [
        "/metadata/name",
        "/metadata/ownerReferences",
        "/spec/selector",
        "/spec/template/spec/serviceAccountName",
        "/spec/template/spec/volumes",
        "/spec/template/spec/containers/0/env",
        "/spec/template/spec/containers/0/volumeMounts",
    ] {
        assert_eq!(changed.pointer(same), before.pointer(same), "{same}");
    }
    let labels = &changed["spec"]["template"]["metadata"]["labels"];
    assert_eq!(labels["gwanmun.io/gateway"], "edge");
    let selector = &of(&all, "Service")["spec"]["selector"];
    assert_eq!(selector["gateway.networking.k8s.io/gateway-name"], "edge");
}

#[test]
fn parameters_that_are_no_object_are_refused_by_name() {
    let gateway = ObjectKey::new(Kind::Gateway, "shop", "edge");
    for text in ["- a", "a: [", "a: 1\n---\nb: 2"] {
        let wanted = Infrastructure {
            parameters: BTreeMap::from([("service".to_owned(), text.to_owned())]),
            ..infrastructure()
        };
        let error = manifests(&gateway, &wanted, &settings()).unwrap_err();
        assert!(
            error.to_string().starts_with("parameters `service`: "),
            "{error}"
        );
    }
}

#[test]
fn labels_of_everything_say_whose_it_is() {
    let gateway = ObjectKey::new(Kind::Gateway, "shop", &"g".repeat(253));
    let all = manifests(&gateway, &infrastructure(), &settings()).unwrap();
    for one in &all {
        let labels = one["metadata"]["labels"].as_object().unwrap();
        assert!(
            labels
                .values()
                .all(|value| value.as_str().unwrap().len() <= 63)
        );
        assert!(one["metadata"]["name"].as_str().unwrap().len() <= 63);
        assert_eq!(labels["team"], "edge");
        assert_eq!(
            one["metadata"]["annotations"],
            json!({ "example.com/cost": "low" })
        );
    }
}
