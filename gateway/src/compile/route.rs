//! One rule, ready to be served.

use crate::{cluster::Cluster, filter::CompiledFilters};
use gwanmun_ir::{
    ClusterKey, Dialect, DirectResponse, Failure, Redirect, RetryPolicy, Route, RouteKey, SourceRef,
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
    /// The user object and rule it came from.
    pub(crate) source: SourceRef,
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

/// Weighted targets. Never empty, total weight never 0.
pub(crate) struct Targets {
    targets: Vec<CompiledTarget>,
    /// Sum of weights up to and including the target of the same index.
    bounds: Vec<u64>,
}

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

/// When to try again.
pub(crate) type CompiledRetry = RetryPolicy;

impl Targets {
    /// Targets with their weights; nothing when the weights are all 0.
    pub(crate) fn new(targets: Vec<CompiledTarget>) -> Option<Self> {
        let bounds: Vec<u64> = targets
            .iter()
            .scan(0_u64, |sum, target| {
                *sum += u64::from(target.weight);
                Some(*sum)
            })
            .collect();
        (bounds.last().copied().unwrap_or(0) > 0).then_some(Self { targets, bounds })
    }

    /// Chooses by weight; `random` is any uniformly distributed number.
    pub(crate) fn pick(&self, random: u64) -> Option<&CompiledTarget> {
        let total = self.bounds.last().copied()?;
        // Multiply-shift maps a uniform u64 onto 0..total, far below any bias worth speaking of.
        let point = u64::try_from((u128::from(random) * u128::from(total)) >> 64).ok()?;
        let index = self.bounds.partition_point(|bound| *bound <= point);
        self.targets.get(index)
    }

    /// All targets, in configured order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &CompiledTarget> {
        self.targets.iter()
    }
}
