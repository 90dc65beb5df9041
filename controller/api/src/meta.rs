//! Kubernetes object metadata.

use crate::Kind;
use serde::{Deserialize, Serialize, de::IgnoredAny};
use std::collections::BTreeMap;

/// The parts of `metadata` that are used.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Meta {
    /// Name.
    pub name: String,
    /// Namespace; empty for cluster-scoped kinds.
    pub namespace: String,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// Annotations.
    pub annotations: BTreeMap<String, String>,
    /// Counts changes of the specification; 0 in manifests.
    pub generation: i64,
    /// `creationTimestamp`, seconds since the Unix epoch; absent in manifests, where
    /// [`Object::order`](crate::Object) stands in.
    pub created: Option<i64>,
    /// Whether deletion was requested.
    pub deleting: bool,
    /// Unique identity; empty in manifests.
    pub uid: String,
    /// Version for optimistic concurrency; empty in manifests.
    pub resource_version: String,
    /// Owners.
    pub owners: Vec<OwnerReference>,
}

/// One of `metadata.ownerReferences`.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct OwnerReference {
    /// Group and version of the owner.
    pub api_version: String,
    /// Kind of the owner.
    pub kind: String,
    /// Name of the owner.
    pub name: String,
    /// Identity of the owner.
    pub uid: String,
    /// Whether it is the managing controller.
    pub controller: bool,
    /// Whether deletion of the owner waits.
    pub block_owner_deletion: bool,
}

/// `metadata` as it is written.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct RawMeta {
    name: String,
    namespace: String,
    labels: BTreeMap<String, String>,
    annotations: BTreeMap<String, String>,
    generation: i64,
    creation_timestamp: Option<String>,
    deletion_timestamp: Option<String>,
    uid: String,
    resource_version: String,
    owner_references: Vec<OwnerReference>,
    // Known, and of no use here.
    generate_name: IgnoredAny,
    deletion_grace_period_seconds: IgnoredAny,
    self_link: IgnoredAny,
    finalizers: IgnoredAny,
    managed_fields: IgnoredAny,
    cluster_name: IgnoredAny,
}

impl Meta {
    /// Reads timestamps and drops the namespace of cluster-scoped kinds.
    ///
    /// # Errors
    /// Field and message, when the creation time is not RFC 3339.
    pub(crate) fn from_raw(raw: RawMeta, kind: Kind) -> Result<Self, (String, String)> {
        let created = raw
            .creation_timestamp
            .map(|text| {
                text.parse::<jiff::Timestamp>()
                    .map(jiff::Timestamp::as_second)
                    .map_err(|_error| {
                        (
                            "metadata.creationTimestamp".to_owned(),
                            format!("`{text}` is not an RFC 3339 time"),
                        )
                    })
            })
            .transpose()?;
        Ok(Self {
            name: raw.name,
            namespace: if kind.namespaced() {
                raw.namespace
            } else {
                String::new()
            },
            labels: raw.labels,
            annotations: raw.annotations,
            generation: raw.generation,
            created,
            deleting: raw.deletion_timestamp.is_some(),
            uid: raw.uid,
            resource_version: raw.resource_version,
            owners: raw.owner_references,
        })
    }
}
