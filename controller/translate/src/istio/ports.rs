//! The port that is bound for a Gateway's port: the target port of the gateway's own Service.

use super::{visibility, world::World};
use crate::Ref;
use gwanmun_api::{IntOrString, core, core::Service};

/// The label of Services that are not looked at.
const OPT_OUT: &str = "experimental.istio.io/disable-gateway-port-translation";

/// What to bind for a Gateway's port.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Bound {
    pub(super) port: u16,
    /// What is wrong with the Services of this workload, if anything.
    pub(super) problem: Option<String>,
}

/// The Services of this workload, oldest first. None when its labels are not known.
pub(super) fn services<'a>(world: &World<'a>) -> Vec<Ref<'a, Service>> {
    let labels = &world.options.labels;
    if labels.is_empty() {
        return Vec::new();
    }
    let mut services = world.store.by_age::<Service>();
    services.retain(|service| {
        let selector = &service.content.spec.selector;
        !selector.is_empty()
            && visibility::subset(selector, labels)
            && !service.object.meta.labels.contains_key(OPT_OUT)
    });
    // A workload's Services are in its namespace; others are looked at last.
    services.sort_by_key(|service| service.namespace() != world.options.namespace);
    services
}

/// What to bind for `port` of a Gateway: the first target port among the Services', or the port.
pub(super) fn bound(world: &World<'_>, services: &[Ref<'_, Service>], port: u16) -> Bound {
    let found = services.iter().find_map(|service| {
        let mut ports = service.content.spec.ports.iter();
        let entry = ports.find(|entry| entry.port == port && is_tcp(entry))?;
        Some((service, entry))
    });
    let Some((service, entry)) = found else {
        return Bound {
            port,
            problem: (!services.is_empty()).then(|| {
                format!(
                    "no Service of this gateway has port {port}, so it is not reachable through one"
                )
            }),
        };
    };
    let target = match &entry.target_port {
        None => Some(entry.port),
        Some(IntOrString::Int(number)) => u16::try_from(*number).ok().filter(|number| *number > 0),
        Some(IntOrString::String(_)) => named(world, service, entry),
    };
    let problem = target.is_none().then(|| {
        let service = service.key();
        format!("the target port that {service} names is not known, so {port} is bound")
    });
    Bound {
        port: target.unwrap_or(port),
        problem,
    }
}

fn is_tcp(port: &core::ServicePort) -> bool {
    port.protocol.is_empty() || port.protocol == "TCP"
}

/// A target port by name is what the Service's EndpointSlices say.
fn named(world: &World<'_>, service: &Ref<'_, Service>, port: &core::ServicePort) -> Option<u16> {
    let mut slices = world
        .store
        .endpoint_slices(service.namespace(), service.name());
    slices.find_map(|slice| {
        let mut ports = slice.content.ports.iter();
        ports.find(|entry| entry.name == port.name)?.port
    })
}
