//! Answers the gateway makes itself.

use super::date::http_date;
use super::error::RequestError;
use super::head::{BodyFraming, RequestHead, ResponseHead};
use super::known::Known;
use crate::telemetry::Flag;
use bytes::Bytes;
use http::Method;
use std::borrow::Cow;

/// Details of an answer in place of a backend that is invalid.
const INVALID_BACKEND: &str = "invalid_backend";

/// An answer the gateway makes itself.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct LocalReply {
    /// HTTP status; a gRPC client gets 200 and the status that corresponds.
    pub(crate) status: u16,
    /// Body, `text/plain`; empty for none.
    pub(crate) body: Bytes,
    /// Response flag.
    pub(crate) flag: Option<Flag>,
    /// Response code details.
    pub(crate) details: Cow<'static, str>,
    /// Fields that come first, names in lower case.
    pub(crate) headers: Vec<(&'static str, Vec<u8>)>,
    /// Whether the connection ends with this answer whatever else holds.
    pub(crate) close: bool,
}

/// What about the request decides the shape of an answer.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) struct Asked {
    /// It was a gRPC request.
    pub(crate) grpc: bool,
    /// It was a HEAD request.
    pub(crate) head: bool,
}

impl From<&RequestHead> for Asked {
    fn from(head: &RequestHead) -> Self {
        Self {
            grpc: head.is_grpc(),
            head: *head.http_method() == Method::HEAD,
        }
    }
}

impl From<RequestError> for LocalReply {
    fn from(error: RequestError) -> Self {
        Self {
            body: Bytes::from_static(error.body.as_bytes()),
            flag: error.flag,
            close: true,
            ..Self::new(error.status, error.details)
        }
    }
}

impl LocalReply {
    /// An answer without body and flag.
    pub(crate) fn new(status: u16, details: impl Into<Cow<'static, str>>) -> Self {
        Self {
            status,
            body: Bytes::new(),
            flag: None,
            details: details.into(),
            headers: Vec::new(),
            close: false,
        }
    }

    /// With a flag.
    pub(crate) fn flag(mut self, flag: Flag) -> Self {
        self.flag = Some(flag);
        self
    }

    /// With a body.
    pub(crate) fn body(mut self, body: impl Into<Bytes>) -> Self {
        self.body = body.into();
        self
    }

    /// With a field, before the others.
    pub(crate) fn header(mut self, name: &'static str, value: impl Into<Vec<u8>>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    /// No route: 404, `NR`.
    pub(crate) fn route_not_found() -> Self {
        Self::new(404, "route_not_found").flag(Flag::Nr)
    }

    /// The authority belongs to another listener than the SNI chose: 421, `NR`.
    pub(crate) fn misdirected() -> Self {
        Self::new(421, "misdirected_request").flag(Flag::Nr)
    }

    /// The connection was accepted under another policy on client certificates than that which
    /// holds now: 421, `NR`, and the connection ends.
    pub(crate) fn outdated() -> Self {
        Self {
            close: true,
            ..Self::misdirected()
        }
    }

    /// The configuration names nothing usable.
    pub(crate) fn failure(failure: gwanmun_ir::Failure) -> Self {
        match failure {
            gwanmun_ir::Failure::ClusterNotFound => {
                Self::new(503, "cluster_not_found").flag(Flag::Nc)
            }
            gwanmun_ir::Failure::InvalidBackend => Self::new(500, INVALID_BACKEND),
        }
    }

    /// The request's body is over the limit: 413.
    pub(crate) fn payload_too_large() -> Self {
        Self::new(413, "request_payload_too_large").body("Payload Too Large")
    }

    /// An upgrade that nobody offers: 403, and the connection ends.
    pub(crate) fn upgrade_failed() -> Self {
        Self {
            close: true,
            ..Self::new(403, "upgrade_failed")
        }
    }

    /// What a gRPC client is told. Calls to an invalid backend are `UNAVAILABLE`, as a
    /// [GRPCRoute] demands, everything else is as Envoy translates the HTTP status.
    ///
    /// [GRPCRoute]: https://gateway-api.sigs.k8s.io/reference/api-spec/main/spec/#grpcrouterule
    fn grpc_status(&self) -> u32 {
        if self.details == INVALID_BACKEND {
            return 14;
        }
        grpc_status(self.status)
    }

    /// The head and body to send, fields in Envoy's order. `now` is in seconds since the Unix
    /// epoch. The body is empty for HEAD, and for gRPC, where it is `grpc-message`.
    pub(crate) fn into_response(
        self,
        asked: Asked,
        server: &str,
        now: u64,
    ) -> (ResponseHead, Bytes) {
        let mut head = ResponseHead::new(if asked.grpc { 200 } else { self.status });
        let grpc_status = self.grpc_status();
        let fields = head.fields_mut();
        for (name, value) in &self.headers {
            fields.add(name, value);
        }
        let mut body = self.body;
        let bodiless = matches!(self.status, 100..200 | 204 | 304);
        let length = u64::try_from(body.len()).unwrap_or(u64::MAX);
        let mut framing = BodyFraming::Length(0);
        let mut text = itoa::Buffer::new();
        if asked.grpc {
            fields.add("content-type", b"application/grpc");
            let code = text.format(grpc_status).as_bytes();
            fields.set_known(Known::GrpcStatus, &[code]);
            if !body.is_empty() {
                fields.set_known(Known::GrpcMessage, &[&percent_encode(&body)]);
            }
            body = Bytes::new();
        } else if bodiless {
            framing = BodyFraming::None;
            body = Bytes::new();
        } else if !body.is_empty() {
            fields.set_known(Known::ContentLength, &[text.format(length).as_bytes()]);
            if !fields.has(Known::ContentType) {
                fields.add("content-type", b"text/plain");
            }
            framing = BodyFraming::Length(length);
        }
        fields.set_known(Known::Date, &[&http_date(now)]);
        fields.set_known(Known::Server, &[server.as_bytes()]);
        head.set_framing(framing);
        if asked.head {
            body = Bytes::new();
        }
        (head, body)
    }
}

/// The gRPC status of an answer of ours, as Envoy maps them.
pub(crate) fn grpc_status(status: u16) -> u32 {
    match status {
        400 => 13,
        401 => 16,
        403 => 7,
        404 => 12,
        429 | 502 | 503 | 504 => 14,
        _ => 2,
    }
}

/// A text as `grpc-message` carries it
/// ([gRPC over HTTP/2](https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md#responses)).
fn percent_encode(text: &[u8]) -> Vec<u8> {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    let digit = |n: u8| HEX.get(usize::from(n & 15)).copied().unwrap_or(b'0');
    let mut out = Vec::with_capacity(text.len());
    for byte in text {
        if matches!(byte, b' '..=b'~') && *byte != b'%' {
            out.push(*byte);
        } else {
            out.extend_from_slice(&[b'%', digit(byte >> 4), digit(*byte)]);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::{Asked, LocalReply, grpc_status};
    use crate::http::{Version, h1};

    const PLAIN: Asked = Asked {
        grpc: false,
        head: false,
    };
    const DATE: &str = "Thu, 01 Jan 1970 00:00:00 GMT";

    fn sent(reply: LocalReply, asked: Asked, connection: h1::Connection) -> String {
        let (head, body) = reply.into_response(asked, "gwanmun", 0);
        let mut out = Vec::new();
        h1::write_response(&head, Version::Http11, connection, &mut out);
        out.extend_from_slice(&body);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn fields_stand_in_envoys_order() {
        let body = LocalReply::new(503, "x")
            .body("no healthy upstream")
            .header("x-envoy-overloaded", "true");
        assert_eq!(
            sent(body.clone(), PLAIN, h1::Connection::Close),
            format!(
                "HTTP/1.1 503 Service Unavailable\r\nx-envoy-overloaded: true\r\n\
                 content-length: 19\r\ncontent-type: text/plain\r\ndate: {DATE}\r\n\
                 server: gwanmun\r\nconnection: close\r\n\r\nno healthy upstream"
            )
        );
        let head = Asked {
            head: true,
            ..PLAIN
        };
        assert!(sent(body, head, h1::Connection::KeepAlive).ends_with("server: gwanmun\r\n\r\n"));
        assert_eq!(
            sent(LocalReply::route_not_found(), PLAIN, h1::Connection::Close),
            format!(
                "HTTP/1.1 404 Not Found\r\ndate: {DATE}\r\nserver: gwanmun\r\n\
                 connection: close\r\ncontent-length: 0\r\n\r\n"
            )
        );
        assert_eq!(
            sent(
                LocalReply::new(204, "direct_response").body("x"),
                PLAIN,
                h1::Connection::KeepAlive
            ),
            format!("HTTP/1.1 204 No Content\r\ndate: {DATE}\r\nserver: gwanmun\r\n\r\n")
        );
    }

    #[test]
    fn grpc_clients_get_trailers_only() {
        let reply = LocalReply::new(503, "x")
            .body("é 100%\nx")
            .header("x-envoy-overloaded", "true");
        let grpc = Asked {
            grpc: true,
            ..PLAIN
        };
        assert_eq!(
            sent(reply, grpc, h1::Connection::KeepAlive),
            format!(
                "HTTP/1.1 200 OK\r\nx-envoy-overloaded: true\r\ncontent-type: application/grpc\r\n\
                 grpc-status: 14\r\ngrpc-message: %C3%A9 100%25%0Ax\r\ndate: {DATE}\r\n\
                 server: gwanmun\r\ncontent-length: 0\r\n\r\n"
            )
        );
    }

    #[test]
    fn grpc_calls_to_an_invalid_backend_are_unavailable() {
        let reply = LocalReply::failure(gwanmun_ir::Failure::InvalidBackend);
        let grpc = Asked {
            grpc: true,
            ..PLAIN
        };
        let text = sent(reply, grpc, h1::Connection::KeepAlive);
        assert!(text.contains("grpc-status: 14\r\n"), "{text}");
    }

    #[test]
    fn grpc_statuses_are_envoys() {
        for (status, code) in [
            (400, 13),
            (401, 16),
            (403, 7),
            (404, 12),
            (429, 14),
            (502, 14),
            (503, 14),
            (504, 14),
            (301, 2),
            (413, 2),
            (418, 2),
            (500, 2),
            (555, 2),
        ] {
            assert_eq!(grpc_status(status), code, "{status}");
        }
    }
}
