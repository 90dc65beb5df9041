//! Gateways and their ListenerSets.

use super::{
    Context, View,
    attach::namespace_allowed,
    backend_tls::Role,
    body_limit, certificate,
    class::Classes,
    conflict::{self, Claims, Sockets},
    frontend::Frontend,
    grant::Referrer,
    listener::{Listener, Owner},
    status::{Decision, Reason},
};
use crate::{Code, Placement, Ref, Severity};
use gwanmun_api::{
    Kind, Object, ObjectKey,
    core::ConfigMap,
    gateway_api::{
        AddressType, FromNamespaces, GROUP, Gateway, GatewayAddress, ListenerSet,
        LocalObjectReference,
    },
};
use gwanmun_ir::{BindAddress, Resource, SecretKey};
use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    rc::Rc,
    sync::Arc,
};

/// Something routes attach to: a Gateway or a ListenerSet of ours.
pub(super) struct Parent<'a> {
    pub(super) object: &'a Arc<Object>,
    /// The Gateway: itself, or the ListenerSet's.
    pub(super) gateway: ObjectKey,
    /// Whether it is accepted, apart from its listeners.
    pub(super) accepted: Decision,
    pub(super) listeners: Vec<Listener<'a>>,
    /// Largest request body, bytes.
    pub(super) max_request_body: Option<u64>,
    /// Requested addresses to bind; empty means any.
    pub(super) binds: Vec<IpAddr>,
    /// Whether the Gateway's client certificate can be used; absent when it has none.
    pub(super) client_certificate: Option<Decision>,
    /// The Gateway's client certificate towards backends, usable or not.
    client: Option<SecretKey>,
    /// Whether the Gateway serves clients whose certificates are not valid.
    pub(super) insecure_frontend: bool,
    /// BackendTLSPolicies of backends that its routes use.
    pub(super) policies: BTreeMap<ObjectKey, Role>,
}

impl Parent<'_> {
    /// Through what backends are seen from one of the listeners.
    pub(super) fn view(&self, listener: usize) -> View {
        let listener = self.listeners.get(listener);
        View {
            client: self.client.clone(),
            passthrough: listener.is_some_and(Listener::passes_through),
        }
    }
}

/// All parents of ours, by key.
pub(super) type Parents<'a> = BTreeMap<ObjectKey, Parent<'a>>;

/// Translates all Gateways of our classes, and the ListenerSets of those.
pub(super) fn translate<'a>(cx: &mut Context<'a, '_>, classes: &Classes) -> Parents<'a> {
    let mut sets: BTreeMap<ObjectKey, Vec<Ref<'a, ListenerSet>>> = BTreeMap::new();
    for set in cx.store.by_age::<ListenerSet>() {
        let parent = &set.spec.parent_ref;
        if parent.group() == GROUP && parent.kind() == "Gateway" {
            let namespace = parent.namespace.as_deref().unwrap_or(set.namespace());
            let key = ObjectKey::new(Kind::Gateway, namespace, &parent.name);
            sets.entry(key).or_default().push(set);
        }
    }
    let mut parents = Parents::new();
    let mut sockets = Sockets::default();
    for gateway in cx.store.by_age::<Gateway>() {
        let Some(served) = classes.served(&gateway.spec.gateway_class_name) else {
            tell_foreign(cx, gateway);
            continue;
        };
        let own = sets.remove(&gateway.key()).unwrap_or_default();
        let mut family = Family::evaluate(cx, gateway, served, &own);
        family.place(cx, &mut sockets);
        for parent in family.members {
            parents.insert(parent.object.key(), parent);
        }
    }
    parents
}

/// Says that a Gateway is not ours.
fn tell_foreign(cx: &mut Context<'_, '_>, gateway: Ref<'_, Gateway>) {
    let class = &gateway.spec.gateway_class_name;
    let known = cx
        .store
        .get::<gwanmun_api::gateway_api::GatewayClass>("", class);
    let (severity, message) = if known.is_some() {
        (
            Severity::Info,
            format!("GatewayClass `{class}` belongs to another controller: ignored"),
        )
    } else {
        (
            Severity::Warning,
            format!(
                "GatewayClass `{class}` does not exist: ignored; use class `gwanmun`, or `--gateway-class {class}`"
            ),
        )
    };
    let field = "spec.gatewayClassName";
    cx.tell(severity, Code::NotAccepted, gateway.object, field, &message);
}

/// A Gateway and its ListenerSets.
struct Family<'a> {
    gateway: Ref<'a, Gateway>,
    frontend: Rc<Frontend>,
    /// The Gateway first, then the sets by age.
    members: Vec<Parent<'a>>,
}

impl<'a> Family<'a> {
    fn evaluate(
        cx: &mut Context<'a, '_>,
        gateway: Ref<'a, Gateway>,
        served: bool,
        sets: &[Ref<'a, ListenerSet>],
    ) -> Self {
        let frontend = Rc::new(Frontend::read(cx, gateway));
        let mut parent = Parent::of_gateway(cx, gateway, served, &frontend);
        let mut claims = Claims::default();
        claims.mark_own(&mut parent.listeners);
        let mut family = Self {
            gateway,
            frontend,
            members: vec![parent],
        };
        for set in sets {
            let mut parent = family.set(cx, *set);
            claims.mark_set(&mut parent.listeners);
            family.members.push(parent);
        }
        family.tell_conflicts(cx);
        family.mark_overlaps();
        family
    }

    /// Evaluates a ListenerSet.
    fn set(&self, cx: &mut Context<'a, '_>, set: Ref<'a, ListenerSet>) -> Parent<'a> {
        let content: &'a ListenerSet = set.content;
        let owner = Owner {
            object: set.object,
            frontend: Rc::clone(&self.frontend),
            entries: &content.spec.listeners,
        };
        let allowed = self.gateway.spec.allowed_listeners.as_ref();
        let namespaces = allowed.and_then(|allowed| allowed.namespaces.as_ref());
        let from = namespaces
            .and_then(|namespaces| namespaces.from.as_ref())
            .unwrap_or(&FromNamespaces::None);
        let selector = namespaces.and_then(|namespaces| namespaces.selector.as_ref());
        let own = self.gateway.namespace();
        let parent = self.members.first();
        let parent_accepted = parent.is_some_and(|gateway| gateway.accepted.holds());
        let accepted = if !namespace_allowed(cx.store, (from, selector), own, set.namespace()) {
            Decision::no(
                Reason::NotAllowed,
                "the Gateway allows no ListenerSets from this namespace",
            )
        } else if parent_accepted {
            Decision::yes(Reason::Accepted)
        } else {
            Decision::no(Reason::ParentNotAccepted, "the Gateway is not accepted")
        };
        let listeners = if accepted.holds() {
            Listener::evaluate_all(cx, &owner)
        } else {
            let (object, message) = (set.object, &accepted.message);
            cx.tell(
                Severity::Error,
                Code::NotAccepted,
                object,
                "spec.parentRef",
                message,
            );
            Vec::new()
        };
        Parent {
            object: set.object,
            gateway: self.gateway.key(),
            accepted,
            listeners,
            max_request_body: body_limit::max_request_body(self.gateway.object, cx.sink),
            binds: Vec::new(),
            client_certificate: None,
            client: parent.and_then(|gateway| gateway.client.clone()),
            insecure_frontend: false,
            policies: BTreeMap::new(),
        }
    }

    fn tell_conflicts(&self, cx: &mut Context<'_, '_>) {
        for parent in &self.members {
            for listener in parent.listeners.iter().filter(|one| one.conflict.is_some()) {
                let message = listener.acceptance().message;
                let (object, field) = (parent.object, &listener.field);
                cx.tell(Severity::Error, Code::NotAccepted, object, field, &message);
            }
        }
    }

    /// Marks HTTPS listeners whose hostnames or certificates overlap.
    fn mark_overlaps(&mut self) {
        let mut listeners: Vec<&mut Listener<'a>> = self
            .members
            .iter_mut()
            .flat_map(|parent| &mut parent.listeners)
            .filter(|listener| {
                listener.entry.protocol == gwanmun_api::gateway_api::ProtocolType::Https
                    && listener.conflict.is_none()
                    && listener.hostname.is_ok()
            })
            .collect();
        let names: Vec<_> = listeners
            .iter()
            .map(|listener| {
                (
                    listener.entry.port,
                    listener.hostname.clone().unwrap_or_default(),
                )
            })
            .collect();
        for index in conflict::overlapping(&names) {
            if let Some(listener) = listeners.get_mut(index) {
                listener.overlapping = Some(Reason::OverlappingHostnames);
            }
        }
        let names: Vec<(u16, BTreeSet<String>)> = listeners
            .iter()
            .map(|listener| (listener.entry.port, listener.certificate_names.clone()))
            .collect();
        for index in conflict::overlapping_certificates(&names) {
            if let Some(listener) = listeners.get_mut(index) {
                listener.overlapping = Some(Reason::OverlappingCertificates);
            }
        }
    }

    /// Adds the filter chains of all members to the configuration.
    fn place(&mut self, cx: &mut Context<'_, '_>, sockets: &mut Sockets) {
        let Some(gateway) = self
            .members
            .first()
            .filter(|gateway| gateway.accepted.holds())
        else {
            return;
        };
        let binds: Vec<BindAddress> = match cx.options.placement {
            Placement::Shared if !gateway.binds.is_empty() => {
                gateway.binds.iter().copied().map(BindAddress::Ip).collect()
            }
            // A Service has the addresses, and sends what comes to them to any.
            Placement::Shared | Placement::Own(_) => vec![BindAddress::Any],
        };
        let gateway = self.gateway.key();
        let scope = cx.options.placement.scope(&gateway);
        for parent in &mut self.members {
            let object = parent.object;
            for listener in &mut parent.listeners {
                let refusal = match &cx.options.placement {
                    Placement::Shared => sockets.claim(&gateway, listener, &binds),
                    Placement::Own(_) => None,
                };
                if let Some(refusal) = refusal {
                    let (severity, code) = (Severity::Error, Code::NotAccepted);
                    cx.tell(severity, code, object, &listener.field, &refusal.message);
                    listener.accepted = refusal;
                    listener.closed = false;
                }
                listener.place(cx, object, &scope, &binds);
            }
        }
    }
}

impl<'a> Parent<'a> {
    fn of_gateway(
        cx: &mut Context<'a, '_>,
        gateway: Ref<'a, Gateway>,
        served: bool,
        frontend: &Rc<Frontend>,
    ) -> Self {
        let content: &'a Gateway = gateway.content;
        let (accepted, field, binds) = match acceptance(cx, gateway, served) {
            Ok(binds) => (Decision::yes(Reason::Accepted), "", binds),
            Err((field, decision)) => (decision, field, Vec::new()),
        };
        if !accepted.holds() {
            let message = &accepted.message;
            cx.tell(
                Severity::Error,
                Code::NotAccepted,
                gateway.object,
                field,
                message,
            );
        }
        let owner = Owner {
            object: gateway.object,
            frontend: Rc::clone(frontend),
            entries: &content.spec.listeners,
        };
        let listeners = Listener::evaluate_all(cx, &owner);
        if content.spec.default_scope.is_some() {
            let message = "default Gateways have no effect yet";
            let (object, field) = (gateway.object, "spec.defaultScope");
            cx.tell(Severity::Info, Code::NoEffectYet, object, field, message);
        }
        let (client, client_certificate) = client_certificate(cx, gateway).unzip();
        Self {
            object: gateway.object,
            gateway: gateway.key(),
            accepted,
            listeners,
            max_request_body: body_limit::max_request_body(gateway.object, cx.sink),
            binds,
            client_certificate,
            client,
            insecure_frontend: frontend.insecure,
            policies: BTreeMap::new(),
        }
    }
}

/// The addresses to bind, or why the Gateway cannot be accepted at all, and which field says so.
fn acceptance(
    cx: &Context<'_, '_>,
    gateway: Ref<'_, Gateway>,
    served: bool,
) -> Result<Vec<IpAddr>, (&'static str, Decision)> {
    if !served {
        let decision = Decision::pending("the GatewayClass is not accepted");
        return Err(("spec.gatewayClassName", decision));
    }
    let infrastructure = gateway.spec.infrastructure.as_ref();
    let parameters = infrastructure.and_then(|wanted| wanted.parameters_ref.as_ref());
    if let Some(parameters) = parameters
        && !has_parameters(cx, gateway.namespace(), parameters)
    {
        let message = format!(
            "parameters `{}` of kind `{}` of group `{}` do not exist or are not supported",
            parameters.name, parameters.kind, parameters.group
        );
        let decision = Decision::no(Reason::InvalidParameters, message);
        return Err(("spec.infrastructure.parametersRef", decision));
    }
    let mut binds = Vec::new();
    let mut any = false;
    for address in &gateway.spec.addresses {
        match bind(address) {
            Ok(Some(ip)) if !binds.contains(&ip) => binds.push(ip),
            Ok(Some(_)) => {}
            Ok(None) => any = true,
            Err(message) => {
                let decision = Decision::no(Reason::UnsupportedAddress, message);
                return Err(("spec.addresses", decision));
            }
        }
    }
    // Binding every address includes the particular ones.
    Ok(if any { Vec::new() } else { binds })
}

/// Whether parameters can be used: those of pods of the Gateway's own, in a ConfigMap that exists.
fn has_parameters(
    cx: &Context<'_, '_>,
    namespace: &str,
    parameters: &LocalObjectReference,
) -> bool {
    let exists = || {
        cx.store
            .get::<ConfigMap>(namespace, &parameters.name)
            .is_some()
    };
    match cx.options.placement {
        Placement::Shared => false,
        Placement::Own(_) => {
            parameters.group.is_empty() && parameters.kind == "ConfigMap" && exists()
        }
    }
}

/// The address to bind, nothing where any will do, or what is wrong with it.
fn bind(address: &GatewayAddress) -> Result<Option<IpAddr>, String> {
    let kind = address
        .address_type
        .as_ref()
        .unwrap_or(&AddressType::IpAddress);
    if kind != &AddressType::IpAddress {
        return Err(format!("addresses of type `{kind}` are not supported"));
    }
    if let Some(scope) = address
        .routability
        .as_deref()
        .filter(|text| !text.is_empty())
    {
        return Err(format!("routability `{scope}` cannot be promised"));
    }
    match address.value.as_deref().unwrap_or_default() {
        "" => Ok(None),
        text => text
            .parse()
            .map(Some)
            .map_err(|_error| format!("`{text}` is not an IP address")),
    }
}

/// The client certificate that the Gateway shows to backends, and whether it can be used. One that
/// cannot makes connections fail that should show it.
fn client_certificate(
    cx: &mut Context<'_, '_>,
    gateway: Ref<'_, Gateway>,
) -> Option<(SecretKey, Decision)> {
    let tls = gateway.content.spec.tls.as_ref()?;
    let reference = tls.backend.as_ref()?.client_certificate_ref.as_ref()?;
    let from = Referrer {
        kind: "Gateway",
        namespace: gateway.namespace(),
    };
    let problem = match certificate::resolve(cx, from, reference) {
        Ok(usable) => {
            let key = usable.secret.key.clone();
            cx.sink.resource(Resource::Secret(usable.secret));
            return Some((key, Decision::yes(Reason::ResolvedRefs)));
        }
        Err(problem) => problem,
    };
    let reason = if problem.reason == Reason::RefNotPermitted {
        Reason::RefNotPermitted
    } else {
        Reason::InvalidClientCertificateRef
    };
    let field = "spec.tls.backend.clientCertificateRef";
    let message = &problem.message;
    let (severity, code) = (Severity::Error, Code::RefNotResolved);
    cx.tell(severity, code, gateway.object, field, message);
    let key = match problem.secret {
        Some(secret) => {
            let key = secret.key.clone();
            cx.sink.resource(Resource::Secret(*secret));
            key
        }
        // It names nothing, so that connections fail.
        None => SecretKey::new(format!(
            "gateway-api://Gateway/{}/{}/client",
            gateway.namespace(),
            gateway.name()
        )),
    };
    Some((key, Decision::no(reason, problem.message)))
}
