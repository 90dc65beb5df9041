//! Watches the API server: what is there becomes [`Event`]s.
//!
//! One task per kind. A kind whose resource definition is not installed counts as empty and is
//! looked for again; a list that is refused or fails is *not* an empty one: what was known stays.
//! An object that cannot be read keeps its last good version and is reported; it disturbs no other.

use futures_util::StreamExt;
use gwanmun_api::{Kind, Object, ObjectKey};
use kube::{
    Api, Client,
    api::{ApiResource, DynamicObject, GroupVersionKind},
    core::Status,
    runtime::{
        WatchStreamExt,
        watcher::{self, watcher},
    },
};
use serde_json::Value;
use std::{collections::BTreeMap, time::Duration};
use tokio::{sync::mpsc, task::JoinSet};

/// How often a kind that is not installed is looked for.
const LOOK_AGAIN: Duration = Duration::from_secs(2);
/// Objects per page of a list.
const PAGE: u32 = 500;
/// Secrets that can never hold a certificate.
const SECRETS: &str = "type!=helm.sh/release.v1,type!=kubernetes.io/service-account-token,\
                       type!=kubernetes.io/dockerconfigjson,type!=bootstrap.kubernetes.io/token";

/// An object as the API server has it: what translation reads, and the status as it stands.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    /// Metadata and content.
    pub(crate) object: Object,
    /// The status subresource as it stands; null when there is none.
    pub(crate) status: Value,
}

/// A change in the cluster.
#[derive(Debug)]
pub(crate) enum Event {
    /// An object came or changed.
    Apply(Box<Seen>),
    /// An object is gone.
    Delete(ObjectKey),
    /// These are all objects of a kind.
    Replace(Kind, Vec<Seen>),
    /// An object is there but cannot be read; its last good version stays.
    Unreadable(ObjectKey, String),
}

/// Watches `kinds` for as long as the receiver lives; the tasks end with the returned set.
pub(crate) fn watch(client: &Client, kinds: &[Kind], events: &mpsc::Sender<Event>) -> JoinSet<()> {
    let mut tasks = JoinSet::new();
    for kind in kinds {
        tasks.spawn(follow(client.clone(), *kind, events.clone()));
    }
    tasks
}

/// Why watching a kind ended.
enum Ended {
    /// The resource is not installed any more.
    Gone,
    /// Nobody listens.
    Over,
}

async fn follow(client: Client, kind: Kind, events: mpsc::Sender<Event>) {
    let mut told = false;
    loop {
        match installed(&client, kind).await {
            Ok(Some(resource)) => {
                told = false;
                match watch_one(&client, kind, &resource, &events).await {
                    Ended::Gone => {}
                    Ended::Over => return,
                }
            }
            Ok(None) => {
                if !told && events.send(Event::Replace(kind, Vec::new())).await.is_err() {
                    return;
                }
                told = true;
            }
            Err(error) => tracing::warn!(kind = kind.kind(), %error, "cannot look for the kind"),
        }
        if events.is_closed() {
            return;
        }
        tokio::time::sleep(LOOK_AGAIN.mul_f64(0.75 + fastrand::f64() / 2.0)).await;
    }
}

/// The resource of a kind, in the version that is preferred among those served; nothing when it is
/// not installed.
async fn installed(client: &Client, kind: Kind) -> Result<Option<ApiResource>, kube::Error> {
    let named = |version: &str| {
        let name = GroupVersionKind::gvk(kind.group(), version, kind.kind());
        ApiResource::from_gvk_with_plural(&name, kind.plural())
    };
    if kind.group().is_empty() {
        return Ok(Some(named(kind.version())));
    }
    let groups = client.list_api_groups().await?;
    let Some(group) = groups
        .groups
        .into_iter()
        .find(|group| group.name == kind.group())
    else {
        return Ok(None);
    };
    let mut versions: Vec<String> = group.versions.into_iter().map(|one| one.version).collect();
    // Ours first: it is the one the types are written for.
    versions.sort_by_key(|version| version != kind.version());
    for version in versions {
        let path = format!("{}/{version}", kind.group());
        let resources = client.list_api_group_resources(&path).await?;
        if resources
            .resources
            .iter()
            .any(|one| one.name == kind.plural())
        {
            return Ok(Some(named(&version)));
        }
    }
    Ok(None)
}

async fn watch_one(
    client: &Client,
    kind: Kind,
    resource: &ApiResource,
    events: &mpsc::Sender<Event>,
) -> Ended {
    let api: Api<DynamicObject> = Api::all_with(client.clone(), resource);
    let mut config = watcher::Config::default().page_size(PAGE);
    if kind == Kind::Secret {
        config = config.fields(SECRETS);
    }
    let mut stream = watcher(api, config).default_backoff().boxed();
    let mut listed: Option<Vec<Seen>> = None;
    while let Some(event) = stream.next().await {
        let sent = match event {
            Ok(watcher::Event::Init) => {
                listed = Some(Vec::new());
                continue;
            }
            Ok(watcher::Event::InitApply(object)) => match read(kind, object) {
                Ok(seen) => {
                    listed.get_or_insert_default().push(seen);
                    continue;
                }
                Err(event) => events.send(*event).await,
            },
            Ok(watcher::Event::InitDone) => {
                let all = listed.take().unwrap_or_default();
                events.send(Event::Replace(kind, all)).await
            }
            Ok(watcher::Event::Apply(object)) => match read(kind, object) {
                Ok(seen) => events.send(Event::Apply(Box::new(seen))).await,
                Err(event) => events.send(*event).await,
            },
            Ok(watcher::Event::Delete(object)) => {
                let metadata = object.metadata;
                let namespace = metadata.namespace.unwrap_or_default();
                let key = ObjectKey::new(kind, &namespace, &metadata.name.unwrap_or_default());
                events.send(Event::Delete(key)).await
            }
            Err(error) if is_not_found(&error) => {
                tell_gone(kind);
                return match events.send(Event::Replace(kind, Vec::new())).await {
                    Ok(()) => Ended::Gone,
                    Err(_) => Ended::Over,
                };
            }
            Err(error) => {
                tell_failed(kind, &error);
                continue;
            }
        };
        if sent.is_err() {
            return Ended::Over;
        }
    }
    Ended::Over
}

fn tell_failed(kind: Kind, error: &watcher::Error) {
    tracing::warn!(kind = kind.kind(), %error, "watching goes on with what is known");
}

fn tell_gone(kind: Kind) {
    tracing::info!(kind = kind.kind(), "no longer installed");
}

fn is_not_found(error: &watcher::Error) -> bool {
    let status: Option<&Status> = match error {
        watcher::Error::InitialListFailed(kube::Error::Api(status))
        | watcher::Error::WatchStartFailed(kube::Error::Api(status))
        | watcher::Error::WatchError(status) => Some(status),
        watcher::Error::InitialListFailed(_)
        | watcher::Error::WatchStartFailed(_)
        | watcher::Error::WatchFailed(_)
        | watcher::Error::NoResourceVersion => None,
    };
    status.is_some_and(|status| status.code == 404)
}

/// An object as translation reads it.
fn read(kind: Kind, object: DynamicObject) -> Result<Seen, Box<Event>> {
    let key = ObjectKey::new(
        kind,
        object.metadata.namespace.as_deref().unwrap_or_default(),
        object.metadata.name.as_deref().unwrap_or_default(),
    );
    let unreadable = |message: String| Box::new(Event::Unreadable(key.clone(), message));
    let mut value = serde_json::to_value(object).map_err(|error| unreadable(error.to_string()))?;
    let Some(fields) = value.as_object_mut() else {
        return Err(unreadable("it is not an object".to_owned()));
    };
    // Lists leave them out of their items.
    fields.insert("apiVersion".to_owned(), Value::String(kind.api_version()));
    fields.insert("kind".to_owned(), Value::String(kind.kind().to_owned()));
    if matches!(kind, Kind::Secret | Kind::ConfigMap) {
        keep_data(fields);
    }
    let status = if kind == Kind::Pod {
        // Of a pod labels and addresses are read, and nobody writes its status here.
        fields.remove("spec");
        Value::Null
    } else {
        fields.remove("status").unwrap_or_default()
    };
    Object::from_value(value, None)
        .map(|object| Seen { object, status })
        .map_err(|error| unreadable(error.to_string()))
}

/// Forgets what can be neither certificate nor key nor configuration: it is not ours to hold.
fn keep_data(fields: &mut serde_json::Map<String, Value>) {
    const KEYS: [&str; 17] = [
        "ca.crl",
        "ca.crt",
        "cacert",
        "cert",
        "crl",
        "deployment",
        "horizontalPodAutoscaler",
        "key",
        "mesh",
        "meshNetworks",
        "podDisruptionBudget",
        "service",
        "serviceAccount",
        "spec",
        "tls.crt",
        "tls.key",
        "tls.ocsp-staple",
    ];
    for data in ["data", "stringData", "binaryData"] {
        if let Some(Value::Object(entries)) = fields.get_mut(data) {
            entries.retain(|key, _| KEYS.contains(&key.as_str()));
        }
    }
}

/// What was last seen of each object's status, for whoever writes statuses.
#[derive(Debug, Default)]
pub(crate) struct Standing(BTreeMap<ObjectKey, (String, Value)>);

impl Standing {
    /// Takes what was seen.
    pub(crate) fn seen(&mut self, seen: &mut Seen) -> ObjectKey {
        let meta = &seen.object.meta;
        let key = ObjectKey::new(seen.object.body.kind(), &meta.namespace, &meta.name);
        let status = std::mem::take(&mut seen.status);
        self.0
            .insert(key.clone(), (meta.resource_version.clone(), status));
        key
    }

    /// Takes what was written over version `base`. What was seen meanwhile is as new or newer, and
    /// stays: writing on an older version would fail for ever.
    pub(crate) fn set(&mut self, key: &ObjectKey, base: &str, version: String, status: Value) {
        if let Some(standing) = self.0.get_mut(key).filter(|standing| standing.0 == base) {
            *standing = (version, status);
        }
    }

    /// Forgets an object.
    pub(crate) fn gone(&mut self, key: &ObjectKey) {
        self.0.remove(key);
    }

    /// The resource version and status last seen.
    pub(crate) fn get(&self, key: &ObjectKey) -> Option<&(String, Value)> {
        self.0.get(key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn seen(version: &str, status: Value) -> Seen {
        let value = json!({
            "apiVersion": "gateway.networking.k8s.io/v1",
            "kind": "HTTPRoute",
            "metadata": { "name": "r", "namespace": "ns", "resourceVersion": version },
            "spec": {},
        });
        Seen {
            object: Object::from_value(value, None).unwrap(),
            status,
        }
    }

    #[test]
    fn what_was_written_does_not_replace_what_was_seen_since() {
        let mut standing = Standing::default();
        let key = standing.seen(&mut seen("4", json!({})));
        standing.set(&key, "4", "5".to_owned(), json!("ours"));
        assert_eq!(standing.get(&key), Some(&("5".to_owned(), json!("ours"))));
        standing.seen(&mut seen("7", json!("newest")));
        standing.set(&key, "5", "6".to_owned(), json!("ours, late"));
        assert_eq!(standing.get(&key), Some(&("7".to_owned(), json!("newest"))));
    }
}
