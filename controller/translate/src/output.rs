//! What translation decides: resources, statuses and findings.

use crate::{Finding, backend::Resolved, istio::mesh::Mesh, proxy_protocol};
use gwanmun_api::ObjectKey;
use gwanmun_ir::{Key, Listener, Resource, Secret, SecretMaterial};
use serde::Serialize;
use std::{
    collections::{BTreeMap, BTreeSet},
    rc::Rc,
};

/// What [`translate_all`](crate::translate_all) decides.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Translation {
    /// The configuration.
    pub resources: BTreeMap<Key, Resource>,
    /// The statuses of all objects that have one.
    pub statuses: BTreeMap<ObjectKey, Status>,
    /// What else there is to tell, in the order of severity, code and object.
    pub findings: Vec<Finding>,
}

/// Where units of translation write what they decide.
#[derive(Debug, Default)]
pub(crate) struct Sink {
    resources: BTreeMap<Key, Resource>,
    statuses: BTreeMap<ObjectKey, Status>,
    findings: BTreeSet<Finding>,
    /// The mesh configuration, once it was read.
    pub(crate) mesh: Option<Rc<Mesh>>,
    /// Backends resolved so far.
    pub(crate) resolved: Resolved,
}

impl Sink {
    /// Adds a resource. The first one of a key wins; adding an equal one again does nothing. A
    /// Secret that one API cannot use gives way to what another finds in it.
    pub(crate) fn resource(&mut self, resource: Resource) {
        let known = self.resources.entry(resource.key());
        let known = known.or_insert_with(|| resource.clone());
        if is_invalid(known) && !is_invalid(&resource) {
            *known = resource;
        }
    }

    /// Adds a listener. Gateways share them: what each says of the PROXY protocol holds.
    pub(crate) fn listener(&mut self, mut listener: Listener) {
        let key = Key::Listener(listener.key.clone());
        if let Some(Resource::Listener(earlier)) = self.resources.get(&key) {
            let both = (earlier.proxy_protocol.clone(), listener.proxy_protocol);
            listener.proxy_protocol = proxy_protocol::merged(both);
        }
        self.resources.insert(key, Resource::Listener(listener));
    }

    /// Whether a resource of this key was added, other than a Secret that could not be used.
    pub(crate) fn has(&self, key: &Key) -> bool {
        self.resources
            .get(key)
            .is_some_and(|known| !is_invalid(known))
    }

    /// The resource of a key.
    pub(crate) fn get(&self, key: &Key) -> Option<&Resource> {
        self.resources.get(key)
    }

    /// The status of an object, to be filled.
    pub(crate) fn status(&mut self, object: ObjectKey) -> &mut Status {
        self.statuses.entry(object).or_default()
    }

    /// Adds a finding; saying the same twice does nothing.
    pub(crate) fn finding(&mut self, finding: Finding) {
        self.findings.insert(finding);
    }

    /// The findings so far.
    pub(crate) fn findings(&self) -> impl Iterator<Item = &Finding> {
        self.findings.iter()
    }

    /// Everything written so far.
    pub(crate) fn finish(self) -> Translation {
        Translation {
            resources: self.resources,
            statuses: self.statuses,
            findings: self.findings.into_iter().collect(),
        }
    }
}

/// Whether a resource is a Secret that holds nothing usable.
fn is_invalid(resource: &Resource) -> bool {
    matches!(
        resource,
        Resource::Secret(Secret {
            material: SecretMaterial::Invalid { .. },
            ..
        })
    )
}

/// The status of an object of any kind. Its JSON is the status subresource's content;
/// `lastTransitionTime` is for whoever writes it to an API server.
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Status {
    /// Addresses (Gateway).
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub addresses: Vec<Address>,
    /// Count of accepted ListenerSets (Gateway).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub attached_listener_sets: Option<i32>,
    /// Conditions of the object itself.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
    /// One per listener (Gateway, ListenerSet).
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub listeners: Vec<ListenerStatus>,
    /// One per parent (routes).
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub parents: Vec<ParentStatus>,
    /// One per ancestor (policies).
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub ancestors: Vec<AncestorStatus>,
    /// Supported features, sorted (GatewayClass).
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub supported_features: Vec<FeatureName>,
}

/// A feature name.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd, Serialize)]
pub struct FeatureName {
    /// E.g. `HTTPRouteQueryParamMatching`.
    pub name: String,
}

/// One condition, as Kubernetes has them, without its transition time.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Condition {
    /// Type, e.g. `Accepted`.
    #[serde(rename = "type")]
    pub type_: String,
    /// State.
    pub status: ConditionStatus,
    /// Reason, e.g. `NoMatchingParent`.
    pub reason: String,
    /// One sentence, possibly empty.
    pub message: String,
    /// The `metadata.generation` it speaks of.
    pub observed_generation: i64,
}

impl Condition {
    /// Makes a condition about `generation`.
    pub fn new(
        type_: &str,
        status: ConditionStatus,
        reason: &str,
        message: impl Into<String>,
        generation: i64,
    ) -> Self {
        Self {
            type_: type_.to_owned(),
            status,
            reason: reason.to_owned(),
            message: message.into(),
            observed_generation: generation,
        }
    }
}

/// State of a [`Condition`].
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
pub enum ConditionStatus {
    /// It holds.
    True,
    /// It does not.
    False,
    /// Nobody knows yet.
    Unknown,
}

/// One of a Gateway's addresses.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Address {
    /// `IPAddress` or `Hostname`.
    #[serde(rename = "type")]
    pub type_: String,
    /// The address.
    pub value: String,
}

/// Status of one listener.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ListenerStatus {
    /// Name of the listener.
    pub name: String,
    /// Route kinds that may attach.
    pub supported_kinds: Vec<RouteGroupKind>,
    /// How many routes are attached.
    pub attached_routes: i32,
    /// Conditions.
    pub conditions: Vec<Condition>,
}

/// A route kind.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RouteGroupKind {
    /// API group.
    pub group: String,
    /// Kind.
    pub kind: String,
}

/// Status of a route towards one parent.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ParentStatus {
    /// The parent, as the route names it.
    pub parent_ref: ParentReference,
    /// Who says so: `gwanmun.io/gateway-controller`.
    pub controller_name: String,
    /// Conditions.
    pub conditions: Vec<Condition>,
}

/// Status of a policy towards one ancestor.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct AncestorStatus {
    /// The ancestor.
    pub ancestor_ref: ParentReference,
    /// Who says so: `gwanmun.io/gateway-controller`.
    pub controller_name: String,
    /// Conditions.
    pub conditions: Vec<Condition>,
}

/// A reference to a parent or ancestor, with exactly the fields the user wrote.
#[derive(Clone, Debug, Default, Eq, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ParentReference {
    /// API group.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// Kind.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// Namespace.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// Name.
    pub name: String,
    /// Listener.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub section_name: Option<String>,
    /// Port.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub port: Option<i32>,
}
