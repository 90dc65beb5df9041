use super::{Connection, request, write_request, write_response};
use crate::http::{BodyFraming, Known, ResponseHead, Version};

fn sent(text: &str) -> String {
    let head = request(text.as_bytes()).unwrap().unwrap();
    let mut out = Vec::new();
    write_request(&head, &mut out);
    String::from_utf8(out).unwrap()
}

#[test]
fn requests_are_written_with_lower_case_names_in_order() {
    assert_eq!(
        sent(
            "GET /a?b HTTP/1.1\r\nUser-Agent: u\r\nHost: A.Test\r\nX-One:1\r\nX-Two:\t 2 \r\nX-Three: \r\n\r\n"
        ),
        "GET /a?b HTTP/1.1\r\nhost: A.Test\r\nuser-agent: u\r\nx-one: 1\r\nx-two: 2\r\nx-three: \r\n\r\n"
    );
    assert_eq!(
        sent("GET / HTTP/1.1\nHost: a\nX: y\n\n"),
        "GET / HTTP/1.1\r\nhost: a\r\nx: y\r\n\r\n"
    );
}

#[test]
fn the_body_is_announced_last() {
    assert_eq!(
        sent("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nX: y\r\n\r\n"),
        "POST / HTTP/1.1\r\nhost: a\r\nx: y\r\ntransfer-encoding: chunked\r\n\r\n"
    );
    assert_eq!(
        sent("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\nX: y\r\n\r\n"),
        "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 0\r\nx: y\r\n\r\n"
    );
    for (method, announced) in [
        ("POST", true),
        ("PUT", true),
        ("PATCH", true),
        ("OPTIONS", true),
        ("PROPFIND", true),
        ("GET", false),
        ("HEAD", false),
        ("DELETE", false),
        ("TRACE", false),
    ] {
        let text = sent(&format!("{method} / HTTP/1.1\r\nHost: a\r\n\r\n"));
        assert_eq!(
            text.ends_with("\r\ncontent-length: 0\r\n\r\n"),
            announced,
            "{method}"
        );
    }
}

fn answered(head: &ResponseHead, client: Version, connection: Connection) -> String {
    let mut out = Vec::new();
    write_response(head, client, connection, &mut out);
    String::from_utf8(out).unwrap()
}

#[test]
fn responses_end_with_connection_and_length() {
    let mut head = ResponseHead::new(404);
    head.set("date", b"d");
    head.set_framing(BodyFraming::Length(0));
    assert_eq!(
        answered(&head, Version::Http11, Connection::Close),
        "HTTP/1.1 404 Not Found\r\ndate: d\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"
    );
    head.set_framing(BodyFraming::Chunked);
    assert_eq!(
        answered(&head, Version::Http11, Connection::KeepAlive),
        "HTTP/1.1 404 Not Found\r\ndate: d\r\ntransfer-encoding: chunked\r\n\r\n"
    );
    assert_eq!(
        answered(&head, Version::Http10, Connection::Close),
        "HTTP/1.0 404 Not Found\r\ndate: d\r\nconnection: close\r\n\r\n"
    );
    head.set("content-length", b"5");
    head.set_framing(BodyFraming::Length(5));
    assert_eq!(
        answered(&head, Version::Http10, Connection::KeepAlive10),
        "HTTP/1.0 404 Not Found\r\ndate: d\r\ncontent-length: 5\r\nconnection: keep-alive\r\n\r\n"
    );
}

#[test]
fn edits_show_in_place() {
    let text =
        "GET / HTTP/1.1\r\nHost: a\r\nA: 1\r\nB: 2\r\nA: 3\r\nC: 4\r\nX-Request-Id: r\r\n\r\n";
    let mut head = request(text.as_bytes()).unwrap().unwrap();
    head.set("a", b"new");
    head.append("b", b"5");
    head.append("b", b"6");
    head.append("d", b"7");
    head.remove("c");
    head.fields_mut()
        .set_known(Known::XRequestId, &[b"x", b"y"]);
    let mut out = Vec::new();
    write_request(&head, &mut out);
    assert_eq!(
        String::from_utf8(out).unwrap(),
        "GET / HTTP/1.1\r\nhost: a\r\na: new\r\nb: 2,5,6\r\nx-request-id: xy\r\nd: 7\r\n\r\n"
    );
    assert_eq!(head.header("c"), None);
    assert_eq!(head.header("b"), Some(&b"2,5,6"[..]));
}
