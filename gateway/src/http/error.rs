//! Why a message is refused.

use super::reason::reason;
use crate::telemetry::Flag;

/// Why a request is refused before it is routed. The connection is closed after the answer.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{status} {details}")]
pub(crate) struct RequestError {
    /// Status of the answer; 0 for none, see [`Self::is_reset`].
    pub(crate) status: u16,
    /// Body of the answer; empty for none.
    pub(crate) body: &'static str,
    /// Response flag.
    pub(crate) flag: Option<Flag>,
    /// Response code details, Envoy's strings.
    pub(crate) details: &'static str,
}

impl RequestError {
    /// What the codec refuses: flag `DPE`, the reason phrase as body.
    fn protocol(status: u16, details: &'static str) -> Self {
        Self {
            status,
            body: reason(status),
            flag: Some(Flag::Dpe),
            details,
        }
    }

    /// What is refused without a body.
    fn silent(details: &'static str) -> Self {
        Self {
            status: 400,
            body: "",
            flag: None,
            details,
        }
    }

    /// The bytes are not HTTP as we accept it.
    pub(crate) fn codec() -> Self {
        Self::protocol(400, "http1.codec_error")
    }

    /// A NUL in a field value.
    pub(crate) fn invalid_characters() -> Self {
        Self::protocol(400, "http1.invalid_characters")
    }

    /// `content-length` and `transfer-encoding` together.
    pub(crate) fn length_and_chunked() -> Self {
        Self::protocol(400, "http1.content_length_and_chunked_not_allowed")
    }

    /// A `transfer-encoding` other than `chunked`.
    pub(crate) fn transfer_encoding() -> Self {
        Self::protocol(501, "http1.invalid_transfer_encoding")
    }

    /// A target that is neither a path nor a URL.
    pub(crate) fn invalid_url() -> Self {
        Self::protocol(400, "http1.invalid_url")
    }

    /// An `https://` target on a plaintext connection.
    pub(crate) fn https_on_plaintext() -> Self {
        Self::protocol(403, "http1.https_url_on_plaintext_connection")
    }

    /// An authority that is not one.
    pub(crate) fn invalid_authority() -> Self {
        Self::protocol(400, "http.invalid_authority")
    }

    /// A version we do not speak.
    pub(crate) fn low_version() -> Self {
        Self::protocol(426, "low_version")
    }

    /// A head with too many bytes.
    pub(crate) fn head_too_large() -> Self {
        Self::protocol(431, "http1.headers_too_large")
    }

    /// A head with too many fields.
    pub(crate) fn too_many_fields() -> Self {
        Self::protocol(431, "http1.too_many_headers")
    }

    /// No authority at all.
    pub(crate) fn missing_host() -> Self {
        Self::silent("missing_host_header")
    }

    /// A path that has no normal form.
    pub(crate) fn path_normalization() -> Self {
        Self::silent("path_normalization_failed")
    }

    /// CONNECT, which no route serves.
    pub(crate) fn connect() -> Self {
        Self {
            status: 404,
            body: "",
            flag: Some(Flag::Nr),
            details: "route_not_found",
        }
    }

    /// A field that HTTP/2 does not allow: the stream is reset.
    pub(crate) fn stream_field() -> Self {
        Self::reset("http2.invalid.header.field")
    }

    /// A request that HTTP/2 does not allow: the stream is reset.
    pub(crate) fn stream_message() -> Self {
        Self::reset("http2.violation.of.messaging.rule")
    }

    fn reset(details: &'static str) -> Self {
        Self {
            status: 0,
            body: "",
            flag: Some(Flag::Dpe),
            details,
        }
    }

    /// Whether the stream is reset (`PROTOCOL_ERROR`) instead of answered.
    pub(crate) fn is_reset(&self) -> bool {
        self.status == 0
    }

    /// `OPTIONS *`.
    pub(crate) fn absolute_path() -> Self {
        Self {
            status: 404,
            body: "",
            flag: None,
            details: "absolute_path_rejected",
        }
    }
}

/// An upstream's answer that is not HTTP as we accept it: 502, flag `UPE`.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub(crate) enum ProtocolError {
    /// The head does not parse.
    #[error("malformed response head")]
    Head,
    /// The head is over the limits.
    #[error("response head too large")]
    TooLarge,
    /// Length and transfer coding contradict each other or are unknown.
    #[error("invalid response framing")]
    Framing,
    /// A 101 nobody asked for.
    #[error("unexpected upgrade")]
    Upgrade,
    /// More informational responses than anyone needs.
    #[error("too many informational responses")]
    Informational,
}

/// A body that cannot be decoded.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub(crate) enum BodyError {
    /// A malformed chunk size line, or no line end after a chunk.
    #[error("malformed chunk")]
    Chunk,
    /// Chunk extensions over the limit.
    #[error("chunk extensions too large")]
    Extensions,
    /// A malformed trailer section.
    #[error("malformed trailers")]
    Trailers,
    /// A trailer section over the limits.
    #[error("trailers too large")]
    TrailersTooLarge,
    /// The connection ended before the body did.
    #[error("body ended early")]
    Truncated,
}
