//! The way of a connection that carries bytes.

use super::{
    Candidate, ExplainedTarget, Explanation,
    way::{closed, endpoints, is_usable, object},
};
use crate::{
    compile::Destination,
    http::LocalReply,
    listener::{ChainGroup, ChainTable},
    route::l4::{CompiledL4Route, L4Destination},
};
use std::sync::Arc;

/// Follows a connection through the chains that take it.
pub(super) fn follow(way: &mut Explanation, group: &ChainGroup, sni: Option<&str>) {
    let Some(route) = group.pick(sni) else {
        if let [only] = group.chains.as_slice() {
            way.filter_chain = Some(only.chain.key.to_string());
        }
        way.candidates = candidates(&group.chains, sni);
        way.answer = Some(closed("filter_chain_not_found"));
        return;
    };
    way.filter_chain = Some(route.ir.chain.to_string());
    way.route = Some(object(&route.ir.source));
    way.rule = Some(route.ir.source.section.clone());
    let all: Vec<_> = route.targets().collect();
    if all.len() > 1 {
        way.targets = all.iter().map(|target| explained(target)).collect();
    }
    // Of equals the first.
    let heaviest = all.into_iter().rev().max_by_key(|target| target.weight);
    match heaviest.map(|target| &target.destination) {
        Some(Destination::Cluster(cluster)) => {
            way.cluster = Some(cluster.name.to_string());
            way.endpoints = endpoints(cluster);
            if !way.endpoints.iter().any(is_usable) {
                way.answer = Some(closed("no_healthy_upstream"));
            }
        }
        Some(Destination::Fail(failure, key)) => {
            way.cluster = key.as_ref().map(ToString::to_string);
            way.answer = Some(closed(&LocalReply::failure(*failure).details));
        }
        None => way.answer = Some(closed("invalid_backend")),
    }
}

fn explained(target: &L4Destination) -> ExplainedTarget {
    ExplainedTarget {
        cluster: match &target.destination {
            Destination::Cluster(cluster) => cluster.name.to_string(),
            Destination::Fail(_, Some(key)) => format!("{key} (unknown)"),
            Destination::Fail(failure, None) => LocalReply::failure(*failure).details.into(),
        },
        weight: target.weight,
    }
}

/// The rules of some chains, none of which is for this server name.
fn candidates(chains: &[Arc<ChainTable>], sni: Option<&str>) -> Vec<Candidate> {
    let asked = sni.map_or_else(
        || "a connection without server name".to_owned(),
        |name| format!("server name `{name}`"),
    );
    let rules = chains.iter().flat_map(|chain| chain.l4.routes());
    let mut found: Vec<Candidate> = rules
        .map(|route| Candidate {
            object: object(&route.ir.source),
            rule: route.ir.source.section.clone(),
            matched: String::new(),
            failed: format!("{} is not for {asked}", names(route)),
        })
        .collect();
    found.sort_by(|a, b| (&a.object, &a.rule).cmp(&(&b.object, &b.rule)));
    found.dedup();
    found.truncate(Explanation::MOST_CANDIDATES);
    found
}

fn names(route: &CompiledL4Route) -> String {
    let names = route.ir.hostnames.iter();
    let names: Vec<String> = names.map(|name| format!("`{name}`")).collect();
    names.join(", ")
}
