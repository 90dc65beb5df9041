//! What is there of the objects that we made: watched, so that what others change or delete is put
//! right, and so that a Service's addresses are known.

use super::manifests::{MANAGED, MANAGED_LABEL};
use crate::workloads::GATEWAY_NAME_LABEL;
use futures_util::StreamExt as _;
use gwanmun_api::{Kind, ObjectKey};
use kube::{
    Api, Client, ResourceExt as _,
    api::{ApiResource, DynamicObject, GroupVersionKind},
    runtime::{
        WatchStreamExt as _,
        watcher::{self, watcher},
    },
};
use serde_json::{Value, json};
use std::{
    fmt,
    hash::{DefaultHasher, Hash as _, Hasher as _},
};
use tokio::{sync::mpsc, task::JoinSet};

/// Annotations that controllers of Kubernetes write.
const NOT_OURS: &str = "deployment.kubernetes.io/";

/// The kinds of objects that are made.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) enum Made {
    ServiceAccount,
    ConfigMap,
    Deployment,
    Service,
    PodDisruptionBudget,
    HorizontalPodAutoscaler,
}

impl Made {
    /// Those made per Gateway.
    pub(super) const OF_GATEWAYS: [Self; 5] = [
        Self::ServiceAccount,
        Self::Deployment,
        Self::Service,
        Self::PodDisruptionBudget,
        Self::HorizontalPodAutoscaler,
    ];

    /// The kind of a manifest of ours.
    pub(super) fn of(manifest: &Value) -> Option<Self> {
        let kind = manifest.get("kind")?.as_str()?;
        let all = Self::OF_GATEWAYS.into_iter().chain([Self::ConfigMap]);
        all.into_iter().find(|made| made.parts().2 == kind)
    }

    const fn parts(self) -> (&'static str, &'static str, &'static str, &'static str) {
        match self {
            Self::ServiceAccount => ("", "v1", "ServiceAccount", "serviceaccounts"),
            Self::ConfigMap => ("", "v1", "ConfigMap", "configmaps"),
            Self::Deployment => ("apps", "v1", "Deployment", "deployments"),
            Self::Service => ("", "v1", "Service", "services"),
            Self::PodDisruptionBudget => (
                "policy",
                "v1",
                "PodDisruptionBudget",
                "poddisruptionbudgets",
            ),
            Self::HorizontalPodAutoscaler => (
                "autoscaling",
                "v2",
                "HorizontalPodAutoscaler",
                "horizontalpodautoscalers",
            ),
        }
    }

    fn resource(self) -> ApiResource {
        let (group, version, kind, plural) = self.parts();
        ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk(group, version, kind), plural)
    }

    /// Its objects of one namespace.
    pub(super) fn api(self, client: &Client, namespace: &str) -> Api<DynamicObject> {
        Api::namespaced_with(client.clone(), namespace, &self.resource())
    }
}

/// Group and plural of what is made per Gateway.
#[cfg(test)]
pub(crate) fn resources() -> Vec<(&'static str, &'static str)> {
    let all = Made::OF_GATEWAYS.into_iter();
    all.map(|made| (made.parts().0, made.parts().3)).collect()
}

/// One object that was made.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) struct Item {
    pub(super) made: Made,
    pub(super) namespace: String,
    pub(super) name: String,
}

impl fmt::Display for Item {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = self.made.parts().2;
        write!(f, "{kind} {}/{}", self.namespace, self.name)
    }
}

/// An object as it was last seen.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Live {
    /// Identity.
    pub(super) uid: String,
    /// The Gateway that owns it, and its identity.
    pub(super) owner: Option<(ObjectKey, String)>,
    /// Changes when anything but the status changes.
    pub(super) content: u64,
    /// Where a Service is reached; empty for other kinds.
    pub(super) addresses: Vec<String>,
}

impl Live {
    pub(super) fn of(object: &DynamicObject) -> Self {
        let meta = &object.metadata;
        let namespace = meta.namespace.as_deref().unwrap_or_default();
        let owners = meta.owner_references.iter().flatten();
        let mut gateways = owners.filter(|owner| {
            owner.controller == Some(true)
                && Kind::of(&owner.api_version, &owner.kind) == Some(Kind::Gateway)
        });
        let owner = gateways.next().map(|owner| {
            let key = ObjectKey::new(Kind::Gateway, namespace, &owner.name);
            (key, owner.uid.clone())
        });
        Self {
            uid: meta.uid.clone().unwrap_or_default(),
            owner,
            content: content(object),
            addresses: addresses(&object.data),
        }
    }
}

/// A digest of everything but the status. It is compared within this process only.
fn content(object: &DynamicObject) -> u64 {
    let annotations = object.annotations().iter();
    let annotations = annotations.filter(|(name, _)| !name.starts_with(NOT_OURS));
    let metadata = json!([
        object.labels(),
        annotations.collect::<Vec<_>>(),
        object.owner_references(),
    ]);
    let mut hasher = DefaultHasher::new();
    metadata.to_string().hash(&mut hasher);
    let fields = object.data.as_object().into_iter().flatten();
    for (name, value) in fields.filter(|(name, _)| *name != "status") {
        (name, value.to_string()).hash(&mut hasher);
    }
    hasher.finish()
}

/// Where a Service is reached: what its load balancer got, its external addresses, or, when it has
/// no load balancer, its address in the cluster.
fn addresses(service: &Value) -> Vec<String> {
    let list = |pointer: &str| service.pointer(pointer).and_then(Value::as_array);
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let ingress = list("/status/loadBalancer/ingress").into_iter().flatten();
    let balanced = ingress.filter_map(|one| one.get("ip").or_else(|| one.get("hostname")));
    let external = list("/spec/externalIPs").into_iter().flatten();
    let mut found: Vec<String> = Vec::new();
    for address in balanced.chain(external).filter_map(text) {
        if !found.contains(&address) {
            found.push(address);
        }
    }
    let kind = service.pointer("/spec/type").and_then(Value::as_str);
    if found.is_empty() && matches!(kind, Some("ClusterIP" | "NodePort")) {
        let inner = list("/spec/clusterIPs").into_iter().flatten();
        found.extend(inner.filter_map(text).filter(|one| one != "None"));
    }
    found
}

/// What is seen of the objects.
pub(super) enum Seen {
    /// It came or changed.
    Is(Item, Box<Live>),
    /// It is gone.
    Gone(Item),
    /// These are all of a kind.
    All(Made, Vec<(Item, Live)>),
}

/// Watches everything made for Gateways for as long as the receiver lives.
pub(super) fn watch(client: &Client, seen: &mpsc::UnboundedSender<Seen>) -> JoinSet<()> {
    let mut tasks = JoinSet::new();
    for made in Made::OF_GATEWAYS {
        tasks.spawn(follow(client.clone(), made, seen.clone()));
    }
    tasks
}

async fn follow(client: Client, made: Made, seen: mpsc::UnboundedSender<Seen>) {
    let api: Api<DynamicObject> = Api::all_with(client, &made.resource());
    let ours = format!("{GATEWAY_NAME_LABEL},{MANAGED_LABEL}={MANAGED}");
    let config = watcher::Config::default().labels(&ours);
    let mut stream = watcher(api, config).default_backoff().boxed();
    let mut listed = Vec::new();
    while let Some(event) = stream.next().await {
        let sent = match event {
            Ok(watcher::Event::Init) => {
                listed = Vec::new();
                continue;
            }
            Ok(watcher::Event::InitApply(object)) => {
                listed.push((item(made, &object), Live::of(&object)));
                continue;
            }
            Ok(watcher::Event::InitDone) => seen.send(Seen::All(made, std::mem::take(&mut listed))),
            Ok(watcher::Event::Apply(object)) => {
                seen.send(Seen::Is(item(made, &object), Box::new(Live::of(&object))))
            }
            Ok(watcher::Event::Delete(object)) => seen.send(Seen::Gone(item(made, &object))),
            Err(error) => {
                tracing::warn!(kind = made.parts().2, %error, "watching what was made goes on with what is known");
                continue;
            }
        };
        if sent.is_err() {
            return;
        }
    }
}

fn item(made: Made, object: &DynamicObject) -> Item {
    Item {
        made,
        namespace: object.namespace().unwrap_or_default(),
        name: object.name_any(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_is_reached_where_it_says() {
        let ingress = json!([{ "ip": "198.51.100.7" }, { "hostname": "lb.example" }]);
        let both = json!({
            "spec": { "type": "LoadBalancer", "clusterIPs": ["10.0.0.1"], "externalIPs": ["192.0.2.1"] },
            "status": { "loadBalancer": { "ingress": ingress } },
        });
        assert_eq!(
            addresses(&both),
            ["198.51.100.7", "lb.example", "192.0.2.1"]
        );
        let pending = json!({ "spec": { "type": "LoadBalancer", "clusterIPs": ["10.0.0.1"] } });
        assert_eq!(addresses(&pending), [""; 0]);
        let inner =
            json!({ "spec": { "type": "ClusterIP", "clusterIPs": ["10.0.0.1", "fd00::1"] } });
        assert_eq!(addresses(&inner), ["10.0.0.1", "fd00::1"]);
        let headless = json!({ "spec": { "type": "ClusterIP", "clusterIPs": ["None"] } });
        assert_eq!(addresses(&headless), [""; 0]);
    }
}
