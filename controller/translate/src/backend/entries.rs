//! Endpoints that Istio's kinds describe: ServiceEntries and the WorkloadEntries and Pods that a
//! selector selects.

use super::{
    endpoints::{Collected, Labels, Selected, Selection, contains, target_number},
    identity,
    registry::Port,
};
use crate::{Code, Finding, Ref, Severity, output::Sink};
use gwanmun_api::{Object, core, istio};
use gwanmun_ir::{DnsHost, DnsMode, Endpoint, EndpointHealth, EndpointIdentity};
use std::net::{IpAddr, SocketAddr};

impl Selection<'_> {
    /// Adds the WorkloadEntries of a namespace that a selector selects.
    pub(super) fn selected_entries(
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

    /// The endpoints of ServiceEntries, of which the first one decides.
    pub(super) fn of_entries(
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
                identity: identity::of_pod(pod.object),
            });
        }
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
            ..identity::of_labels(&self.labels)
        }
    }
}

/// Labels of a WorkloadEntry: its content's, overridden by its metadata's.
fn entry_labels(object: &Object, spec: &istio::WorkloadEntrySpec) -> Labels {
    let mut labels = spec.labels.clone();
    labels.extend(object.meta.labels.clone());
    labels
}
