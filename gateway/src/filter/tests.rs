//! Tests of compiled filters.

use super::format::tests::context;
use super::{CompiledFilters, direct_response, redirect};
use crate::http::{RequestHead, ResponseHead, Scheme};
use gwanmun_ir::{
    Dialect, DirectResponse, Filter, HeaderEdit, HeaderEdits, HeaderValue, HostRewrite, PathMatch,
    PathRewrite, Redirect, RedirectPath, RedirectPort, ServerHeader, UrlRewrite,
};

const ISTIO: Dialect = Dialect::Istio {
    server: ServerHeader::PassThrough,
};

fn prefix(text: &str) -> PathMatch {
    PathMatch::Prefix(text.to_owned())
}

fn string_prefix(text: &str) -> PathMatch {
    PathMatch::StringPrefix {
        prefix: text.to_owned(),
        ignore_case: false,
    }
}

fn literal(name: &str, value: &str) -> HeaderEdit {
    HeaderEdit {
        name: name.to_owned(),
        value: HeaderValue::Literal(value.to_owned()),
    }
}

fn format(name: &str, value: &str) -> HeaderEdit {
    HeaderEdit {
        name: name.to_owned(),
        value: HeaderValue::Format(value.to_owned()),
    }
}

fn shown(head: &RequestHead) -> Vec<String> {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    head.headers()
        .map(|(name, value)| format!("{}: {}", text(name), text(value)))
        .collect()
}

fn rewritten(path: PathRewrite, matched: &PathMatch, target: &str) -> (String, Vec<String>) {
    let filter = Filter::Rewrite(UrlRewrite {
        host: None,
        path: Some(path),
    });
    let (filters, problems) = CompiledFilters::compile(&[filter]);
    let mut head = RequestHead::test("GET", target, &[("host", "a.test")]);
    filters.apply_request(&mut head, Some(matched), &Dialect::GatewayApi, &context());
    let target = String::from_utf8(head.target().to_vec()).unwrap();
    (target, problems)
}

#[test]
fn request_edits_remove_set_and_append() {
    let edits = HeaderEdits {
        remove: vec!["x-gone".into(), "x-absent".into()],
        set: vec![
            literal("x-set", "new"),
            literal("X-New", "1"),
            literal("host", "b.test:81"),
        ],
        add: vec![
            literal("x-list", "b"),
            literal("x-added", "1"),
            format("x-from", "%REQ(x-list)%|"),
        ],
    };
    let (filters, problems) = CompiledFilters::compile(&[Filter::RequestHeaders(edits)]);
    assert!(problems.is_empty(), "{problems:?}");
    let mut head = RequestHead::test(
        "GET",
        "/",
        &[
            ("host", "a.test"),
            ("x-gone", "1"),
            ("x-set", "old"),
            ("x-list", "a"),
            ("x-set", "older"),
        ],
    );
    filters.apply_request(&mut head, None, &ISTIO, &context());
    assert_eq!(
        shown(&head),
        [
            "x-set: new",
            "x-list: a,b",
            "x-new: 1",
            "x-added: 1",
            "x-from: a,b|"
        ]
    );
    assert_eq!((head.authority(), head.host()), ("b.test:81", "b.test"));
}

#[test]
fn response_edits_see_request_and_response() {
    let edits = HeaderEdits {
        remove: vec!["server".into()],
        set: vec![
            format("x-echo", "%REQ(x-in)%-%RESP(x-out)%"),
            format("x-empty", "%REQ(none)%"),
        ],
        add: vec![literal("set-cookie", "b=2")],
    };
    let (filters, problems) = CompiledFilters::compile(&[Filter::ResponseHeaders(edits)]);
    assert!(problems.is_empty());
    let request = RequestHead::test("GET", "/", &[("x-in", "1")]);
    let mut head = ResponseHead::new(200);
    for (name, value) in [("server", "s"), ("x-out", "2"), ("set-cookie", "a=1")] {
        head.fields_mut().add(name, value.as_bytes());
    }
    filters.apply_response(&mut head, &request, &context());
    let cookies: Vec<_> = head.fields().values("set-cookie").collect();
    assert_eq!(cookies, [b"a=1", b"b=2"]);
    assert_eq!(head.header("x-echo"), Some(&b"1-2"[..]));
    assert_eq!(
        (head.header("server"), head.header("x-empty")),
        (None, None)
    );
}

#[test]
fn edits_that_cannot_be_done_are_told_and_left_out() {
    let edits = HeaderEdits {
        remove: vec!["host".into(), "content-length".into(), "x y".into()],
        set: vec![
            literal("transfer-encoding", "chunked"),
            literal("x", "a\r\nb: c"),
        ],
        add: vec![
            literal("connection", "x"),
            format("x-known", "%NOPE%"),
            literal(":path", "/"),
        ],
    };
    let (filters, problems) = CompiledFilters::compile(&[Filter::RequestHeaders(edits)]);
    assert_eq!(problems.len(), 8, "{problems:#?}");
    let mut head = RequestHead::test("GET", "/", &[("host", "a.test")]);
    filters.apply_request(&mut head, None, &ISTIO, &context());
    assert_eq!(shown(&head), ["x-known: %NOPE%"]);
    assert_eq!(head.target(), b"/");
}

/// The table of the Gateway API's `ReplacePrefixMatch`.
#[test]
fn segment_prefixes_are_replaced_as_the_gateway_api_says() {
    for (path, matched, replacement, expected) in [
        ("/foo/bar", "/foo", "/xyz", "/xyz/bar"),
        ("/foo/bar", "/foo", "/xyz/", "/xyz/bar"),
        ("/foo/bar", "/foo/", "/xyz", "/xyz/bar"),
        ("/foo/bar", "/foo/", "/xyz/", "/xyz/bar"),
        ("/foo", "/foo", "/xyz", "/xyz"),
        ("/foo/", "/foo", "/xyz", "/xyz/"),
        ("/foo/bar", "/foo", "", "/bar"),
        ("/foo/", "/foo", "", "/"),
        ("/foo", "/foo", "", "/"),
        ("/foo/", "/foo", "/", "/"),
        ("/foo", "/foo", "/", "/"),
        ("/foo/bar?q=1", "/foo", "/", "/bar?q=1"),
        ("/bar", "/", "/xyz", "/xyz/bar"),
        ("/", "/", "/xyz", "/xyz/"),
        ("/foo", "/foo", "/x y", "/x%20y"),
    ] {
        let (target, _) = rewritten(
            PathRewrite::Prefix(replacement.into()),
            &prefix(matched),
            path,
        );
        assert_eq!(target, expected, "{path} {matched} {replacement}");
    }
}

#[test]
fn other_rewrites_follow_envoy() {
    let string = |text: &str| PathRewrite::StringPrefix(text.into());
    let regex = |pattern: &str, substitution: &str| PathRewrite::Regex {
        pattern: pattern.into(),
        substitution: substitution.into(),
    };
    for (rewrite, matched, path, expected) in [
        (string("/"), string_prefix("/foo"), "/foo/bar", "//bar"),
        (string("/"), string_prefix("/foo/"), "/foo/bar", "/bar"),
        (string("/v2"), string_prefix("/v1"), "/v1x?q", "/v2x?q"),
        (string(""), string_prefix("/foo"), "/foobar", "/bar"),
        (
            PathRewrite::Full("/new".into()),
            prefix("/"),
            "/a/b?q=1",
            "/new?q=1",
        ),
        (
            regex("^/a/([^/]+)(/.*)$", r"\2/x/\1"),
            prefix("/"),
            "/a/b/c?q",
            "/c/x/b?q",
        ),
        (regex("o", "0$1"), prefix("/"), "/foo", "/f0$10$1"),
        (regex("zzz", "x"), prefix("/"), "/foo", "/foo"),
        (regex("^/foo", r"\0\\"), prefix("/"), "/foo", r"/foo\"),
    ] {
        assert_eq!(rewritten(rewrite, &matched, path).0, expected, "{path}");
    }
    let (target, problems) = rewritten(regex("(", ""), &prefix("/"), "/foo");
    assert_eq!((target.as_str(), problems.len()), ("/foo", 1));
}

#[test]
fn istio_upstreams_are_told_what_was_before() {
    let filter = Filter::Rewrite(UrlRewrite {
        host: Some(HostRewrite::Literal("new.host".into())),
        path: Some(PathRewrite::Full("/new".into())),
    });
    let (filters, _) = CompiledFilters::compile(&[filter]);
    let mut head = RequestHead::test("GET", "/a/b?c=1", &[("host", "rw.test")]);
    filters.apply_request(&mut head, None, &ISTIO, &context());
    assert_eq!(
        shown(&head),
        [
            "x-envoy-original-path: /a/b?c=1",
            "x-envoy-original-host: rw.test"
        ]
    );
    assert_eq!(
        (head.target(), head.authority()),
        (&b"/new?c=1"[..], "new.host")
    );
    assert_eq!(head.original_target(), b"/a/b?c=1");

    let mut head = RequestHead::test("GET", "/a/b?c=1", &[("host", "rw.test")]);
    filters.apply_request(&mut head, None, &Dialect::GatewayApi, &context());
    assert!(shown(&head).is_empty());
}

struct Case {
    scheme: Option<&'static str>,
    host: Option<&'static str>,
    port: RedirectPort,
    path: Option<RedirectPath>,
}

const KEEP: Case = Case {
    scheme: None,
    host: None,
    port: RedirectPort::FromHost,
    path: None,
};

fn located(case: Case, scheme: Scheme, authority: &str, listener: u16) -> String {
    let ir = Redirect {
        status: 302,
        scheme: case.scheme.map(str::to_owned),
        host: case.host.map(str::to_owned),
        port: case.port,
        path: case.path,
    };
    let mut head = RequestHead::test("GET", "/s/t?x=1", &[("host", authority)]);
    head.set_scheme(scheme);
    let reply = redirect(&ir, &head, Some(&prefix("/s")), listener);
    assert_eq!(
        (reply.status, reply.details.as_ref()),
        (302, "direct_response")
    );
    let (name, value) = reply.headers.into_iter().next().unwrap();
    assert_eq!(name, "location");
    String::from_utf8(value).unwrap()
}

/// Rule, new scheme, new host; the request's scheme and authority, the listener's port; location.
const PORTS: &str = "
    FromHost      -     -        http  Redir.test:8080 80    http://Redir.test:8080/s/t?x=1
    FromHost      -     -        https a.test          443   https://a.test/s/t?x=1
    FromHost      -     new.test http  a.test:8080     80    http://new.test/s/t?x=1
    FromHost      https -        http  a.test:8080     80    https://a.test/s/t?x=1
    FromHost      -     -        http  [::1]:8080      80    http://[::1]:8080/s/t?x=1
    KeepHost      https -        http  A.test:8080     80    https://A.test:8080/s/t?x=1
    KeepHost      https b        http  a:8080          80    https://b/s/t?x=1
    Explicit=8443 https -        http  a.test:80       80    https://a.test:8443/s/t?x=1
    Explicit=443  https -        http  a.test          80    https://a.test/s/t?x=1
    Explicit=80   -     -        https a.test          443   https://a.test:80/s/t?x=1
    Explicit=80   http  -        https a.test          443   http://a.test/s/t?x=1
    GatewayApi    https -        http  a.test:8080     8080  https://a.test/s/t?x=1
    GatewayApi    -     -        http  a.test          8080  http://a.test:8080/s/t?x=1
    GatewayApi    -     b.test   http  a.test          80    http://b.test/s/t?x=1
    GatewayApi    -     -        https a.test          443   https://a.test/s/t?x=1
    FromListener  -     -        http  a.test:1        8080  http://a.test:8080/s/t?x=1
    FromListener  https -        http  a.test          443   https://a.test/s/t?x=1
    None          -     -        http  a.test:8080     8080  http://a.test/s/t?x=1
    FromHost      -     -        http  -               80    /s/t?x=1
";

#[test]
fn redirects_follow_the_rules_of_ports() {
    for line in PORTS.lines().filter(|line| !line.is_empty()) {
        let columns: Vec<&str> = line.split_whitespace().collect();
        let [rule, scheme, host, asked, authority, listener, expected] = columns[..] else {
            panic!("{line}");
        };
        let port = match rule.split_once('=') {
            Some((_, port)) => RedirectPort::Explicit(port.parse().unwrap()),
            None => match rule {
                "FromHost" => RedirectPort::FromHost,
                "KeepHost" => RedirectPort::KeepHost,
                "GatewayApi" => RedirectPort::GatewayApi,
                "FromListener" => RedirectPort::FromListener,
                _ => RedirectPort::None,
            },
        };
        let given = |text: &'static str| (text != "-").then_some(text);
        let case = Case {
            scheme: given(scheme),
            host: given(host),
            port,
            path: None,
        };
        let asked = if asked == "https" {
            Scheme::Https
        } else {
            Scheme::Http
        };
        let authority = given(authority).unwrap_or("");
        let location = located(case, asked, authority, listener.parse().unwrap());
        assert_eq!(location, expected, "{line}");
    }
}

#[test]
fn redirects_change_the_path_and_keep_the_query() {
    for (path, expected) in [
        (RedirectPath::Full("/h".into()), "http://a.test/h?x=1"),
        (RedirectPath::Full("h".into()), "http://a.test/h?x=1"),
        (RedirectPath::Full("/h?y=2".into()), "http://a.test/h?y=2"),
        (
            RedirectPath::Full("/h\r\nset-cookie: a".into()),
            "http://a.test/h%0D%0Aset-cookie:%20a?x=1",
        ),
        (RedirectPath::Prefix("/p".into()), "http://a.test/p/t?x=1"),
        (RedirectPath::Prefix("/".into()), "http://a.test/t?x=1"),
        (
            RedirectPath::StringPrefix("/p".into()),
            "http://a.test/p/t?x=1",
        ),
    ] {
        let case = Case {
            path: Some(path),
            ..KEEP
        };
        assert_eq!(located(case, Scheme::Http, "a.test", 80), expected);
    }
}

#[test]
fn direct_responses_are_as_configured() {
    let reply = direct_response(&DirectResponse {
        status: 418,
        body: b"teapot".to_vec(),
    });
    assert_eq!((reply.status, &reply.body[..]), (418, &b"teapot"[..]));
    assert_eq!(reply.details, "direct_response");
}
