//! Datagrams: sessions between clients and endpoints.
//!
//! A worker's socket takes a client's datagrams; the kernel gives one client's always to the same
//! worker. The first of a client to one of our addresses opens a session: a rule, a target by
//! weight, an endpoint, and a socket of its own towards it, so that replies find their way back and
//! come from the address that was asked. A session lasts as long as datagrams pass within its idle
//! time and a new one could be given the same endpoint; otherwise the next datagram opens another.
//!
//! Nothing is ever sent to a client that its session's endpoint did not send: one datagram, of the
//! same bytes, for each of the endpoint's, and no answers of our own. How much larger than the
//! question an answer may be is a matter of the protocol inside (DNS answers, QUIC limits itself),
//! so there is no limit here. What a forged source address can bring about is bounded by
//! [`Caps`]: sessions per origin and in all, of which those whose client never proved to receive
//! anything are [given up](table) first.

mod caps;
mod datagram;
#[cfg(feature = "fuzzing")]
pub(crate) mod fuzzing;
mod session;
mod table;

pub(crate) use caps::Caps;
pub(crate) use datagram::bind;

use crate::{
    compile::Destination, core::Core, listener::DrainSignal, route::l4::CompiledL4Route,
    snapshot::Snapshot, telemetry::ListenerStats,
};
use arc_swap::ArcSwap;
use caps::Full;
use datagram::Received;
use gwanmun_ir::ListenerKey;
use parking_lot::Mutex;
use session::{Begun, Forwarded, Room, Running, Session};
use std::{
    io,
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};
use table::{Origin, SessionKey, Table};
use tokio::{
    io::Interest,
    net::UdpSocket,
    sync::{Notify, Semaphore, oneshot},
    task::AbortHandle,
};

/// How long an endpoint that refused is avoided, as long as there is another.
const AVOIDED: Duration = Duration::from_secs(1);
/// Endpoints remembered as refusing.
const MOST_AVOIDED: usize = 16;
/// Pause after an error of the socket that is not about one datagram.
const PAUSE: Duration = Duration::from_millis(5);

/// What a socket is given to begin with.
pub(crate) struct Start {
    /// The worker's.
    pub(crate) core: Arc<Core>,
    /// Which listener it is; another one when a delta gives the same address another key.
    pub(crate) key: Arc<ArcSwap<ListenerKey>>,
    /// Counters.
    pub(crate) stats: Arc<ListenerStats>,
    /// Room for connections in the whole process; a session takes as much as one.
    pub(crate) room: Arc<Semaphore>,
    /// How many sessions there may be.
    pub(crate) caps: Arc<Caps>,
    /// Raised when no session may begin any more; those there are go on until they are silent.
    pub(crate) closing: DrainSignal,
}

/// One socket of one worker, and its sessions.
struct Service {
    core: Arc<Core>,
    key: Arc<ArcSwap<ListenerKey>>,
    stats: Arc<ListenerStats>,
    room: Arc<Semaphore>,
    caps: Arc<Caps>,
    closing: DrainSignal,
    socket: UdpSocket,
    address: SocketAddr,
    ipv6: bool,
    table: Mutex<Table<Entry>>,
    refusing: Mutex<Vec<(SocketAddr, Instant)>>,
    /// A session has ended.
    ended: Notify,
}

/// A session in the table; its task ends with it.
struct Entry {
    session: Arc<Session>,
    task: Option<AbortHandle>,
}

impl Drop for Entry {
    fn drop(&mut self) {
        if let Some(task) = &self.task {
            task.abort();
        }
    }
}

/// Serves a socket until its listener is closing and its sessions have ended, at the latest when
/// `release` is raised or the time to drain is over. `closed` learns when the socket is closed.
pub(crate) async fn run(
    start: Start,
    socket: std::net::UdpSocket,
    mut release: DrainSignal,
    closed: oneshot::Sender<()>,
) {
    let key = Arc::clone(&start.key);
    match Service::new(start, socket) {
        Ok(service) => {
            let service = Arc::new(service);
            tokio::select! {
                () = serve(&service) => {}
                () = service.drained() => {}
                () = release.wait() => {}
            }
            service.end_all();
            // Sessions hold the socket until their tasks have gone.
            let weak = Arc::downgrade(&service);
            drop(service);
            while weak.strong_count() > 0 {
                tokio::task::yield_now().await;
            }
        }
        Err(error) => {
            tracing::error!(listener = %key.load(), %error, "the socket cannot be watched");
        }
    }
    let _ = closed.send(());
}

/// Receives for ever.
async fn serve(service: &Arc<Service>) {
    loop {
        let outcome = match service.socket.readable().await {
            Ok(()) => service.socket.try_io(Interest::READABLE, || {
                datagram::receive(&service.socket, |received| service.take(&received))
            }),
            Err(error) => Err(error),
        };
        match outcome {
            // Sessions get their turn.
            Ok(_) => tokio::task::yield_now().await,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => {
                tracing::debug!(listener = %service.key.load(), %error, "cannot receive");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

impl Service {
    fn new(start: Start, socket: std::net::UdpSocket) -> io::Result<Self> {
        let socket = UdpSocket::from_std(socket)?;
        Ok(Self {
            core: start.core,
            key: start.key,
            stats: start.stats,
            room: start.room,
            caps: start.caps,
            closing: start.closing,
            address: socket.local_addr()?,
            ipv6: datagram::is_ipv6(&socket),
            socket,
            table: Mutex::default(),
            refusing: Mutex::default(),
            ended: Notify::new(),
        })
    }

    /// Takes a client's datagrams.
    fn take(self: &Arc<Self>, received: &Received<'_>) {
        let bytes = u64::try_from(received.bytes.len()).unwrap_or(u64::MAX);
        self.stats.udp().received(received.count(), bytes);
        let key = SessionKey {
            client: received.from,
            asked: received.to,
        };
        let snapshot = self.core.snapshot.load();
        let known = {
            let mut table = self.table.lock();
            let known = table.get(&key).map(|entry| Arc::clone(&entry.session));
            if let Some(session) = &known {
                table.heard(&key, session.spoke());
            }
            known
        };
        if let Some(session) = known {
            if session.holds(&snapshot, self) && session.forward(received, self) == Forwarded::Done
            {
                return;
            }
            if let Some(endpoint) = session.endpoint()
                && session.cluster.serves(endpoint)
            {
                self.refuses(endpoint);
            }
            self.drop_session(&key);
        }
        match self.open(key, &snapshot) {
            Some(session) => {
                session.forward(received, self);
            }
            None => self.stats.udp().dropped(received.count()),
        }
    }

    /// Opens a session; nothing when the datagram goes nowhere.
    fn open(self: &Arc<Self>, key: SessionKey, snapshot: &Snapshot) -> Option<Arc<Session>> {
        if self.closing.is_draining() {
            return None;
        }
        let Some(route) = self.route(snapshot) else {
            self.stats.no_filter_chain();
            return None;
        };
        let cluster = match route.destination(fastrand::u64(..)) {
            Some(Destination::Cluster(cluster)) => Arc::clone(cluster),
            Some(Destination::Fail(..)) | None => return None,
        };
        let room = self.admit(Origin::of(key.client))?;
        let session = Arc::new(Session::new(Begun {
            key,
            route: Arc::clone(route),
            cluster,
            epoch: snapshot.epoch,
            room,
        }));
        // Without an endpoint yet, its task waits for the cluster's names.
        let _ = session.connect(&self.avoided());
        self.stats.opened();
        let entry = Entry {
            session: Arc::clone(&session),
            task: None,
        };
        let mut table = self.table.lock();
        let (id, replaced) = table.insert(key, entry);
        let running = Running {
            session: Arc::clone(&session),
            service: Arc::clone(self),
            id,
        };
        let task = tokio::spawn(session::serve(running)).abort_handle();
        if let Some(entry) = table.get_mut(&key) {
            entry.task = Some(task);
        }
        drop(table);
        drop(replaced);
        Some(session)
    }

    /// Takes room for a session, for which another may be given up.
    fn admit(&self, origin: Origin) -> Option<Room> {
        let full = match self.try_admit(origin) {
            Ok(room) => return Some(room),
            Err(full) => full,
        };
        self.stats.overflowed();
        if let Some(count) = self.caps.refused(Instant::now()) {
            tracing::warn!(
                listener = %self.key.load(),
                limit = ?full,
                count,
                "UDP sessions are at their limit"
            );
        }
        let given_up = self.table.lock().give_up(match full {
            Full::Origin => Some(origin),
            Full::Process => None,
        })?;
        given_up.session.vacate();
        drop(given_up);
        self.try_admit(origin).ok()
    }

    fn try_admit(&self, origin: Origin) -> Result<Room, Full> {
        let place = self.caps.admit(origin)?;
        match Arc::clone(&self.room).try_acquire_owned() {
            Ok(permit) => Ok(Room {
                _place: place,
                _permit: permit,
            }),
            Err(_none) => Err(Full::Process),
        }
    }

    /// The rule of its datagrams.
    fn route<'s>(&self, snapshot: &'s Snapshot) -> Option<&'s Arc<CompiledL4Route>> {
        snapshot
            .listener(&self.key.load())?
            .raw
            .as_ref()?
            .pick(None)
    }

    /// An endpoint refused: others are tried first for a while.
    fn refuses(&self, endpoint: SocketAddr) {
        let mut refusing = self.refusing.lock();
        refusing.retain(|(other, _)| *other != endpoint);
        if refusing.len() >= MOST_AVOIDED {
            refusing.remove(0);
        }
        refusing.push((endpoint, Instant::now()));
    }

    fn avoided(&self) -> Vec<SocketAddr> {
        let mut refusing = self.refusing.lock();
        if refusing.is_empty() {
            return Vec::new();
        }
        refusing.retain(|(_, since)| since.elapsed() < AVOIDED);
        refusing.iter().map(|(endpoint, _)| *endpoint).collect()
    }

    /// Ends a session; what its task still holds goes with the task.
    fn drop_session(&self, key: &SessionKey) {
        let ended = self.table.lock().take(key);
        drop(ended);
    }

    fn end_all(&self) {
        let all = std::mem::take(&mut *self.table.lock());
        drop(all);
    }

    /// A session has ended.
    fn ended(&self) {
        self.ended.notify_one();
    }

    /// Waits until the listener is closing and all sessions have ended, or their time is over.
    async fn drained(&self) {
        self.closing.clone().wait().await;
        let all = async {
            while !self.table.lock().is_empty() {
                self.ended.notified().await;
            }
        };
        let _ = tokio::time::timeout(self.core.config.drain, all).await;
    }
}
