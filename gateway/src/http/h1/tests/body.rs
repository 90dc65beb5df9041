use super::{BodyDecoder, BodyEvent, decode, write_chunk_start, write_last_chunk};
use crate::http::{BodyError, BodyFraming};
use bytes::BytesMut;

#[test]
fn trailers_are_kept_without_what_must_not_be_there() {
    let text = b"1\r\nx\r\n0\r\nGrpc-Status: 0\r\nContent-Length: 5\r\nHost: b\r\nCookie: a\r\n\
                 Authorization: b\r\nX-Forwarded-For: c\r\nX-Envoy-Foo: d\r\nCache-Control: e\r\n\
                 X-Sum: 1\r\n\r\nnext";
    let (data, trailers, rest) = decode(BodyFraming::Chunked, text).unwrap();
    assert_eq!((&data[..], &rest[..]), (&b"x"[..], &b"next"[..]));
    let trailers = trailers.unwrap();
    assert_eq!(trailers.grpc_status(), Some(0));
    let mut out = Vec::new();
    write_last_chunk(Some(&trailers), &mut out);
    assert_eq!(out, b"0\r\ngrpc-status: 0\r\nx-sum: 1\r\n\r\n");
}

#[test]
fn trailers_without_anything_allowed_are_none() {
    let (_, trailers, _) = decode(BodyFraming::Chunked, b"0\r\nHost: b\r\n\r\n").unwrap();
    assert!(trailers.is_none());
}

#[test]
fn trailers_and_extensions_are_bounded() {
    let many = format!("0\r\n{}\r\n", "X: y\r\n".repeat(65));
    assert_eq!(
        decode(BodyFraming::Chunked, many.as_bytes()).unwrap_err(),
        BodyError::TrailersTooLarge
    );
    let long = format!("0\r\nX: {}\r\n\r\n", "y".repeat(17_000));
    assert_eq!(
        decode(BodyFraming::Chunked, long.as_bytes()).unwrap_err(),
        BodyError::TrailersTooLarge
    );
    let endless = format!("0\r\nX: {}", "y".repeat(17_000));
    assert_eq!(
        decode(BodyFraming::Chunked, endless.as_bytes()).unwrap_err(),
        BodyError::TrailersTooLarge
    );
    let extension = format!("1;{}\r\nx\r\n0\r\n\r\n", "y".repeat(300));
    assert_eq!(
        decode(BodyFraming::Chunked, extension.as_bytes()).unwrap_err(),
        BodyError::Extensions
    );
    let endless = format!("1;{}", "y".repeat(300));
    assert_eq!(
        decode(BodyFraming::Chunked, endless.as_bytes()).unwrap_err(),
        BodyError::Extensions
    );
    let several = format!("1;{}\r\nx\r\n", "y".repeat(200)).repeat(90);
    assert_eq!(
        decode(BodyFraming::Chunked, several.as_bytes()).unwrap_err(),
        BodyError::Extensions
    );
}

#[test]
fn bodies_cut_short_are_told_apart_from_ended_ones() {
    for (framing, text) in [
        (BodyFraming::Length(4), &b"abc"[..]),
        (BodyFraming::Chunked, b""),
        (BodyFraming::Chunked, b"3\r\nab"),
        (BodyFraming::Chunked, b"3\r\nabc"),
        (BodyFraming::Chunked, b"3\r\nabc\r\n"),
        (BodyFraming::Chunked, b"3\r\nabc\r\n0\r\n"),
        (BodyFraming::Chunked, b"3;x"),
    ] {
        assert_eq!(decode(framing, text).unwrap_err(), BodyError::Truncated);
    }
    assert_eq!(decode(BodyFraming::UntilClose, b"abc").unwrap().0, b"abc");
    assert_eq!(decode(BodyFraming::None, b"abc").unwrap().2, b"abc");
}

#[test]
fn data_shares_the_received_buffer() {
    let mut buffer = BytesMut::from("5\r\nhello\r\n0\r\n\r\n");
    let start = buffer.as_ptr().addr();
    let mut decoder = BodyDecoder::new(BodyFraming::Chunked);
    let Some(BodyEvent::Data(data)) = decoder.decode(&mut buffer).unwrap() else {
        panic!("no data");
    };
    assert_eq!(data.as_ptr().addr(), start + 3);
}

#[test]
fn the_end_is_told_once() {
    let mut buffer = BytesMut::from("rest");
    let mut decoder = BodyDecoder::new(BodyFraming::Length(0));
    assert!(!decoder.is_done());
    assert!(matches!(
        decoder.decode(&mut buffer),
        Ok(Some(BodyEvent::End(None)))
    ));
    assert!(decoder.is_done());
    assert!(decoder.decode(&mut buffer).unwrap().is_none());
    assert!(decoder.finish().unwrap().is_none());
    assert_eq!(&buffer[..], b"rest");
}

#[test]
fn chunk_sizes_are_hexadecimal() {
    for (size, text) in [
        (1, "1\r\n"),
        (15, "f\r\n"),
        (16, "10\r\n"),
        (65_536, "10000\r\n"),
    ] {
        let mut out = Vec::new();
        write_chunk_start(size, &mut out);
        assert_eq!(out, text.as_bytes());
    }
    let mut out = Vec::new();
    write_chunk_start(usize::MAX, &mut out);
    assert_eq!(out, format!("{:x}\r\n", usize::MAX).as_bytes());
}
