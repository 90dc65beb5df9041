//! References from routes to backends.

use super::{
    Context,
    grant::{Referent, Referrer, permits},
    status::Reason,
};
use crate::{
    Code, Severity, Store,
    backend::{self, BackendError, BackendRequest},
    names,
    output::Sink,
};
use gwanmun_api::{
    Kind, Object, ObjectKey, core,
    gateway_api::{BackendObjectReference, BackendTlsPolicy},
    istio::ServiceEntry,
};
use gwanmun_ir::{Failure, Target};

/// The kind of backend that is a host of Istio's registry.
const HOSTNAME: (&str, &str) = ("networking.istio.io", "Hostname");

/// What a reference to a backend resolves to.
pub(super) struct Resolution {
    /// Where requests go.
    pub(super) target: Target,
    /// Why it does not resolve.
    pub(super) problem: Option<(Reason, String)>,
    /// BackendTLSPolicies that apply to the backend.
    pub(super) policies: Vec<ObjectKey>,
}

/// A route that refers.
#[derive(Clone, Copy)]
pub(super) struct Source<'a> {
    pub(super) object: &'a Object,
    /// Whether backends must be spoken to in HTTP/2.
    pub(super) http2: bool,
}

/// A backend that may be referred to.
struct Found {
    host: String,
    port: u16,
    policies: Vec<ObjectKey>,
}

/// Resolves a reference; `field` is its path in the route.
///
/// The order of checks is the specification's: kind, permission, existence.
pub(super) fn resolve(
    cx: &mut Context<'_, '_>,
    source: Source<'_>,
    reference: &BackendObjectReference,
    field: &str,
) -> Resolution {
    let refuse = |reason: Reason, message: String| Resolution {
        target: Target::Fail(Failure::InvalidBackend),
        problem: Some((reason, message)),
        policies: Vec::new(),
    };
    let resolution = match find(cx, source, reference) {
        Err((reason, message)) => refuse(reason, message),
        Ok(found) => {
            let request = BackendRequest {
                host: &found.host,
                client_namespace: &source.object.meta.namespace,
                port: Some(found.port),
                subset: "",
                require_http2: source.http2,
                tls: None,
            };
            // A cluster without TLS of a backend that wants it is of no use.
            let mut scratch = Sink::default();
            let sink = if found.policies.is_empty() {
                &mut *cx.sink
            } else {
                &mut scratch
            };
            match backend::cluster(cx.store, cx.options, sink, &request) {
                Err(error) => refuse(reason_of(&error), error.to_string()),
                // The backend wants TLS and we cannot speak it yet: never plaintext instead.
                Ok(_) if !found.policies.is_empty() => Resolution {
                    target: Target::Fail(Failure::InvalidBackend),
                    problem: None,
                    policies: found.policies,
                },
                Ok(cluster) => Resolution {
                    target: Target::Cluster(cluster),
                    problem: None,
                    policies: Vec::new(),
                },
            }
        }
    };
    if let Some((_, message)) = &resolution.problem {
        cx.tell(
            Severity::Error,
            Code::RefNotResolved,
            source.object,
            field,
            message,
        );
    } else if !resolution.policies.is_empty() {
        let message = "a BackendTLSPolicy applies and is not supported yet: nothing is sent";
        cx.tell(
            Severity::Warning,
            Code::NoEffectYet,
            source.object,
            field,
            message,
        );
    }
    resolution
}

fn reason_of(error: &BackendError) -> Reason {
    match error {
        BackendError::UnsupportedProtocol { .. } => Reason::UnsupportedProtocol,
        BackendError::HostNotFound(_)
        | BackendError::PortNotFound { .. }
        | BackendError::PortRequired(_)
        | BackendError::SubsetNotFound { .. } => Reason::BackendNotFound,
    }
}

/// The backend that a reference names, if it may.
fn find(
    cx: &Context<'_, '_>,
    source: Source<'_>,
    reference: &BackendObjectReference,
) -> Result<Found, (Reason, String)> {
    let own = source.object.meta.namespace.as_str();
    let (group, kind) = (reference.group(), reference.kind());
    let name = reference.name.as_str();
    let service = match (group, kind) {
        ("", "Service") => Some((reference.namespace.as_deref().unwrap_or(own), name)),
        HOSTNAME => {
            if reference
                .namespace
                .as_deref()
                .is_some_and(|text| text != own)
            {
                let message = "a Hostname has no namespace".to_owned();
                return Err((Reason::RefNotPermitted, message));
            }
            names::parse_service_host(name, &cx.options.cluster_domain)
                .map(|(name, namespace)| (namespace, name))
        }
        _ => {
            let message = format!("backends of kind `{kind}` of group `{group}` are not supported");
            return Err((Reason::InvalidKind, message));
        }
    };
    if let Some((namespace, name)) = service {
        permitted(cx.store, source, namespace, name)?;
    }
    let Some(port) = reference.port else {
        let message = format!("the port of {kind} `{name}` is missing");
        return Err((Reason::BackendNotFound, message));
    };
    let Some((namespace, service)) = service else {
        return Ok(Found {
            host: name.to_owned(),
            port,
            policies: entry_policies(cx.store, name),
        });
    };
    supported(cx.store, namespace, service, port)?;
    Ok(Found {
        host: names::service_host(service, namespace, &cx.options.cluster_domain),
        port,
        policies: service_policies(cx.store, namespace, service, port),
    })
}

fn permitted(
    store: &Store,
    source: Source<'_>,
    namespace: &str,
    name: &str,
) -> Result<(), (Reason, String)> {
    let from = Referrer {
        kind: source.object.kind().kind(),
        namespace: &source.object.meta.namespace,
    };
    let to = Referent {
        group: "",
        kind: "Service",
        namespace,
        name,
    };
    if permits(store, from, to) {
        return Ok(());
    }
    let message = format!(
        "no ReferenceGrant in namespace `{namespace}` permits Service `{namespace}/{name}`"
    );
    Err((Reason::RefNotPermitted, message))
}

/// Refuses ports whose `appProtocol` we cannot speak.
fn supported(
    store: &Store,
    namespace: &str,
    name: &str,
    port: u16,
) -> Result<(), (Reason, String)> {
    let protocol =
        service_port(store, namespace, name, port).and_then(|port| port.app_protocol.as_deref());
    match protocol {
        Some(protocol @ "kubernetes.io/wss") => {
            let message = format!(
                "appProtocol `{protocol}` of Service `{namespace}/{name}` is not supported"
            );
            Err((Reason::UnsupportedProtocol, message))
        }
        Some(_) | None => Ok(()),
    }
}

fn service_port<'a>(
    store: &'a Store,
    namespace: &str,
    name: &str,
    port: u16,
) -> Option<&'a core::ServicePort> {
    let service = store.get::<core::Service>(namespace, name)?.content;
    service.spec.ports.iter().find(|entry| entry.port == port)
}

/// BackendTLSPolicies for a Service's port.
fn service_policies(store: &Store, namespace: &str, name: &str, port: u16) -> Vec<ObjectKey> {
    let port_name = service_port(store, namespace, name, port).map(|port| port.name.as_str());
    store
        .in_namespace::<BackendTlsPolicy>(namespace)
        .filter(|policy| {
            policy.spec.target_refs.iter().any(|target| {
                let section = target.section_name.as_deref();
                target.group.is_empty()
                    && target.kind == "Service"
                    && target.name == name
                    && section.is_none_or(|section| Some(section) == port_name)
            })
        })
        .map(|policy| policy.key())
        .collect()
}

/// BackendTLSPolicies for the ServiceEntries of a host.
fn entry_policies(store: &Store, host: &str) -> Vec<ObjectKey> {
    store
        .all::<BackendTlsPolicy>()
        .filter(|policy| {
            policy.spec.target_refs.iter().any(|target| {
                let hosts = || {
                    let entry = store.get::<ServiceEntry>(policy.namespace(), &target.name)?;
                    entry.content.spec.as_ref().map(|spec| &spec.hosts)
                };
                target.group == Kind::ServiceEntry.group()
                    && target.kind == Kind::ServiceEntry.kind()
                    && hosts().is_some_and(|hosts| hosts.iter().any(|one| one == host))
            })
        })
        .map(|policy| policy.key())
        .collect()
}
