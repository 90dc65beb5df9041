//! Properties that hold for any input.

use super::{
    BodyDecoder, BodyEvent, CHUNK_END, HeadLimits, RequestParser, ResponseParser, decode,
    write_chunk_start, write_last_chunk, write_request,
};
use crate::http::{BodyFraming, RequestError, RequestHead};
use bytes::BytesMut;
use proptest::prelude::*;

/// Text made of the pieces that matter to a parser.
fn soup() -> impl Strategy<Value = Vec<u8>> {
    let pieces = prop_oneof![
        Just(b"GET ".to_vec()),
        Just(b"POST /a?b HTTP/1.1\r\n".to_vec()),
        Just(b"Host: a\r\n".to_vec()),
        Just(b"HTTP/1.1".to_vec()),
        Just(b"HTTP/1.1 200 OK\r\n".to_vec()),
        Just(b"\r\n".to_vec()),
        Just(b"\n".to_vec()),
        Just(b"\r".to_vec()),
        Just(b": ".to_vec()),
        Just(b" ".to_vec()),
        Just(b"Content-Length: ".to_vec()),
        Just(b"3\r\n".to_vec()),
        Just(b"Transfer-Encoding: ".to_vec()),
        Just(b"chunked\r\n".to_vec()),
        Just(b"0\r\n\r\n".to_vec()),
        Just(b";".to_vec()),
        Just(b"http://a".to_vec()),
        Just(b"Connection: ".to_vec()),
        Just(b"upgrade".to_vec()),
        prop::collection::vec(any::<u8>(), 0..6),
    ];
    prop::collection::vec(pieces, 0..14).prop_map(|pieces| pieces.concat())
}

/// A head as it is sent on, and what follows it.
type Parsed = (Vec<u8>, Vec<u8>);

fn parse_in_pieces(text: &[u8], cuts: &[usize]) -> Result<Option<Parsed>, RequestError> {
    let mut parser = RequestParser::new(HeadLimits::REQUEST, false);
    let mut buffer = BytesMut::new();
    let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut % (text.len() + 1)).collect();
    cuts.push(text.len());
    cuts.sort_unstable();
    let mut from = 0;
    for cut in cuts {
        buffer.extend_from_slice(&text[from..cut]);
        from = cut;
        if let Some(head) = parser.parse(&mut buffer)? {
            buffer.extend_from_slice(&text[from..]);
            return Ok(Some((print(&head), buffer.to_vec())));
        }
    }
    Ok(None)
}

fn print(head: &RequestHead) -> Vec<u8> {
    let mut out = Vec::new();
    write_request(head, &mut out);
    out
}

fn events(framing: BodyFraming, text: &[u8], cuts: &[usize]) -> Option<(Vec<u8>, bool)> {
    let mut decoder = BodyDecoder::new(framing);
    let mut buffer = BytesMut::new();
    let mut data = Vec::new();
    let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut % (text.len() + 1)).collect();
    cuts.push(text.len());
    cuts.sort_unstable();
    let mut from = 0;
    for cut in cuts {
        buffer.extend_from_slice(&text[from..cut]);
        from = cut;
        while let Some(event) = decoder.decode(&mut buffer).ok()? {
            match event {
                BodyEvent::Data(piece) => data.extend_from_slice(&piece),
                BodyEvent::End(_) => return Some((data, true)),
            }
        }
    }
    Some((data, false))
}

proptest! {
    #[test]
    fn parsers_never_panic(text in soup()) {
        let _ = super::request(&text);
        let _ = super::response(&text);
        let _ = decode(BodyFraming::Chunked, &text);
    }

    #[test]
    fn requests_are_the_same_however_they_arrive(
        text in soup(), cuts in prop::collection::vec(any::<usize>(), 0..5),
    ) {
        // When an error is seen may depend on how much has arrived; what is accepted may not.
        let accepted = |cuts: &[usize]| parse_in_pieces(&text, cuts).ok().flatten();
        prop_assert_eq!(accepted(&[]), accepted(&cuts));
    }

    #[test]
    fn responses_are_the_same_however_they_arrive(text in soup(), cut in any::<usize>()) {
        let parse = |first: &[u8], second: &[u8]| {
            let mut parser = ResponseParser::new(HeadLimits::RESPONSE, &http::Method::GET, None);
            let mut buffer = BytesMut::from(first);
            let early = parser.parse(&mut buffer)?;
            buffer.extend_from_slice(second);
            let head = match early { None => parser.parse(&mut buffer)?, head => head };
            Ok::<_, crate::http::ProtocolError>(head.map(|h| (h.status(), h.framing(), buffer.to_vec())))
        };
        let cut = cut % (text.len() + 1);
        let accepted = |first, second| parse(first, second).ok().flatten();
        prop_assert_eq!(accepted(&text[..], &b""[..]), accepted(&text[..cut], &text[cut..]));
    }

    #[test]
    fn what_is_written_parses_as_what_was_read(text in soup()) {
        if let Ok(Some(head)) = super::request(&text) && head.method() != "CONNECT" {
            let once = print(&head);
            let again = super::request(&once).unwrap().unwrap();
            prop_assert_eq!(again.target(), head.target());
            prop_assert_eq!(again.authority(), head.authority());
            let fields = |h: &RequestHead| -> Vec<(Vec<u8>, Vec<u8>)> {
                h.headers().filter(|(name, _)| *name != b"content-length")
                    .map(|(n, v)| (n.to_vec(), v.to_vec())).collect()
            };
            prop_assert_eq!(fields(&again), fields(&head));
        }
    }

    #[test]
    fn chunks_come_back_as_they_were(
        pieces in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..40), 0..6),
        cuts in prop::collection::vec(any::<usize>(), 0..6),
    ) {
        let mut text = Vec::new();
        for piece in &pieces {
            write_chunk_start(piece.len(), &mut text);
            text.extend_from_slice(piece);
            text.extend_from_slice(CHUNK_END);
        }
        write_last_chunk(None, &mut text);
        prop_assert_eq!(events(BodyFraming::Chunked, &text, &cuts), Some((pieces.concat(), true)));
    }

    #[test]
    fn chunked_bodies_are_the_same_however_they_arrive(
        text in soup(), cuts in prop::collection::vec(any::<usize>(), 0..5),
    ) {
        prop_assert_eq!(
            events(BodyFraming::Chunked, &text, &[]),
            events(BodyFraming::Chunked, &text, &cuts)
        );
    }
}
