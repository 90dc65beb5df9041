//! Serves connections: attempts, retries, streaming.
//!
//! A connection is one task; an HTTP/2 stream is one more. Upstream connections are driven in the
//! task of the client they serve, except HTTP/2 ones, which have a task of their own. A request is
//! a [`flow::Flow`]: gate and route in [`request`], transformations in [`proxy`], tries in [`attempt`],
//! bytes in [`pump`], and whatever becomes of it in [`record`].

mod affinity;
mod attempt;
mod buffer;
mod deadline;
mod down;
mod down_h1;
mod down_h2;
mod fault;
mod flow;
mod h2_out;
mod inbox;
mod linger;
mod outbox;
mod pool;
mod proxy;
mod pump;
mod record;
mod replay;
mod request;
mod resets;
mod retry;
mod serve_h1;
mod serve_h2;
mod timer;
mod up;
mod up_h1;
mod up_h2;
mod upgrade;

pub(crate) use buffer::Buffers;
pub(crate) use pool::Pool;
pub(crate) use resets::Resets;
pub(crate) use timer::Timer;

use crate::{
    cluster::ProxiedAddresses,
    core::Core,
    http::forward::Client,
    listener::{Admission, Admitted, ChainTable, ConnectionInfo, HttpVersion, Io, ListenerTable},
};
use std::sync::Arc;

/// What a listener serves at one moment, as long as a connection needs it.
///
/// Counting references to a table that all workers share would have them wait for each other:
/// a connection counts once per change of configuration, not once per request.
pub(crate) struct Held {
    epoch: u64,
    /// The table.
    pub(crate) table: Arc<ListenerTable>,
}

impl Held {
    /// What is served now. A listener that was removed serves what it served last.
    pub(crate) fn now(core: &Core, info: &ConnectionInfo) -> Self {
        let snapshot = core.snapshot.load();
        let table = snapshot.listener(&info.table.key).unwrap_or(&info.table);
        Self {
            epoch: snapshot.epoch,
            table: Arc::clone(table),
        }
    }

    /// Whether this is what is served now.
    pub(crate) fn is_current(&self, core: &Core) -> bool {
        self.epoch == core.snapshot.load().epoch
    }
}

/// What the requests of one connection share.
pub(crate) struct Served {
    /// The connection.
    pub(crate) info: ConnectionInfo,
    /// What upstreams are told about it.
    pub(crate) client: Client,
    /// What its client fulfils.
    pub(crate) admitted: Admitted,
}

impl Served {
    /// Whether its client fulfils what a chain asks now. If not, the connection is to end.
    fn fulfils(&self, chain: &ChainTable) -> bool {
        let tls = self.info.tls.as_ref();
        self.admitted.fulfils(&chain.admission, tls)
    }

    /// The ends of the connection.
    pub(crate) fn addresses(&self) -> ProxiedAddresses {
        ProxiedAddresses {
            client: self.info.peer,
            local: self.info.local,
        }
    }
}

/// Serves one accepted connection until it ends.
///
/// Run it as a task on the worker's own runtime. It returns when the connection is closed; a panic
/// in it costs this connection only.
pub(crate) async fn serve_connection(core: Arc<Core>, io: Io, info: ConnectionInfo) {
    let protocol = info.protocol;
    let certificate = info.tls.as_ref().and_then(|tls| tls.client.clone());
    let client = Client::new(info.peer.ip(), info.tls.is_some()).with_certificate(certificate);
    let group = info.group.as_ref();
    let admission = group.map_or_else(Admission::open, |group| group.admission());
    let conn = Served {
        info,
        client,
        admitted: Admitted::new(admission),
    };
    // Boxed: neither kind of connection has room for what the other needs.
    match protocol {
        HttpVersion::Http1 => Box::pin(serve_h1::serve(core, io, conn)).await,
        HttpVersion::Http2 => Box::pin(serve_h2::serve(core, io, conn)).await,
    }
}
