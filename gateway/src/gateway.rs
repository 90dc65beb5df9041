//! The running gateway: threads, control state, and what the embedding program calls.

use crate::{
    AdminRequest, Config, ExplainRequest, Explanation, ExtraAdmin, Snapshot,
    admin::{self, Subject},
    cluster::{Clusters, Registry},
    compile::{Compiler, InService, Verdicts, now},
    l4::udp::Caps,
    limit,
    material::{self, Files},
    sockets::SocketSet,
    telemetry::Telemetry,
    worker::{Shared, Worker},
};
use gwanmun_ir::{Delta, Key, ListenerKey, ListenerState, Rejection, Report, Resource};
use parking_lot::Mutex;
use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{
        Arc, Weak,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
    time::Duration,
};
use tokio::{
    runtime,
    sync::{Semaphore, oneshot},
};

/// A running data plane. Stops, cutting connections off, when dropped; see
/// [`drain`](Gateway::drain).
pub struct Gateway {
    inner: Arc<Inner>,
    bound: admin::Bound,
    control: Control,
}

/// The thread behind name resolution, admin interface and sweeps.
struct Control {
    handle: runtime::Handle,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

struct Inner {
    shared: Shared,
    most: u32,
    state: Mutex<State>,
    extra: Mutex<Option<ExtraAdmin>>,
    told: Mutex<Option<Arc<dyn Fn() + Send + Sync>>>,
    draining: AtomicBool,
}

/// What changes with configuration.
struct State {
    workers: Vec<Worker>,
    files: Files,
    compiler: Compiler,
    registry: Registry,
    sockets: SocketSet,
    standing: Standing,
    ending: Ending,
    epoch: u64,
}

impl State {
    /// Finds out which certificates end soon.
    fn look_at_ends(&mut self, now: i64) {
        let (rejected, next) = self.compiler.ending(now);
        self.ending = Ending { rejected, next };
    }

    fn rejected(&self) -> Vec<Rejection> {
        let ending = self.ending.rejected.iter().cloned();
        ending.chain(self.standing.all()).collect()
    }
}

/// Certificates that end soon or have ended.
#[derive(Default)]
struct Ending {
    rejected: Vec<Rejection>,
    /// When that is to be looked at again, in seconds since the Unix epoch.
    next: i64,
}

/// What is not used as it is now.
#[derive(Default)]
struct Standing(BTreeMap<Key, Vec<Rejection>>);

impl Standing {
    fn take(&mut self, verdicts: Verdicts) {
        for key in &verdicts.checked {
            self.0.remove(key);
        }
        for rejection in verdicts.rejected {
            let same = self.0.entry(rejection.key.clone()).or_default();
            same.push(rejection);
        }
    }

    fn all(&self) -> Vec<Rejection> {
        self.0.values().flatten().cloned().collect()
    }
}

impl Gateway {
    /// Spawns the worker threads and binds admin, metrics and health; serves nothing yet.
    ///
    /// # Errors
    ///
    /// [`StartError`] when a thread cannot be spawned or one of the three addresses is taken.
    pub fn start(mut config: Config) -> Result<Self, StartError> {
        config.concurrency = config.concurrency.max(1);
        let most = limit::connections(config.limits.max_connections);
        let config = Arc::new(config);
        let control = Control::spawn()?;
        let telemetry = Telemetry::start(&config).map_err(StartError::Thread)?;
        let registry =
            Registry::new(&config, control.handle.clone()).map_err(StartError::Resolver)?;
        let shared = Shared {
            config: Arc::clone(&config),
            snapshot: Arc::default(),
            telemetry: Arc::clone(&telemetry),
            room: Arc::new(Semaphore::new(
                usize::try_from(most).unwrap_or(usize::MAX >> 3),
            )),
            udp: Caps::new(&config.limits, most),
        };
        let workers = (0..config.concurrency)
            .map(|index| Worker::spawn(index, &shared))
            .collect::<Result<Vec<_>, _>>()?;
        let inner = Arc::new(Inner {
            shared,
            most,
            state: Mutex::new(State {
                workers,
                files: Files::default(),
                compiler: Compiler::default(),
                registry,
                sockets: SocketSet::default(),
                standing: Standing::default(),
                ending: Ending::default(),
                epoch: 0,
            }),
            extra: Mutex::new(None),
            told: Mutex::new(None),
            draining: AtomicBool::new(false),
        });
        let subject: Arc<dyn Subject> = Arc::<Inner>::clone(&inner);
        control.handle.spawn(follow(Arc::downgrade(&inner)));
        let bound = admin::serve(&config, &control.handle, telemetry, subject)?;
        Ok(Self {
            inner,
            bound,
            control,
        })
    }

    /// Compiles and binds `delta`, publishes it as one snapshot, then releases what is gone.
    ///
    /// Total: what cannot be used is degraded or refused alone, and reported with every delta as
    /// long as that is so. A listener that cannot be bound is tried again with every delta.
    pub fn apply(&self, delta: Delta) -> Report {
        self.inner.apply(delta)
    }

    /// Has `told` called whenever [`report`](Self::report) has changed without an
    /// [`apply`](Self::apply), on a thread of the gateway's own.
    pub fn on_report(&self, told: impl Fn() + Send + Sync + 'static) {
        *self.inner.told.lock() = Some(Arc::new(told));
    }

    /// What the last [`apply`](Self::apply) would report now: files of secrets may have changed
    /// since, which makes another epoch, and certificates may end within 30 days.
    pub fn report(&self) -> Report {
        self.inner.report()
    }

    /// What requests are served from now.
    pub fn snapshot(&self) -> Arc<Snapshot> {
        self.inner.shared.snapshot.keep()
    }

    /// Everything this gateway was told and has not forgotten, private keys included.
    pub fn resources(&self) -> Vec<Arc<Resource>> {
        self.inner.resources()
    }

    /// Adds admin paths: asked before the built-in ones.
    pub fn set_extra_admin(&self, extra: ExtraAdmin) {
        *self.inner.extra.lock() = Some(extra);
    }

    /// Stops accepting, ends keep-alives, and returns when no connection is left or after
    /// `longest`. Readiness is 503 from here on.
    pub fn drain(&self, longest: Duration) {
        self.inner.draining.store(true, Ordering::Relaxed);
        self.inner.state.lock().sockets.drain();
        let room = Arc::clone(&self.inner.shared.room);
        let most = self.inner.most;
        let (sender, idle) = std::sync::mpsc::channel();
        self.control.handle.spawn(async move {
            // All the room is free again when the last connection has ended.
            let all = room.acquire_many(most).await;
            let _ = sender.send(all.is_ok());
        });
        if idle.recv_timeout(longest).is_err() {
            tracing::warn!("connections are cut off: the time to drain is over");
        }
        self.inner.shared.telemetry.flush(Duration::from_secs(1));
    }

    /// The addresses that are really bound, in key order; a dual-stack socket counts once.
    pub fn addresses(&self) -> Vec<(ListenerKey, SocketAddr)> {
        self.inner.addresses()
    }

    /// Which way a request would take, by the tables that serve traffic now.
    ///
    /// # Errors
    ///
    /// What is wrong with the question, in one sentence.
    pub fn explain(&self, request: &ExplainRequest) -> Result<Explanation, String> {
        self.inner.explanation(request)
    }

    /// Where the admin interface is bound.
    pub fn admin_address(&self) -> Option<SocketAddr> {
        self.bound.admin
    }

    /// Where metrics are served.
    pub fn metrics_address(&self) -> Option<SocketAddr> {
        self.bound.metrics
    }

    /// Where readiness is served.
    pub fn health_address(&self) -> Option<SocketAddr> {
        self.bound.health
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        // Workers first: what they do may need the control thread.
        self.inner.state.lock().workers.clear();
        drop(self.control.stop.take());
        if let Some(thread) = self.control.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Control {
    fn spawn() -> Result<Self, StartError> {
        let runtime = runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(StartError::Thread)?;
        let handle = runtime.handle().clone();
        let (stop, stopped) = oneshot::channel::<()>();
        let thread = std::thread::Builder::new()
            .name("gwanmun-control".to_owned())
            .spawn(move || {
                // An error means that the gateway is gone, which is the signal.
                let _ = runtime.block_on(stopped);
            })
            .map_err(StartError::Thread)?;
        Ok(Self {
            handle,
            stop: Some(stop),
            thread: Some(thread),
        })
    }
}

impl Inner {
    fn addresses(&self) -> Vec<(ListenerKey, SocketAddr)> {
        let states = self.state.lock().sockets.states();
        let bound = states.into_iter();
        bound
            .filter_map(|(key, _, address)| Some((key, address?)))
            .collect()
    }

    fn explanation(&self, question: &ExplainRequest) -> Result<Explanation, String> {
        let snapshot = self.shared.snapshot.load();
        snapshot.explain(question, &self.addresses())
    }

    fn apply(&self, mut delta: Delta) -> Report {
        let mut state = self.state.lock();
        state.files.resolve(&mut delta);
        self.compile(&mut state, delta)
    }

    fn report(&self) -> Report {
        let state = self.state.lock();
        let listeners = state.sockets.states().into_iter();
        Report {
            epoch: state.epoch,
            rejected: state.rejected(),
            listeners: listeners.map(|(key, state, _)| (key, state)).collect(),
        }
    }

    /// Looks at what changes without a delta.
    fn look(&self) {
        let reloaded = self.reload();
        if self.look_at_clock(now()) || reloaded {
            let told = self.told.lock().clone();
            if let Some(told) = told {
                told();
            }
        }
    }

    /// Whether other certificates end soon than did before.
    fn look_at_clock(&self, now: i64) -> bool {
        let mut state = self.state.lock();
        if now < state.ending.next {
            return false;
        }
        let old = std::mem::take(&mut state.ending.rejected);
        state.look_at_ends(now);
        let new = &state.ending.rejected;
        for rejection in new.iter().filter(|one| !old.contains(one)) {
            tracing::warn!(key = %rejection.key, "{}", rejection.message);
        }
        *new != old
    }

    /// Serves what the files of secrets hold now. Whether that is something else.
    fn reload(&self) -> bool {
        let followed = self.state.lock().files.followed();
        let newer = material::changed(followed);
        if newer.is_empty() {
            return false;
        }
        let mut state = self.state.lock();
        let upserts = state.files.take(newer);
        let keys: Vec<Key> = upserts.iter().map(Resource::key).collect();
        let report = self.compile(
            &mut state,
            Delta {
                upserts,
                ..Delta::default()
            },
        );
        for key in &keys {
            tracing::info!(%key, "files of a secret have changed");
        }
        for rejection in report.rejected {
            if keys.contains(&rejection.key) {
                tracing::warn!(key = %rejection.key, "{}", rejection.message);
            }
        }
        true
    }

    /// Compiles and publishes a delta that names no files.
    fn compile(&self, state: &mut State, delta: Delta) -> Report {
        let changed = state.compiler.accept(delta);
        let clusters = state
            .registry
            .reconcile(state.compiler.resources(), &changed);
        let linked = state.registry.clusters();
        let mut verdicts = state.compiler.compile(&changed, &clusters.changed, &linked);
        let checked = clusters.checked.into_iter().map(Key::Cluster);
        verdicts.checked.extend(checked);
        verdicts.rejected.extend(clusters.rejected);
        state.standing.take(verdicts);
        let is_secret = |key: &Key| matches!(key, Key::Secret(_));
        if changed.iter().any(is_secret) {
            state.look_at_ends(now());
        }
        let rejected = state.rejected();
        let prepared = state
            .sockets
            .prepare(&self.shared.config, state.compiler.resources());
        state.epoch += 1;
        self.shared.snapshot.publish(Arc::new(Snapshot {
            epoch: state.epoch,
            listeners: state.compiler.tables().clone(),
            clusters: linked,
        }));
        if self.draining.load(Ordering::Relaxed) {
            drop(prepared);
        } else {
            state
                .sockets
                .commit(prepared, &state.workers, &self.shared.telemetry);
        }
        self.shared
            .telemetry
            .configured(state.epoch, rejected.len());
        let listeners = state.sockets.states().into_iter();
        Report {
            epoch: state.epoch,
            rejected,
            listeners: listeners.map(|(key, state, _)| (key, state)).collect(),
        }
    }
}

/// Looks at the files of secrets and the clock as long as there is a gateway.
async fn follow(gateway: Weak<Inner>) {
    let mut looks = tokio::time::interval(material::INTERVAL);
    looks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        looks.tick().await;
        let Some(gateway) = gateway.upgrade() else {
            return;
        };
        // Files may be slow.
        let look = tokio::task::spawn_blocking(move || gateway.look());
        if look.await.is_err() {
            tracing::error!("looking at files of secrets and the clock panicked; it goes on");
        }
    }
}

impl Subject for Inner {
    fn epoch(&self) -> u64 {
        self.shared.snapshot.load().epoch
    }

    fn resources(&self) -> Vec<Arc<Resource>> {
        let state = self.state.lock();
        state.compiler.resources().values().cloned().collect()
    }

    fn clusters(&self) -> Clusters {
        Arc::clone(&self.shared.snapshot.load().clusters)
    }

    fn certificates(&self) -> Vec<InService> {
        self.state.lock().compiler.in_service()
    }

    fn rejected(&self) -> Vec<Rejection> {
        self.state.lock().rejected()
    }

    fn listeners(&self) -> Vec<(ListenerKey, ListenerState, Option<SocketAddr>)> {
        self.state.lock().sockets.states()
    }

    fn readiness(&self) -> Result<(), String> {
        if self.draining.load(Ordering::Relaxed) {
            Err("draining".to_owned())
        } else if self.shared.snapshot.load().epoch == 0 {
            Err("no configuration yet".to_owned())
        } else {
            Ok(())
        }
    }

    fn explain(&self, request: &AdminRequest) -> Result<serde_json::Value, String> {
        let question = ExplainRequest::from_admin(request)?;
        let explanation = self.explanation(&question)?;
        serde_json::to_value(explanation).map_err(|error| error.to_string())
    }

    fn drain_listeners(&self) {
        self.draining.store(true, Ordering::Relaxed);
        self.state.lock().sockets.drain();
    }

    fn quit(&self) {
        // The program around the gateway answers before it gets here; without one, nobody is left
        // who could end more than this.
        self.drain_listeners();
    }

    fn extra(&self) -> Option<ExtraAdmin> {
        self.extra.lock().clone()
    }
}

impl From<admin::BindError> for StartError {
    fn from(error: admin::BindError) -> Self {
        Self::Bind {
            address: error.address,
            purpose: error.purpose,
            source: error.source,
        }
    }
}

/// Why a gateway could not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// One of the gateway's own addresses could not be bound.
    #[error("cannot listen on {address} for {purpose}: {source}")]
    Bind {
        /// The address.
        address: SocketAddr,
        /// `admin`, `metrics` or `health`.
        purpose: &'static str,
        /// Why.
        source: std::io::Error,
    },
    /// The system's resolver configuration cannot be read.
    #[error("cannot read the DNS configuration: {0}")]
    Resolver(std::io::Error),
    /// A thread or its runtime could not be made.
    #[error("cannot start a thread: {0}")]
    Thread(std::io::Error),
}
