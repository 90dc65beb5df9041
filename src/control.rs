//! From files to the data plane: what changed becomes one delta, what the gateway reports becomes
//! statuses.
//!
//! [`Control`] knows neither sockets nor threads: [`Control::update`] says what to apply,
//! [`Control::reported`] takes the answer.

use crate::{
    cli::WorkloadArgs,
    files::Files,
    notice::{Level, Notice},
};
use gwanmun_api::{Object, ObjectKey};
use gwanmun_ir::{Delta, Key, ListenerKey, ListenerState, Rejection, Report, Resource};
use gwanmun_translate::{Compat, Options, Store, Translation, translate_all};
use serde_json::{Value, json};
use std::{collections::BTreeMap, sync::Arc};

/// The state between files and data plane.
#[derive(Default)]
pub(crate) struct Control {
    options: Options,
    store: Store,
    objects: BTreeMap<ObjectKey, Arc<Object>>,
    translation: Translation,
    /// What the gateway refused or degrades, by resource.
    rejections: BTreeMap<Key, Rejection>,
    /// What is wrong with files and objects as written.
    read: Vec<Notice>,
    epoch: u64,
}

/// The options of translation that the command line sets.
pub(crate) fn options(workload: &WorkloadArgs) -> Options {
    Options {
        labels: workload
            .label
            .iter()
            .map(|label| (label.key.clone(), label.value.clone()))
            .collect(),
        namespace: workload.namespace.clone(),
        gateway_classes: workload.gateway_class.clone(),
        revision: workload.revision.clone(),
        compat: workload.compat.unwrap_or(Compat::CURRENT),
        ..Options::default()
    }
}

impl Control {
    /// Holds nothing yet.
    pub(crate) fn new(options: Options) -> Self {
        Self {
            options,
            ..Self::default()
        }
    }

    /// Takes over the files' objects: what the gateway has to be told, if anything.
    pub(crate) fn update(&mut self, files: &Files) -> Option<Delta> {
        self.read = files.findings().iter().map(Notice::from).collect();
        let objects = files.objects();
        let first = self.epoch == 0 && self.translation.resources.is_empty();
        if !self.take(objects) && !first {
            return None;
        }
        let translation = translate_all(&self.store, &self.options);
        let delta = delta(&self.translation, &translation, first);
        self.translation = translation;
        (first || !delta.upserts.is_empty() || !delta.removed.is_empty()).then_some(delta)
    }

    /// Takes over what the gateway made of a delta.
    pub(crate) fn reported(&mut self, report: Report) {
        self.epoch = report.epoch;
        self.rejections = report
            .rejected
            .into_iter()
            .map(|rejection| (rejection.key.clone(), rejection))
            .collect();
        let reports: BTreeMap<ListenerKey, ListenerState> = report.listeners.into_iter().collect();
        if reports != self.options.reports {
            self.options.reports = reports;
            // Whether a listener is bound changes statuses, never resources.
            self.translation = translate_all(&self.store, &self.options);
        }
    }

    /// The addresses at which clients reach this gateway, for `status.addresses`.
    pub(crate) fn set_addresses(&mut self, addresses: Vec<String>) {
        self.options.addresses = addresses;
    }

    /// What the data plane is configured with.
    pub(crate) fn resources(&self) -> impl Iterator<Item = &Resource> {
        self.translation.resources.values()
    }

    /// Listeners that could not be bound, and why.
    pub(crate) fn failed_listeners(&self) -> impl Iterator<Item = (&ListenerKey, &str)> {
        self.options
            .reports
            .iter()
            .filter_map(|(key, state)| match state {
                ListenerState::Bound => None,
                ListenerState::Failed(reason) => Some((key, reason.as_str())),
            })
    }

    /// The user's objects behind a listener, e.g. `Gateway default/gw listeners[0]`.
    pub(crate) fn listener_sources(&self, listener: &ListenerKey) -> Vec<String> {
        let sources = self.resources().filter_map(|resource| match resource {
            Resource::Chain(chain) if chain.listener == *listener => Some(chain.source.to_string()),
            Resource::Chain(_)
            | Resource::Cluster(_)
            | Resource::L4Route(_)
            | Resource::Endpoints(_)
            | Resource::Listener(_)
            | Resource::Route(_)
            | Resource::Secret(_) => None,
        });
        sources.collect()
    }

    /// How many objects there are.
    pub(crate) fn object_count(&self) -> usize {
        self.objects.len()
    }

    /// Everything there is to tell, most severe first.
    pub(crate) fn notices(&self) -> Vec<Notice> {
        let mut notices = self.read.clone();
        notices.extend(self.translation.findings.iter().map(Notice::from));
        notices.extend(self.rejections.values().map(rejected));
        notices.extend(self.failed_listeners().map(|(key, reason)| {
            Notice {
                severity: Level::Error,
                code: "GWM0201".to_owned(),
                object: self
                    .listener_sources(key)
                    .into_iter()
                    .next()
                    .unwrap_or_else(|| format!("listener {key}")),
                field: String::new(),
                message: format!("{key} cannot be bound: {reason}"),
                file: None,
                line: None,
            }
        }));
        notices.sort();
        notices.dedup();
        notices
    }

    /// Every object with its status, and everything there is to tell: what `/status` answers.
    pub(crate) fn status(&self) -> Value {
        let objects = self.keys().map(|key| {
            let status = self
                .translation
                .statuses
                .get(key)
                .map(|status| json!(status))
                .unwrap_or_else(|| json!({}));
            json!({
                "kind": key.kind.to_string(),
                "namespace": key.namespace,
                "name": key.name,
                "status": status,
            })
        });
        json!({
            "epoch": self.epoch,
            "objects": objects.collect::<Vec<_>>(),
            "findings": self.notices(),
        })
    }

    /// Objects of the files, and those that exist without being written.
    fn keys(&self) -> impl Iterator<Item = &ObjectKey> {
        let mut keys: Vec<&ObjectKey> = self
            .objects
            .keys()
            .chain(self.translation.statuses.keys())
            .collect();
        keys.sort();
        keys.dedup();
        keys.into_iter()
    }

    /// Brings the store up to date; says whether anything differs.
    fn take(&mut self, objects: BTreeMap<ObjectKey, Arc<Object>>) -> bool {
        let mut changed = false;
        for key in self
            .objects
            .keys()
            .filter(|key| !objects.contains_key(*key))
        {
            self.store.delete(key);
            changed = true;
        }
        for (key, object) in &objects {
            let known = self.objects.get(key);
            if !known.is_some_and(|known| Arc::ptr_eq(known, object) || known == object) {
                self.store.apply(Arc::clone(object));
                changed = true;
            }
        }
        self.objects = objects;
        changed
    }
}

/// What changed from one translation to the next.
fn delta(before: &Translation, after: &Translation, complete: bool) -> Delta {
    let changed = after
        .resources
        .iter()
        .filter(|(key, resource)| before.resources.get(key) != Some(*resource));
    let gone = before
        .resources
        .keys()
        .filter(|key| !after.resources.contains_key(*key));
    Delta {
        upserts: changed.map(|(_, resource)| resource.clone()).collect(),
        removed: gone.cloned().collect(),
        complete,
    }
}

fn rejected(rejection: &Rejection) -> Notice {
    let source = &rejection.source;
    let separator = if source.namespace.is_empty() { "" } else { "/" };
    Notice {
        severity: match rejection.severity {
            gwanmun_ir::Severity::Degraded => Level::Warning,
            gwanmun_ir::Severity::Refused => Level::Error,
        },
        code: "GWM0202".to_owned(),
        object: format!(
            "{} {}{separator}{}",
            source.kind, source.namespace, source.name
        ),
        field: source.section.clone(),
        message: rejection.message.clone(),
        file: None,
        line: None,
    }
}
