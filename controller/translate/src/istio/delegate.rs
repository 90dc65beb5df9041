//! Delegation: rules that a VirtualService takes from another one.
//!
//! Each rule of the delegate is narrowed by the delegating rule: every one of its matches must fit
//! into one of the root's, and is joined with all into which it fits. What the delegate leaves open
//! it inherits.

use super::{
    virtual_service::gateway_id,
    visibility,
    world::{Voice, World},
};
use crate::{Code, Ref, output::Sink};
use gwanmun_api::istio::{
    Delegate, HttpMatchRequest, HttpRoute, StringMatch, VirtualService, VirtualServiceSpec,
};
use std::{borrow::Cow, collections::BTreeMap};

/// A rule and the object it is written in.
#[derive(Clone, Debug)]
pub(super) struct Written<'a> {
    pub(super) rule: Cow<'a, HttpRoute>,
    pub(super) object: Ref<'a, VirtualService>,
    /// Index in that object.
    pub(super) index: usize,
    /// Where it stands in the VirtualService that is served: `2`, or `2.0` for a delegate's.
    pub(super) position: String,
}

/// The `http` rules of a VirtualService, those of its delegates in place.
pub(super) fn rules<'a>(
    world: &World<'a>,
    object: Ref<'a, VirtualService>,
    spec: &'a VirtualServiceSpec,
    sink: &mut Sink,
) -> Vec<Written<'a>> {
    let mut found = Vec::new();
    for (index, rule) in spec.http.iter().enumerate() {
        let written = Written {
            rule: Cow::Borrowed(rule),
            object,
            index,
            position: index.to_string(),
        };
        match &rule.delegate {
            Some(delegate) if rule.route.is_empty() && rule.redirect.is_none() => {
                let mut voice = Voice {
                    object: object.object,
                    sink,
                };
                found.extend(delegated(world, &written, delegate, &mut voice));
            }
            Some(_) | None => found.push(written),
        }
    }
    found
}

fn delegated<'a>(
    world: &World<'a>,
    root: &Written<'a>,
    delegate: &Delegate,
    voice: &mut Voice<'_, '_>,
) -> Vec<Written<'a>> {
    let field = format!("spec.http[{}].delegate", root.index);
    let own = root.object.namespace();
    let namespace = delegate
        .namespace
        .as_deref()
        .filter(|name| !name.is_empty());
    let namespace = namespace.unwrap_or(own);
    let name = delegate.name.as_deref().unwrap_or_default();
    let mut missing = |reason: &str| {
        let message = format!("VirtualService {namespace}/{name} {reason}; the rule has no effect");
        voice.error(Code::ReferencedResourceNotFound, field.clone(), message);
        Vec::new()
    };
    let Some(object) = world.store.get::<VirtualService>(namespace, name) else {
        return missing("does not exist");
    };
    let Some(spec) = object.content.spec.as_ref() else {
        return missing("is empty");
    };
    if !spec.hosts.is_empty() {
        return missing("has hosts, so it is not a delegate");
    }
    let default = world.mesh.virtual_service_export_to();
    if visibility::scope(&spec.export_to, default, namespace, own).is_none() {
        return missing(&format!("is not visible in {own}"));
    }
    let mut found = Vec::new();
    for (index, rule) in spec.http.iter().enumerate() {
        let mut voice = Voice {
            object: object.object,
            sink: voice.sink,
        };
        let field = format!("spec.http[{index}]");
        if rule.delegate.is_some() {
            let message = "a delegate cannot delegate; the rule has no effect";
            voice.error(Code::SchemaValidation, format!("{field}.delegate"), message);
            continue;
        }
        let Some(rule) = merged(root, rule, namespace) else {
            let root = root.object.key();
            let message =
                format!("its matches do not fit into those of {root}; the rule has no effect");
            voice.warn(Code::Conflict, format!("{field}.match"), message);
            continue;
        };
        found.push(Written {
            rule: Cow::Owned(rule),
            object,
            index,
            position: format!("{}.{index}", root.position),
        });
    }
    found
}

/// A delegate's rule narrowed by the root's; nothing when they exclude each other.
fn merged(root: &Written<'_>, rule: &HttpRoute, namespace: &str) -> Option<HttpRoute> {
    let own = root.object.namespace();
    let root = &root.rule;
    let mut rule = rule.clone();
    rule.matches = matches(root, &rule, own, namespace)?;
    rule.name = joined(root.name.as_deref(), rule.name.as_deref());
    rule.rewrite = rule.rewrite.or_else(|| root.rewrite.clone());
    rule.direct_response = rule
        .direct_response
        .or_else(|| root.direct_response.clone());
    rule.timeout = rule.timeout.or_else(|| root.timeout.clone());
    rule.retries = rule.retries.or_else(|| root.retries.clone());
    rule.fault = rule.fault.or_else(|| root.fault.clone());
    rule.mirror = rule.mirror.or_else(|| root.mirror.clone());
    if rule.mirrors.is_empty() {
        rule.mirrors.clone_from(&root.mirrors);
    }
    rule.mirror_percentage = rule
        .mirror_percentage
        .or_else(|| root.mirror_percentage.clone());
    rule.cors_policy = rule.cors_policy.or_else(|| root.cors_policy.clone());
    rule.headers = rule.headers.or_else(|| root.headers.clone());
    Some(rule)
}

fn joined(root: Option<&str>, own: Option<&str>) -> Option<String> {
    let parts = [root, own]
        .into_iter()
        .flatten()
        .filter(|name| !name.is_empty());
    let parts: Vec<&str> = parts.collect();
    (!parts.is_empty()).then(|| parts.join("-"))
}

/// Every match of the delegate joined with the root's into which it fits; nothing when one of
/// them fits into none.
fn matches(
    root: &HttpRoute,
    rule: &HttpRoute,
    root_namespace: &str,
    namespace: &str,
) -> Option<Vec<HttpMatchRequest>> {
    let resolved = |entry: &HttpMatchRequest, namespace: &str| {
        let mut entry = entry.clone();
        for gateway in &mut entry.gateways {
            if gateway != "mesh" {
                *gateway = gateway_id(gateway, namespace);
            }
        }
        entry
    };
    let roots = root
        .matches
        .iter()
        .map(|entry| resolved(entry, root_namespace));
    let roots: Vec<HttpMatchRequest> = roots.collect();
    let leaves = rule.matches.iter().map(|entry| resolved(entry, namespace));
    let leaves: Vec<HttpMatchRequest> = leaves.collect();
    if roots.is_empty() {
        return Some(leaves);
    }
    if leaves.is_empty() {
        return Some(roots);
    }
    let mut found = Vec::new();
    for leaf in &leaves {
        let before = found.len();
        let fitting = roots.iter().filter(|root| fits(root, leaf));
        found.extend(fitting.map(|root| both(root, leaf)));
        if found.len() == before {
            return None;
        }
    }
    Some(found)
}

/// Whether a delegate's match can hold together with the root's.
fn fits(root: &HttpMatchRequest, leaf: &HttpMatchRequest) -> bool {
    let strings = [
        (&root.uri, &leaf.uri),
        (&root.scheme, &leaf.scheme),
        (&root.method, &leaf.method),
        (&root.authority, &leaf.authority),
    ];
    let strings = strings
        .into_iter()
        .all(|(root, leaf)| within(root.as_ref(), leaf.as_ref()));
    let maps = [
        (&root.headers, &leaf.headers),
        (&root.without_headers, &leaf.without_headers),
        (&root.query_params, &leaf.query_params),
    ];
    let maps = maps.into_iter().all(|(root, leaf)| {
        let mut entries = leaf.iter();
        entries.all(|(name, leaf)| within(root.get(name), Some(leaf)))
    });
    let port = |entry: &HttpMatchRequest| entry.port.filter(|port| *port > 0);
    let ports = port(root)
        .zip(port(leaf))
        .is_none_or(|(root, leaf)| root == leaf);
    let space = root
        .source_namespace
        .as_deref()
        .filter(|name| !name.is_empty());
    let space = space.is_none_or(|name| leaf.source_namespace.as_deref() == Some(name));
    let mut labels = leaf.source_labels.iter();
    let labels = labels.all(|(name, value)| {
        let root = root.source_labels.get(name);
        root.is_none_or(|root| root == value)
    });
    let mut gateways = leaf.gateways.iter();
    let gateways = root.gateways.is_empty() || gateways.all(|name| root.gateways.contains(name));
    let case = root.ignore_uri_case.unwrap_or(false) == leaf.ignore_uri_case.unwrap_or(false);
    strings && maps && ports && space && labels && gateways && case
}

/// Whether a delegate's condition lies within the root's. Regular expressions lie within nothing.
fn within(root: Option<&StringMatch>, leaf: Option<&StringMatch>) -> bool {
    let (Some(root), Some(leaf)) = (root, leaf) else {
        return true;
    };
    if root.regex.is_some() || leaf.regex.is_some() {
        return false;
    }
    match (&root.exact, &root.prefix, &leaf.exact, &leaf.prefix) {
        (Some(root), _, Some(leaf), None) => root == leaf,
        (None, Some(root), Some(leaf), _) | (None, Some(root), None, Some(leaf)) => {
            leaf.starts_with(root)
        }
        _ => false,
    }
}

fn both(root: &HttpMatchRequest, leaf: &HttpMatchRequest) -> HttpMatchRequest {
    let strings = |root: &BTreeMap<String, StringMatch>, leaf: &BTreeMap<String, StringMatch>| {
        let mut all = root.clone();
        all.extend(leaf.clone());
        all
    };
    let mut labels = root.source_labels.clone();
    labels.extend(leaf.source_labels.clone());
    HttpMatchRequest {
        name: joined(root.name.as_deref(), leaf.name.as_deref()),
        uri: leaf.uri.clone().or_else(|| root.uri.clone()),
        scheme: leaf.scheme.clone().or_else(|| root.scheme.clone()),
        method: leaf.method.clone().or_else(|| root.method.clone()),
        authority: leaf.authority.clone().or_else(|| root.authority.clone()),
        headers: strings(&root.headers, &leaf.headers),
        without_headers: strings(&root.without_headers, &leaf.without_headers),
        query_params: strings(&root.query_params, &leaf.query_params),
        port: leaf.port.filter(|port| *port > 0).or(root.port),
        source_labels: labels,
        gateways: if leaf.gateways.is_empty() {
            root.gateways.clone()
        } else {
            leaf.gateways.clone()
        },
        ignore_uri_case: leaf.ignore_uri_case,
        source_namespace: leaf
            .source_namespace
            .clone()
            .or_else(|| root.source_namespace.clone()),
        stat_prefix: leaf
            .stat_prefix
            .clone()
            .or_else(|| root.stat_prefix.clone()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn condition(text: &str) -> Option<StringMatch> {
        let (kind, value) = text.split_once(':')?;
        let value = Some(value.to_owned());
        Some(match kind {
            "exact" => StringMatch {
                exact: value,
                ..StringMatch::default()
            },
            "prefix" => StringMatch {
                prefix: value,
                ..StringMatch::default()
            },
            _ => StringMatch {
                regex: value,
                ..StringMatch::default()
            },
        })
    }

    #[test]
    fn a_delegates_condition_must_lie_within_the_roots() {
        for (root, leaf, expected) in [
            ("", "prefix:/a", true),
            ("prefix:/a", "", true),
            ("prefix:/a", "prefix:/a/b", true),
            ("prefix:/a", "exact:/a/b", true),
            ("prefix:/a", "exact:/b", false),
            ("prefix:/a/b", "prefix:/a", false),
            ("exact:/a", "exact:/a", true),
            ("exact:/a", "exact:/b", false),
            ("exact:/a", "prefix:/a", false),
            ("regex:/a.*", "prefix:/a", false),
            ("prefix:/a", "regex:/a.*", false),
            ("regex:x", "", true),
        ] {
            let found = within(condition(root).as_ref(), condition(leaf).as_ref());
            assert_eq!(found, expected, "{leaf} within {root}");
        }
    }
}
