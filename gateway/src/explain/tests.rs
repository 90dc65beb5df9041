//! Explanations of each way a request can end.

use crate::test_build as build;

use super::{ExplainRequest, Explanation, explain_offline};
use crate::AdminRequest;
use build::{
    chain, cluster, cluster_config, exact, forward, hosts, listener, method, of_chain, of_route,
    prefix, route, target, tls,
};
use gwanmun_ir::{Action, Failure, Redirect, RedirectPort, Resource, Target, WeightedTarget};
use serde_json::json;

fn get(url: &str) -> ExplainRequest {
    ExplainRequest {
        url: url.to_owned(),
        ..ExplainRequest::default()
    }
}

fn with(mut resources: Vec<Resource>, request: &ExplainRequest) -> Explanation {
    resources.push(listener(80));
    explain_offline(resources, request).unwrap()
}

fn ending(explanation: &Explanation) -> String {
    match &explanation.answer {
        Some(answer) => format!("{} {} {}", answer.status, answer.flag, answer.details),
        None => "forwarded".to_owned(),
    }
}

fn with_action(action: Action) -> Vec<Resource> {
    let mut own = route("echo", "gw");
    own.action = action;
    vec![of_chain(chain("gw", 80)), of_route(own)]
}

#[test]
fn a_way_to_an_endpoint_is_told_step_by_step() {
    let mut one = route("echo", "gw");
    let mut post = method(prefix("/echo"), "POST");
    post.section = "matches[0]".to_owned();
    let mut deep = exact("/echo/deep");
    deep.section = "matches[1]".to_owned();
    let mut all = prefix("/echo");
    all.section = "matches[2]".to_owned();
    one.matches = vec![post, deep, all];
    one.source.section = "rules[0]".to_owned();
    one.hostnames = build::hostnames(&["*.example.com"]);
    one.action = forward("outbound|80||echo");
    let mut resources = vec![of_chain(chain("gw", 80)), of_route(one)];
    resources.extend(cluster(
        "outbound|80||echo",
        &["127.0.0.1:9000".parse().unwrap()],
    ));
    let told = with(resources, &get("http://a.example.com/echo/x/../y?z"));
    assert_eq!(
        serde_json::to_value(&told).unwrap(),
        json!({
            "request": "GET http://a.example.com/echo/x/../y?z",
            "listener": "tcp/0.0.0.0:80",
            "filterChain": "gw",
            "virtualHost": "*.example.com",
            "route": "Test default/echo",
            "rule": "rules[0] matches[2]",
            "cluster": "outbound|80||echo",
            "endpoints": [{"address": "127.0.0.1:9000", "health": "healthy", "weight": 1}],
            "candidates": [
                {
                    "object": "Test default/echo",
                    "rule": "rules[0]",
                    "match": "matches[1]",
                    "failed": "path is not `/echo/deep`",
                },
                {
                    "object": "Test default/echo",
                    "rule": "rules[0]",
                    "match": "matches[0]",
                    "failed": "method is not `POST`",
                },
            ],
        })
    );
}

#[test]
fn every_other_ending_says_what_the_client_gets() {
    let weighted = |targets| with_action(Action::Forward(targets));
    let fail = |weight| WeightedTarget {
        target: Target::Fail(Failure::InvalidBackend),
        weight,
        filters: Vec::new(),
    };
    let redirect = Action::Redirect(Redirect {
        status: 301,
        scheme: Some("https".to_owned()),
        host: None,
        port: RedirectPort::GatewayApi,
        path: None,
    });
    let empty = vec![Resource::Cluster(Box::new(cluster_config("c")))];
    let url = "http://a.com/x";
    for (resources, url, expected) in [
        (
            with_action(build::answer("hi")),
            url,
            "200 - direct_response",
        ),
        (with_action(redirect.clone()), url, "301 - direct_response"),
        (
            with_action(Action::Fail(Failure::InvalidBackend)),
            url,
            "500 - invalid_backend",
        ),
        (
            with_action(Action::Fail(Failure::ClusterNotFound)),
            url,
            "503 NC cluster_not_found",
        ),
        (
            with_action(forward("nowhere")),
            url,
            "503 NC cluster_not_found",
        ),
        (
            [with_action(forward("c")), empty].concat(),
            url,
            "503 UH no_healthy_upstream",
        ),
        (
            weighted(vec![fail(2), target("nowhere", 1)]),
            url,
            "500 - invalid_backend",
        ),
        (
            weighted(vec![fail(0), target("nowhere", 0)]),
            url,
            "500 - invalid_backend",
        ),
    ] {
        assert_eq!(ending(&with(resources, &get(url))), expected, "{url}");
    }
    let told = with(with_action(redirect), &get(url));
    assert_eq!(told.answer.unwrap().location.unwrap(), "https://a.com/x");
}

#[test]
fn a_way_that_ends_before_a_route_says_where() {
    let url = "http://a.com/x";
    for (resources, url, expected) in [
        (
            vec![of_chain(chain("gw", 80))],
            url,
            "404 NR route_not_found",
        ),
        (Vec::new(), url, "404 NR route_not_found"),
        (Vec::new(), "http://a.com:81/", "0 - no_listener"),
        (
            with_action(build::answer("")),
            "http://a.com/%00",
            "400 - path_normalization_failed",
        ),
        (
            vec![of_chain(tls(hosts(chain("gw", 80), &["b.com"]), &["s"]))],
            "https://a.com:80/",
            "0 NR filter_chain_not_found",
        ),
        (
            vec![of_chain(tls(chain("gw", 80), &["s"]))],
            "https://a.com:80/",
            "0 - no_usable_certificate",
        ),
        (
            vec![of_chain(tls(chain("gw", 80), &["s"]))],
            "http://a.com/",
            "0 - plaintext_on_a_tls_port",
        ),
        (
            with_action(build::answer("")),
            "https://a.com:80/",
            "0 - tls_on_a_plaintext_port",
        ),
    ] {
        assert_eq!(ending(&with(resources, &get(url))), expected, "{url}");
    }
}

#[test]
fn a_host_nobody_serves_is_told_apart_from_a_path_nobody_serves() {
    let mut own = route("echo", "gw");
    own.hostnames = build::hostnames(&["a.com"]);
    own.matches = vec![prefix("/only")];
    let resources = vec![
        of_chain(hosts(chain("gw", 80), &["*.com"])),
        of_chain(hosts(chain("gw", 80), &["a.com", "b.com"])),
        of_route(own),
    ];
    let failed = |url: &str| {
        let told = with(resources.clone(), &get(url));
        assert_eq!(ending(&told), "404 NR route_not_found");
        let candidates = told.candidates.into_iter();
        candidates.map(|one| one.failed).collect::<Vec<_>>()
    };
    assert_eq!(failed("http://a.com/x"), ["path is not below `/only`"]);
    assert_eq!(
        failed("http://b.com/x"),
        ["`a.com` is not for host `b.com`"]
    );
    assert_eq!(
        failed("http://c.org/x"),
        [
            "`a.com` is not for host `c.org`",
            "`b.com` is not for host `c.org`"
        ]
    );
}

#[test]
fn questions_come_as_parameters() {
    let ask = |query: &[(&str, &str)]| {
        let query = query.iter();
        ExplainRequest::from_admin(&AdminRequest {
            method: "GET".to_owned(),
            path: "/explain".to_owned(),
            query: query
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
                .collect(),
        })
    };
    let question = ask(&[
        ("method", "POST"),
        ("url", "/x"),
        ("port", "8080"),
        ("source", "192.0.2.1"),
        ("sni", "a.com"),
        ("header", "Host: a.com"),
        ("header", "x: y:z"),
    ]);
    assert_eq!(
        question.unwrap(),
        ExplainRequest {
            method: "POST".to_owned(),
            url: "/x".to_owned(),
            port: Some(8080),
            sni: Some("a.com".to_owned()),
            source: Some([192, 0, 2, 1].into()),
            headers: vec![
                ("Host".to_owned(), "a.com".to_owned()),
                ("x".to_owned(), "y:z".to_owned()),
            ],
        }
    );
    assert_eq!(ask(&[]).unwrap_err(), "url is missing");
    let text = ask(&[("url", "/"), ("port", "x")]).unwrap_err();
    assert_eq!(text, "`x` is not a valid port");
    let error = explain_offline(Vec::new(), &get("ftp://a/")).unwrap_err();
    assert_eq!(error, "`ftp` is none of http, https, tcp and tls");
}

/// A connection on a port with every kind of chain.
fn connection(url: &str) -> Result<Explanation, String> {
    let address = std::net::SocketAddr::from(([127, 0, 0, 1], 9));
    let through = build::passthrough(chain("through", 443));
    let mut named = build::l4_route("named", "through", &[("up", 1), ("gone", 3)]);
    named.hostnames = build::hostnames(&["*.b.test"]);
    let mut resources = vec![
        listener(443),
        of_chain(hosts(through, &["*.test"])),
        build::of_l4(named),
        listener(81),
        of_chain(build::tcp(chain("raw", 81))),
        build::of_l4(build::l4_route("raw", "raw", &[("up", 1)])),
        listener(80),
        of_chain(chain("web", 80)),
    ];
    resources.extend(cluster("up", &[address]));
    let request = ExplainRequest {
        url: url.to_owned(),
        ..ExplainRequest::default()
    };
    explain_offline(resources, &request)
}

#[test]
fn connections_of_bytes_are_explained_by_server_name() {
    for url in ["tcp://gw:81", "tls://a.b.test:81", "http://gw:81/x"] {
        let way = connection(url).unwrap();
        assert_eq!(way.filter_chain.as_deref(), Some("raw"), "{url}");
        assert_eq!(way.cluster.as_deref(), Some("up"), "{url}");
        assert_eq!(way.endpoints.len(), 1);
        assert_eq!(way.answer, None);
    }
    let way = connection("tls://a.b.test").unwrap();
    assert_eq!(way.request, "tls://a.b.test");
    assert_eq!(way.filter_chain.as_deref(), Some("through"));
    assert_eq!(way.route.as_deref(), Some("Test default/named"));
    assert_eq!(way.targets.len(), 2);
    assert_eq!(way.answer.unwrap().details, "cluster_not_found");
    let way = connection("tls://a.test").unwrap();
    assert_eq!(way.answer.unwrap().flag, "NR");
    assert_eq!(
        way.candidates[0].failed,
        "`*.b.test` is not for server name `a.test`"
    );
    let way = connection("tls://a.org").unwrap();
    assert_eq!(way.answer.unwrap().details, "filter_chain_not_found");
    let way = connection("tcp://gw:443").unwrap();
    assert_eq!(way.answer.unwrap().details, "plaintext_on_a_tls_port");
    assert!(connection("tcp://gw").is_err());
    assert!(connection("tcp://gw:80").unwrap_err().contains("http://"));
}
