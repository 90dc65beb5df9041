//! Requests reach upstreams and responses come back, whatever either side speaks.

use crate::support::{
    TestGateway,
    build::*,
    client::{Raw, get},
    upstream::Upstream,
};

fn one_cluster(upstream: &Upstream) -> TestGateway {
    let gateway = TestGateway::start();
    let mut resources = vec![listener(80), of_chain(chain("web", 80))];
    resources.extend(cluster("back", &[upstream.address()]));
    let mut route = route("all", "web");
    route.action = forward("back");
    resources.push(of_route(route));
    gateway.serve(resources);
    gateway
}

#[test]
fn a_request_is_forwarded_and_the_connections_are_used_again() {
    let upstream = Upstream::named("one");
    let gateway = one_cluster(&upstream);
    let mut client = Raw::connect(gateway.address(80));
    for n in 0..10 {
        client.send(format!("GET /{n} HTTP/1.1\r\nHost: a.test\r\n\r\n"));
        let response = client.response();
        assert_eq!(response.status, 200);
        assert_eq!(response.text(), format!("one /{n}"));
    }
    assert_eq!(upstream.connections(), 1);
    assert_eq!(upstream.requests(), 10);
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    let upstream = Upstream::named("one");
    let gateway = one_cluster(&upstream);
    let mut client = Raw::connect(gateway.address(80));
    let all: String = (0..5)
        .map(|n| format!("GET /{n} HTTP/1.1\r\nHost: a.test\r\n\r\n"))
        .collect();
    client.send(all);
    for n in 0..5 {
        assert_eq!(client.response().text(), format!("one /{n}"));
    }
}

#[test]
fn a_client_that_asks_for_it_is_closed() {
    let upstream = Upstream::named("one");
    let gateway = one_cluster(&upstream);
    let mut client = Raw::connect(gateway.address(80));
    client.send("GET / HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n");
    let response = client.response();
    assert_eq!(response.header("connection"), Some("close"));
    assert!(client.rest().is_empty());
    assert_eq!(get(gateway.address(80), "a.test", "/x").text(), "one /x");
}
