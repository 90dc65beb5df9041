//! Gives each Gateway what it needs in the cluster: pods, a Service, and what belongs to them.
//!
//! [`manifests`] says what that is; [`Provisioner`] makes it so and keeps it so. Objects are applied
//! server-side and owned by their Gateway: what becomes of them when it is deleted is the garbage
//! collector's. Every replica learns the Services' addresses; the leader writes.

mod apply;
mod live;
mod manifests;
mod names;
mod overlay;
#[cfg(test)]
mod tests;

#[cfg(test)]
pub(crate) use live::resources;
pub(crate) use manifests::{BUNDLE, Settings};
pub(crate) use names::label_value;

use apply::ApplyError;
use gwanmun_api::ObjectKey;
use gwanmun_translate::Infrastructure;
use kube::Client;
use live::{Item, Live, Made, Seen};
use serde_json::Value;
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    future::pending,
    time::Duration,
};
use tokio::{
    sync::mpsc,
    task::JoinSet,
    time::{Instant, sleep_until},
};

/// Gateways worked at at once.
const AT_ONCE: usize = 8;
/// Pause after a first failure; doubled with each further one…
const AGAIN: Duration = Duration::from_millis(250);
/// … up to this.
const AGAIN_LATEST: Duration = Duration::from_secs(60);
/// How often everything is applied again, whatever was seen.
const RESYNC: Duration = Duration::from_secs(10 * 60);

/// What the work is told.
enum Command {
    Set(ObjectKey, Option<Box<Infrastructure>>),
    Bundle(String),
    Namespaces(BTreeSet<String>),
    Leading(bool),
}

/// Provisions Gateways for as long as it lives.
pub(crate) struct Provisioner {
    commands: mpsc::UnboundedSender<Command>,
}

impl Provisioner {
    /// Addresses of Gateways come out of the receiver as their Services get and lose them.
    pub(crate) fn new(
        client: Client,
        settings: Settings,
    ) -> (Self, mpsc::UnboundedReceiver<(ObjectKey, Vec<String>)>) {
        let (commands, orders) = mpsc::unbounded_channel();
        let (addresses, reached) = mpsc::unbounded_channel();
        let (sight, seen) = mpsc::unbounded_channel();
        let watching = live::watch(&client, &sight);
        let work = Work {
            client,
            settings,
            leads: false,
            bundle: String::new(),
            namespaces: BTreeSet::new(),
            units: BTreeMap::new(),
            live: BTreeMap::new(),
            told: BTreeMap::new(),
            addresses,
            running: JoinSet::new(),
        };
        tokio::spawn(work.run(orders, seen, watching));
        (Self { commands }, reached)
    }

    /// What a Gateway needs; nothing when it is none of ours any more.
    pub(crate) fn set(&mut self, gateway: ObjectKey, wanted: Option<Infrastructure>) {
        self.send(Command::Set(gateway, wanted.map(Box::new)));
    }

    /// The authorities that vouch for the controller, PEM. Gateways are made once they are known.
    pub(crate) fn set_bundle(&mut self, pem: &str) {
        self.send(Command::Bundle(pem.to_owned()));
    }

    /// Namespaces with gateways that somebody else makes: they need the authorities too.
    pub(crate) fn set_namespaces(&mut self, namespaces: BTreeSet<String>) {
        self.send(Command::Namespaces(namespaces));
    }

    /// Whether this replica writes.
    pub(crate) fn set_leading(&mut self, leads: bool) {
        self.send(Command::Leading(leads));
    }

    fn send(&self, command: Command) {
        // The work ends only with this sender, or with the process.
        _ = self.commands.send(command);
    }
}

/// What is worked at as one. Authorities sort first: pods wait for them.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
enum Target {
    Bundle(String),
    Gateway(ObjectKey),
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bundle(namespace) => write!(f, "ConfigMap {namespace}/{BUNDLE}"),
            Self::Gateway(gateway) => write!(f, "{gateway}"),
        }
    }
}

/// The state of one target.
#[derive(Default)]
struct Unit {
    /// What has to be there; nothing when it has to go.
    wanted: Option<Vec<Value>>,
    /// The Gateway's identity and class, if it is one's.
    owner: Option<(String, String)>,
    /// When there is something to do.
    due: Option<Instant>,
    /// Whether it was applied once since it was last changed.
    applied: bool,
    busy: bool,
    /// It changed while it was worked at.
    again: bool,
    failures: u32,
}

impl Unit {
    fn call(&mut self) {
        self.due = Some(Instant::now());
        self.again = self.busy;
    }

    fn set(&mut self, made: Vec<Value>) {
        if self.wanted.as_ref() == Some(&made) {
            return;
        }
        self.wanted = Some(made);
        self.applied = false;
        self.failures = 0;
        self.call();
    }

    fn succeeded(&mut self) {
        self.failures = 0;
        self.applied = true;
        self.due = Some(Instant::now() + about(RESYNC));
    }

    /// How long to wait before the next attempt.
    fn failed(&mut self) -> Duration {
        let pause = AGAIN.saturating_mul(1 << self.failures.min(10));
        let pause = about(pause.min(AGAIN_LATEST));
        self.failures += 1;
        self.due = Some(Instant::now() + pause);
        pause
    }
}

/// A quarter more or less: replicas and Gateways do not all come at once.
fn about(pause: Duration) -> Duration {
    pause.mul_f64(0.75 + fastrand::f64() / 2.0)
}

/// What became of work at a target.
struct Done {
    target: Target,
    applied: Vec<(Item, Live)>,
    outcome: Result<End, ApplyError>,
}

/// How work at a target ended.
enum End {
    /// It is as it has to be.
    Kept,
    /// There is nothing to do about it any more.
    Over,
}

struct Work {
    client: Client,
    settings: Settings,
    leads: bool,
    bundle: String,
    namespaces: BTreeSet<String>,
    units: BTreeMap<Target, Unit>,
    live: BTreeMap<Item, Live>,
    /// Addresses as they were told.
    told: BTreeMap<ObjectKey, Vec<String>>,
    addresses: mpsc::UnboundedSender<(ObjectKey, Vec<String>)>,
    running: JoinSet<Done>,
}

impl Work {
    async fn run(
        mut self,
        mut orders: mpsc::UnboundedReceiver<Command>,
        mut seen: mpsc::UnboundedReceiver<Seen>,
        watching: JoinSet<()>,
    ) {
        loop {
            let next = self.dispatch();
            let timer = async {
                match next {
                    Some(at) => sleep_until(at).await,
                    None => pending().await,
                }
            };
            tokio::select! {
                command = orders.recv() => match command {
                    Some(command) => self.take(command),
                    None => break,
                },
                Some(seen) = seen.recv() => self.see(seen),
                Some(done) = self.running.join_next() => match done {
                    Ok(done) => self.done(done),
                    Err(error) => tracing::error!(%error, "provisioning broke off"),
                },
                () = timer => {}
            }
        }
        drop(watching);
    }

    fn take(&mut self, command: Command) {
        match command {
            Command::Set(gateway, Some(wanted)) => self.want(gateway, &wanted),
            Command::Set(gateway, None) => {
                let unit = self.units.entry(Target::Gateway(gateway)).or_default();
                unit.wanted = None;
                unit.call();
            }
            Command::Bundle(pem) => {
                self.bundle = pem;
                let namespaces: Vec<String> = self
                    .units
                    .keys()
                    .map(|target| match target {
                        Target::Bundle(namespace) => namespace.clone(),
                        Target::Gateway(gateway) => gateway.namespace.clone(),
                    })
                    .chain(self.namespaces.iter().cloned())
                    .collect();
                for namespace in namespaces {
                    self.want_bundle(&namespace);
                }
            }
            Command::Namespaces(namespaces) => {
                for namespace in &namespaces {
                    self.want_bundle(namespace);
                }
                self.namespaces = namespaces;
            }
            Command::Leading(leads) => {
                self.leads = leads;
                // Another replica may have written meanwhile.
                self.units.values_mut().for_each(Unit::call);
            }
        }
    }

    fn want(&mut self, gateway: ObjectKey, wanted: &Infrastructure) {
        let made = match manifests::manifests(&gateway, wanted, &self.settings) {
            Ok(made) => made,
            Err(error) => {
                tracing::warn!(object = %gateway, %error, "what was made earlier stays");
                return;
            }
        };
        self.want_bundle(&gateway.namespace);
        let unit = self.units.entry(Target::Gateway(gateway)).or_default();
        unit.owner = Some((wanted.uid.clone(), wanted.class.clone()));
        unit.set(made);
    }

    fn want_bundle(&mut self, namespace: &str) {
        if self.bundle.is_empty() {
            return;
        }
        let made = vec![manifests::bundle(namespace, &self.bundle)];
        let target = Target::Bundle(namespace.to_owned());
        self.units.entry(target).or_default().set(made);
    }

    fn see(&mut self, seen: Seen) {
        match seen {
            Seen::Is(item, live) => self.is(&item, *live),
            Seen::Gone(item) => self.gone(&item),
            Seen::All(made, all) => {
                let now: BTreeSet<Item> = all.iter().map(|(item, _)| item.clone()).collect();
                let before = self.live.keys();
                let lost: Vec<Item> = before
                    .filter(|item| item.made == made && !now.contains(item))
                    .cloned()
                    .collect();
                for item in lost {
                    self.gone(&item);
                }
                for (item, live) in all {
                    self.is(&item, live);
                }
            }
        }
    }

    fn is(&mut self, item: &Item, live: Live) {
        let owner = live.owner.as_ref().map(|(gateway, _)| gateway.clone());
        let earlier = self.live.insert(item.clone(), live.clone());
        if item.made == Made::Service
            && let Some(gateway) = &owner
        {
            self.tell(gateway, live.addresses);
        }
        let changed = earlier.is_none_or(|earlier| earlier.content != live.content);
        if changed {
            self.touched(owner);
        }
    }

    fn gone(&mut self, item: &Item) {
        let Some(earlier) = self.live.remove(item) else {
            return;
        };
        let owner = earlier.owner.map(|(gateway, _)| gateway);
        if item.made == Made::Service
            && let Some(gateway) = &owner
        {
            self.tell(gateway, Vec::new());
        }
        self.touched(owner);
    }

    /// Somebody changed what was made for a Gateway.
    fn touched(&mut self, owner: Option<ObjectKey>) {
        let unit = owner.and_then(|gateway| self.units.get_mut(&Target::Gateway(gateway)));
        // What is under way itself changes what is seen.
        if let Some(unit) = unit.filter(|unit| !unit.busy && unit.wanted.is_some()) {
            unit.call();
        }
    }

    fn tell(&mut self, gateway: &ObjectKey, addresses: Vec<String>) {
        let known = self.told.get(gateway);
        if known == Some(&addresses) || known.is_none() && addresses.is_empty() {
            return;
        }
        if addresses.is_empty() {
            self.told.remove(gateway);
        } else {
            self.told.insert(gateway.clone(), addresses.clone());
        }
        // Nobody listens any more only when the controller ends.
        _ = self.addresses.send((gateway.clone(), addresses));
    }

    /// Starts what is due; when to look again.
    fn dispatch(&mut self) -> Option<Instant> {
        if !self.leads {
            return None;
        }
        let now = Instant::now();
        let mut next: Option<Instant> = None;
        let mut start = Vec::new();
        for (target, unit) in &self.units {
            let Some(due) = unit.due.filter(|_| !unit.busy) else {
                continue;
            };
            if due > now {
                next = Some(next.map_or(due, |next| next.min(due)));
            } else if self.running.len() + start.len() < AT_ONCE && self.may_start(target, unit) {
                start.push(target.clone());
            }
        }
        for target in start {
            self.start(target);
        }
        next
    }

    /// Pods would wait for the authorities: these come first.
    fn may_start(&self, target: &Target, unit: &Unit) -> bool {
        match target {
            Target::Gateway(gateway) if unit.wanted.is_some() => {
                let bundle = self.units.get(&Target::Bundle(gateway.namespace.clone()));
                bundle.is_some_and(|bundle| bundle.applied)
            }
            Target::Bundle(_) | Target::Gateway(_) => true,
        }
    }

    fn start(&mut self, target: Target) {
        let Some(unit) = self.units.get_mut(&target) else {
            return;
        };
        unit.busy = true;
        unit.again = false;
        unit.due = None;
        let owned = match &target {
            Target::Bundle(_) => BTreeMap::new(),
            Target::Gateway(gateway) => owned(&self.live, gateway),
        };
        let task = Task {
            client: self.client.clone(),
            target,
            owner: unit.owner.clone(),
            owned,
        };
        match unit.wanted.clone() {
            Some(wanted) => self.running.spawn(task.keep(wanted)),
            None => self.running.spawn(task.end()),
        };
    }

    fn done(&mut self, done: Done) {
        for (item, live) in done.applied {
            self.made(item, live);
        }
        let target = done.target;
        let Some(unit) = self.units.get_mut(&target) else {
            return;
        };
        unit.busy = false;
        match done.outcome {
            Ok(_) if unit.again => {
                unit.succeeded();
                unit.call();
            }
            Ok(End::Over) => drop(self.units.remove(&target)),
            Ok(End::Kept) => unit.succeeded(),
            Err(error) => {
                let pause = unit.failed();
                tracing::warn!(object = %target, %error, ?pause, "cannot provision; trying again");
            }
        }
    }

    /// Takes note of an object that was applied, so that seeing it is no news.
    fn made(&mut self, item: Item, live: Live) {
        if item.made == Made::ConfigMap {
            return;
        }
        // Addresses come with what is seen, in order.
        let seen = self.live.get(&item).map(|seen| seen.addresses.clone());
        let addresses = seen.unwrap_or_default();
        self.live.insert(item, Live { addresses, ..live });
    }
}

fn owned(live: &BTreeMap<Item, Live>, gateway: &ObjectKey) -> BTreeMap<Item, Live> {
    live.iter()
        .filter(|(_, live)| {
            live.owner
                .as_ref()
                .is_some_and(|(owner, _)| owner == gateway)
        })
        .map(|(item, live)| (item.clone(), live.clone()))
        .collect()
}

/// Work at one target.
struct Task {
    client: Client,
    target: Target,
    owner: Option<(String, String)>,
    /// What is known to be there of it.
    owned: BTreeMap<Item, Live>,
}

impl Task {
    /// Applies what is wanted and deletes what else is there of it.
    async fn keep(self, wanted: Vec<Value>) -> Done {
        let mut applied = Vec::new();
        let outcome = self.keep_into(&wanted, &mut applied).await;
        Done {
            target: self.target,
            applied,
            outcome: outcome.map(|()| End::Kept),
        }
    }

    async fn keep_into(
        &self,
        wanted: &[Value],
        applied: &mut Vec<(Item, Live)>,
    ) -> Result<(), ApplyError> {
        let uid = self.owner.as_ref().map(|(uid, _)| uid.as_str());
        let is_ours = |item: &Item| {
            let owner = self.owned.get(item).and_then(|live| live.owner.as_ref());
            owner.is_some_and(|(_, owner)| Some(owner.as_str()) == uid)
        };
        for manifest in wanted {
            let known = is_ours(&apply::item(manifest)?);
            applied.push(apply::apply(&self.client, manifest, uid, known).await?);
        }
        for (item, live) in &self.owned {
            let needed = applied.iter().any(|(one, _)| one == item);
            if !needed && is_ours(item) {
                tracing::info!(object = %item, "no longer needed");
                apply::delete(&self.client, item, &live.uid).await?;
            }
        }
        Ok(())
    }

    /// The Gateway is not ours, or cannot be served any more. What was made for it goes when the
    /// Gateway is another class's; a mistake in a Gateway must not end what serves.
    async fn end(self) -> Done {
        let outcome = self.end_now().await;
        Done {
            target: self.target,
            applied: Vec::new(),
            outcome: outcome.map(|()| End::Over),
        }
    }

    async fn end_now(&self) -> Result<(), ApplyError> {
        let (Target::Gateway(gateway), Some((_, class))) = (&self.target, &self.owner) else {
            return Ok(());
        };
        match apply::class_of(&self.client, gateway).await? {
            // The garbage collector's.
            None => Ok(()),
            Some(now) if now == *class => {
                tracing::warn!(object = %gateway, "is not accepted any more; its pods stay as they are");
                Ok(())
            }
            Some(_) => {
                for (item, live) in &self.owned {
                    apply::delete(&self.client, item, &live.uid).await?;
                }
                Ok(())
            }
        }
    }
}
