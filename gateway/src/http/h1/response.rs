//! Heads of HTTP/1 responses.

use super::split::{Parts, Progress, has_token, parse_length, skip_empty_lines};
use super::{HeadLimits, MAX_FIELDS};
use crate::http::error::ProtocolError;
use crate::http::fields::Fields;
use crate::http::head::{BodyFraming, ResponseHead, Upgrade, Version};
use crate::http::known::Known;
use bytes::BytesMut;
use http::Method;
use httparse::{Header, ParserConfig, Status};
use std::mem::MaybeUninit;

/// Informational responses one request may get.
const MAX_INFORMATIONAL: u8 = 32;

/// Parses the heads that answer one request.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ResponseParser {
    limits: HeadLimits,
    head: bool,
    upgrade: Option<Upgrade>,
    informational: u8,
    progress: Progress,
}

impl ResponseParser {
    /// A parser for the answer to a request of this method that asked, or did not ask, for
    /// another protocol.
    pub(crate) fn new(limits: HeadLimits, method: &Method, upgrade: Option<Upgrade>) -> Self {
        Self {
            limits,
            head: *method == Method::HEAD,
            upgrade,
            informational: 0,
            progress: Progress::default(),
        }
    }

    /// Takes one head off the buffer; nothing while it is incomplete. After an informational
    /// head another one follows.
    ///
    /// # Errors
    /// The answer is not HTTP as we accept it; the connection is of no use any more.
    pub(crate) fn parse(
        &mut self,
        buffer: &mut BytesMut,
    ) -> Result<Option<ResponseHead>, ProtocolError> {
        if matches!(buffer.first(), Some(b'\r' | b'\n')) {
            skip_empty_lines(buffer);
        }
        let full = buffer.len() > self.limits.bytes;
        if !self.progress.ready(buffer) && !full {
            return Ok(None);
        }
        let Some((status, version, len, parts)) = self.scan(buffer)? else {
            return if full {
                Err(ProtocolError::TooLarge)
            } else {
                Ok(None)
            };
        };
        self.progress.reset();
        if parts.too_long {
            return Err(ProtocolError::TooLarge);
        }
        let fields = parts.take(buffer, len);
        let mut head = ResponseHead {
            status,
            version,
            framing: BodyFraming::None,
            keep_alive: version == Version::Http11,
            upgrade: None,
            fields,
        };
        self.frame(&mut head)?;
        if head.is_informational() {
            self.informational = self.informational.saturating_add(1);
            if self.informational > MAX_INFORMATIONAL {
                return Err(ProtocolError::Informational);
            }
        }
        Ok(Some(head))
    }

    fn scan(
        &self,
        buffer: &BytesMut,
    ) -> Result<Option<(u16, Version, usize, Parts)>, ProtocolError> {
        let bytes = buffer.get(..self.limits.bytes).unwrap_or(buffer);
        let mut slots = [const { MaybeUninit::<Header<'_>>::uninit() }; MAX_FIELDS];
        let slots = slots
            .get_mut(..self.limits.fields.min(MAX_FIELDS))
            .unwrap_or_default();
        let mut response = httparse::Response::new(&mut []);
        let parsed =
            ParserConfig::default().parse_response_with_uninit_headers(&mut response, bytes, slots);
        let len = match parsed {
            Ok(Status::Complete(len)) => len,
            Ok(Status::Partial) => return Ok(None),
            Err(httparse::Error::TooManyHeaders) => return Err(ProtocolError::TooLarge),
            Err(_) => return Err(ProtocolError::Head),
        };
        let (Some(status), Some(version)) = (response.code, response.version) else {
            return Err(ProtocolError::Head);
        };
        if status < 100 {
            return Err(ProtocolError::Head);
        }
        let version = if version == 0 {
            Version::Http10
        } else {
            Version::Http11
        };
        let parts = Parts::of(bytes, response.headers, len);
        Ok(Some((status, version, len, parts)))
    }

    /// Decides how the body ends
    /// ([RFC 9112 6.3](https://www.rfc-editor.org/rfc/rfc9112#section-6.3)) and whether the
    /// connection lives on.
    fn frame(&self, head: &mut ResponseHead) -> Result<(), ProtocolError> {
        let chunked = chunked(&head.fields, head.version)?;
        let length = length(&mut head.fields)?;
        if chunked && length.is_some() {
            return Err(ProtocolError::Framing);
        }
        keep_alive(head);
        match head.status {
            101 => {
                let Some(upgrade) = self.upgrade else {
                    return Err(ProtocolError::Upgrade);
                };
                head.upgrade = Some(upgrade);
                head.keep_alive = false;
                bodiless(head);
            }
            100..200 | 204 => {
                if chunked || length.is_some_and(|length| length > 0) {
                    head.keep_alive = false;
                }
                bodiless(head);
            }
            304 => {}
            _ if self.head => {}
            _ => {
                head.framing = match (chunked, length) {
                    (true, _) => BodyFraming::Chunked,
                    (false, Some(length)) => BodyFraming::Length(length),
                    (false, None) => BodyFraming::UntilClose,
                };
                head.keep_alive &= head.framing != BodyFraming::UntilClose;
                head.fields.remove_known(Known::TransferEncoding);
            }
        }
        Ok(())
    }
}

/// Whether the body is chunked; any other coding is refused, since its body would be mislabelled.
fn chunked(fields: &Fields, version: Version) -> Result<bool, ProtocolError> {
    if !fields.has(Known::TransferEncoding) {
        return Ok(false);
    }
    let mut values = fields.values(Known::TransferEncoding.text());
    let chunked = values
        .next()
        .is_some_and(|value| value.eq_ignore_ascii_case(b"chunked"));
    if !chunked || values.next().is_some() || version == Version::Http10 {
        return Err(ProtocolError::Framing);
    }
    Ok(true)
}

/// The length; several fields that agree become one.
fn length(fields: &mut Fields) -> Result<Option<u64>, ProtocolError> {
    if !fields.has(Known::ContentLength) {
        return Ok(None);
    }
    let mut values = fields.values(Known::ContentLength.text()).map(parse_length);
    let first = values.next().flatten().ok_or(ProtocolError::Framing)?;
    let mut several = false;
    for other in values {
        if other != Some(first) {
            return Err(ProtocolError::Framing);
        }
        several = true;
    }
    if several {
        fields.set_known(
            Known::ContentLength,
            &[itoa::Buffer::new().format(first).as_bytes()],
        );
    }
    Ok(Some(first))
}

/// A response that cannot have a body says nothing about one.
fn bodiless(head: &mut ResponseHead) {
    head.fields.remove_known(Known::ContentLength);
    head.fields.remove_known(Known::TransferEncoding);
}

fn keep_alive(head: &mut ResponseHead) {
    if !head.fields.has(Known::Connection) {
        return;
    }
    let (mut close, mut keep) = (false, false);
    for value in head.fields.values(Known::Connection.text()) {
        close |= has_token(value, b"close");
        keep |= has_token(value, b"keep-alive");
    }
    head.keep_alive = !close && (keep || head.version == Version::Http11);
}
