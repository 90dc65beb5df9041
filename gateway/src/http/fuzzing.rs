//! What must hold for any bytes a peer sends. Called by the fuzz targets and, with random input,
//! by tests.

use super::gate::admit;
use super::h1::{
    BodyDecoder, BodyEvent, HeadLimits, RequestParser, ResponseParser, write_request,
    write_response,
};
use super::normalize::normalize as normal_form;
use super::{BodyFraming, RequestHead, ResponseHead, Version, forward, h1, h2};
use bytes::BytesMut;
use gwanmun_ir::{Dialect, HostRule, HttpOptions, PathNormalization, ServerHeader};
use http::Method;

/// Takes the first byte to say where the rest is cut in two.
fn cut(data: &[u8]) -> (&[u8], &[u8]) {
    let Some((at, text)) = data.split_first() else {
        return (data, data);
    };
    let at = usize::from(*at) % text.len().saturating_add(1);
    text.split_at_checked(at).unwrap_or((text, b""))
}

fn printed(head: &RequestHead) -> Vec<u8> {
    let mut out = Vec::new();
    write_request(head, &mut out);
    out
}

fn parse_request(first: &[u8], second: &[u8]) -> Option<(RequestHead, BytesMut)> {
    let mut parser = RequestParser::new(HeadLimits::REQUEST, false);
    let mut buffer = BytesMut::from(first);
    let early = parser.parse(&mut buffer).ok()?;
    buffer.extend_from_slice(second);
    let head = match early {
        Some(head) => head,
        None => parser.parse(&mut buffer).ok()??,
    };
    Some((head, buffer))
}

/// A request head is the same in one piece and in two; what is sent on reads as what was read.
pub(crate) fn request(data: &[u8]) {
    let (first, second) = cut(data);
    let whole = [first, second].concat();
    let one = parse_request(&whole, b"");
    let two = parse_request(first, second);
    let shown = |parsed: &Option<(RequestHead, BytesMut)>| {
        parsed
            .as_ref()
            .map(|(head, rest)| (printed(head), rest.to_vec()))
    };
    assert_eq!(shown(&one), shown(&two), "a cut changes a request");
    let Some((mut head, _)) = one else { return };
    let options = HttpOptions {
        forward_client_cert: gwanmun_ir::ForwardClientCert::SanitizeSet,
        host_rule: HostRule::Exclusive,
        path_normalization: PathNormalization::Base,
        trusted_hops: 1,
        detect_misdirected: false,
        accept_http10: true,
    };
    if admit(&mut head, &options).is_err() {
        return;
    }
    let client = forward::Client::new([203, 0, 113, 7].into(), false);
    forward::enter(&mut head, &client, &options);
    let dialect = Dialect::Istio {
        server: ServerHeader::PassThrough,
    };
    forward::attempt(&mut head, &dialect, 1, Some(1));
    let sent = printed(&head);
    let again = parse_request(&sent, b"");
    assert!(again.is_some(), "what is sent on does not parse");
    let Some((again, rest)) = again else { return };
    assert!(rest.is_empty(), "what is sent on has something behind it");
    assert_eq!(again.target(), head.target(), "target");
    assert_eq!(again.authority(), head.authority(), "authority");
    let same = match (head.framing(), again.framing()) {
        (BodyFraming::None, BodyFraming::Length(0)) => true,
        (one, two) => one == two,
    };
    assert!(same, "the body ends elsewhere for the upstream");
    let _ = h2::request(&head, false);
}

fn parse_response(first: &[u8], second: &[u8]) -> Option<(ResponseHead, BytesMut)> {
    let mut parser = ResponseParser::new(HeadLimits::RESPONSE, &Method::GET, None);
    let mut buffer = BytesMut::from(first);
    let early = parser.parse(&mut buffer).ok()?;
    buffer.extend_from_slice(second);
    let head = match early {
        Some(head) => head,
        None => parser.parse(&mut buffer).ok()??,
    };
    Some((head, buffer))
}

/// A response head is the same in one piece and in two; what is sent on reads as what was read.
pub(crate) fn response(data: &[u8]) {
    let (first, second) = cut(data);
    let whole = [first, second].concat();
    let one = parse_response(&whole, b"");
    let two = parse_response(first, second);
    let shown = |parsed: &Option<(ResponseHead, BytesMut)>| {
        parsed.as_ref().map(|(head, rest)| {
            let mut out = Vec::new();
            write_response(head, Version::Http11, h1::Connection::KeepAlive, &mut out);
            (out, rest.to_vec())
        })
    };
    assert_eq!(shown(&one), shown(&two), "a cut changes a response");
    let Some((mut head, _)) = one else { return };
    let dialect = Dialect::GatewayApi;
    forward::respond(&mut head, &dialect, Version::Http11, None);
    if head.framing() == BodyFraming::UntilClose {
        head.set_framing(BodyFraming::Chunked);
    }
    forward::finish(&mut head, &dialect, 0);
    let mut out = Vec::new();
    write_response(&head, Version::Http11, h1::Connection::KeepAlive, &mut out);
    let again = parse_response(&out, b"").map(|(again, rest)| (again.framing(), rest.len()));
    assert_eq!(
        again,
        Some((head.framing(), 0)),
        "the body ends elsewhere for the client"
    );
    let _ = h2::response(&mut head);
}

fn decoded(first: &[u8], second: &[u8]) -> Option<(Vec<u8>, Option<usize>)> {
    let mut decoder = BodyDecoder::new(BodyFraming::Chunked);
    let mut buffer = BytesMut::new();
    let mut body = Vec::new();
    for piece in [first, second] {
        buffer.extend_from_slice(piece);
        while let Some(event) = decoder.decode(&mut buffer).ok()? {
            match event {
                BodyEvent::Data(data) => body.extend_from_slice(&data),
                BodyEvent::End(_) => {
                    let rest = if std::ptr::eq(piece, first) {
                        buffer.len().saturating_add(second.len())
                    } else {
                        buffer.len()
                    };
                    return Some((body, Some(rest)));
                }
            }
        }
    }
    Some((body, None))
}

/// A chunked body is the same in one piece and in two.
pub(crate) fn chunked(data: &[u8]) {
    let (first, second) = cut(data);
    let whole = [first, second].concat();
    assert_eq!(
        decoded(&whole, b""),
        decoded(first, second),
        "a cut changes a body"
    );
}

/// Normalising twice is normalising once, and no dot segment is left.
pub(crate) fn normalize(data: &[u8]) {
    for mode in [
        PathNormalization::None,
        PathNormalization::Base,
        PathNormalization::MergeSlashes,
        PathNormalization::DecodeAndMergeSlashes,
    ] {
        let target = [b"/", data].concat();
        let Ok(once) = normal_form(&target, mode) else {
            continue;
        };
        let once = once.unwrap_or(target);
        let again = normal_form(&once, mode);
        let shown = String::from_utf8_lossy(&once);
        assert_eq!(again, Ok(None), "{shown:?} is not stable");
        if mode == PathNormalization::None {
            continue;
        }
        let path = once.split(|b| *b == b'?').next().unwrap_or_default();
        for segment in path.split(|b| *b == b'/') {
            let name = segment.split(|b| *b == b';').next().unwrap_or_default();
            assert!(name != b"." && name != b"..", "a dot segment is left");
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    fn soup(words: &'static [&'static str]) -> impl Strategy<Value = Vec<u8>> {
        let word = prop_oneof![
            8 => prop::sample::select(words).prop_map(|word| word.as_bytes().to_vec()),
            1 => prop::collection::vec(any::<u8>(), 0..4),
        ];
        prop::collection::vec(word, 0..12).prop_map(|words| words.concat())
    }

    const HEAD: &[&str] = &[
        "GET / HTTP/1.1\r\n",
        "POST http://b/../x;y HTTP/1.1\r\n",
        "HTTP/1.1 200 OK\r\n",
        "HTTP/1.0 204 \r\n",
        "Host: a\r\n",
        "Host: ",
        "X: y\r\n",
        "Connection: ",
        "close, x\r\n",
        "upgrade\r\n",
        "Upgrade: websocket\r\n",
        "Content-Length: ",
        "3\r\n",
        "0\r\n",
        "Transfer-Encoding: ",
        "chunked\r\n",
        "\r\n",
        "\n",
        "\r",
        " ",
        "\t",
        ":",
        "TE: trailers\r\n",
        "X-Forwarded-For: 1.1.1.1\r\n",
    ];
    const CHUNKS: &[&str] = &[
        "0",
        "1",
        "a",
        "F",
        "\r\n",
        "\r",
        "\n",
        ";",
        "x",
        "0\r\n\r\n",
        "X: y\r\n",
        " ",
    ];
    const PATH: &[&str] = &[
        "/", ".", "..", ";", "%2e", "%2F", "%5c", "\\", "%", "2", "e", "%65", "?", "#", "|", "a",
        "%00", "%zz",
    ];

    proptest! {
        #[test]
        fn requests_hold(data in soup(HEAD)) {
            super::request(&data);
        }

        #[test]
        fn responses_hold(data in soup(HEAD)) {
            super::response(&data);
        }

        #[test]
        fn chunks_hold(data in soup(CHUNKS)) {
            super::chunked(&data);
        }

        #[test]
        fn paths_hold(data in soup(PATH)) {
            super::normalize(&data);
        }
    }
}
