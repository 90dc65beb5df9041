//! What crosses the channel between translation and gateway.

use crate::{
    Cluster, EndpointSet, FilterChain, Key, L4Route, Listener, ListenerKey, Route, Secret,
    SourceRef,
};
use serde::{Deserialize, Serialize};

/// One piece of configuration.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Resource {
    /// A socket.
    Listener(Listener),
    /// What connections on a socket become.
    Chain(Box<FilterChain>),
    /// One user rule for requests on one chain.
    Route(Box<Route>),
    /// One user rule for connections or datagrams on one chain.
    L4Route(Box<L4Route>),
    /// Interchangeable endpoints and how to reach them.
    Cluster(Box<Cluster>),
    /// The endpoints of a cluster.
    Endpoints(EndpointSet),
    /// A certificate and key, or trust anchors.
    Secret(Secret),
}

impl Resource {
    /// The resource's key.
    pub fn key(&self) -> Key {
        match self {
            Self::Listener(r) => Key::Listener(r.key.clone()),
            Self::Chain(r) => Key::Chain(r.key.clone()),
            Self::Route(r) => Key::Route(r.key.clone()),
            Self::L4Route(r) => Key::L4Route(r.key.clone()),
            Self::Cluster(r) => Key::Cluster(r.key.clone()),
            Self::Endpoints(r) => Key::Endpoints(r.cluster.clone()),
            Self::Secret(r) => Key::Secret(r.key.clone()),
        }
    }

    /// The same resource without private keys, for dumps and goldens.
    pub fn redacted(&self) -> Self {
        match self {
            Self::Secret(secret) => Self::Secret(secret.redacted()),
            Self::Listener(_)
            | Self::Chain(_)
            | Self::Route(_)
            | Self::L4Route(_)
            | Self::Cluster(_)
            | Self::Endpoints(_) => self.clone(),
        }
    }
}

/// All the changes of one moment, applied in one swap.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Delta {
    /// New and changed resources.
    pub upserts: Vec<Resource>,
    /// Resources that are gone. Unknown keys are ignored.
    pub removed: Vec<Key>,
    /// Whether everything that is not in `upserts` is gone too.
    pub complete: bool,
}

/// What a gateway made of a [`Delta`].
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Report {
    /// Epoch of the snapshot that serves it; grows by one with every delta.
    pub epoch: u64,
    /// What is not used as it is now, in key order: not only what this delta brought.
    pub rejected: Vec<Rejection>,
    /// Every listener and whether it is bound, in key order.
    pub listeners: Vec<(ListenerKey, ListenerState)>,
}

/// A resource that a gateway cannot use as it is.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Rejection {
    /// The resource.
    pub key: Key,
    /// How much of it was lost.
    pub severity: Severity,
    /// The user object it came from.
    pub source: SourceRef,
    /// What is wrong and what happens instead, in one sentence.
    pub message: String,
}

/// How much of a resource was lost.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Severity {
    /// It is served, degraded: a bad regex never matches, a bad secret keeps its last good pair.
    Degraded,
    /// It is not served; an earlier version stays in service if there is one.
    Refused,
}

/// Whether a listener is bound.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum ListenerState {
    /// Connections are accepted.
    Bound,
    /// The socket could not be bound, and why.
    Failed(String),
}
