//! Heads between the `h2` crate's types and ours.
//!
//! The `h2` crate refuses connection fields, upper case, `te` other than `trailers`, bad pseudo
//! headers and lengths that contradict the body. What it lets through and HTTP/1 would not is
//! refused here.

use super::authority;
use super::error::{ProtocolError, RequestError};
use super::fields::{Fields, Pieces};
use super::h1::{Trailers, parse_length};
use super::head::{BodyFraming, RequestHead, ResponseHead, TargetForm, Version};
use super::known::Known;
use bytes::Bytes;
use http::uri::{Authority, PathAndQuery, Scheme, Uri};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode};

/// A head that cannot be said in HTTP/2.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("head cannot be expressed in HTTP/2")]
pub(crate) struct Inexpressible;

/// The head of a client's request; `end` says that no body follows.
///
/// # Errors
/// How to refuse it; [`RequestError::is_reset`] tells whether by a reset or by an answer.
pub(crate) fn request_head(
    parts: http::request::Parts,
    end: bool,
) -> Result<RequestHead, RequestError> {
    let mut fields = Fields::pairs(parts.headers);
    join_cookies(&mut fields);
    let length = collapse_length(&mut fields).ok_or_else(RequestError::stream_field)?;
    let host = take_host(&mut fields)?;
    let mut head = RequestHead::new(parts.method, Version::Http2, fields);
    head.framing = match (end, length) {
        (true, _) => BodyFraming::None,
        (false, Some(length)) => BodyFraming::Length(length),
        (false, None) => BodyFraming::Chunked,
    };
    let authority = match (parts.uri.authority(), &host) {
        (Some(authority), _) => authority.as_str().as_bytes(),
        (None, Some(host)) => host.as_bytes(),
        (None, None) => return Err(RequestError::stream_message()),
    };
    if !authority::is_valid(authority) {
        return Err(RequestError::invalid_authority());
    }
    let target = parts
        .uri
        .path_and_query()
        .map_or("", PathAndQuery::as_str)
        .as_bytes();
    if head.method == Method::CONNECT {
        head.form = TargetForm::Authority;
    } else if target == b"*" && head.method == Method::OPTIONS {
        head.form = TargetForm::Asterisk;
    } else if !target.starts_with(b"/") || !target.is_ascii() {
        return Err(RequestError::stream_field());
    }
    head.set_target(target);
    head.set_authority(authority);
    head.uri = Some(parts.uri);
    Ok(head)
}

/// `host` counts where there is no `:authority`; two of them are refused.
fn take_host(fields: &mut Fields) -> Result<Option<HeaderValue>, RequestError> {
    if !fields.has(Known::Host) {
        return Ok(None);
    }
    let mut values = fields.values(Known::Host.text());
    let host = values
        .next()
        .and_then(|value| HeaderValue::from_bytes(value).ok());
    if values.next().is_some() {
        return Err(RequestError::invalid_authority());
    }
    drop(values);
    fields.remove_known(Known::Host);
    Ok(host)
}

/// One `cookie` line, after the other fields
/// ([RFC 9113 8.2.3](https://www.rfc-editor.org/rfc/rfc9113#section-8.2.3)).
fn join_cookies(fields: &mut Fields) {
    if !fields.has(Known::Cookie) {
        return;
    }
    let joined = cookies(fields);
    fields.remove_known(Known::Cookie);
    fields.add(Known::Cookie.text(), &joined);
}

fn cookies(fields: &Fields) -> Vec<u8> {
    let mut joined = Vec::new();
    for value in fields.values(Known::Cookie.text()) {
        if !joined.is_empty() {
            joined.extend_from_slice(b"; ");
        }
        joined.extend_from_slice(value);
    }
    joined
}

/// The `content-length`; several that agree become one, nothing is told of what is no number.
fn collapse_length(fields: &mut Fields) -> Option<Option<u64>> {
    if !fields.has(Known::ContentLength) {
        return Some(None);
    }
    let mut values = fields.values(Known::ContentLength.text()).map(parse_length);
    let first = values.next().flatten()?;
    let mut several = false;
    for other in values {
        if other != Some(first) {
            return None;
        }
        several = true;
    }
    if several {
        let mut text = itoa::Buffer::new();
        fields.set_known(Known::ContentLength, &[text.format(first).as_bytes()]);
    }
    Some(Some(first))
}

/// The head of an upstream's answer; `end` says that no body follows, `is_head` that the request
/// was a HEAD.
///
/// # Errors
/// The answer is not one to this request.
pub(crate) fn response_head(
    parts: http::response::Parts,
    end: bool,
    is_head: bool,
) -> Result<ResponseHead, ProtocolError> {
    let mut head = ResponseHead::new(parts.status.as_u16());
    head.version = Version::Http2;
    head.fields = Fields::pairs(parts.headers);
    if head.status == 101 {
        return Err(ProtocolError::Upgrade);
    }
    let length = collapse_length(&mut head.fields).ok_or(ProtocolError::Framing)?;
    head.framing = match (head.status, length) {
        (100..200 | 204 | 304, _) => BodyFraming::None,
        _ if is_head => BodyFraming::None,
        _ if end => BodyFraming::Length(0),
        (_, Some(length)) => BodyFraming::Length(length),
        (_, None) => BodyFraming::Chunked,
    };
    if matches!(head.status, 100..200 | 204) {
        head.fields.remove_known(Known::ContentLength);
    }
    Ok(head)
}

/// The request for an HTTP/2 upstream; `tls` says what `:scheme` is.
///
/// # Errors
/// Target or authority cannot be said in HTTP/2.
pub(crate) fn request(head: &RequestHead, tls: bool) -> Result<Request<()>, Inexpressible> {
    let mut request = Request::new(());
    *request.method_mut() = head.http_method().clone();
    // A request without authority is told apart from a malformed one by its version.
    let mut uri = http::uri::Parts::default();
    if head.authority().is_empty() {
        *request.version_mut() = http::Version::HTTP_11;
    } else {
        *request.version_mut() = http::Version::HTTP_2;
        let kept = head.uri.as_ref().and_then(Uri::authority);
        let kept = kept.filter(|kept| kept.as_str() == head.authority());
        uri.authority = Some(match kept {
            Some(kept) => kept.clone(),
            None => Authority::try_from(head.authority()).map_err(|_invalid| Inexpressible)?,
        });
        uri.scheme = Some(if tls { Scheme::HTTPS } else { Scheme::HTTP });
    }
    let kept = head.uri.as_ref().and_then(Uri::path_and_query);
    let kept = kept.filter(|kept| kept.as_str().as_bytes() == head.target());
    uri.path_and_query = Some(match kept {
        Some(kept) => kept.clone(),
        None => PathAndQuery::try_from(head.target()).map_err(|_invalid| Inexpressible)?,
    });
    *request.uri_mut() = Uri::from_parts(uri).map_err(|_invalid| Inexpressible)?;
    *request.headers_mut() = map(head.fields());
    Ok(request)
}

/// The response for an HTTP/2 client; takes the fields out of the head.
///
/// # Errors
/// The status cannot be said in HTTP/2.
pub(crate) fn response(head: &mut ResponseHead) -> Result<Response<()>, Inexpressible> {
    let mut response = Response::new(());
    *response.status_mut() =
        StatusCode::from_u16(head.status()).map_err(|_invalid| Inexpressible)?;
    *response.version_mut() = http::Version::HTTP_2;
    *response.headers_mut() = into_map(std::mem::replace(head.fields_mut(), Fields::empty()));
    Ok(response)
}

/// Trailers from the `h2` crate, without fields that must not be there.
pub(crate) fn trailers(map: HeaderMap) -> Trailers {
    Trailers::of_map(map)
}

/// Trailers for the `h2` crate.
pub(crate) fn trailer_map(trailers: Trailers) -> HeaderMap {
    trailers.into_map(into_map)
}

/// Fields as a map, without those that are about an HTTP/1 connection, cookies joined.
fn map(fields: &Fields) -> HeaderMap {
    let mut map = HeaderMap::with_capacity(fields.len());
    let mut pieces = Pieces::default();
    let mut cookie_done = false;
    for field in fields.each() {
        let known = field.known();
        if is_connection(known) {
            continue;
        }
        let value = if known == Known::Cookie {
            if std::mem::replace(&mut cookie_done, true) {
                continue;
            }
            HeaderValue::from_maybe_shared(Bytes::from(cookies(fields))).ok()
        } else {
            fields.shared_value(field, &mut pieces)
        };
        if let (Some(name), Some(value)) = (fields.shared_name(field), value) {
            append(&mut map, known, name, value);
        }
    }
    map
}

/// As [`map`], of fields that nobody needs afterwards: what can be moved is not shared.
fn into_map(mut fields: Fields) -> HeaderMap {
    join_cookies(&mut fields);
    let mut map = HeaderMap::with_capacity(fields.len());
    let mut pieces = Pieces::default();
    let mut at = 0;
    while let Some(field) = fields.nth(at) {
        at += 1;
        let known = field.known();
        if known != Known::Gone
            && !is_connection(known)
            && let Some((name, value)) = fields.take(&field, &mut pieces)
        {
            append(&mut map, known, name, value);
        }
    }
    map
}

fn append(map: &mut HeaderMap, known: Known, name: HeaderName, mut value: HeaderValue) {
    if known == Known::XRequestId {
        // Never the same twice: in the peer's table it would only displace what is.
        value.set_sensitive(true);
    }
    map.append(name, value);
}

/// Fields that have no place in HTTP/2
/// ([RFC 9113 8.2.2](https://www.rfc-editor.org/rfc/rfc9113#section-8.2.2)).
fn is_connection(known: Known) -> bool {
    matches!(
        known,
        Known::Connection
            | Known::Http2Settings
            | Known::KeepAlive
            | Known::ProxyConnection
            | Known::TransferEncoding
            | Known::Upgrade
    )
}
