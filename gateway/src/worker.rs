//! Worker threads: each runs one event loop with its own sockets, pools and counters.

use crate::{
    Config, StartError,
    core::Core,
    l4::udp,
    listener::{Acceptor, DrainSignal, run},
    snapshot::SnapshotHandle,
    telemetry::{ListenerStats, Telemetry},
};
use arc_swap::ArcSwap;
use gwanmun_ir::ListenerKey;
use std::{
    panic::{self, AssertUnwindSafe},
    sync::Arc,
    thread::JoinHandle,
    time::Duration,
};
use tokio::{
    runtime,
    sync::{Semaphore, mpsc, oneshot},
};

/// Time between two rounds of housekeeping.
const SWEEP: Duration = Duration::from_secs(1);

/// A worker thread. Stops, cutting its connections off, when dropped.
pub(crate) struct Worker {
    orders: Option<mpsc::UnboundedSender<Listen>>,
    thread: Option<JoinHandle<()>>,
}

/// What all workers share.
pub(crate) struct Shared {
    pub(crate) config: Arc<Config>,
    pub(crate) snapshot: Arc<SnapshotHandle>,
    pub(crate) telemetry: Arc<Telemetry>,
    /// Room for connections in the whole process.
    pub(crate) room: Arc<Semaphore>,
    /// How many UDP sessions there may be.
    pub(crate) udp: Arc<udp::Caps>,
}

/// One worker's share of a listener.
#[derive(Debug)]
pub(crate) enum Socket {
    /// It accepts connections.
    Tcp(std::net::TcpListener),
    /// It takes datagrams.
    Udp(std::net::UdpSocket),
}

/// The order to accept connections, or to take datagrams, on a socket.
pub(crate) struct Listen {
    pub(crate) socket: Socket,
    pub(crate) key: Arc<ArcSwap<ListenerKey>>,
    pub(crate) stats: Arc<ListenerStats>,
    /// Raised to stop accepting, or beginning sessions.
    pub(crate) close: DrainSignal,
    /// Learns that the socket is closed.
    pub(crate) closed: oneshot::Sender<()>,
    /// Raised to end connections, or sessions at once.
    pub(crate) drain: DrainSignal,
}

impl Worker {
    /// Spawns a worker.
    ///
    /// # Errors
    ///
    /// [`StartError::Thread`] when the thread or its event loop cannot be made.
    pub(crate) fn spawn(index: usize, shared: &Shared) -> Result<Self, StartError> {
        let runtime = runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(StartError::Thread)?;
        let core = Arc::new(Core::new(
            Arc::clone(&shared.config),
            Arc::clone(&shared.snapshot),
            shared.telemetry.shard(),
        ));
        let room = (Arc::clone(&shared.room), Arc::clone(&shared.udp));
        let (orders, incoming) = mpsc::unbounded_channel();
        let thread = std::thread::Builder::new()
            .name(format!("gwanmun-worker-{index}"))
            .spawn(move || runtime.block_on(work(core, room, incoming)))
            .map_err(StartError::Thread)?;
        Ok(Self {
            orders: Some(orders),
            thread: Some(thread),
        })
    }

    /// Gives an order.
    pub(crate) fn listen(&self, listen: Listen) {
        if let Some(orders) = &self.orders
            && orders.send(listen).is_err()
        {
            tracing::error!("a worker thread is gone; its share of connections is refused");
        }
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        drop(self.orders.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

async fn work(
    core: Arc<Core>,
    (room, caps): (Arc<Semaphore>, Arc<udp::Caps>),
    mut orders: mpsc::UnboundedReceiver<Listen>,
) {
    let mut sweep = tokio::time::interval(SWEEP);
    sweep.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            order = orders.recv() => {
                let Some(order) = order else { return };
                listen(&core, (&room, &caps), order);
            }
            _ = sweep.tick() => {
                if panic::catch_unwind(AssertUnwindSafe(|| core.sweep())).is_err() {
                    tracing::error!("housekeeping panicked; it goes on");
                }
            }
        }
    }
}

/// Serves a socket from here on.
fn listen(core: &Arc<Core>, (room, caps): (&Arc<Semaphore>, &Arc<udp::Caps>), order: Listen) {
    match order.socket {
        Socket::Tcp(socket) => {
            let acceptor = Arc::new(Acceptor {
                core: Arc::clone(core),
                key: order.key,
                room: Arc::clone(room),
                drain: order.drain,
                stats: order.stats,
            });
            tokio::spawn(run(acceptor, socket, order.close, order.closed));
        }
        Socket::Udp(socket) => {
            let start = udp::Start {
                core: Arc::clone(core),
                key: order.key,
                stats: order.stats,
                room: Arc::clone(room),
                caps: Arc::clone(caps),
                closing: order.close,
            };
            tokio::spawn(udp::run(start, socket, order.drain, order.closed));
        }
    }
}
