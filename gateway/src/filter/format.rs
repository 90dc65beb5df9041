//! Envoy's substitution format in header values, e.g. `%DOWNSTREAM_REMOTE_ADDRESS%`.
//!
//! <https://www.envoyproxy.io/docs/envoy/latest/configuration/observability/access_log/usage#command-operators>

use crate::http::{RequestHead, ResponseHead, iso_time};
use std::{io::Write, net::SocketAddr};

/// What the operators of a format stand for. What is not known yet is empty.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Context<'a> {
    /// The client's address: the connection's, or the one trusted proxies told (port 0).
    pub(crate) client: SocketAddr,
    /// The other end of the client's connection.
    pub(crate) peer: SocketAddr,
    /// Our end of the client's connection.
    pub(crate) local: SocketAddr,
    /// When the request began, in microseconds since the Unix epoch.
    pub(crate) start_micros: u64,
    /// Name of this host.
    pub(crate) hostname: &'a str,
    /// Server name of the client's TLS.
    pub(crate) sni: Option<&'a str>,
    /// Version of the client's TLS, e.g. `TLSv1.3`.
    pub(crate) tls_version: Option<&'a str>,
    /// Cipher suite of the client's TLS.
    pub(crate) tls_cipher: Option<&'a str>,
    /// Name of the route.
    pub(crate) route: &'a str,
    /// Name of the cluster.
    pub(crate) cluster: Option<&'a str>,
    /// The endpoint.
    pub(crate) upstream: Option<SocketAddr>,
    /// Number of the client's connection.
    pub(crate) connection: u64,
}

/// A compiled format.
#[derive(Debug)]
pub(super) struct Format {
    pieces: Vec<Piece>,
}

#[derive(Debug)]
struct Piece {
    what: What,
    limit: Option<usize>,
}

#[derive(Debug)]
enum What {
    Literal(Box<str>),
    /// First name, and the one to look for where it is missing.
    Request(Box<str>, Option<Box<str>>),
    Response(Box<str>, Option<Box<str>>),
    Protocol,
    ResponseCode,
    Text(Text),
    Address(Whose, Part),
    StartTime,
    StartSeconds,
    StartMillis,
    ConnectionId,
}

/// What is a text in the context already.
#[derive(Clone, Copy, Debug)]
enum Text {
    Cluster,
    Hostname,
    Route,
    Sni,
    TlsCipher,
    TlsVersion,
}

#[derive(Clone, Copy, Debug)]
enum Whose {
    Client,
    Local,
    Peer,
    Upstream,
}

#[derive(Clone, Copy, Debug)]
enum Part {
    Both,
    Ip,
    Port,
}

impl Format {
    /// Compiles a format; operators that are not known stay as they are written, and are told.
    pub(super) fn compile(text: &str) -> (Self, Vec<String>) {
        let mut pieces: Vec<Piece> = Vec::new();
        let mut literal = String::new();
        let mut unknown = Vec::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once('%') {
            literal.push_str(before);
            if let Some(escaped) = after.strip_prefix('%') {
                literal.push('%');
                rest = escaped;
                continue;
            }
            let Some(end) = operator_end(after) else {
                literal.push('%');
                rest = after;
                continue;
            };
            let (operator, following) = after.split_at_checked(end).unwrap_or((after, ""));
            rest = following.strip_prefix('%').unwrap_or(following);
            if let Some(piece) = operator_piece(operator) {
                flush(&mut literal, &mut pieces);
                pieces.push(piece);
            } else {
                literal.push('%');
                literal.push_str(operator);
                literal.push('%');
                unknown.push(format!("%{operator}%"));
            }
        }
        literal.push_str(rest);
        flush(&mut literal, &mut pieces);
        (Self { pieces }, unknown)
    }

    /// The text for this request and, once there is one, response.
    pub(super) fn render(
        &self,
        context: &Context<'_>,
        request: Option<&RequestHead>,
        response: Option<&ResponseHead>,
    ) -> Vec<u8> {
        let mut out = Vec::new();
        for piece in &self.pieces {
            let start = out.len();
            piece.what.render(context, request, response, &mut out);
            if let Some(limit) = piece.limit {
                out.truncate(start.saturating_add(limit).min(out.len()));
            }
        }
        out
    }
}

fn flush(literal: &mut String, pieces: &mut Vec<Piece>) {
    if !literal.is_empty() {
        let what = What::Literal(std::mem::take(literal).into());
        pieces.push(Piece { what, limit: None });
    }
}

/// Where the operator that begins here ends: before the `%` after its name or its parentheses.
fn operator_end(text: &str) -> Option<usize> {
    let first = text.find(['(', '%'])?;
    if text.get(first..)?.starts_with('%') {
        return Some(first);
    }
    let close = first.checked_add(text.get(first..)?.find(')')?)?;
    close.checked_add(text.get(close..)?.find('%')?)
}

/// `NAME`, `NAME(ARGUMENT)`, either with `:LIMIT`.
fn operator_piece(text: &str) -> Option<Piece> {
    let (name, argument, after) = match text.split_once('(') {
        Some((name, rest)) => {
            let (argument, after) = rest.split_once(')')?;
            (name, Some(argument), after)
        }
        None => match text.split_once(':') {
            Some((name, _)) => (name, None, text.get(name.len()..)?),
            None => (text, None, ""),
        },
    };
    let limit = match after.strip_prefix(':') {
        Some(limit) => Some(limit.parse().ok()?),
        None if after.is_empty() => None,
        None => return None,
    };
    let what = match argument {
        Some(argument) => with_argument(name, argument)?,
        None => without_argument(name)?,
    };
    Some(Piece { what, limit })
}

fn with_argument(name: &str, argument: &str) -> Option<What> {
    let names = || {
        let (first, other) = match argument.split_once('?') {
            Some((first, other)) => (first, Some(other)),
            None => (argument, None),
        };
        let lower = |name: &str| -> Box<str> { name.to_ascii_lowercase().into() };
        (lower(first), other.map(lower))
    };
    match (name, argument) {
        ("REQ", _) => {
            let (first, other) = names();
            Some(What::Request(first, other))
        }
        ("RESP", _) => {
            let (first, other) = names();
            Some(What::Response(first, other))
        }
        ("START_TIME", "%s") => Some(What::StartSeconds),
        ("START_TIME", "%s%3f") => Some(What::StartMillis),
        ("START_TIME", "" | "%Y-%m-%dT%H:%M:%S.%3fZ" | "%FT%T.%3fZ") => Some(What::StartTime),
        _ => None,
    }
}

fn without_argument(name: &str) -> Option<What> {
    use Part::{Both, Ip, Port};
    use Whose::{Client, Local, Peer, Upstream};
    Some(match name {
        "DOWNSTREAM_REMOTE_ADDRESS" => What::Address(Client, Both),
        "DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT" => What::Address(Client, Ip),
        "DOWNSTREAM_REMOTE_PORT" => What::Address(Client, Port),
        "DOWNSTREAM_DIRECT_REMOTE_ADDRESS" => What::Address(Peer, Both),
        "DOWNSTREAM_DIRECT_REMOTE_ADDRESS_WITHOUT_PORT" => What::Address(Peer, Ip),
        "DOWNSTREAM_DIRECT_REMOTE_PORT" => What::Address(Peer, Port),
        "DOWNSTREAM_LOCAL_ADDRESS" => What::Address(Local, Both),
        "DOWNSTREAM_LOCAL_ADDRESS_WITHOUT_PORT" => What::Address(Local, Ip),
        "DOWNSTREAM_LOCAL_PORT" => What::Address(Local, Port),
        "UPSTREAM_HOST" | "UPSTREAM_REMOTE_ADDRESS" => What::Address(Upstream, Both),
        "UPSTREAM_REMOTE_ADDRESS_WITHOUT_PORT" => What::Address(Upstream, Ip),
        "UPSTREAM_REMOTE_PORT" => What::Address(Upstream, Port),
        "PROTOCOL" => What::Protocol,
        "RESPONSE_CODE" => What::ResponseCode,
        "START_TIME" => What::StartTime,
        "CONNECTION_ID" => What::ConnectionId,
        "HOSTNAME" => What::Text(Text::Hostname),
        "REQUESTED_SERVER_NAME" => What::Text(Text::Sni),
        "DOWNSTREAM_TLS_VERSION" => What::Text(Text::TlsVersion),
        "DOWNSTREAM_TLS_CIPHER" => What::Text(Text::TlsCipher),
        "ROUTE_NAME" => What::Text(Text::Route),
        "UPSTREAM_CLUSTER" | "UPSTREAM_CLUSTER_RAW" => What::Text(Text::Cluster),
        _ => return None,
    })
}

/// Appends something that prints itself; a `Vec` takes everything.
fn print(out: &mut Vec<u8>, value: impl std::fmt::Display) {
    let _ = write!(out, "{value}");
}

impl What {
    fn render(
        &self,
        context: &Context<'_>,
        request: Option<&RequestHead>,
        response: Option<&ResponseHead>,
        out: &mut Vec<u8>,
    ) {
        match self {
            Self::Literal(text) => out.extend_from_slice(text.as_bytes()),
            Self::Request(name, other) => {
                let find = |name: &str| request?.header_joined(name);
                let found = find(name).or_else(|| find(other.as_deref()?));
                out.extend_from_slice(&found.unwrap_or_default());
            }
            Self::Response(name, other) => {
                let find = |name: &str| response?.fields().joined(name);
                let found = find(name).or_else(|| find(other.as_deref()?));
                out.extend_from_slice(&found.unwrap_or_default());
            }
            Self::Protocol => {
                let text = request.map_or("", |head| head.version().as_str());
                out.extend_from_slice(text.as_bytes());
            }
            Self::ResponseCode => {
                if let Some(response) = response {
                    print(out, response.status());
                }
            }
            Self::Text(text) => out.extend_from_slice(text.of(context).as_bytes()),
            Self::Address(whose, part) => {
                if let Some(address) = whose.of(context) {
                    match part {
                        Part::Both => print(out, address),
                        Part::Ip => print(out, address.ip()),
                        Part::Port => print(out, address.port()),
                    }
                }
            }
            Self::StartTime => out.extend_from_slice(&iso_time(context.start_micros / 1_000)),
            Self::StartSeconds => print(out, context.start_micros / 1_000_000),
            Self::StartMillis => print(out, context.start_micros / 1_000),
            Self::ConnectionId => print(out, context.connection),
        }
    }
}

impl Text {
    fn of<'a>(self, context: &Context<'a>) -> &'a str {
        match self {
            Self::Cluster => context.cluster.unwrap_or_default(),
            Self::Hostname => context.hostname,
            Self::Route => context.route,
            Self::Sni => context.sni.unwrap_or_default(),
            Self::TlsCipher => context.tls_cipher.unwrap_or_default(),
            Self::TlsVersion => context.tls_version.unwrap_or_default(),
        }
    }
}

impl Whose {
    fn of(self, context: &Context<'_>) -> Option<SocketAddr> {
        match self {
            Self::Client => Some(context.client),
            Self::Local => Some(context.local),
            Self::Peer => Some(context.peer),
            Self::Upstream => context.upstream,
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::{Context, Format};
    use crate::http::{RequestHead, ResponseHead};

    pub(in crate::filter) fn context() -> Context<'static> {
        Context {
            client: "203.0.113.7:0".parse().unwrap(),
            peer: "[2001:db8::1]:4711".parse().unwrap(),
            local: "192.0.2.1:443".parse().unwrap(),
            start_micros: 1_794_972_645_678_901,
            hostname: "gw-0",
            sni: Some("a.test"),
            tls_version: Some("TLSv1.3"),
            tls_cipher: None,
            route: "rule",
            cluster: Some("outbound|80||a"),
            upstream: Some("10.0.0.1:8080".parse().unwrap()),
            connection: 17,
        }
    }

    fn render(text: &str) -> String {
        let request = RequestHead::test("GET", "/a?b=c", &[("host", "a.test"), ("x-one", "1")]);
        let mut response = ResponseHead::new(418);
        response.set("x-two", b"2");
        let (format, unknown) = Format::compile(text);
        assert!(unknown.is_empty(), "{unknown:?}");
        let out = format.render(&context(), Some(&request), Some(&response));
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn operators_are_substituted() {
        for (text, expected) in [
            ("%DOWNSTREAM_REMOTE_ADDRESS%", "203.0.113.7:0"),
            ("%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%", "203.0.113.7"),
            ("%DOWNSTREAM_DIRECT_REMOTE_ADDRESS%", "[2001:db8::1]:4711"),
            (
                "%DOWNSTREAM_DIRECT_REMOTE_ADDRESS_WITHOUT_PORT%",
                "2001:db8::1",
            ),
            ("%DOWNSTREAM_LOCAL_ADDRESS%", "192.0.2.1:443"),
            ("%DOWNSTREAM_LOCAL_PORT%", "443"),
            ("%PROTOCOL%", "HTTP/1.1"),
            ("%REQ(X-One)%", "1"),
            ("%REQ(x-none?X-ONE)%", "1"),
            ("%REQ(x-none)%", ""),
            ("%REQ(:PATH)%", "/a?b=c"),
            ("%REQ(:AUTHORITY):3%", "a.t"),
            ("%RESP(x-two)%", "2"),
            ("%RESPONSE_CODE%", "418"),
            ("%HOSTNAME%", "gw-0"),
            ("%UPSTREAM_HOST%", "10.0.0.1:8080"),
            ("%UPSTREAM_CLUSTER%", "outbound|80||a"),
            ("%REQUESTED_SERVER_NAME%", "a.test"),
            (
                "%DOWNSTREAM_TLS_VERSION%/%DOWNSTREAM_TLS_CIPHER%",
                "TLSv1.3/",
            ),
            ("%ROUTE_NAME%", "rule"),
            ("%CONNECTION_ID%", "17"),
            ("%START_TIME%", "2026-11-18T03:30:45.678Z"),
            ("%START_TIME(%s)%", "1794972645"),
            ("100%% of %PROTOCOL%, %%x%%", "100% of HTTP/1.1, %x%"),
            ("plain", "plain"),
            ("50%", "50%"),
        ] {
            assert_eq!(render(text), expected, "{text}");
        }
    }

    #[test]
    fn unknown_operators_are_told_and_stay() {
        for text in [
            "%FOO%",
            "%DYNAMIC_METADATA(a:b)%",
            "%REQ(a)b%",
            "%REQ(a):x%",
        ] {
            let (format, unknown) = Format::compile(text);
            assert_eq!(unknown, [text]);
            assert_eq!(format.render(&context(), None, None), text.as_bytes());
        }
    }
}
