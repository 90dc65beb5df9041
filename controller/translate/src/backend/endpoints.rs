//! The endpoints of a service's port.

use super::registry::{Destination, DestinationKind, Port};
use crate::{Code, Finding, Ref, Severity, Store, output::Sink};
use gwanmun_api::{IntOrString, Object, core, istio};
use gwanmun_ir::{DnsHost, DnsMode, Endpoint, EndpointHealth, EndpointIdentity};
use std::{
    collections::BTreeMap,
    net::{IpAddr, SocketAddr},
};

type Labels = BTreeMap<String, String>;

/// Which endpoints are wanted.
pub(super) struct Selection<'a> {
    pub(super) store: &'a Store,
    pub(super) destination: &'a Destination<'a>,
    /// Name of the subset, for messages; empty for none.
    pub(super) subset: &'a str,
    /// Labels that endpoints must carry.
    pub(super) labels: &'a Labels,
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
struct Collected(BTreeMap<SocketAddr, Endpoint>);

impl Collected {
    fn add(&mut self, endpoint: Endpoint) {
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

    fn finish(self) -> Vec<Endpoint> {
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
            .filter(|port| port.name == wanted.name && matches!(port.protocol.as_str(), "" | "TCP"))
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
            // Hand-written slices have no pods; their own labels can tell subsets apart.
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
                identity: pod
                    .map(|pod| identity_of_pod(pod.object))
                    .unwrap_or_default(),
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
    fn wants(&self, labels: &Labels) -> bool {
        contains(labels, self.labels)
    }

    /// Adds the WorkloadEntries of a namespace that a selector selects.
    fn selected_entries(
        &self,
        sink: &mut Sink,
        namespace: &str,
        selector: &Labels,
        collected: &mut Collected,
    ) {
        for entry in self.store.in_namespace::<istio::WorkloadEntry>(namespace) {
            let Some(spec) = &entry.content.spec else {
                continue;
            };
            let labels = entry_labels(entry.object, spec);
            if contains(&labels, selector) {
                let workload = Workload {
                    spec,
                    labels,
                    name: entry.name(),
                    namespace,
                };
                self.add_workload(sink, &workload, (entry.object, "spec"), collected);
            }
        }
    }

    /// Adds a workload that has an IP address.
    fn add_workload(
        &self,
        sink: &mut Sink,
        workload: &Workload<'_>,
        (object, field): (&Object, &str),
        collected: &mut Collected,
    ) {
        if !self.wants(&workload.labels) {
            return;
        }
        let address = workload.spec.address.as_deref().unwrap_or_default();
        let (Ok(ip), Some(port)) = (
            address.parse::<IpAddr>(),
            workload.port(&self.destination.port),
        ) else {
            sink.finding(Finding::new(
                Severity::Warning,
                Code::InvalidValue,
                object,
                format!("{field}.address"),
                format!("`{address}` is not an IP address, which endpoints that are not resolved by DNS need; ignored"),
            ));
            return;
        };
        collected.add(Endpoint {
            address: SocketAddr::new(ip, port),
            weight: workload.spec.weight.unwrap_or(1),
            health: EndpointHealth::Healthy,
            identity: workload.identity(),
        });
    }

    fn of_entries(
        &self,
        sink: &mut Sink,
        first: Ref<'_, istio::ServiceEntry>,
        more: &[Ref<'_, istio::ServiceEntry>],
    ) -> Selected {
        let Some(spec) = &first.content.spec else {
            return Selected::Endpoints(Vec::new());
        };
        let resolution = spec.resolution.clone().unwrap_or(istio::Resolution::None);
        let all = || std::iter::once(&first).chain(more);
        match resolution {
            istio::Resolution::Static => {
                let mut collected = Collected::default();
                for entry in all() {
                    self.static_entry(sink, *entry, &mut collected);
                }
                Selected::Endpoints(collected.finish())
            }
            istio::Resolution::Dns => Selected::Dns {
                hosts: all()
                    .flat_map(|entry| self.dns_hosts(sink, *entry))
                    .collect(),
                mode: DnsMode::Strict,
            },
            istio::Resolution::DnsRoundRobin => Selected::Dns {
                hosts: self.dns_hosts(sink, first),
                mode: DnsMode::Logical,
            },
            istio::Resolution::None => self.unresolved(
                sink,
                first,
                (
                    Code::ResolvedByDns,
                    "resolution NONE has no meaning at a gateway; the host is resolved by DNS",
                ),
            ),
            istio::Resolution::DynamicDns => self.unresolved(
                sink,
                first,
                (
                    Code::NoEffectYet,
                    "resolution DYNAMIC_DNS is not supported; the host is resolved by DNS",
                ),
            ),
            istio::Resolution::Unknown(text) => {
                let message =
                    format!("resolution `{text}` is not known; the host is resolved by DNS");
                self.unresolved(sink, first, (Code::UnknownValue, &message))
            }
        }
    }

    /// Resolves the host itself, if it is a name.
    fn unresolved(
        &self,
        sink: &mut Sink,
        entry: Ref<'_, istio::ServiceEntry>,
        (code, message): (Code, &str),
    ) -> Selected {
        let host = &self.destination.host;
        let field = "spec.resolution";
        if host.contains('*') {
            let message = format!("`{host}` cannot be resolved by DNS; it has no endpoints");
            sink.finding(Finding::new(
                Severity::Warning,
                code,
                entry.object,
                field,
                message,
            ));
            return Selected::Endpoints(Vec::new());
        }
        sink.finding(Finding::new(
            Severity::Warning,
            code,
            entry.object,
            field,
            message,
        ));
        Selected::Dns {
            hosts: vec![self.dns_host(host, target_number(&self.destination.port), 1)],
            mode: DnsMode::Strict,
        }
    }

    fn dns_host(&self, host: &str, port: Option<u16>, weight: u32) -> DnsHost {
        DnsHost {
            host: host.to_owned(),
            port: port.unwrap_or(self.destination.port.number),
            weight,
        }
    }

    fn dns_hosts(&self, sink: &mut Sink, entry: Ref<'_, istio::ServiceEntry>) -> Vec<DnsHost> {
        let Some(spec) = &entry.content.spec else {
            return Vec::new();
        };
        let port = &self.destination.port;
        let mut hosts = Vec::new();
        if spec.endpoints.is_empty() && spec.workload_selector.is_none() {
            if self.wants(&Labels::new()) && !self.destination.host.contains('*') {
                hosts.push(self.dns_host(&self.destination.host, target_number(port), 1));
            }
            return hosts;
        }
        for (index, endpoint) in spec.endpoints.iter().enumerate() {
            let address = endpoint.address.as_deref().unwrap_or_default();
            if address.is_empty() || address.starts_with("unix:") {
                sink.finding(Finding::new(
                    Severity::Warning,
                    Code::InvalidValue,
                    entry.object,
                    format!("spec.endpoints[{index}].address"),
                    format!("`{address}` is neither a DNS name nor an IP address; ignored"),
                ));
            } else if self.wants(&endpoint.labels) {
                let workload = Workload::inline(endpoint, entry.namespace());
                hosts.push(self.dns_host(
                    address,
                    workload.port(port),
                    endpoint.weight.unwrap_or(1),
                ));
            }
        }
        if let Some(selector) = &spec.workload_selector {
            for workload in self
                .store
                .in_namespace::<istio::WorkloadEntry>(entry.namespace())
            {
                let Some(spec) = &workload.content.spec else {
                    continue;
                };
                let labels = entry_labels(workload.object, spec);
                if contains(&labels, &selector.labels) && self.wants(&labels) {
                    let address = spec.address.as_deref().unwrap_or_default();
                    let port = Workload::inline(spec, entry.namespace()).port(port);
                    hosts.push(self.dns_host(address, port, spec.weight.unwrap_or(1)));
                }
            }
        }
        hosts
    }

    fn static_entry(
        &self,
        sink: &mut Sink,
        entry: Ref<'_, istio::ServiceEntry>,
        collected: &mut Collected,
    ) {
        let Some(spec) = &entry.content.spec else {
            return;
        };
        for (index, endpoint) in spec.endpoints.iter().enumerate() {
            let workload = Workload::inline(endpoint, entry.namespace());
            let field = format!("spec.endpoints[{index}]");
            self.add_workload(sink, &workload, (entry.object, &field), collected);
        }
        if let Some(selector) = &spec.workload_selector {
            self.selected_entries(sink, entry.namespace(), &selector.labels, collected);
            self.selected_pods(entry.namespace(), &selector.labels, collected);
        }
    }

    fn selected_pods(&self, namespace: &str, selector: &Labels, collected: &mut Collected) {
        let Some(port) = target_number(&self.destination.port) else {
            return;
        };
        for pod in self.store.in_namespace::<core::Pod>(namespace) {
            let labels = &pod.object.meta.labels;
            if pod.is_finished() || !contains(labels, selector) || !self.wants(labels) {
                continue;
            }
            let Some(Ok(ip)) = pod.addresses().next().map(str::parse::<IpAddr>) else {
                continue;
            };
            collected.add(Endpoint {
                address: SocketAddr::new(ip, port),
                weight: 1,
                health: if pod.is_ready() {
                    EndpointHealth::Healthy
                } else {
                    EndpointHealth::Unhealthy
                },
                identity: identity_of_pod(pod.object),
            });
        }
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
            format!("its EndpointSlices have no TCP port named `{}`", port.name)
        } else if !self.subset.is_empty() {
            format!("no endpoint has the labels of subset `{}`", self.subset)
        } else {
            "its EndpointSlices are empty".to_owned()
        };
        let index = service
            .spec
            .ports
            .iter()
            .position(|candidate| candidate.port == port.number);
        sink.finding(Finding::new(
            Severity::Warning,
            Code::NoEndpoints,
            service.object,
            index
                .map(|index| format!("spec.ports[{index}]"))
                .unwrap_or_default(),
            format!(
                "port {} has no endpoints, requests get 503: {reason}",
                port.number
            ),
        ));
    }
}

/// A WorkloadEntry, or an endpoint written in a ServiceEntry.
struct Workload<'a> {
    spec: &'a istio::WorkloadEntrySpec,
    labels: Labels,
    name: &'a str,
    namespace: &'a str,
}

impl<'a> Workload<'a> {
    fn inline(spec: &'a istio::WorkloadEntrySpec, namespace: &'a str) -> Self {
        Self {
            spec,
            labels: spec.labels.clone(),
            name: "",
            namespace,
        }
    }

    /// Its port number: by the port's name, else the service's target.
    fn port(&self, port: &Port) -> Option<u16> {
        match self.spec.ports.get(&port.name) {
            Some(number) => u16::try_from(*number).ok(),
            None => Some(target_number(port).unwrap_or(port.number)),
        }
    }

    fn identity(&self) -> EndpointIdentity {
        EndpointIdentity {
            workload: self.name.to_owned(),
            namespace: self.namespace.to_owned(),
            ..identity_of_labels(&self.labels)
        }
    }
}

/// The endpoint port where the endpoints do not say themselves; nothing for a name.
fn target_number(port: &Port) -> Option<u16> {
    match &port.target {
        None => Some(port.number),
        Some(IntOrString::Int(number)) => u16::try_from(*number).ok(),
        Some(IntOrString::String(_)) => None,
    }
}

/// Labels of a WorkloadEntry: its content's, overridden by its metadata's.
fn entry_labels(object: &Object, spec: &istio::WorkloadEntrySpec) -> Labels {
    let mut labels = spec.labels.clone();
    labels.extend(object.meta.labels.clone());
    labels
}

fn contains(labels: &Labels, wanted: &Labels) -> bool {
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

fn identity_of_pod(pod: &Object) -> EndpointIdentity {
    let labels = &pod.meta.labels;
    let owner = pod.meta.owners.iter().find(|owner| owner.controller);
    let workload = match owner {
        // A Deployment's ReplicaSet is named DEPLOYMENT-HASH.
        Some(owner) if owner.kind == "ReplicaSet" => labels
            .get("pod-template-hash")
            .and_then(|hash| owner.name.strip_suffix(hash)?.strip_suffix('-'))
            .unwrap_or(&owner.name),
        Some(owner) => &owner.name,
        None => &pod.meta.name,
    };
    EndpointIdentity {
        workload: workload.to_owned(),
        namespace: pod.meta.namespace.clone(),
        ..identity_of_labels(labels)
    }
}

/// Canonical service and revision, as Istio's telemetry names them.
fn identity_of_labels(labels: &Labels) -> EndpointIdentity {
    let first = |names: [&str; 3]| {
        let value = names.into_iter().find_map(|name| labels.get(name));
        value.cloned().unwrap_or_default()
    };
    EndpointIdentity {
        workload: String::new(),
        namespace: String::new(),
        app: first([
            "service.istio.io/canonical-name",
            "app.kubernetes.io/name",
            "app",
        ]),
        version: first([
            "service.istio.io/canonical-revision",
            "app.kubernetes.io/version",
            "version",
        ]),
    }
}
