//! Which connections begin with a PROXY protocol header: those of every peer where the mesh
//! configuration says so, or those of the peers that a Gateway of either API trusts.

use crate::{Code, Finding, Options, Severity, Store, istio::mesh::Mesh, output::Sink};
use gwanmun_api::Object;
use gwanmun_ir::ProxyProtocol;
use ipnet::IpNet;
use std::net::IpAddr;

/// The annotation of a Gateway that names the trusted peers of its ports.
const FROM: &str = "gwanmun.io/proxy-protocol-from";

/// What the TCP listeners of a Gateway of either API expect; mistakes in its annotation are
/// reported.
pub(crate) fn of_gateway(
    store: &Store,
    options: &Options,
    gateway: &Object,
    sink: &mut Sink,
) -> Option<ProxyProtocol> {
    let everyone = Mesh::read(store, options, sink)
        .expects_proxy_protocol()
        .then(ProxyProtocol::default);
    let Some(text) = gateway.meta.annotations.get(FROM) else {
        return everyone;
    };
    let mut trusted: Vec<IpNet> = Vec::new();
    for entry in text.split(',').map(str::trim) {
        match network(entry) {
            Some(network) if trusted.contains(&network) => {}
            Some(network) => trusted.push(network),
            None => {
                let message = format!("`{entry}` is not a CIDR such as 10.0.0.0/8, and ignored");
                let field = format!("metadata.annotations[{FROM}]");
                let (severity, code) = (Severity::Error, Code::InvalidValue);
                sink.finding(Finding::new(severity, code, gateway, field, message));
            }
        }
    }
    trusted.sort();
    if trusted.is_empty() {
        return everyone;
    }
    Some(ProxyProtocol { trusted })
}

fn network(text: &str) -> Option<IpNet> {
    let network = text.parse::<IpNet>().ok();
    let network = network.or_else(|| text.parse::<IpAddr>().ok().map(IpNet::from));
    network.map(|network| network.trunc())
}

/// What a listener expects on which two Gateways agree, or which one alone has an opinion about.
/// Named peers are narrower than every peer, and win.
pub(crate) fn merged(
    both: (Option<ProxyProtocol>, Option<ProxyProtocol>),
) -> Option<ProxyProtocol> {
    let (mut one, other) = match both {
        (Some(one), Some(other)) => (one, other),
        (one, other) => return one.or(other),
    };
    one.trusted.extend(other.trusted);
    one.trusted.sort();
    one.trusted.dedup();
    Some(one)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gateways_on_one_listener_add_to_each_other() {
        let from = |networks: &[&str]| {
            let trusted = networks.iter().map(|text| network(text).unwrap());
            Some(ProxyProtocol {
                trusted: trusted.collect(),
            })
        };
        for (one, other, expected) in [
            (None, None, None),
            (from(&["10.1.0.0/8"]), None, from(&["10.0.0.0/8"])),
            (None, from(&[]), from(&[])),
            (from(&[]), from(&["::1"]), from(&["::1/128"])),
            (
                from(&["192.0.2.1"]),
                from(&["10.0.0.0/8", "192.0.2.1"]),
                from(&["10.0.0.0/8", "192.0.2.1/32"]),
            ),
        ] {
            assert_eq!(merged((one, other)), expected);
        }
    }
}
