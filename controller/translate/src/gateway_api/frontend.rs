//! What a Gateway asks of the clients of its HTTPS listeners: `spec.tls.frontend`.

use super::{
    Context,
    anchors::{Bundle, Flaw, Reference},
    grant::Referrer,
    status::{Decision, Reason},
};
use crate::{Code, Ref, Severity, backend};
use gwanmun_api::gateway_api::{FrontendValidation, FrontendValidationMode, Gateway};
use gwanmun_ir::{ClientCertificates, ClientValidation, Secret, SecretKey, SourceRef};
use std::collections::BTreeMap;

/// How the clients of a Gateway's HTTPS listeners are verified, by port.
#[derive(Clone, Debug, Default)]
pub(super) struct Frontend {
    default: Option<Check>,
    /// What replaces the default on a port.
    ports: BTreeMap<u16, Option<Check>>,
    /// Whether some clients are served whose certificates are not valid.
    pub(super) insecure: bool,
}

/// How the clients of a port are verified.
#[derive(Clone, Debug)]
pub(super) struct Check {
    /// What is asked of them, or why nobody may be served.
    pub(super) client: Result<ClientCertificates, Decision>,
    /// Whether all references are good.
    pub(super) resolved: Decision,
    /// The trust anchors.
    pub(super) anchors: Option<Secret>,
}

impl Frontend {
    /// Reads what a Gateway says.
    pub(super) fn read(cx: &mut Context<'_, '_>, gateway: Ref<'_, Gateway>) -> Self {
        let tls = gateway.content.spec.tls.as_ref();
        let Some(wanted) = tls.and_then(|tls| tls.frontend.as_ref()) else {
            return Self::default();
        };
        let mut frontend = Self::default();
        frontend.default = wanted.default.validation.as_ref().map(|validation| {
            let field = "spec.tls.frontend.default";
            frontend.check(cx, gateway, validation, ("default", field))
        });
        for (index, entry) in wanted.per_port.iter().enumerate() {
            let field = format!("spec.tls.frontend.perPort[{index}].tls");
            if frontend.ports.contains_key(&entry.port) {
                let message = "an earlier entry has this port; ignored";
                let severity = Severity::Warning;
                cx.tell(severity, Code::Conflict, gateway.object, &field, message);
                continue;
            }
            let check = entry.tls.validation.as_ref().map(|validation| {
                let name = entry.port.to_string();
                frontend.check(cx, gateway, validation, (&name, &field))
            });
            frontend.ports.insert(entry.port, check);
        }
        frontend
    }

    /// How the clients of a port are verified; nothing when they are not.
    pub(super) fn of_port(&self, port: u16) -> Option<&Check> {
        match self.ports.get(&port) {
            Some(check) => check.as_ref(),
            None => self.default.as_ref(),
        }
    }

    fn check(
        &mut self,
        cx: &mut Context<'_, '_>,
        gateway: Ref<'_, Gateway>,
        validation: &FrontendValidation,
        (name, field): (&str, &str),
    ) -> Check {
        let own = gateway.namespace();
        let from = Referrer {
            kind: "Gateway",
            namespace: own,
        };
        let references = validation.ca_certificate_refs.iter().map(|one| Reference {
            group: &one.group,
            kind: &one.kind,
            namespace: one.namespace.as_deref().unwrap_or(own),
            name: &one.name,
        });
        let bundle = Bundle::read(cx.store, from, references);
        for (index, _, message) in &bundle.flaws {
            let field = format!("{field}.validation.caCertificateRefs[{index}]");
            let (severity, code) = (Severity::Error, Code::RefNotResolved);
            cx.tell(severity, code, gateway.object, &field, message);
        }
        let key = SecretKey::new(format!(
            "gateway-api://Gateway/{own}/{}/{name}",
            gateway.name()
        ));
        let source = SourceRef {
            section: field.to_owned(),
            ..backend::source_ref(gateway.object)
        };
        let anchors = bundle.secret(&key, source);
        let client = self.client(validation, anchors.as_ref());
        if let Err(refusal) = &client {
            let field = format!("{field}.validation");
            let message = &refusal.message;
            let (severity, code) = (Severity::Error, Code::NotAccepted);
            cx.tell(severity, code, gateway.object, &field, message);
        }
        Check {
            client,
            resolved: resolved(&bundle),
            anchors,
        }
    }

    fn client(
        &mut self,
        validation: &FrontendValidation,
        anchors: Option<&Secret>,
    ) -> Result<ClientCertificates, Decision> {
        let mode = validation
            .mode
            .as_ref()
            .unwrap_or(&FrontendValidationMode::AllowValidOnly);
        let insecure = mode == &FrontendValidationMode::AllowInsecureFallback;
        self.insecure |= insecure;
        if let FrontendValidationMode::Unknown(text) = mode {
            let message = format!("mode `{text}` is not known: no client is served");
            return Err(Decision::no(Reason::UnsupportedValue, message));
        }
        let Some(anchors) = anchors else {
            let message = "none of caCertificateRefs holds a certificate: no client is served";
            return Err(Decision::no(Reason::NoValidCACertificate, message));
        };
        if insecure {
            return Ok(ClientCertificates::Unverified);
        }
        Ok(ClientCertificates::Required(ClientValidation {
            anchors: anchors.key.clone(),
            subject_alt_names: Vec::new(),
            spki_sha256: Vec::new(),
            certificate_sha256: Vec::new(),
        }))
    }
}

fn resolved(bundle: &Bundle) -> Decision {
    let Some((_, flaw, message)) = bundle.flaws.first() else {
        return Decision::yes(Reason::ResolvedRefs);
    };
    let reason = match flaw {
        Flaw::Kind => Reason::InvalidCACertificateKind,
        Flaw::Missing => Reason::InvalidCACertificateRef,
        Flaw::NotPermitted => Reason::RefNotPermitted,
    };
    Decision::no(reason, message.as_str())
}
