//! Explains which way a request would take, from the tables that serve traffic.
//!
//! The question becomes a request head as the codec reads it from a client, passes the same gate,
//! and is looked up in the same tables. Only the comparison with each nearer rule is made without
//! the index ([`VirtualHost::compare`](crate::route::VirtualHost::compare)), which the tests hold
//! to the same result.

mod describe;
mod l4;
mod question;
mod way;

pub use question::ExplainRequest;

use crate::{
    Config, Snapshot,
    cluster::Registry,
    compile::{Compiler, Tables},
};
use gwanmun_ir::{Delta, ListenerKey, Resource};
use serde::Serialize;
use std::net::SocketAddr;

/// Which way a request would take. What is absent was not reached.
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Explanation {
    /// The request, as `GET http://example.com/path`.
    pub request: String,
    /// Key of the listener.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub listener: Option<String>,
    /// Key of the filter chain.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub filter_chain: Option<String>,
    /// Host name of the virtual host, `*` for any.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub virtual_host: Option<String>,
    /// The user object of the route, e.g. `HTTPRoute default/echo`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub route: Option<String>,
    /// The part of it that matched, e.g. `rules[0] matches[1]`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rule: Option<String>,
    /// Name of the cluster: of several the one with the greatest weight.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cluster: Option<String>,
    /// All clusters with their weights, where there are several.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub targets: Vec<ExplainedTarget>,
    /// Endpoints of the cluster.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub endpoints: Vec<ExplainedEndpoint>,
    /// What the gateway answers itself; absent when the request is forwarded.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub answer: Option<ExplainedAnswer>,
    /// What stands before the rule that matched, nearest first in the order in which it is tried,
    /// and why it was not taken. At most [`Explanation::MOST_CANDIDATES`].
    pub candidates: Vec<Candidate>,
}

impl Explanation {
    /// Candidates beyond which those whose path differs are left out, and then the last ones.
    pub const MOST_CANDIDATES: usize = 64;
}

/// One of several weighted targets.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ExplainedTarget {
    /// Name of the cluster, or why there is none.
    pub cluster: String,
    /// Share.
    pub weight: u32,
}

/// One endpoint.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ExplainedEndpoint {
    /// Address and port.
    pub address: SocketAddr,
    /// `healthy`, `draining`, `unhealthy` or `ejected`.
    pub health: &'static str,
    /// Share of load.
    pub weight: u32,
}

/// What the gateway answers itself.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ExplainedAnswer {
    /// HTTP status; 0 when the connection is closed without an answer.
    pub status: u16,
    /// Response flag, `-` for none.
    pub flag: String,
    /// Response code details.
    pub details: String,
    /// Where a redirect leads.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub location: Option<String>,
}

/// Something that was tried before the rule that matched.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Candidate {
    /// The user object.
    pub object: String,
    /// The part of it.
    pub rule: String,
    /// Which of its matches.
    #[serde(rename = "match")]
    pub matched: String,
    /// Why it was not taken.
    pub failed: String,
}

impl Snapshot {
    /// Which way a request would take. `bound` says which listener is really bound where.
    ///
    /// # Errors
    ///
    /// What is wrong with the question, in one sentence.
    pub(crate) fn explain(
        &self,
        request: &ExplainRequest,
        bound: &[(ListenerKey, SocketAddr)],
    ) -> Result<Explanation, String> {
        way::explain(&self.listeners, bound, request)
    }
}

/// Which way a request would take with this configuration, without a gateway that runs.
///
/// # Errors
///
/// What is wrong with the question, in one sentence.
pub fn explain_offline(
    resources: Vec<Resource>,
    request: &ExplainRequest,
) -> Result<Explanation, String> {
    way::explain(&compile(resources)?, &[], request)
}

/// Compiles configuration without serving it. Names are not resolved.
fn compile(resources: Vec<Resource>) -> Result<Tables, String> {
    let idle = tokio::runtime::Builder::new_current_thread()
        .build()
        .map_err(|error| error.to_string())?;
    let mut registry = Registry::new(&Config::default(), idle.handle().clone())
        .map_err(|error| format!("cannot read the DNS configuration: {error}"))?;
    let mut compiler = Compiler::default();
    let changed = compiler.accept(Delta {
        upserts: resources,
        ..Delta::default()
    });
    let clusters = registry.reconcile(compiler.resources(), &changed);
    compiler.compile(&changed, &clusters.changed, &registry.clusters());
    Ok(compiler.tables().clone())
}

#[cfg(test)]
mod tests;
