//! References to Secrets with certificates.

use super::{
    Context,
    grant::{Referent, Referrer, permits},
    status::Reason,
};
use crate::{Code, Severity, Store};
use gwanmun_api::{core, gateway_api::SecretObjectReference};
use gwanmun_certs::{Certificate, KeyPair, San};
use gwanmun_ir::{Pem, PrivatePem, Secret, SecretKey, SecretMaterial, SourceRef};

/// A certificate that can be used.
#[derive(Clone, Debug)]
pub(super) struct Usable {
    pub(super) secret: Secret,
    /// DNS names that it is for, lower case.
    pub(super) names: Vec<String>,
}

/// Why a reference names no usable certificate.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Unusable {
    /// `RefNotPermitted`, or `InvalidCertificateRef` for everything else.
    pub(super) reason: Reason,
    pub(super) message: String,
    /// The Secret, if it exists and may be used but holds nothing usable: it stays configured so
    /// that a gateway can go on serving what it held before.
    pub(super) secret: Option<Box<Secret>>,
}

/// Resolves a reference to a Secret.
///
/// Permission comes before existence, kind before both.
pub(super) fn resolve(
    cx: &mut Context<'_, '_>,
    from: Referrer<'_>,
    reference: &SecretObjectReference,
) -> Result<Usable, Unusable> {
    let refuse = |reason, message| {
        Err(Unusable {
            reason,
            message,
            secret: None,
        })
    };
    let (group, kind, name) = (reference.group(), reference.kind(), &reference.name);
    if !group.is_empty() || kind != "Secret" {
        let message =
            format!("kind `{kind}` of group `{group}` is no Secret: it holds no certificates");
        return refuse(Reason::InvalidCertificateRef, message);
    }
    let namespace = reference.namespace.as_deref().unwrap_or(from.namespace);
    let to = Referent {
        group: "",
        kind: "Secret",
        namespace,
        name,
    };
    if !permits(cx.store, from, to) {
        let message = format!(
            "no ReferenceGrant in namespace `{namespace}` permits Secret `{namespace}/{name}`"
        );
        return refuse(Reason::RefNotPermitted, message);
    }
    let Some((material, names)) = key_pair(cx.store, namespace, name) else {
        let message = format!("Secret `{namespace}/{name}` does not exist");
        return refuse(Reason::InvalidCertificateRef, message);
    };
    let key = SecretKey::new(format!("kubernetes://{namespace}/{name}"));
    let problem = match &material {
        SecretMaterial::Invalid { reason } => Some(reason.clone()),
        SecretMaterial::Anchors { .. }
        | SecretMaterial::AnchorFiles { .. }
        | SecretMaterial::KeyPair { .. }
        | SecretMaterial::KeyPairFiles { .. } => None,
    };
    let secret = Secret {
        key,
        material,
        source: SourceRef {
            kind: "Secret".to_owned(),
            namespace: namespace.to_owned(),
            name: name.clone(),
            section: String::new(),
        },
    };
    let Some(problem) = problem else {
        return Ok(Usable { secret, names });
    };
    let message = format!("Secret `{namespace}/{name}`: {problem}");
    if let Some(found) = cx.store.get::<core::Secret>(namespace, name) {
        cx.tell(
            Severity::Error,
            Code::UnusableSecret,
            found.object,
            "data",
            &problem,
        );
    }
    Err(Unusable {
        reason: Reason::InvalidCertificateRef,
        message,
        secret: Some(Box::new(secret)),
    })
}

/// The certificate and key that a Secret holds, and its DNS names; nothing when it does not exist.
fn key_pair(store: &Store, namespace: &str, name: &str) -> Option<(SecretMaterial, Vec<String>)> {
    let secret = store.get::<core::Secret>(namespace, name)?;
    let text = |key: &str| -> Result<String, String> {
        let bytes = secret
            .value(key)?
            .ok_or_else(|| format!("it has no `{key}`"))?;
        String::from_utf8(bytes).map_err(|_error| format!("`{key}` is not PEM text"))
    };
    let parse = || -> Result<(SecretMaterial, Vec<String>), String> {
        let (certificates, private_key) = (text("tls.crt")?, text("tls.key")?);
        let pair =
            KeyPair::parse(&certificates, &private_key).map_err(|error| error.to_string())?;
        let material = SecretMaterial::KeyPair {
            certificates: Pem::new(certificates),
            private_key: PrivatePem::new(private_key),
            ocsp_staple: None,
        };
        Ok((material, dns_names(pair.leaf())))
    };
    Some(parse().unwrap_or_else(|reason| (SecretMaterial::Invalid { reason }, Vec::new())))
}

fn dns_names(certificate: &Certificate) -> Vec<String> {
    let names = certificate.names().iter();
    names
        .filter_map(|name| {
            if let San::Dns(name) = name {
                Some(name.clone())
            } else {
                None
            }
        })
        .collect()
}
