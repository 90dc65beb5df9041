//! The order in which the rules of a virtual host are tried.
//!
//! One order serves both APIs. Rules with [`Precedence::InOrder`] keep that order. For
//! [`Precedence::MostSpecific`], what the [Gateway API] says, completed where it is silent:
//!
//! 1. gRPC rules before HTTP rules;
//! 2. exact paths (of gRPC: services and methods, by the characters of the service, then of the
//!    method), then regular expressions by their length, then prefixes by their length;
//! 3. a method condition, then the number of header conditions, then of query conditions;
//! 4. the older object, then its name, then the order of rules and matches in it.
//!
//! The specification leaves the place of regular expressions open. They come before prefixes
//! because nearly every host has a rule for `/`, after which no expression would ever be tried.
//!
//! [Gateway API]: https://gateway-api.sigs.k8s.io/reference/api-spec/main/spec/#httprouterule

use gwanmun_ir::{HttpMatch, PathMatch, Precedence, Route, RouteKind};
use std::cmp::Reverse;

/// Where one match of one rule stands; less is tried first.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) struct Rank<'r> {
    kind: RouteKind,
    specificity: Specificity,
    precedence: &'r Precedence,
    match_index: usize,
}

/// How specific a match is; less is more. All equal for rules that stand in an order.
#[derive(Clone, Copy, Debug, Default, Eq, Ord, PartialEq, PartialOrd)]
struct Specificity {
    class: PathClass,
    length: Reverse<usize>,
    method_length: Reverse<usize>,
    without_method: bool,
    headers: Reverse<usize>,
    query: Reverse<usize>,
}

#[derive(Clone, Copy, Debug, Default, Eq, Ord, PartialEq, PartialOrd)]
enum PathClass {
    #[default]
    Exact,
    Regex,
    Prefix,
}

impl<'r> Rank<'r> {
    /// The rank of `route`'s match with index `match_index`, which a rule without matches has too.
    pub(super) fn new(route: &'r Route, match_index: usize) -> Self {
        let specificity = match &route.precedence {
            Precedence::InOrder(_) => Specificity::default(),
            Precedence::MostSpecific { .. } => route
                .matches
                .get(match_index)
                .map_or_else(Specificity::of_everything, Specificity::of),
        };
        Self {
            kind: route.kind,
            specificity,
            precedence: &route.precedence,
            match_index,
        }
    }
}

impl Specificity {
    fn of(matches: &HttpMatch) -> Self {
        let (class, length, method_length) = match &matches.path {
            PathMatch::Any => (PathClass::Prefix, 1, 0),
            PathMatch::Exact { .. } => (PathClass::Exact, 0, 0),
            PathMatch::GrpcMethod {
                service: None,
                method: None,
            } => (PathClass::Prefix, 1, 0),
            PathMatch::GrpcMethod { service, method } => (
                PathClass::Exact,
                service.as_ref().map_or(0, String::len),
                method.as_ref().map_or(0, String::len),
            ),
            PathMatch::Prefix(prefix) => {
                let length = prefix.strip_suffix('/').unwrap_or(prefix).len();
                (PathClass::Prefix, length.max(1), 0)
            }
            PathMatch::Regex(text) => (PathClass::Regex, text.len(), 0),
            PathMatch::StringPrefix { prefix, .. } => (PathClass::Prefix, prefix.len().max(1), 0),
        };
        Self {
            class,
            length: Reverse(length),
            method_length: Reverse(method_length),
            without_method: matches.method.is_none(),
            headers: Reverse(matches.headers.len()),
            query: Reverse(matches.query.len()),
        }
    }

    fn of_everything() -> Self {
        Self {
            class: PathClass::Prefix,
            length: Reverse(1),
            method_length: Reverse(0),
            without_method: true,
            headers: Reverse(0),
            query: Reverse(0),
        }
    }
}
