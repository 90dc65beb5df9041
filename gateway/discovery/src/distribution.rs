//! What each gateway should have, on the controller's side.

use crate::codec::{self, Encoded};
use gwanmun_ir::Delta;
use parking_lot::{Mutex, RwLock};
use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
};
use tokio::sync::watch;

/// How many changed keys are remembered per gateway. A stream that is further behind starts anew.
const REMEMBERED: usize = 100_000;

/// The configuration of every gateway. Clones are handles to the same.
#[derive(Clone, Default)]
pub struct Distribution(Arc<Gateways>);

#[derive(Default)]
struct Gateways {
    by_name: Mutex<BTreeMap<String, Arc<Configuration>>>,
    /// Counts gateways that came.
    came: watch::Sender<u64>,
}

/// The configuration of one gateway.
#[derive(Default)]
pub(crate) struct Configuration {
    state: RwLock<State>,
    generation: watch::Sender<u64>,
    retired: watch::Sender<bool>,
}

#[derive(Default)]
struct State {
    generation: u64,
    entries: BTreeMap<String, Encoded>,
    /// Which keys changed in which generation, oldest first.
    log: VecDeque<(u64, Vec<String>)>,
    logged: usize,
    /// Changes up to this generation are not in the log any more.
    forgotten: u64,
}

/// What a stream has to send.
#[derive(Default)]
pub(crate) struct Changes {
    pub(crate) generation: u64,
    pub(crate) upserts: Vec<(String, Encoded)>,
    pub(crate) removed: Vec<String>,
}

impl Changes {
    pub(crate) fn is_empty(&self) -> bool {
        self.upserts.is_empty() && self.removed.is_empty()
    }
}

impl Distribution {
    /// Changes what `gateway` (`namespace/name`) should have. The first call makes it known: until
    /// then its processes wait.
    ///
    /// # Errors
    ///
    /// When a resource cannot be encoded; nothing of the delta is published then.
    pub fn publish(&self, gateway: &str, delta: &Delta) -> Result<(), serde_json::Error> {
        let mut upserts = Vec::with_capacity(delta.upserts.len());
        for resource in &delta.upserts {
            upserts.push((codec::key_text(&resource.key())?, codec::encode(resource)?));
        }
        let mut removed = Vec::with_capacity(delta.removed.len());
        for key in &delta.removed {
            removed.push(codec::key_text(key)?);
        }
        let mut new = false;
        let configuration = {
            let mut gateways = self.0.by_name.lock();
            let found = gateways.entry(gateway.to_owned()).or_insert_with(|| {
                new = true;
                Arc::default()
            });
            Arc::clone(found)
        };
        configuration.change(upserts, removed, delta.complete);
        if new {
            self.0.came.send_modify(|count| *count += 1);
        }
        Ok(())
    }

    /// Forgets a gateway; its streams end.
    pub fn retire(&self, gateway: &str) {
        if let Some(configuration) = self.0.by_name.lock().remove(gateway) {
            configuration.retired.send_replace(true);
        }
    }

    /// The configuration of a gateway, as soon as it is known.
    pub(crate) async fn configuration(&self, gateway: &str) -> Option<Arc<Configuration>> {
        let mut came = self.0.came.subscribe();
        loop {
            if let Some(found) = self.0.by_name.lock().get(gateway) {
                return Some(Arc::clone(found));
            }
            came.changed().await.ok()?;
        }
    }
}

impl Configuration {
    fn change(&self, upserts: Vec<(String, Encoded)>, mut removed: Vec<String>, complete: bool) {
        let mut state = self.state.write();
        if complete {
            let kept: BTreeSet<&String> = upserts.iter().map(|(key, _)| key).collect();
            let gone = state.entries.keys().filter(|key| !kept.contains(key));
            removed.extend(gone.cloned());
        }
        let mut changed = Vec::new();
        for key in removed {
            if state.entries.remove(&key).is_some() {
                changed.push(key);
            }
        }
        for (key, encoded) in upserts {
            let old = state.entries.get(&key);
            if old.is_none_or(|old| old.version != encoded.version) {
                state.entries.insert(key.clone(), encoded);
                changed.push(key);
            }
        }
        if changed.is_empty() {
            return;
        }
        state.generation += 1;
        let generation = state.generation;
        state.logged += changed.len();
        state.log.push_back((generation, changed));
        while state.logged > REMEMBERED
            && let Some((oldest, keys)) = state.log.pop_front()
        {
            state.logged -= keys.len();
            state.forgotten = oldest;
        }
        drop(state);
        self.generation.send_replace(generation);
    }

    /// Learns of every further generation.
    pub(crate) fn watch(&self) -> watch::Receiver<u64> {
        self.generation.subscribe()
    }

    /// Learns when the gateway is no more.
    pub(crate) fn retirement(&self) -> watch::Receiver<bool> {
        self.retired.subscribe()
    }

    /// What a process that holds `held` (versions by key) lacks.
    pub(crate) fn missing(&self, held: &BTreeMap<String, String>) -> Changes {
        let state = self.state.read();
        let upserts = state
            .entries
            .iter()
            .filter(|(key, encoded)| held.get(*key).is_none_or(|one| **one != *encoded.version));
        let removed = held.keys().filter(|key| !state.entries.contains_key(*key));
        Changes {
            generation: state.generation,
            upserts: upserts
                .map(|(key, encoded)| (key.clone(), encoded.clone()))
                .collect(),
            removed: removed.cloned().collect(),
        }
    }

    /// What changed after a generation; nothing when that is too long ago.
    pub(crate) fn since(&self, generation: u64) -> Option<Changes> {
        let state = self.state.read();
        if generation < state.forgotten {
            return None;
        }
        let mut keys = BTreeSet::new();
        for (_, changed) in state
            .log
            .iter()
            .rev()
            .take_while(|(at, _)| *at > generation)
        {
            keys.extend(changed);
        }
        let mut changes = Changes {
            generation: state.generation,
            ..Changes::default()
        };
        for key in keys {
            match state.entries.get(key) {
                Some(encoded) => changes.upserts.push((key.clone(), encoded.clone())),
                None => changes.removed.push(key.clone()),
            }
        }
        Some(changes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use gwanmun_ir::{ClusterKey, EndpointSet, Key, Resource};

    fn empty(cluster: &str) -> Resource {
        Resource::Endpoints(EndpointSet {
            cluster: ClusterKey::new(cluster),
            endpoints: Vec::new(),
        })
    }

    fn upsert(names: &[&str]) -> Delta {
        Delta {
            upserts: names.iter().map(|name| empty(name)).collect(),
            ..Delta::default()
        }
    }

    fn names(changes: &Changes) -> (Vec<&str>, Vec<&str>) {
        let upserts = changes.upserts.iter().map(|(key, _)| key.as_str());
        let removed = changes.removed.iter().map(String::as_str);
        (upserts.collect(), removed.collect())
    }

    #[tokio::test]
    async fn a_process_gets_what_it_lacks_then_what_changes() {
        let distribution = Distribution::default();
        distribution.publish("ns/gw", &upsert(&["a", "b"])).unwrap();
        let configuration = distribution.configuration("ns/gw").await.unwrap();
        let gone = r#"{"endpoints":"gone"}"#;
        let mut held = BTreeMap::from([(gone.to_owned(), "1".to_owned())]);
        held.insert(
            r#"{"endpoints":"a"}"#.to_owned(),
            codec::encode(&empty("a")).unwrap().version.to_string(),
        );
        let first = configuration.missing(&held);
        assert_eq!(
            names(&first),
            (
                vec![r#"{"endpoints":"b"}"#],
                vec![r#"{"endpoints":"gone"}"#]
            )
        );

        distribution.publish("ns/gw", &upsert(&["b", "c"])).unwrap();
        let delta = Delta {
            removed: vec![Key::Endpoints(ClusterKey::new("a"))],
            ..Delta::default()
        };
        distribution.publish("ns/gw", &delta).unwrap();
        let next = configuration.since(first.generation).unwrap();
        assert_eq!(
            names(&next),
            (vec![r#"{"endpoints":"c"}"#], vec![r#"{"endpoints":"a"}"#])
        );
        assert!(configuration.since(next.generation).unwrap().is_empty());
    }

    #[tokio::test]
    async fn a_complete_delta_removes_what_it_does_not_name() {
        let distribution = Distribution::default();
        distribution.publish("ns/gw", &upsert(&["a", "b"])).unwrap();
        let complete = Delta {
            complete: true,
            ..upsert(&["b"])
        };
        distribution.publish("ns/gw", &complete).unwrap();
        let configuration = distribution.configuration("ns/gw").await.unwrap();
        let changes = configuration.missing(&BTreeMap::new());
        assert_eq!(names(&changes), (vec![r#"{"endpoints":"b"}"#], Vec::new()));
    }

    #[tokio::test]
    async fn a_gateway_that_is_not_known_yet_is_waited_for() {
        let distribution = Distribution::default();
        let waiting = distribution.clone();
        let waiting = tokio::spawn(async move { waiting.configuration("ns/late").await.is_some() });
        distribution.publish("ns/other", &upsert(&["a"])).unwrap();
        distribution.publish("ns/late", &Delta::default()).unwrap();
        assert!(waiting.await.unwrap());
    }
}
