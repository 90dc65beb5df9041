//! BackendTLSPolicies: how TLS is spoken to backends, and what becomes of each policy.
//!
//! A policy for a port by name comes before one for the whole backend; of several for the same, the
//! oldest is used and the others are in conflict. What is wrong with a policy makes connections to
//! its backends fail: nothing is ever sent in plaintext instead.

use super::{
    CONTROLLER, Context,
    anchors::{Bundle, Flaw, Reference},
    gateway::Parents,
    grant::Referrer,
    status::{Decision, Reason},
};
use crate::{
    AncestorStatus, Code, Finding, ParentReference, Ref, Severity, Store, backend, output::Sink,
};
use gwanmun_api::{
    Kind, Object, ObjectKey, core,
    gateway_api::{
        BackendTlsPolicy, BackendTlsPolicyValidation, GROUP, LocalPolicyTargetReference,
        SubjectAltName, SubjectAltNameType, WellKnownCaCertificates,
    },
    istio::ServiceEntry,
};
use gwanmun_ir::{Hostname, Secret, SecretKey, Sni, UpstreamTls, Verification};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

/// How many ancestors a status may have.
const MAX_ANCESTORS: usize = 16;

/// All BackendTLSPolicies.
#[derive(Debug, Default)]
pub(super) struct Policies<'a> {
    policies: BTreeMap<ObjectKey, Policy<'a>>,
    /// The policies for a backend or one of its ports, oldest first.
    targets: BTreeMap<Target, Vec<ObjectKey>>,
}

/// A backend, or a port of it by name.
type Target = (ObjectKey, Option<String>);

/// One policy.
#[derive(Debug)]
pub(super) struct Policy<'a> {
    object: &'a Arc<Object>,
    accepted: Decision,
    resolved: Decision,
    /// How TLS is spoken; absent when the policy makes no sense, and nothing can be sent.
    pub(super) tls: Option<UpstreamTls>,
    /// The trust anchors that `tls` names, where there are any.
    pub(super) anchors: Option<Secret>,
}

impl Policy<'_> {
    /// What tells clusters with this policy apart.
    pub(super) fn suffix(&self) -> String {
        format!("{}/{}", self.object.meta.namespace, self.object.meta.name)
    }
}

/// What policies say of one port of a backend.
#[derive(Debug, Default)]
pub(super) struct Applied<'p> {
    /// The policy that is used.
    pub(super) policy: Option<&'p Policy<'p>>,
    /// Every policy for it, and whether another of the same target is used in its place.
    pub(super) roles: Vec<(ObjectKey, Role)>,
}

/// What a policy is for a backend.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) enum Role {
    /// An older one of the same target is used.
    Conflicted,
    /// It is used, or would be if there were none for the port itself.
    Used,
}

impl<'a> Policies<'a> {
    /// Reads all policies.
    pub(super) fn read(store: &'a Store, sink: &mut Sink) -> Self {
        let mut all = Self::default();
        for policy in store.by_age::<BackendTlsPolicy>() {
            let mut seen = BTreeSet::new();
            for (index, target) in policy.content.spec.target_refs.iter().enumerate() {
                match target_key(store, policy.namespace(), target) {
                    Ok(found) => {
                        if seen.insert(found.clone()) {
                            all.targets.entry(found).or_default().push(policy.key());
                        }
                    }
                    Err((code, message)) => sink.finding(Finding::new(
                        Severity::Warning,
                        code,
                        policy.object,
                        format!("spec.targetRefs[{index}]"),
                        message,
                    )),
                }
            }
            let read = read_policy(store, sink, policy);
            all.policies.insert(policy.key(), read);
        }
        all
    }

    /// What applies to a port, by name, of a Service or ServiceEntry.
    pub(super) fn of(&'a self, backend: &ObjectKey, port: &str) -> Applied<'a> {
        let mut applied = Applied::default();
        for section in [Some(port.to_owned()), None] {
            let Some(keys) = self.targets.get(&(backend.clone(), section)) else {
                continue;
            };
            let mut role = Role::Used;
            for key in keys {
                if applied.policy.is_none() {
                    applied.policy = self.policies.get(key);
                }
                applied.roles.push((key.clone(), role));
                role = Role::Conflicted;
            }
        }
        applied
    }
}

/// What a policy's target is, or why it is none.
fn target_key(
    store: &Store,
    namespace: &str,
    target: &LocalPolicyTargetReference,
) -> Result<Target, (Code, String)> {
    let name = &target.name;
    let (key, ports): (ObjectKey, Option<Vec<&str>>) = match (&*target.group, &*target.kind) {
        ("", "Service") => (
            ObjectKey::new(Kind::Service, namespace, name),
            store.get::<core::Service>(namespace, name).map(|service| {
                let ports = service.content.spec.ports.iter();
                ports.map(|port| port.name.as_str()).collect()
            }),
        ),
        (group, kind)
            if group == Kind::ServiceEntry.group() && kind == Kind::ServiceEntry.kind() =>
        {
            (
                ObjectKey::new(Kind::ServiceEntry, namespace, name),
                store.get::<ServiceEntry>(namespace, name).map(|entry| {
                    let spec = entry.content.spec.iter();
                    let ports = spec.flat_map(|spec| &spec.ports);
                    ports.filter_map(|port| port.name.as_deref()).collect()
                }),
            )
        }
        (group, kind) => {
            let message = format!("targets of kind `{kind}` of group `{group}` are not supported");
            return Err((Code::NotAccepted, message));
        }
    };
    let section = target
        .section_name
        .as_deref()
        .filter(|text| !text.is_empty());
    let missing = Code::ReferencedResourceNotFound;
    let Some(ports) = ports else {
        return Err((missing, format!("{key} does not exist")));
    };
    if let Some(section) = section.filter(|section| !ports.contains(section)) {
        return Err((missing, format!("{key} has no port named `{section}`")));
    }
    Ok((key, section.map(str::to_owned)))
}

fn read_policy<'a>(
    store: &'a Store,
    sink: &mut Sink,
    policy: Ref<'a, BackendTlsPolicy>,
) -> Policy<'a> {
    let spec = &policy.content.spec;
    let mut tell = |severity, code, field: &str, message: &str| {
        sink.finding(Finding::new(severity, code, policy.object, field, message));
    };
    for option in spec.options.keys() {
        let field = format!("spec.options[{option}]");
        let message = "this option is not known and has no effect";
        tell(Severity::Warning, Code::UnknownValue, &field, message);
    }
    let validation = &spec.validation;
    let own = policy.namespace();
    let from = Referrer {
        kind: "BackendTLSPolicy",
        namespace: own,
    };
    let references = validation.ca_certificate_refs.iter().map(|one| Reference {
        group: &one.group,
        kind: &one.kind,
        namespace: own,
        name: &one.name,
    });
    let bundle = Bundle::read(store, from, references);
    for (index, _, message) in &bundle.flaws {
        let field = format!("spec.validation.caCertificateRefs[{index}]");
        tell(Severity::Error, Code::RefNotResolved, &field, message);
    }
    let key = SecretKey::new(format!(
        "gateway-api://BackendTLSPolicy/{own}/{}",
        policy.name()
    ));
    let anchors = bundle.secret(&key, backend::source_ref(policy.object));
    let (tls, accepted) = match upstream_tls(validation, &key) {
        Err((field, message)) => {
            let message = format!("{message}: nothing is sent to its backends");
            let field = format!("spec.validation.{field}");
            tell(Severity::Error, Code::NotAccepted, &field, &message);
            (None, Decision::no(Reason::Invalid, message))
        }
        Ok(tls) if anchors.is_none() && tls.verification != Verification::System => {
            let message =
                "none of caCertificateRefs holds a certificate: connections to its backends fail";
            let field = "spec.validation.caCertificateRefs";
            tell(Severity::Error, Code::NotAccepted, field, message);
            let decision = Decision::no(Reason::NoValidCACertificate, message);
            (Some(tls), decision)
        }
        Ok(tls) => (Some(tls), Decision::yes(Reason::Accepted)),
    };
    Policy {
        object: policy.object,
        accepted,
        resolved: resolved(&bundle),
        tls,
        anchors,
    }
}

/// How a policy wants TLS to be spoken, or which of its fields makes no sense.
fn upstream_tls(
    wanted: &BackendTlsPolicyValidation,
    anchors: &SecretKey,
) -> Result<UpstreamTls, (&'static str, String)> {
    let valid = wanted.hostname.parse::<Hostname>();
    let hostname = valid.map_err(|error| ("hostname", error.to_string()))?;
    if hostname.is_wildcard() {
        return Err(("hostname", "a wildcard is no server name".to_owned()));
    }
    let references = !wanted.ca_certificate_refs.is_empty();
    let verification = match (&wanted.well_known_ca_certificates, references) {
        (None, true) => Verification::Anchors(anchors.clone()),
        (Some(WellKnownCaCertificates::System), false) => Verification::System,
        (Some(WellKnownCaCertificates::Unknown(text)), false) => {
            let message = format!("`{text}` is not known");
            return Err(("wellKnownCACertificates", message));
        }
        (Some(_), true) | (None, false) => {
            let message = "one of caCertificateRefs and wellKnownCACertificates must be given";
            return Err(("caCertificateRefs", message.to_owned()));
        }
    };
    let names = wanted.subject_alt_names.iter().map(subject_alt_name);
    let names: Result<Vec<String>, String> = names.collect();
    Ok(UpstreamTls {
        sni: Sni::Name(hostname.as_str().to_owned()),
        verification,
        subject_alt_names: names.map_err(|message| ("subjectAltNames", message))?,
        client_certificate: None,
    })
}

fn subject_alt_name(name: &SubjectAltName) -> Result<String, String> {
    let given = match &name.name_type {
        SubjectAltNameType::Hostname => name.hostname.as_deref(),
        SubjectAltNameType::Uri => name.uri.as_deref(),
        SubjectAltNameType::Unknown(text) => return Err(format!("type `{text}` is not known")),
    };
    let text = given.filter(|text| !text.is_empty());
    let text = text.ok_or_else(|| format!("a name of type {} is missing", name.name_type))?;
    // Names with `://` are URIs to the gateway, all others host names.
    if text.contains("://") == (name.name_type == SubjectAltNameType::Uri) {
        return Ok(text.to_owned());
    }
    Err(format!("`{text}` is no {}", name.name_type))
}

fn resolved(bundle: &Bundle) -> Decision {
    let Some((_, flaw, message)) = bundle.flaws.first() else {
        return Decision::yes(Reason::ResolvedRefs);
    };
    let reason = match flaw {
        Flaw::Kind => Reason::InvalidKind,
        Flaw::Missing | Flaw::NotPermitted => Reason::InvalidCACertificateRef,
    };
    Decision::no(reason, message.as_str())
}

/// Writes the status of every policy: one entry for each Gateway through which its target is used.
pub(super) fn statuses(cx: &mut Context<'_, '_>, parents: &Parents<'_>) {
    let mut ancestors: BTreeMap<&ObjectKey, BTreeMap<&ObjectKey, Role>> = BTreeMap::new();
    for parent in parents.values() {
        for (policy, role) in &parent.policies {
            let known = ancestors.entry(policy).or_default();
            let known = known.entry(&parent.gateway).or_insert(*role);
            *known = (*role).max(*known);
        }
    }
    let policies = cx.policies;
    for (key, policy) in &policies.policies {
        let Some(used_by) = ancestors.remove(key) else {
            let message = "no route of a Gateway has its targets: it has no effect";
            let (severity, code) = (Severity::Info, Code::NoEffectOnGateway);
            cx.tell(severity, code, policy.object, "spec.targetRefs", message);
            continue;
        };
        if used_by.len() > MAX_ANCESTORS {
            let message = format!("its status tells of the first {MAX_ANCESTORS} Gateways only");
            let (severity, code) = (Severity::Info, Code::NotAccepted);
            cx.tell(severity, code, policy.object, "status", &message);
        }
        for (gateway, role) in used_by.into_iter().take(MAX_ANCESTORS) {
            write_ancestor(cx, policy, gateway, role);
        }
    }
}

fn write_ancestor(cx: &mut Context<'_, '_>, policy: &Policy<'_>, gateway: &ObjectKey, role: Role) {
    let accepted = if policy.accepted.holds() && role == Role::Conflicted {
        let message = "an older policy has the same target";
        let (severity, code) = (Severity::Error, Code::NotAccepted);
        cx.tell(severity, code, policy.object, "spec.targetRefs", message);
        Decision::no(Reason::Conflicted, message)
    } else {
        policy.accepted.clone()
    };
    let generation = policy.object.meta.generation;
    let status = cx.sink.status(policy.object.key());
    status.ancestors.push(AncestorStatus {
        ancestor_ref: ParentReference {
            group: Some(GROUP.to_owned()),
            kind: Some("Gateway".to_owned()),
            namespace: Some(gateway.namespace.clone()),
            name: gateway.name.clone(),
            ..ParentReference::default()
        },
        controller_name: CONTROLLER.to_owned(),
        conditions: vec![
            accepted.condition("Accepted", generation),
            policy.resolved.condition("ResolvedRefs", generation),
        ],
    });
}
