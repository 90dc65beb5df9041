//! Names, ranks and quantities that several modules must spell alike.

use gwanmun_api::Object;
use gwanmun_ir::{BindAddress, ListenerKey, Transport};

/// Host name of a Service.
pub(crate) fn service_host(name: &str, namespace: &str, cluster_domain: &str) -> String {
    format!("{name}.{namespace}.svc.{cluster_domain}")
}

/// Name and namespace of the Service a host stands for: `NAME.NAMESPACE.svc.CLUSTER_DOMAIN`.
pub(crate) fn parse_service_host<'a>(
    host: &'a str,
    cluster_domain: &str,
) -> Option<(&'a str, &'a str)> {
    let rest = host.strip_suffix(cluster_domain)?.strip_suffix(".svc.")?;
    let (name, namespace) = rest.split_once('.')?;
    (!name.is_empty() && !namespace.is_empty() && !namespace.contains('.'))
        .then_some((name, namespace))
}

/// Name of a cluster: `outbound|PORT|SUBSET|HOST`.
pub(crate) fn cluster(port: u16, subset: &str, host: &str) -> String {
    format!("outbound|{port}|{subset}|{host}")
}

/// Key of the listener of an address and port; both APIs share sockets within a
/// [scope](crate::Placement::scope). Listeners on the gateway's default address are keyed `0.0.0.0`.
pub(crate) fn listener(
    scope: &str,
    address: BindAddress,
    port: u16,
    transport: Transport,
) -> ListenerKey {
    let transport = match transport {
        Transport::Tcp => "tcp",
        Transport::Udp => "udp",
    };
    let address = match address {
        BindAddress::Any => "0.0.0.0".to_owned(),
        BindAddress::Ip(std::net::IpAddr::V4(ip)) => ip.to_string(),
        BindAddress::Ip(std::net::IpAddr::V6(ip)) => format!("[{ip}]"),
    };
    ListenerKey::new(format!("{scope}{transport}/{address}:{port}"))
}

/// The order of a filter chain among equally specific ones: oldest object first, as
/// [`Object::cmp_age`]. Padded to the width of the largest number, so that text sorts as numbers do.
pub(crate) fn rank(object: &Object) -> (i64, String) {
    let created = object.meta.created.unwrap_or(i64::MAX);
    (created, format!("{:020} {}", object.order, object.key()))
}

/// Bytes of a Kubernetes quantity in whole bytes: `1000`, `64k`, `1Mi`.
pub(crate) fn quantity_bytes(text: &str) -> Option<u64> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let factor: u64 = match unit {
        "" => 1,
        "k" => 1000,
        "M" => 1_000_000,
        "G" => 1_000_000_000,
        "T" => 1_000_000_000_000,
        "Ki" => 1 << 10,
        "Mi" => 1 << 20,
        "Gi" => 1 << 30,
        "Ti" => 1 << 40,
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_mul(factor)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_are_kubernetes_quantities() {
        for (text, bytes) in [
            ("0", Some(0)),
            ("10", Some(10)),
            ("2k", Some(2000)),
            ("1Mi", Some(1 << 20)),
            ("", None),
            ("Mi", None),
            ("1m", None),
            ("-1", None),
        ] {
            assert_eq!(quantity_bytes(text), bytes, "{text}");
        }
    }
}
