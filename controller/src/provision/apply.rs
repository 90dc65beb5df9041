//! Sends objects to the API server, and deletes what is not needed any more.

use super::live::{Item, Live, Made};
use gwanmun_api::{Kind, ObjectKey};
use kube::{
    Api, Client,
    api::{
        ApiResource, DeleteParams, DynamicObject, GroupVersionKind, Patch, PatchParams,
        Preconditions, PropagationPolicy,
    },
};
use serde_json::Value;
use std::time::Duration;
use thiserror::Error;

/// Who owns the fields that we set.
const FIELD_MANAGER: &str = "gwanmun.io/controller";
/// Longest time for one request.
const LONGEST: Duration = Duration::from_secs(15);

/// Something could not be made or deleted.
#[derive(Debug, Error)]
pub(super) enum ApplyError {
    #[error("{item}: {error}")]
    Api { item: Item, error: kube::Error },
    #[error("{0} exists and is not ours: it is left alone")]
    Foreign(Item),
    #[error("{0}: the API server is slow")]
    Slow(Item),
    #[error("the Gateway: {0}")]
    Gateway(kube::Error),
    #[error("a manifest of ours has no kind or name")]
    Nameless,
}

/// The item that a manifest is of.
pub(super) fn item(manifest: &Value) -> Result<Item, ApplyError> {
    let text = |pointer: &str| manifest.pointer(pointer).and_then(Value::as_str);
    match (
        Made::of(manifest),
        text("/metadata/namespace"),
        text("/metadata/name"),
    ) {
        (Some(made), Some(namespace), Some(name)) => Ok(Item {
            made,
            namespace: namespace.to_owned(),
            name: name.to_owned(),
        }),
        _ => Err(ApplyError::Nameless),
    }
}

/// Applies one manifest. An object that is there must be `owner`'s, if one is given; it is `known`
/// to be.
pub(super) async fn apply(
    client: &Client,
    manifest: &Value,
    owner: Option<&str>,
    known: bool,
) -> Result<(Item, Live), ApplyError> {
    let item = item(manifest)?;
    let api = item.made.api(client, &item.namespace);
    if let Some(owner) = owner
        && !known
        && let Some(there) = bounded(&item, api.get_opt(&item.name)).await?
        && Live::of(&there).owner.is_none_or(|(_, uid)| uid != owner)
    {
        return Err(ApplyError::Foreign(item));
    }
    let parameters = PatchParams::apply(FIELD_MANAGER).force();
    let patch = Patch::Apply(manifest);
    let object = bounded(&item, api.patch(&item.name, &parameters, &patch)).await?;
    let live = Live::of(&object);
    Ok((item, live))
}

/// Deletes one object, unless another one has its name by now.
pub(super) async fn delete(client: &Client, item: &Item, uid: &str) -> Result<(), ApplyError> {
    let parameters = DeleteParams {
        propagation_policy: Some(PropagationPolicy::Background),
        preconditions: Some(Preconditions {
            uid: Some(uid.to_owned()),
            ..Preconditions::default()
        }),
        ..DeleteParams::default()
    };
    let api = item.made.api(client, &item.namespace);
    match bounded(item, api.delete(&item.name, &parameters)).await {
        Ok(_) => Ok(()),
        Err(ApplyError::Api {
            error: kube::Error::Api(status),
            ..
        }) if matches!(status.code, 404 | 409) => Ok(()),
        Err(error) => Err(error),
    }
}

/// The class that a Gateway names now; nothing when it is gone or about to go.
pub(super) async fn class_of(
    client: &Client,
    gateway: &ObjectKey,
) -> Result<Option<String>, ApplyError> {
    let kind = Kind::Gateway;
    let name = GroupVersionKind::gvk(kind.group(), kind.version(), kind.kind());
    let resource = ApiResource::from_gvk_with_plural(&name, kind.plural());
    let api: Api<DynamicObject> =
        Api::namespaced_with(client.clone(), &gateway.namespace, &resource);
    let found = api
        .get_opt(&gateway.name)
        .await
        .map_err(ApplyError::Gateway)?;
    let standing = found.filter(|object| object.metadata.deletion_timestamp.is_none());
    Ok(standing.and_then(|object| {
        let class = object.data.pointer("/spec/gatewayClassName")?;
        class.as_str().map(str::to_owned)
    }))
}

async fn bounded<T>(
    item: &Item,
    request: impl Future<Output = Result<T, kube::Error>>,
) -> Result<T, ApplyError> {
    match tokio::time::timeout(LONGEST, request).await {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(error)) => Err(ApplyError::Api {
            item: item.clone(),
            error,
        }),
        Err(_elapsed) => Err(ApplyError::Slow(item.clone())),
    }
}
