//! Tests of conversions: what one side says, and what the other side hears.

mod fields;
mod forward;
mod h2;
mod requests;
mod responses;

use super::{RequestHead, ResponseHead, Version, forward::Client, h1, h2 as convert};
use crate::listener::DEFAULT_HTTP;
use bytes::BytesMut;
use gwanmun_ir::HttpOptions;
use http::{HeaderMap, HeaderName, HeaderValue};

/// A head as a client of HTTP/1 sends it, lines joined by `|`.
pub(super) fn h1_request(lines: &str) -> RequestHead {
    let text = format!("{}\r\n\r\n", lines.replace('|', "\r\n"));
    h1::RequestParser::new(h1::HeadLimits::REQUEST, false)
        .parse(&mut BytesMut::from(text.as_str()))
        .unwrap()
        .unwrap()
}

/// A head as a client of HTTP/2 sends it: `METHOD TARGET AUTHORITY|name: value|…`.
pub(super) fn h2_request(lines: &str, end: bool) -> RequestHead {
    convert::request_head(h2_parts(lines), end).unwrap()
}

/// The same as the `h2` crate gives it; authority `-` for none.
pub(super) fn h2_parts(lines: &str) -> http::request::Parts {
    let mut lines = lines.split('|');
    let line: Vec<&str> = lines.next().unwrap().split(' ').collect();
    let [method, target, authority] = line[..] else {
        panic!("{line:?}");
    };
    let uri = match (method, authority) {
        ("CONNECT", _) => authority.to_owned(),
        (_, "-") => target.to_owned(),
        (_, _) => format!("http://{authority}{target}"),
    };
    let (mut parts, ()) = http::Request::builder()
        .method(method)
        .uri(uri)
        .version(http::Version::HTTP_2)
        .body(())
        .unwrap()
        .into_parts();
    parts.headers = map(lines);
    parts
}

pub(super) fn map<'a>(lines: impl Iterator<Item = &'a str>) -> HeaderMap {
    let mut map = HeaderMap::new();
    for line in lines {
        let (name, value) = line
            .split_once(": ")
            .unwrap_or((line.trim_end_matches(':'), ""));
        map.append(
            HeaderName::from_bytes(name.as_bytes()).unwrap(),
            HeaderValue::from_str(value).unwrap(),
        );
    }
    map
}

/// A head as an upstream of HTTP/1 receives it, lines joined by `|`.
pub(super) fn to_h1(head: &RequestHead) -> String {
    let mut out = Vec::new();
    h1::write_request(head, &mut out);
    lines(&out)
}

pub(super) fn lines(bytes: &[u8]) -> String {
    let text = std::str::from_utf8(bytes).unwrap();
    text.strip_suffix("\r\n\r\n").unwrap().replace("\r\n", "|")
}

/// A head as an upstream of HTTP/2 receives it.
pub(super) fn to_h2(head: &RequestHead) -> String {
    let request = convert::request(head, false).unwrap();
    let uri = request.uri();
    let mut out = format!(
        "{} {} {}",
        request.method(),
        uri.path_and_query().map_or("", |target| target.as_str()),
        uri.authority().map_or("-", |authority| authority.as_str()),
    );
    for (name, value) in request.headers() {
        out.push_str(&format!("|{name}: {}", value.to_str().unwrap()));
    }
    out
}

/// A response as a client of HTTP/2 receives it.
pub(super) fn response_to_h2(head: &ResponseHead) -> String {
    let response = convert::response(&mut head.clone()).unwrap();
    let mut out = response.status().as_u16().to_string();
    for (name, value) in response.headers() {
        out.push_str(&format!("|{name}: {}", value.to_str().unwrap()));
    }
    out
}

/// A response as a client of HTTP/1 receives it.
pub(super) fn response_to_h1(head: &ResponseHead, client: Version) -> String {
    let mut out = Vec::new();
    h1::write_response(head, client, h1::Connection::KeepAlive, &mut out);
    lines(&out)
}

/// Options of a chain with this many trusted proxies in front.
pub(super) fn hops(trusted_hops: u32) -> HttpOptions {
    HttpOptions {
        trusted_hops,
        ..DEFAULT_HTTP
    }
}

pub(super) fn client() -> Client {
    Client::new("203.0.113.7".parse().unwrap(), false)
}
