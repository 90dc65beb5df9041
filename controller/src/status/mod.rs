//! Writes statuses: at most one write per object under way, none where nothing differs.

mod merge;

pub(crate) use merge::{merged, patch};

use gwanmun_api::{Kind, ObjectKey};
use kube::{
    Api, Client,
    api::{ApiResource, DynamicObject, GroupVersionKind, Patch, PatchParams},
};
use serde_json::{Value, json};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};
use tokio::sync::{Semaphore, mpsc};

/// Most writes under way.
const AT_ONCE: usize = 16;
/// Pause before an object is looked at again after a write that failed.
const AGAIN: Duration = Duration::from_millis(500);
/// Longest time for one write.
const LONGEST: Duration = Duration::from_secs(15);

/// What became of a write.
#[derive(Debug)]
pub(crate) struct Written {
    /// The object.
    pub(crate) key: ObjectKey,
    /// The resource version that was written over.
    pub(crate) base: String,
    /// Its resource version and status now; nothing when it was not written.
    pub(crate) standing: Option<(String, Value)>,
}

/// Sends statuses to the API server.
pub(crate) struct Writer {
    client: Client,
    room: Arc<Semaphore>,
    under_way: BTreeSet<ObjectKey>,
    outcomes: mpsc::UnboundedSender<Written>,
    /// Served version of kinds, where it is not the usual one.
    versions: BTreeMap<Kind, String>,
}

impl Writer {
    /// A writer whose outcomes come out of the receiver.
    pub(crate) fn new(client: Client) -> (Self, mpsc::UnboundedReceiver<Written>) {
        let (outcomes, receiver) = mpsc::unbounded_channel();
        let writer = Self {
            client,
            room: Arc::new(Semaphore::new(AT_ONCE)),
            under_way: BTreeSet::new(),
            outcomes,
            versions: BTreeMap::new(),
        };
        (writer, receiver)
    }

    /// Whether a write of this object is under way: another one has to wait for its outcome.
    pub(crate) fn is_busy(&self, key: &ObjectKey) -> bool {
        self.under_way.contains(key)
    }

    /// Takes note of an outcome.
    pub(crate) fn done(&mut self, key: &ObjectKey) {
        self.under_way.remove(key);
    }

    /// Starts a write that holds only while the object is as it was seen.
    pub(crate) fn write(&mut self, key: ObjectKey, resource_version: &str, status: &Value) {
        self.under_way.insert(key.clone());
        let version = self.versions.get(&key.kind);
        let version = version.map_or(key.kind.version(), String::as_str);
        let name = GroupVersionKind::gvk(key.kind.group(), version, key.kind.kind());
        let resource = ApiResource::from_gvk_with_plural(&name, key.kind.plural());
        let api: Api<DynamicObject> = if key.kind.namespaced() {
            Api::namespaced_with(self.client.clone(), &key.namespace, &resource)
        } else {
            Api::all_with(self.client.clone(), &resource)
        };
        let body = json!({
            "metadata": { "resourceVersion": resource_version },
            "status": status,
        });
        let base = resource_version.to_owned();
        let (room, outcomes) = (Arc::clone(&self.room), self.outcomes.clone());
        tokio::spawn(async move {
            // Never closed.
            let _permit = room.acquire().await;
            let standing = send(&api, &key, body).await;
            if standing.is_none() {
                tokio::time::sleep(AGAIN).await;
            }
            // Nobody listens any more only when the controller ends.
            let _ = outcomes.send(Written {
                key,
                base,
                standing,
            });
        });
    }
}

async fn send(api: &Api<DynamicObject>, key: &ObjectKey, body: Value) -> Option<(String, Value)> {
    let parameters = PatchParams::default();
    let patch = Patch::Merge(body);
    let writing = api.patch_status(&key.name, &parameters, &patch);
    match tokio::time::timeout(LONGEST, writing).await {
        Ok(Ok(object)) => {
            let version = object.metadata.resource_version.unwrap_or_default();
            let status = object.data.get("status").cloned().unwrap_or_default();
            Some((version, status))
        }
        // Somebody else was faster: what they wrote is on its way to us.
        Ok(Err(kube::Error::Api(status))) if status.code == 409 => None,
        // It is gone.
        Ok(Err(kube::Error::Api(status))) if status.code == 404 => None,
        Ok(Err(error)) => {
            tracing::warn!(object = %key, %error, "cannot write the status");
            None
        }
        Err(_elapsed) => {
            tracing::warn!(object = %key, "writing the status took too long");
            None
        }
    }
}
