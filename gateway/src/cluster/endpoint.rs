//! One endpoint and what is known about it.

use gwanmun_ir::EndpointIdentity;
use std::{
    net::SocketAddr,
    ops::Deref,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, Ordering::Relaxed},
    },
};

/// One endpoint of a cluster.
#[derive(Debug)]
pub(crate) struct Endpoint {
    /// Address and port.
    pub(crate) address: SocketAddr,
    /// The address as the access log writes it.
    pub(crate) text: Box<str>,
    /// What metrics say about it.
    pub(crate) identity: EndpointIdentity,
    /// What was learnt about the address; survives changes of configuration.
    pub(crate) state: Arc<EndpointState>,
}

/// What was learnt about one address of a cluster.
#[derive(Debug, Default)]
pub(crate) struct EndpointState {
    /// Requests in flight.
    pub(crate) active: AtomicU32,
    /// Whether outlier detection has taken it out of service.
    pub(crate) ejected: AtomicBool,
    /// 5xx answers and failures since the last success.
    pub(crate) consecutive_5xx: AtomicU32,
    /// 502, 503, 504 and failures since the last success.
    pub(crate) consecutive_gateway: AtomicU32,
}

/// A chosen endpoint; counts as one request in flight until it is dropped.
#[derive(Debug)]
pub(crate) struct EndpointRef(Arc<Endpoint>);

impl EndpointRef {
    /// Counts one more request on `endpoint`.
    pub(super) fn new(endpoint: Arc<Endpoint>) -> Self {
        endpoint.state.active.fetch_add(1, Relaxed);
        Self(endpoint)
    }

    /// The endpoint itself, e.g. to remember it after the request has left it.
    pub(crate) fn endpoint(&self) -> &Arc<Endpoint> {
        &self.0
    }
}

impl Deref for EndpointRef {
    type Target = Endpoint;

    fn deref(&self) -> &Endpoint {
        &self.0
    }
}

impl Drop for EndpointRef {
    fn drop(&mut self) {
        self.0.state.active.fetch_sub(1, Relaxed);
    }
}

/// No endpoint may be chosen: `UH`, `no_healthy_upstream`.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("no healthy endpoint")]
pub(crate) struct NoHealthyEndpoint;

/// How one try ended, for outlier detection.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Outcome {
    /// The endpoint answered with this HTTP status (a gRPC status counts by its HTTP one).
    Answered(u16),
    /// No answer: connect failure, reset, time-out, protocol error.
    Failed,
}
