//! Which pods serve Istio's Gateways: those labelled as a gateway's that are not a Gateway's of the
//! Gateway API.

use crate::admission::GATEWAY_LABEL;
use gwanmun_api::{Object, ObjectKey};
use gwanmun_translate::Workload;
use std::collections::BTreeMap;

/// Label of pods that belong to a Gateway of the Gateway API.
pub(crate) const GATEWAY_NAME_LABEL: &str = "gateway.networking.k8s.io/gateway-name";
/// Labels that differ among the pods of one workload.
const OF_ONE_POD: [&str; 3] = [
    "controller-revision-hash",
    "pod-template-hash",
    "statefulset.kubernetes.io/pod-name",
];

/// The pods of gateways for Istio's API.
#[derive(Debug, Default)]
pub(crate) struct Pods(BTreeMap<ObjectKey, Pod>);

#[derive(Debug, Eq, PartialEq)]
struct Pod {
    /// Name of the gateway.
    gateway: String,
    labels: BTreeMap<String, String>,
    created: i64,
}

impl Pods {
    /// Takes a pod. Whether it concerns us.
    pub(crate) fn apply(&mut self, object: &Object) -> bool {
        let (key, meta) = (object.key(), &object.meta);
        let gateway = meta.labels.get(GATEWAY_LABEL);
        let gateway = gateway.filter(|_| !meta.labels.contains_key(GATEWAY_NAME_LABEL));
        let Some(gateway) = gateway.filter(|_| !meta.deleting) else {
            return self.delete(&key);
        };
        let labels = meta.labels.iter();
        let labels = labels.filter(|(name, _)| !OF_ONE_POD.contains(&name.as_str()));
        let pod = Pod {
            gateway: gateway.clone(),
            labels: labels
                .map(|(name, value)| (name.clone(), value.clone()))
                .collect(),
            created: meta.created.unwrap_or_default(),
        };
        let same = self.0.get(&key) == Some(&pod);
        self.0.insert(key, pod);
        !same
    }

    /// Forgets a pod. Whether it concerned us.
    pub(crate) fn delete(&mut self, key: &ObjectKey) -> bool {
        self.0.remove(key).is_some()
    }

    /// The workloads by `namespace/name`; while a rollout changes labels, those of the newest pod.
    pub(crate) fn workloads(&self) -> BTreeMap<String, Workload> {
        let mut newest: BTreeMap<String, (i64, Workload)> = BTreeMap::new();
        for (key, pod) in &self.0 {
            let workload = Workload {
                namespace: key.namespace.clone(),
                labels: pod.labels.clone(),
            };
            let name = format!("{}/{}", key.namespace, pod.gateway);
            let known = newest.entry(name).or_insert((i64::MIN, workload.clone()));
            if pod.created > known.0 {
                *known = (pod.created, workload);
            }
        }
        newest
            .into_iter()
            .map(|(name, (_, workload))| (name, workload))
            .collect()
    }
}
