//! Hosts and their ports: Services and ServiceEntries as one registry.

use super::{
    BackendError, BackendRequest,
    endpoints::{carries, protocol},
};
use crate::{Options, Ref, Store, names};
use gwanmun_api::{IntOrString, Object, core, istio};
use gwanmun_ir::{Transport, UpstreamProtocol};
use std::sync::Arc;

/// A port of a service in the registry.
pub(super) struct Destination<'a> {
    /// Fully qualified host.
    pub(super) host: String,
    /// The port.
    pub(super) port: Port,
    /// What has the host.
    pub(super) kind: DestinationKind<'a>,
}

/// What has a host.
pub(super) enum DestinationKind<'a> {
    /// A Service of the type `ExternalName` that stands for a name the registry does not know.
    External(Ref<'a, core::Service>),
    /// ServiceEntries of one namespace that have host and port; never empty. The oldest one
    /// decides, the others add endpoints.
    Entries(
        Ref<'a, istio::ServiceEntry>,
        Vec<Ref<'a, istio::ServiceEntry>>,
    ),
    /// A Service.
    Service(Ref<'a, core::Service>),
}

/// A port.
#[derive(Clone, Debug)]
pub(super) struct Port {
    /// Number, as routes name it.
    pub(super) number: u16,
    /// Name; may be empty.
    pub(super) name: String,
    /// Port of the endpoints, where they do not say themselves.
    pub(super) target: Option<IntOrString>,
    /// What is spoken on it.
    pub(super) protocol: UpstreamProtocol,
}

impl Destination<'_> {
    /// The object that decides.
    pub(super) fn object(&self) -> &Arc<Object> {
        match &self.kind {
            DestinationKind::External(service) | DestinationKind::Service(service) => {
                service.object
            }
            DestinationKind::Entries(entry, _) => entry.object,
        }
    }

    /// Its namespace.
    pub(super) fn namespace(&self) -> &str {
        &self.object().meta.namespace
    }

    /// What metrics call the service.
    pub(super) fn service_name(&self) -> &str {
        match &self.kind {
            DestinationKind::External(service) | DestinationKind::Service(service) => {
                service.name()
            }
            DestinationKind::Entries(..) => &self.host,
        }
    }

    /// Names of which the endpoints' certificates have one, as far as the registry says.
    pub(super) fn subject_alt_names(&self) -> Vec<String> {
        match &self.kind {
            DestinationKind::External(_) | DestinationKind::Service(_) => Vec::new(),
            DestinationKind::Entries(entry, _) => entry
                .spec
                .as_ref()
                .map(|spec| spec.subject_alt_names.clone())
                .unwrap_or_default(),
        }
    }
}

/// How many ExternalNames may point to each other.
const MAX_ALIASES: usize = 8;

/// Finds the service and port that a request names.
///
/// # Errors
/// When there is none that the client may see.
pub(super) fn resolve<'a>(
    store: &'a Store,
    options: &Options,
    request: &BackendRequest<'_>,
) -> Result<Destination<'a>, BackendError> {
    let mut found = find(store, options, request, request.host)?;
    // An alias of a service we know is that service.
    for _ in 0..MAX_ALIASES {
        let DestinationKind::External(service) = &found.kind else {
            break;
        };
        let alias = &service.spec.external_name;
        match find(store, options, request, alias.trim_end_matches('.')) {
            Ok(target) => found = target,
            Err(_) => break,
        }
    }
    Ok(found)
}

fn find<'a>(
    store: &'a Store,
    options: &Options,
    request: &BackendRequest<'_>,
    host: &str,
) -> Result<Destination<'a>, BackendError> {
    let host = host.to_ascii_lowercase();
    let service = names::parse_service_host(&host, &options.cluster_domain)
        .and_then(|(name, namespace)| store.get::<core::Service>(namespace, name))
        .filter(|service| is_exported(service.object, request.client_namespace));
    match service {
        Some(service) => of_service(service, request, host),
        None => of_entries(store, request, host),
    }
}

/// The annotation that limits who sees a Service.
const EXPORT_TO: &str = "networking.istio.io/exportTo";

fn is_exported(object: &Object, client_namespace: &str) -> bool {
    let Some(annotation) = object.meta.annotations.get(EXPORT_TO) else {
        return true;
    };
    let namespaces: Vec<&str> = annotation.split(',').map(str::trim).collect();
    is_visible(&namespaces, &object.meta.namespace, client_namespace)
}

/// Whether `exportTo` of an object in `namespace` includes the client. Empty means everybody.
fn is_visible(export_to: &[impl AsRef<str>], namespace: &str, client_namespace: &str) -> bool {
    export_to.is_empty()
        || export_to.iter().any(|entry| match entry.as_ref() {
            "*" => true,
            "." => namespace == client_namespace,
            other => other == client_namespace,
        })
}

fn of_service<'a>(
    service: Ref<'a, core::Service>,
    request: &BackendRequest<'_>,
    host: String,
) -> Result<Destination<'a>, BackendError> {
    let fits = |port: &&core::ServicePort| carries(&port.protocol, request.transport);
    let is_external = service.spec.type_ == "ExternalName";
    let ports = &service.content.spec.ports;
    let found = match request.port {
        Some(number) => match ports.iter().find(|port| port.port == number && fits(port)) {
            Some(port) => Ok(port),
            None => Err(match ports.iter().find(|port| port.port == number) {
                Some(port) => BackendError::UnsupportedProtocol {
                    host: host.clone(),
                    port: number,
                    protocol: match port.protocol.as_str() {
                        "" => "TCP".to_owned(),
                        text => text.to_owned(),
                    },
                    wanted: protocol(request.transport),
                },
                None => BackendError::PortNotFound {
                    host: host.clone(),
                    port: number,
                },
            }),
        },
        None => {
            only(ports.iter().filter(fits)).ok_or_else(|| BackendError::PortRequired(host.clone()))
        }
    };
    let port = match found {
        Ok(port) => Port {
            number: port.port,
            name: port.name.clone(),
            target: port.target_port.clone(),
            protocol: service_protocol(port),
        },
        // Such Services need not list their ports.
        Err(BackendError::PortNotFound { port, .. }) if is_external && ports.is_empty() => Port {
            number: port,
            name: String::new(),
            target: None,
            protocol: UpstreamProtocol::Http1,
        },
        Err(error) => return Err(error),
    };
    let kind = if is_external {
        DestinationKind::External(service)
    } else {
        DestinationKind::Service(service)
    };
    Ok(Destination { host, port, kind })
}

fn of_entries<'a>(
    store: &'a Store,
    request: &BackendRequest<'_>,
    host: String,
) -> Result<Destination<'a>, BackendError> {
    let client = request.client_namespace;
    let mut entries: Vec<Ref<'a, istio::ServiceEntry>> = store
        .service_entries(&host)
        .filter(|entry| {
            let spec = entry.spec.as_ref();
            spec.is_some_and(|spec| is_visible(&spec.export_to, entry.namespace(), client))
        })
        .collect();
    if entries.is_empty() {
        return Err(BackendError::HostNotFound(host));
    }
    // The client's own namespace first, then the oldest.
    entries.sort_by(|a, b| {
        let is_foreign = |entry: &Ref<'_, istio::ServiceEntry>| entry.namespace() != client;
        is_foreign(a)
            .cmp(&is_foreign(b))
            .then_with(|| a.object.cmp_age(b.object))
    });
    let number = match request.port {
        Some(number) => number,
        None => {
            only_entry_port(&entries).ok_or_else(|| BackendError::PortRequired(host.clone()))?
        }
    };
    let mut having = entries
        .into_iter()
        .filter_map(|entry| Some((entry, entry_port(entry.content, number, request.transport)?)));
    let Some((first, port)) = having.next() else {
        let port = number;
        return Err(BackendError::PortNotFound { host, port });
    };
    let more = having
        .map(|(entry, _)| entry)
        .filter(|entry| entry.namespace() == first.namespace())
        .collect();
    let kind = DestinationKind::Entries(first, more);
    Ok(Destination { host, port, kind })
}

/// The only port that the entries have together.
fn only_entry_port(entries: &[Ref<'_, istio::ServiceEntry>]) -> Option<u16> {
    let mut numbers: Vec<u32> = entries
        .iter()
        .filter_map(|entry| entry.spec.as_ref())
        .flat_map(|spec| &spec.ports)
        .filter_map(|port| port.number)
        .collect();
    numbers.dedup();
    only(numbers.iter()).and_then(|number| u16::try_from(*number).ok())
}

fn only<T>(mut items: impl Iterator<Item = T>) -> Option<T> {
    let first = items.next()?;
    items.next().is_none().then_some(first)
}

fn entry_port(entry: &istio::ServiceEntry, number: u16, transport: Transport) -> Option<Port> {
    let port = entry.spec.as_ref()?.ports.iter().find(|port| {
        let udp = port
            .protocol
            .as_deref()
            .is_some_and(|text| text.eq_ignore_ascii_case("UDP"));
        port.number == Some(u32::from(number)) && udp == (transport == Transport::Udp)
    })?;
    let protocol = port.protocol.as_deref().unwrap_or_default();
    Some(Port {
        number,
        name: port.name.clone().unwrap_or_default(),
        target: port
            .target_port
            .map(|port| IntOrString::Int(i64::from(port))),
        protocol: protocol_named(protocol),
    })
}

/// What is spoken on a Service's port: `appProtocol`, else the prefix of the port's name.
fn service_protocol(port: &core::ServicePort) -> UpstreamProtocol {
    match port.app_protocol.as_deref() {
        Some(protocol) if !protocol.is_empty() => protocol_named(protocol),
        _ => {
            let name = port.name.as_str();
            let prefix = match name.strip_prefix("grpc-web") {
                Some(rest) if rest.is_empty() || rest.starts_with('-') => "grpc-web",
                _ => name.split('-').next().unwrap_or(name),
            };
            protocol_named(prefix)
        }
    }
}

fn protocol_named(name: &str) -> UpstreamProtocol {
    match name.to_ascii_lowercase().as_str() {
        "http2" | "grpc" | "grpc-web" | "kubernetes.io/h2c" => UpstreamProtocol::Http2,
        _ => UpstreamProtocol::Http1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_protocol_comes_from_app_protocol_then_from_the_name() {
        for (app_protocol, name, http2) in [
            (None, "", false),
            (None, "http", false),
            (None, "http2", true),
            (None, "http2-web", true),
            (None, "grpc-api", true),
            (None, "grpc-web", true),
            (None, "grpc-web-x", true),
            (None, "grpcx", false),
            (Some("http"), "grpc", false),
            (Some("kubernetes.io/h2c"), "web", true),
            (Some("kubernetes.io/ws"), "web", false),
            (Some("GRPC"), "", true),
            (Some(""), "grpc", true),
        ] {
            let port = core::ServicePort {
                name: name.to_owned(),
                app_protocol: app_protocol.map(str::to_owned),
                ..Default::default()
            };
            let is_http2 = service_protocol(&port) == UpstreamProtocol::Http2;
            assert_eq!(is_http2, http2, "{app_protocol:?} {name}");
        }
    }

    #[test]
    fn export_to_names_namespaces() {
        let cases: [(&[&str], bool); 5] = [
            (&[], true),
            (&["*"], true),
            (&["."], false),
            (&["~"], false),
            (&["other", "client"], true),
        ];
        for (export_to, expected) in cases {
            assert_eq!(
                is_visible(export_to, "own", "client"),
                expected,
                "{export_to:?}"
            );
        }
        assert!(is_visible(&["."], "own", "own"));
    }
}
