//! References to certificates of authorities.

use super::grant::{Referent, Referrer, permits};
use crate::Store;
use gwanmun_api::core;
use gwanmun_certs::Anchors;
use gwanmun_ir::{Pem, Secret, SecretKey, SecretMaterial, SourceRef};

/// The key that holds the certificates, in ConfigMaps and Secrets alike.
const DATA_KEY: &str = "ca.crt";

/// A reference to an object with certificates.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reference<'a> {
    pub(super) group: &'a str,
    pub(super) kind: &'a str,
    /// That of the referrer, where the reference names none.
    pub(super) namespace: &'a str,
    pub(super) name: &'a str,
}

/// Why a reference does not lead to certificates.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Flaw {
    /// Its kind holds none.
    Kind,
    /// What it names is missing, or holds nothing usable.
    Missing,
    /// No ReferenceGrant permits it.
    NotPermitted,
}

/// What references to certificates hold together.
#[derive(Clone, Debug, Default)]
pub(super) struct Bundle {
    /// All certificates in PEM; absent when no reference is good.
    pub(super) certificates: Option<String>,
    /// What is wrong with which references, by index.
    pub(super) flaws: Vec<(usize, Flaw, String)>,
}

impl Bundle {
    /// Resolves references, all of one referrer. Permission comes before existence, kind before
    /// both.
    pub(super) fn read<'r>(
        store: &Store,
        from: Referrer<'_>,
        references: impl IntoIterator<Item = Reference<'r>>,
    ) -> Self {
        let mut bundle = Self::default();
        for (index, reference) in references.into_iter().enumerate() {
            match certificates(store, from, reference) {
                Ok(text) => {
                    let all = bundle.certificates.get_or_insert_default();
                    all.push_str(text.trim_end());
                    all.push('\n');
                }
                Err((flaw, message)) => bundle.flaws.push((index, flaw, message)),
            }
        }
        bundle
    }

    /// The bundle as one secret, if it holds anything.
    pub(super) fn secret(&self, key: &SecretKey, source: SourceRef) -> Option<Secret> {
        let certificates = self.certificates.as_deref()?;
        Some(Secret {
            key: key.clone(),
            material: SecretMaterial::Anchors {
                certificates: Pem::new(certificates),
                revocations: None,
            },
            source,
        })
    }
}

fn certificates(
    store: &Store,
    from: Referrer<'_>,
    reference: Reference<'_>,
) -> Result<String, (Flaw, String)> {
    let Reference {
        group,
        kind,
        namespace,
        name,
    } = reference;
    if !group.is_empty() || !matches!(kind, "ConfigMap" | "Secret") {
        let message = format!(
            "kind `{kind}` of group `{group}` holds no trusted certificates: use a ConfigMap"
        );
        return Err((Flaw::Kind, message));
    }
    let to = Referent {
        group,
        kind,
        namespace,
        name,
    };
    if !permits(store, from, to) {
        let message = format!(
            "no ReferenceGrant in namespace `{namespace}` permits {kind} `{namespace}/{name}`"
        );
        return Err((Flaw::NotPermitted, message));
    }
    let found = if kind == "Secret" {
        store
            .get::<core::Secret>(namespace, name)
            .map(|secret| secret.value(DATA_KEY))
    } else {
        store
            .get::<core::ConfigMap>(namespace, name)
            .map(|map| map.value(DATA_KEY))
    };
    let read = || -> Result<String, String> {
        let bytes = found
            .ok_or("it does not exist")??
            .ok_or_else(|| format!("it has no `{DATA_KEY}`"))?;
        let text =
            String::from_utf8(bytes).map_err(|_error| format!("`{DATA_KEY}` is not PEM text"))?;
        Anchors::parse(&text, None).map_err(|error| error.to_string())?;
        Ok(text)
    };
    read().map_err(|problem| {
        let message = format!("{kind} `{namespace}/{name}`: {problem}");
        (Flaw::Missing, message)
    })
}
