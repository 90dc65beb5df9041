//! DestinationRules: which applies to a backend, and what it says.
//!
//! They are looked for in the gateway's namespace, then in the service's, then in the root
//! namespace; the first namespace with a matching host decides, there the most specific host,
//! and rules of the same host are merged, the oldest first.

use super::{
    mesh::Mesh,
    policy,
    visibility::{self, Scope},
    world::{Voice, World, source},
};
use crate::{
    Code, Options, Ref, Store,
    backend::{ClusterPolicy, PolicyQuery},
    names,
    output::Sink,
};
use gwanmun_api::{
    Kind, core,
    istio::{
        ClientTlsSettings, ConnectionPoolSettings, DestinationRule, DestinationRuleSpec,
        LoadBalancerSettings, OutlierDetection, ProxyProtocol, ServiceEntry, Subset, TrafficPolicy,
    },
};
use gwanmun_ir::Hostname;

/// What DestinationRules say about a backend, for both APIs; `None` when a subset is asked for
/// that no rule defines. Adds the Secrets it names, and findings, to `sink`.
pub(crate) fn policy_for(
    store: &Store,
    options: &Options,
    sink: &mut Sink,
    query: &PolicyQuery<'_>,
) -> Option<ClusterPolicy> {
    let mesh = Mesh::read(store, options, sink);
    let world = World {
        store,
        options,
        mesh: &mesh,
    };
    let rules = rules(&world, query);
    let defaults = mesh.traffic_policy();
    let mut effective = Effective::default();
    if let Some(defaults) = &defaults {
        effective.connection_pool = defaults.connection_pool.as_ref();
        effective.outlier_detection = defaults.outlier_detection.as_ref();
    }
    let with_policy = rules.iter().find(|rule| rule.spec.traffic_policy.is_some());
    if let Some(rule) = with_policy
        && let Some(top) = &rule.spec.traffic_policy
    {
        effective.apply(rule, top, "spec.trafficPolicy", query.port);
    }
    let mut owner = with_policy.or_else(|| rules.first());
    let mut labels = None;
    if !query.subset.is_empty() {
        let (rule, index, subset) = subset(&rules, query.subset)?;
        if let Some(own) = &subset.traffic_policy {
            let field = format!("spec.subsets[{index}].trafficPolicy");
            effective.apply(rule, own, &field, query.port);
        }
        owner = Some(rule);
        labels = Some(subset.labels.clone());
    }
    let mut found = policy::cluster(&world, &effective, sink);
    found.subset_labels = labels.unwrap_or_default();
    found.source = owner.map(|rule| source(rule.object.object, ""));
    Some(found)
}

/// A DestinationRule that applies.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rule<'a> {
    pub(super) object: Ref<'a, DestinationRule>,
    pub(super) spec: &'a DestinationRuleSpec,
}

/// The blocks of policy in force.
#[derive(Clone, Debug, Default)]
pub(super) struct Effective<'a> {
    pub(super) load_balancer: Option<&'a LoadBalancerSettings>,
    pub(super) connection_pool: Option<&'a ConnectionPoolSettings>,
    pub(super) outlier_detection: Option<&'a OutlierDetection>,
    pub(super) proxy_protocol: Option<&'a ProxyProtocol>,
    /// TLS, the object that says so, and the field.
    pub(super) tls: Option<(&'a ClientTlsSettings, Ref<'a, DestinationRule>, String)>,
}

impl<'a> Effective<'a> {
    /// Lays a policy over this one: block by block, except that the settings of a port replace
    /// all of it.
    fn apply(&mut self, rule: &Rule<'a>, policy: &'a TrafficPolicy, field: &str, port: u16) {
        let tls =
            |tls: &'a ClientTlsSettings, field: &str| (tls, rule.object, format!("{field}.tls"));
        let mut ports = policy.port_level_settings.iter().enumerate();
        let own = ports.find(|(_, own)| {
            let number = own.port.as_ref().and_then(|port| port.number);
            number == Some(u32::from(port))
        });
        if let Some((index, own)) = own {
            let field = format!("{field}.portLevelSettings[{index}]");
            *self = Self {
                load_balancer: own.load_balancer.as_ref(),
                connection_pool: own.connection_pool.as_ref(),
                outlier_detection: own.outlier_detection.as_ref(),
                // Not one of the settings of a port.
                proxy_protocol: policy.proxy_protocol.as_ref().or(self.proxy_protocol),
                tls: own.tls.as_ref().map(|own| tls(own, &field)),
            };
            return;
        }
        self.load_balancer = policy.load_balancer.as_ref().or(self.load_balancer);
        self.connection_pool = policy.connection_pool.as_ref().or(self.connection_pool);
        self.outlier_detection = policy.outlier_detection.as_ref().or(self.outlier_detection);
        self.proxy_protocol = policy.proxy_protocol.as_ref().or(self.proxy_protocol);
        if let Some(own) = &policy.tls {
            self.tls = Some(tls(own, field));
        }
    }
}

/// The first subset of this name, oldest rule first.
fn subset<'r, 'a>(rules: &'r [Rule<'a>], name: &str) -> Option<(&'r Rule<'a>, usize, &'a Subset)> {
    rules.iter().find_map(|rule| {
        let mut subsets = rule.spec.subsets.iter().enumerate();
        let (index, subset) = subsets.find(|(_, subset)| subset.name == name)?;
        Some((rule, index, subset))
    })
}

/// The rules that apply to a host, to be merged in this order.
fn rules<'a>(world: &World<'a>, query: &PolicyQuery<'_>) -> Vec<Rule<'a>> {
    let root = world.mesh.root_namespace();
    let own = query.client_namespace;
    // A gateway in the root namespace takes only rules meant for that namespace alone as its own.
    let in_own = of_namespace(world, own, query, |scope| {
        own != root || scope == Some(Scope::Private)
    });
    if !in_own.is_empty() {
        return in_own;
    }
    let in_service = of_namespace(world, query.service_namespace, query, |scope| {
        scope.is_some()
    });
    if !in_service.is_empty() {
        return in_service;
    }
    of_namespace(world, root, query, |scope| scope.is_some())
}

/// The rules of a namespace with the most specific host that covers the one asked for.
fn of_namespace<'a>(
    world: &World<'a>,
    namespace: &str,
    query: &PolicyQuery<'_>,
    visible: impl Fn(Option<Scope>) -> bool,
) -> Vec<Rule<'a>> {
    let default = world.mesh.destination_rule_export_to();
    let store: &'a Store = world.store;
    for hosts in spellings(query.host, namespace, &world.options.cluster_domain) {
        let all = hosts
            .iter()
            .flat_map(|host| store.destination_rules(namespace, host));
        let mut found: Vec<Rule<'a>> = all
            .filter_map(|object| {
                let spec = object.content.spec.as_ref()?;
                let scope =
                    visibility::scope(&spec.export_to, default, namespace, query.client_namespace);
                let selected = spec
                    .workload_selector
                    .as_ref()
                    .is_none_or(|selector| world.selects(&selector.match_labels));
                (selected && visible(scope)).then_some(Rule { object, spec })
            })
            .collect();
        if !found.is_empty() {
            found.sort_by_key(|rule| {
                let meta = &rule.object.object.meta;
                (
                    rule.spec.workload_selector.is_none(),
                    meta.created.unwrap_or(i64::MAX),
                    rule.object.object.order,
                    meta.name.clone(),
                )
            });
            return found;
        }
    }
    Vec::new()
}

/// The ways in which a rule of a namespace may write a host that covers `host`, most specific
/// first: the host itself, in short for a Service of that namespace, and the wildcards above it.
fn spellings(host: &str, namespace: &str, cluster_domain: &str) -> Vec<Vec<String>> {
    let host = host.to_ascii_lowercase();
    let mut own = vec![host.clone()];
    if let Some((name, owner)) = names::parse_service_host(&host, cluster_domain)
        && owner == namespace
    {
        own.push(name.to_owned());
    }
    let mut found = vec![own];
    let mut rest = host.strip_prefix("*.").unwrap_or(&host);
    while let Some((_, parent)) = rest.split_once('.') {
        found.push(vec![format!("*.{parent}")]);
        rest = parent;
    }
    found.push(vec!["*".to_owned()]);
    found
}

/// Says what of every DestinationRule has no effect or is wrong, used or not.
pub(super) fn review(world: &World<'_>, sink: &mut Sink) {
    for object in world.store.all::<DestinationRule>() {
        let mut voice = Voice {
            object: object.object,
            sink,
        };
        let Some(spec) = object.content.spec.as_ref() else {
            voice.error(
                Code::SchemaValidation,
                "spec",
                "missing, so it has no effect",
            );
            continue;
        };
        if spec.host.is_empty() {
            voice.error(
                Code::SchemaValidation,
                "spec.host",
                "required, so it has no effect",
            );
            continue;
        }
        let host = world.qualified(&spec.host, object.namespace());
        if !is_known(world, &host) {
            let message = format!("no Service or ServiceEntry is `{host}`, so it has no effect");
            voice.warn(Code::UnknownDestinationRuleHost, "spec.host", message);
        }
        if let Some(top) = &spec.traffic_policy {
            policy::review(top, "spec.trafficPolicy", &mut voice);
        }
        for (index, subset) in spec.subsets.iter().enumerate() {
            let field = format!("spec.subsets[{index}]");
            let mut earlier = spec.subsets.iter().take(index);
            if subset.name.is_empty() || earlier.any(|other| other.name == subset.name) {
                let message = "must be unique and not empty, so this subset is ignored";
                voice.error(Code::SchemaValidation, format!("{field}.name"), message);
            }
            if let Some(own) = &subset.traffic_policy {
                policy::review(own, &format!("{field}.trafficPolicy"), &mut voice);
            }
        }
    }
}

/// Whether any Service or ServiceEntry has a host that `host`, possibly a wildcard, covers.
fn is_known(world: &World<'_>, host: &str) -> bool {
    let domain = &world.options.cluster_domain;
    let service = names::parse_service_host(host, domain)
        .and_then(|(name, namespace)| world.store.get::<core::Service>(namespace, name));
    if service.is_some() || world.store.service_entries(host).next().is_some() {
        return true;
    }
    let Ok(wanted) = host.parse::<Hostname>() else {
        return false;
    };
    // Only a wildcard, or a host under a ServiceEntry's, needs a look at all of them.
    let covers = |own: &str| {
        own.parse::<Hostname>()
            .is_ok_and(|own| wanted.intersects(&own))
    };
    let mut services = world.store.of_kind(Kind::Service);
    let is_service = wanted.is_wildcard()
        && services.any(|service| {
            let meta = &service.meta;
            covers(&world.qualified(&meta.name, &meta.namespace))
        });
    let mut entries = world.store.all::<ServiceEntry>();
    is_service
        || entries.any(|entry| {
            let spec = entry.content.spec.as_ref();
            spec.is_some_and(|spec| spec.hosts.iter().any(|own| covers(own)))
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_covered_by_its_own_spellings_and_by_wildcards_above_it() {
        let found = spellings("web.shop.svc.cluster.local", "shop", "cluster.local");
        let found: Vec<&str> = found.iter().flatten().map(String::as_str).collect();
        let expected = [
            "web.shop.svc.cluster.local",
            "web",
            "*.shop.svc.cluster.local",
            "*.svc.cluster.local",
            "*.cluster.local",
            "*.local",
            "*",
        ];
        assert_eq!(found, expected);
        let found = spellings("*.example.com", "shop", "cluster.local");
        assert_eq!(found.concat(), ["*.example.com", "*.com", "*"]);
    }
}
