//! The endpoints of a service's port.

use super::{
    identity,
    registry::{Destination, DestinationKind, Port},
};
use crate::{Code, Finding, Ref, Severity, Store, output::Sink};
use gwanmun_api::{IntOrString, core};
use gwanmun_ir::{DnsHost, DnsMode, Endpoint, EndpointHealth, EndpointIdentity, Transport};
use std::{
    collections::BTreeMap,
    net::{IpAddr, SocketAddr},
};

/// Labels.
pub(super) type Labels = BTreeMap<String, String>;

/// Which endpoints are wanted.
pub(super) struct Selection<'a> {
    pub(super) store: &'a Store,
    pub(super) destination: &'a Destination<'a>,
    /// Name of the subset, for messages; empty for none.
    pub(super) subset: &'a str,
    /// Labels that endpoints must carry.
    pub(super) labels: &'a Labels,
    /// What the ports of slices must carry.
    pub(super) transport: Transport,
}

/// What was found.
pub(super) enum Selected {
    /// Names to resolve.
    Dns { hosts: Vec<DnsHost>, mode: DnsMode },
    /// Addresses, sorted, each once.
    Endpoints(Vec<Endpoint>),
}

/// Endpoints by address; of two with the same address, the one in better health stays.
#[derive(Default)]
pub(super) struct Collected(BTreeMap<SocketAddr, Endpoint>);

impl Collected {
    /// Adds an endpoint.
    pub(super) fn add(&mut self, endpoint: Endpoint) {
        let rank = |health| match health {
            EndpointHealth::Healthy => 0,
            EndpointHealth::Draining => 1,
            EndpointHealth::Unhealthy => 2,
        };
        match self.0.get(&endpoint.address) {
            Some(known) if rank(known.health) <= rank(endpoint.health) => {}
            _ => {
                self.0.insert(endpoint.address, endpoint);
            }
        }
    }

    /// The endpoints, sorted by address.
    pub(super) fn finish(self) -> Vec<Endpoint> {
        self.0.into_values().collect()
    }
}

impl Selection<'_> {
    /// Finds the endpoints; what is odd about them is reported to `sink`.
    pub(super) fn select(&self, sink: &mut Sink) -> Selected {
        let port = &self.destination.port;
        match &self.destination.kind {
            DestinationKind::External(service) => Selected::Dns {
                hosts: vec![DnsHost {
                    host: service.spec.external_name.trim_end_matches('.').to_owned(),
                    port: port.number,
                    weight: 1,
                }],
                mode: DnsMode::Strict,
            },
            DestinationKind::Service(service) => {
                let endpoints = self.of_service(sink, *service);
                if endpoints.is_empty() {
                    self.report_empty(sink, *service);
                }
                Selected::Endpoints(endpoints)
            }
            DestinationKind::Entries(first, more) => self.of_entries(sink, *first, more),
        }
    }

    fn of_service(&self, sink: &mut Sink, service: Ref<'_, core::Service>) -> Vec<Endpoint> {
        let mut collected = Collected::default();
        let (namespace, name) = (service.namespace(), service.name());
        for slice in self.store.endpoint_slices(namespace, name) {
            if slice.address_type == "FQDN" {
                sink.finding(Finding::new(
                    Severity::Warning,
                    Code::NoEffectYet,
                    slice.object,
                    "addressType",
                    "FQDN endpoints are not supported; ignored",
                ));
                continue;
            }
            for port in self.slice_ports(slice.content) {
                self.of_slice(
                    sink,
                    slice,
                    (port, service.spec.publish_not_ready_addresses),
                    &mut collected,
                );
            }
        }
        if !service.spec.selector.is_empty() {
            self.selected_entries(sink, namespace, &service.spec.selector, &mut collected);
        }
        collected.finish()
    }

    /// The port numbers that a slice gives to the destination's port.
    fn slice_ports(&self, slice: &core::EndpointSlice) -> Vec<u16> {
        let wanted = &self.destination.port;
        slice
            .ports
            .iter()
            .filter(|port| port.name == wanted.name && carries(&port.protocol, self.transport))
            .filter_map(|port| port.port.or_else(|| target_number(wanted)))
            .collect()
    }

    fn of_slice(
        &self,
        sink: &mut Sink,
        slice: Ref<'_, core::EndpointSlice>,
        (port, all_ready): (u16, bool),
        collected: &mut Collected,
    ) {
        for (index, endpoint) in slice.endpoints.iter().enumerate() {
            let Some(text) = endpoint.addresses.first() else {
                continue;
            };
            let Ok(ip) = text.parse::<IpAddr>() else {
                sink.finding(Finding::new(
                    Severity::Warning,
                    Code::InvalidValue,
                    slice.object,
                    format!("endpoints[{index}].addresses[0]"),
                    format!("`{text}` is not an IP address; ignored"),
                ));
                continue;
            };
            let pod = self.pod_of(slice.namespace(), endpoint, text);
            // Hand-written slices have no pods: their own labels tell subsets and metrics apart.
            let labels = pod.map_or(&slice.object.meta.labels, |pod| &pod.object.meta.labels);
            if !self.wants(labels) {
                continue;
            }
            collected.add(Endpoint {
                address: SocketAddr::new(ip, port),
                weight: 1,
                health: if all_ready {
                    EndpointHealth::Healthy
                } else {
                    health(&endpoint.conditions)
                },
                identity: match pod {
                    Some(pod) => identity::of_pod(pod.object),
                    None => EndpointIdentity {
                        namespace: slice.namespace().to_owned(),
                        ..identity::of_labels(labels)
                    },
                },
            });
        }
    }

    fn pod_of(
        &self,
        namespace: &str,
        endpoint: &core::Endpoint,
        address: &str,
    ) -> Option<Ref<'_, core::Pod>> {
        let named = endpoint
            .target_ref
            .as_ref()
            .filter(|target| target.kind == "Pod")
            .and_then(|target| {
                let namespace = if target.namespace.is_empty() {
                    namespace
                } else {
                    &target.namespace
                };
                self.store.get::<core::Pod>(namespace, &target.name)
            });
        named.or_else(|| self.store.pod_at(namespace, address))
    }

    /// Whether labels are those of the subset.
    pub(super) fn wants(&self, labels: &Labels) -> bool {
        contains(labels, self.labels)
    }

    /// Says why a Service's port has no endpoints.
    fn report_empty(&self, sink: &mut Sink, service: Ref<'_, core::Service>) {
        let port = &self.destination.port;
        let slices: Vec<_> = self
            .store
            .endpoint_slices(service.namespace(), service.name())
            .collect();
        let reason = if slices.is_empty() {
            "no EndpointSlice belongs to it".to_owned()
        } else if !slices
            .iter()
            .any(|slice| !self.slice_ports(slice.content).is_empty())
        {
            format!(
                "its EndpointSlices have no {} port named `{}`",
                protocol(self.transport),
                port.name
            )
        } else if !self.subset.is_empty() {
            format!("no endpoint has the labels of subset `{}`", self.subset)
        } else {
            "its EndpointSlices are empty".to_owned()
        };
        let index = service.spec.ports.iter().position(|candidate| {
            candidate.port == port.number && carries(&candidate.protocol, self.transport)
        });
        sink.finding(Finding::new(
            Severity::Warning,
            Code::NoEndpoints,
            service.object,
            index
                .map(|index| format!("spec.ports[{index}]"))
                .unwrap_or_default(),
            format!(
                "port {} has no endpoints, {}: {reason}",
                port.number,
                match self.transport {
                    Transport::Tcp => "requests get 503",
                    Transport::Udp => "datagrams are dropped",
                }
            ),
        ));
    }
}

/// The endpoint port where the endpoints do not say themselves; nothing for a name.
pub(super) fn target_number(port: &Port) -> Option<u16> {
    match &port.target {
        None => Some(port.number),
        Some(IntOrString::Int(number)) => u16::try_from(*number).ok(),
        Some(IntOrString::String(_)) => None,
    }
}

/// How a Service spells a transport.
pub(super) fn protocol(transport: Transport) -> &'static str {
    match transport {
        Transport::Tcp => "TCP",
        Transport::Udp => "UDP",
    }
}

/// Whether a port whose protocol is written so carries a transport.
pub(super) fn carries(written: &str, transport: Transport) -> bool {
    let written = if written.is_empty() { "TCP" } else { written };
    written == protocol(transport)
}

/// Whether labels include others.
pub(super) fn contains(labels: &Labels, wanted: &Labels) -> bool {
    wanted
        .iter()
        .all(|(name, value)| labels.get(name) == Some(value))
}

/// [Readiness] of an endpoint.
///
/// [Readiness]: https://kubernetes.io/docs/concepts/services-networking/endpoint-slices/#conditions
fn health(conditions: &core::EndpointConditions) -> EndpointHealth {
    let ready = conditions.ready.unwrap_or(true);
    let serving = conditions.serving.unwrap_or(ready);
    if conditions.terminating.unwrap_or(false) {
        return if serving {
            EndpointHealth::Draining
        } else {
            EndpointHealth::Unhealthy
        };
    }
    if ready {
        EndpointHealth::Healthy
    } else {
        EndpointHealth::Unhealthy
    }
}
