//! Circuit breakers: counters with a limit, and guards that give back what they took.

use super::state::State;
use gwanmun_ir::CircuitBreakers;
use std::sync::{
    Arc,
    atomic::{AtomicU32, Ordering::Relaxed},
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
}

impl Guard {
    /// Takes one unit of what has no limit; such units are not counted, except connections.
    fn free(resource: Resource) -> Self {
        Self {
            state: None,
            resource,
        }
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        if let Some(state) = &self.state {
            state.usage.counter(self.resource).fetch_sub(1, Relaxed);
        }
    }
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
    })
}
