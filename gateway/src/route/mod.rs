//! Which route a request takes.
//!
//! Host → virtual host ([`host`]), path index ([`path`]) yielding the rules whose path condition
//! holds in the order of their [`rank`], and the first of them whose other conditions
//! ([`matcher`]) hold. Nothing is allocated, except for percent-encoded query parameters and
//! repeated header fields that a condition asks for.

mod host;
pub(crate) mod l4;
mod lookup;
mod matcher;
mod path;
mod rank;
mod request;
#[cfg(test)]
mod tests;
mod virtual_host;

pub(crate) use host::{HostMap, Level, levels};
pub(crate) use lookup::Lookup;
pub(crate) use matcher::{Failed, Matcher};
pub(crate) use request::RequestView;
pub(crate) use virtual_host::{Difference, Replaced, VirtualHost};

use crate::{
    compile::CompiledRoute,
    listener::{ChainGroup, ChainTable, ListenerTable},
};
use gwanmun_ir::HostRule;
use smallvec::SmallVec;
use std::sync::Arc;

/// The outcome of [`ListenerTable::find`].
pub(crate) enum Found<'s> {
    /// A rule matches.
    Route(Matched<'s>),
    /// No rule matches: 404, `NR`, `route_not_found`.
    Nothing,
    /// The authority belongs to another chain than the SNI chose: 421, `misdirected_request`.
    Misdirected,
}

/// A rule that matches a request.
pub(crate) struct Matched<'s> {
    /// The rule.
    pub(crate) route: &'s Arc<CompiledRoute>,
    /// Which of its matches; 0 when it has none.
    pub(crate) match_index: usize,
    /// The chain it is attached to.
    pub(crate) chain: &'s Arc<ChainTable>,
    /// The virtual host it was found in.
    pub(crate) host: &'s Arc<VirtualHost>,
}

/// Which chains may serve a request.
pub(crate) enum Group<'s> {
    /// Those of this group.
    Chains(&'s Arc<ChainGroup>),
    /// None.
    None,
    /// Another group than the connection's.
    Misdirected,
}

impl ListenerTable {
    /// Finds the rule for a request that passed the gate. `tls` is the group that the
    /// connection's SNI chose.
    pub(crate) fn find<'s, R: RequestView>(
        &'s self,
        tls: Option<&Arc<ChainGroup>>,
        request: &R,
    ) -> Found<'s> {
        let host = bare_host(request.host());
        match self.group_for_request(tls, host) {
            Group::Chains(group) => {
                let lookup = Lookup::new(request);
                group
                    .find(&lookup, host)
                    .map_or(Found::Nothing, Found::Route)
            }
            Group::None => Found::Nothing,
            Group::Misdirected => Found::Misdirected,
        }
    }

    /// The chains that may serve a request for `host`: in plaintext those with the most specific
    /// hostname, with TLS those that the SNI chose.
    ///
    /// `tls` may stem from an earlier table. When no chain has its hostname any more, the client
    /// is sent to find out anew: the answer is 421 if another chain takes the host.
    pub(crate) fn group_for_request(&self, tls: Option<&Arc<ChainGroup>>, host: &str) -> Group<'_> {
        let Some(chosen) = tls else {
            return self.plaintext.get(host).map_or(Group::None, Group::Chains);
        };
        let owner = self.tls.get(host);
        match (self.tls.named(chosen.hostname.as_ref()), owner) {
            (Some(current), Some(owner)) if Arc::ptr_eq(current, owner) => Group::Chains(current),
            // What one asks of clients must not be got around by the other's way in.
            (Some(current), Some(owner)) if !current.asks_like(owner) => Group::Misdirected,
            (Some(current), owner) if current.detects_misdirected() => match owner {
                Some(owner) if owner.shares_chain_with(current) => Group::Chains(current),
                Some(_) => Group::Misdirected,
                None => Group::None,
            },
            (Some(current), _) => Group::Chains(current),
            (None, Some(_)) => Group::Misdirected,
            (None, None) => Group::None,
        }
    }
}

/// `host` without the dot that makes a name absolute.
pub(crate) fn bare_host(host: &str) -> &str {
    host.strip_suffix('.').unwrap_or(host)
}

impl ChainGroup {
    /// Finds the rule: hosts by specificity, then chains by rank. A chain whose host names are
    /// exclusive contributes its most specific one only.
    pub(crate) fn find<'s, R: RequestView>(
        &'s self,
        lookup: &Lookup<'_, R>,
        host: &str,
    ) -> Option<Matched<'s>> {
        let matched = |chain, host: &'s Arc<VirtualHost>| {
            host.find(lookup).map(|(route, match_index)| Matched {
                route,
                match_index,
                chain,
                host,
            })
        };
        match self.chains.as_slice() {
            [] => None,
            [chain] => match chain.http.host_rule {
                HostRule::Exclusive => matched(chain, chain.hosts.get(host)?),
                HostRule::FallThrough => chain
                    .hosts
                    .covering(host)
                    .find_map(|host| matched(chain, host)),
            },
            chains => Ladder::new(chains, host).find_map(|(chain, host)| matched(chain, host)),
        }
    }

    /// The virtual hosts that serve `host`, in the order in which they are tried.
    pub(crate) fn hosts<'s>(
        &'s self,
        host: &str,
    ) -> impl Iterator<Item = (&'s Arc<ChainTable>, &'s Arc<VirtualHost>)> {
        Ladder::new(&self.chains, host)
    }

    fn detects_misdirected(&self) -> bool {
        self.chains
            .first()
            .is_some_and(|chain| chain.http.detect_misdirected)
    }

    fn shares_chain_with(&self, other: &Self) -> bool {
        self.chains.iter().any(|one| {
            other
                .chains
                .iter()
                .any(|two| one.chain.key == two.chain.key)
        })
    }
}

/// The virtual hosts of several chains that cover one host, in the order in which they are tried.
struct Ladder<'s, 'h> {
    chains: &'s [Arc<ChainTable>],
    levels: host::Levels<'h>,
    level: Option<Level<'h>>,
    next: usize,
    /// Which chains contribute nothing more.
    done: SmallVec<[bool; 8]>,
}

impl<'s, 'h> Ladder<'s, 'h> {
    fn new(chains: &'s [Arc<ChainTable>], host: &'h str) -> Self {
        let mut levels = levels(host);
        Self {
            chains,
            level: levels.next(),
            levels,
            next: 0,
            done: SmallVec::from_elem(false, chains.len()),
        }
    }
}

impl<'s> Iterator for Ladder<'s, '_> {
    type Item = (&'s Arc<ChainTable>, &'s Arc<VirtualHost>);

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let level = self.level?;
            let Some(chain) = self.chains.get(self.next) else {
                self.next = 0;
                self.level = self.levels.next();
                continue;
            };
            let done = self.done.get_mut(self.next);
            self.next += 1;
            if done.as_deref() == Some(&true) {
                continue;
            }
            let Some(host) = chain.hosts.at(level) else {
                continue;
            };
            if let (HostRule::Exclusive, Some(done)) = (chain.http.host_rule, done) {
                *done = true;
            }
            return Some((chain, host));
        }
    }
}
