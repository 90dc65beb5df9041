//! One rule, ready to be served.

use super::Weighted;
use crate::{
    cluster::{Cluster, Clusters},
    filter::CompiledFilters,
    route::Matcher,
};
use gwanmun_ir::{
    Action, ClusterKey, Dialect, DirectResponse, Failure, Filter, Redirect, RetryPolicy, Route,
    RouteKey, Target, WeightedTarget,
};
use std::{sync::Arc, time::Duration};

/// One rule, ready to be served.
pub(crate) struct CompiledRoute {
    /// Key of the route.
    pub(crate) key: RouteKey,
    /// What access log and metrics call it.
    pub(crate) name: Arc<str>,
    /// Whose conventions it follows.
    pub(crate) dialect: Dialect,
    /// Transformations before those of the target.
    pub(crate) filters: CompiledFilters,
    /// What happens to a matched request.
    pub(crate) action: CompiledAction,
    /// All tries together; nothing means unlimited.
    pub(crate) timeout: Option<Duration>,
    /// One try; nothing means unlimited.
    pub(crate) per_try_timeout: Option<Duration>,
    /// When to try again; nothing means never.
    pub(crate) retry: Option<CompiledRetry>,
    /// Largest request body in bytes; nothing means unlimited.
    pub(crate) max_request_body: Option<u64>,
    /// Its conditions, any of which suffices: as many as `ir.matches`, or one that always holds.
    pub(crate) matchers: Arc<[Matcher]>,
    /// The rule as configured; its `matches` say which prefix a rewrite replaces.
    pub(crate) ir: Arc<Route>,
}

/// What happens to a matched request.
pub(crate) enum CompiledAction {
    /// Answer because the configuration names nothing usable.
    Fail(Failure),
    /// Send to one of these.
    Forward(Targets),
    /// Answer with a redirect.
    Redirect(Redirect),
    /// Answer as configured.
    Respond(DirectResponse),
}

/// The targets of a rule with their weights.
pub(crate) type Targets = Weighted<CompiledTarget>;

/// One of the [`Targets`].
pub(crate) struct CompiledTarget {
    /// Where requests go.
    pub(crate) destination: Destination,
    /// Share among the weights.
    pub(crate) weight: u32,
    /// Transformations after those of the route.
    pub(crate) filters: CompiledFilters,
}

/// Where requests of a [`CompiledTarget`] go.
pub(crate) enum Destination {
    /// To this cluster.
    Cluster(Arc<Cluster>),
    /// Nowhere: they are answered so. The cluster is the one that was named, if any.
    Fail(Failure, Option<ClusterKey>),
}

impl Destination {
    /// Finds the cluster that is named.
    pub(crate) fn link(target: &Target, clusters: &Clusters) -> Self {
        match target {
            Target::Cluster(key) => clusters.get(key).map_or_else(
                || Self::Fail(Failure::ClusterNotFound, Some(key.clone())),
                |cluster| Self::Cluster(Arc::clone(cluster)),
            ),
            Target::Fail(failure) => Self::Fail(*failure, None),
        }
    }
}

/// When to try again.
pub(crate) type CompiledRetry = RetryPolicy;

impl CompiledRoute {
    /// Compiles a rule. What is wrong with it goes to `errors`, one sentence each.
    pub(crate) fn compile(ir: Arc<Route>, clusters: &Clusters, errors: &mut Vec<String>) -> Self {
        let matchers: Arc<[Matcher]> = if ir.matches.is_empty() {
            Arc::new([Matcher::any()])
        } else {
            let compiled = ir.matches.iter().map(|one| Matcher::compile(one, errors));
            compiled.collect()
        };
        Self::link(ir, matchers, clusters, errors)
    }

    /// The same rule with the clusters of another moment.
    pub(crate) fn relink(&self, clusters: &Clusters) -> Self {
        // What is wrong was said when the rule was compiled.
        let mut said = Vec::new();
        Self::link(
            Arc::clone(&self.ir),
            Arc::clone(&self.matchers),
            clusters,
            &mut said,
        )
    }

    fn link(
        ir: Arc<Route>,
        matchers: Arc<[Matcher]>,
        clusters: &Clusters,
        errors: &mut Vec<String>,
    ) -> Self {
        Self {
            key: ir.key.clone(),
            name: ir.name.as_str().into(),
            dialect: ir.dialect.clone(),
            filters: filters(&ir.filters, errors),
            action: action(&ir.action, clusters, errors),
            timeout: ir.timeouts.request_ms.map(Duration::from_millis),
            per_try_timeout: ir.timeouts.per_try_ms.map(Duration::from_millis),
            retry: ir.retry.clone(),
            max_request_body: ir.max_request_body,
            matchers,
            ir,
        }
    }

    /// Whether it stands in the same virtual hosts at the same place as `other`: whether only
    /// what happens to matched requests differs.
    pub(crate) fn stands_like(&self, other: &Self) -> bool {
        let (a, b) = (&*self.ir, &*other.ir);
        Arc::ptr_eq(&self.ir, &other.ir)
            || (a.chain == b.chain
                && a.hostnames == b.hostnames
                && a.kind == b.kind
                && a.precedence == b.precedence
                && a.matches == b.matches)
    }

    /// Keys of the clusters that a rule names, existing or not.
    pub(crate) fn cluster_keys(ir: &Route) -> impl Iterator<Item = &ClusterKey> {
        let targets = match &ir.action {
            Action::Forward(targets) => targets.as_slice(),
            Action::Fail(_) | Action::Redirect(_) | Action::Respond(_) => &[],
        };
        targets.iter().filter_map(|target| match &target.target {
            Target::Cluster(key) => Some(key),
            Target::Fail(_) => None,
        })
    }
}

fn action(ir: &Action, clusters: &Clusters, errors: &mut Vec<String>) -> CompiledAction {
    match ir {
        Action::Fail(failure) => CompiledAction::Fail(*failure),
        Action::Forward(targets) => {
            let compiled = targets.iter().map(|one| target(one, clusters, errors));
            Targets::new(compiled.collect(), |target| target.weight).map_or(
                CompiledAction::Fail(Failure::InvalidBackend),
                CompiledAction::Forward,
            )
        }
        Action::Redirect(redirect) => CompiledAction::Redirect(redirect.clone()),
        Action::Respond(response) => CompiledAction::Respond(response.clone()),
    }
}

fn filters(ir: &[Filter], errors: &mut Vec<String>) -> CompiledFilters {
    let (filters, problems) = CompiledFilters::compile(ir);
    errors.extend(problems);
    filters
}

fn target(ir: &WeightedTarget, clusters: &Clusters, errors: &mut Vec<String>) -> CompiledTarget {
    CompiledTarget {
        destination: Destination::link(&ir.target, clusters),
        weight: ir.weight,
        filters: filters(&ir.filters, errors),
    }
}
