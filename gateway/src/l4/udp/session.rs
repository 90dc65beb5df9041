//! One session: a client's datagrams to one endpoint, and that endpoint's to the client.

use super::{
    Service,
    caps::Place,
    datagram::{self, Received, Way},
    table::SessionKey,
};
use crate::{
    cluster::{Cluster, EndpointRef, Guard, Outcome, Resource},
    listener::DrainSignal,
    route::l4::CompiledL4Route,
    snapshot::Snapshot,
    telemetry::{Exchange, Flag, ResponseFlags},
};
use parking_lot::Mutex;
use std::{
    collections::VecDeque,
    io,
    net::SocketAddr,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};
use tokio::{io::Interest, net::UdpSocket, sync::OwnedSemaphorePermit};

/// Datagrams kept while the names of a cluster are still being resolved.
const MOST_WAITING: usize = 16;
/// How long a session may be silent once its listener is going away.
const CLOSING_IDLE: Duration = Duration::from_secs(2);

/// One session.
pub(super) struct Session {
    pub(super) key: SessionKey,
    pub(super) route: Arc<CompiledL4Route>,
    pub(super) cluster: Arc<Cluster>,
    upstream: OnceLock<Upstream>,
    /// What came before there was an upstream.
    waiting: Mutex<VecDeque<Vec<u8>>>,
    /// Whether the backend has spoken.
    spoke: AtomicBool,
    /// The snapshot that was looked at last.
    epoch: AtomicU64,
    /// When a datagram passed last, in milliseconds since `start`.
    last: AtomicU64,
    received: AtomicU64,
    sent: AtomicU64,
    pub(super) flags: Mutex<ResponseFlags>,
    start: Instant,
    /// What it takes up; given back when it is given up, before its task has gone.
    room: Mutex<Option<Room>>,
}

/// The room that one session takes up.
pub(super) struct Room {
    pub(super) _place: Place,
    pub(super) _permit: OwnedSemaphorePermit,
}

/// Where a session's datagrams go.
pub(super) struct Upstream {
    socket: UdpSocket,
    endpoint: EndpointRef,
    local: Option<SocketAddr>,
    _guard: Guard,
}

/// What a session is given to begin with.
pub(super) struct Begun {
    pub(super) key: SessionKey,
    pub(super) route: Arc<CompiledL4Route>,
    pub(super) cluster: Arc<Cluster>,
    pub(super) epoch: u64,
    pub(super) room: Room,
}

/// Why there is no way to an endpoint.
pub(super) struct NoWay(Flag);

/// What became of a client's datagrams.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Forwarded {
    /// They are on their way, or lost as datagrams may be.
    Done,
    /// The endpoint had refused earlier ones: these were not sent.
    Refused,
}

impl Session {
    pub(super) fn new(begun: Begun) -> Self {
        Self {
            key: begun.key,
            route: begun.route,
            cluster: begun.cluster,
            upstream: OnceLock::new(),
            waiting: Mutex::default(),
            spoke: AtomicBool::new(false),
            epoch: AtomicU64::new(begun.epoch),
            last: AtomicU64::new(0),
            received: AtomicU64::new(0),
            sent: AtomicU64::new(0),
            flags: Mutex::default(),
            start: Instant::now(),
            room: Mutex::new(Some(begun.room)),
        }
    }

    /// Gives back the room it takes up: it is ending.
    pub(super) fn vacate(&self) {
        drop(self.room.lock().take());
    }

    /// Chooses an endpoint, those in `refused` last, and connects to it.
    pub(super) fn connect(&self, refused: &[SocketAddr]) -> Result<(), NoWay> {
        let endpoint = self
            .cluster
            .pick(refused)
            .map_err(|_none| NoWay(Flag::Uh))?;
        let guard = self
            .cluster
            .admit(Resource::Connections)
            .map_err(|_overflow| NoWay(Flag::Uo))?;
        let socket = datagram::connect(endpoint.address).and_then(UdpSocket::from_std);
        let socket = socket.map_err(|error| {
            tracing::debug!(endpoint = %endpoint.text, %error, "no UDP socket for a session");
            NoWay(Flag::Uf)
        })?;
        let upstream = Upstream {
            local: socket.local_addr().ok(),
            socket,
            endpoint,
            _guard: guard,
        };
        // Nobody else sets it: there is one task per session, and it connects once.
        let _ = self.upstream.set(upstream);
        Ok(())
    }

    /// Whether its backend has spoken.
    pub(super) fn spoke(&self) -> bool {
        self.spoke.load(Relaxed)
    }

    /// Where its datagrams go, once that is known.
    pub(super) fn endpoint(&self) -> Option<SocketAddr> {
        Some(self.upstream.get()?.endpoint.address)
    }

    /// Whether a new session could still be given what this one has: its endpoint is one of its
    /// cluster, and that one of its listener's targets.
    pub(super) fn holds(&self, snapshot: &Snapshot, service: &Service) -> bool {
        if let Some(upstream) = self.upstream.get()
            && !self.cluster.serves(upstream.endpoint.address)
        {
            return false;
        }
        if self.epoch.swap(snapshot.epoch, Relaxed) == snapshot.epoch {
            return true;
        }
        let Some(route) = service.route(snapshot) else {
            // A listener that is going away serves the sessions it has.
            return service.closing.is_draining();
        };
        let kept = route.names_cluster(self.cluster.id);
        if !kept {
            self.epoch.store(0, Relaxed);
        }
        kept
    }

    /// Sends what its client sent.
    pub(super) fn forward(&self, received: &Received<'_>, service: &Service) -> Forwarded {
        self.touch();
        let counters = service.stats.udp();
        let Some(upstream) = self.upstream.get() else {
            let mut waiting = self.waiting.lock();
            for datagram in received.each() {
                if waiting.len() < MOST_WAITING {
                    waiting.push_back(datagram.to_vec());
                } else {
                    counters.dropped(1);
                }
            }
            return Forwarded::Done;
        };
        // Not by way of the event loop, which knows nothing of a new socket yet; what there is no
        // room for is lost.
        let sent = datagram::send(&upstream.socket, None, received);
        match sent {
            Ok(()) => {
                self.received.fetch_add(bytes(received), Relaxed);
                Forwarded::Done
            }
            Err((error, 0)) if is_refusal(&error) => {
                self.refused();
                Forwarded::Refused
            }
            Err((_, sent)) => {
                counters.dropped(received.count().saturating_sub(sent));
                Forwarded::Done
            }
        }
    }

    /// The endpoint refuses: nothing listens there.
    fn refused(&self) {
        self.flags.lock().set(Flag::Uf);
        if let Some(upstream) = self.upstream.get() {
            self.cluster.report(&upstream.endpoint, Outcome::Failed);
        }
    }

    fn touch(&self) {
        self.last.store(millis(self.start.elapsed()), Relaxed);
    }

    fn quiet_until(&self, idle: Duration) -> Instant {
        self.start + Duration::from_millis(self.last.load(Relaxed)) + idle
    }
}

/// A session as its task holds it: on record and out of the table when it is dropped.
pub(super) struct Running {
    pub(super) session: Arc<Session>,
    pub(super) service: Arc<Service>,
    pub(super) id: u64,
}

impl Drop for Running {
    fn drop(&mut self) {
        let Self {
            session, service, ..
        } = self;
        let ended = service.table.lock().remove(&session.key, self.id);
        drop(ended);
        service.stats.closed();
        service.ended();
        let upstream = session.upstream.get();
        let local = session.key.asked.map_or(service.address, |ip| {
            SocketAddr::new(ip, service.address.port())
        });
        let exchange = Exchange {
            end: Instant::now(),
            flags: *session.flags.lock(),
            bytes_received: session.received.load(Relaxed),
            bytes_sent: session.sent.load(Relaxed),
            endpoint: upstream.map(|upstream| &*upstream.endpoint),
            upstream_local: upstream.and_then(|upstream| upstream.local),
            cluster: Some(&session.cluster),
            route: Some(&session.route.name),
            listener: Some(&service.stats),
            ..Exchange::new(session.start, local, session.key.client)
        };
        service.core.telemetry.record(&exchange);
    }
}

/// Serves a session until nobody has said anything for too long, its endpoint refuses, or there is
/// no endpoint.
pub(super) async fn serve(running: Running) {
    let (session, service) = (&running.session, &running.service);
    if session.upstream.get().is_none() && !resolved(session, service).await {
        return;
    }
    let Some(upstream) = session.upstream.get() else {
        return;
    };
    let mut closing: DrainSignal = service.closing.clone();
    let mut idle = session.route.idle_timeout;
    let mut closes = false;
    loop {
        let until = idle.map(|idle| session.quiet_until(idle));
        tokio::select! {
            ready = upstream.socket.readable() => {
                if ready.is_err() || !replies(session, service, upstream).await {
                    return;
                }
            }
            () = sleep_until(until) => {
                let now = Instant::now();
                if idle.is_some_and(|idle| session.quiet_until(idle) <= now) {
                    return;
                }
            }
            () = closing.wait(), if !closes => {
                closes = true;
                idle = Some(idle.map_or(CLOSING_IDLE, |idle| idle.min(CLOSING_IDLE)));
            }
        }
    }
}

/// Waits for the names of the cluster, then sends what waited. Returns whether there is an
/// endpoint.
async fn resolved(session: &Session, service: &Service) -> bool {
    session.cluster.warmed().await;
    if let Err(NoWay(flag)) = session.connect(&[]) {
        session.flags.lock().set(flag);
        return false;
    }
    let waiting = std::mem::take(&mut *session.waiting.lock());
    for datagram in waiting {
        let received = Received {
            from: session.key.client,
            to: None,
            bytes: &datagram,
            stride: datagram.len(),
        };
        session.forward(&received, service);
    }
    true
}

async fn sleep_until(until: Option<Instant>) {
    match until {
        Some(until) => tokio::time::sleep_until(until.into()).await,
        None => std::future::pending().await,
    }
}

/// Passes on what the endpoint has sent. Returns whether the session goes on.
async fn replies(session: &Session, service: &Service, upstream: &Upstream) -> bool {
    if !session.holds(&service.core.snapshot.load(), service) {
        return false;
    }
    let way = Way {
        to: session.key.client,
        from: session.key.asked,
        ipv6: service.ipv6,
    };
    let mut later: Vec<(Vec<u8>, usize)> = Vec::new();
    let mut count = 0;
    let received = upstream.socket.try_io(Interest::READABLE, || {
        datagram::receive(&upstream.socket, |received| {
            count += received.count();
            let full = !later.is_empty() || !reply(session, service, &way, &received);
            if full {
                later.push((received.bytes.to_vec(), received.stride));
            }
        })
    });
    match received {
        Ok(_) => {
            session.spoke.store(true, Relaxed);
            session.touch();
            if !later.is_empty() {
                wait_and_reply(session, service, &way, later).await;
            } else if count > 1 {
                // A busy backend must not keep other sessions from their turn.
                tokio::task::yield_now().await;
            }
            true
        }
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => true,
        Err(error) => {
            tracing::debug!(endpoint = %upstream.endpoint.text, %error, "UDP session ended");
            session.refused();
            service.refuses(upstream.endpoint.address);
            false
        }
    }
}

/// Sends to the client; whether there was room for it.
fn reply(session: &Session, service: &Service, way: &Way, received: &Received<'_>) -> bool {
    let sent = service.socket.try_io(Interest::WRITABLE, || {
        match datagram::send(&service.socket, Some(way), received) {
            Err((error, 0)) if error.kind() == io::ErrorKind::WouldBlock => Err(error),
            outcome => Ok(outcome),
        }
    });
    let counters = service.stats.udp();
    match sent {
        Ok(Ok(())) => {
            session.sent.fetch_add(bytes(received), Relaxed);
            counters.sent(received.count(), bytes(received));
            true
        }
        Ok(Err((_, sent))) => {
            counters.dropped(received.count().saturating_sub(sent));
            true
        }
        Err(_full) => false,
    }
}

/// Sends what there was no room for. Meanwhile the kernel keeps what the endpoint sends, as far as
/// it has room.
async fn wait_and_reply(
    session: &Session,
    service: &Service,
    way: &Way,
    later: Vec<(Vec<u8>, usize)>,
) {
    for (datagrams, stride) in later {
        let received = Received {
            from: way.to,
            to: None,
            bytes: &datagrams,
            stride,
        };
        while !reply(session, service, way, &received) {
            if service.socket.writable().await.is_err() {
                return;
            }
        }
    }
}

/// Whether an ICMP message said that nobody is there.
fn is_refusal(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionRefused, ConnectionReset, HostUnreachable, NetworkUnreachable};
    matches!(
        error.kind(),
        ConnectionRefused | ConnectionReset | HostUnreachable | NetworkUnreachable
    )
}

fn bytes(received: &Received<'_>) -> u64 {
    u64::try_from(received.bytes.len()).unwrap_or(u64::MAX)
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
