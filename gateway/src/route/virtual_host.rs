//! The rules of one chain for one host name.

use super::{
    RequestView,
    lookup::Lookup,
    matcher::{Failed, Matcher},
    path::PathIndex,
    rank::Rank,
};
use crate::{compile::CompiledRoute, snapshot::FastMap};
use gwanmun_ir::{Hostname, RouteKind};
use std::sync::Arc;

/// The rules of one chain for one host name, in the order in which they are tried.
pub(crate) struct VirtualHost {
    /// The name as the user's rules have it; nothing means any.
    pub(crate) hostname: Option<Hostname>,
    entries: Vec<Entry>,
    index: Arc<PathIndex>,
}

/// Newer versions of rules, by where the older ones are.
pub(crate) type Replaced = FastMap<*const CompiledRoute, Arc<CompiledRoute>>;

/// One match of one rule.
struct Entry {
    route: Arc<CompiledRoute>,
    match_index: usize,
}

impl Entry {
    fn matcher(&self) -> Option<&Matcher> {
        self.route.matchers.get(self.match_index)
    }

    /// Whether the rule is of the request's kind: rules for gRPC take nothing else.
    fn takes<R: RequestView>(&self, request: &R) -> bool {
        match self.route.ir.kind {
            RouteKind::Grpc => request.is_grpc(),
            RouteKind::Http => true,
        }
    }
}

/// A rule that a request was compared with.
pub(crate) struct Compared<'v> {
    /// The rule.
    pub(crate) route: &'v Arc<CompiledRoute>,
    /// Which of its matches.
    pub(crate) match_index: usize,
    /// Why it does not match; nothing when it does.
    pub(crate) failed: Option<Difference<'v>>,
}

/// Why a rule does not match.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Difference<'v> {
    /// A condition does not hold.
    Condition(Failed<'v>),
    /// The rule is for gRPC and the request is not.
    Kind,
}

impl Difference<'_> {
    /// Whether the path is what differs.
    pub(crate) fn is_about_path(self) -> bool {
        self == Self::Condition(Failed::Path)
    }
}

impl VirtualHost {
    /// Puts rules in order and indexes them.
    pub(crate) fn new<'r>(
        hostname: Option<Hostname>,
        routes: impl Iterator<Item = &'r Arc<CompiledRoute>>,
    ) -> Self {
        let mut ranked: Vec<(Rank<'r>, Entry)> = routes
            .flat_map(|route| {
                (0..route.matchers.len()).map(move |match_index| {
                    let entry = Entry {
                        route: Arc::clone(route),
                        match_index,
                    };
                    (Rank::new(&route.ir, match_index), entry)
                })
            })
            .collect();
        ranked.sort_by(|(a, one), (b, other)| {
            a.cmp(b).then_with(|| one.route.key.cmp(&other.route.key))
        });
        let entries: Vec<Entry> = ranked.into_iter().map(|(_, entry)| entry).collect();
        let never = super::matcher::PathMatcher::Any;
        let index = PathIndex::new(
            entries
                .iter()
                .map(|entry| entry.matcher().map_or(&never, |matcher| &matcher.path)),
        );
        Self {
            hostname,
            entries,
            index: Arc::new(index),
        }
    }

    /// The same rules in the same order, some of them in another version that
    /// [stands in the same place](CompiledRoute::stands_like). Shares the index.
    pub(crate) fn replacing(&self, replaced: &Replaced) -> Self {
        let entries = self.entries.iter().map(|entry| {
            let newer = replaced.get(&Arc::as_ptr(&entry.route));
            Entry {
                route: Arc::clone(newer.unwrap_or(&entry.route)),
                match_index: entry.match_index,
            }
        });
        Self {
            hostname: self.hostname.clone(),
            entries: entries.collect(),
            index: Arc::clone(&self.index),
        }
    }

    /// The first rule that matches, and which of its matches.
    pub(crate) fn find<R: RequestView>(
        &self,
        lookup: &Lookup<'_, R>,
    ) -> Option<(&Arc<CompiledRoute>, usize)> {
        let path = lookup.request.path();
        for (position, check) in self.index.candidates(path) {
            let entry = self.entries.get(usize::try_from(position).ok()?)?;
            let Some(matcher) = entry.matcher() else {
                continue;
            };
            if (!check || matcher.path.holds(path))
                && !matcher.is_dead()
                && entry.takes(lookup.request)
                && matcher.rest_holds(lookup)
            {
                return Some((&entry.route, entry.match_index));
            }
        }
        None
    }

    /// Compares the request with every rule in order, without the index: the twin of
    /// [`find`](Self::find), for explanations and as its oracle.
    pub(crate) fn compare<R: RequestView>(
        &self,
        lookup: &Lookup<'_, R>,
    ) -> impl Iterator<Item = Compared<'_>> {
        self.entries.iter().filter_map(move |entry| {
            let failed = if entry.takes(lookup.request) {
                entry.matcher()?.failed(lookup).map(Difference::Condition)
            } else {
                Some(Difference::Kind)
            };
            Some(Compared {
                route: &entry.route,
                match_index: entry.match_index,
                failed,
            })
        })
    }

    /// The first rule that matches, found without the index.
    #[cfg(test)]
    pub(super) fn find_linear<R: RequestView>(
        &self,
        lookup: &Lookup<'_, R>,
    ) -> Option<(&Arc<CompiledRoute>, usize)> {
        self.compare(lookup)
            .find(|compared| compared.failed.is_none())
            .map(|compared| (compared.route, compared.match_index))
    }

    /// The rules in order, each match of its own.
    pub(crate) fn rules(&self) -> impl Iterator<Item = (&Arc<CompiledRoute>, usize)> {
        self.entries
            .iter()
            .map(|entry| (&entry.route, entry.match_index))
    }
}
