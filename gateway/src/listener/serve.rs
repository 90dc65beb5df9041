//! From an accepted connection to what serves it: PROXY header, TLS or not, which filter chain.

use super::{
    Acceptor, ChainGroup, ConnectionInfo, HttpVersion, Io, ListenerTable, Mode,
    accept::Fresh,
    handshake::{self, Rejected},
    hello::{self, Hello, HelloError},
    proxy_header, sniff,
};
use crate::{
    engine, l4,
    telemetry::{Exchange, Flag, ListenerStats},
};
use bytes::BytesMut;
use gwanmun_ir::Alpn;
use socket2::SockRef;
use std::{
    io,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};
use tokio::net::TcpStream;

/// Numbers connections.
static NEXT_ID: AtomicU64 = AtomicU64::new(1);

/// Counts a connection until it is dropped.
struct Counted(Arc<ListenerStats>);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.closed();
    }
}

/// A connection that is about to be served.
enum Begun {
    /// It carries HTTP.
    Http(Io, ConnectionInfo),
    /// It carries bytes.
    Bytes(Io, l4::Accepted),
}

/// Serves a connection to its end.
pub(super) async fn serve(acceptor: Arc<Acceptor>, fresh: Fresh) {
    acceptor.stats.opened();
    let _counted = Counted(Arc::clone(&acceptor.stats));
    let _permit = fresh.permit;
    let (core, peer) = (Arc::clone(&acceptor.core), fresh.peer);
    // Boxed: what a handshake needs is not kept for the connection's life.
    match Box::pin(begin(acceptor, fresh.stream, peer)).await {
        Some(Begun::Http(io, info)) => engine::serve_connection(core, io, info).await,
        // Boxed too: connections that carry HTTP have no room for what the others need.
        Some(Begun::Bytes(io, accepted)) => Box::pin(l4::tcp::serve(core, io, accepted)).await,
        None => {}
    }
}

/// A connection of which nothing but its ends is known.
struct Opening {
    acceptor: Arc<Acceptor>,
    table: Arc<ListenerTable>,
    start: Instant,
    peer: SocketAddr,
    local: SocketAddr,
}

/// Reads what comes before the client's own bytes, and enough of those to know what to do.
/// Nothing when the connection came to nothing.
async fn begin(acceptor: Arc<Acceptor>, stream: TcpStream, peer: SocketAddr) -> Option<Begun> {
    let start = Instant::now();
    let snapshot = acceptor.core.snapshot.load();
    let table = snapshot.listener(&acceptor.key.load())?.clone();
    drop(snapshot);
    let mut opening = Opening {
        peer: canonical(peer),
        local: canonical(stream.local_addr().ok()?),
        acceptor,
        table,
        start,
    };
    stream.set_nodelay(true).ok()?;
    opening.hear_proxy(&stream).await?;
    if opening.speaks_tls(&stream).await? {
        opening.begin_tls(stream).await
    } else {
        opening.begin_plaintext(stream).await
    }
}

impl Opening {
    /// The longest time that reading a header or a handshake may take.
    fn patience(&self) -> Duration {
        self.acceptor.core.config.limits.handshake_timeout
    }

    /// Takes the word of a trusted proxy on who is connected. Nothing when it does not give it.
    async fn hear_proxy(&mut self, stream: &TcpStream) -> Option<()> {
        let Some(settings) = &self.table.proxy_protocol else {
            return Some(());
        };
        let trusted = &settings.trusted;
        let ip = self.peer.ip();
        if !trusted.is_empty() && !trusted.iter().any(|net| net.contains(&ip)) {
            return Some(());
        }
        let reading = tokio::time::timeout(self.patience(), proxy_header::read(stream)).await;
        match reading.unwrap_or_else(|_elapsed| Err(io::ErrorKind::TimedOut.into())) {
            Ok(Some((client, local))) => (self.peer, self.local) = (client, local),
            Ok(None) => {}
            Err(error) => {
                self.acceptor.stats.proxy_header_refused();
                tracing::debug!(peer = %self.peer, %error, "no valid PROXY header");
                return None;
            }
        }
        Some(())
    }

    /// Whether the connection is to be treated as TLS; nothing when it ended before that was
    /// clear. Not a byte is waited for where there is no doubt: the server may speak first.
    async fn speaks_tls(&self, stream: &TcpStream) -> Option<bool> {
        let table = &self.table;
        let others = table.raw.is_some() || !table.plaintext.is_empty();
        match (table.tls.is_empty(), others) {
            (true, _) => Some(false),
            (false, false) => Some(true),
            (false, true) => {
                match tokio::time::timeout(self.patience(), sniff::is_tls(stream)).await {
                    Ok(sniffed) => sniffed.ok(),
                    // A silent client may be waiting for the server.
                    Err(_elapsed) => table.raw.is_some().then_some(false),
                }
            }
        }
    }

    async fn begin_tls(self, stream: TcpStream) -> Option<Begun> {
        let limit = self.patience();
        match tokio::time::timeout(limit, self.chosen(stream)).await {
            Ok(Ok(begun)) => Some(begun),
            Ok(Err(rejected)) => {
                self.record(&rejected);
                None
            }
            Err(_elapsed) => {
                self.record(&Rejected::Handshake {
                    sni: None,
                    error: "the handshake took too long".to_owned(),
                });
                None
            }
        }
    }

    /// Reads the ClientHello and does what the chain of its server name says.
    async fn chosen(&self, stream: TcpStream) -> Result<Begun, Rejected> {
        let hello = match hello::read(&stream).await {
            Ok(hello) => hello,
            Err(error) => self.explained(error)?,
        };
        let group = self.table.group_for_sni(hello.sni.as_deref());
        let Some(group) = group.filter(|group| group.is_usable()) else {
            // Reset instead of a polite end: there is nobody here to talk to.
            let _ = SockRef::from(&stream).set_linger(Some(Duration::ZERO));
            return Err(Rejected::NoChain { sni: hello.sni });
        };
        if group.mode == Mode::Passthrough {
            let accepted = self.accepted(Arc::clone(group), hello.sni);
            return Ok(Begun::Bytes(Io::plain(stream, hello.bytes), accepted));
        }
        let finished = handshake::perform(stream, hello, group).await?;
        self.acceptor.stats.handshake(true);
        let (io, sni) = (Io::tls(finished.stream), finished.info.sni.clone());
        if finished.group.mode == Mode::Bytes {
            return Ok(Begun::Bytes(io, self.accepted(finished.group, sni)));
        }
        let mut info = self.info();
        if finished.info.alpn == Some(Alpn::H2) {
            info.protocol = HttpVersion::Http2;
        }
        info.group = Some(finished.group);
        info.tls = Some(finished.info);
        Ok(Begun::Http(io, info))
    }

    /// What a failed ClientHello means: one that is malformed is shown to the library, which tells
    /// the client, where TLS without a server name would be terminated.
    fn explained(&self, error: HelloError) -> Result<Hello, Rejected> {
        let nameless = self.table.group_for_sni(None);
        let terminates = nameless.is_some_and(|group| group.tls.is_some());
        match error {
            HelloError::Malformed(_, bytes) if terminates => Ok(Hello { bytes, sni: None }),
            HelloError::NotTls | HelloError::Malformed(..) if !terminates => {
                Err(Rejected::NoChain { sni: None })
            }
            HelloError::NotTls
            | HelloError::Malformed(..)
            | HelloError::TooLong
            | HelloError::Io(_) => Err(Rejected::Handshake {
                sni: None,
                error: error.to_string(),
            }),
        }
    }

    async fn begin_plaintext(self, stream: TcpStream) -> Option<Begun> {
        if let Some(raw) = &self.table.raw {
            let accepted = self.accepted(Arc::clone(raw), None);
            return Some(Begun::Bytes(Io::plain(stream, BytesMut::new()), accepted));
        }
        if self.table.plaintext.is_empty() {
            return None;
        }
        // A client that connected before the end began is still served.
        let waiting = sniff::http_version(&stream);
        let limit = self.acceptor.core.config.limits.header_timeout;
        let waited = tokio::select! {
            biased;
            sniffed = tokio::time::timeout(limit, waiting) => sniffed.ok()?,
            () = self.idle_after() => return None,
        };
        let (protocol, ahead) = waited.ok()?;
        let mut info = self.info();
        info.protocol = protocol;
        Some(Begun::Http(Io::plain(stream, ahead), info))
    }

    /// Waits until a connection that says nothing may be closed: a moment after its listener goes
    /// away, because what it says may be on its way.
    async fn idle_after(&self) {
        self.acceptor.drain.clone().wait().await;
        tokio::time::sleep(Duration::from_secs(1)).await;
    }

    fn info(&self) -> ConnectionInfo {
        ConnectionInfo {
            table: Arc::clone(&self.table),
            group: None,
            peer: self.peer,
            local: self.local,
            tls: None,
            id: NEXT_ID.fetch_add(1, Ordering::Relaxed),
            protocol: HttpVersion::Http1,
            drain: self.acceptor.drain.clone(),
            stats: Arc::clone(&self.acceptor.stats),
        }
    }

    fn accepted(&self, group: Arc<ChainGroup>, sni: Option<Arc<str>>) -> l4::Accepted {
        l4::Accepted {
            group,
            peer: self.peer,
            local: self.local,
            sni,
            start: self.start,
            stats: Arc::clone(&self.acceptor.stats),
        }
    }

    /// Counts a connection that came to nothing. As Istio configures Envoy, only those without a
    /// filter chain are in the access log.
    fn record(&self, rejected: &Rejected) {
        let stats = &self.acceptor.stats;
        match rejected {
            Rejected::NoChain { sni } => {
                stats.no_filter_chain();
                let mut exchange = Exchange::new(self.start, self.local, self.peer);
                exchange.end = Instant::now();
                exchange.listener = Some(stats);
                exchange.flags.set(Flag::Nr);
                exchange.details = Some("filter_chain_not_found");
                exchange.sni = sni.as_deref();
                self.acceptor.core.telemetry.record(&exchange);
            }
            Rejected::Handshake { sni, error } => {
                stats.handshake(false);
                let sni = sni.as_deref().unwrap_or("-");
                tracing::debug!(peer = %self.peer, sni, error, "TLS handshake failed");
            }
        }
    }
}

/// An IPv4 client of a dual-stack socket has an IPv4 address.
fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}
