//! What a change costs where there are many routes.

use super::{
    Compiled, ask, at,
    build::{chain, exact, hosts, listener, of_chain, of_route, prefix, route},
    on, outcome,
};
use gwanmun_ir::{Delta, Resource, Route};
use std::time::{Duration, Instant};

const ROUTES: usize = 5000;

/// Applies the routes, then edits one of them some times. Returns the time of the whole and the
/// shortest time of an edit: the machine may be busy with something else meanwhile.
fn edit(chains: Vec<Resource>, routes: &[Route], edited: &Route) -> (Compiled, Duration, Duration) {
    let mut compiled = Compiled::default();
    let mut upserts = vec![listener(80)];
    upserts.extend(chains);
    upserts.extend(routes.iter().cloned().map(of_route));
    let began = Instant::now();
    compiled.apply(Delta {
        upserts,
        ..Delta::default()
    });
    let whole = began.elapsed();
    let each = (0..10).map(|round| {
        let mut edited = edited.clone();
        edited.max_request_body = Some(round);
        let upserts = vec![of_route(edited)];
        let began = Instant::now();
        compiled.apply(Delta {
            upserts,
            ..Delta::default()
        });
        began.elapsed()
    });
    let shortest = each.min().unwrap();
    (compiled, whole, shortest)
}

// The bounds are for builds without optimisation on a busy machine; the figures are printed.
#[test]
fn one_edit_among_thousands_is_cheap() {
    let hosts_of = |index: usize| format!("h{index}.example.com");
    let by_host: Vec<Route> = (0..ROUTES)
        .map(|index| {
            let mut route = on(route(&format!("r{index}"), "gw"), &[&hosts_of(index)]);
            route.matches = vec![prefix("/")];
            route
        })
        .collect();
    let gw = || vec![of_chain(chain("gw", 80))];
    let (compiled, whole, one) = edit(gw(), &by_host, &by_host[17]);
    println!("{ROUTES} hosts: {whole:?} for all, {one:?} for one");
    assert!(one < whole / 10, "{one:?} of {whole:?}");
    let table = compiled.table(80);
    assert_eq!(
        outcome(&table, None, &ask("h4999.example.com", "/x")),
        "r4999"
    );

    let by_path: Vec<Route> = (0..ROUTES)
        .map(|index| {
            let mut route = route(&format!("r{index}"), "gw");
            route.matches = vec![
                exact(&format!("/p/{index}")),
                prefix(&format!("/q/{index}")),
            ];
            route
        })
        .collect();
    let (compiled, whole, one) = edit(gw(), &by_path, &by_path[17]);
    println!("{ROUTES} paths of one host: {whole:?} for all, {one:?} for one");
    assert!(one < whole, "{one:?} of {whole:?}");
    let table = compiled.table(80);
    assert_eq!(outcome(&table, None, &ask("a", "/q/4999/x")), "r4999");

    let by_chain: Vec<Route> = (0..ROUTES)
        .map(|index| {
            let name = format!("gw{}", index / 2);
            at(route(&format!("r{index}"), &name), &name)
        })
        .collect();
    let chains = (0..ROUTES / 2)
        .map(|index| of_chain(hosts(chain(&format!("gw{index}"), 80), &[&hosts_of(index)])));
    let (_, whole, one) = edit(chains.collect(), &by_chain, &by_chain[17]);
    println!("{} chains: {whole:?} for all, {one:?} for one", ROUTES / 2);
    assert!(one < whole / 4, "{one:?} of {whole:?}");
}
