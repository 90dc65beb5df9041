//! Which route a request takes.

mod request;

pub(crate) use request::RequestView;

use crate::{
    compile::CompiledRoute,
    listener::{ChainGroup, ChainTable, ListenerTable},
};
use std::sync::Arc;

/// The outcome of [`ListenerTable::find`].
pub(crate) enum Found<'s> {
    /// A rule matches.
    Route(Matched<'s>),
    /// No rule matches: 404, `NR`, `route_not_found`. The chain is the one whose options apply.
    NotFound(Option<&'s Arc<ChainTable>>),
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
}

impl ListenerTable {
    /// Finds the rule for a request that passed the gate. `tls` is the group that the
    /// connection's SNI chose.
    pub(crate) fn find<'s, R: RequestView>(
        &'s self,
        tls: Option<&Arc<ChainGroup>>,
        request: &R,
    ) -> Found<'s> {
        let _ = (tls, request);
        Found::NotFound(None)
    }
}
