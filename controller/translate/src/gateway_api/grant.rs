//! ReferenceGrants: whether an object may refer to another in a different namespace.

use crate::Store;
use gwanmun_api::gateway_api::{GROUP, GrantFrom, GrantTo, ReferenceGrant};

/// Who refers. The group is the Gateway API's: only its kinds refer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Referrer<'a> {
    pub(super) kind: &'a str,
    pub(super) namespace: &'a str,
}

/// What is referred to.
#[derive(Clone, Copy, Debug)]
pub(super) struct Referent<'a> {
    /// Empty is the core group.
    pub(super) group: &'a str,
    pub(super) kind: &'a str,
    pub(super) namespace: &'a str,
    pub(super) name: &'a str,
}

/// Whether the reference is permitted: within a namespace always, else when a [grant] in the
/// referent's namespace says so.
///
/// Asked before whether the referent exists, so that statuses do not tell strangers.
///
/// [grant]: https://gateway-api.sigs.k8s.io/reference/api-spec/main/spec/#referencegrant
pub(super) fn permits(store: &Store, from: Referrer<'_>, to: Referent<'_>) -> bool {
    if from.namespace == to.namespace {
        return true;
    }
    let from_fits = |grant: &GrantFrom| {
        grant.group == GROUP && grant.kind == from.kind && grant.namespace == from.namespace
    };
    let to_fits = |grant: &GrantTo| {
        // `name: ""` is not a name: it means the same as no name.
        let name = grant.name.as_deref().filter(|name| !name.is_empty());
        grant.group == to.group && grant.kind == to.kind && name.is_none_or(|name| name == to.name)
    };
    store
        .in_namespace::<ReferenceGrant>(to.namespace)
        .any(|grant| grant.spec.from.iter().any(from_fits) && grant.spec.to.iter().any(to_fits))
}
