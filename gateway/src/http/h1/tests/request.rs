use super::{HeadLimits, RequestParser, request};
use crate::http::{BodyFraming, Known, RequestHead, TargetForm, Upgrade, Version};
use bytes::BytesMut;

fn head(text: &str) -> RequestHead {
    request(text.as_bytes()).unwrap().unwrap()
}

#[test]
fn a_request_is_taken_apart() {
    let head = head(
        "GET /a/b?c=1 HTTP/1.1\r\nHost: A.Test:8080\r\nUser-Agent:  curl \r\nX-MiXed: One\r\n\
         x-mixed: two\r\nContent-Type: application/grpc+proto\r\n\r\n",
    );
    assert_eq!(head.method(), "GET");
    assert_eq!(head.path(), "/a/b");
    assert_eq!(head.query(), Some("c=1"));
    assert_eq!(head.target(), b"/a/b?c=1");
    assert_eq!(head.authority(), "A.Test:8080");
    assert_eq!(head.host(), "a.test");
    assert_eq!(head.port(), Some(8080));
    assert_eq!(head.version(), Version::Http11);
    assert_eq!(head.get(Known::UserAgent), Some(&b"curl"[..]));
    assert_eq!(head.header("x-mixed"), Some(&b"One"[..]));
    assert_eq!(head.header_joined("x-mixed").unwrap(), &b"One,two"[..]);
    assert_eq!(head.header("host"), Some(&b"A.Test:8080"[..]));
    assert_eq!(head.header(":method"), Some(&b"GET"[..]));
    assert_eq!(head.framing(), BodyFraming::None);
    assert!(head.is_grpc() && head.keep_alive());
    let names: Vec<_> = head.headers().map(|(name, _)| name.to_vec()).collect();
    assert_eq!(
        names,
        [&b"user-agent"[..], b"x-mixed", b"x-mixed", b"content-type"]
    );
}

#[test]
fn a_url_as_target_names_the_authority() {
    for (target, path, authority) in [
        ("http://b.test/x?y", "/x?y", "b.test"),
        ("HTTP://B.test:81", "/", "B.test:81"),
        ("http://b.test?y=/z", "/?y=/z", "b.test"),
        ("http://[::1]:8/x", "/x", "[::1]:8"),
    ] {
        let head = head(&format!("GET {target} HTTP/1.1\r\nHost: a.test\r\n\r\n"));
        assert_eq!(head.target(), path.as_bytes(), "{target}");
        assert_eq!(head.authority(), authority, "{target}");
        assert_eq!(head.form(), TargetForm::Origin);
    }
    let mut tls = RequestParser::new(HeadLimits::REQUEST, true);
    let mut buffer = BytesMut::from("GET https://b.test/x HTTP/1.1\r\nHost: a\r\n\r\n");
    let head = tls.parse(&mut buffer).unwrap().unwrap();
    assert_eq!(head.authority(), "b.test");
}

#[test]
fn connect_and_options_have_their_own_forms() {
    let connect = head("CONNECT a.test:443 HTTP/1.1\r\nHost: b.test\r\n\r\n");
    assert_eq!(connect.form(), TargetForm::Authority);
    assert_eq!(connect.authority(), "a.test:443");
    assert_eq!(connect.path(), "");
    let options = head("OPTIONS * HTTP/1.1\r\nHost: b.test\r\n\r\n");
    assert_eq!(options.form(), TargetForm::Asterisk);
    assert_eq!(options.path(), "*");
}

#[test]
fn connections_live_on_unless_the_client_says_otherwise() {
    for (version, connection, lives) in [
        ("1.1", None, true),
        ("1.1", Some("close"), false),
        ("1.1", Some("foo, Close"), false),
        ("1.1", Some("keep-alive"), true),
        ("1.1", Some("keep-alive, close"), false),
        ("1.0", None, false),
        ("1.0", Some("Keep-Alive"), true),
        ("1.0", Some("close"), false),
    ] {
        let line = connection.map_or(String::new(), |c| format!("Connection: {c}\r\n"));
        let head = head(&format!("GET / HTTP/{version}\r\nHost: a\r\n{line}\r\n"));
        assert_eq!(head.keep_alive(), lives, "{version} {connection:?}");
    }
}

#[test]
fn upgrades_need_both_fields_and_no_body() {
    for (fields, expected) in [
        (
            "Connection: Upgrade\r\nUpgrade: WebSocket\r\n",
            Some(Upgrade::WebSocket),
        ),
        (
            "Connection: keep-alive, upgrade\r\nUpgrade: foo\r\n",
            Some(Upgrade::Other),
        ),
        (
            "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n",
            Some(Upgrade::H2c),
        ),
        ("Upgrade: websocket\r\n", None),
        ("Connection: Upgrade\r\n", None),
        (
            "Connection: Upgrade\r\nUpgrade: websocket\r\nContent-Length: 3\r\n",
            None,
        ),
        (
            "Connection: Upgrade\r\nUpgrade: websocket\r\nTransfer-Encoding: chunked\r\n",
            None,
        ),
    ] {
        let head = head(&format!("GET / HTTP/1.1\r\nHost: a\r\n{fields}\r\n"));
        assert_eq!(head.upgrade(), expected, "{fields}");
    }
}

#[test]
fn expectations_are_seen_from_http_1_1_on() {
    for (version, value, expected) in [
        ("1.1", "100-continue", true),
        ("1.1", "100-Continue", true),
        ("1.1", "200-ok", false),
        ("1.0", "100-continue", false),
    ] {
        let head = head(&format!(
            "GET / HTTP/{version}\r\nHost: a\r\nExpect: {value}\r\n\r\n"
        ));
        assert_eq!(head.expects_continue(), expected);
    }
}

#[test]
fn heads_over_the_limits_are_refused() {
    let many = |n: usize| format!("GET / HTTP/1.1\r\nHost: a\r\n{}\r\n", "X: y\r\n".repeat(n));
    assert!(request(many(99).as_bytes()).unwrap().is_some());
    let error = request(many(100).as_bytes()).unwrap_err();
    assert_eq!(
        (error.status, error.details),
        (431, "http1.too_many_headers")
    );

    let long = |n: usize| format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "x".repeat(n));
    assert!(request(long(40_000).as_bytes()).unwrap().is_some());
    let error = request(long(62_000).as_bytes()).unwrap_err();
    assert_eq!(
        (error.status, error.details),
        (431, "http1.headers_too_large")
    );
    let unfinished = "GET / HTTP/1.1\r\nX: ".to_owned() + &"x".repeat(62_000);
    let error = request(unfinished.as_bytes()).unwrap_err();
    assert_eq!(error.body, "Request Header Fields Too Large");
}

#[test]
fn pipelined_requests_are_taken_one_by_one() {
    let mut parser = RequestParser::new(HeadLimits::REQUEST, false);
    let mut buffer = BytesMut::from(
        "GET /1 HTTP/1.1\r\nHost: a\r\n\r\n\r\nGET /2 HTTP/1.1\r\nHost: a\r\n\r\nGET /3",
    );
    assert_eq!(parser.parse(&mut buffer).unwrap().unwrap().path(), "/1");
    assert_eq!(parser.parse(&mut buffer).unwrap().unwrap().path(), "/2");
    assert!(parser.parse(&mut buffer).unwrap().is_none());
    buffer.extend_from_slice(b" HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(parser.parse(&mut buffer).unwrap().unwrap().path(), "/3");
}
