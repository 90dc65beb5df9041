//! `gwanmun gateway`: serves what a controller says, and goes on when the controller is away.

use crate::{
    admin::{self, Admin},
    cli::GatewayArgs,
    logging::Logging,
    serving,
    signals::{self, Signal},
};
use anyhow::Context as _;
use gwanmun_discovery::{Cache, Controller, Handler, follow};
use gwanmun_gateway::Gateway;
use gwanmun_ir::{Delta, ListenerKey, Rejection, Report};
use parking_lot::Mutex;
use serde_json::json;
use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    process::ExitCode,
    sync::{
        Arc,
        mpsc::{self, RecvTimeoutError},
    },
    time::{Duration, Instant},
};
use tokio::sync::{Notify, mpsc::Sender};

/// The configuration is written once it has not changed for this long…
const QUIET: Duration = Duration::from_secs(1);
/// … or this long after the first change.
const LONGEST_WAIT: Duration = Duration::from_secs(10);

/// What the main thread waits for.
enum Event {
    /// A delta was applied.
    Applied,
    /// End in good order.
    Stop,
}

/// Follows until asked to stop.
pub(crate) fn run(args: &GatewayArgs) -> anyhow::Result<ExitCode> {
    let logging = Logging::start(&args.process.log, args.process.log_format)?;
    let (sender, events) = mpsc::channel();
    let on_signal = sender.clone();
    signals::follow(move |signal| {
        if signal == Signal::Stop {
            // Nobody listens any more once the process is ending.
            _ = on_signal.send(Event::Stop);
        }
    })
    .context("signals cannot be caught")?;

    let (namespace, _) = args.gateway.split_once('/').unwrap_or_default();
    let workload = serving::workload(&args.label, namespace);
    let config = serving::config(&args.sockets, &args.process, workload);
    let gateway = Arc::new(Gateway::start(config).map_err(serving::with_remedy)?);
    let follower = Arc::new(Follower {
        gateway: Arc::clone(&gateway),
        applied: sender.clone(),
        standing: Mutex::default(),
    });
    gateway.set_extra_admin(admin(&follower, sender, logging).into_extra());
    announce(&gateway);

    let cache = args.cache.as_ref().map(|path| Cache {
        path: path.clone(),
        gateway: args.gateway.clone(),
        secrets: args.cache_secrets,
    });
    let held = cache
        .as_ref()
        .map(|cache| start_from(cache, &follower))
        .unwrap_or_default();
    spawn(controller(args), Arc::clone(&follower), held)?;
    keep(&gateway, cache.as_ref(), &events);
    tracing::info!(
        "stopping; requests in flight have {:?} to finish",
        args.process.drain
    );
    gateway.drain(args.process.drain);
    Ok(ExitCode::SUCCESS)
}

fn announce(gateway: &Gateway) {
    let own = [
        ("admin interface", gateway.admin_address()),
        ("metrics", gateway.metrics_address()),
        ("readiness", gateway.health_address()),
    ];
    for (purpose, address) in own {
        if let Some(address) = address {
            tracing::info!("{purpose} on {address}");
        }
    }
}

fn controller(args: &GatewayArgs) -> Controller {
    let host = args
        .controller
        .rsplit_once(':')
        .map_or(&*args.controller, |(host, _)| host);
    Controller {
        address: args.controller.clone(),
        server_name: args
            .controller_name
            .clone()
            .unwrap_or_else(|| host.to_owned()),
        authorities: args.ca.clone(),
        token: args.token.clone(),
        gateway: args.gateway.clone(),
        instance: args.instance.clone(),
    }
}

/// Serves what the cache holds: keys and versions of it.
fn start_from(cache: &Cache, follower: &Follower) -> BTreeMap<String, String> {
    match cache.load() {
        Ok(Some(cached)) => {
            let resources = cached.delta.upserts.len();
            follower.apply(cached.delta);
            tracing::info!(resources, "serving the last good configuration");
            cached.held
        }
        Ok(None) => BTreeMap::new(),
        Err(error) => {
            tracing::warn!(%error, "the last good configuration is not used");
            BTreeMap::new()
        }
    }
}

/// Follows the controller on a thread of its own.
fn spawn(
    controller: Controller,
    follower: Arc<Follower>,
    held: BTreeMap<String, String>,
) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("no runtime for the configuration stream")?;
    std::thread::Builder::new()
        .name("discovery".to_owned())
        .spawn(move || {
            let changed = Arc::new(Notify::new());
            let told = Arc::clone(&changed);
            follower.gateway.on_report(move || told.notify_one());
            let (reports, later) = tokio::sync::mpsc::channel(1);
            runtime.block_on(async {
                let tell = tell(&follower, &changed, &reports);
                let follow = follow(&controller, Arc::<Follower>::clone(&follower), held, later);
                tokio::join!(follow, tell)
            });
        })
        .context("no thread for the configuration stream")?;
    Ok(())
}

/// Has the controller told whatever the gateway finds out without an update.
async fn tell(follower: &Follower, changed: &Notify, reports: &Sender<Report>) {
    loop {
        changed.notified().await;
        let Ok(room) = reports.reserve().await else {
            return;
        };
        let report = follower.gateway.report();
        follower.take(&report);
        room.send(report);
    }
}

/// Writes the configuration to the cache when it has changed, until asked to stop.
fn keep(gateway: &Gateway, cache: Option<&Cache>, events: &mpsc::Receiver<Event>) {
    let mut changed: Option<Instant> = None;
    loop {
        let event = match changed {
            Some(first) => {
                let left = LONGEST_WAIT.saturating_sub(first.elapsed());
                events.recv_timeout(QUIET.min(left))
            }
            None => events.recv().map_err(RecvTimeoutError::from),
        };
        match event {
            Ok(Event::Applied) => changed = changed.or_else(|| Some(Instant::now())),
            Ok(Event::Stop) | Err(RecvTimeoutError::Disconnected) => {
                if changed.is_some() {
                    save(gateway, cache);
                }
                return;
            }
            Err(RecvTimeoutError::Timeout) => {
                changed = None;
                save(gateway, cache);
            }
        }
    }
}

fn save(gateway: &Gateway, cache: Option<&Cache>) {
    let Some(cache) = cache else { return };
    let resources = gateway.resources();
    if let Err(error) = cache.save(resources.iter().map(|resource| &**resource)) {
        tracing::warn!(%error, "the last good configuration cannot be kept");
    }
}

fn admin(follower: &Arc<Follower>, sender: mpsc::Sender<Event>, logging: Logging) -> Admin {
    // The gateway owns the paths: they may not own the gateway.
    let (resources, status) = (Arc::downgrade(follower), Arc::downgrade(follower));
    Admin {
        resources: Box::new(move || {
            resources
                .upgrade()
                .map_or_else(Default::default, |follower| {
                    let resources = follower.gateway.resources();
                    admin::redacted(resources.iter().map(|resource| &**resource))
                })
        }),
        status: Box::new(move || {
            status
                .upgrade()
                .map_or_else(Default::default, |follower| follower.standing.lock().json())
        }),
        logging: Some(logging),
        stop: Box::new(move || _ = sender.send(Event::Stop)),
    }
}

/// The gateway, kept up to date.
struct Follower {
    gateway: Arc<Gateway>,
    applied: mpsc::Sender<Event>,
    standing: Mutex<Standing>,
}

/// What there is to tell about a following gateway.
#[derive(Default)]
struct Standing {
    epoch: u64,
    /// Why there is no stream; nothing while there is one.
    unreachable: Option<String>,
    rejected: Vec<Rejection>,
    addresses: Vec<(ListenerKey, SocketAddr)>,
    /// What was logged already.
    told: BTreeSet<String>,
}

impl Standing {
    fn json(&self) -> serde_json::Value {
        json!({
            "epoch": self.epoch,
            "controller": match &self.unreachable {
                None => json!({ "connected": true }),
                Some(reason) => json!({ "connected": false, "reason": reason }),
            },
            "objects": [],
            "findings": self.rejected,
        })
    }
}

impl Handler for Follower {
    fn apply(&self, delta: Delta) -> Report {
        let (changed, removed) = (delta.upserts.len(), delta.removed.len());
        let began = Instant::now();
        let report = self.gateway.apply(delta);
        let took = began.elapsed();
        tracing::info!(
            epoch = report.epoch,
            changed,
            removed,
            ?took,
            "configuration applied"
        );
        self.take(&report);
        // Nobody listens any more once the process is ending.
        _ = self.applied.send(Event::Applied);
        report
    }

    fn reachable(&self, state: Result<(), String>) {
        self.standing.lock().unreachable = state.err();
    }
}

impl Follower {
    /// Remembers a report and logs what is new in it.
    fn take(&self, report: &Report) {
        let addresses = self.gateway.addresses();
        let mut standing = self.standing.lock();
        for bound in &addresses {
            if !standing.addresses.contains(bound) {
                tracing::info!("listening on {} for {}", bound.1, bound.0);
            }
        }
        standing.addresses = addresses;
        standing.epoch = report.epoch;
        let told = report
            .rejected
            .iter()
            .map(|one| format!("{}: {}", one.key, one.message))
            .collect::<BTreeSet<_>>();
        for message in told.difference(&standing.told) {
            tracing::warn!("{message}");
        }
        standing.told = told;
        standing.rejected.clone_from(&report.rejected);
    }
}
