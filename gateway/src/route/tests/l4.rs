//! Layer 4 rules, held to the definition.

use crate::{
    cluster::Clusters,
    compile::Compiler,
    listener::{ListenerTable, Mode},
    route::l4::{CompiledL4Route, L4Table},
    test_build as build,
};
use gwanmun_ir::{AppProtocol, Delta, Hostname, L4Route, Precedence, Resource};
use proptest::prelude::*;
use std::sync::Arc;

fn compiled(ir: L4Route) -> Arc<CompiledL4Route> {
    Arc::new(CompiledL4Route::link(Arc::new(ir), &Clusters::default()))
}

/// The definition: most specific name that fits, then precedence.
fn linear<'r>(
    routes: &'r [Arc<CompiledL4Route>],
    sni: Option<&str>,
) -> Option<&'r Arc<CompiledL4Route>> {
    let any = Hostname::any();
    let mut fitting: Vec<(&Hostname, &Arc<CompiledL4Route>)> = Vec::new();
    for route in routes {
        if route.ir.hostnames.is_empty() {
            fitting.push((&any, route));
        }
        for name in &route.ir.hostnames {
            if sni.map_or(name.is_any(), |sni| name.matches(sni)) {
                fitting.push((name, route));
            }
        }
    }
    fitting.sort_by(|(one, a), (two, b)| {
        one.cmp_specificity(two)
            .then_with(|| (&a.ir.precedence, &a.key).cmp(&(&b.ir.precedence, &b.key)))
    });
    fitting.first().map(|(_, route)| *route)
}

fn names() -> impl Strategy<Value = Vec<String>> {
    proptest::collection::vec("(\\*\\.)?[ab](\\.[ab]){0,2}|\\*", 0..3)
}

proptest! {
    #[test]
    fn the_table_agrees_with_the_definition(
        rules in proptest::collection::vec((names(), 0_u32..4), 0..8),
        sni in proptest::option::of("[ab](\\.[ab]){0,3}"),
    ) {
        let routes: Vec<_> = rules
            .into_iter()
            .enumerate()
            .map(|(index, (names, place))| {
                let names: Vec<&str> = names.iter().map(String::as_str).collect();
                let mut route = build::l4_route(&format!("r{index}"), "chain", &[]);
                route.hostnames = build::hostnames(&names);
                route.precedence = Precedence::InOrder(place);
                compiled(route)
            })
            .collect();
        let table = L4Table::new(&routes);
        let key = |route: Option<&Arc<CompiledL4Route>>| route.map(|route| route.key.clone());
        prop_assert_eq!(
            key(table.pick(sni.as_deref())),
            key(linear(&routes, sni.as_deref()))
        );
    }
}

fn tables(resources: Vec<Resource>) -> Arc<ListenerTable> {
    let mut compiler = Compiler::default();
    let changed = compiler.accept(Delta {
        upserts: resources,
        ..Delta::default()
    });
    compiler.compile(&changed, &[], &Clusters::default());
    Arc::clone(compiler.tables().values().next().unwrap())
}

fn passthrough(name: &str, names: &[&str]) -> Resource {
    let chain = build::passthrough(build::chain(name, 443));
    build::of_chain(build::hosts(chain, names))
}

#[test]
fn modes_share_a_port_by_server_name() {
    let resources = vec![
        build::listener(443),
        build::of_chain(build::hosts(
            build::tls(build::chain("https", 443), &[]),
            &["*.example.com"],
        )),
        passthrough("through", &["abc.example.com"]),
        build::of_chain(build::hosts(
            build::tcp(build::tls(build::chain("terminated", 443), &[])),
            &["tls.example.com"],
        )),
        passthrough("rest", &[]),
    ];
    let table = tables(resources);
    for (sni, mode, chain) in [
        (Some("abc.example.com"), Mode::Passthrough, "through"),
        (Some("tls.example.com"), Mode::Bytes, "terminated"),
        (Some("x.example.com"), Mode::Http, "https"),
        (Some("x.abc.example.com"), Mode::Http, "https"),
        (Some("example.com"), Mode::Passthrough, "rest"),
        (None, Mode::Passthrough, "rest"),
    ] {
        let group = table.group_for_sni(sni).unwrap();
        assert_eq!(group.mode, mode, "{sni:?}");
        assert_eq!(group.chains[0].chain.key.as_str(), chain, "{sni:?}");
    }
    assert!(table.raw.is_none() && table.plaintext.is_empty());
}

#[test]
fn chains_of_another_mode_than_the_first_are_not_served() {
    let mut late = build::tls(build::chain("https", 443), &[]);
    late.rank = (1, String::new());
    let table = tables(vec![
        build::listener(443),
        build::of_chain(build::hosts(late, &["a.com"])),
        passthrough("through", &["a.com"]),
    ]);
    let group = table.group_for_sni(Some("a.com")).unwrap();
    assert_eq!((group.mode, group.chains.len()), (Mode::Passthrough, 1));

    for (tcp, http) in [(0, 1), (1, 0)] {
        let mut raw = build::tcp(build::chain("tcp", 80));
        raw.rank = (tcp, String::new());
        let mut web = build::chain("http", 80);
        web.rank = (http, String::new());
        let table = tables(vec![
            build::listener(80),
            build::of_chain(raw),
            build::of_chain(web),
        ]);
        assert_eq!(table.raw.is_some(), tcp == 0);
        assert_eq!(table.plaintext.is_empty(), tcp == 0);
    }
}

#[test]
fn rules_follow_deltas() {
    let mut compiler = Compiler::default();
    let mut apply = |upserts: Vec<Resource>, removed| {
        let changed = compiler.accept(Delta {
            upserts,
            removed,
            complete: false,
        });
        compiler.compile(&changed, &[], &Clusters::default());
        let table = compiler.tables().values().next().unwrap();
        let raw = table.raw.as_ref()?;
        Some(raw.pick(None)?.name.to_string())
    };
    let named = |name: &str, place| {
        let mut route = build::l4_route(name, "tcp", &[]);
        route.precedence = Precedence::InOrder(place);
        name.clone_into(&mut route.name);
        Resource::L4Route(Box::new(route))
    };
    let mut chain = build::tcp(build::chain("tcp", 80));
    assert_eq!(
        apply(
            vec![build::listener(80), build::of_chain(chain.clone())],
            Vec::new()
        ),
        None
    );
    assert_eq!(
        apply(vec![named("late", 2)], Vec::new()),
        Some("late".to_owned())
    );
    assert_eq!(
        apply(vec![named("early", 1)], Vec::new()),
        Some("early".to_owned())
    );
    let early = named("early", 1).key();
    assert_eq!(apply(Vec::new(), vec![early]), Some("late".to_owned()));
    chain.protocol = AppProtocol::Udp;
    assert_eq!(
        apply(vec![build::of_chain(chain)], Vec::new()),
        Some("late".to_owned())
    );
    let late = named("late", 2).key();
    assert_eq!(apply(Vec::new(), vec![late]), None);
}
