//! Circuit breakers: counters with a limit, and guards that give back what they took.

use super::{endpoint::EndpointState, state::State};
use gwanmun_ir::CircuitBreakers;
use parking_lot::Mutex;
use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering::Relaxed},
    },
    thread::{self, ThreadId},
};

/// What a circuit breaker limits.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Resource {
    /// Connections to endpoints.
    Connections,
    /// Requests that wait for a connection.
    Pending,
    /// Requests from choosing an endpoint to the end of the answer.
    Requests,
    /// Tries after the first one.
    Retries,
}

/// A limit of a cluster is reached.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("overflow of {0:?}")]
pub(crate) struct Overflow(pub(crate) Resource);

/// How much of each [`Resource`] is in use.
#[derive(Debug, Default)]
pub(crate) struct Usage {
    connections: AtomicU32,
    pending: AtomicU32,
    requests: AtomicU32,
    retries: AtomicU32,
}

impl Usage {
    fn counter(&self, resource: Resource) -> &AtomicU32 {
        match resource {
            Resource::Connections => &self.connections,
            Resource::Pending => &self.pending,
            Resource::Requests => &self.requests,
            Resource::Retries => &self.retries,
        }
    }

    /// How much is in use now.
    pub(crate) fn get(&self, resource: Resource) -> u32 {
        self.counter(resource).load(Relaxed)
    }
}

/// One unit of a [`Resource`], given back on drop.
#[derive(Debug)]
pub(crate) struct Guard {
    state: Option<Arc<State>>,
    resource: Resource,
    /// For connections: where they lead, and which worker's they are.
    opened: Option<(Arc<EndpointState>, ThreadId)>,
}

impl Guard {
    /// Takes one unit of what has no limit; such units are not counted, except connections.
    fn free(resource: Resource) -> Self {
        Self {
            state: None,
            resource,
            opened: None,
        }
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        if let Some(state) = &self.state {
            state.usage.counter(self.resource).fetch_sub(1, Relaxed);
        }
        if let Some((endpoint, thread)) = &self.opened {
            endpoint.open.remove(*thread);
        }
    }
}

/// Open connections to one endpoint, by worker. Touched only when one is opened or closed.
#[derive(Debug, Default)]
pub(crate) struct Open(Mutex<Vec<(ThreadId, u32)>>);

impl Open {
    /// How many there are.
    pub(crate) fn total(&self) -> u32 {
        self.0.lock().iter().map(|(_, count)| count).sum()
    }

    fn add(&self, thread: ThreadId) {
        let mut workers = self.0.lock();
        match workers.iter_mut().find(|(worker, _)| *worker == thread) {
            Some((_, count)) => *count += 1,
            None => workers.push((thread, 1)),
        }
    }

    fn remove(&self, thread: ThreadId) {
        let mut workers = self.0.lock();
        for (worker, count) in workers.iter_mut() {
            if *worker == thread {
                *count = count.saturating_sub(1);
            }
        }
        workers.retain(|(_, count)| *count > 0);
    }

    fn is_empty(&self, thread: ThreadId) -> bool {
        !self.0.lock().iter().any(|(worker, _)| *worker == thread)
    }
}

/// Takes one connection to `endpoint`. A worker without any connection to it gets one even above
/// the limit, as in Envoy: it would wait for connections that others keep.
pub(crate) fn admit_connection(
    state: &Arc<State>,
    limits: &CircuitBreakers,
    endpoint: &Arc<EndpointState>,
) -> Result<Guard, Overflow> {
    match admit_connection_strictly(state, limits, endpoint) {
        Err(_full) if endpoint.open.is_empty(thread::current().id()) => {
            admit_connection_strictly(state, &CircuitBreakers::default(), endpoint)
        }
        result => result,
    }
}

/// Takes one connection to `endpoint`, never above the limit.
pub(crate) fn admit_connection_strictly(
    state: &Arc<State>,
    limits: &CircuitBreakers,
    endpoint: &Arc<EndpointState>,
) -> Result<Guard, Overflow> {
    let thread = thread::current().id();
    let mut guard = admit(state, limits, Resource::Connections)?;
    endpoint.open.add(thread);
    guard.opened = Some((Arc::clone(endpoint), thread));
    Ok(guard)
}

/// Takes one unit of `resource`, or nothing when the limit is reached.
pub(crate) fn admit(
    state: &Arc<State>,
    limits: &CircuitBreakers,
    resource: Resource,
) -> Result<Guard, Overflow> {
    let limit = match resource {
        Resource::Connections => limits.max_connections.or(Some(u32::MAX)),
        Resource::Pending => limits.max_pending_requests,
        Resource::Requests => limits.max_requests,
        Resource::Retries => limits.max_retries,
    };
    let Some(limit) = limit else {
        return Ok(Guard::free(resource));
    };
    let counter = state.usage.counter(resource);
    if counter.fetch_add(1, Relaxed) >= limit {
        counter.fetch_sub(1, Relaxed);
        return Err(Overflow(resource));
    }
    Ok(Guard {
        state: Some(Arc::clone(state)),
        resource,
        opened: None,
    })
}
