//! Layer 4 routes: which connections or datagrams are sent where.

use crate::{ChainKey, Hostname, Precedence, RouteKey, SourceRef, Target};
use serde::{Deserialize, Serialize};

/// One rule of one user resource on one filter chain that carries TCP or UDP.
///
/// Among the rules of a chain the one with the most specific of `hostnames` that the
/// connection's server name fits is used; among equals the first by `precedence`. A connection
/// without a rule is closed.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct L4Route {
    /// Key of this resource, unique also among those of [`Route`](crate::Route).
    pub key: RouteKey,
    /// The chain this rule is attached to.
    pub chain: ChainKey,
    /// Server names of this rule, as the user's object has them. Empty means any, also
    /// connections without one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub hostnames: Vec<Hostname>,
    /// Where this rule stands among others for the same connection.
    pub precedence: Precedence,
    /// One of these is chosen by weight for each connection or UDP session. Empty, all weights 0,
    /// or a [`Target::Fail`]: the connection is closed, the datagram dropped.
    pub targets: Vec<L4Target>,
    /// Longest time without a byte in either direction, in milliseconds; 0 means unlimited.
    pub idle_timeout_ms: u64,
    /// How many times a TCP connection is tried, on other endpoints where there are any; 0 counts
    /// as 1.
    pub connect_attempts: u32,
    /// What the access log calls this rule: `-` when the user gave no name to it.
    pub name: String,
    /// The user object and rule it came from.
    pub source: SourceRef,
}

/// One of the targets of an [`L4Route`].
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct L4Target {
    /// Where connections go.
    pub target: Target,
    /// Share among the weights of the rule; 0 gets nothing.
    pub weight: u32,
}
