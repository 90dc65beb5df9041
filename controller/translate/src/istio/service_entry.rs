//! What is wrong with ServiceEntries, used or not.

use super::world::{Voice, World};
use crate::{Code, Ref, output::Sink};
use gwanmun_api::istio::{Resolution, ServiceEntry, ServiceEntrySpec};
use std::collections::BTreeMap;

/// Protocols by host and port, and who says so.
type Protocols = BTreeMap<(String, u32), (String, String)>;

/// Reports mistakes in every ServiceEntry, and entries of one host that disagree about the
/// protocol of a port (IST0177).
pub(super) fn review(world: &World<'_>, sink: &mut Sink) {
    let mut protocols = Protocols::new();
    for entry in world.store.by_age::<ServiceEntry>() {
        let mut voice = Voice {
            object: entry.object,
            sink,
        };
        match entry.content.spec.as_ref() {
            Some(spec) => {
                content(spec, &mut voice);
                conflicts(entry, spec, &mut protocols, &mut voice);
            }
            None => voice.error(
                Code::SchemaValidation,
                "spec",
                "missing, so it has no effect",
            ),
        }
    }
}

fn content(spec: &ServiceEntrySpec, voice: &mut Voice<'_, '_>) {
    let mut invalid = |field: &str, message: &str| {
        voice.error(Code::SchemaValidation, field, message);
    };
    if spec.hosts.is_empty() {
        invalid("spec.hosts", "required, so it has no effect");
    }
    for (index, host) in spec.hosts.iter().enumerate() {
        if host == "*" {
            invalid(&format!("spec.hosts[{index}]"), "must not be every host");
        }
    }
    if !spec.endpoints.is_empty() && spec.workload_selector.is_some() {
        invalid(
            "spec.workloadSelector",
            "not allowed together with endpoints",
        );
    }
    let resolution = spec.resolution.clone().unwrap_or(Resolution::None);
    match resolution {
        Resolution::None if !spec.endpoints.is_empty() => {
            invalid("spec.endpoints", "not allowed with resolution NONE");
        }
        Resolution::DnsRoundRobin if spec.endpoints.len() > 1 => {
            invalid(
                "spec.endpoints",
                "only one is allowed with resolution DNS_ROUND_ROBIN",
            );
        }
        Resolution::Unknown(text) => {
            let message = format!("`{text}` is not known");
            voice.error(Code::UnknownValue, "spec.resolution", message);
        }
        Resolution::None
        | Resolution::Static
        | Resolution::Dns
        | Resolution::DnsRoundRobin
        | Resolution::DynamicDns => {}
    }
    ports(spec, voice);
}

fn ports(spec: &ServiceEntrySpec, voice: &mut Voice<'_, '_>) {
    for (index, port) in spec.ports.iter().enumerate() {
        let field = format!("spec.ports[{index}]");
        let number = port.number.and_then(|number| u16::try_from(number).ok());
        if number.is_none_or(|number| number == 0) {
            let message = "must be 1 to 65535, so the port has no effect";
            voice.error(Code::SchemaValidation, format!("{field}.number"), message);
        }
        let mut earlier = spec.ports.iter().take(index);
        if earlier.any(|other| other.number == port.number || other.name == port.name) {
            let message = "numbers and names of ports must be unique";
            voice.error(Code::SchemaValidation, field, message);
        }
    }
}

fn conflicts(
    entry: Ref<'_, ServiceEntry>,
    spec: &ServiceEntrySpec,
    protocols: &mut Protocols,
    voice: &mut Voice<'_, '_>,
) {
    for host in &spec.hosts {
        for (index, port) in spec.ports.iter().enumerate() {
            let Some(number) = port.number else {
                continue;
            };
            let protocol = port
                .protocol
                .as_deref()
                .unwrap_or("TCP")
                .to_ascii_uppercase();
            let said = protocols
                .entry((host.clone(), number))
                .or_insert_with(|| (protocol.clone(), entry.key().to_string()));
            if said.0 != protocol {
                let (other, owner) = said;
                let message = format!("port {number} of {host} is {other} in {owner}");
                let field = format!("spec.ports[{index}].protocol");
                voice.warn(Code::ProtocolConflict, field, message);
            }
        }
    }
}
