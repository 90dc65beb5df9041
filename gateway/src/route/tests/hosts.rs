//! Chains that share a port: which hosts are whose, and what falls through to what.

use super::{
    Ask, Compiled, ask, at,
    build::{chain, exact, exclusive, hosts, istio, path, prefix, route, tls},
    check, on, outcome, resources, rule, table,
};
use gwanmun_ir::{Delta, HeaderMatch, PathMatch, Severity, StringMatch};

#[test]
fn an_istio_virtual_host_is_exclusive() {
    let with = |name: &str, position, host: &str, text: &str| {
        let mut route = istio(route(name, "gw"), position);
        route.matches = vec![path(PathMatch::StringPrefix {
            prefix: text.to_owned(),
            ignore_case: false,
        })];
        on(route, &[host])
    };
    let table = table(
        vec![exclusive(chain("gw", 80))],
        vec![
            with("any", 0, "*", "/"),
            with("wild", 1, "*.foo.com", "/"),
            with("exact", 2, "a.foo.com", "/only"),
            with("later", 3, "a.foo.com", "/only/more"),
        ],
    );
    check(
        &table,
        &[
            (ask("a.foo.com", "/only"), "exact"),
            (ask("a.foo.com", "/onlyjoking"), "exact"),
            // The order of the list, not the longer prefix.
            (ask("a.foo.com", "/only/more"), "exact"),
            (ask("a.foo.com", "/"), "404"),
            (ask("b.foo.com", "/"), "wild"),
            (ask("b.c.foo.com", "/x"), "wild"),
            (ask("foo.com", "/"), "any"),
        ],
    );
}

#[test]
fn case_is_ignored_where_the_rule_says_so() {
    let mut upper = istio(route("exact", "gw"), 0);
    upper.matches = vec![path(PathMatch::Exact {
        path: "/Case".to_owned(),
        ignore_case: true,
    })];
    let mut start = istio(route("prefix", "gw"), 1);
    start.matches = vec![path(PathMatch::StringPrefix {
        prefix: "/Pre".to_owned(),
        ignore_case: true,
    })];
    let table = table(vec![exclusive(chain("gw", 80))], vec![upper, start]);
    check(
        &table,
        &[
            (ask("a", "/cASE"), "exact"),
            (ask("a", "/pREfix"), "prefix"),
            (ask("a", "/pr"), "404"),
            (ask("a", "/case/"), "404"),
        ],
    );
}

#[test]
fn inverted_headers_hold_without_the_header() {
    let mut without = istio(route("without", "gw"), 0);
    let mut matches = prefix("/");
    matches.headers.push(HeaderMatch {
        name: "x-debug".to_owned(),
        value: StringMatch::Exact("on".to_owned()),
        invert: true,
    });
    without.matches = vec![matches];
    let table = table(vec![exclusive(chain("gw", 80))], vec![without]);
    check(
        &table,
        &[
            (ask("a", "/"), "without"),
            (ask("a", "/").header("x-debug", "off"), "without"),
            (ask("a", "/").header("x-debug", "on"), "404"),
        ],
    );
}

#[test]
fn repeated_fields_are_one_value() {
    let mut joined = istio(route("joined", "gw"), 0);
    joined.matches = vec![super::with_header(prefix("/"), "accept", "a,b")];
    let table = table(vec![exclusive(chain("gw", 80))], vec![joined]);
    check(
        &table,
        &[
            (
                ask("a", "/").header("accept", "a").header("accept", "b"),
                "joined",
            ),
            (ask("a", "/").header("accept", "a"), "404"),
        ],
    );
}

#[test]
fn two_gateways_with_one_hostname_share_it() {
    let old = chain("old", 80);
    let mut new = chain("new", 80);
    new.rank = (1, "new".to_owned());
    let table = table(
        vec![new, old],
        vec![
            at(rule("old", 0, 9, vec![prefix("/")]), "old"),
            at(rule("old", 1, 9, vec![exact("/old")]), "old"),
            at(rule("new", 0, 1, vec![exact("/new")]), "new"),
            on(
                at(rule("named", 0, 1, vec![prefix("/")]), "new"),
                &["x.com"],
            ),
        ],
    );
    check(
        &table,
        &[
            (ask("a", "/old"), "old/1"),
            (ask("a", "/"), "old/0"),
            // The older Gateway's rules come first where hosts are equally specific.
            (ask("a", "/new"), "old/0"),
            (ask("x.com", "/"), "named/0"),
        ],
    );
}

#[test]
fn an_istio_chain_contributes_one_virtual_host_to_a_shared_port() {
    let istio_chain = exclusive(chain("istio", 80));
    let mut gateway = chain("k8s", 80);
    gateway.rank = (1, "k8s".to_owned());
    let mut specific = istio(route("specific", "istio"), 0);
    specific.hostnames = super::build::hostnames(&["a.com"]);
    specific.matches = vec![exact("/istio")];
    let mut rest = istio(route("rest", "istio"), 1);
    rest.hostnames = super::build::hostnames(&["*"]);
    let table = table(
        vec![istio_chain, gateway],
        vec![
            specific,
            rest,
            on(
                at(rule("k8s", 0, 0, vec![prefix("/k8s")]), "k8s"),
                &["a.com"],
            ),
        ],
    );
    check(
        &table,
        &[
            (ask("a.com", "/istio"), "specific"),
            (ask("a.com", "/k8s"), "k8s/0"),
            // `rest` is another virtual host of the exclusive chain.
            (ask("a.com", "/other"), "404"),
            (ask("b.com", "/other"), "rest"),
        ],
    );
}

/// HTTPRouteHTTPSListenerDetectMisdirectedRequests.
#[test]
fn a_host_of_another_listener_is_misdirected() {
    let listeners = [
        ("any", None),
        ("second", Some("second-example.org")),
        ("wildcard", Some("*.wildcard.org")),
        ("fourth", Some("fourth-example.wildcard.org")),
    ];
    let chains = listeners.map(|(name, host)| {
        let chain = tls(chain(name, 80), &["secret"]);
        host.map_or(chain.clone(), |host| hosts(chain, &[host]))
    });
    let routes = listeners.map(|(name, _)| at(rule(name, 0, 0, vec![prefix("/")]), name));
    let routes = routes.map(|route| match route.chain.as_str() {
        "any" => on(route, &["example.org"]),
        "second" => on(route, &["second-example.org"]),
        _ => route,
    });
    let mut compiled = Compiled::default();
    compiled.apply(Delta {
        upserts: resources(&chains, &routes),
        ..Delta::default()
    });
    let table = compiled.table(80);
    for (sni, host, expected) in [
        ("example.org", "example.org", "any/0"),
        ("example.org", "second-example.org", "421"),
        ("example.org", "unknown-example.org", "404"),
        ("second-example.org", "second-example.org", "second/0"),
        ("second-example.org", "example.org", "421"),
        ("second-example.org", "unknown-example.org", "421"),
        (
            "third-example.wildcard.org",
            "fith-example.wildcard.org",
            "wildcard/0",
        ),
        (
            "third-example.wildcard.org",
            "fourth-example.wildcard.org",
            "421",
        ),
        ("third-example.wildcard.org", "second-example.org", "421"),
        ("third-example.wildcard.org", "unknown-example.org", "421"),
        (
            "fourth-example.wildcard.org",
            "fourth-example.wildcard.org",
            "fourth/0",
        ),
        (
            "fourth-example.wildcard.org",
            "fith-example.wildcard.org",
            "421",
        ),
        ("unknown-example.org", "example.org", "any/0"),
        ("unknown-example.org", "unknown-example.org", "404"),
    ] {
        let group = table.group_for_sni(Some(sni));
        assert!(group.is_some(), "{sni}");
        let found = outcome(&table, group, &ask(host, "/"));
        assert_eq!(found, expected, "{sni} then {host}");
    }
}

#[test]
fn without_detection_the_sni_decides() {
    let chains = [
        hosts(exclusive(tls(chain("a", 80), &["s"])), &["a.com"]),
        hosts(exclusive(tls(chain("b", 80), &["s"])), &["b.com"]),
    ];
    let routes = [
        on(istio(route("a", "a"), 0), &["a.com"]),
        on(istio(route("b", "b"), 0), &["b.com"]),
    ];
    let mut compiled = Compiled::default();
    compiled.apply(Delta {
        upserts: resources(&chains, &routes),
        ..Delta::default()
    });
    let table = compiled.table(80);
    let group = table.group_for_sni(Some("a.com"));
    assert_eq!(outcome(&table, group, &ask("a.com", "/")), "a");
    assert_eq!(outcome(&table, group, &ask("b.com", "/")), "404");
    assert!(table.group_for_sni(Some("c.com")).is_none());
    assert!(table.group_for_sni(None).is_none());
}

#[test]
fn a_connection_whose_chain_is_gone_is_sent_to_find_out_anew() {
    let a = hosts(tls(chain("a", 80), &["s"]), &["a.com"]);
    let any = tls(chain("any", 80), &["s"]);
    let routes = [at(rule("any", 0, 0, vec![prefix("/")]), "any")];
    let mut compiled = Compiled::default();
    compiled.apply(Delta {
        upserts: resources(&[a.clone(), any], &routes),
        ..Delta::default()
    });
    let before = compiled.table(80);
    let group = before.group_for_sni(Some("a.com"));
    compiled.apply(Delta {
        removed: vec![gwanmun_ir::Key::Chain(a.key)],
        ..Delta::default()
    });
    let after = compiled.table(80);
    assert_eq!(outcome(&after, group, &ask("a.com", "/")), "421");
}

#[test]
fn an_invalid_regular_expression_never_matches_and_is_reported() {
    let regex = |text: &str| path(PathMatch::Regex(text.to_owned()));
    let mut inverted = prefix("/");
    inverted.headers.push(HeaderMatch {
        name: "x".to_owned(),
        value: StringMatch::Regex("(".to_owned()),
        invert: true,
    });
    let routes = [
        rule("bad", 0, 0, vec![regex("/a("), exact("/fine")]),
        rule("bad", 1, 0, vec![inverted]),
        rule("bad", 2, 0, vec![regex("x)|(/escape")]),
        rule("bad", 3, 0, vec![regex("(\\pL{1,100}){100}")]),
        rule("good", 0, 0, vec![prefix("/a")]),
    ];
    let mut compiled = Compiled::default();
    let rejected = compiled.apply(Delta {
        upserts: resources(&[chain("gw", 80)], &routes),
        ..Delta::default()
    });
    let texts: Vec<_> = rejected
        .iter()
        .map(|one| (one.source.name.as_str(), one.severity, one.message.as_str()))
        .collect();
    assert_eq!(texts.len(), 4, "{texts:#?}");
    assert!(
        texts
            .iter()
            .all(|(_, severity, _)| *severity == Severity::Degraded)
    );
    assert!(
        texts[0].2.contains("`/a(` is invalid and never matches"),
        "{texts:?}"
    );
    assert!(texts[3].2.contains("too big"), "{texts:?}");
    let table = compiled.table(80);
    let answers = |request: &Ask| outcome(&table, None, request);
    assert_eq!(answers(&ask("h", "/a(")), "404");
    assert_eq!(answers(&ask("h", "/a/b")), "good/0");
    assert_eq!(answers(&ask("h", "/fine")), "bad/0");
    assert_eq!(answers(&ask("h", "/other")), "404");
    assert_eq!(answers(&ask("h", "/escape")), "404");
}
