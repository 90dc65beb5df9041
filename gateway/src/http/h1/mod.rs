//! HTTP/1: parsers, body decoders and writers over buffers.
//!
//! A connection keeps one [`RequestParser`] or [`ResponseParser`] and one [`BodyDecoder`] per
//! message. What the parsers do not understand without doubt they refuse: a message that two
//! recipients could read differently is how requests are smuggled
//! ([RFC 9112 11.2](https://www.rfc-editor.org/rfc/rfc9112#section-11.2)).

mod body;
mod request;
mod response;
mod split;
mod write;

pub(crate) use body::{BodyDecoder, BodyEvent, Trailers};
pub(crate) use request::RequestParser;
pub(crate) use response::ResponseParser;
pub(crate) use split::parse_length;
pub(crate) use write::{
    CHUNK_END, Connection, write_chunk_start, write_continue, write_last_chunk, write_request,
    write_response,
};

/// Limits of a head.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct HeadLimits {
    /// Bytes, start line included.
    pub(crate) bytes: usize,
    /// Fields, at most [`MAX_FIELDS`].
    pub(crate) fields: usize,
}

/// Fields a head may have whatever the limits say.
pub(crate) const MAX_FIELDS: usize = 256;

impl HeadLimits {
    /// Envoy's limits for requests.
    pub(crate) const REQUEST: Self = Self {
        bytes: 60 * 1024,
        fields: 100,
    };

    /// Envoy's limits for responses.
    pub(crate) const RESPONSE: Self = Self {
        bytes: 80 * 1024,
        fields: 100,
    };
}

#[cfg(test)]
mod tests;
