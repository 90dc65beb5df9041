//! The objects a Gateway needs, as they are applied. Nothing here talks to a cluster.

use super::{
    names::{label_value, object_name},
    overlay,
};
use crate::{
    admission::{AUDIENCE, GATEWAY_LABEL},
    workloads::GATEWAY_NAME_LABEL,
};
use gwanmun_api::{ObjectKey, manifest};
use gwanmun_ir::Transport;
use gwanmun_translate::Infrastructure;
use serde_json::{Map, Value, json};
use std::{collections::BTreeMap, net::IpAddr};

/// Label of everything made for a Gateway: its class.
pub(super) const CLASS_LABEL: &str = "gateway.networking.k8s.io/gateway-class-name";
/// Label of everything that is ours.
pub(super) const MANAGED_LABEL: &str = "app.kubernetes.io/managed-by";
/// … and its value.
pub(super) const MANAGED: &str = "gwanmun";
/// ConfigMap with the authorities that vouch for the controller, and its key.
pub(crate) const BUNDLE: &str = "gwanmun-ca";
const BUNDLE_KEY: &str = "ca.crt";
/// Name of the container that serves.
const CONTAINER: &str = "gateway";
/// What Istio calls it: parameters written for Istio mean ours.
const ISTIO_CONTAINER: &str = "istio-proxy";
/// Where a gateway says that it is ready.
const HEALTH: u16 = 15021;
const METRICS: u16 = 15020;
/// User and group of the image.
const USER: u32 = 65532;
/// Longest time a gateway takes to end, in seconds: its drain (45 s), and then some.
const GRACE: u32 = 60;
/// Life of a gateway's token, in seconds; it is renewed well before.
const TOKEN_LIFE: u32 = 3600;

/// What is the same for all Gateways.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    /// Image of the gateway pods.
    pub(crate) image: String,
    /// Host at which gateways reach the controller: the name in its certificate.
    pub(crate) controller: String,
    /// … and port.
    pub(crate) port: u16,
}

/// What a Gateway's parameters ConfigMap holds cannot be used.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("parameters `{key}`: {reason}")]
pub(crate) struct InvalidParameters {
    key: &'static str,
    reason: String,
}

/// Kinds of objects with parameters, and the keys of the parameters.
#[derive(Clone, Copy)]
enum Part {
    Account,
    Deployment,
    Service,
    Budget,
    Autoscaler,
}

impl Part {
    const ALL: [Self; 5] = [
        Self::Account,
        Self::Deployment,
        Self::Service,
        Self::Budget,
        Self::Autoscaler,
    ];

    const fn key(self) -> &'static str {
        match self {
            Self::Account => "serviceAccount",
            Self::Deployment => "deployment",
            Self::Service => "service",
            Self::Budget => "podDisruptionBudget",
            Self::Autoscaler => "horizontalPodAutoscaler",
        }
    }
}

/// The objects of one Gateway.
pub(crate) fn manifests(
    gateway: &ObjectKey,
    wanted: &Infrastructure,
    settings: &Settings,
) -> Result<Vec<Value>, InvalidParameters> {
    let plan = Plan::new(gateway, wanted, settings);
    let mut made = Vec::new();
    for part in Part::ALL {
        let over = parameters(&wanted.parameters, part.key())?;
        // Nobody scales what nobody asked to scale.
        if over.is_none() && matches!(part, Part::Autoscaler) {
            continue;
        }
        let mut object = plan.base(part);
        let required = plan.required(part);
        if let Some(mut over) = over {
            if matches!(part, Part::Budget) && over.pointer("/spec/minAvailable").is_some() {
                overlay::merge(&mut object, json!({ "spec": { "maxUnavailable": null } }));
            }
            rename_container(&mut over);
            overlay::merge(&mut object, over);
        }
        overlay::merge(&mut object, required);
        made.push(object);
    }
    Ok(made)
}

/// The ConfigMap from which the gateways of a namespace know whom to trust.
pub(super) fn bundle(namespace: &str, pem: &str) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {
            "name": BUNDLE,
            "namespace": namespace,
            "labels": { (MANAGED_LABEL): MANAGED },
        },
        "data": { (BUNDLE_KEY): pem },
    })
}

fn parameters(
    all: &BTreeMap<String, String>,
    key: &'static str,
) -> Result<Option<Value>, InvalidParameters> {
    let invalid = |reason: String| InvalidParameters { key, reason };
    let Some(text) = all.get(key) else {
        return Ok(None);
    };
    let mut documents = manifest::values(text)
        .map_err(|error| invalid(error.to_string()))?
        .into_iter();
    match (documents.next(), documents.next()) {
        (Some(over @ Value::Object(_)), None) => Ok(Some(over)),
        (None | Some(Value::Null), None) => Ok(Some(json!({}))),
        _ => Err(invalid("it is not one object".to_owned())),
    }
}

/// Makes parameters of Istio's container those of ours.
fn rename_container(over: &mut Value) {
    let containers = over.pointer_mut("/spec/template/spec/containers");
    for container in containers
        .and_then(Value::as_array_mut)
        .into_iter()
        .flatten()
    {
        if let Some(name) = container.get_mut("name")
            && name == ISTIO_CONTAINER
        {
            *name = Value::from(CONTAINER);
        }
    }
}

/// What all objects of a Gateway share.
struct Plan<'a> {
    gateway: &'a ObjectKey,
    wanted: &'a Infrastructure,
    settings: &'a Settings,
    name: String,
    label: String,
}

impl<'a> Plan<'a> {
    fn new(gateway: &'a ObjectKey, wanted: &'a Infrastructure, settings: &'a Settings) -> Self {
        Self {
            gateway,
            wanted,
            settings,
            name: object_name(&gateway.name, &wanted.class),
            label: label_value(&gateway.name),
        }
    }

    /// What parameters are laid over.
    fn base(&self, part: Part) -> Value {
        let mut base = match part {
            Part::Account => json!({ "automountServiceAccountToken": false }),
            Part::Deployment => self.deployment(),
            Part::Service => self.service(),
            Part::Budget => json!({ "spec": { "maxUnavailable": 1 } }),
            Part::Autoscaler => json!({ "spec": { "minReplicas": 1, "maxReplicas": 1 } }),
        };
        let metadata = json!({
            "labels": &self.wanted.labels,
            "annotations": &self.wanted.annotations,
        });
        overlay::merge(&mut base, json!({ "metadata": metadata }));
        base
    }

    /// What holds whatever the parameters say.
    fn required(&self, part: Part) -> Value {
        let (version, kind) = match part {
            Part::Account => ("v1", "ServiceAccount"),
            Part::Deployment => ("apps/v1", "Deployment"),
            Part::Service => ("v1", "Service"),
            Part::Budget => ("policy/v1", "PodDisruptionBudget"),
            Part::Autoscaler => ("autoscaling/v2", "HorizontalPodAutoscaler"),
        };
        let selector = json!({ (GATEWAY_NAME_LABEL): &self.label });
        let spec = match part {
            Part::Account => Value::Null,
            Part::Deployment => json!({
                "selector": { "matchLabels": selector },
                "template": self.required_of_pods(),
            }),
            Part::Service => json!({ "selector": selector }),
            Part::Budget => json!({ "selector": { "matchLabels": selector } }),
            Part::Autoscaler => json!({
                "scaleTargetRef": { "apiVersion": "apps/v1", "kind": "Deployment", "name": &self.name },
            }),
        };
        let metadata = json!({
            "name": &self.name,
            "namespace": &self.gateway.namespace,
            "labels": self.labels(),
            "ownerReferences": [{
                "apiVersion": self.gateway.kind.api_version(),
                "kind": self.gateway.kind.kind(),
                "name": &self.gateway.name,
                "uid": &self.wanted.uid,
                "controller": true,
            }],
        });
        let mut required = json!({ "apiVersion": version, "kind": kind, "metadata": metadata });
        if !spec.is_null() {
            overlay::merge(&mut required, json!({ "spec": spec }));
        }
        required
    }

    fn labels(&self) -> Map<String, Value> {
        [
            (GATEWAY_NAME_LABEL, self.label.clone()),
            (CLASS_LABEL, label_value(&self.wanted.class)),
            (GATEWAY_LABEL, self.label.clone()),
            (MANAGED_LABEL, MANAGED.to_owned()),
        ]
        .map(|(name, value)| (name.to_owned(), Value::from(value)))
        .into_iter()
        .collect()
    }

    fn deployment(&self) -> Value {
        // No replicas: an autoscaler, or whoever scales by hand, owns that field.
        json!({
            "spec": {
                "strategy": { "type": "RollingUpdate", "rollingUpdate": { "maxSurge": 1, "maxUnavailable": 0 } },
                "template": {
                    "metadata": {
                        "labels": &self.wanted.labels,
                        "annotations": self.annotations_of_pods(),
                    },
                    "spec": self.pods(),
                },
            },
        })
    }

    fn annotations_of_pods(&self) -> Value {
        let mut annotations = json!({
            "prometheus.io/path": "/stats/prometheus",
            "prometheus.io/port": METRICS.to_string(),
            "prometheus.io/scrape": "true",
        });
        overlay::merge(&mut annotations, json!(&self.wanted.annotations));
        annotations
    }

    fn pods(&self) -> Value {
        let selector = json!({ "matchLabels": { (GATEWAY_NAME_LABEL): &self.label } });
        json!({
            "automountServiceAccountToken": false,
            "containers": [self.container()],
            "securityContext": {
                "fsGroup": USER,
                "runAsGroup": USER,
                "runAsNonRoot": true,
                "runAsUser": USER,
                "seccompProfile": { "type": "RuntimeDefault" },
                // The listeners' own ports are bound, also those below 1024.
                "sysctls": [{ "name": "net.ipv4.ip_unprivileged_port_start", "value": "0" }],
            },
            "terminationGracePeriodSeconds": GRACE,
            "topologySpreadConstraints": [{
                "labelSelector": selector,
                "maxSkew": 1,
                "topologyKey": "kubernetes.io/hostname",
                "whenUnsatisfiable": "ScheduleAnyway",
            }],
        })
    }

    fn container(&self) -> Value {
        json!({
            "name": CONTAINER,
            "image": &self.settings.image,
            "args": ["gateway", format!("--label=service.istio.io/canonical-name={}", self.name)],
            "ports": [
                { "containerPort": METRICS, "name": "http-metrics", "protocol": "TCP" },
                { "containerPort": HEALTH, "name": "status-port", "protocol": "TCP" },
            ],
            "readinessProbe": {
                "httpGet": { "path": "/healthz/ready", "port": HEALTH },
                "failureThreshold": 3,
                "periodSeconds": 1,
                "timeoutSeconds": 3,
            },
            "resources": {
                "limits": { "memory": "1Gi" },
                "requests": { "cpu": "100m", "memory": "64Mi" },
            },
            "securityContext": {
                "allowPrivilegeEscalation": false,
                "capabilities": { "drop": ["ALL"] },
                "readOnlyRootFilesystem": true,
            },
            "terminationMessagePolicy": "FallbackToLogsOnError",
        })
    }

    /// What a pod needs to be one of the Gateway's: labels, identity, whom to follow and to trust.
    fn required_of_pods(&self) -> Value {
        let (controller, port) = (&self.settings.controller, self.settings.port);
        let mut labels = self.labels();
        labels.insert(
            "service.istio.io/canonical-name".to_owned(),
            Value::from(self.name.clone()),
        );
        json!({
            "metadata": { "labels": labels },
            "spec": {
                "serviceAccountName": &self.name,
                "containers": [{
                    "name": CONTAINER,
                    "env": [
                        { "name": "POD_NAME", "valueFrom": { "fieldRef": { "fieldPath": "metadata.name" } } },
                        { "name": "GWANMUN_GATEWAY", "value": format!("{}/{}", self.gateway.namespace, self.gateway.name) },
                        { "name": "GWANMUN_CONTROLLER", "value": format!("{controller}:{port}") },
                        { "name": "GWANMUN_CACHE", "value": "/var/lib/gwanmun/configuration" },
                    ],
                    "volumeMounts": [
                        { "name": "gwanmun-ca", "mountPath": "/var/run/gwanmun/ca", "readOnly": true },
                        { "name": "gwanmun-token", "mountPath": "/var/run/gwanmun/token", "readOnly": true },
                        { "name": "gwanmun-cache", "mountPath": "/var/lib/gwanmun" },
                    ],
                }],
                "volumes": [
                    { "name": "gwanmun-ca", "configMap": { "name": BUNDLE } },
                    {
                        "name": "gwanmun-token",
                        "projected": {
                            "sources": [{
                                "serviceAccountToken": {
                                    "audience": AUDIENCE,
                                    "expirationSeconds": TOKEN_LIFE,
                                    "path": "token",
                                },
                            }],
                        },
                    },
                    { "name": "gwanmun-cache", "emptyDir": { "sizeLimit": "256Mi" } },
                ],
            },
        })
    }

    fn service(&self) -> Value {
        let mut ports = vec![port("status-port", HEALTH, Transport::Tcp)];
        for (number, transport) in &self.wanted.ports {
            if (*number, *transport) == (HEALTH, Transport::Tcp) {
                continue;
            }
            let prefix = protocol(*transport).to_ascii_lowercase();
            ports.push(port(&format!("{prefix}-{number}"), *number, *transport));
        }
        let mut spec = json!({
            "type": "LoadBalancer",
            "ipFamilyPolicy": "PreferDualStack",
            "ports": ports,
        });
        // A Service asks for one address; a Gateway that asks for more learns from its status which
        // of them it did not get.
        let address = self.wanted.addresses.first();
        if let Some(address) = address.filter(|one| one.parse::<IpAddr>().is_ok()) {
            overlay::merge(&mut spec, json!({ "loadBalancerIP": address }));
        }
        json!({ "spec": spec })
    }
}

fn port(name: &str, number: u16, transport: Transport) -> Value {
    json!({
        "name": name,
        "port": number,
        "protocol": protocol(transport),
        "targetPort": number,
    })
}

const fn protocol(transport: Transport) -> &'static str {
    match transport {
        Transport::Tcp => "TCP",
        Transport::Udp => "UDP",
    }
}
