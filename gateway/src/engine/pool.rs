//! Connections to upstreams that wait for their next request. One pool per core.
//!
//! HTTP/1 connections are used last in, first out, so that the idle ones age and the sweeper
//! closes them. HTTP/2 connections are shared by all requests of the core; while one is being
//! made, others wait for it instead of making their own.

use super::{
    fault::Fault,
    up_h2::{self, H2Lease, H2Shared, Made},
};
use crate::{
    cluster::{
        Cluster, ConnectError, ConnectFailure, Connection, Endpoint, Guard, Protocol,
        ProxiedAddresses, Resource, UpstreamIo,
    },
    snapshot::Snapshot,
};
use foldhash::fast::RandomState;
use hashbrown::{Equivalent, HashMap};
use parking_lot::Mutex;
use std::{
    hash::{Hash, Hasher},
    net::SocketAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Waker},
    time::{Duration, Instant},
};
use tokio::{
    io::{AsyncRead, ReadBuf},
    sync::oneshot,
};

/// Unused HTTP/1 connections kept per endpoint.
const KEPT: usize = 1024;
/// Requests that may wait for one HTTP/2 connection to be made.
const WAITING: usize = 4096;
/// How often a request that waits for a connection slot looks whether another core gave one up.
const LOOK_AGAIN: Duration = Duration::from_millis(5);

/// Which connections may serve a request.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub(crate) struct Key {
    cluster: u64,
    generation: u64,
    address: SocketAddr,
    protocol: Protocol,
    partition: Box<str>,
    proxied: Option<Box<ProxiedAddresses>>,
}

/// A [`Key`] that borrows.
struct KeyRef<'a> {
    cluster: u64,
    generation: u64,
    address: SocketAddr,
    protocol: Protocol,
    partition: &'a str,
    proxied: Option<ProxiedAddresses>,
}

impl Hash for KeyRef<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        // Field by field as the derived implementation of `Key`.
        self.cluster.hash(state);
        self.generation.hash(state);
        self.address.hash(state);
        self.protocol.hash(state);
        self.partition.hash(state);
        self.proxied.hash(state);
    }
}

impl Equivalent<Key> for KeyRef<'_> {
    fn equivalent(&self, key: &Key) -> bool {
        self.cluster == key.cluster
            && self.address == key.address
            && self.protocol == key.protocol
            && self.generation == key.generation
            && *self.partition == *key.partition
            && self.proxied.as_ref() == key.proxied.as_deref()
    }
}

impl KeyRef<'_> {
    fn to_key(&self) -> Key {
        Key {
            cluster: self.cluster,
            generation: self.generation,
            address: self.address,
            protocol: self.protocol,
            partition: self.partition.into(),
            proxied: self.proxied.map(Box::new),
        }
    }
}

/// A connection that is wanted.
#[derive(Clone, Copy)]
pub(crate) struct Want<'a> {
    /// The cluster.
    pub(crate) cluster: &'a Arc<Cluster>,
    /// The endpoint of it.
    pub(crate) endpoint: &'a Endpoint,
    /// The request's host, after rewriting.
    pub(crate) host: &'a str,
    /// What to speak.
    pub(crate) protocol: Protocol,
    /// The ends of the client's connection.
    pub(crate) addresses: ProxiedAddresses,
}

impl Want<'_> {
    /// The same with the protocol that the endpoint settled on before.
    fn settled(mut self) -> Self {
        self.protocol = self.cluster.settled(self.endpoint, self.protocol);
        self
    }

    /// A connection for HTTP/1 that was made for this.
    fn h1(mut self, made: Connection) -> H1Connection {
        self.protocol = Protocol::Http1;
        H1Connection {
            io: made.io,
            local: made.local,
            served: 0,
            key: self.key().to_key(),
            max_requests: self.cluster.max_requests_per_connection,
            until: self.cluster.lives_until().map(Box::new),
            guard: made.guard,
        }
    }

    fn key(&self) -> KeyRef<'_> {
        KeyRef {
            cluster: self.cluster.id,
            generation: self.cluster.tls_generation,
            address: self.endpoint.address,
            protocol: self.protocol,
            partition: self.cluster.pool_partition(self.host),
            proxied: self.cluster.proxied(self.addresses),
        }
    }
}

/// What [`Pool::get`] found.
pub(crate) enum Found {
    /// An HTTP/1 connection, all for this request.
    H1(H1Connection),
    /// A place on an HTTP/2 connection.
    H2(H2Lease),
}

/// An HTTP/1 connection to an upstream.
#[derive(Debug)]
pub(crate) struct H1Connection {
    /// The stream.
    pub(crate) io: UpstreamIo,
    /// Our end's address.
    pub(crate) local: Option<SocketAddr>,
    /// Requests it has served.
    pub(crate) served: u32,
    key: Key,
    max_requests: Option<u32>,
    /// When it takes no more requests; boxed, as it is rare.
    until: Option<Box<Instant>>,
    /// Counts it against the circuit breaker.
    pub(crate) guard: Guard,
}

impl H1Connection {
    /// Whether its time is over.
    fn is_old(&self) -> bool {
        self.until
            .as_deref()
            .is_some_and(|until| *until <= Instant::now())
    }
}

struct Idle {
    connection: H1Connection,
    /// The number of sweeps when it was put back.
    since: u64,
}

/// The connections of one key.
struct Bucket {
    cluster: Arc<Cluster>,
    h1: Vec<Idle>,
    h2: Vec<Arc<H2Shared>>,
    /// Set while an HTTP/2 connection is being made; who waits for it.
    dialing: Option<Vec<oneshot::Sender<ConnectError>>>,
}

/// Connections to upstreams that wait for their next request.
#[derive(Default)]
pub(crate) struct Pool {
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    buckets: HashMap<Key, Bucket, RandomState>,
    /// Counts sweeps: the clock that idle connections age by.
    sweeps: u64,
}

impl Pool {
    /// A connection, pooled or new.
    ///
    /// Dropping the future gives up; whoever waits for the same connection takes over.
    ///
    /// # Errors
    ///
    /// [`Fault::Connect`], and [`Fault::Overflow`] when a circuit breaker is open.
    pub(crate) async fn get(&self, want: Want<'_>) -> Result<Found, Fault> {
        if let Some(found) = self.ready(want) {
            return Ok(found);
        }
        let _pending = want
            .cluster
            .admit(Resource::Pending)
            .map_err(|_full| Fault::Overflow)?;
        match want.settled().protocol {
            Protocol::Http1 => self.connect_h1(want.settled()).await.map(Found::H1),
            Protocol::Http2 => self.connect_h2(want).await,
        }
    }

    /// A pooled connection, if there is a live one.
    pub(crate) fn ready(&self, want: Want<'_>) -> Option<Found> {
        let want = want.settled();
        let mut inner = self.inner.lock();
        let bucket = inner.buckets.get_mut(&want.key())?;
        match want.protocol {
            Protocol::Http1 => {
                while let Some(mut idle) = bucket.h1.pop() {
                    if !idle.connection.is_old() && is_quiet(&mut idle.connection.io) {
                        return Some(Found::H1(idle.connection));
                    }
                }
                None
            }
            Protocol::Http2 => {
                bucket.h2.retain(|shared| !shared.is_closed());
                bucket.h2.iter().find_map(H2Lease::take).map(Found::H2)
            }
        }
    }

    async fn connect_h1(&self, want: Want<'_>) -> Result<H1Connection, Fault> {
        loop {
            match want
                .cluster
                .connect(
                    want.endpoint,
                    want.host,
                    Protocol::Http1,
                    Some(&want.addresses),
                )
                .await
            {
                Ok(made) => return Ok(want.h1(made)),
                // As many as allowed are open: wait for one of them, as Envoy does.
                Err(error) if error.failure == ConnectFailure::Overflow => {
                    tokio::time::sleep(LOOK_AGAIN).await;
                    if let Some(Found::H1(connection)) = self.ready(want) {
                        return Ok(connection);
                    }
                }
                Err(error) => return Err(Fault::Connect(error)),
            }
        }
    }

    async fn connect_h2(&self, want: Want<'_>) -> Result<Found, Fault> {
        loop {
            let waiting = {
                let mut inner = self.inner.lock();
                let bucket = bucket_of(&mut inner.buckets, want);
                match &mut bucket.dialing {
                    Some(waiters) if waiters.len() >= WAITING => return Err(Fault::Overflow),
                    Some(waiters) => {
                        let (sender, receiver) = oneshot::channel();
                        waiters.push(sender);
                        Some(receiver)
                    }
                    None => {
                        bucket.dialing = Some(Vec::new());
                        None
                    }
                }
            };
            match waiting {
                Some(receiver) => {
                    if let Ok(error) = receiver.await {
                        return Err(Fault::Connect(error));
                    }
                }
                None => {
                    if let Some(connection) = self.dial(want).await? {
                        return Ok(Found::H1(connection));
                    }
                }
            }
            if let Some(found) = self.ready(want) {
                return Ok(found);
            }
            if want.settled().protocol == Protocol::Http1 {
                return self.connect_h1(want.settled()).await.map(Found::H1);
            }
        }
    }

    /// Makes an HTTP/2 connection and tells who waits for it. Returns one for HTTP/1 where the
    /// endpoint chose that.
    async fn dial(&self, want: Want<'_>) -> Result<Option<H1Connection>, Fault> {
        let mut dialing = Dialing {
            pool: self,
            key: want.key().to_key(),
            error: None,
        };
        let result = up_h2::connect(want).await;
        match result {
            Ok(Made::H1(made)) => Ok(Some(want.h1(*made))),
            Ok(Made::H2(shared)) => {
                let mut inner = self.inner.lock();
                bucket_of(&mut inner.buckets, want).h2.push(shared);
                Ok(None)
            }
            Err(error) if error.failure == ConnectFailure::Overflow => {
                // Wait for a slot without keeping the others from looking, too.
                drop(dialing);
                tokio::time::sleep(LOOK_AGAIN).await;
                Ok(None)
            }
            Err(error) => {
                dialing.error = Some(error.clone());
                Err(Fault::Connect(error))
            }
        }
    }

    /// Takes an HTTP/1 connection back whose last exchange ended cleanly.
    pub(crate) fn put(&self, mut connection: H1Connection, cluster: &Arc<Cluster>) {
        connection.served = connection.served.saturating_add(1);
        let spent = connection
            .max_requests
            .is_some_and(|max| max > 0 && connection.served >= max);
        if spent || connection.is_old() || connection.key.generation != cluster.tls_generation {
            return;
        }
        let mut inner = self.inner.lock();
        let Inner { buckets, sweeps } = &mut *inner;
        let bucket = match buckets.get_mut(&connection.key) {
            Some(bucket) => bucket,
            None => buckets
                .entry(connection.key.clone())
                .or_insert_with(|| Bucket::new(cluster)),
        };
        if bucket.h1.len() < KEPT {
            bucket.h1.push(Idle {
                connection,
                since: *sweeps,
            });
        }
    }

    /// Closes connections that are dead, unused for too long, or whose cluster, endpoint or TLS
    /// material is gone.
    pub(crate) fn sweep(&self, snapshot: &Snapshot) {
        let now = Instant::now();
        let mut inner = self.inner.lock();
        inner.sweeps += 1;
        let Inner { buckets, sweeps } = &mut *inner;
        buckets.retain(|key, bucket| {
            let wanted = snapshot
                .clusters
                .get(&bucket.cluster.config.key)
                .is_some_and(|cluster| {
                    cluster.id == key.cluster
                        && cluster.tls_generation == key.generation
                        && cluster.has(key.address)
                });
            if !wanted {
                // Requests in flight hold their own handles and finish.
                bucket.h1.clear();
                bucket.h2.clear();
                return bucket.dialing.is_some();
            }
            let longest = bucket.cluster.idle_timeout;
            bucket.h1.retain_mut(|idle| {
                // A sweep a second, so one more than that many seconds have passed at most.
                Duration::from_secs(*sweeps - idle.since) <= longest
                    && is_quiet(&mut idle.connection.io)
            });
            bucket.h2.retain(|shared| shared.is_wanted(now, longest));
            !bucket.h1.is_empty() || !bucket.h2.is_empty() || bucket.dialing.is_some()
        });
    }
}

impl Bucket {
    fn new(cluster: &Arc<Cluster>) -> Self {
        Self {
            cluster: Arc::clone(cluster),
            h1: Vec::new(),
            h2: Vec::new(),
            dialing: None,
        }
    }
}

fn bucket_of<'b>(
    buckets: &'b mut HashMap<Key, Bucket, RandomState>,
    want: Want<'_>,
) -> &'b mut Bucket {
    buckets
        .entry(want.key().to_key())
        .or_insert_with(|| Bucket::new(want.cluster))
}

/// An HTTP/2 connection being made. Dropped without an error, those who wait look again, and the
/// first of them makes the connection if there still is none.
struct Dialing<'p> {
    pool: &'p Pool,
    key: Key,
    error: Option<ConnectError>,
}

impl Drop for Dialing<'_> {
    fn drop(&mut self) {
        let waiters = {
            let mut inner = self.pool.inner.lock();
            let bucket = inner.buckets.get_mut(&self.key);
            bucket.and_then(|bucket| bucket.dialing.take())
        };
        if let Some(error) = &self.error {
            for waiter in waiters.into_iter().flatten() {
                // Who is gone does not want to know.
                let _ = waiter.send(error.clone());
            }
        }
    }
}

/// Whether nothing has come on a connection that has nothing to say: neither bytes nor the end.
/// Without a system call as long as nothing has happened; through TLS, so that tickets are eaten.
fn is_quiet(io: &mut UpstreamIo) -> bool {
    let mut byte = [0];
    let mut buffer = ReadBuf::new(&mut byte);
    let mut cx = Context::from_waker(Waker::noop());
    Pin::new(io).poll_read(&mut cx, &mut buffer).is_pending()
}
