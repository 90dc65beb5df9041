//! One connection that carries bytes, from its rule to its end.

use super::{
    Accepted,
    copy::{self, Over},
    record::Record,
};
use crate::{
    cluster::{
        Cluster, ConnectFailure, ProxiedAddresses, TcpError, TcpFailure, TcpRequest, TcpUpstream,
    },
    compile::Destination,
    core::Core,
    listener::{Io, Mode},
    route::l4::CompiledL4Route,
    telemetry::Flag,
};
use gwanmun_ir::Failure;
use socket2::{SockRef, TcpKeepalive};
use std::{sync::Arc, time::Duration};
use tokio::net::TcpStream;

/// How long a client may be silent before it is asked whether it is there, where nothing else
/// tells.
const PROBED_AFTER: Duration = Duration::from_secs(120);

/// Serves one connection until it ends.
///
/// Nothing is sent to a backend before the rule is known, and nothing is read from the client
/// meanwhile; a server that speaks first is heard as soon as it is connected.
pub(crate) async fn serve(core: Arc<Core>, io: Io, accepted: Accepted) {
    // What it was chosen from is not held for the connection's life.
    let (mut record, route) = {
        let route = accepted.group.pick(accepted.sni.as_deref()).cloned();
        let passthrough = accepted.group.mode == Mode::Passthrough;
        let record = Record::new(Arc::clone(&core), accepted);
        match route {
            Some(route) => (record, (route, passthrough)),
            None => return refuse_unrouted(&io, record),
        }
    };
    let (route, passthrough) = route;
    record.routed(&route);
    let connected = connect(&route, &mut record).await;
    let Some(upstream) = connected else {
        // What the client sent is lost if it was read already, and it is told so.
        if passthrough {
            reset(io.tcp());
        }
        return;
    };
    let idle_timeout = route.idle_timeout;
    drop(route);
    if idle_timeout.is_none() {
        // No clock runs: only this tells of a client that is gone without a word. A socket that
        // cannot do it is served without.
        let probing = TcpKeepalive::new().with_time(PROBED_AFTER);
        let _ = SockRef::from(io.tcp()).set_tcp_keepalive(&probing);
    }
    relay(&core, io, upstream, idle_timeout, record).await;
}

/// Ends a connection for which there is no rule.
fn refuse_unrouted(io: &Io, mut record: Record) {
    reset(io.tcp());
    record.unrouted();
}

/// Connects to an endpoint of one of the rule's targets. Nothing when that came to nothing, which
/// is on record then.
async fn connect(route: &CompiledL4Route, record: &mut Record) -> Option<TcpUpstream> {
    let cluster = match route.destination(fastrand::u64(..)) {
        Some(Destination::Cluster(cluster)) => cluster,
        Some(Destination::Fail(Failure::ClusterNotFound, _)) => {
            record.failed(&[Flag::Nc], Some("cluster_not_found"));
            return None;
        }
        Some(Destination::Fail(Failure::InvalidBackend, _)) | None => {
            record.failed(&[], Some("invalid_backend"));
            return None;
        }
    };
    record.chosen(cluster);
    let request = TcpRequest {
        addresses: ProxiedAddresses {
            client: record.peer(),
            local: record.local(),
        },
        attempts: route.connect_attempts,
    };
    match Cluster::connect_tcp(cluster, &request).await {
        Ok(upstream) => Some(upstream),
        Err(error) => {
            unreachable_upstream(error, record);
            None
        }
    }
}

fn unreachable_upstream(error: TcpError, record: &mut Record) {
    record.tried(error.endpoint);
    match error.reason {
        TcpFailure::NoHealthy(_) => record.failed(&[Flag::Uh], None),
        TcpFailure::Connect(error) if error.failure == ConnectFailure::Overflow => {
            record.failed(&[Flag::Uo], None);
        }
        TcpFailure::Connect(error) => {
            record.transport_failure(error.transport);
            record.failed(&[Flag::Uf, Flag::Urx], None);
        }
    }
}

/// Copies both ways until both sides have ended, one is gone, or nobody has said anything for too
/// long.
async fn relay(
    core: &Core,
    mut io: Io,
    upstream: TcpUpstream,
    idle_timeout: Option<Duration>,
    mut record: Record,
) {
    let TcpUpstream {
        io: mut up,
        local,
        endpoint,
        guard,
    } = upstream;
    record.connected(endpoint, local);
    let ended = copy::both(core, (&mut io, &mut up), idle_timeout, |received, sent| {
        record.count(received, sent);
    });
    match ended.await {
        Over::Ended => {}
        Over::Idle => {
            record.idle();
            copy::farewell(&mut io).await;
            copy::farewell(&mut up).await;
        }
        Over::ClientGone => reset(up.tcp()),
        Over::UpstreamGone => {
            record.failed(&[Flag::Ur], None);
            reset(io.tcp());
        }
    }
    // The line is written when the sockets are closed.
    drop((io, up, guard));
    drop(record);
}

/// Has the socket closed by a reset: there is nobody to talk to.
fn reset(stream: &TcpStream) {
    // Fails on a socket that is gone already.
    let _ = SockRef::from(stream).set_linger(Some(Duration::ZERO));
}
