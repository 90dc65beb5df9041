//! Heads of requests and responses, the same for HTTP/1 and HTTP/2.
//!
//! Routing, filters and logs read and edit these; how a head is stored is hidden in [`Fields`].
//! A request's `host` field and HTTP/2's pseudo headers are not among the fields: they are the
//! method, target, authority and scheme. [`RequestHead::header_joined`] finds them all the same.

use super::fields::{Fields, Span};
use super::known::Known;
use http::{Method, Uri};
use std::borrow::Cow;

/// Protocol version of a message.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Version {
    /// HTTP/1.0.
    Http10,
    /// HTTP/1.1.
    Http11,
    /// HTTP/2.
    Http2,
}

impl Version {
    /// As access logs write it: `HTTP/1.1`, `HTTP/2`.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Http10 => "HTTP/1.0",
            Self::Http11 => "HTTP/1.1",
            Self::Http2 => "HTTP/2",
        }
    }
}

/// The scheme a client used, as far as we believe it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Scheme {
    /// `http`
    Http,
    /// `https`
    Https,
}

impl Scheme {
    /// `http` or `https`.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }
}

/// How the end of a message's body is found.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum BodyFraming {
    /// There is no body.
    None,
    /// After this many bytes.
    Length(u64),
    /// HTTP/1: by the last chunk. HTTP/2: by the end of the stream.
    Chunked,
    /// By the end of the connection; HTTP/1 responses only.
    UntilClose,
}

/// The protocol a request wants to change to.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Upgrade {
    /// `websocket`
    WebSocket,
    /// `h2c`, which is ignored.
    H2c,
    /// Any other.
    Other,
}

/// The form of a request's target
/// ([RFC 9112 3.2](https://www.rfc-editor.org/rfc/rfc9112#section-3.2)).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum TargetForm {
    /// `/path?query`; also absolute-form, of which the path is kept.
    Origin,
    /// `*`, of OPTIONS.
    Asterisk,
    /// `host:port`, of CONNECT.
    Authority,
}

/// The head of a request.
#[derive(Clone, Debug)]
pub(crate) struct RequestHead {
    pub(super) method: Method,
    pub(super) version: Version,
    pub(super) scheme: Scheme,
    pub(super) form: TargetForm,
    pub(super) framing: BodyFraming,
    pub(super) upgrade: Option<Upgrade>,
    pub(super) keep_alive: bool,
    /// Nothing names the host, which an empty `host` field does.
    pub(super) missing_host: bool,
    pub(super) target: Span,
    pub(super) path_len: u32,
    pub(super) original: Option<Span>,
    pub(super) authority: Span,
    pub(super) host: Span,
    /// What an HTTP/2 client sent: most of it is said again as it is.
    pub(super) uri: Option<Uri>,
    pub(super) fields: Fields,
}

/// Bytes as text; what is not UTF-8 is empty. Targets and authorities were checked on entry.
fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap_or("")
}

impl RequestHead {
    /// A head without fields; the caller sets what it knows.
    pub(super) fn new(method: Method, version: Version, fields: Fields) -> Self {
        Self {
            method,
            version,
            scheme: Scheme::Http,
            form: TargetForm::Origin,
            framing: BodyFraming::None,
            upgrade: None,
            keep_alive: true,
            missing_host: false,
            target: Span::EMPTY,
            path_len: 0,
            original: None,
            authority: Span::EMPTY,
            host: Span::EMPTY,
            uri: None,
            fields,
        }
    }

    /// Builds a head that nobody sent. Names are in lower case; `host` among the headers is the
    /// authority. The target is taken as it is: [`super::gate`] normalises it.
    #[cfg(test)]
    pub(crate) fn build(method: Method, target: &str, headers: &[(&str, &str)]) -> Self {
        let mut head = Self::new(method, Version::Http11, Fields::default());
        head.set_target(target.as_bytes());
        for (name, value) in headers {
            if *name == "host" {
                head.set_authority(value.as_bytes());
            } else {
                head.fields.add(name, value.as_bytes());
            }
        }
        head
    }

    /// A head for tests: `RequestHead::test("GET", "/path?q", &[("host", "a.test")])`.
    #[cfg(test)]
    pub(crate) fn test(method: &str, target: &str, headers: &[(&str, &str)]) -> Self {
        let method = Method::from_bytes(method.as_bytes()).unwrap();
        Self::build(method, target, headers)
    }

    /// The method, e.g. `GET`.
    #[inline]
    pub(crate) fn method(&self) -> &str {
        self.method.as_str()
    }

    /// The method as a value to compare.
    #[inline]
    pub(crate) fn http_method(&self) -> &Method {
        &self.method
    }

    /// The protocol version the client spoke.
    #[inline]
    pub(crate) fn version(&self) -> Version {
        self.version
    }

    /// The scheme: that of the connection, or of a trusted proxy's `x-forwarded-proto`.
    #[inline]
    pub(crate) fn scheme(&self) -> Scheme {
        self.scheme
    }

    /// Changes the scheme.
    pub(crate) fn set_scheme(&mut self, scheme: Scheme) {
        self.scheme = scheme;
    }

    /// The form of the target as sent.
    #[cfg(test)]
    pub(crate) fn form(&self) -> TargetForm {
        self.form
    }

    /// The path, without query; in normal form once the gate admitted the request.
    #[inline]
    pub(crate) fn path(&self) -> &str {
        text(self.path_bytes())
    }

    /// As [`Self::path`].
    #[inline]
    pub(crate) fn path_bytes(&self) -> &[u8] {
        let target = self.target();
        usize::try_from(self.path_len)
            .ok()
            .and_then(|len| target.get(..len))
            .unwrap_or(target)
    }

    /// The query, without `?`.
    pub(crate) fn query(&self) -> Option<&str> {
        let len = usize::try_from(self.path_len).ok()?;
        let rest = self.target().get(len..)?;
        rest.strip_prefix(b"?").map(text)
    }

    /// Path and query, as they are now.
    #[inline]
    pub(crate) fn target(&self) -> &[u8] {
        self.fields.text(self.target)
    }

    /// Path and query before a rewrite, for the log.
    pub(crate) fn original_target(&self) -> &[u8] {
        self.fields.text(self.original.unwrap_or(self.target))
    }

    /// Whether a rewrite changed the target.
    #[cfg(test)]
    pub(crate) fn is_rewritten(&self) -> bool {
        self.original.is_some()
    }

    /// Replaces path and query.
    pub(crate) fn set_target(&mut self, target: &[u8]) {
        let span = self.fields.store(&[target]);
        self.place_target(span);
    }

    /// Replaces the path and keeps the query. The target so far is kept as the original one.
    pub(crate) fn rewrite_path(&mut self, path: &[&[u8]]) {
        let len: usize = path.iter().map(|piece| piece.len()).sum();
        let mut target = Vec::with_capacity(self.target().len().saturating_add(len));
        for piece in path {
            target.extend_from_slice(piece);
        }
        if let Some(query) = self.query() {
            target.push(b'?');
            target.extend_from_slice(query.as_bytes());
        }
        let original = self.original.unwrap_or(self.target);
        self.set_target(&target);
        self.original = Some(original);
    }

    pub(super) fn place_target(&mut self, span: Span) {
        self.target = span;
        let target = self.fields.text(span);
        let len = memchr::memchr(b'?', target).unwrap_or(target.len());
        self.path_len = u32::try_from(len).unwrap_or(u32::MAX);
    }

    /// The authority as the client sent it, or as a rewrite made it; empty if there is none.
    #[inline]
    pub(crate) fn authority(&self) -> &str {
        text(self.fields.text(self.authority))
    }

    /// As [`Self::authority`].
    #[inline]
    pub(super) fn authority_bytes(&self) -> &[u8] {
        self.fields.text(self.authority)
    }

    /// The authority's host in lower case, without port.
    #[inline]
    pub(crate) fn host(&self) -> &str {
        text(self.fields.text(self.host))
    }

    /// The authority's port, if it is there and a number.
    #[cfg(test)]
    pub(crate) fn port(&self) -> Option<u16> {
        let rest = self.authority().get(self.host().len()..)?;
        rest.strip_prefix(':')?.parse().ok()
    }

    /// Replaces the authority.
    pub(crate) fn set_authority(&mut self, authority: &[u8]) {
        let span = self.fields.store(&[authority]);
        self.place_authority(span);
    }

    pub(super) fn place_authority(&mut self, span: Span) {
        self.authority = span;
        let authority = self.fields.text(span);
        let host = authority.get(..host_len(authority)).unwrap_or(authority);
        self.host = if host.iter().any(u8::is_ascii_uppercase) {
            let lower = host.to_ascii_lowercase();
            self.fields.store(&[&lower])
        } else {
            Span {
                len: u32::try_from(host.len()).unwrap_or(u32::MAX),
                ..span
            }
        };
    }

    /// How the end of the body is found.
    #[inline]
    pub(crate) fn framing(&self) -> BodyFraming {
        self.framing
    }

    /// Whether the client lets the connection be used again.
    #[inline]
    pub(crate) fn keep_alive(&self) -> bool {
        self.keep_alive
    }

    /// The protocol the client wants to change to.
    #[inline]
    pub(crate) fn upgrade(&self) -> Option<Upgrade> {
        self.upgrade
    }

    /// Whether the client waits for a 100 before it sends the body.
    pub(crate) fn expects_continue(&self) -> bool {
        self.fields
            .get(Known::Expect)
            .is_some_and(|value| value.eq_ignore_ascii_case(b"100-continue"))
            && self.version != Version::Http10
    }

    /// Whether this is a gRPC request: `application/grpc` or `application/grpc+…`.
    #[inline]
    pub(crate) fn is_grpc(&self) -> bool {
        self.fields
            .get(Known::ContentType)
            .is_some_and(is_grpc_content_type)
    }

    /// Whether the method is HEAD.
    #[inline]
    pub(crate) fn is_head(&self) -> bool {
        self.method == Method::HEAD
    }

    /// The fields.
    #[inline]
    pub(crate) fn fields(&self) -> &Fields {
        &self.fields
    }

    /// The fields, to be edited. Use [`Self::set`] where a name may be `host`.
    #[inline]
    pub(crate) fn fields_mut(&mut self) -> &mut Fields {
        &mut self.fields
    }

    /// The first value of a field with a number.
    #[inline]
    pub(crate) fn get(&self, known: Known) -> Option<&[u8]> {
        if known == Known::Host {
            Some(self.fields.text(self.authority))
        } else {
            self.fields.get(known)
        }
    }

    /// The first value of the field with this lower-case name; `host` and pseudo headers too.
    #[cfg(test)]
    pub(crate) fn header(&self, name: &str) -> Option<&[u8]> {
        self.pseudo(name).or_else(|| self.fields.header(name))
    }

    /// All values of the fields with this lower-case name, joined with `,`; `host` and pseudo
    /// headers too. Copies only when there are several fields.
    pub(crate) fn header_joined(&self, name: &str) -> Option<Cow<'_, [u8]>> {
        match self.pseudo(name) {
            Some(value) => Some(Cow::Borrowed(value)),
            None => self.fields.joined(name),
        }
    }

    fn pseudo(&self, name: &str) -> Option<&[u8]> {
        match name {
            "host" | ":authority" => {
                let authority = self.fields.text(self.authority);
                (!authority.is_empty()).then_some(authority)
            }
            ":path" => Some(self.target()),
            ":method" => Some(self.method().as_bytes()),
            ":scheme" => Some(self.scheme.as_str().as_bytes()),
            _ => None,
        }
    }

    /// Names in lower case and values of the fields, in order, without `host`.
    #[cfg(test)]
    pub(crate) fn headers(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.fields.iter()
    }

    /// Replaces all fields of this lower-case name by one, in the place of the first; `host` and
    /// `:authority` replace the authority.
    pub(crate) fn set(&mut self, name: &str, value: &[u8]) {
        match name {
            "host" | ":authority" => self.set_authority(value),
            _ => self.fields.set(name, value),
        }
    }

    /// Appends to the field of this lower-case name as `old,new`, or adds it; there is only one
    /// authority, so it is replaced.
    pub(crate) fn append(&mut self, name: &str, value: &[u8]) {
        match name {
            "host" | ":authority" => self.set_authority(value),
            _ => self.fields.append(name, value),
        }
    }

    /// Removes all fields of this lower-case name. The authority stays.
    pub(crate) fn remove(&mut self, name: &str) {
        self.fields.remove(name);
    }
}

/// Length of the host in an authority: everything but a port.
pub(super) fn host_len(authority: &[u8]) -> usize {
    match memchr::memrchr(b':', authority) {
        Some(colon)
            if authority
                .get(colon.saturating_add(1)..)
                .is_some_and(|port| port.iter().all(u8::is_ascii_digit))
                && (!authority.starts_with(b"[")
                    || authority.get(..colon).is_some_and(|h| h.ends_with(b"]"))) =>
        {
            colon
        }
        _ => authority.len(),
    }
}

/// Whether a content type is gRPC's, not gRPC-Web's.
pub(super) fn is_grpc_content_type(value: &[u8]) -> bool {
    value
        .strip_prefix(b"application/grpc")
        .is_some_and(|rest| rest.is_empty() || rest.starts_with(b"+"))
}

/// The head of a response.
#[derive(Clone, Debug)]
pub(crate) struct ResponseHead {
    pub(super) status: u16,
    pub(super) version: Version,
    pub(super) framing: BodyFraming,
    pub(super) keep_alive: bool,
    pub(super) upgrade: Option<Upgrade>,
    pub(super) fields: Fields,
}

impl ResponseHead {
    /// A response of our own, without fields and body.
    pub(crate) fn new(status: u16) -> Self {
        Self {
            status,
            version: Version::Http11,
            framing: BodyFraming::None,
            keep_alive: true,
            upgrade: None,
            fields: Fields::default(),
        }
    }

    /// The status code.
    #[inline]
    pub(crate) fn status(&self) -> u16 {
        self.status
    }

    /// Whether this is a 1xx other than 101: another head follows.
    pub(crate) fn is_informational(&self) -> bool {
        (100..200).contains(&self.status) && self.status != 101
    }

    /// How the end of the body is found.
    #[inline]
    pub(crate) fn framing(&self) -> BodyFraming {
        self.framing
    }

    /// Changes how the end of the body is found; the field that says so follows when the head is
    /// written.
    pub(crate) fn set_framing(&mut self, framing: BodyFraming) {
        self.framing = framing;
    }

    /// Whether the upstream lets the connection be used again (the body must have ended too).
    #[inline]
    pub(crate) fn keep_alive(&self) -> bool {
        self.keep_alive
    }

    /// The protocol of a 101.
    #[cfg(test)]
    pub(crate) fn upgrade(&self) -> Option<Upgrade> {
        self.upgrade
    }

    /// `grpc-status`, if it is in this head (a trailers-only answer) and a number.
    pub(crate) fn grpc_status(&self) -> Option<u32> {
        let value = self.fields.get(Known::GrpcStatus)?;
        std::str::from_utf8(value).ok()?.parse().ok()
    }

    /// The fields.
    #[inline]
    pub(crate) fn fields(&self) -> &Fields {
        &self.fields
    }

    /// The fields, to be edited.
    #[inline]
    pub(crate) fn fields_mut(&mut self) -> &mut Fields {
        &mut self.fields
    }

    /// The first value of a field with a number.
    #[inline]
    pub(crate) fn get(&self, known: Known) -> Option<&[u8]> {
        self.fields.get(known)
    }

    /// The first value of the field with this lower-case name.
    #[cfg(test)]
    pub(crate) fn header(&self, name: &str) -> Option<&[u8]> {
        self.fields.header(name)
    }

    /// Names in lower case and values of the fields, in order.
    #[cfg(test)]
    pub(crate) fn headers(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.fields.iter()
    }

    /// Replaces all fields of this lower-case name by one, in the place of the first.
    pub(crate) fn set(&mut self, name: &str, value: &[u8]) {
        self.fields.set(name, value);
    }

    /// Appends to the field of this lower-case name as `old,new`, or adds it.
    pub(crate) fn append(&mut self, name: &str, value: &[u8]) {
        self.fields.append(name, value);
    }

    /// Removes all fields of this lower-case name.
    pub(crate) fn remove(&mut self, name: &str) {
        self.fields.remove(name);
    }
}
