use super::{HeadLimits, ResponseParser, response};
use crate::http::{BodyFraming, Known, ProtocolError, Upgrade};
use bytes::BytesMut;
use http::Method;

/// Status line and fields, answered to a GET: framing and whether the connection lives on.
#[test]
fn framing_follows_rfc_9112_section_6_3() {
    use BodyFraming::{Chunked, Length, None, UntilClose};
    for (text, framing, lives) in [
        ("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n", Length(3), true),
        (
            "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nContent-Length: 3\r\n",
            Length(3),
            true,
        ),
        (
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n",
            Chunked,
            true,
        ),
        (
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked\r\nConnection: close\r\n",
            Chunked,
            false,
        ),
        ("HTTP/1.1 200 OK\r\n", UntilClose, false),
        ("HTTP/1.1 200\r\nContent-Length: 0\r\n", Length(0), true),
        ("HTTP/1.0 200 OK\r\n", UntilClose, false),
        ("HTTP/1.0 200 OK\r\nContent-Length: 3\r\n", Length(3), false),
        (
            "HTTP/1.0 200 OK\r\nContent-Length: 3\r\nConnection: keep-alive\r\n",
            Length(3),
            true,
        ),
        ("HTTP/1.1 204 No Content\r\n", None, true),
        (
            "HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n",
            None,
            true,
        ),
        (
            "HTTP/1.1 204 No Content\r\nContent-Length: 3\r\n",
            None,
            false,
        ),
        (
            "HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n",
            None,
            false,
        ),
        (
            "HTTP/1.1 304 Not Modified\r\nContent-Length: 3\r\n",
            None,
            true,
        ),
        ("HTTP/1.1 100 Continue\r\n", None, true),
        ("HTTP/1.1 103 Early Hints\r\nLink: a\r\n", None, true),
        (
            "HTTP/1.1 999 What\r\nContent-Length: 1\r\n",
            Length(1),
            true,
        ),
    ] {
        let head = response(format!("{text}\r\n").as_bytes()).unwrap().unwrap();
        assert_eq!(
            (head.framing(), head.keep_alive()),
            (framing, lives),
            "{text}"
        );
    }
}

#[test]
fn contradictions_are_protocol_errors() {
    for (text, expected) in [
        (
            "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n",
            ProtocolError::Framing,
        ),
        (
            "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nContent-Length: 4\r\n",
            ProtocolError::Framing,
        ),
        (
            "HTTP/1.1 200 OK\r\nContent-Length: 3, 3\r\n",
            ProtocolError::Framing,
        ),
        (
            "HTTP/1.1 200 OK\r\nContent-Length: x\r\n",
            ProtocolError::Framing,
        ),
        (
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n",
            ProtocolError::Framing,
        ),
        (
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: identity\r\n",
            ProtocolError::Framing,
        ),
        (
            "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n",
            ProtocolError::Framing,
        ),
        (
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: foo\r\n",
            ProtocolError::Upgrade,
        ),
        ("HTTP/1.1 099 OK\r\n", ProtocolError::Head),
        ("HTTP/1.1 20 OK\r\n", ProtocolError::Head),
        ("HTTP/2.0 200 OK\r\n", ProtocolError::Head),
        ("ICY 200 OK\r\n", ProtocolError::Head),
        ("HTTP/1.1 200 OK\r\nX Y: a\r\n", ProtocolError::Head),
        ("HTTP/1.1 200 OK\r\nX: a\0\r\n", ProtocolError::Head),
        (
            "HTTP/1.1 200 OK\r\nX: a\r\n folded\r\n",
            ProtocolError::Head,
        ),
        ("HTTP/1.1 200 OK\r\nX : a\r\n", ProtocolError::Head),
    ] {
        let error = response(format!("{text}\r\n").as_bytes()).unwrap_err();
        assert_eq!(error, expected, "{text}");
    }
}

#[test]
fn answers_to_head_keep_their_length_and_have_no_body() {
    for field in ["content-length: 7", "transfer-encoding: chunked"] {
        let mut parser = ResponseParser::new(HeadLimits::RESPONSE, &Method::HEAD, None);
        let mut buffer = BytesMut::from(format!("HTTP/1.1 200 OK\r\n{field}\r\n\r\n").as_str());
        let head = parser.parse(&mut buffer).unwrap().unwrap();
        assert_eq!(head.framing(), BodyFraming::None);
        assert_eq!(head.headers().count(), 1, "{field}");
        assert!(head.keep_alive());
    }
}

#[test]
fn an_upgrade_that_was_asked_for_is_taken() {
    let mut parser =
        ResponseParser::new(HeadLimits::RESPONSE, &Method::GET, Some(Upgrade::WebSocket));
    let mut buffer = BytesMut::from(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\nraw",
    );
    let head = parser.parse(&mut buffer).unwrap().unwrap();
    assert_eq!(head.upgrade(), Some(Upgrade::WebSocket));
    assert_eq!(&buffer[..], b"raw");
}

#[test]
fn informational_heads_may_repeat_but_not_for_ever() {
    let mut parser = ResponseParser::new(HeadLimits::RESPONSE, &Method::GET, None);
    let mut buffer = BytesMut::from("HTTP/1.1 103 Early\r\nLink: a\r\n\r\n".repeat(33).as_str());
    for _ in 0..32 {
        assert!(
            parser
                .parse(&mut buffer)
                .unwrap()
                .unwrap()
                .is_informational()
        );
    }
    assert_eq!(
        parser.parse(&mut buffer).unwrap_err(),
        ProtocolError::Informational
    );
}

#[test]
fn heads_over_the_limits_are_protocol_errors() {
    let many = format!("HTTP/1.1 200 OK\r\n{}\r\n", "X: y\r\n".repeat(101));
    assert_eq!(
        response(many.as_bytes()).unwrap_err(),
        ProtocolError::TooLarge
    );
    let long = format!("HTTP/1.1 200 OK\r\nX: {}\r\n\r\n", "y".repeat(82_000));
    assert_eq!(
        response(long.as_bytes()).unwrap_err(),
        ProtocolError::TooLarge
    );
}

#[test]
fn lines_that_end_with_lf_are_sent_on_with_crlf() {
    let head = response(b"HTTP/1.1 200 OK\nX: y\nContent-Length: 0\r\n\n")
        .unwrap()
        .unwrap();
    let mut out = Vec::new();
    super::write_response(
        &head,
        crate::http::Version::Http11,
        super::Connection::KeepAlive,
        &mut out,
    );
    assert_eq!(out, b"HTTP/1.1 200 OK\r\nx: y\r\ncontent-length: 0\r\n\r\n");
    assert_eq!(head.get(Known::ContentLength), Some(&b"0"[..]));
}
