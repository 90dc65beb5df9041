//! Whatever the configuration: the index finds what a linear search finds, and applying changes
//! one by one gives what compiling the result gives.

use super::{
    super::{HostMap, Lookup, RequestView, levels},
    Ask, Compiled,
    build::{chain, exclusive, hosts, path, route},
    outcome, resources,
};
use crate::listener::{ChainTable, ListenerTable};
use gwanmun_ir::{
    Delta, FilterChain, HeaderMatch, HostRule, Hostname, HttpMatch, Key, PathMatch, Precedence,
    QueryMatch, Route, RouteKind, StringMatch,
};
use proptest::{
    collection::vec, option, prelude::*, sample::select, test_runner::Config as PropConfig,
};
use std::sync::Arc;

fn any_path() -> impl Strategy<Value = PathMatch> {
    let text = "(/[ab]{0,2}){1,3}";
    let name = || option::of("[ab]{1,2}");
    prop_oneof![
        Just(PathMatch::Any),
        (text, any::<bool>())
            .prop_map(|(path, ignore_case)| PathMatch::Exact { path, ignore_case }),
        (name(), name()).prop_map(|(service, method)| PathMatch::GrpcMethod { service, method }),
        text.prop_map(PathMatch::Prefix),
        Just(PathMatch::Prefix("/".to_owned())),
        "(/[ab.]{1,2}|/a\\*){1,2}".prop_map(PathMatch::Regex),
        (text, any::<bool>()).prop_map(|(prefix, ignore_case)| PathMatch::StringPrefix {
            prefix,
            ignore_case
        }),
    ]
}

fn any_string() -> impl Strategy<Value = StringMatch> {
    prop_oneof![
        "[xy]".prop_map(StringMatch::Exact),
        "[xy]{0,1}".prop_map(StringMatch::Prefix),
        Just(StringMatch::Present),
        Just(StringMatch::Regex("x|y+".to_owned())),
        Just(StringMatch::Regex("(".to_owned())),
    ]
}

fn any_match() -> impl Strategy<Value = HttpMatch> {
    let header =
        ("[hk]", any_string(), any::<bool>()).prop_map(|(name, value, invert)| HeaderMatch {
            name,
            value,
            invert,
        });
    let query = ("[qr]", any_string()).prop_map(|(name, value)| QueryMatch { name, value });
    let method = select(vec!["GET", "POST"]);
    (
        any_path(),
        option::weighted(0.2, method),
        vec(header, 0..2),
        vec(query, 0..2),
    )
        .prop_map(|(own, method, headers, query)| {
            let mut matches = path(own);
            matches.method = method.map(|text| StringMatch::Exact(text.to_owned()));
            matches.headers = headers;
            matches.query = query;
            matches
        })
}

fn any_hosts() -> impl Strategy<Value = Vec<Hostname>> {
    vec("(\\*\\.)?[ab](\\.[ab])?|\\*", 0..3)
        .prop_map(|names| names.iter().map(|name| name.parse().unwrap()).collect())
}

/// A route of one of three chains; the index makes name and position unique.
fn any_route() -> impl Strategy<Value = Route> {
    (
        vec(any_match(), 0..3),
        any_hosts(),
        0..2_i64,
        prop::bool::weighted(0.3),
        select(vec!["one", "two", "istio"]),
    )
        .prop_map(|(matches, hostnames, created, grpc, chain)| {
            let mut route = route("unnamed", chain);
            route.matches = matches;
            route.hostnames = hostnames;
            if grpc {
                route.kind = RouteKind::Grpc;
            }
            route.precedence = Precedence::MostSpecific {
                created,
                object: String::new(),
                rule: 0,
            };
            route
        })
}

fn named(index: usize, mut route: Route) -> Route {
    let own = super::build::route(&format!("r{index}"), route.chain.as_str());
    route.key = own.key;
    route.source = own.source;
    route.precedence = match (route.chain.as_str(), route.precedence) {
        ("istio", _) => Precedence::InOrder(u32::try_from(index).unwrap()),
        (_, Precedence::MostSpecific { created, .. }) => Precedence::MostSpecific {
            created,
            object: format!("default/o{}", index % 3),
            rule: u32::try_from(index).unwrap(),
        },
        (_, in_order @ Precedence::InOrder(_)) => in_order,
    };
    route
}

fn chains() -> Vec<FilterChain> {
    let mut two = hosts(chain("two", 80), &["*.a", "a.b"]);
    two.rank = (1, "two".to_owned());
    let mut istio = exclusive(chain("istio", 80));
    istio.rank = (2, "istio".to_owned());
    vec![chain("one", 80), two, istio]
}

fn any_request() -> impl Strategy<Value = Ask> {
    (
        "[ab](\\.[ab]){0,2}",
        "(/[abA]{0,2}){1,4}",
        option::of("([qr]=[xyz]{0,2}&?){0,3}"),
        vec(("[hk]", "[xyz]{0,2}"), 0..3),
        select(vec!["GET", "POST"]),
        any::<bool>(),
    )
        .prop_map(|(host, path, query, headers, method, grpc)| {
            let mut request = super::ask(&host, &path).method(method);
            request.query = query;
            request.headers = headers;
            if grpc {
                request = request.header("content-type", "application/grpc");
            }
            request
        })
}

/// What the definition says: every virtual host of every chain that may serve the host, in
/// order, each searched rule by rule.
fn linear(table: &ListenerTable, request: &Ask) -> String {
    let host = request.host();
    let groups = table.plaintext.values();
    let group = groups
        .filter(|group| {
            group
                .hostname
                .as_ref()
                .is_none_or(|name| name.matches(host))
        })
        .min_by(|a, b| match (&a.hostname, &b.hostname) {
            (Some(a), Some(b)) => a.cmp_specificity(b),
            (a, b) => a.is_none().cmp(&b.is_none()),
        });
    let Some(group) = group else {
        return "404".to_owned();
    };
    let mut exclusive_done = vec![false; group.chains.len()];
    let lookup = Lookup::new(request);
    for level in levels(host) {
        for (index, chain) in group.chains.iter().enumerate() {
            let chain: &Arc<ChainTable> = chain;
            let hosts: &HostMap<_> = &chain.hosts;
            let Some(found) = hosts.at(level) else {
                continue;
            };
            if chain.http.host_rule == HostRule::Exclusive {
                if exclusive_done[index] {
                    continue;
                }
                exclusive_done[index] = true;
            }
            if let Some((route, _)) = found.find_linear(&lookup) {
                return route.ir.source.name.clone();
            }
        }
    }
    "404".to_owned()
}

/// Removes resources and takes others.
#[derive(Clone, Debug)]
struct Change {
    removed: Vec<usize>,
    upserts: Vec<(usize, Route)>,
    /// Routes that keep their place and do something else.
    touched: Vec<(usize, u32)>,
    chain: Option<usize>,
}

fn any_change() -> impl Strategy<Value = Change> {
    (
        vec(0..12_usize, 0..3),
        vec((0..12_usize, any_route()), 0..4),
        vec((0..12_usize, 0..9_u32), 0..3),
        option::weighted(0.3, 0..3_usize),
    )
        .prop_map(|(removed, upserts, touched, chain)| Change {
            removed,
            upserts,
            touched,
            chain,
        })
}

proptest! {
    #![proptest_config(PropConfig { cases: 128, ..PropConfig::default() })]

    #[test]
    fn the_index_finds_what_a_linear_search_finds(
        routes in vec(any_route(), 0..14),
        requests in vec(any_request(), 12),
    ) {
        let routes: Vec<Route> =
            routes.into_iter().enumerate().map(|(index, route)| named(index, route)).collect();
        let mut compiled = Compiled::default();
        compiled.apply(Delta { upserts: resources(&chains(), &routes), ..Delta::default() });
        let table = compiled.table(80);
        for request in &requests {
            prop_assert_eq!(outcome(&table, None, request), linear(&table, request), "{:?}", request);
        }
    }

    #[test]
    fn changes_one_by_one_give_what_compiling_the_result_gives(
        changes in vec(any_change(), 1..6),
        requests in vec(any_request(), 8),
    ) {
        let mut stepwise = Compiled::default();
        stepwise.apply(Delta { upserts: resources(&chains(), &[]), ..Delta::default() });
        let mut routes: Vec<Option<Route>> = vec![None; 12];
        let mut present = [true; 3];
        for change in changes {
            let mut delta = Delta::default();
            for index in change.removed {
                if let Some(route) = routes[index].take() {
                    delta.removed.push(Key::Route(route.key));
                }
            }
            for (index, route) in change.upserts {
                let route = named(index, route);
                // A route that moves to another chain has another key: the old one goes.
                if let Some(old) = routes[index].replace(route.clone())
                    && old.key != route.key
                {
                    delta.removed.push(Key::Route(old.key));
                }
                delta.upserts.retain(|one: &gwanmun_ir::Resource| one.key() != Key::Route(route.key.clone()));
                delta.upserts.push(super::build::of_route(route));
            }
            for (index, mark) in change.touched {
                if let Some(route) = &mut routes[index] {
                    route.source.name = format!("r{index} mark {mark}");
                    delta.upserts.retain(|one| one.key() != Key::Route(route.key.clone()));
                    delta.upserts.push(super::build::of_route(route.clone()));
                }
            }
            if let Some(index) = change.chain {
                let chain = chains().swap_remove(index);
                if present[index] {
                    delta.removed.push(Key::Chain(chain.key));
                } else {
                    delta.upserts.push(super::build::of_chain(chain));
                }
                present[index] = !present[index];
            }
            let live: Vec<Key> = routes.iter().flatten().map(|route| Key::Route(route.key.clone())).collect();
            delta.upserts.retain(|one| {
                !matches!(one, gwanmun_ir::Resource::Route(_)) || live.contains(&one.key())
            });
            let kept: Vec<Key> = delta.upserts.iter().map(gwanmun_ir::Resource::key).collect();
            delta.removed.retain(|key| !kept.contains(key));
            stepwise.apply(delta);
        }
        let chains: Vec<FilterChain> = chains()
            .into_iter()
            .zip(present)
            .filter_map(|(chain, present)| present.then_some(chain))
            .collect();
        let routes: Vec<Route> = routes.into_iter().flatten().collect();
        let mut at_once = Compiled::default();
        at_once.apply(Delta { upserts: resources(&chains, &routes), ..Delta::default() });
        for request in &requests {
            prop_assert_eq!(
                outcome(&stepwise.table(80), None, request),
                outcome(&at_once.table(80), None, request),
                "{:?}", request
            );
        }
    }
}
