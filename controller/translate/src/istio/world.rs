//! What every part of the translation looks at, and how it speaks to the user.

use super::{mesh::Mesh, visibility};
use crate::{Code, Finding, Options, Severity, Store, names, output::Sink};
use gwanmun_api::{Object, istio};
use gwanmun_ir::SourceRef;
use std::collections::BTreeMap;

/// What every part of the translation looks at.
#[derive(Clone, Copy, Debug)]
pub(super) struct World<'a> {
    pub(super) store: &'a Store,
    pub(super) options: &'a Options,
    pub(super) mesh: &'a Mesh,
}

impl World<'_> {
    /// Whether an Istio Gateway's selector means this workload. When nothing is known of the
    /// workload's labels, every selector does.
    pub(super) fn serves(&self, selector: &BTreeMap<String, String>) -> bool {
        let labels = &self.options.labels;
        labels.is_empty() || visibility::subset(selector, labels)
    }

    /// Whether the selector of anything else means this workload. When nothing is known of the
    /// workload's labels, those that the Gateways select stand in.
    pub(super) fn selects(&self, selector: &BTreeMap<String, String>) -> bool {
        if selector.is_empty() {
            return true;
        }
        if !self.options.labels.is_empty() {
            return visibility::subset(selector, &self.options.labels);
        }
        let mut gateways = self.store.all::<istio::Gateway>();
        gateways.any(|gateway| {
            let spec = gateway.content.spec.as_ref();
            spec.is_some_and(|spec| visibility::subset(selector, &spec.selector))
        })
    }

    /// The fully qualified form of a host: a name without dots is a Service of `namespace`.
    pub(super) fn qualified(&self, host: &str, namespace: &str) -> String {
        let host = host.to_ascii_lowercase();
        if host.contains('.') || host == "*" || host.contains(':') {
            return host;
        }
        names::service_host(&host, namespace, &self.options.cluster_domain)
    }
}

/// One object that is being translated: where findings about it go.
#[derive(Debug)]
pub(super) struct Voice<'a, 's> {
    pub(super) object: &'a Object,
    pub(super) sink: &'s mut Sink,
}

impl Voice<'_, '_> {
    /// Something is not served as written.
    pub(super) fn error(
        &mut self,
        code: Code,
        field: impl Into<String>,
        message: impl Into<String>,
    ) {
        self.say(Severity::Error, code, field, message);
    }

    /// Something is probably not what was meant.
    pub(super) fn warn(
        &mut self,
        code: Code,
        field: impl Into<String>,
        message: impl Into<String>,
    ) {
        self.say(Severity::Warning, code, field, message);
    }

    /// Something is worth knowing.
    pub(super) fn info(
        &mut self,
        code: Code,
        field: impl Into<String>,
        message: impl Into<String>,
    ) {
        self.say(Severity::Info, code, field, message);
    }

    fn say(
        &mut self,
        severity: Severity,
        code: Code,
        field: impl Into<String>,
        message: impl Into<String>,
    ) {
        let finding = Finding::new(severity, code, self.object, field, message);
        self.sink.finding(finding);
    }
}

/// The part `section` of an object, as a resource's source.
pub(super) fn source(object: &Object, section: impl Into<String>) -> SourceRef {
    let key = object.key();
    SourceRef {
        kind: key.kind.kind().to_owned(),
        namespace: key.namespace,
        name: key.name,
        section: section.into(),
    }
}
