//! Tries: choosing an endpoint, getting a connection, sending, and deciding what to do when one
//! fails.

use super::{
    deadline::Expired,
    down::DownError,
    fault::Fault,
    flow::{Client, Flow, Idle},
    pool::{Found, Want},
    pump::{Begun, Pump},
    retry::{Decision, Outcome, Retries},
    up::Up,
};
use crate::{
    cluster::{self, Cluster, EndpointRef, Guard, Protocol, Resource},
    core::Core,
    http::{Known, RequestHead, ResponseHead, forward},
    telemetry::Flag,
};
use gwanmun_ir::{Dialect, RetryPolicy};
use smallvec::SmallVec;
use std::{future::poll_fn, net::SocketAddr, sync::Arc, task::Poll, time::Duration};

/// How the tries of a request ended.
pub(crate) enum Tried {
    /// A response begins: its head, and who delivers the rest.
    Response(Box<ResponseHead>, Pump),
    /// All came to nothing: the fault of the last one.
    Failed(Fault),
    /// The client's side failed.
    Down(DownError),
    /// The request's body is larger than the route allows.
    TooLarge,
}

/// What stays the same in all tries of a request.
pub(crate) struct Plan<'a> {
    /// The cluster.
    pub(crate) cluster: &'a Arc<Cluster>,
    /// When to try again.
    pub(crate) policy: Option<&'a RetryPolicy>,
    /// What to speak.
    pub(crate) protocol: Protocol,
    /// Whether repeating the request does no harm even if it was processed.
    pub(crate) idempotent: bool,
    /// Whose header conventions the route follows.
    pub(crate) dialect: &'a Dialect,
    /// What a cluster that hashes looks at.
    pub(crate) key: Option<Box<[u8]>>,
}

/// How one try ended.
enum Once {
    Response(Box<ResponseHead>, Pump),
    Fault(Fault, Free),
    Down(DownError),
    TooLarge,
}

/// Whether a failed try counts.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Free {
    /// It does.
    No,
    /// A pooled connection was closed before the upstream can have looked at the request.
    Yes,
}

/// The tries of one request.
pub(crate) struct Tries<'a> {
    plan: Plan<'a>,
    retries: Retries<'a>,
    tried: SmallVec<[SocketAddr; 4]>,
    /// Counts a retry against the circuit breaker while it lasts.
    guard: Option<Guard>,
}

impl<'a> Tries<'a> {
    /// Nothing tried yet.
    pub(crate) fn new(plan: Plan<'a>) -> Self {
        Self {
            retries: Retries::new(plan.policy),
            plan,
            tried: SmallVec::new(),
            guard: None,
        }
    }

    /// Whether a try was repeated.
    pub(crate) fn retried(&self) -> bool {
        self.retries.made() > 0
    }

    /// Tries until a response may be passed on, or nothing is left to try.
    pub(crate) async fn run(&mut self, flow: &mut Flow<'_>) -> Tried {
        loop {
            let pause = match self.once(flow).await {
                Once::Response(head, mut pump) => {
                    let outcome = Outcome::Response {
                        status: head.status(),
                        grpc: head.grpc_status(),
                    };
                    let overloaded = head.get(Known::XEnvoyOverloaded).is_some();
                    match self.decide(flow, outcome) {
                        Some(pause) if !overloaded => {
                            flow.record.report(cluster::Outcome::answered(
                                head.status(),
                                head.grpc_status(),
                            ));
                            pump.release(flow);
                            pause
                        }
                        Some(_) | None => return Tried::Response(head, pump),
                    }
                }
                Once::Fault(_, Free::Yes) if self.retries.take_free() => {
                    flow.record.tries -= 1;
                    continue;
                }
                Once::Fault(fault, _) => match self.decide(flow, Outcome::Fault(&fault)) {
                    Some(pause) => pause,
                    None => return Tried::Failed(fault),
                },
                Once::Down(error) => return Tried::Down(error),
                Once::TooLarge => return Tried::TooLarge,
            };
            if let Some(endpoint) = &flow.record.endpoint {
                self.tried.push(endpoint.address);
            }
            flow.client.deadlines.attempt_ended();
            match Box::pin(flow.client.pause(flow.core, pause)).await {
                Ok(()) => {}
                Err(Idle::Down(error)) => return Tried::Down(error),
                Err(Idle::Expired(_)) => return Tried::Failed(Fault::RequestTimeout),
            }
        }
    }

    /// The pause before another try, if there is to be one.
    fn decide(&mut self, flow: &mut Flow<'_>, outcome: Outcome<'_>) -> Option<Duration> {
        if !self.retries.has_policy() || !flow.body.replay.is_intact() {
            return None;
        }
        match self.retries.decide(outcome, fastrand::u64(..)) {
            Decision::Final => None,
            Decision::Exhausted => {
                flow.record.flags.set(Flag::Urx);
                None
            }
            Decision::Again(pause) => {
                self.guard = None;
                match self.plan.cluster.admit(Resource::Retries) {
                    Ok(guard) => {
                        self.guard = Some(guard);
                        Some(pause)
                    }
                    Err(_full) => {
                        flow.record.flags.set(Flag::Uo);
                        self.retries.undo();
                        None
                    }
                }
            }
        }
    }

    /// One try, up to the final head.
    async fn once(&mut self, flow: &mut Flow<'_>) -> Once {
        // What is rarely needed is boxed: every request's future would have room for it.
        let endpoint = match self
            .plan
            .cluster
            .pick_by(&self.tried, self.plan.key.as_deref())
        {
            Ok(endpoint) => endpoint,
            Err(_none) => match Box::pin(self.first_endpoint(flow)).await {
                Ok(endpoint) => endpoint,
                Err(Stopped::Down(error)) => return Once::Down(error),
                Err(Stopped::Fault(fault)) => return Once::Fault(fault, Free::No),
            },
        };
        flow.record.upstream_local = None;
        flow.record.tries += 1;
        flow.client.deadlines.attempt_started();
        let found = match flow.core.pool.ready(self.want(flow, &endpoint)) {
            Some(found) => Ok(found),
            None => Box::pin(self.connection(flow, &endpoint)).await,
        };
        flow.record.endpoint = Some(endpoint);
        let found = match found {
            Ok(found) => found,
            Err(Stopped::Down(error)) => return Once::Down(error),
            Err(Stopped::Fault(fault)) => {
                report_failure(flow, &fault);
                return Once::Fault(fault, Free::No);
            }
        };
        let mut pump = match self.start(flow, found) {
            Ok(pump) => pump,
            Err(fault) => return Once::Fault(fault, Free::Yes),
        };
        let begun = poll_fn(|cx| pump.poll_begin(flow, cx)).await;
        match begun {
            Begun::Head(head) => Once::Response(head, pump),
            Begun::Fault(fault) => {
                let free = self.is_free(flow, &pump, &fault);
                if free == Free::No {
                    report_failure(flow, &fault);
                }
                Once::Fault(fault, free)
            }
            Begun::Down(error) => Once::Down(error),
            Begun::TooLarge => Once::TooLarge,
        }
    }

    /// An endpoint of a cluster that has none yet: the first requests to a cluster of names wait
    /// for the names' first answer, so that a new cluster fails none.
    async fn first_endpoint(&self, flow: &mut Flow<'_>) -> Result<EndpointRef, Stopped> {
        let cluster = self.plan.cluster;
        watched(&mut flow.client, flow.core, async {
            cluster.warmed().await;
            let picked = cluster.pick_by(&self.tried, self.plan.key.as_deref());
            picked.map_err(|_none| Fault::NoHealthy)
        })
        .await
    }

    fn want<'w>(&'w self, flow: &'w Flow<'_>, endpoint: &'w EndpointRef) -> Want<'w> {
        Want {
            cluster: self.plan.cluster,
            endpoint,
            host: flow.record.head.as_deref().map_or("", RequestHead::host),
            protocol: self.plan.protocol,
            addresses: flow.conn.addresses(),
        }
    }

    /// A connection to the endpoint, made while client and clock are watched.
    async fn connection(
        &self,
        flow: &mut Flow<'_>,
        endpoint: &EndpointRef,
    ) -> Result<Found, Stopped> {
        let core = flow.core;
        let want = Want {
            cluster: self.plan.cluster,
            endpoint,
            host: flow.record.head.as_deref().map_or("", RequestHead::host),
            protocol: self.plan.protocol,
            addresses: flow.conn.addresses(),
        };
        watched(&mut flow.client, core, core.pool.get(want)).await
    }

    /// Queues the head on a connection.
    fn start(&self, flow: &mut Flow<'_>, found: Found) -> Result<Pump, Fault> {
        let record = &mut flow.record;
        let Some(head) = &mut record.head else {
            return Err(Fault::Protocol);
        };
        if record.tries > 1 {
            let expected = flow.client.deadlines.expected_ms();
            forward::attempt(head, self.plan.dialect, record.tries, expected);
        }
        let end = flow.body.ended || flow.client.down.is_request_done();
        let end = end && flow.body.trailers.is_none() && flow.body.replay.len() == 0;
        let up = Up::start(found, head, self.plan.cluster, end, &flow.core.buffers)?;
        record.upstream_local = up.local();
        if matches!(up, Up::H2(_)) {
            // An HTTP/2 upstream need not say that it waits for the body.
            flow.client.down.send_continue();
        }
        Ok(Pump::new(up))
    }

    /// Whether a fault may only mean that the pooled connection had been closed.
    fn is_free(&self, flow: &Flow<'_>, pump: &Pump, fault: &Fault) -> Free {
        let stale = match fault {
            Fault::Closed { untouched: true } => true,
            Fault::Closed { untouched: false } => {
                self.plan.idempotent && pump.up().is_some_and(Up::may_be_stale)
            }
            Fault::Connect(_)
            | Fault::NoHealthy
            | Fault::Overflow
            | Fault::PerTry
            | Fault::Protocol
            | Fault::Refused
            | Fault::RequestTimeout
            | Fault::Reset => false,
        };
        if stale && flow.body.replay.is_intact() {
            Free::Yes
        } else {
            Free::No
        }
    }
}

/// Why there is no connection.
enum Stopped {
    Down(DownError),
    Fault(Fault),
}

/// Waits for `work` while the client and the clock are watched.
async fn watched<T>(
    client: &mut Client<'_>,
    core: &Core,
    work: impl Future<Output = Result<T, Fault>>,
) -> Result<T, Stopped> {
    let mut work = Box::pin(work);
    poll_fn(|cx| {
        if let Poll::Ready(result) = work.as_mut().poll(cx) {
            return Poll::Ready(result.map_err(Stopped::Fault));
        }
        client.poll_idle(cx, core, true).map(|idle| {
            Err(match idle {
                Idle::Down(error) => Stopped::Down(error),
                Idle::Expired(Expired::Request) => Stopped::Fault(Fault::RequestTimeout),
                Idle::Expired(Expired::PerTry) => Stopped::Fault(Fault::PerTry),
            })
        })
    })
    .await
}

/// Tells outlier detection about a try that came to nothing.
fn report_failure(flow: &Flow<'_>, fault: &Fault) {
    if !fault.is_overflow() {
        flow.record.report(cluster::Outcome::Failed);
    }
}
