//! What metrics say about endpoints.

use super::endpoints::Labels;
use gwanmun_api::Object;
use gwanmun_ir::EndpointIdentity;

/// Workload, namespace, service and revision of a Pod.
pub(super) fn of_pod(pod: &Object) -> EndpointIdentity {
    let labels = &pod.meta.labels;
    let owner = pod.meta.owners.iter().find(|owner| owner.controller);
    let workload = match owner {
        // A Deployment's ReplicaSet is named DEPLOYMENT-HASH.
        Some(owner) if owner.kind == "ReplicaSet" => labels
            .get("pod-template-hash")
            .and_then(|hash| owner.name.strip_suffix(hash)?.strip_suffix('-'))
            .unwrap_or(&owner.name),
        Some(owner) => &owner.name,
        None => &pod.meta.name,
    };
    EndpointIdentity {
        workload: workload.to_owned(),
        namespace: pod.meta.namespace.clone(),
        ..of_labels(labels)
    }
}

/// Canonical service and revision, as Istio's telemetry names them.
pub(super) fn of_labels(labels: &Labels) -> EndpointIdentity {
    let first = |names: [&str; 3]| {
        let value = names.into_iter().find_map(|name| labels.get(name));
        value.cloned().unwrap_or_default()
    };
    EndpointIdentity {
        workload: String::new(),
        namespace: String::new(),
        app: first([
            "service.istio.io/canonical-name",
            "app.kubernetes.io/name",
            "app",
        ]),
        version: first([
            "service.istio.io/canonical-revision",
            "app.kubernetes.io/version",
            "version",
        ]),
    }
}
