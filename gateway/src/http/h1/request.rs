//! Heads of HTTP/1 requests.

use super::split::{
    Parts, Progress, has_token, mixes_line_ends, parse_length, place, skip_empty_lines,
};
use super::{HeadLimits, MAX_FIELDS};
use crate::http::authority;
use crate::http::error::RequestError;
use crate::http::fields::{Fields, Span};
use crate::http::head::{BodyFraming, RequestHead, TargetForm, Upgrade, Version};
use crate::http::known::Known;
use bytes::BytesMut;
use http::Method;
use httparse::{Header, Status};
use std::mem::MaybeUninit;

/// Parses the heads of one client connection.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RequestParser {
    limits: HeadLimits,
    tls: bool,
    progress: Progress,
}

/// What the request line said.
struct Line {
    method: Method,
    version: Version,
    target: (usize, usize),
    head: usize,
}

impl RequestParser {
    /// A parser for a connection; `tls` says whether an `https://` target can be meant.
    pub(crate) fn new(limits: HeadLimits, tls: bool) -> Self {
        Self {
            limits,
            tls,
            progress: Progress::default(),
        }
    }

    /// Takes one head off the buffer; nothing while it is incomplete.
    ///
    /// # Errors
    /// The answer to give before the connection is closed.
    pub(crate) fn parse(
        &mut self,
        buffer: &mut BytesMut,
    ) -> Result<Option<RequestHead>, RequestError> {
        if matches!(buffer.first(), Some(b'\r' | b'\n')) {
            skip_empty_lines(buffer);
        }
        let full = buffer.len() > self.limits.bytes;
        if !self.progress.ready(buffer) && !full {
            return Ok(None);
        }
        let Some((line, parts)) = self.scan(buffer)? else {
            return if full {
                Err(RequestError::head_too_large())
            } else {
                Ok(None)
            };
        };
        self.progress.reset();
        if parts.too_long {
            return Err(RequestError::head_too_large());
        }
        if !parts.crlf && buffer.get(..line.head).is_none_or(mixes_line_ends) {
            return Err(RequestError::codec());
        }
        let fields = parts.take(buffer, line.head);
        let mut head = RequestHead::new(line.method, line.version, fields);
        frame(&mut head)?;
        connection(&mut head);
        self.target(&mut head, line.target)?;
        Ok(Some(head))
    }

    /// Runs the parser proper over what is there, at most the limit.
    fn scan(&self, buffer: &BytesMut) -> Result<Option<(Line, Parts)>, RequestError> {
        let bytes = buffer.get(..self.limits.bytes).unwrap_or(buffer);
        let mut slots = [const { MaybeUninit::<Header<'_>>::uninit() }; MAX_FIELDS];
        let slots = slots
            .get_mut(..self.limits.fields.min(MAX_FIELDS))
            .unwrap_or_default();
        let mut request = httparse::Request::new(&mut []);
        let head = match request.parse_with_uninit_headers(bytes, slots) {
            Ok(Status::Complete(head)) => head,
            Ok(Status::Partial) => return Ok(None),
            Err(error) => return Err(refuse(error, bytes)),
        };
        let (Some(method), Some(target), Some(version)) =
            (request.method, request.path, request.version)
        else {
            return Err(RequestError::codec());
        };
        let line = Line {
            method: known_method(method).ok_or_else(RequestError::codec)?,
            version: if version == 0 {
                Version::Http10
            } else {
                Version::Http11
            },
            target: place(bytes, target.as_bytes()),
            head,
        };
        if !target.is_ascii() {
            return Err(RequestError::codec());
        }
        Ok(Some((line, Parts::of(bytes, request.headers, head))))
    }

    /// Takes the target and the authority apart.
    fn target(&self, head: &mut RequestHead, at: (usize, usize)) -> Result<(), RequestError> {
        let host = take_host(&mut head.fields)?;
        let span = Fields::span(at.0, at.1);
        let target = head.fields.text(span);
        if head.method == Method::CONNECT {
            head.form = TargetForm::Authority;
            if target.is_empty() || !authority::is_valid(target) {
                return Err(RequestError::invalid_authority());
            }
            head.place_authority(span);
            head.place_target(Fields::span(at.0, 0));
            return Ok(());
        }
        match target.first() {
            Some(b'/') => head.place_target(span),
            Some(b'*') if target.len() == 1 => {
                if head.method != Method::OPTIONS {
                    return Err(RequestError::invalid_url());
                }
                head.form = TargetForm::Asterisk;
                head.place_target(span);
            }
            _ => return self.absolute(head, at),
        }
        let Some(host) = host else {
            head.missing_host = true;
            return Ok(());
        };
        if !authority::is_valid(head.fields.text(host)) {
            return Err(RequestError::invalid_authority());
        }
        head.place_authority(host);
        Ok(())
    }

    /// A URL as target: its authority wins over `host`
    /// ([RFC 9112 3.2.2](https://www.rfc-editor.org/rfc/rfc9112#section-3.2.2)).
    fn absolute(&self, head: &mut RequestHead, at: (usize, usize)) -> Result<(), RequestError> {
        let target = head.fields.text(Fields::span(at.0, at.1));
        let scheme = match memchr::memmem::find(target, b"://") {
            Some(n) => target.get(..n).unwrap_or_default(),
            None => return Err(RequestError::codec()),
        };
        if scheme.eq_ignore_ascii_case(b"https") {
            if !self.tls {
                return Err(RequestError::https_on_plaintext());
            }
        } else if !scheme.eq_ignore_ascii_case(b"http") {
            return Err(RequestError::codec());
        }
        let start = scheme.len().saturating_add(3);
        let rest = target.get(start..).unwrap_or_default();
        let len = rest
            .iter()
            .position(|b| matches!(b, b'/' | b'?' | b'#'))
            .unwrap_or(rest.len());
        let (name, path) = rest.split_at_checked(len).unwrap_or((rest, b""));
        if name.is_empty() || !authority::is_valid(name) {
            return Err(RequestError::invalid_authority());
        }
        let rooted = path.starts_with(b"/");
        let path_at = at.0.saturating_add(start).saturating_add(len);
        let path_len = path.len();
        head.place_authority(Fields::span(at.0.saturating_add(start), len));
        if rooted {
            head.place_target(Fields::span(path_at, path_len));
        } else {
            let rest = [b"/", head.fields.text(Fields::span(path_at, path_len))].concat();
            head.set_target(&rest);
        }
        Ok(())
    }
}

/// What a failed parse means for the client.
fn refuse(error: httparse::Error, bytes: &[u8]) -> RequestError {
    match error {
        httparse::Error::TooManyHeaders => RequestError::too_many_fields(),
        httparse::Error::Version => RequestError::low_version(),
        httparse::Error::HeaderValue if memchr::memchr(0, bytes).is_some() => {
            RequestError::invalid_characters()
        }
        httparse::Error::HeaderName
        | httparse::Error::HeaderValue
        | httparse::Error::NewLine
        | httparse::Error::Status
        | httparse::Error::Token => RequestError::codec(),
    }
}

/// The methods that are known; any other is refused. Envoy's list, which has the dash of M-SEARCH
/// wrong.
const METHODS: [&str; 34] = [
    "ACL",
    "BIND",
    "CHECKOUT",
    "CONNECT",
    "COPY",
    "DELETE",
    "GET",
    "HEAD",
    "LINK",
    "LOCK",
    "M-SEARCH",
    "MERGE",
    "MKACTIVITY",
    "MKCALENDAR",
    "MKCOL",
    "MOVE",
    "NOTIFY",
    "OPTIONS",
    "PATCH",
    "POST",
    "PROPFIND",
    "PROPPATCH",
    "PURGE",
    "PUT",
    "REBIND",
    "REPORT",
    "SEARCH",
    "SOURCE",
    "SUBSCRIBE",
    "TRACE",
    "UNBIND",
    "UNLINK",
    "UNLOCK",
    "UNSUBSCRIBE",
];

fn known_method(name: &str) -> Option<Method> {
    match name {
        "GET" => Some(Method::GET),
        "POST" => Some(Method::POST),
        _ if METHODS.contains(&name) => Method::from_bytes(name.as_bytes()).ok(),
        _ => None,
    }
}

/// Decides how the body ends. Exactly one `content-length` of digits, or exactly one
/// `transfer-encoding: chunked` of HTTP/1.1; anything else could be read differently by another
/// recipient.
fn frame(head: &mut RequestHead) -> Result<(), RequestError> {
    let fields = &mut head.fields;
    let length = fields.has(Known::ContentLength);
    if fields.has(Known::TransferEncoding) {
        if length {
            return Err(RequestError::length_and_chunked());
        }
        if head.version == Version::Http10 {
            return Err(RequestError::codec());
        }
        let mut values = fields.values(Known::TransferEncoding.text());
        let chunked = values
            .next()
            .is_some_and(|value| value.eq_ignore_ascii_case(b"chunked"));
        if !chunked || values.next().is_some() {
            return Err(RequestError::transfer_encoding());
        }
        drop(values);
        fields.remove_known(Known::TransferEncoding);
        head.framing = BodyFraming::Chunked;
    } else if length {
        let mut values = fields.values(Known::ContentLength.text());
        let value = values.next().and_then(parse_length);
        match (value, values.next()) {
            (Some(length), None) => head.framing = BodyFraming::Length(length),
            (None, _) | (_, Some(_)) => return Err(RequestError::codec()),
        }
    }
    Ok(())
}

/// Decides whether the connection lives on, and whether it is to change its protocol.
fn connection(head: &mut RequestHead) {
    let fields = &head.fields;
    head.keep_alive = head.version == Version::Http11;
    if !fields.has(Known::Connection) {
        return;
    }
    let (mut close, mut keep, mut upgrade) = (false, false, false);
    for value in fields.values(Known::Connection.text()) {
        close |= has_token(value, b"close");
        keep |= has_token(value, b"keep-alive");
        upgrade |= has_token(value, b"upgrade");
    }
    head.keep_alive = !close && (keep || head.version == Version::Http11);
    // A request with a body that also wants another protocol is served as it is.
    let bodiless = matches!(head.framing, BodyFraming::None | BodyFraming::Length(0));
    if upgrade && bodiless && head.version == Version::Http11 {
        head.upgrade = fields.get(Known::Upgrade).map(|value| {
            if value.eq_ignore_ascii_case(b"websocket") {
                Upgrade::WebSocket
            } else if has_token(value, b"h2c") {
                Upgrade::H2c
            } else {
                Upgrade::Other
            }
        });
    }
}

/// Takes the `host` field out; it is the authority. Two of them are refused.
fn take_host(fields: &mut Fields) -> Result<Option<Span>, RequestError> {
    let Some(span) = fields.take_span(Known::Host) else {
        return Ok(None);
    };
    if fields.has(Known::Host) {
        return Err(RequestError::invalid_authority());
    }
    Ok(Some(span))
}
