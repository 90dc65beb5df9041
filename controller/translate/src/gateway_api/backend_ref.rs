//! References from routes to backends.

use super::{
    Context,
    backend_tls::{Applied, Policy, Role},
    grant::{Referent, Referrer, permits},
    status::Reason,
};
use crate::{
    Code, Severity,
    backend::{self, BackendError, BackendRequest},
    names,
};
use gwanmun_api::{Kind, Object, ObjectKey, core, gateway_api::BackendObjectReference};
use gwanmun_ir::{Failure, Resource, Target, Transport, UpstreamTls};

/// The kind of backend that is a host of Istio's registry.
const HOSTNAME: (&str, &str) = ("networking.istio.io", "Hostname");

/// What a reference to a backend resolves to.
pub(super) struct Resolution {
    /// Where requests go.
    pub(super) target: Target,
    /// Why it does not resolve.
    pub(super) problem: Option<(Reason, String)>,
    /// BackendTLSPolicies for the backend, and whether they are used.
    pub(super) policies: Vec<(ObjectKey, Role)>,
}

/// A route that refers.
#[derive(Clone, Copy)]
pub(super) struct Source<'a> {
    pub(super) object: &'a Object,
    pub(super) speech: Speech,
}

/// What a route speaks to its backends.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Speech {
    /// HTTP, as the backend's port says.
    Http,
    /// HTTP/2, whatever the port says.
    Http2,
    /// Bytes.
    Tcp,
    /// Datagrams.
    Udp,
}

impl Speech {
    /// What backend ports must carry.
    fn transport(self) -> Transport {
        match self {
            Self::Http | Self::Http2 | Self::Tcp => Transport::Tcp,
            Self::Udp => Transport::Udp,
        }
    }
}

/// A backend that may be referred to.
struct Found {
    host: String,
    port: u16,
    /// The Service that a port of is meant; nothing for other hosts.
    service: Option<ObjectKey>,
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
        Ok(found) => match reach(cx, source, &found) {
            Err((reason, message)) => refuse(reason, message),
            Ok(resolution) => resolution,
        },
    };
    if let Some((_, message)) = &resolution.problem {
        cx.tell(
            Severity::Error,
            Code::RefNotResolved,
            source.object,
            field,
            message,
        );
    }
    resolution
}

/// The cluster of a backend, with the TLS that a BackendTLSPolicy wants for it.
fn reach(
    cx: &mut Context<'_, '_>,
    source: Source<'_>,
    found: &Found,
) -> Result<Resolution, (Reason, String)> {
    let mut request = BackendRequest {
        host: &found.host,
        client_namespace: &source.object.meta.namespace,
        port: Some(found.port),
        subset: "",
        require_http2: source.speech == Speech::Http2,
        transport: source.speech.transport(),
        tls: None,
    };
    let refuse = |error: BackendError| (reason_of(&error), error.to_string());
    let applied = applied(cx, source, found, &request).map_err(refuse)?;
    if applied.policy.is_none() {
        check_app_protocol(cx, source, found)?;
    }
    let wanted: Option<(UpstreamTls, String)> = match applied.policy {
        None => None,
        // Its backends want TLS, and it does not say how.
        Some(Policy { tls: None, .. }) => {
            return Ok(Resolution {
                target: Target::Fail(Failure::InvalidBackend),
                problem: None,
                policies: applied.roles,
            });
        }
        Some(policy) => policy.tls.as_ref().map(|tls| {
            let mut tls = tls.clone();
            let mut suffix = policy.suffix();
            if let Some(client) = &cx.view.client {
                suffix.push_str(&format!(",{client}"));
                tls.client_certificate = Some(client.clone());
            }
            (tls, suffix)
        }),
    };
    request.tls = wanted
        .as_ref()
        .map(|(tls, suffix)| (tls.clone(), suffix.as_str()));
    let cluster = backend::cluster(cx.store, cx.options, cx.sink, &request).map_err(refuse)?;
    if let Some(anchors) = applied.policy.and_then(|policy| policy.anchors.clone()) {
        cx.sink.resource(Resource::Secret(anchors));
    }
    Ok(Resolution {
        target: Target::Cluster(cluster),
        problem: None,
        policies: applied.roles,
    })
}

/// The BackendTLSPolicies for a backend, as far as TLS can be added.
fn applied<'a>(
    cx: &Context<'a, '_>,
    source: Source<'_>,
    found: &Found,
    request: &BackendRequest<'_>,
) -> Result<Applied<'a>, BackendError> {
    if source.speech == Speech::Udp || cx.view.passthrough {
        return Ok(Applied::default());
    }
    let (object, port) = match &found.service {
        Some(service) => {
            let port = service_port(cx, service, found.port);
            let name = port.map(|port| port.name.clone()).unwrap_or_default();
            (service.clone(), name)
        }
        None => backend::decides(cx.store, cx.options, request)?,
    };
    Ok(cx.policies.of(&object, &port))
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
        permitted(cx, source, namespace, name)?;
    }
    let Some(port) = reference.port else {
        let message = format!("the port of {kind} `{name}` is missing");
        return Err((Reason::BackendNotFound, message));
    };
    let Some((namespace, service)) = service else {
        return Ok(Found {
            host: name.to_owned(),
            port,
            service: None,
        });
    };
    Ok(Found {
        host: names::service_host(service, namespace, &cx.options.cluster_domain),
        port,
        service: Some(ObjectKey::new(Kind::Service, namespace, service)),
    })
}

fn permitted(
    cx: &Context<'_, '_>,
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
    if permits(cx.store, from, to) {
        return Ok(());
    }
    let message = format!(
        "no ReferenceGrant in namespace `{namespace}` permits Service `{namespace}/{name}`"
    );
    Err((Reason::RefNotPermitted, message))
}

/// Refuses ports whose `appProtocol` wants TLS of which nobody says how it is verified.
fn check_app_protocol(
    cx: &Context<'_, '_>,
    source: Source<'_>,
    found: &Found,
) -> Result<(), (Reason, String)> {
    let http = matches!(source.speech, Speech::Http | Speech::Http2);
    let service = found.service.as_ref().filter(|_| http);
    let port = service.and_then(|service| service_port(cx, service, found.port));
    match port.and_then(|port| port.app_protocol.as_deref()) {
        Some(protocol @ "kubernetes.io/wss") => {
            let message = format!(
                "appProtocol `{protocol}` of `{}` needs a BackendTLSPolicy",
                found.host
            );
            Err((Reason::UnsupportedProtocol, message))
        }
        Some(_) | None => Ok(()),
    }
}

fn service_port<'a>(
    cx: &Context<'a, '_>,
    service: &ObjectKey,
    port: u16,
) -> Option<&'a core::ServicePort> {
    let service = cx
        .store
        .get::<core::Service>(&service.namespace, &service.name)?
        .content;
    let mut ports = service.spec.ports.iter();
    ports.find(|entry| entry.port == port && entry.protocol != "UDP")
}
