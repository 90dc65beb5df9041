//! Tests of the HTTP/1 codec.

mod body;
mod corpus;
mod properties;
mod request;
mod response;
mod write;

use super::*;
use crate::http::{RequestError, RequestHead, ResponseHead};
use bytes::BytesMut;

/// Parses one request head from bytes on a plaintext connection.
pub(super) fn request(text: &[u8]) -> Result<Option<RequestHead>, RequestError> {
    RequestParser::new(HeadLimits::REQUEST, false).parse(&mut BytesMut::from(text))
}

/// Parses one response head to a GET.
pub(super) fn response(text: &[u8]) -> Result<Option<ResponseHead>, crate::http::ProtocolError> {
    ResponseParser::new(HeadLimits::RESPONSE, &http::Method::GET, None)
        .parse(&mut BytesMut::from(text))
}

/// Data, trailers and what is left over.
type Decoded = (Vec<u8>, Option<Trailers>, Vec<u8>);

/// Decodes a whole body.
pub(super) fn decode(
    framing: crate::http::BodyFraming,
    text: &[u8],
) -> Result<Decoded, crate::http::BodyError> {
    let mut decoder = BodyDecoder::new(framing);
    let mut buffer = BytesMut::from(text);
    let mut data = Vec::new();
    loop {
        let event = match decoder.decode(&mut buffer)? {
            Some(event) => event,
            None => match decoder.finish()? {
                Some(event) => event,
                None => return Ok((data, None, buffer.to_vec())),
            },
        };
        match event {
            BodyEvent::Data(piece) => data.extend_from_slice(&piece),
            BodyEvent::End(trailers) => return Ok((data, trailers, buffer.to_vec())),
        }
    }
}
