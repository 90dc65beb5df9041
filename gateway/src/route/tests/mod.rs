//! Which route a request takes: the Gateway API's conformance tests as data, Istio's rules, and
//! properties.

use crate::test_build as build;

mod conformance;
mod hosts;
mod l4;
mod properties;
mod scale;

use super::{Found, RequestView};
use crate::{
    cluster::Clusters,
    compile::Compiler,
    listener::{ChainGroup, ListenerTable},
};
use gwanmun_ir::{
    Delta, FilterChain, HeaderMatch, HttpMatch, Precedence, QueryMatch, Rejection, Resource, Route,
    StringMatch,
};
use std::{borrow::Cow, sync::Arc};

/// A request in a few words.
#[derive(Clone, Debug)]
pub(super) struct Ask {
    pub(super) method: String,
    pub(super) authority: String,
    pub(super) host: String,
    pub(super) path: String,
    pub(super) query: Option<String>,
    pub(super) headers: Vec<(String, String)>,
}

pub(super) fn ask(authority: &str, target: &str) -> Ask {
    let (path, query) = match target.split_once('?') {
        Some((path, query)) => (path, Some(query.to_owned())),
        None => (target, None),
    };
    let host = authority.split(':').next().unwrap().to_ascii_lowercase();
    Ask {
        method: "GET".to_owned(),
        authority: authority.to_owned(),
        host,
        path: path.to_owned(),
        query,
        headers: Vec::new(),
    }
}

impl Ask {
    pub(super) fn method(mut self, method: &str) -> Self {
        self.method = method.to_owned();
        self
    }

    pub(super) fn header(mut self, name: &str, value: &str) -> Self {
        let name = name.to_ascii_lowercase();
        self.headers.push((name, value.to_owned()));
        self
    }
}

impl RequestView for Ask {
    fn method(&self) -> &str {
        &self.method
    }

    fn scheme(&self) -> &str {
        "http"
    }

    fn authority(&self) -> &str {
        &self.authority
    }

    fn host(&self) -> &str {
        &self.host
    }

    fn path(&self) -> &str {
        &self.path
    }

    fn query(&self) -> Option<&str> {
        self.query.as_deref()
    }

    fn header(&self, name: &str) -> Option<Cow<'_, [u8]>> {
        let mut values = self.headers.iter().filter(|(own, _)| own == name);
        let first = values.next()?.1.as_bytes();
        let mut joined = Cow::Borrowed(first);
        for (_, value) in values {
            joined.to_mut().push(b',');
            joined.to_mut().extend(value.as_bytes());
        }
        Some(joined)
    }

    fn is_grpc(&self) -> bool {
        self.header("content-type")
            .is_some_and(|value| value.starts_with(b"application/grpc"))
    }
}

/// A compiler that has taken some configuration.
#[derive(Default)]
pub(super) struct Compiled {
    compiler: Compiler,
}

impl Compiled {
    pub(super) fn apply(&mut self, delta: Delta) -> Vec<Rejection> {
        let changed = self.compiler.accept(delta);
        let clusters = Clusters::default();
        self.compiler.compile(&changed, &[], &clusters).rejected
    }

    pub(super) fn table(&self, port: u16) -> Arc<ListenerTable> {
        Arc::clone(&self.compiler.tables()[&build::listener_key(port)])
    }
}

/// A table with these chains and routes on port 80.
pub(super) fn table(chains: Vec<FilterChain>, routes: Vec<Route>) -> Arc<ListenerTable> {
    let mut compiled = Compiled::default();
    let mut upserts = vec![build::listener(80)];
    upserts.extend(chains.into_iter().map(build::of_chain));
    upserts.extend(routes.into_iter().map(build::of_route));
    let rejected = compiled.apply(Delta {
        upserts,
        ..Delta::default()
    });
    assert_eq!(rejected, []);
    compiled.table(80)
}

/// What the table makes of a request: the route's name, `404` or `421`.
pub(super) fn outcome(
    table: &ListenerTable,
    tls: Option<&Arc<ChainGroup>>,
    request: &Ask,
) -> String {
    match table.find(tls, request) {
        Found::Route(matched) => matched.route.ir.source.name.clone(),
        Found::Nothing => "404".to_owned(),
        Found::Misdirected => "421".to_owned(),
    }
}

/// Asserts the outcome of plaintext requests.
pub(super) fn check(table: &ListenerTable, cases: &[(Ask, &str)]) {
    for (request, expected) in cases {
        assert_eq!(outcome(table, None, request), *expected, "{request:?}");
    }
}

/// A route of an object: `object/rule` is its name, age its creation time.
pub(super) fn rule(object: &str, index: u32, age: i64, matches: Vec<HttpMatch>) -> Route {
    let mut route = build::route(&format!("{object}/{index}"), "gw");
    route.precedence = Precedence::MostSpecific {
        created: age,
        object: format!("default/{object}"),
        rule: index,
    };
    route.matches = matches;
    route
}

pub(super) fn with_header(mut matches: HttpMatch, name: &str, value: &str) -> HttpMatch {
    matches.headers.push(HeaderMatch {
        name: name.to_ascii_lowercase(),
        value: StringMatch::Exact(value.to_owned()),
        invert: false,
    });
    matches
}

pub(super) fn with_query(mut matches: HttpMatch, name: &str, value: &str) -> HttpMatch {
    matches.query.push(QueryMatch {
        name: name.to_owned(),
        value: StringMatch::Exact(value.to_owned()),
    });
    matches
}

pub(super) fn on(mut route: Route, hostnames: &[&str]) -> Route {
    route.hostnames = build::hostnames(hostnames);
    route
}

pub(super) fn at(mut route: Route, chain: &str) -> Route {
    let named = build::route(&route.source.name, chain);
    route.key = named.key;
    route.chain = named.chain;
    route
}

pub(super) fn resources(chains: &[FilterChain], routes: &[Route]) -> Vec<Resource> {
    let mut all = vec![build::listener(80)];
    all.extend(chains.iter().cloned().map(build::of_chain));
    all.extend(routes.iter().cloned().map(build::of_route));
    all
}
