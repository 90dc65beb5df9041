//! The Gateway API's conformance tests about matching and precedence, as data.

use super::{
    ask, at,
    build::{chain, exact, hosts, method, prefix},
    check, on, rule, table, with_header, with_query,
};
use gwanmun_ir::{HttpMatch, PathMatch, RouteKind};

fn gw() -> Vec<gwanmun_ir::FilterChain> {
    vec![chain("gw", 80)]
}

#[test]
fn http_route_exact_path_matching() {
    let table = table(
        gw(),
        vec![
            rule("v1", 0, 0, vec![exact("/one")]),
            rule("v2", 0, 0, vec![exact("/two")]),
        ],
    );
    check(
        &table,
        &[
            (ask("a", "/one"), "v1/0"),
            (ask("a", "/two"), "v2/0"),
            (ask("a", "/two?query=1"), "v2/0"),
            (ask("a", "/"), "404"),
            (ask("a", "/one/example"), "404"),
            (ask("a", "/two/"), "404"),
            (ask("a", "/Two"), "404"),
        ],
    );
}

#[test]
fn http_route_matching() {
    let table = table(
        gw(),
        vec![
            rule(
                "m",
                0,
                0,
                vec![prefix("/"), with_header(prefix("/"), "version", "one")],
            ),
            rule(
                "m",
                1,
                0,
                vec![prefix("/v2"), with_header(prefix("/"), "version", "two")],
            ),
        ],
    );
    check(
        &table,
        &[
            (ask("a", "/"), "m/0"),
            (ask("a", "/example"), "m/0"),
            (ask("a", "/").header("Version", "one"), "m/0"),
            (ask("a", "/v2"), "m/1"),
            (ask("a", "/v2/example"), "m/1"),
            (ask("a", "/").header("Version", "two"), "m/1"),
            (ask("a", "/v2/"), "m/1"),
            (ask("a", "/v2example"), "m/0"),
            (ask("a", "/foo/v2/example"), "m/0"),
        ],
    );
}

#[test]
fn http_route_path_match_order() {
    let table = table(
        gw(),
        vec![
            rule("o", 0, 0, vec![prefix("/match/prefix/one")]),
            rule("o", 1, 0, vec![prefix("/match/prefix/")]),
            rule("o", 2, 0, vec![prefix("/match/")]),
            rule("o", 3, 0, vec![exact("/match/exact/one")]),
            rule("o", 4, 0, vec![exact("/match/exact")]),
            rule("o", 5, 0, vec![exact("/match")]),
        ],
    );
    check(
        &table,
        &[
            (ask("a", "/match/exact/one"), "o/3"),
            (ask("a", "/match/exact"), "o/4"),
            (ask("a", "/match"), "o/5"),
            (ask("a", "/match/prefix/one/any"), "o/0"),
            (ask("a", "/match/prefix/any"), "o/1"),
            (ask("a", "/match/prefix"), "o/1"),
            (ask("a", "/match/any"), "o/2"),
            (ask("a", "/match/"), "o/2"),
            (ask("a", "/matches"), "404"),
        ],
    );
}

#[test]
fn http_route_header_matching() {
    let all = |pairs: &[(&str, &str)]| {
        let start = prefix("/");
        pairs.iter().fold(start, |matches, (name, value)| {
            with_header(matches, name, value)
        })
    };
    let table = table(
        gw(),
        vec![
            rule("h", 0, 0, vec![all(&[("version", "one")])]),
            rule("h", 1, 0, vec![all(&[("version", "two")])]),
            rule(
                "h",
                2,
                0,
                vec![all(&[("version", "two"), ("color", "orange")])],
            ),
            rule(
                "h",
                3,
                0,
                vec![all(&[("color", "blue")]), all(&[("color", "green")])],
            ),
        ],
    );
    let with = |pairs: &[(&str, &str)]| {
        let start = ask("a", "/");
        pairs
            .iter()
            .fold(start, |request, (name, value)| request.header(name, value))
    };
    check(
        &table,
        &[
            (with(&[("VERSION", "one")]), "h/0"),
            (with(&[("version", "two")]), "h/1"),
            (with(&[("version", "two"), ("color", "orange")]), "h/2"),
            (with(&[("color", "blue")]), "h/3"),
            (with(&[("color", "green")]), "h/3"),
            (with(&[("color", "orange")]), "404"),
            (with(&[("some-other-header", "one")]), "404"),
            (with(&[("version", "ONE")]), "404"),
            (with(&[]), "404"),
        ],
    );
}

#[test]
fn http_route_method_matching() {
    let table = table(
        gw(),
        vec![
            rule("m", 0, 0, vec![method(prefix("/"), "POST")]),
            rule("m", 1, 0, vec![method(prefix("/"), "GET")]),
            rule("m", 2, 0, vec![method(prefix("/path1"), "GET")]),
            rule(
                "m",
                3,
                0,
                vec![method(with_header(prefix("/"), "version", "one"), "PUT")],
            ),
            rule(
                "m",
                4,
                0,
                vec![method(
                    with_header(prefix("/path2"), "version", "two"),
                    "POST",
                )],
            ),
            rule("m", 5, 0, vec![method(prefix("/path5"), "PATCH")]),
            rule("m", 6, 0, vec![with_header(prefix("/"), "version", "four")]),
        ],
    );
    let patched = ask("a", "/").method("PATCH").header("version", "four");
    check(
        &table,
        &[
            (ask("a", "/").method("POST"), "m/0"),
            (ask("a", "/").method("GET"), "m/1"),
            (ask("a", "/").method("HEAD"), "404"),
            (ask("a", "/path1").method("GET"), "m/2"),
            (ask("a", "/").method("PUT").header("version", "one"), "m/3"),
            (
                ask("a", "/path2").method("POST").header("version", "two"),
                "m/4",
            ),
            (ask("a", "/path2").method("POST"), "m/0"),
            (
                ask("a", "/path5").method("PATCH").header("version", "four"),
                "m/5",
            ),
            (patched, "m/6"),
            // A method is more specific than a header.
            (ask("a", "/").header("version", "four"), "m/1"),
        ],
    );
}

#[test]
fn http_route_query_param_matching() {
    let table = table(
        gw(),
        vec![
            rule("q", 0, 0, vec![with_query(prefix("/"), "animal", "whale")]),
            rule(
                "q",
                1,
                0,
                vec![with_query(prefix("/"), "animal", "dolphin")],
            ),
            rule(
                "q",
                2,
                0,
                vec![
                    with_query(
                        with_query(prefix("/"), "animal", "dolphin"),
                        "color",
                        "blue",
                    ),
                    with_query(prefix("/"), "ANIMAL", "Whale"),
                ],
            ),
            rule("q", 3, 0, vec![with_header(prefix("/"), "version", "four")]),
            rule(
                "q",
                4,
                0,
                vec![with_query(prefix("/path5"), "animal", "hydra")],
            ),
        ],
    );
    check(
        &table,
        &[
            (ask("a", "/?animal=whale"), "q/0"),
            (ask("a", "/?animal=dolphin"), "q/1"),
            (ask("a", "/?animal=dolphin&color=blue"), "q/2"),
            (ask("a", "/?color=blue&animal=dolphin&x=y"), "q/2"),
            (ask("a", "/?ANIMAL=Whale"), "q/2"),
            (ask("a", "/?animal=whale&otherparam=irrelevant"), "q/0"),
            (ask("a", "/?animal=whale").header("version", "four"), "q/3"),
            (
                ask("a", "/path5?animal=hydra").header("version", "four"),
                "q/4",
            ),
            (ask("a", "/?%61nimal=wh%61le"), "q/0"),
            (ask("a", "/?animal=dolphin&animal=whale"), "q/1"),
            (ask("a", "/?color=blue"), "404"),
            (ask("a", "/?animal=dog"), "404"),
            (ask("a", "/?animal=whaledolphin"), "404"),
            (ask("a", "/?animal="), "404"),
            (ask("a", "/"), "404"),
        ],
    );
}

#[test]
fn http_route_matching_across_routes() {
    let first = ["example.com", "example.net"];
    let table = table(
        gw(),
        vec![
            on(
                rule(
                    "one",
                    0,
                    1,
                    vec![prefix("/"), with_header(prefix("/"), "version", "one")],
                ),
                &first,
            ),
            on(
                rule(
                    "two",
                    0,
                    2,
                    vec![prefix("/v2"), with_header(prefix("/"), "version", "two")],
                ),
                &["example.com"],
            ),
        ],
    );
    check(
        &table,
        &[
            (ask("example.com", "/"), "one/0"),
            (
                ask("example.com", "/example").header("version", "one"),
                "one/0",
            ),
            (
                ask("example.net", "/example").header("version", "one"),
                "one/0",
            ),
            (ask("example.com", "/v2"), "two/0"),
            (ask("example.com", "/v2/example"), "two/0"),
            (ask("example.com", "/").header("version", "two"), "two/0"),
            (ask("example.net", "/v2"), "one/0"),
        ],
    );
}

#[test]
fn http_route_rule_order() {
    let color = |first: &str, second: &str| {
        let value = |name: &str| if name == "x-color" { "orange" } else { "two" };
        with_header(
            with_header(exact("/same"), first, value(first)),
            second,
            value(second),
        )
    };
    let table = table(
        gw(),
        vec![
            rule("r", 1, 0, vec![color("x-color", "x-version")]),
            rule("r", 0, 0, vec![color("x-version", "x-color")]),
        ],
    );
    let request = ask("a", "/same")
        .header("x-color", "orange")
        .header("x-version", "two");
    check(&table, &[(request, "r/0")]);
}

#[test]
fn ties_are_broken_by_age_then_name_then_order() {
    let table = table(
        gw(),
        vec![
            rule("b", 0, 5, vec![prefix("/age")]),
            rule("c", 0, 4, vec![prefix("/age")]),
            rule("b", 1, 5, vec![prefix("/name")]),
            rule("a", 1, 5, vec![prefix("/name")]),
            rule("z", 3, 5, vec![prefix("/order")]),
            rule("z", 2, 5, vec![prefix("/order")]),
        ],
    );
    check(
        &table,
        &[
            (ask("a", "/age"), "c/0"),
            (ask("a", "/name"), "a/1"),
            (ask("a", "/order"), "z/2"),
        ],
    );
}

#[test]
fn http_route_listener_hostname_matching() {
    let table = table(
        vec![
            hosts(chain("l1", 80), &["bar.com"]),
            hosts(chain("l2", 80), &["foo.bar.com"]),
            hosts(chain("l3", 80), &["*.bar.com"]),
            hosts(chain("l4", 80), &["*.foo.com"]),
        ],
        vec![
            at(rule("v1", 0, 0, vec![prefix("/")]), "l1"),
            at(rule("v2", 0, 0, vec![prefix("/")]), "l2"),
            at(rule("v3", 0, 0, vec![prefix("/")]), "l3"),
            at(rule("v4", 0, 0, vec![prefix("/")]), "l4"),
        ],
    );
    check(
        &table,
        &[
            (ask("bar.com", "/"), "v1/0"),
            (ask("foo.bar.com", "/"), "v2/0"),
            (ask("FOO.Bar.com:8080", "/"), "v2/0"),
            (ask("baz.bar.com", "/"), "v3/0"),
            (ask("boo.bar.com", "/"), "v3/0"),
            (ask("multiple.prefixes.bar.com", "/"), "v3/0"),
            (ask("multiple.prefixes.foo.com", "/"), "v4/0"),
            (ask("foo.com", "/"), "404"),
            (ask("no.matching.host", "/"), "404"),
        ],
    );
}

#[test]
fn http_route_hostname_intersection() {
    let table = table(
        vec![
            hosts(chain("specific", 80), &["very.specific.com"]),
            hosts(chain("wildcard", 80), &["*.wildcard.io"]),
            hosts(chain("wider", 80), &["*.anotherwildcard.io"]),
        ],
        vec![
            on(
                at(rule("s", 0, 0, vec![prefix("/s1")]), "specific"),
                &[
                    "non.matching.com",
                    "*.nonmatchingwildcard.io",
                    "very.specific.com",
                ],
            ),
            on(
                at(rule("w", 0, 0, vec![prefix("/s3")]), "specific"),
                &["*.specific.com"],
            ),
            on(
                at(rule("i", 0, 0, vec![prefix("/s2")]), "wildcard"),
                &["foo.wildcard.io", "bar.wildcard.io", "foo.bar.wildcard.io"],
            ),
            on(
                at(rule("x", 0, 0, vec![prefix("/s4")]), "wider"),
                &["*.anotherwildcard.io"],
            ),
        ],
    );
    check(
        &table,
        &[
            (ask("very.specific.com", "/s1"), "s/0"),
            (ask("very.specific.com:1234", "/s1"), "s/0"),
            (ask("very.specific.com", "/s3"), "w/0"),
            (ask("foo.specific.com", "/s3"), "404"),
            (ask("non.matching.com", "/s1"), "404"),
            (ask("foo.nonmatchingwildcard.io", "/s1"), "404"),
            (ask("very.specific.com", "/non-matching-prefix"), "404"),
            (ask("foo.wildcard.io", "/s2"), "i/0"),
            (ask("foo.bar.wildcard.io", "/s2"), "i/0"),
            (ask("non.matching.wildcard.io", "/s2"), "404"),
            (ask("wildcard.io", "/s2"), "404"),
            (ask("one.anotherwildcard.io", "/s4"), "x/0"),
            (ask("one.two.three.anotherwildcard.io", "/s4"), "x/0"),
            (ask("anotherwildcard.io", "/s4"), "404"),
        ],
    );
}

/// HTTPRouteMultipleRoutesAttachmentSameHostnameIntersection.
#[test]
fn the_more_specific_original_hostname_wins_and_falls_through() {
    for (listener, old, new) in [
        ("abc.example.com", "*.example.com", "abc.example.com"),
        ("*.example.com", "*.com", "*.example.com"),
        ("abc.example.com", "*.com", "*.example.com"),
    ] {
        let table = table(
            vec![hosts(chain("gw", 80), &[listener])],
            vec![
                on(
                    rule(
                        "v1",
                        0,
                        1,
                        vec![with_header(prefix("/path/prefix"), "header-b", "b")],
                    ),
                    &[old],
                ),
                on(
                    rule(
                        "v2",
                        0,
                        2,
                        vec![with_header(prefix("/path"), "header-a", "a")],
                    ),
                    &[new],
                ),
            ],
        );
        let both = ask("abc.example.com", "/path/prefix")
            .header("header-a", "a")
            .header("header-b", "b");
        let only_b = ask("abc.example.com", "/path/prefix").header("header-b", "b");
        check(
            &table,
            &[
                (both, "v2/0"),
                (only_b, "v1/0"),
                (ask("abc.example.com", "/path/prefix"), "404"),
            ],
        );
    }
}

#[test]
fn gateway_http_listener_isolation() {
    let listeners = [
        ("empty", None, "/empty-hostname"),
        ("wildcard", Some("*.example.com"), "/wildcard-example-com"),
        (
            "foo",
            Some("*.foo.example.com"),
            "/wildcard-foo-example-com",
        ),
        ("abc", Some("abc.foo.example.com"), "/abc-foo-example-com"),
    ];
    let chains = listeners.iter().map(|(name, host, _)| match host {
        Some(host) => hosts(chain(name, 80), &[host]),
        None => chain(name, 80),
    });
    let routes = listeners
        .iter()
        .map(|(name, _, path)| at(rule(name, 0, 0, vec![prefix(path)]), name));
    let table = table(chains.collect(), routes.collect());
    for (host, owner) in [
        ("bar.com", "empty"),
        ("bar.example.com", "wildcard"),
        ("bar.foo.example.com", "foo"),
        ("abc.foo.example.com", "abc"),
    ] {
        for (name, _, path) in listeners {
            let expected = if name == owner {
                format!("{name}/0")
            } else {
                "404".to_owned()
            };
            check(&table, &[(ask(host, path), &expected)]);
        }
    }
}

fn grpc(service: Option<&str>, method: Option<&str>) -> HttpMatch {
    super::build::path(PathMatch::GrpcMethod {
        service: service.map(str::to_owned),
        method: method.map(str::to_owned),
    })
}

fn grpc_rule(name: &str, matches: Vec<HttpMatch>) -> gwanmun_ir::Route {
    let mut route = rule(name, 0, 0, matches);
    route.kind = RouteKind::Grpc;
    route
}

#[test]
fn grpc_rules_match_services_and_methods() {
    let table = table(
        gw(),
        vec![
            grpc_rule("both", vec![grpc(Some("pkg.Echo"), Some("Say"))]),
            grpc_rule("service", vec![grpc(Some("pkg.Echo"), None)]),
            grpc_rule("method", vec![grpc(None, Some("Say"))]),
            grpc_rule(
                "header",
                vec![with_header(grpc(None, None), "color", "blue")],
            ),
            rule("http", 0, 0, vec![exact("/pkg.Echo/Say")]),
        ],
    );
    let call = |path: &str| ask("a", path).header("content-type", "application/grpc+proto");
    check(
        &table,
        &[
            (call("/pkg.Echo/Say"), "both/0"),
            (call("/pkg.Echo/Shout"), "service/0"),
            (call("/pkg.Other/Say"), "method/0"),
            (call("/pkg.Other/Shout").header("color", "blue"), "header/0"),
            (call("/pkg.Other/Shout"), "404"),
            (call("/pkg.Echo/Say/more"), "404"),
            (call("/pkg.Echo"), "404"),
            (ask("a", "/pkg.Echo/Say"), "http/0"),
            (ask("a", "/pkg.Echo/Shout"), "404"),
        ],
    );
}

#[test]
fn regular_expressions_come_between_exact_paths_and_prefixes() {
    let regex = |text: &str| super::build::path(PathMatch::Regex(text.to_owned()));
    let table = table(
        gw(),
        vec![
            rule("prefix", 0, 0, vec![prefix("/users")]),
            rule("short", 0, 0, vec![regex("/users/.*")]),
            rule("long", 0, 0, vec![regex("/users/[0-9]+")]),
            rule("exact", 0, 0, vec![exact("/users/1")]),
        ],
    );
    check(
        &table,
        &[
            (ask("a", "/users/1"), "exact/0"),
            (ask("a", "/users/22"), "long/0"),
            (ask("a", "/users/22/x"), "short/0"),
            (ask("a", "/users"), "prefix/0"),
            (ask("a", "/x/users/22"), "404"),
        ],
    );
}
