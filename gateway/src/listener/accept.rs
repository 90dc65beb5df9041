//! Accepts connections on one socket of one worker, and outlives whatever happens there.

use super::{DrainSignal, serve};
use crate::{core::Core, telemetry::ListenerStats};
use arc_swap::ArcSwap;
use futures_util::FutureExt;
use gwanmun_ir::ListenerKey;
use std::{io, net::SocketAddr, panic::AssertUnwindSafe, sync::Arc, time::Duration};
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
pub(super) struct Fresh {
    pub(super) stream: TcpStream,
    pub(super) peer: SocketAddr,
    pub(super) permit: OwnedSemaphorePermit,
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
        tell(&acceptor, "the socket cannot be watched");
        return;
    };
    let mut connections = JoinSet::new();
    while restarted(accept_until(
        &acceptor,
        &listener,
        &mut close,
        &mut connections,
    ))
    .await
    {
        tell(&acceptor, "accepting panicked; it goes on");
        acceptor.stats.restarted();
        tokio::time::sleep(RESTART_PAUSE).await;
    }
    accept_backlog(&acceptor, listener, &mut connections).await;
    let _ = closed.send(());
    let mut drain = acceptor.drain.clone();
    drain.wait().await;
    let rest = async { while connections.join_next().await.is_some() {} };
    // What is still there after that is cut off when the set is dropped.
    let _ = tokio::time::timeout(acceptor.core.config.drain, rest).await;
}

/// Logs what is wrong with a socket.
fn tell(acceptor: &Acceptor, problem: &str) {
    tracing::error!(listener = %acceptor.key.load(), "{problem}");
}

/// Runs `work` to its end; whether it panicked and is to be started again.
async fn restarted(work: impl Future<Output = ()>) -> bool {
    AssertUnwindSafe(work).catch_unwind().await.is_err()
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
                tell(acceptor, &format!("cannot accept: {error}"));
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
    connections.spawn(serve::serve(Arc::clone(acceptor), fresh));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn accepting_that_panicked_is_started_again_and_one_that_ended_is_not() {
        let mut rounds = 0;
        while restarted(async {
            rounds += 1;
            assert!(rounds > 2, "the worst");
        })
        .await
        {}
        assert_eq!(rounds, 3);
    }
}
