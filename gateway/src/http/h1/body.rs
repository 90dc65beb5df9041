//! Bodies of HTTP/1 messages.

use super::split::mixes_line_ends;
use crate::http::error::BodyError;
use crate::http::fields::Fields;
use crate::http::head::BodyFraming;
use crate::http::known::Known;
use bytes::{Buf, Bytes, BytesMut};
use http::{HeaderMap, HeaderName};
use httparse::Status;

/// Longest chunk size line, extensions included.
const MAX_CHUNK_LINE: usize = 256;
/// Bytes of chunk extensions a body may have altogether.
const MAX_EXTENSIONS: usize = 16 * 1024;
/// Bytes of a trailer section.
const MAX_TRAILERS: usize = 16 * 1024;
/// Fields of a trailer section.
const MAX_TRAILER_FIELDS: usize = 64;

/// What the next bytes of a body are.
#[derive(Debug)]
pub(crate) enum BodyEvent {
    /// A piece of the body, never empty.
    Data(Bytes),
    /// The body has ended.
    End(Option<Trailers>),
}

/// Fields after a body, without those that must not be there.
#[derive(Clone, Debug)]
pub(crate) struct Trailers {
    source: Source,
}

/// As they came: most are passed on in the protocol they came in.
#[derive(Clone, Debug)]
enum Source {
    Lines(Fields),
    Map(HeaderMap),
}

impl Trailers {
    /// Those of HTTP/1.
    fn of_lines(mut fields: Fields) -> Self {
        fields.remove_where(is_forbidden);
        for name in FORBIDDEN {
            fields.remove(name);
        }
        let source = Source::Lines(fields);
        Self { source }
    }

    /// Those of HTTP/2.
    pub(in crate::http) fn of_map(mut map: HeaderMap) -> Self {
        let forbidden = |name: &HeaderName| {
            is_forbidden(Known::classify(name.as_str().as_bytes()))
                || FORBIDDEN.contains(&name.as_str())
        };
        while let Some(name) = map.keys().find(|name| forbidden(name)).cloned() {
            map.remove(name);
        }
        let source = Source::Map(map);
        Self { source }
    }

    /// Whether there are none.
    fn is_empty(&self) -> bool {
        match &self.source {
            Source::Lines(fields) => fields.len() == 0,
            Source::Map(map) => map.is_empty(),
        }
    }

    /// Appends them as lines of HTTP/1.
    pub(super) fn write_lines(&self, out: &mut Vec<u8>) {
        match &self.source {
            Source::Lines(fields) => fields.write_lines(out),
            Source::Map(map) => {
                for (name, value) in map {
                    out.extend_from_slice(name.as_str().as_bytes());
                    out.extend_from_slice(b": ");
                    out.extend_from_slice(value.as_bytes());
                    out.extend_from_slice(b"\r\n");
                }
            }
        }
    }

    /// As a map; `lines` makes one of what came as lines.
    pub(in crate::http) fn into_map(self, lines: impl FnOnce(Fields) -> HeaderMap) -> HeaderMap {
        match self.source {
            Source::Lines(fields) => lines(fields),
            Source::Map(map) => map,
        }
    }

    /// `grpc-status`, if it is a number.
    pub(crate) fn grpc_status(&self) -> Option<u32> {
        let value = match &self.source {
            Source::Lines(fields) => fields.get(Known::GrpcStatus)?,
            Source::Map(map) => map.get(Known::GrpcStatus.header_name()?)?.as_bytes(),
        };
        std::str::from_utf8(value).ok()?.parse().ok()
    }
}

/// Fields that say where a message ends, whom it is for or who sent it have no place in trailers
/// ([RFC 9110 6.5.1](https://www.rfc-editor.org/rfc/rfc9110#section-6.5.1)).
fn is_forbidden(known: Known) -> bool {
    known.is_envoy()
        || matches!(
            known,
            Known::Authorization
                | Known::Connection
                | Known::ContentLength
                | Known::ContentType
                | Known::Cookie
                | Known::Expect
                | Known::Host
                | Known::Http2Settings
                | Known::KeepAlive
                | Known::Location
                | Known::ProxyConnection
                | Known::SetCookie
                | Known::Te
                | Known::Trailer
                | Known::TransferEncoding
                | Known::Upgrade
                | Known::XForwardedClientCert
                | Known::XForwardedFor
                | Known::XForwardedProto
                | Known::XRequestId
        )
}

/// As [`is_forbidden`], for names without a number.
const FORBIDDEN: [&str; 10] = [
    "age",
    "cache-control",
    "content-encoding",
    "content-range",
    "max-forwards",
    "proxy-authenticate",
    "proxy-authorization",
    "range",
    "vary",
    "www-authenticate",
];

/// Decodes the body of one message.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BodyDecoder {
    state: State,
    extensions: usize,
    seen: usize,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum State {
    /// This many bytes are left.
    Length(u64),
    /// A chunk size line comes next.
    Size,
    /// This many bytes of a chunk are left, never 0.
    Chunk(u64),
    /// The line end after a chunk comes next.
    ChunkEnd,
    /// The trailer section comes next.
    Trailers,
    /// Everything up to the end of the connection.
    UntilClose,
    /// The end was reached and told.
    Done,
}

impl BodyDecoder {
    /// A decoder for a body that ends like this.
    pub(crate) fn new(framing: BodyFraming) -> Self {
        Self {
            state: match framing {
                BodyFraming::None => State::Length(0),
                BodyFraming::Length(length) => State::Length(length),
                BodyFraming::Chunked => State::Size,
                BodyFraming::UntilClose => State::UntilClose,
            },
            extensions: 0,
            seen: 0,
        }
    }

    /// Whether the end was told.
    pub(crate) fn is_done(&self) -> bool {
        self.state == State::Done
    }

    /// How many bytes of the buffer may be taken as data at once: what is left of the body or
    /// chunk. Lets an engine read large bodies straight into their destination.
    pub(crate) fn remaining(&self) -> Option<u64> {
        match self.state {
            State::Length(left) | State::Chunk(left) => Some(left),
            State::UntilClose => Some(u64::MAX),
            State::Size | State::ChunkEnd | State::Trailers | State::Done => None,
        }
    }

    /// Takes the next piece off the buffer; nothing while there is not enough of it. After
    /// [`BodyEvent::End`] the buffer holds what follows the message.
    ///
    /// # Errors
    /// The framing is broken; the connection is of no use any more.
    pub(crate) fn decode(&mut self, buffer: &mut BytesMut) -> Result<Option<BodyEvent>, BodyError> {
        loop {
            match self.state {
                State::Done => return Ok(None),
                State::Length(0) => return Ok(Some(self.end(None))),
                State::Length(left) => {
                    let data = take(buffer, left);
                    self.state = State::Length(left.saturating_sub(length(&data)));
                    return Ok(event(data));
                }
                State::UntilClose => {
                    let data = take(buffer, u64::MAX);
                    return Ok(event(data));
                }
                State::Chunk(left) => {
                    let data = take(buffer, left);
                    self.state = match left.saturating_sub(length(&data)) {
                        0 => State::ChunkEnd,
                        left => State::Chunk(left),
                    };
                    return Ok(event(data));
                }
                State::ChunkEnd => {
                    if !chunk_end(buffer)? {
                        return Ok(None);
                    }
                    self.state = State::Size;
                }
                State::Size => match self.size(buffer)? {
                    None => return Ok(None),
                    Some(0) => self.state = State::Trailers,
                    Some(size) => self.state = State::Chunk(size),
                },
                State::Trailers => {
                    return match self.trailers(buffer)? {
                        None => Ok(None),
                        Some(trailers) => Ok(Some(self.end(trailers))),
                    };
                }
            }
        }
    }

    /// The connection has ended. Call it when [`Self::decode`] has nothing more to take.
    ///
    /// # Errors
    /// The body was to go on.
    pub(crate) fn finish(&mut self) -> Result<Option<BodyEvent>, BodyError> {
        match self.state {
            State::Done => Ok(None),
            State::UntilClose | State::Length(0) => Ok(Some(self.end(None))),
            State::Length(_)
            | State::Size
            | State::Chunk(_)
            | State::ChunkEnd
            | State::Trailers => Err(BodyError::Truncated),
        }
    }

    fn end(&mut self, trailers: Option<Trailers>) -> BodyEvent {
        self.state = State::Done;
        BodyEvent::End(trailers)
    }

    /// Reads a chunk size line: hex digits, extensions, CRLF.
    fn size(&mut self, buffer: &mut BytesMut) -> Result<Option<u64>, BodyError> {
        let mut size = 0_u64;
        let mut digits = 0_usize;
        for b in buffer.iter().take(17) {
            let Some(digit) = char::from(*b).to_digit(16) else {
                break;
            };
            size = size.wrapping_shl(4) | u64::from(digit);
            digits = digits.saturating_add(1);
        }
        if digits > 16 || (digits == 0 && !buffer.is_empty()) {
            return Err(BodyError::Chunk);
        }
        let rest = buffer.get(digits..).unwrap_or_default();
        let extension = match rest {
            [] | [b'\r'] => return Ok(None),
            [b'\r', b'\n', ..] => 0,
            [b';', ..] => match extension(rest)? {
                None => return Ok(None),
                Some(len) => len,
            },
            _ => return Err(BodyError::Chunk),
        };
        self.extensions = self.extensions.saturating_add(extension);
        if self.extensions > MAX_EXTENSIONS {
            return Err(BodyError::Extensions);
        }
        buffer.advance(digits.saturating_add(extension).saturating_add(2));
        Ok(Some(size))
    }

    /// Reads the trailer section and its final CRLF.
    fn trailers(&mut self, buffer: &mut BytesMut) -> Result<Option<Option<Trailers>>, BodyError> {
        match buffer.get(..2) {
            None if buffer.first().is_none_or(|b| *b == b'\r') => return Ok(None),
            Some(b"\r\n") => {
                buffer.advance(2);
                return Ok(Some(None));
            }
            _ => {}
        }
        // The end can only be where new bytes are, or begin just before them.
        let from = self.seen.saturating_sub(3);
        self.seen = buffer.len();
        let Some(end) = buffer
            .get(from..)
            .and_then(|new| memchr::memmem::find(new, b"\r\n\r\n"))
        else {
            return if buffer.len() > MAX_TRAILERS {
                Err(BodyError::TrailersTooLarge)
            } else {
                Ok(None)
            };
        };
        let end = from.saturating_add(end).saturating_add(4);
        if end > MAX_TRAILERS {
            return Err(BodyError::TrailersTooLarge);
        }
        let mut slots = [httparse::EMPTY_HEADER; MAX_TRAILER_FIELDS];
        let section = buffer.get(..end).unwrap_or_default();
        if mixes_line_ends(section) {
            return Err(BodyError::Trailers);
        }
        let parts = match httparse::parse_headers(section, &mut slots) {
            Ok(Status::Complete((len, fields))) if len == end => {
                super::split::Parts::of(section, fields, end)
            }
            Err(httparse::Error::TooManyHeaders) => return Err(BodyError::TrailersTooLarge),
            Ok(_) | Err(_) => return Err(BodyError::Trailers),
        };
        let trailers = Trailers::of_lines(parts.take(buffer, end));
        Ok(Some((!trailers.is_empty()).then_some(trailers)))
    }
}

fn length(data: &Bytes) -> u64 {
    u64::try_from(data.len()).unwrap_or(u64::MAX)
}

fn take(buffer: &mut BytesMut, most: u64) -> Bytes {
    let len = usize::try_from(most).map_or(buffer.len(), |most| most.min(buffer.len()));
    buffer.split_to(len).freeze()
}

fn event(data: Bytes) -> Option<BodyEvent> {
    (!data.is_empty()).then_some(BodyEvent::Data(data))
}

/// Takes the CRLF after a chunk; false while it is incomplete.
fn chunk_end(buffer: &mut BytesMut) -> Result<bool, BodyError> {
    match buffer.get(..buffer.len().min(2)).unwrap_or_default() {
        [b'\r', b'\n'] => {
            buffer.advance(2);
            Ok(true)
        }
        [] | [b'\r'] => Ok(false),
        _ => Err(BodyError::Chunk),
    }
}

/// Length of the extensions up to their CRLF, which may stand nowhere else.
fn extension(text: &[u8]) -> Result<Option<usize>, BodyError> {
    let end = text
        .iter()
        .position(|b| *b != b'\t' && (*b < b' ' || *b == 0x7f));
    let Some(end) = end else {
        return if text.len() > MAX_CHUNK_LINE {
            Err(BodyError::Extensions)
        } else {
            Ok(None)
        };
    };
    if end > MAX_CHUNK_LINE {
        return Err(BodyError::Extensions);
    }
    match text.get(end..).unwrap_or_default() {
        [b'\r'] => Ok(None),
        [b'\r', b'\n', ..] => Ok(Some(end)),
        _ => Err(BodyError::Chunk),
    }
}
