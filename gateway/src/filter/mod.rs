//! Compiled transformations of requests and responses.
//!
//! Compiling says what cannot be done, in one sentence each; applying never fails. Within a route
//! header edits come first, in their order, then rewrites.

mod edit;
mod format;
mod redirect;
mod rewrite;

pub(crate) use format::Context;
pub(crate) use redirect::{direct_response, redirect};

use crate::http::{RequestHead, ResponseHead};
use edit::Edit;
use gwanmun_ir::{Dialect, Filter, PathMatch};
use rewrite::Rewrite;

/// The transformations of a route or a target, compiled.
#[derive(Debug, Default)]
pub(crate) struct CompiledFilters {
    request: Vec<Edit>,
    response: Vec<Edit>,
    rewrites: Vec<Rewrite>,
}

impl CompiledFilters {
    /// Compiles transformations. What cannot be done is left out and reported, one sentence each.
    pub(crate) fn compile(filters: &[Filter]) -> (Self, Vec<String>) {
        let mut compiled = Self::default();
        let mut problems = Vec::new();
        for filter in filters {
            match filter {
                Filter::RequestHeaders(edits) => {
                    edit::compile(edits, true, &mut compiled.request, &mut problems);
                }
                Filter::ResponseHeaders(edits) => {
                    edit::compile(edits, false, &mut compiled.response, &mut problems);
                }
                Filter::Rewrite(rewrite) => {
                    compiled
                        .rewrites
                        .push(Rewrite::compile(rewrite, &mut problems));
                }
            }
        }
        (compiled, problems)
    }

    /// Whether there is anything to change about requests.
    pub(crate) fn changes_requests(&self) -> bool {
        !self.request.is_empty() || !self.rewrites.is_empty()
    }

    /// Whether there is anything to change about responses.
    pub(crate) fn changes_responses(&self) -> bool {
        !self.response.is_empty()
    }

    /// Changes a request on its way to the upstream. `matched` is the path condition that chose
    /// the route: prefix rewrites replace what it matched.
    pub(crate) fn apply_request(
        &self,
        head: &mut RequestHead,
        matched: Option<&PathMatch>,
        dialect: &Dialect,
        context: &Context<'_>,
    ) {
        for edit in &self.request {
            edit.apply_request(head, context);
        }
        for rewrite in &self.rewrites {
            rewrite.apply(head, matched, matches!(dialect, Dialect::Istio { .. }));
        }
    }

    /// Changes a response on its way to the client.
    pub(crate) fn apply_response(
        &self,
        head: &mut ResponseHead,
        request: &RequestHead,
        context: &Context<'_>,
    ) {
        for edit in &self.response {
            edit.apply_response(head, request, context);
        }
    }
}

#[cfg(test)]
mod tests;
