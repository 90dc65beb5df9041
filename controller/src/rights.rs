//! What the controller does at the API server, against what the chart's rules let it do: a verb more
//! is as wrong as a verb less. That the requests themselves need no more is seen in a cluster.

use crate::{AUTHORITIES, LEASE, provision};
use gwanmun_api::{Kind, manifest};
use serde_json::Value;
use std::{collections::BTreeSet, fs, path::Path};

/// Group, resource, name (empty: any), verb.
type Right = (String, String, String, String);

/// Kinds whose status is written.
const STATUSES: [Kind; 18] = [
    Kind::GatewayClass,
    Kind::Gateway,
    Kind::ListenerSet,
    Kind::HttpRoute,
    Kind::GrpcRoute,
    Kind::TlsRoute,
    Kind::TcpRoute,
    Kind::UdpRoute,
    Kind::BackendTlsPolicy,
    Kind::IstioGateway,
    Kind::VirtualService,
    Kind::DestinationRule,
    Kind::ServiceEntry,
    Kind::EnvoyFilter,
    Kind::AuthorizationPolicy,
    Kind::RequestAuthentication,
    Kind::WasmPlugin,
    Kind::TrafficExtension,
];

fn right(group: &str, resource: &str, name: &str, verb: &str) -> Right {
    let [group, resource, name, verb] = [group, resource, name, verb].map(str::to_owned);
    (group, resource, name, verb)
}

/// The rules of one role of the chart.
fn granted(role: &str) -> BTreeSet<Right> {
    let rules = Path::new(env!("CARGO_MANIFEST_DIR")).join("../charts/gwanmun/rules");
    let text = fs::read_to_string(rules.join(format!("{role}.yaml"))).unwrap();
    let documents = manifest::values(&text).unwrap();
    let [document] = &documents[..] else {
        panic!("{role}: one document");
    };
    let mut rights = BTreeSet::new();
    for rule in document["rules"].as_array().unwrap() {
        let list = |field: &str| -> Vec<String> {
            let entries = rule.get(field).and_then(Value::as_array);
            let texts = entries.into_iter().flatten();
            texts
                .map(|text| text.as_str().unwrap().to_owned())
                .collect()
        };
        let mut names = list("resourceNames");
        if names.is_empty() {
            names.push(String::new());
        }
        for group in list("apiGroups") {
            for resource in list("resources") {
                for name in &names {
                    for verb in list("verbs") {
                        let new = rights.insert(right(&group, &resource, name, &verb));
                        assert!(new, "{role}: {resource} {verb} is granted twice");
                    }
                }
            }
        }
    }
    rights
}

#[track_caller]
fn assert_rights(role: &str, needed: impl IntoIterator<Item = Right>) {
    let (needed, granted) = (needed.into_iter().collect(), granted(role));
    let missing: Vec<&Right> = granted.symmetric_difference(&needed).collect();
    assert!(
        missing.is_empty(),
        "{role}: needed or granted, not both: {missing:?}"
    );
}

#[test]
fn every_kind_is_watched_and_nothing_else() {
    let watched = Kind::ALL.iter().flat_map(|kind| {
        ["list", "watch"].map(|verb| right(kind.group(), kind.plural(), "", verb))
    });
    assert_rights("watch", watched);
}

#[test]
fn statuses_are_patched_and_nothing_but_statuses() {
    let patched = STATUSES.map(|kind| {
        let resource = format!("{}/status", kind.plural());
        right(kind.group(), &resource, "", "patch")
    });
    assert_rights("status", patched);
}

#[test]
fn admission_asks_about_tokens_and_pods() {
    assert_rights(
        "admission",
        [
            right("authentication.k8s.io", "tokenreviews", "", "create"),
            right("", "pods", "", "get"),
        ],
    );
}

#[test]
fn provisioning_owns_what_gateways_need_and_one_config_map() {
    // Server-side apply creates and patches; an object with our name is read before it is taken.
    const VERBS: [&str; 6] = ["create", "delete", "get", "list", "patch", "watch"];
    let made = provision::resources().into_iter();
    let made = made.flat_map(|(group, plural)| VERBS.map(|verb| right(group, plural, "", verb)));
    let bundle = ["create", "patch"].map(|verb| right("", "configmaps", provision::BUNDLE, verb));
    let gateway = right(Kind::Gateway.group(), Kind::Gateway.plural(), "", "get");
    assert_rights("provision", made.chain(bundle).chain([gateway]));
}

#[test]
fn its_own_lease_and_authorities_are_named() {
    let mut needed = Vec::new();
    for (group, resource, name) in [
        ("coordination.k8s.io", "leases", LEASE),
        ("", "secrets", AUTHORITIES),
    ] {
        // What does not exist yet cannot be named in a rule.
        needed.push(right(group, resource, "", "create"));
        needed.extend(["get", "update"].map(|verb| right(group, resource, name, verb)));
    }
    assert_rights("own", needed);
}
