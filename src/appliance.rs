//! Files, translation and data plane in one process, kept in step.
//!
//! Bad input never stops what works: a file that cannot be read keeps its last good content, a
//! port that is taken at a reload is reported while everything else goes on. Only at the start is
//! a taken port an error: somebody is there to read it.

use crate::{
    control::Control,
    files::{Files, Scan, Watcher},
    notice::Announcer,
};
use gwanmun_gateway::Gateway;
use gwanmun_ir::ListenerKey;
use parking_lot::Mutex;
use std::{
    net::SocketAddr,
    sync::{
        Arc,
        mpsc::{Receiver, RecvTimeoutError},
    },
    time::{Duration, Instant},
};

/// A change is read once nothing was written for this long…
const QUIET: Duration = Duration::from_millis(10);
/// … or this long after the first sign of it.
const LONGEST_WAIT: Duration = Duration::from_millis(100);
/// A file that was just emptied gets this long to be filled again.
const LONGEST_WAIT_TRUNCATED: Duration = Duration::from_millis(250);

/// What an [`Appliance`] waits for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Event {
    /// Files may have changed.
    Changed,
    /// The gateway has something else to report than before.
    Reported,
    /// Read everything again.
    Reread,
    /// End in good order.
    Stop,
}

/// Files, the data plane, and what is between them.
pub(crate) struct Appliance {
    files: Files,
    control: Arc<Mutex<Control>>,
    gateway: Gateway,
    announcer: Announcer,
    addresses: Vec<(ListenerKey, SocketAddr)>,
}

/// What one delta did.
struct Applied {
    epoch: u64,
    changed: usize,
    removed: usize,
    took: Duration,
}

impl Appliance {
    /// Puts the parts together; serves nothing yet.
    pub(crate) fn new(files: Files, control: Arc<Mutex<Control>>, gateway: Gateway) -> Self {
        Self {
            files,
            control,
            gateway,
            announcer: Announcer::default(),
            addresses: Vec::new(),
        }
    }

    /// Serves the first configuration.
    ///
    /// # Errors
    /// When one of its listeners cannot be bound.
    pub(crate) fn start(&mut self) -> anyhow::Result<()> {
        let applied = self.apply();
        let control = self.control.lock();
        // The error says it; findings would only repeat it.
        if let Some((listener, reason)) = control.failed_listeners().next() {
            let sources = control.listener_sources(listener).join(", ");
            anyhow::bail!(
                "{sources}: {listener} cannot be bound: {reason}; free the port, or bind another one with --map-port"
            );
        }
        let own = [
            ("admin interface", self.gateway.admin_address()),
            ("metrics", self.gateway.metrics_address()),
            ("readiness", self.gateway.health_address()),
        ];
        for (purpose, address) in own {
            if let Some(address) = address {
                tracing::info!("{purpose} on {address}");
            }
        }
        let objects = control.object_count();
        drop(control);
        self.announce(applied);
        tracing::info!(objects, "serving");
        Ok(())
    }

    /// The addresses that are bound.
    pub(crate) fn addresses(&self) -> Vec<(ListenerKey, SocketAddr)> {
        self.gateway.addresses()
    }

    /// Follows changes until asked to stop. `wake` has to send [`Event::Changed`].
    pub(crate) fn follow(&mut self, events: &Receiver<Event>, wake: impl Fn() + Send + 'static) {
        let mut watcher = Watcher::new(wake);
        watcher.follow(self.files.roots(), &self.files.scan());
        loop {
            match events.recv_timeout(watcher.interval()) {
                Ok(Event::Stop) | Err(RecvTimeoutError::Disconnected) => return,
                Ok(Event::Reread) => {
                    tracing::info!("reading all files again");
                    self.files.forget_stamps();
                }
                Ok(Event::Reported) => self.take_report(),
                Ok(Event::Changed) | Err(RecvTimeoutError::Timeout) => {}
            }
            let scan = watcher.scan(|| self.files.scan());
            if !self.files.is_stale(&scan) {
                continue;
            }
            let Some(scan) = self.settle(scan, events) else {
                return;
            };
            watcher.follow(self.files.roots(), &scan);
            self.files.refresh(&scan);
            let applied = self.apply();
            self.announce(applied);
        }
    }

    /// Tells what the gateway has found out by itself.
    fn take_report(&mut self) {
        let report = self.gateway.report();
        self.control.lock().reported(report);
        self.announce(None);
    }

    /// Stops accepting and lets requests in flight finish, for so long at most.
    pub(crate) fn drain(&self, longest: Duration) {
        self.gateway.drain(longest);
    }

    /// Waits until nobody is writing; nothing when asked to stop meanwhile.
    fn settle(&mut self, first: Scan, events: &Receiver<Event>) -> Option<Scan> {
        let began = Instant::now();
        let mut last = first;
        loop {
            match events.recv_timeout(QUIET) {
                Ok(Event::Stop) | Err(RecvTimeoutError::Disconnected) => return None,
                Ok(Event::Reread) => self.files.forget_stamps(),
                Ok(Event::Reported) => self.take_report(),
                Ok(Event::Changed) | Err(RecvTimeoutError::Timeout) => {}
            }
            let scan = self.files.scan();
            let truncated = self.files.is_truncated(&scan);
            let longest = if truncated {
                LONGEST_WAIT_TRUNCATED
            } else {
                LONGEST_WAIT
            };
            if began.elapsed() >= longest || (scan == last && !truncated) {
                return Some(scan);
            }
            last = scan;
        }
    }

    /// Brings files, data plane and statuses together. Nothing when nothing changed for the data
    /// plane.
    fn apply(&mut self) -> Option<Applied> {
        let began = Instant::now();
        // The gateway's admin thread takes this lock too: never hold it while the gateway works.
        let delta = self.control.lock().update(&self.files)?;
        let (changed, removed) = (delta.upserts.len(), delta.removed.len());
        let report = self.gateway.apply(delta);
        let epoch = report.epoch;
        self.control.lock().reported(report);
        Some(Applied {
            epoch,
            changed,
            removed,
            took: began.elapsed(),
        })
    }

    /// Logs what was applied and what there is to tell that was not told before.
    fn announce(&mut self, applied: Option<Applied>) {
        if let Some(applied) = applied {
            self.announce_addresses();
            let Applied {
                epoch,
                changed,
                removed,
                took,
            } = applied;
            tracing::info!(epoch, changed, removed, ?took, "configuration applied");
        }
        let notices = self.control.lock().notices();
        self.announcer.announce(&notices);
    }

    /// Logs where the gateway listens now and did not before.
    fn announce_addresses(&mut self) {
        let addresses = self.gateway.addresses();
        for bound in &addresses {
            if !self.addresses.contains(bound) {
                tracing::info!("listening on {} for {}", bound.1, bound.0);
            }
        }
        self.addresses = addresses;
    }
}
