//! Which sockets are open, and how they follow the configuration.

use crate::{
    Config,
    l4::udp,
    listener::{self, DrainSignal},
    telemetry::Telemetry,
    worker::{Listen, Socket, Worker},
};
use arc_swap::ArcSwap;
use gwanmun_ir::{BindAddress, Key, Listener, ListenerKey, ListenerState, Resource, Transport};
use std::{
    collections::BTreeMap,
    fmt, io,
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::sync::{oneshot, watch};

/// Longest wait until workers have closed a socket.
const CLOSE: Duration = Duration::from_secs(2);

/// Where a listener is to be bound, after port mapping.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
struct Place {
    transport: Transport,
    ip: Option<IpAddr>,
    port: u16,
}

/// Sockets on one address, one per worker.
struct Sockets {
    address: SocketAddr,
    each: Vec<Socket>,
}

/// A socket that accepts connections, or takes datagrams.
struct Open {
    place: Place,
    address: SocketAddr,
    /// The listener it serves; changes when another one takes the place over.
    key: Arc<ArcSwap<ListenerKey>>,
    close: watch::Sender<bool>,
    drain: watch::Sender<bool>,
    closed: Vec<oneshot::Receiver<()>>,
}

/// A listener: its socket if there is one, and what is wrong if something is.
#[derive(Default)]
struct Entry {
    open: Option<Open>,
    failure: Option<String>,
}

/// The sockets of all listeners.
#[derive(Default)]
pub(crate) struct SocketSet {
    entries: BTreeMap<ListenerKey, Entry>,
    /// Sockets of UDP listeners that are gone, open until their sessions have ended: only from
    /// there can replies be sent.
    closing: Vec<Open>,
}

/// Sockets that are bound and not accepting yet, and those that have become superfluous.
#[derive(Default)]
pub(crate) struct Prepared {
    bound: Vec<(ListenerKey, Place, Sockets)>,
    released: Vec<Open>,
}

impl SocketSet {
    /// Binds what `resources` ask for and is not bound yet. Nothing is accepted before
    /// [`commit`](Self::commit), nothing closed.
    pub(crate) fn prepare(
        &mut self,
        config: &Config,
        resources: &BTreeMap<Key, Arc<Resource>>,
    ) -> Prepared {
        // Listeners are the first kind of key: the rest is not looked at.
        let wanted: BTreeMap<&ListenerKey, &Listener> = resources
            .values()
            .map_while(|resource| match &**resource {
                Resource::Listener(listener) => Some((&listener.key, listener)),
                Resource::Chain(_)
                | Resource::Route(_)
                | Resource::Cluster(_)
                | Resource::L4Route(_)
                | Resource::Endpoints(_)
                | Resource::Secret(_) => None,
            })
            .collect();
        let mut prepared = Prepared::default();
        self.closing.retain_mut(Open::is_open);
        self.entries.retain(|key, entry| {
            let keep = wanted.contains_key(key);
            if !keep {
                prepared.released.extend(entry.open.take());
            }
            keep
        });
        self.vacate(config, &wanted, &mut prepared);
        for (key, listener) in wanted {
            self.place(config, key, listener, &mut prepared);
        }
        prepared
    }

    /// Releases the sockets of listeners that move where the place they leave is taken by another:
    /// listeners may also change places.
    fn vacate(
        &mut self,
        config: &Config,
        wanted: &BTreeMap<&ListenerKey, &Listener>,
        prepared: &mut Prepared,
    ) {
        let places: BTreeMap<&ListenerKey, Place> = wanted
            .iter()
            .map(|(key, listener)| (*key, Place::of(config, listener)))
            .collect();
        for (key, entry) in &mut self.entries {
            let moves = |open: &mut Open| {
                let taken = places
                    .iter()
                    .any(|(other, place)| *other != key && *place == open.place);
                places.get(key) != Some(&open.place) && taken && open.place.port != 0
            };
            prepared.released.extend(entry.open.take_if(moves));
        }
    }

    fn place(
        &mut self,
        config: &Config,
        key: &ListenerKey,
        listener: &Listener,
        prepared: &mut Prepared,
    ) {
        let place = Place::of(config, listener);
        let taken = prepared
            .released
            .iter()
            .position(|open| open.place == place && place.port != 0);
        let others = self.entries.iter().filter(|(other, _)| *other != key);
        let others = others.filter_map(|(other, entry)| Some((other, entry.open.as_ref()?.place)));
        let bound = prepared
            .bound
            .iter()
            .map(|(other, place, _)| (other, *place));
        let same = |other: Place| other == place && place.port != 0;
        let rival = others.chain(bound).find(|(_, other)| same(*other));
        let rival = rival.map(|(other, _)| other.to_string());
        let beside_own = self.has_port(place, prepared);
        let entry = self.entries.entry(key.clone()).or_default();
        if entry.open.as_ref().is_some_and(|open| open.place == place) {
            entry.failure = None;
            return;
        }
        if let Some(rival) = rival {
            entry.failure = Some(format!("{place} is in use by {rival}"));
            return;
        }
        if let Some(position) = taken {
            let open = prepared.released.swap_remove(position);
            open.key.store(Arc::new(key.clone()));
            prepared.released.extend(entry.open.replace(open));
            entry.failure = None;
            return;
        }
        let in_the_way = |open: &mut Open| open.place.shares_port(place);
        release(self.closing.extract_if(.., in_the_way).collect());
        match place.bind(config.concurrency, beside_own) {
            Ok(sockets) => prepared.bound.push((key.clone(), place, sockets)),
            Err(error) => entry.failure = Some(format!("cannot bind {place}: {error}")),
        }
    }

    /// Whether the process has the port of a place already, at whatever address.
    fn has_port(&self, place: Place, prepared: &Prepared) -> bool {
        let open = self
            .entries
            .values()
            .filter_map(|entry| entry.open.as_ref());
        let open = open.chain(&prepared.released).map(|open| open.place);
        let bound = prepared.bound.iter().map(|(_, place, _)| *place);
        open.chain(bound).any(|other| other.shares_port(place))
    }

    /// Starts to accept on what [`prepare`](Self::prepare) bound, and closes what is superfluous,
    /// once the snapshot is published.
    pub(crate) fn commit(
        &mut self,
        mut prepared: Prepared,
        workers: &[Worker],
        telemetry: &Telemetry,
    ) {
        for (key, place, sockets) in prepared.bound {
            let (close, close_signal) = DrainSignal::new();
            let (drain, drain_signal) = DrainSignal::new();
            let mut open = Open {
                place,
                address: sockets.address,
                key: Arc::new(ArcSwap::from_pointee(key.clone())),
                close,
                drain,
                closed: Vec::new(),
            };
            let stats = telemetry.listener(sockets.address);
            for (worker, socket) in workers.iter().zip(sockets.each) {
                let (sender, closed) = oneshot::channel();
                open.closed.push(closed);
                worker.listen(Listen {
                    socket,
                    key: Arc::clone(&open.key),
                    stats: Arc::clone(&stats),
                    close: close_signal.clone(),
                    closed: sender,
                    drain: drain_signal.clone(),
                });
            }
            let entry = self.entries.entry(key).or_default();
            entry.failure = None;
            prepared.released.extend(entry.open.replace(open));
        }
        self.close(prepared.released);
    }

    /// Stops accepting everywhere and tells all connections to end.
    pub(crate) fn drain(&mut self) {
        let open = self.entries.values_mut();
        let all = open.filter_map(|entry| entry.open.take()).collect();
        self.close(all);
    }

    /// Closes sockets; their connections and sessions are served to their end, or to the end of
    /// their time.
    fn close(&mut self, sockets: Vec<Open>) {
        for open in &sockets {
            open.close.send_replace(true);
        }
        let udp = |open: &Open| open.place.transport == Transport::Udp;
        let (udp, tcp) = sockets.into_iter().partition(udp);
        release(tcp);
        self.closing.extend::<Vec<Open>>(udp);
    }

    /// Every listener and whether it is bound, in key order.
    pub(crate) fn states(&self) -> Vec<(ListenerKey, ListenerState, Option<SocketAddr>)> {
        let entries = self.entries.iter();
        entries
            .map(|(key, entry)| {
                let state = match &entry.failure {
                    Some(reason) => ListenerState::Failed(reason.clone()),
                    None => ListenerState::Bound,
                };
                let address = entry.open.as_ref().map(|open| open.address);
                (key.clone(), state, address)
            })
            .collect()
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.ip, self.transport) {
            (Some(ip), Transport::Tcp) => SocketAddr::new(ip, self.port).fmt(f),
            (Some(ip), Transport::Udp) => write!(f, "UDP {}", SocketAddr::new(ip, self.port)),
            (None, Transport::Tcp) => write!(f, "port {}", self.port),
            (None, Transport::Udp) => write!(f, "UDP port {}", self.port),
        }
    }
}

impl Place {
    fn of(config: &Config, listener: &Listener) -> Self {
        let mapped = config
            .port_map
            .iter()
            .find(|(from, _)| *from == listener.port);
        Self {
            transport: listener.transport,
            ip: match listener.address {
                BindAddress::Any => config.bind,
                BindAddress::Ip(ip) => Some(ip),
            },
            port: mapped.map_or(listener.port, |(_, to)| *to),
        }
    }

    /// Whether this is another address of the same port, or the same.
    fn shares_port(self, other: Self) -> bool {
        self.transport == other.transport && self.port == other.port && self.port != 0
    }

    fn bind(self, workers: usize, beside_own: bool) -> io::Result<Sockets> {
        match self.transport {
            Transport::Tcp => {
                let bound = listener::bind(self.ip, self.port, workers, beside_own)?;
                Ok(Sockets {
                    address: bound.address,
                    each: bound.each.into_iter().map(Socket::Tcp).collect(),
                })
            }
            Transport::Udp => {
                let bound = udp::bind(self.ip, self.port, workers, beside_own)?;
                Ok(Sockets {
                    address: bound.address,
                    each: bound.each.into_iter().map(Socket::Udp).collect(),
                })
            }
        }
    }
}

impl Open {
    /// Whether a worker still has its socket.
    fn is_open(&mut self) -> bool {
        let open = |closed: &mut oneshot::Receiver<()>| {
            closed.try_recv() == Err(oneshot::error::TryRecvError::Empty)
        };
        self.closed.retain_mut(open);
        !self.closed.is_empty()
    }
}

/// Ends what connections and sessions of closed sockets may still do beyond their end, and waits
/// until workers have closed them.
fn release(sockets: Vec<Open>) {
    for open in &sockets {
        open.close.send_replace(true);
        open.drain.send_replace(true);
    }
    let deadline = Instant::now() + CLOSE;
    for closed in sockets.into_iter().flat_map(|open| open.closed) {
        wait(closed, deadline);
    }
}

/// Waits for a worker without a runtime at hand.
fn wait(mut closed: oneshot::Receiver<()>, deadline: Instant) {
    while let Err(oneshot::error::TryRecvError::Empty) = closed.try_recv() {
        if Instant::now() >= deadline {
            tracing::warn!("a worker thread is slow to close a socket");
            return;
        }
        std::thread::park_timeout(Duration::from_millis(1));
    }
}
