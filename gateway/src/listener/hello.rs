//! Reads a ClientHello, whatever pieces it comes in, and finds the server name in it.
//!
//! Nothing is decided here about what the client may speak: the bytes are kept as they came, for
//! the handshake or for whoever the connection is passed on to.

use bytes::BytesMut;
use std::{io, net::IpAddr, sync::Arc};
use tokio::net::TcpStream;

/// First byte of every TLS record of a handshake.
pub(super) const TLS_RECORD: u8 = 0x16;

/// Largest ClientHello, in bytes as received.
const MAX_HELLO: usize = 16 * 1024;
/// Largest content of a record ([RFC 8446, section 5.1]).
///
/// [RFC 8446, section 5.1]: https://www.rfc-editor.org/rfc/rfc8446#section-5.1
const MAX_RECORD: usize = 1 << 14;
/// Room for each read.
const READ: usize = 4096;
/// Type of the handshake message.
const CLIENT_HELLO: u8 = 1;
/// Number of the extension with server names, and the type of one that is a host name
/// ([RFC 6066, section 3](https://www.rfc-editor.org/rfc/rfc6066#section-3)).
const SERVER_NAME: u16 = 0;
const HOST_NAME: u8 = 0;

/// A ClientHello.
#[derive(Debug)]
pub(super) struct Hello {
    /// Everything that was read, what follows the ClientHello included.
    pub(super) bytes: BytesMut,
    /// The server name: lower case, without trailing dot.
    pub(super) sni: Option<Arc<str>>,
}

/// Why there is no [`Hello`].
#[derive(Debug, thiserror::Error)]
pub(super) enum HelloError {
    /// The client does not speak TLS.
    #[error("not a TLS handshake")]
    NotTls,
    /// The client speaks TLS badly. The bytes are what it said.
    #[error("{0}")]
    Malformed(&'static str, BytesMut),
    /// The ClientHello is longer than we read.
    #[error("the ClientHello is too long")]
    TooLong,
    /// The connection failed or ended.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// Reads a whole ClientHello, at most 16 KiB. The caller sets the deadline.
pub(super) async fn read(stream: &TcpStream) -> Result<Hello, HelloError> {
    // No room is held while the client is silent.
    let mut bytes = BytesMut::new();
    let mut scan = Scan::default();
    loop {
        stream.readable().await?;
        let room = MAX_HELLO.saturating_sub(bytes.len());
        bytes.reserve(room.min(READ));
        match stream.try_read_buf(&mut bytes) {
            Ok(0) => return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into()),
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => continue,
            Err(error) => return Err(error.into()),
        }
        match scan.advance(&bytes) {
            Ok(None) if bytes.len() >= MAX_HELLO => return Err(HelloError::TooLong),
            Ok(None) => {}
            Ok(Some(sni)) => {
                let sni = sni.map(Into::into);
                return Ok(Hello { bytes, sni });
            }
            Err(Refused::NotTls) => return Err(HelloError::NotTls),
            Err(Refused::Malformed(reason)) => return Err(HelloError::Malformed(reason, bytes)),
        }
    }
}

/// Why bytes are no ClientHello.
#[derive(Debug, Eq, PartialEq)]
enum Refused {
    NotTls,
    Malformed(&'static str),
}

/// The server name of a ClientHello that `bytes` begin with; nothing while more is needed.
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) fn server_name(bytes: &[u8]) -> Option<Result<Option<String>, &'static str>> {
    match Scan::default().advance(bytes) {
        Ok(found) => Some(Ok(found?)),
        Err(Refused::NotTls) => Some(Err("not TLS")),
        Err(Refused::Malformed(reason)) => Some(Err(reason)),
    }
}

/// Puts a handshake message together from records.
#[derive(Default)]
struct Scan {
    /// Where the next record begins.
    next: usize,
    /// The handshake message so far.
    message: Vec<u8>,
}

impl Scan {
    /// Goes on with all bytes received so far. The server name, once the message is complete.
    fn advance(&mut self, bytes: &[u8]) -> Result<Option<Option<String>>, Refused> {
        while let Some(content) = record(bytes.get(self.next..).unwrap_or_default())? {
            self.next += RECORD_HEADER + content.len();
            self.message.extend_from_slice(content);
            if let [kind, rest @ ..] = self.message.as_slice() {
                if *kind != CLIENT_HELLO {
                    return Err(Refused::Malformed("the first message is no ClientHello"));
                }
                let mut rest = Cursor(rest);
                if let Some(body) = rest.u24().and_then(|length| rest.take(length)) {
                    return sni(body).map(Some).map_err(Refused::Malformed);
                }
            }
        }
        Ok(None)
    }
}

/// Type, version, length.
const RECORD_HEADER: usize = 5;

/// The content of the record that `bytes` begin with; nothing while it is incomplete.
fn record(bytes: &[u8]) -> Result<Option<&[u8]>, Refused> {
    match bytes {
        [] => return Ok(None),
        [TLS_RECORD] | [TLS_RECORD, 3, ..] => {}
        [_, ..] => return Err(Refused::NotTls),
    }
    let [_, _, _, high, low, rest @ ..] = bytes else {
        return Ok(None);
    };
    let length = usize::from(u16::from_be_bytes([*high, *low]));
    if length == 0 {
        return Err(Refused::Malformed("a record is empty"));
    }
    if length > MAX_RECORD {
        return Err(Refused::Malformed("a record is too long"));
    }
    Ok(rest.get(..length))
}

/// The server name in a ClientHello's body.
fn sni(body: &[u8]) -> Result<Option<String>, &'static str> {
    const CUT: &str = "the ClientHello is cut off";
    let mut body = Cursor(body);
    // Version and random.
    body.take(2 + 32).ok_or(CUT)?;
    let session = body.u8().ok_or(CUT)?;
    body.take(session.into()).ok_or(CUT)?;
    let ciphers = body.u16().ok_or(CUT)?;
    body.take(ciphers.into()).ok_or(CUT)?;
    let compressions = body.u8().ok_or(CUT)?;
    body.take(compressions.into()).ok_or(CUT)?;
    if body.is_empty() {
        return Ok(None);
    }
    let length = body.u16().ok_or(CUT)?;
    let mut extensions = Cursor(body.take(length.into()).ok_or(CUT)?);
    if !body.is_empty() {
        return Err("something follows the extensions");
    }
    let mut found = None;
    while !extensions.is_empty() {
        let kind = extensions.u16().ok_or(CUT)?;
        let length = extensions.u16().ok_or(CUT)?;
        let content = extensions.take(length.into()).ok_or(CUT)?;
        if kind == SERVER_NAME && found.replace(content).is_some() {
            return Err("the server name is there twice");
        }
    }
    found.map_or(Ok(None), host_name)
}

/// The host name in the extension.
fn host_name(extension: &[u8]) -> Result<Option<String>, &'static str> {
    const MALFORMED: &str = "the server name is malformed";
    let mut extension = Cursor(extension);
    let length = extension.u16().ok_or(MALFORMED)?;
    let mut names = Cursor(extension.take(length.into()).ok_or(MALFORMED)?);
    let kind = names.u8().ok_or(MALFORMED)?;
    let length = names.u16().ok_or(MALFORMED)?;
    let name = names.take(length.into()).ok_or(MALFORMED)?;
    if kind != HOST_NAME || !names.is_empty() || !extension.is_empty() {
        return Err(MALFORMED);
    }
    let name = name.strip_suffix(b".").unwrap_or(name);
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    if name.iter().all(plain) && (1..=253).contains(&name.len()) {
        let name = String::from_utf8_lossy(name).to_ascii_lowercase();
        // Addresses are no server names; who sends one is served as who sends none.
        return Ok(name.parse::<IpAddr>().is_err().then_some(name));
    }
    let text = std::str::from_utf8(name).unwrap_or_default();
    match text.parse::<IpAddr>() {
        Ok(_) => Ok(None),
        Err(_) => Err(MALFORMED),
    }
}

/// Reads numbers and pieces from the front.
struct Cursor<'b>(&'b [u8]);

impl<'b> Cursor<'b> {
    fn take(&mut self, length: usize) -> Option<&'b [u8]> {
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(taken)
    }

    fn u8(&mut self) -> Option<u8> {
        self.take(1)?.first().copied()
    }

    fn u16(&mut self) -> Option<u16> {
        let bytes: [u8; 2] = self.take(2)?.try_into().ok()?;
        Some(u16::from_be_bytes(bytes))
    }

    fn u24(&mut self) -> Option<usize> {
        let [a, b, c] = self.take(3)?.try_into().ok()?;
        usize::try_from(u32::from_be_bytes([0, a, b, c])).ok()
    }

    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A ClientHello message with these extensions.
    fn message(extensions: &[(u16, Vec<u8>)]) -> Vec<u8> {
        let mut body = vec![3, 3];
        body.extend([7; 32]);
        body.extend([0, 0, 2, 0x13, 1, 1, 0]);
        let mut all = Vec::new();
        for (kind, content) in extensions {
            all.extend(kind.to_be_bytes());
            all.extend(u16::try_from(content.len()).unwrap().to_be_bytes());
            all.extend(content);
        }
        body.extend(u16::try_from(all.len()).unwrap().to_be_bytes());
        body.extend(all);
        let length = u32::try_from(body.len()).unwrap().to_be_bytes();
        [&[1][..], &length[1..], &body].concat()
    }

    fn name(kind: u8, text: &[u8]) -> Vec<u8> {
        let length = u16::try_from(text.len()).unwrap();
        let mut list = vec![kind];
        list.extend(length.to_be_bytes());
        list.extend(text);
        list
    }

    fn extension(names: &[Vec<u8>]) -> (u16, Vec<u8>) {
        let list = names.concat();
        let length = u16::try_from(list.len()).unwrap().to_be_bytes();
        (SERVER_NAME, [&length[..], &list].concat())
    }

    /// `message` in records of at most `size` bytes.
    fn records(message: &[u8], size: usize) -> Vec<u8> {
        let mut bytes = Vec::new();
        for content in message.chunks(size) {
            bytes.extend([TLS_RECORD, 3, 1]);
            bytes.extend(u16::try_from(content.len()).unwrap().to_be_bytes());
            bytes.extend(content);
        }
        bytes
    }

    fn of(extensions: &[(u16, Vec<u8>)]) -> Option<Result<Option<String>, &'static str>> {
        server_name(&records(&message(extensions), MAX_RECORD))
    }

    #[test]
    fn server_names_are_found_whatever_their_case() {
        for (sent, expected) in [
            (&b"a.example.com"[..], Some("a.example.com")),
            (b"A.Example.COM", Some("a.example.com")),
            (b"a.example.com.", Some("a.example.com")),
            (b"under_score", Some("under_score")),
            (b"192.0.2.1", None),
            (b"2001:db8::1", None),
        ] {
            let found = of(&[(10, vec![1]), extension(&[name(0, sent)]), (16, Vec::new())]);
            assert_eq!(found, Some(Ok(expected.map(str::to_owned))));
        }
        assert_eq!(of(&[(10, vec![1])]), Some(Ok(None)));
        assert_eq!(of(&[]), Some(Ok(None)));
    }

    #[test]
    fn odd_server_names_are_refused() {
        let long = [b'a'; 254];
        for names in [
            vec![extension(&[name(0, b"")])],
            vec![extension(&[name(0, b".")])],
            vec![extension(&[name(0, b"a\0b")])],
            vec![extension(&[name(0, b"a b")])],
            vec![extension(&[name(0, b"*.a")])],
            vec![extension(&[name(0, "é".as_bytes())])],
            vec![extension(&[name(0, &long)])],
            vec![extension(&[name(1, b"a")])],
            vec![extension(&[name(0, b"a"), name(0, b"b")])],
            vec![extension(&[name(0, b"a")]), extension(&[name(0, b"b")])],
            vec![(SERVER_NAME, Vec::new())],
            vec![(SERVER_NAME, vec![0, 9, 0, 0, 1, b'a'])],
        ] {
            assert!(matches!(of(&names), Some(Err(_))), "{names:?}");
        }
    }

    #[test]
    fn what_is_no_hello_is_told_from_what_is_no_tls() {
        assert_eq!(server_name(b"GET / HTTP/1.1"), Some(Err("not TLS")));
        assert_eq!(server_name(&[TLS_RECORD, 2, 0]), Some(Err("not TLS")));
        for bytes in [
            &[TLS_RECORD, 3, 1, 0, 0][..],
            &[TLS_RECORD, 3, 1, 0x40, 1],
            &[TLS_RECORD, 3, 1, 0, 1, 2],
            &[TLS_RECORD, 3, 1, 0, 4, 1, 0, 0, 0],
        ] {
            assert!(matches!(server_name(bytes), Some(Err(_))), "{bytes:?}");
        }
        // An alert in between.
        let hello = message(&[]);
        let mut bytes = records(&hello[..10], 10);
        bytes.extend([0x15, 3, 1, 0, 2, 1, 0]);
        assert_eq!(server_name(&bytes), Some(Err("not TLS")));
    }

    proptest! {
        #[test]
        fn pieces_make_no_difference(
            size in 1_usize..300,
            steps in proptest::collection::vec(1_usize..50, 1..20),
            extra in proptest::collection::vec(any::<u8>(), 0..20),
        ) {
            let hello = message(&[(21, vec![0; 200]), extension(&[name(0, b"a.test")])]);
            let bytes = records(&hello, size);
            let complete = bytes.len();
            let all = [bytes, extra].concat();
            let mut scan = Scan::default();
            let mut end = 0;
            for step in steps.iter().cycle() {
                end = (end + step).min(all.len());
                match scan.advance(&all[..end]) {
                    Ok(None) => prop_assert!(end < complete),
                    Ok(Some(found)) => {
                        prop_assert!(end >= complete);
                        prop_assert_eq!(found.as_deref(), Some("a.test"));
                        return Ok(());
                    }
                    Err(refused) => panic!("{refused:?}"),
                }
            }
        }

        #[test]
        fn any_bytes_are_survived(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let start = [TLS_RECORD, 3, 1, 0, 200, 1, 0, 0, 190];
            server_name(&bytes);
            server_name(&[&start[..], &bytes].concat());
        }
    }
}
