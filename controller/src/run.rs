//! The loop: what is seen in the cluster becomes configuration, statuses and infrastructure.
//!
//! One task owns the [`Engine`]; nothing here is locked. What happens is taken in until nothing has
//! happened for a moment, then translated once. Every replica serves gateways; the leader writes.

use crate::{
    Config,
    provision::Provisioner,
    source::{self, Seen, Standing},
    status::{self, Writer, Written},
    workloads::Pods,
};
use gwanmun_api::{Kind, ObjectKey};
use gwanmun_discovery::{Distribution, Event as Stream};
use gwanmun_ir::{Delta, ListenerKey, ListenerState};
use gwanmun_translate::{Engine, Finding, Severity, Status, Tick};
use jiff::Timestamp;
use serde_json::Value;
use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};
use tokio::{
    sync::{mpsc, watch},
    time::{Instant, sleep_until},
};

/// Changes are translated once nothing has happened for this long…
const QUIET: Duration = Duration::from_millis(10);
/// … or this long after the first one.
const LONGEST_WAIT: Duration = Duration::from_millis(100);

/// Where everything that happens comes from.
pub(crate) struct Inputs {
    pub(crate) objects: mpsc::Receiver<source::Event>,
    pub(crate) streams: mpsc::UnboundedReceiver<Stream>,
    pub(crate) written: mpsc::UnboundedReceiver<Written>,
    pub(crate) addresses: mpsc::UnboundedReceiver<(ObjectKey, Vec<String>)>,
    pub(crate) leading: watch::Receiver<bool>,
    pub(crate) bundle: watch::Receiver<String>,
}

/// What the loop owns.
pub(crate) struct Reconciler {
    engine: Engine,
    distribution: Distribution,
    writer: Writer,
    provisioner: Provisioner,
    ready: watch::Sender<bool>,
    standing: Standing,
    pods: Pods,
    /// What each process of a gateway said last.
    reports: BTreeMap<String, BTreeMap<String, BTreeMap<ListenerKey, ListenerState>>>,
    decided: BTreeMap<ObjectKey, Status>,
    /// Objects whose status may differ from what was decided.
    unchecked: BTreeSet<ObjectKey>,
    /// Kinds whose objects are not known yet.
    missing: BTreeSet<Kind>,
    told: BTreeSet<Finding>,
    leads: bool,
    dirty: bool,
}

impl Reconciler {
    pub(crate) fn new(
        config: &Config,
        distribution: Distribution,
        writer: Writer,
        provisioner: Provisioner,
        ready: watch::Sender<bool>,
    ) -> Self {
        Self {
            engine: Engine::new(config.options.clone()),
            distribution,
            writer,
            provisioner,
            ready,
            standing: Standing::default(),
            pods: Pods::default(),
            reports: BTreeMap::new(),
            decided: BTreeMap::new(),
            unchecked: BTreeSet::new(),
            missing: Kind::ALL.iter().copied().collect(),
            told: BTreeSet::new(),
            leads: false,
            dirty: false,
        }
    }

    /// Works until the inputs end.
    pub(crate) async fn run(mut self, mut inputs: Inputs) {
        loop {
            if !self.take_one(&mut inputs).await {
                return;
            }
            let first = Instant::now();
            let mut last = first;
            while self.dirty {
                let until = (last + QUIET).min(first + LONGEST_WAIT);
                tokio::select! {
                    biased;
                    () = sleep_until(until) => break,
                    going = self.take_one(&mut inputs) => {
                        if !going {
                            return;
                        }
                        last = Instant::now();
                    }
                }
            }
            if self.dirty && self.missing.is_empty() {
                self.dirty = false;
                self.tick();
            }
            self.write_statuses();
        }
    }

    /// Waits for one thing to happen and takes it in. Nothing happens any more when false.
    async fn take_one(&mut self, inputs: &mut Inputs) -> bool {
        tokio::select! {
            event = inputs.objects.recv() => match event {
                Some(event) => self.object(event),
                None => return false,
            },
            Some(event) = inputs.streams.recv() => self.stream(event),
            Some(written) = inputs.written.recv() => self.written(written),
            Some((gateway, addresses)) = inputs.addresses.recv() => {
                self.dirty |= self.engine.set_addresses(&gateway, addresses);
            }
            Ok(()) = inputs.leading.changed() => {
                self.leads = *inputs.leading.borrow_and_update();
                self.provisioner.set_leading(self.leads);
                if self.leads {
                    self.unchecked.extend(self.decided.keys().cloned());
                }
            }
            Ok(()) = inputs.bundle.changed() => {
                self.provisioner.set_bundle(&inputs.bundle.borrow_and_update());
            }
        }
        true
    }

    fn object(&mut self, event: source::Event) {
        match event {
            source::Event::Apply(seen) => self.apply(*seen),
            source::Event::Delete(key) => self.delete(&key),
            source::Event::Replace(kind, all) => {
                let mut gone: BTreeSet<ObjectKey> = self
                    .engine
                    .store()
                    .of_kind(kind)
                    .map(|object| object.key())
                    .collect();
                for seen in all {
                    gone.remove(&seen.object.key());
                    self.apply(seen);
                }
                for key in gone {
                    self.delete(&key);
                }
                if self.missing.remove(&kind) {
                    self.dirty = true;
                    if self.missing.is_empty() {
                        tracing::info!("every kind is known");
                    }
                }
            }
            source::Event::Unreadable(key, reason) => {
                tracing::warn!(object = %key, reason, "cannot be read; its last good version stays");
            }
        }
    }

    fn apply(&mut self, mut seen: Seen) {
        let key = self.standing.seen(&mut seen);
        self.unchecked.insert(key.clone());
        if key.kind == Kind::Pod && self.pods.apply(&seen.object) {
            self.workloads();
        }
        let known = self.engine.store().object(&key);
        if known.is_some_and(|known| same(known, &seen.object)) {
            // Only its status changed.
            return;
        }
        self.engine.apply(seen.object);
        self.dirty = true;
    }

    fn delete(&mut self, key: &ObjectKey) {
        self.standing.gone(key);
        if key.kind == Kind::Pod && self.pods.delete(key) {
            self.workloads();
        }
        self.engine.delete(key);
        self.dirty = true;
    }

    fn workloads(&mut self) {
        let workloads = self.pods.workloads();
        let namespaces = workloads.values().map(|one| one.namespace.clone());
        self.provisioner.set_namespaces(namespaces.collect());
        self.dirty |= self.engine.set_workloads(workloads);
    }

    fn stream(&mut self, event: Stream) {
        let gateway = match event {
            Stream::Connected { gateway, instance } => {
                tracing::info!(gateway, instance, "a gateway follows");
                return;
            }
            Stream::Reported {
                gateway,
                instance,
                report,
            } => {
                for rejection in &report.rejected {
                    tracing::debug!(gateway, instance, key = %rejection.key, message = rejection.message);
                }
                let processes = self.reports.entry(gateway.clone()).or_default();
                processes.insert(instance, report.listeners.into_iter().collect());
                gateway
            }
            Stream::Disconnected { gateway, instance } => {
                if let Some(processes) = self.reports.get_mut(&gateway) {
                    processes.remove(&instance);
                }
                gateway
            }
        };
        let processes = self.reports.get(&gateway);
        let listeners = processes.map(together).unwrap_or_default();
        self.dirty |= self.engine.report(&gateway, listeners);
    }

    fn written(&mut self, written: Written) {
        let Written {
            key,
            base,
            standing,
        } = written;
        self.writer.done(&key);
        if let Some((version, status)) = standing {
            self.standing.set(&key, &base, version, status);
        }
        self.unchecked.insert(key);
    }

    fn tick(&mut self) {
        let began = Instant::now();
        let Tick {
            deltas,
            retired,
            statuses,
            findings,
            infrastructure,
        } = self.engine.tick();
        let (gateways, changed) = (deltas.len(), statuses.len());
        self.publish(deltas);
        for gateway in retired {
            self.distribution.retire(&gateway);
            self.reports.remove(&gateway);
        }
        for (key, status) in statuses {
            match status {
                Some(status) => drop(self.decided.insert(key.clone(), status)),
                None => drop(self.decided.remove(&key)),
            }
            self.unchecked.insert(key);
        }
        if let Some(findings) = findings {
            self.tell(findings);
        }
        for (gateway, wanted) in infrastructure {
            self.provisioner.set(gateway, wanted);
        }
        let took = began.elapsed();
        tracing::debug!(gateways, statuses = changed, ?took, "translated");
        self.ready
            .send_if_modified(|ready| !std::mem::replace(ready, true));
    }

    fn publish(&self, deltas: BTreeMap<String, Delta>) {
        for (gateway, delta) in deltas {
            if let Err(error) = self.distribution.publish(&gateway, &delta) {
                tracing::error!(gateway, %error, "the configuration cannot be encoded");
            }
        }
    }

    /// Logs findings that were not there before.
    fn tell(&mut self, findings: Vec<Finding>) {
        let findings: BTreeSet<Finding> = findings.into_iter().collect();
        for finding in findings.difference(&self.told) {
            if finding.severity == Severity::Info {
                tracing::debug!(object = %finding.object, "{finding}");
            } else {
                tracing::warn!(object = %finding.object, "{finding}");
            }
        }
        self.told = findings;
    }

    fn write_statuses(&mut self) {
        if !self.leads || !self.missing.is_empty() {
            return;
        }
        let now = Timestamp::now();
        let now = now.strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
        let mut later = BTreeSet::new();
        for key in std::mem::take(&mut self.unchecked) {
            if self.writer.is_busy(&key) {
                later.insert(key);
                continue;
            }
            let Some((version, live)) = self.standing.get(&key) else {
                continue;
            };
            if let Some(wanted) = self.wanted(&key, live, &now) {
                let patch = status::patch(live, &wanted);
                self.writer.write(key, version, &patch);
            }
        }
        self.unchecked = later;
    }

    /// The status an object should have, where it has another one.
    fn wanted(&self, key: &ObjectKey, live: &Value, now: &str) -> Option<Value> {
        let nothing = Status::default();
        let decided = match self.decided.get(key) {
            Some(decided) => decided,
            // What we said of a route or policy earlier does not hold any more; another class's
            // Gateway is not ours to touch.
            None if key.kind.is_route() || key.kind == Kind::BackendTlsPolicy => &nothing,
            None => return None,
        };
        status::merged(live, decided, now)
    }
}

/// Whether two versions of an object differ in nothing that translation reads.
fn same(known: &gwanmun_api::Object, new: &gwanmun_api::Object) -> bool {
    let metadata = |object: &gwanmun_api::Object| {
        let mut meta = object.meta.clone();
        meta.resource_version = String::new();
        meta
    };
    known.body == new.body
        && known.unknown_fields == new.unknown_fields
        && metadata(known) == metadata(new)
}

/// What the processes of one gateway say together: a listener is bound when one says so and none
/// that it failed.
fn together(
    processes: &BTreeMap<String, BTreeMap<ListenerKey, ListenerState>>,
) -> BTreeMap<ListenerKey, ListenerState> {
    let mut all: BTreeMap<ListenerKey, ListenerState> = BTreeMap::new();
    for (key, state) in processes.values().flatten() {
        match state {
            ListenerState::Bound => {
                all.entry(key.clone()).or_insert(ListenerState::Bound);
            }
            ListenerState::Failed(_) => {
                all.insert(key.clone(), state.clone());
            }
        }
    }
    all
}
