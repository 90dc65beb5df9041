//! The [PROXY protocol] header that a connection to an endpoint begins with, before TLS.
//!
//! [PROXY protocol]: https://www.haproxy.org/download/3.0/doc/proxy-protocol.txt

use gwanmun_ir::ProxyProtocolVersion;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};

/// What a header of version 2 begins with.
const SIGNATURE: [u8; 12] = *b"\r\n\r\n\0\r\nQUIT\n";
/// Version 2, a connection of ourselves: no addresses follow.
const LOCAL: u8 = 0x20;
/// Version 2, a connection for somebody else.
const PROXY: u8 = 0x21;
/// TCP over IPv4, 12 bytes of addresses.
const TCP4: [u8; 3] = [0x11, 0, 12];
/// TCP over IPv6, 36 bytes of addresses.
const TCP6: [u8; 3] = [0x21, 0, 36];

/// The two ends of a client's connection.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(crate) struct ProxiedAddresses {
    /// The client's.
    pub(crate) client: SocketAddr,
    /// The one it asked for: ours.
    pub(crate) local: SocketAddr,
}

/// The header for a client's connection; for none, the one that says so.
pub(super) fn encode(
    version: ProxyProtocolVersion,
    addresses: Option<&ProxiedAddresses>,
) -> Vec<u8> {
    match version {
        ProxyProtocolVersion::V1 => v1(addresses),
        ProxyProtocolVersion::V2 => v2(addresses),
    }
}

fn v1(addresses: Option<&ProxiedAddresses>) -> Vec<u8> {
    let Some(addresses) = addresses else {
        return b"PROXY UNKNOWN\r\n".to_vec();
    };
    let (from, to) = (addresses.client.port(), addresses.local.port());
    match of_one_family(addresses) {
        Family::V4(client, local) => {
            format!("PROXY TCP4 {client} {local} {from} {to}\r\n").into_bytes()
        }
        Family::V6(client, local) => {
            format!("PROXY TCP6 {client} {local} {from} {to}\r\n").into_bytes()
        }
    }
}

fn v2(addresses: Option<&ProxiedAddresses>) -> Vec<u8> {
    let mut header = SIGNATURE.to_vec();
    let Some(addresses) = addresses else {
        header.extend([LOCAL, 0, 0, 0]);
        return header;
    };
    header.push(PROXY);
    match of_one_family(addresses) {
        Family::V4(client, local) => {
            header.extend(TCP4);
            header.extend(client.octets());
            header.extend(local.octets());
        }
        Family::V6(client, local) => {
            header.extend(TCP6);
            header.extend(client.octets());
            header.extend(local.octets());
        }
    }
    header.extend(addresses.client.port().to_be_bytes());
    header.extend(addresses.local.port().to_be_bytes());
    header
}

enum Family {
    V4(std::net::Ipv4Addr, std::net::Ipv4Addr),
    V6(Ipv6Addr, Ipv6Addr),
}

/// A header has two addresses of one family. A socket for both families shows IPv4 clients as
/// IPv6 addresses; they are what they are on the wire.
fn of_one_family(addresses: &ProxiedAddresses) -> Family {
    let client = addresses.client.ip().to_canonical();
    let local = addresses.local.ip().to_canonical();
    match (client, local) {
        (IpAddr::V4(client), IpAddr::V4(local)) => Family::V4(client, local),
        (client, local) => Family::V6(as_v6(client), as_v6(local)),
    }
}

fn as_v6(address: IpAddr) -> Ipv6Addr {
    match address {
        IpAddr::V4(v4) => v4.to_ipv6_mapped(),
        IpAddr::V6(v6) => v6,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair(client: &str, local: &str) -> ProxiedAddresses {
        ProxiedAddresses {
            client: client.parse().unwrap(),
            local: local.parse().unwrap(),
        }
    }

    #[test]
    fn version_1_is_a_line_of_text() {
        for (client, local, line) in [
            (
                "192.0.2.1:1234",
                "198.51.100.2:443",
                "TCP4 192.0.2.1 198.51.100.2 1234 443",
            ),
            (
                "[::ffff:192.0.2.1]:1",
                "[::ffff:198.51.100.2]:2",
                "TCP4 192.0.2.1 198.51.100.2 1 2",
            ),
            (
                "[2001:db8::1]:1",
                "[2001:db8::2]:2",
                "TCP6 2001:db8::1 2001:db8::2 1 2",
            ),
            (
                "192.0.2.1:1",
                "[2001:db8::2]:2",
                "TCP6 ::ffff:192.0.2.1 2001:db8::2 1 2",
            ),
        ] {
            let header = encode(ProxyProtocolVersion::V1, Some(&pair(client, local)));
            assert_eq!(
                String::from_utf8(header).unwrap(),
                format!("PROXY {line}\r\n")
            );
        }
        assert_eq!(encode(ProxyProtocolVersion::V1, None), b"PROXY UNKNOWN\r\n");
    }

    #[test]
    fn version_2_is_binary() {
        let addresses = pair("192.0.2.1:258", "198.51.100.2:443");
        let header = encode(ProxyProtocolVersion::V2, Some(&addresses));
        let (signature, rest) = header.split_at(12);
        assert_eq!(signature, SIGNATURE);
        assert_eq!(
            rest,
            [
                0x21, 0x11, 0, 12, 192, 0, 2, 1, 198, 51, 100, 2, 1, 2, 1, 187
            ]
        );
        let addresses = pair("[2001:db8::1]:1", "[2001:db8::2]:2");
        let header = encode(ProxyProtocolVersion::V2, Some(&addresses));
        assert_eq!(header.len(), 16 + 36);
        assert_eq!(header.get(12..16), Some(&[0x21, 0x21, 0, 36][..]));
        let header = encode(ProxyProtocolVersion::V2, None);
        assert_eq!(header.get(12..), Some(&[0x20, 0, 0, 0][..]));
    }
}
