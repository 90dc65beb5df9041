//! Translation for a cluster: several gateways, each with what it alone may see.
//!
//! [`Engine`] holds the objects and, per gateway, what it was told last; [`Engine::tick`] says what
//! changed. Two kinds of gateways exist: each Gateway of the Gateway API has processes of its own,
//! and [`Workload`]s serve the Istio Gateways whose selectors match their labels.

use crate::{
    ConditionStatus, Finding, Options, Placement, Status, Store, Translation, finding, gateway_api,
    istio, output::Sink,
};
use gwanmun_api::{Kind, Object, ObjectKey, core::ConfigMap, gateway_api::Gateway};
use gwanmun_ir::{
    Action, Delta, Key, ListenerKey, ListenerState, Resource, Security, Target, Transport,
    Verification,
};
use std::collections::{BTreeMap, BTreeSet};

/// Pods that serve Istio's Gateways.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Workload {
    /// Their namespace.
    pub namespace: String,
    /// Their labels.
    pub labels: BTreeMap<String, String>,
}

/// What the pods and the Service of a Gateway have to be like.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Infrastructure {
    /// Identity of the Gateway object.
    pub uid: String,
    /// Its class.
    pub class: String,
    /// Ports to be reached at.
    pub ports: BTreeSet<(u16, Transport)>,
    /// Labels its infrastructure gets.
    pub labels: BTreeMap<String, String>,
    /// Annotations its infrastructure gets.
    pub annotations: BTreeMap<String, String>,
    /// Addresses the Service shall have; empty means any.
    pub addresses: Vec<String>,
    /// What the ConfigMap with its parameters holds; empty when it names none.
    pub parameters: BTreeMap<String, String>,
}

/// What changed since the last one.
#[derive(Debug, Default)]
pub struct Tick {
    /// What gateways have to be told, by `namespace/name`. A gateway that is new is there even when
    /// there is nothing to tell.
    pub deltas: BTreeMap<String, Delta>,
    /// Gateways that are no more.
    pub retired: Vec<String>,
    /// Objects whose status changed; nothing where no status is decided any more.
    pub statuses: BTreeMap<ObjectKey, Option<Status>>,
    /// Everything there is to tell, if that changed.
    pub findings: Option<Vec<Finding>>,
    /// Infrastructure of Gateways that changed; nothing where it has to go.
    pub infrastructure: BTreeMap<ObjectKey, Option<Infrastructure>>,
}

/// The state of translation in a cluster.
#[derive(Debug)]
pub struct Engine {
    store: Store,
    options: Options,
    workloads: BTreeMap<String, Workload>,
    addresses: BTreeMap<ObjectKey, Vec<String>>,
    reports: BTreeMap<String, BTreeMap<ListenerKey, ListenerState>>,
    served: BTreeMap<String, BTreeMap<Key, Resource>>,
    statuses: BTreeMap<ObjectKey, Status>,
    findings: Vec<Finding>,
    infrastructure: BTreeMap<ObjectKey, Infrastructure>,
}

impl Engine {
    /// Holds nothing yet. Labels, namespace, placement, addresses and reports of `options` are set
    /// per gateway.
    pub fn new(options: Options) -> Self {
        Self {
            store: Store::default(),
            options,
            workloads: BTreeMap::new(),
            addresses: BTreeMap::new(),
            reports: BTreeMap::new(),
            served: BTreeMap::new(),
            statuses: BTreeMap::new(),
            findings: Vec::new(),
            infrastructure: BTreeMap::new(),
        }
    }

    /// The objects.
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// Takes an object that came or changed.
    pub fn apply(&mut self, object: Object) {
        self.store.apply(object);
    }

    /// Forgets an object.
    pub fn delete(&mut self, key: &ObjectKey) {
        self.store.delete(key);
    }

    /// Which workloads serve Istio's Gateways, by `namespace/name`. Whether that changed.
    pub fn set_workloads(&mut self, workloads: BTreeMap<String, Workload>) -> bool {
        let changed = self.workloads != workloads;
        self.workloads = workloads;
        changed
    }

    /// What a gateway's processes say about their listeners. Whether that changed.
    pub fn report(
        &mut self,
        gateway: &str,
        listeners: BTreeMap<ListenerKey, ListenerState>,
    ) -> bool {
        let earlier = self.reports.get(gateway);
        let changed = earlier != Some(&listeners) && !(earlier.is_none() && listeners.is_empty());
        if listeners.is_empty() {
            self.reports.remove(gateway);
        } else {
            self.reports.insert(gateway.to_owned(), listeners);
        }
        changed
    }

    /// Addresses at which a Gateway's Service is reached. Whether that changed.
    pub fn set_addresses(&mut self, gateway: &ObjectKey, addresses: Vec<String>) -> bool {
        let earlier = self.addresses.get(gateway);
        let changed = earlier != Some(&addresses) && !(earlier.is_none() && addresses.is_empty());
        if addresses.is_empty() {
            self.addresses.remove(gateway);
        } else {
            self.addresses.insert(gateway.clone(), addresses);
        }
        changed
    }

    /// Translates. What changed since the last time.
    pub fn tick(&mut self) -> Tick {
        let shared = self.gateway_api();
        let mut served = self.divide(&shared);
        let infrastructure = self.needed(&shared.statuses, &served);
        let mut statuses = shared.statuses;
        let mut findings: BTreeSet<Finding> = shared.findings.into_iter().collect();
        for (name, workload) in &self.workloads {
            let translation = self.istio(name, workload);
            for (key, status) in translation.statuses {
                statuses.entry(key).or_insert(status);
            }
            findings.extend(translation.findings);
            served.insert(name.clone(), translation.resources);
        }
        let findings: Vec<Finding> = findings.into_iter().collect();
        let tick = Tick {
            deltas: deltas(&self.served, &served),
            retired: self
                .served
                .keys()
                .filter(|name| !served.contains_key(*name))
                .cloned()
                .collect(),
            statuses: changes(&self.statuses, &statuses),
            findings: (findings != self.findings).then(|| findings.clone()),
            infrastructure: changes(&self.infrastructure, &infrastructure),
        };
        self.served = served;
        self.statuses = statuses;
        self.findings = findings;
        self.infrastructure = infrastructure;
        tick
    }

    /// All Gateways of the Gateway API at once: routes attach to several.
    fn gateway_api(&self) -> Translation {
        let options = Options {
            placement: Placement::Own(self.addresses.clone()),
            reports: self.reports.values().flatten().map(own).collect(),
            ..self.options.clone()
        };
        let mut sink = Sink::default();
        finding::unknown_fields(&self.store, &mut sink);
        gateway_api::translate(&self.store, &options, &mut sink);
        sink.finish()
    }

    fn istio(&self, name: &str, workload: &Workload) -> Translation {
        let options = Options {
            labels: workload.labels.clone(),
            namespace: workload.namespace.clone(),
            reports: self.reports.get(name).cloned().unwrap_or_default(),
            ..self.options.clone()
        };
        let mut sink = Sink::default();
        istio::translate(&self.store, &options, &mut sink);
        sink.finish()
    }

    /// What each accepted Gateway may see: its listeners, and what is reached from them.
    fn divide(&self, shared: &Translation) -> BTreeMap<String, BTreeMap<Key, Resource>> {
        let mut below: BTreeMap<Key, Vec<&Key>> = BTreeMap::new();
        let mut listeners: BTreeMap<String, Vec<&Key>> = BTreeMap::new();
        for (key, resource) in &shared.resources {
            if let Some(parent) = parent(resource) {
                below.entry(parent).or_default().push(key);
            }
            if let Key::Listener(listener) = key
                && let Some(gateway) = scope_of(listener)
            {
                listeners.entry(gateway.to_owned()).or_default().push(key);
            }
        }
        let mut served = BTreeMap::new();
        for gateway in accepted(&shared.statuses) {
            let name = name(gateway);
            let mut own = BTreeMap::new();
            for listener in listeners.get(&name).into_iter().flatten() {
                collect(listener, &shared.resources, &below, &mut own);
            }
            served.insert(name, own);
        }
        served
    }

    /// What the pods and Services of the accepted Gateways have to be like.
    fn needed(
        &self,
        statuses: &BTreeMap<ObjectKey, Status>,
        served: &BTreeMap<String, BTreeMap<Key, Resource>>,
    ) -> BTreeMap<ObjectKey, Infrastructure> {
        let mut needed = BTreeMap::new();
        for key in accepted(statuses) {
            let Some(gateway) = self.store.get::<Gateway>(&key.namespace, &key.name) else {
                continue;
            };
            let resources = served.get(&name(key)).into_iter().flatten();
            let ports = resources.filter_map(|(_, resource)| match resource {
                Resource::Listener(listener) => Some((listener.port, listener.transport)),
                Resource::Chain(_)
                | Resource::Route(_)
                | Resource::L4Route(_)
                | Resource::Cluster(_)
                | Resource::Endpoints(_)
                | Resource::Secret(_) => None,
            });
            let wanted = gateway.spec.infrastructure.clone().unwrap_or_default();
            let parameters = wanted.parameters_ref.and_then(|parameters| {
                let found = self
                    .store
                    .get::<ConfigMap>(&key.namespace, &parameters.name)?;
                Some(found.data.clone())
            });
            let addresses = gateway.spec.addresses.iter();
            let addresses = addresses.filter_map(|one| one.value.clone());
            needed.insert(
                key.clone(),
                Infrastructure {
                    uid: gateway.object.meta.uid.clone(),
                    class: gateway.spec.gateway_class_name.clone(),
                    ports: ports.collect(),
                    labels: wanted.labels,
                    annotations: wanted.annotations,
                    addresses: addresses.filter(|address| !address.is_empty()).collect(),
                    parameters: parameters.unwrap_or_default(),
                },
            );
        }
        needed
    }
}

/// The Gateway that a listener's key names, see [`Placement::scope`]: what is before
/// `/TRANSPORT/ADDRESS:PORT`.
fn scope_of(listener: &ListenerKey) -> Option<&str> {
    let (rest, _) = listener.as_str().rsplit_once('/')?;
    Some(rest.rsplit_once('/')?.0)
}

fn own((key, state): (&ListenerKey, &ListenerState)) -> (ListenerKey, ListenerState) {
    (key.clone(), state.clone())
}

/// `namespace/name`.
fn name(gateway: &ObjectKey) -> String {
    format!("{}/{}", gateway.namespace, gateway.name)
}

/// The Gateways of ours that are accepted.
fn accepted(statuses: &BTreeMap<ObjectKey, Status>) -> impl Iterator<Item = &ObjectKey> {
    let gateways = statuses.iter().filter(|(key, _)| key.kind == Kind::Gateway);
    gateways
        .filter(|(_, status)| {
            status.conditions.iter().any(|condition| {
                condition.type_ == "Accepted" && condition.status == ConditionStatus::True
            })
        })
        .map(|(key, _)| key)
}

/// What a resource hangs on.
fn parent(resource: &Resource) -> Option<Key> {
    match resource {
        Resource::Chain(chain) => Some(Key::Listener(chain.listener.clone())),
        Resource::Route(route) => Some(Key::Chain(route.chain.clone())),
        Resource::L4Route(route) => Some(Key::Chain(route.chain.clone())),
        Resource::Endpoints(set) => Some(Key::Cluster(set.cluster.clone())),
        Resource::Listener(_) | Resource::Cluster(_) | Resource::Secret(_) => None,
    }
}

/// What a resource names: clusters and secrets.
fn named(resource: &Resource) -> Vec<Key> {
    let target = |target: &Target| match target {
        Target::Cluster(key) => Some(Key::Cluster(key.clone())),
        Target::Fail(_) => None,
    };
    match resource {
        Resource::Chain(chain) => match &chain.security {
            Security::Tls(policy) => {
                let anchors = policy.client.validation().map(|client| &client.anchors);
                let secrets = policy.certificates.iter().chain(anchors);
                secrets.cloned().map(Key::Secret).collect()
            }
            Security::Plaintext | Security::Passthrough => Vec::new(),
        },
        Resource::Route(route) => match &route.action {
            Action::Forward(targets) => targets
                .iter()
                .filter_map(|one| target(&one.target))
                .collect(),
            Action::Fail(_) | Action::Redirect(_) | Action::Respond(_) => Vec::new(),
        },
        Resource::L4Route(route) => {
            let targets = route.targets.iter();
            targets.filter_map(|one| target(&one.target)).collect()
        }
        Resource::Cluster(cluster) => {
            let tls = cluster.tls.as_ref();
            let anchors = tls.and_then(|tls| match &tls.verification {
                Verification::Anchors(key) => Some(key),
                Verification::InsecureSkip | Verification::System => None,
            });
            let pair = tls.and_then(|tls| tls.client_certificate.as_ref());
            let secrets = anchors.into_iter().chain(pair);
            secrets.cloned().map(Key::Secret).collect()
        }
        Resource::Listener(_) | Resource::Endpoints(_) | Resource::Secret(_) => Vec::new(),
    }
}

/// Adds a resource and everything that hangs on it or is named by it.
fn collect(
    key: &Key,
    resources: &BTreeMap<Key, Resource>,
    below: &BTreeMap<Key, Vec<&Key>>,
    into: &mut BTreeMap<Key, Resource>,
) {
    let mut open = vec![key.clone()];
    while let Some(key) = open.pop() {
        let Some(resource) = resources.get(&key) else {
            continue;
        };
        if into.contains_key(&key) {
            continue;
        }
        open.extend(
            below
                .get(&key)
                .into_iter()
                .flatten()
                .map(|key| (*key).clone()),
        );
        open.extend(named(resource));
        into.insert(key, resource.clone());
    }
}

fn deltas(
    before: &BTreeMap<String, BTreeMap<Key, Resource>>,
    after: &BTreeMap<String, BTreeMap<Key, Resource>>,
) -> BTreeMap<String, Delta> {
    let mut deltas = BTreeMap::new();
    for (name, resources) in after {
        let known = before.get(name);
        let earlier = |key: &Key| known.and_then(|known| known.get(key));
        let upserts = resources
            .iter()
            .filter(|(key, resource)| earlier(key) != Some(*resource))
            .map(|(_, resource)| resource.clone());
        let removed = known
            .into_iter()
            .flat_map(BTreeMap::keys)
            .filter(|key| !resources.contains_key(*key));
        let delta = Delta {
            upserts: upserts.collect(),
            removed: removed.cloned().collect(),
            complete: false,
        };
        if known.is_none() || !delta.upserts.is_empty() || !delta.removed.is_empty() {
            deltas.insert(name.clone(), delta);
        }
    }
    deltas
}

fn changes<T: Clone + PartialEq>(
    before: &BTreeMap<ObjectKey, T>,
    after: &BTreeMap<ObjectKey, T>,
) -> BTreeMap<ObjectKey, Option<T>> {
    let changed = after
        .iter()
        .filter(|(key, value)| before.get(*key) != Some(*value))
        .map(|(key, value)| (key.clone(), Some(value.clone())));
    let gone = before.keys().filter(|key| !after.contains_key(*key));
    changed.chain(gone.map(|key| (key.clone(), None))).collect()
}
