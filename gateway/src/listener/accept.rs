//! Accepts connections on one socket of one worker, and outlives whatever happens there.

use super::{
    ConnectionInfo, DrainSignal, HttpVersion, Io, ListenerTable,
    handshake::{self, Rejected},
    sniff,
};
use crate::{
    core::Core,
    engine,
    telemetry::{Exchange, Flag, ListenerStats},
};
use arc_swap::ArcSwap;
use futures_util::FutureExt;
use gwanmun_ir::{Alpn, ListenerKey};
use std::{
    io,
    net::SocketAddr,
    panic::AssertUnwindSafe,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore, oneshot},
    task::JoinSet,
};

/// First pause when there are no file descriptors left; doubled while it lasts.
const FIRST_PAUSE: Duration = Duration::from_millis(5);
/// Longest such pause.
const LONGEST_PAUSE: Duration = Duration::from_secs(1);
/// Pause after a panic of the accept loop.
const RESTART_PAUSE: Duration = Duration::from_millis(100);

/// Numbers connections.
static NEXT_ID: AtomicU64 = AtomicU64::new(1);

/// What every connection of one socket needs.
pub(crate) struct Acceptor {
    /// The worker's.
    pub(crate) core: Arc<Core>,
    /// Which listener it is; another one when a delta gives the same address another key.
    pub(crate) key: Arc<ArcSwap<ListenerKey>>,
    /// Room for connections in the whole process.
    pub(crate) room: Arc<Semaphore>,
    /// Raised when its connections must end.
    pub(crate) drain: DrainSignal,
    /// Counters.
    pub(crate) stats: Arc<ListenerStats>,
}

/// A connection just accepted.
struct Fresh {
    stream: TcpStream,
    peer: SocketAddr,
    permit: OwnedSemaphorePermit,
}

/// Accepts and serves until `close` is raised, serves what was connected until then, and returns
/// when the last connection has ended or their time is up.
///
/// `closed` learns when the socket is closed.
pub(crate) async fn run(
    acceptor: Arc<Acceptor>,
    listener: std::net::TcpListener,
    mut close: DrainSignal,
    closed: oneshot::Sender<()>,
) {
    let Ok(listener) = TcpListener::from_std(listener) else {
        tracing::error!(listener = %acceptor.key.load(), "the socket cannot be watched");
        return;
    };
    let mut connections = JoinSet::new();
    loop {
        let serving = accept_until(&acceptor, &listener, &mut close, &mut connections);
        match AssertUnwindSafe(serving).catch_unwind().await {
            Ok(()) => break,
            Err(_) => {
                tracing::error!(listener = %acceptor.key.load(), "accepting panicked; it goes on");
                tokio::time::sleep(RESTART_PAUSE).await;
            }
        }
    }
    accept_backlog(&acceptor, listener, &mut connections).await;
    let _ = closed.send(());
    let mut drain = acceptor.drain.clone();
    drain.wait().await;
    let rest = async { while connections.join_next().await.is_some() {} };
    // What is still there after that is cut off when the set is dropped.
    let _ = tokio::time::timeout(acceptor.core.config.drain, rest).await;
}

async fn accept_until(
    acceptor: &Arc<Acceptor>,
    listener: &TcpListener,
    close: &mut DrainSignal,
    connections: &mut JoinSet<()>,
) {
    let mut pause = FIRST_PAUSE;
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            Some(ended) = connections.join_next(), if !connections.is_empty() => {
                report(acceptor, ended);
                continue;
            }
            () = close.wait() => return,
        };
        match accepted {
            Ok((stream, peer)) => {
                pause = FIRST_PAUSE;
                tokio::select! {
                    permit = Arc::clone(&acceptor.room).acquire_owned() => {
                        let Ok(permit) = permit else { return };
                        spawn(acceptor, Fresh { stream, peer, permit }, connections);
                    }
                    () = close.wait() => return,
                }
            }
            Err(error) if is_about_one_connection(&error) => {}
            Err(error) => {
                tracing::warn!(listener = %acceptor.key.load(), %error, "cannot accept");
                tokio::select! {
                    () = tokio::time::sleep(pause) => {}
                    () = close.wait() => return,
                }
                pause = (pause * 2).min(LONGEST_PAUSE);
            }
        }
    }
}

/// Takes the connections that the kernel has established already: closing the socket would
/// reset them.
async fn accept_backlog(
    acceptor: &Arc<Acceptor>,
    listener: TcpListener,
    connections: &mut JoinSet<()>,
) {
    let Ok(listener) = listener.into_std() else {
        return;
    };
    loop {
        let (stream, peer) = match listener.accept() {
            Ok(accepted) => accepted,
            Err(error) if is_about_one_connection(&error) => continue,
            Err(_) => return,
        };
        let stream = stream
            .set_nonblocking(true)
            .and_then(|()| TcpStream::from_std(stream));
        let (Ok(stream), Ok(permit)) = (stream, Arc::clone(&acceptor.room).try_acquire_owned())
        else {
            acceptor.stats.overflowed();
            continue;
        };
        let fresh = Fresh {
            stream,
            peer,
            permit,
        };
        spawn(acceptor, fresh, connections);
    }
}

/// Whether the next connection may fare better at once.
fn is_about_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionReset, Interrupted, PermissionDenied};
    matches!(
        error.kind(),
        ConnectionAborted | ConnectionReset | Interrupted | PermissionDenied
    )
}

fn report(acceptor: &Acceptor, ended: Result<(), tokio::task::JoinError>) {
    if let Err(error) = ended
        && error.is_panic()
    {
        tracing::error!(listener = %acceptor.key.load(), %error, "serving a connection panicked");
    }
}

fn spawn(acceptor: &Arc<Acceptor>, fresh: Fresh, connections: &mut JoinSet<()>) {
    connections.spawn(serve(Arc::clone(acceptor), fresh));
}

/// Counts a connection until it is dropped.
struct Counted(Arc<ListenerStats>);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.closed();
    }
}

async fn serve(acceptor: Arc<Acceptor>, fresh: Fresh) {
    acceptor.stats.opened();
    let _counted = Counted(Arc::clone(&acceptor.stats));
    let _permit = fresh.permit;
    let (core, peer) = (Arc::clone(&acceptor.core), fresh.peer);
    // Boxed: what a handshake needs is not kept for the connection's life.
    let started = Box::pin(begin(acceptor, fresh.stream, peer)).await;
    if let Some((io, info)) = started {
        engine::serve_connection(core, io, info).await;
    }
}

/// Sniffs or shakes hands. Nothing when the connection came to nothing.
async fn begin(
    acceptor: Arc<Acceptor>,
    stream: TcpStream,
    peer: SocketAddr,
) -> Option<(Io, ConnectionInfo)> {
    let start = Instant::now();
    let core = &acceptor.core;
    let table = core.snapshot.load().listener(&acceptor.key.load())?.clone();
    let local = canonical(stream.local_addr().ok()?);
    stream.set_nodelay(true).ok()?;
    let limits = core.config.limits;
    let mut drain = acceptor.drain.clone();
    let mut info = ConnectionInfo {
        table: Arc::clone(&table),
        group: None,
        peer: canonical(peer),
        local,
        tls: None,
        id: NEXT_ID.fetch_add(1, Ordering::Relaxed),
        protocol: HttpVersion::Http1,
        drain: acceptor.drain.clone(),
        stats: Arc::clone(&acceptor.stats),
    };
    if speaks_tls(&stream, &table, limits.handshake_timeout).await? {
        let performed = handshake::perform(stream, &table);
        let outcome = tokio::time::timeout(limits.handshake_timeout, performed).await;
        let outcome = outcome.unwrap_or_else(|_elapsed| {
            Err(Rejected::Handshake {
                sni: None,
                error: "the handshake took too long".to_owned(),
            })
        });
        match outcome {
            Ok(finished) => {
                acceptor.stats.handshake(true);
                if finished.info.alpn == Some(Alpn::H2) {
                    info.protocol = HttpVersion::Http2;
                }
                info.group = Some(finished.group);
                info.tls = Some(finished.info);
                Some((Io::tls(finished.stream), info))
            }
            Err(rejected) => {
                record(&acceptor, &info, start, &rejected);
                None
            }
        }
    } else if table.plaintext.is_empty() {
        None
    } else {
        // A client that connected before the end began is still served.
        let waiting = sniff::http_version(&stream);
        let waited = tokio::select! {
            biased;
            sniffed = tokio::time::timeout(limits.header_timeout, waiting) => sniffed.ok()?,
            () = idle_after(&mut drain) => return None,
        };
        let (protocol, ahead) = waited.ok()?;
        info.protocol = protocol;
        Some((Io::plain(stream, ahead), info))
    }
}

/// Waits until a connection that says nothing may be closed: a moment after its listener goes
/// away, because what it says may be on its way.
async fn idle_after(drain: &mut DrainSignal) {
    drain.wait().await;
    tokio::time::sleep(Duration::from_secs(1)).await;
}

/// Whether the connection is to be treated as TLS; nothing when it ended before that was clear.
async fn speaks_tls(stream: &TcpStream, table: &ListenerTable, longest: Duration) -> Option<bool> {
    match (table.tls.is_empty(), table.plaintext.is_empty()) {
        (true, _) => Some(false),
        (false, true) => Some(true),
        (false, false) => {
            let sniffed = tokio::time::timeout(longest, sniff::is_tls(stream)).await;
            sniffed.ok()?.ok()
        }
    }
}

/// An IPv4 client of a dual-stack socket has an IPv4 address.
fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

/// Counts a connection that came to nothing. As Istio configures Envoy, only those without a
/// filter chain are in the access log.
fn record(acceptor: &Acceptor, info: &ConnectionInfo, start: Instant, rejected: &Rejected) {
    match rejected {
        Rejected::NoChain { sni } => {
            acceptor.stats.no_filter_chain();
            let mut exchange = Exchange::new(start, info.local, info.peer);
            exchange.end = Instant::now();
            exchange.listener = Some(&acceptor.stats);
            exchange.flags.set(Flag::Nr);
            exchange.details = Some("filter_chain_not_found");
            exchange.sni = sni.as_deref();
            acceptor.core.telemetry.record(&exchange);
        }
        Rejected::Handshake { sni, error } => {
            acceptor.stats.handshake(false);
            let sni = sni.as_deref().unwrap_or("-");
            tracing::debug!(peer = %info.peer, sni, error, "TLS handshake failed");
        }
    }
}
