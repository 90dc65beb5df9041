//! The [PROXY protocol] header that a trusted peer begins its connections with.
//!
//! Versions 1 and 2. Nothing after the header is read: whoever comes next finds the connection as
//! its client began it. Strict: a header that is malformed, truncated, of another version or
//! command, too long or missing ends the connection.
//!
//! [PROXY protocol]: https://www.haproxy.org/download/3.0/doc/proxy-protocol.txt

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
};
use tokio::net::TcpStream;

/// What version 2 begins with.
const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";
/// What version 1 begins with.
const TEXT: &[u8] = b"PROXY ";
/// Longest header of version 1, line end included.
const LONGEST_TEXT: usize = 107;
/// Longest header of version 2 that is read, TLVs included. The format has room for more, which
/// nobody needs.
const LONGEST_BINARY: usize = 16 + 4096;
/// Signature, version and command, family, length.
const BINARY_START: usize = 16;

/// The ends of a proxied connection: the client, and the address it asked for.
pub(crate) type Announced = (SocketAddr, SocketAddr);

/// Reads the header. Nothing announced: the peer speaks for itself (a health check of the proxy's
/// own, or a connection it knows nothing about). The caller sets the deadline.
///
/// # Errors
///
/// The connection's, and [`io::ErrorKind::InvalidData`] when there is no valid header.
pub(super) async fn read(stream: &TcpStream) -> io::Result<Option<Announced>> {
    let mut header = Vec::new();
    loop {
        let missing = match parse(&header) {
            Ok(Parsed::Complete(announced)) => return Ok(announced),
            Ok(Parsed::Missing(missing)) => missing,
            Err(reason) => return Err(io::Error::new(io::ErrorKind::InvalidData, reason)),
        };
        // Peeked at first: how long a line is only its end tells.
        let mut ahead = vec![0; missing];
        let seen = stream.peek(&mut ahead).await?;
        if seen == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        ahead.truncate(seen);
        let line = header.first().or(ahead.first()) == TEXT.first();
        if let Some(end) = ahead.iter().position(|byte| *byte == b'\n')
            && line
        {
            ahead.truncate(end + 1);
        }
        let taken = stream.try_read(&mut ahead)?;
        header.extend_from_slice(ahead.get(..taken).unwrap_or_default());
    }
}

/// What is known after some bytes.
#[derive(Debug, Eq, PartialEq)]
pub(crate) enum Parsed {
    /// The header is complete.
    Complete(Option<Announced>),
    /// At most this many more bytes belong to it; never 0.
    Missing(usize),
}

/// Looks at a header, complete or not.
///
/// # Errors
///
/// Why this is not the beginning of a header.
pub(crate) fn parse(header: &[u8]) -> Result<Parsed, &'static str> {
    let prefix_of = |whole: &[u8]| {
        let length = header.len().min(whole.len());
        header.get(..length) == whole.get(..length)
    };
    if header.is_empty() {
        // The shorter of both beginnings.
        Ok(Parsed::Missing(TEXT.len()))
    } else if prefix_of(SIGNATURE) {
        binary(header)
    } else if prefix_of(TEXT) {
        text(header)
    } else {
        Err("there is no PROXY header")
    }
}

fn text(header: &[u8]) -> Result<Parsed, &'static str> {
    const MALFORMED: &str = "the PROXY line is malformed";
    let Some(line) = header.strip_suffix(b"\n") else {
        return match LONGEST_TEXT.checked_sub(header.len()) {
            None | Some(0) => Err("the PROXY line is too long"),
            Some(missing) => Ok(Parsed::Missing(missing)),
        };
    };
    let line = line.strip_suffix(b"\r").ok_or(MALFORMED)?;
    let line = std::str::from_utf8(line).map_err(|_error| MALFORMED)?;
    let line = line.strip_prefix("PROXY ").ok_or(MALFORMED)?;
    let (family, rest) = line.split_once(' ').unwrap_or((line, ""));
    let announced = match family {
        // The rest of the line is to be ignored.
        "UNKNOWN" => None,
        "TCP4" => Some(ends::<Ipv4Addr>(rest).ok_or(MALFORMED)?),
        "TCP6" => Some(ends::<Ipv6Addr>(rest).ok_or(MALFORMED)?),
        _ => return Err(MALFORMED),
    };
    Ok(Parsed::Complete(announced))
}

/// Two addresses and two ports, one blank between each.
fn ends<A: std::str::FromStr + Into<IpAddr>>(text: &str) -> Option<Announced> {
    let mut words = text.split(' ');
    let mut address = || Some(words.next()?.parse::<A>().ok()?.into());
    let (from, to): (IpAddr, IpAddr) = (address()?, address()?);
    let mut port = || {
        let word = words.next()?;
        let plain = word.bytes().all(|byte| byte.is_ascii_digit());
        let canonical = word == "0" || !word.starts_with('0');
        (plain && canonical).then(|| word.parse::<u16>().ok())?
    };
    let (from_port, to_port) = (port()?, port()?);
    let ends = (end_of(from, from_port), end_of(to, to_port));
    words.next().is_none().then_some(ends)
}

/// An IPv4 address in IPv6 clothes is one.
fn end_of(ip: IpAddr, port: u16) -> SocketAddr {
    SocketAddr::new(ip.to_canonical(), port)
}

fn binary(header: &[u8]) -> Result<Parsed, &'static str> {
    let Some((start, rest)) = header.split_first_chunk::<BINARY_START>() else {
        return Ok(Parsed::Missing(BINARY_START - header.len()));
    };
    let [.., command, family, high, low] = *start;
    let length = usize::from(u16::from_be_bytes([high, low]));
    if command >> 4 != 2 {
        return Err("the PROXY header is of another version");
    }
    if BINARY_START + length > LONGEST_BINARY {
        return Err("the PROXY header is too long");
    }
    if let Some(missing) = length.checked_sub(rest.len())
        && missing > 0
    {
        return Ok(Parsed::Missing(missing));
    }
    let announced = match (command & 0xf, family) {
        // Its own connection: addresses, if any, are to be ignored.
        (0, _) => None,
        (1, 0x11) => Some(pair::<4, 12>(rest).ok_or("the PROXY header is truncated")?),
        (1, 0x21) => Some(pair::<16, 36>(rest).ok_or("the PROXY header is truncated")?),
        // Unspecified, or a Unix socket.
        (1, 0x00 | 0x31) => None,
        (1, _) => return Err("the PROXY header is not about a stream"),
        _ => return Err("the PROXY header has an unknown command"),
    };
    Ok(Parsed::Complete(announced))
}

/// Two addresses of `N` bytes and two ports, `ALL` bytes together; what follows are TLVs.
fn pair<const N: usize, const ALL: usize>(bytes: &[u8]) -> Option<Announced>
where
    [u8; N]: Into<IpAddr>,
{
    let bytes = bytes.get(..ALL)?;
    let (from, rest) = bytes.split_first_chunk::<N>()?;
    let (to, rest) = rest.split_first_chunk::<N>()?;
    let [a, b, c, d] = *rest.first_chunk::<4>()?;
    Some((
        end_of((*from).into(), u16::from_be_bytes([a, b])),
        end_of((*to).into(), u16::from_be_bytes([c, d])),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn announced(client: &str, local: &str) -> Result<Parsed, &'static str> {
        let ends = (client.parse().unwrap(), local.parse().unwrap());
        Ok(Parsed::Complete(Some(ends)))
    }

    const NOBODY: Result<Parsed, &str> = Ok(Parsed::Complete(None));

    fn v2(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
        let length = u16::try_from(rest.len()).unwrap().to_be_bytes();
        [&SIGNATURE[..], &[command, family], &length, rest].concat()
    }

    #[test]
    fn lines_of_version_1_are_read() {
        assert_eq!(
            parse(b"PROXY TCP4 192.0.2.1 198.51.100.2 56324 443\r\n"),
            announced("192.0.2.1:56324", "198.51.100.2:443")
        );
        assert_eq!(
            parse(b"PROXY TCP6 2001:db8::1 2001:db8::2 1 65535\r\n"),
            announced("[2001:db8::1]:1", "[2001:db8::2]:65535")
        );
        assert_eq!(parse(b"PROXY UNKNOWN\r\n"), NOBODY);
        assert_eq!(parse(b"PROXY UNKNOWN ff::1 anything 0 x\r\n"), NOBODY);
    }

    #[test]
    fn lines_that_are_not_exactly_right_are_refused() {
        let long = format!("PROXY UNKNOWN {}", "x".repeat(100));
        for line in [
            "PROXY TCP4 192.0.2.1 198.51.100.2 56324 443\n",
            "PROXY TCP4 192.0.2.1 198.51.100.2 56324\r\n",
            "PROXY TCP4 192.0.2.1 198.51.100.2 56324 443 \r\n",
            "PROXY TCP4 192.0.2.1  198.51.100.2 56324 443\r\n",
            "PROXY TCP4 192.0.2.1 198.51.100.2 056324 443\r\n",
            "PROXY TCP4 192.0.2.1 198.51.100.2 +5 443\r\n",
            "PROXY TCP4 192.0.2.1 198.51.100.2 65536 443\r\n",
            "PROXY TCP4 192.0.2.256 198.51.100.2 1 443\r\n",
            "PROXY TCP4 2001:db8::1 2001:db8::2 1 2\r\n",
            "PROXY TCP6 192.0.2.1 198.51.100.2 1 2\r\n",
            "PROXY TCP5 192.0.2.1 198.51.100.2 1 2\r\n",
            "PROXY \r\n",
            "PROXY\r\n",
            "proxy TCP4 192.0.2.1 198.51.100.2 1 2\r\n",
            "GET / HTTP/1.1\r\n",
            long.as_str(),
        ] {
            assert!(parse(line.as_bytes()).is_err(), "{line}");
        }
    }

    #[test]
    fn headers_of_version_2_are_read_and_their_tlvs_skipped() {
        let v4 = [192, 0, 2, 1, 198, 51, 100, 2, 0xdc, 4, 1, 0xbb];
        let expected = announced("192.0.2.1:56324", "198.51.100.2:443");
        assert_eq!(parse(&v2(0x21, 0x11, &v4)), expected);
        let with_tlvs = [&v4[..], &[4, 0, 3, 1, 2, 3], &[0x20; 300]].concat();
        assert_eq!(parse(&v2(0x21, 0x11, &with_tlvs)), expected);
        let mapped: Ipv6Addr = "::ffff:192.0.2.1".parse().unwrap();
        let two: Ipv6Addr = "2001:db8::2".parse().unwrap();
        let v6 = [&mapped.octets()[..], &two.octets(), &[0, 1, 0, 2]].concat();
        assert_eq!(
            parse(&v2(0x21, 0x21, &v6)),
            announced("192.0.2.1:1", "[2001:db8::2]:2")
        );
        // LOCAL, whatever it says; unspecified; a Unix socket.
        assert_eq!(parse(&v2(0x20, 0x11, &v4)), NOBODY);
        assert_eq!(parse(&v2(0x20, 0, &[])), NOBODY);
        assert_eq!(parse(&v2(0x21, 0, &[9; 20])), NOBODY);
        assert_eq!(parse(&v2(0x21, 0x31, &[0; 216])), NOBODY);
    }

    #[test]
    fn headers_of_version_2_that_are_not_exactly_right_are_refused() {
        let v4 = [0; 12];
        for header in [
            v2(0x11, 0x11, &v4),
            v2(0x31, 0x11, &v4),
            v2(0x22, 0x11, &v4),
            v2(0x21, 0x12, &v4),
            v2(0x21, 0x41, &v4),
            v2(0x21, 0x11, &[0; 11]),
            v2(0x21, 0x21, &[0; 35]),
            v2(0x21, 0x11, &[0; 4097]),
            v2(0x20, 0, &[0; 65535]),
        ] {
            let head = &header[..16];
            assert!(parse(&header).is_err(), "{head:?}");
        }
        let mut wrong = v2(0x21, 0x11, &v4);
        wrong[11] = b'\r';
        assert!(parse(&wrong).is_err());
    }

    proptest! {
        #[test]
        fn a_cut_header_wants_more_and_never_more_than_there_is(
            tlvs in proptest::collection::vec(any::<u8>(), 0..100),
            cut in 0_usize..130,
        ) {
            let whole = v2(0x21, 0x11, &[&[1; 12][..], &tlvs].concat());
            if cut < whole.len() {
                let Ok(Parsed::Missing(missing)) = parse(&whole[..cut]) else {
                    panic!("{cut}");
                };
                prop_assert!(missing > 0 && cut + missing <= whole.len());
            }
            let line = b"PROXY TCP4 192.0.2.1 198.51.100.2 56324 443\r\n";
            if cut < line.len() {
                let parsed = parse(&line[..cut]);
                prop_assert!(matches!(parsed, Ok(Parsed::Missing(1..))), "{parsed:?}");
            }
        }

        #[test]
        fn any_bytes_are_survived(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = parse(&bytes);
            let _ = parse(&[&SIGNATURE[..], &bytes].concat());
            let _ = parse(&[TEXT, &bytes].concat());
        }
    }
}
