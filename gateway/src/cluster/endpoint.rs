//! One endpoint and what is known about it.

use super::{breaker, outlier};
use gwanmun_ir::{EndpointIdentity, Warmup};
use parking_lot::Mutex;
use std::{
    hash::{DefaultHasher, Hash, Hasher},
    net::SocketAddr,
    ops::Deref,
    sync::{
        Arc, LazyLock,
        atomic::{AtomicU32, AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

/// One endpoint of a cluster.
#[derive(Debug)]
pub(crate) struct Endpoint {
    /// Address and port.
    pub(crate) address: SocketAddr,
    /// The address as the access log writes it.
    pub(crate) text: Box<str>,
    /// What metrics say about it.
    pub(crate) identity: Arc<EndpointIdentity>,
    /// Equal where the identity is: what metrics look it up by.
    pub(crate) identity_hash: u64,
    /// What was learnt about the address; survives changes of configuration.
    pub(crate) state: Arc<EndpointState>,
}

/// What was learnt about one address of a cluster.
#[derive(Debug, Default)]
pub(crate) struct EndpointState {
    /// Requests in flight.
    pub(crate) active: AtomicU32,
    /// Open connections.
    pub(crate) open: breaker::Open,
    /// What outlier detection knows.
    pub(crate) outlier: outlier::Counters,
    /// When it last chose HTTP/1.1 although HTTP/2 was offered.
    chose_http1: Mutex<Option<Instant>>,
    /// When it was added or got healthy, unless it was there from the beginning: milliseconds,
    /// see [`milliseconds`].
    warming_since: AtomicU64,
}

/// Milliseconds since something was asked for the first time, plus one: 0 stands for never.
fn milliseconds() -> u64 {
    static START: LazyLock<Instant> = LazyLock::new(Instant::now);
    u64::try_from(START.elapsed().as_millis())
        .unwrap_or(u64::MAX)
        .saturating_add(1)
}

/// How long an endpoint that did not choose HTTP/2 is not asked again.
const REMEMBERED: Duration = Duration::from_secs(300);

impl EndpointState {
    /// The endpoint begins to warm up.
    pub(super) fn warm_now(&self) {
        self.warming_since.store(milliseconds(), Relaxed);
    }

    /// The part of its load that the endpoint takes now, from 0 to 1.
    pub(super) fn share(&self, warmup: &Warmup) -> f64 {
        let since = self.warming_since.load(Relaxed);
        if since == 0 {
            return 1.0;
        }
        let passed = milliseconds().saturating_sub(since);
        if passed >= warmup.duration_ms {
            self.warming_since.store(0, Relaxed);
            return 1.0;
        }
        let float = |number: u64| f64::from(u32::try_from(number).unwrap_or(u32::MAX));
        let part = float(passed) / float(warmup.duration_ms);
        let aggression = f64::from(warmup.aggression_permille.max(1)) / 1000.0;
        let minimum = f64::from(warmup.minimum_percent) / 100.0;
        part.powf(1.0 / aggression).max(minimum).min(1.0)
    }

    /// The endpoint chose HTTP/1.1 although HTTP/2 was offered.
    pub(super) fn choose_http1(&self) {
        *self.chose_http1.lock() = Some(Instant::now());
    }

    /// Whether it did so lately.
    pub(super) fn chose_http1(&self) -> bool {
        self.chose_http1
            .lock()
            .is_some_and(|at| at.elapsed() < REMEMBERED)
    }
}

impl Endpoint {
    /// An endpoint with what was learnt about its address before.
    pub(crate) fn new(
        address: SocketAddr,
        identity: Arc<EndpointIdentity>,
        state: Arc<EndpointState>,
    ) -> Self {
        Self {
            address,
            text: address.to_string().into(),
            identity_hash: hash(&identity),
            identity,
            state,
        }
    }

    #[cfg(test)]
    pub(crate) fn for_test(port: u16) -> Self {
        Self::new(
            SocketAddr::from(([127, 0, 0, 1], port)),
            Arc::default(),
            Arc::default(),
        )
    }
}

/// Never 0, which stands for no endpoint.
fn hash(identity: &EndpointIdentity) -> u64 {
    let EndpointIdentity {
        workload,
        namespace,
        app,
        version,
    } = identity;
    let mut hasher = DefaultHasher::new();
    (workload, namespace, app, version).hash(&mut hasher);
    hasher.finish() | 1
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
    /// The endpoint answered with this HTTP status; see [`Outcome::answered`].
    Answered(u16),
    /// A connection that carries bytes was opened.
    Connected,
    /// No answer: connect failure, reset, time-out, protocol error.
    Failed,
}

impl Outcome {
    /// An answer with this HTTP status, and this `grpc-status` where the head already has one:
    /// then that counts, as the HTTP status it stands for.
    pub(crate) fn answered(status: u16, grpc: Option<u32>) -> Self {
        Self::Answered(grpc.map_or(status, as_http))
    }
}

/// The HTTP status that Envoy takes a gRPC status for.
fn as_http(grpc: u32) -> u16 {
    match grpc {
        0 => 200,
        1 => 499,
        3 | 9 | 11 => 400,
        4 => 504,
        5 => 404,
        6 | 10 => 409,
        7 => 403,
        8 => 429,
        12 => 501,
        14 => 503,
        16 => 401,
        _ => 500,
    }
}
