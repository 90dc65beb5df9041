//! Certificates, private keys and trust anchors. Nothing here prints its secret content.

use crate::{SecretKey, SourceRef};
use serde::{Deserialize, Serialize};
use std::{fmt, sync::Arc};
use zeroize::Zeroizing;

/// A certificate with its key, or trust anchors.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Secret {
    /// Key of this resource.
    pub key: SecretKey,
    /// What the secret holds.
    pub material: SecretMaterial,
    /// The user object it came from.
    pub source: SourceRef,
}

/// What a [`Secret`] holds.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub enum SecretMaterial {
    /// Trust anchors for verifying peers.
    Anchors {
        /// One or more CA certificates.
        certificates: Pem,
        /// Revocation lists, if any.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        revocations: Option<Pem>,
    },
    /// Trust anchors in files of the gateway's host, followed when they change.
    AnchorFiles {
        /// Path of a PEM file with CA certificates.
        certificates: String,
        /// Path of a PEM file with revocation lists, if any.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        revocations: Option<String>,
    },
    /// The object exists but holds nothing usable.
    ///
    /// A gateway that holds a usable earlier version keeps serving it; one that does not fails
    /// the handshakes of exactly the chains that name this secret.
    Invalid {
        /// Why, in one sentence.
        reason: String,
    },
    /// A certificate chain, leaf first, and the leaf's private key.
    KeyPair {
        /// The chain.
        certificates: Pem,
        /// The private key.
        private_key: PrivatePem,
        /// A DER OCSP response to staple, base64, if any.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        ocsp_staple: Option<String>,
    },
    /// A certificate chain and its private key in files of the gateway's host, followed when they
    /// change.
    KeyPairFiles {
        /// Path of the PEM file with the chain, leaf first.
        certificates: String,
        /// Path of the PEM file with the private key.
        private_key: String,
    },
}

/// Public PEM text. Its `Debug` form is its length, to keep dumps readable.
#[derive(Clone, Deserialize, Eq, PartialEq, Serialize)]
#[serde(transparent)]
pub struct Pem(Arc<str>);

impl Pem {
    /// Wraps PEM text without checking it.
    pub fn new(text: impl Into<Arc<str>>) -> Self {
        Self(text.into())
    }

    /// The PEM text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Pem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[PEM, {} bytes]", self.0.len())
    }
}

/// PEM text of a private key. Neither `Debug` nor dumps show it; only the wire form does. Memory is
/// wiped when the last copy is dropped.
#[derive(Clone, Deserialize, Eq, PartialEq, Serialize)]
#[serde(from = "String", into = "String")]
pub struct PrivatePem(Arc<Zeroizing<String>>);

impl PrivatePem {
    /// Wraps PEM text without checking it.
    pub fn new(text: impl Into<String>) -> Self {
        Self(Arc::new(Zeroizing::new(text.into())))
    }

    /// The PEM text, for building a signing key. Never write it anywhere.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl From<String> for PrivatePem {
    fn from(text: String) -> Self {
        Self::new(text)
    }
}

impl From<PrivatePem> for String {
    fn from(pem: PrivatePem) -> Self {
        pem.reveal().to_owned()
    }
}

impl fmt::Debug for PrivatePem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

impl Secret {
    /// The same secret with its private key replaced by `[redacted]`, for dumps and goldens.
    pub fn redacted(&self) -> Self {
        let mut copy = self.clone();
        match &mut copy.material {
            SecretMaterial::KeyPair { private_key, .. } => {
                *private_key = PrivatePem::new("[redacted]");
            }
            SecretMaterial::Anchors { .. }
            | SecretMaterial::AnchorFiles { .. }
            | SecretMaterial::Invalid { .. }
            | SecretMaterial::KeyPairFiles { .. } => {}
        }
        copy
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_private_key_is_never_printed() {
        let secret = Secret {
            key: SecretKey::new("kubernetes://default/cert"),
            material: SecretMaterial::KeyPair {
                certificates: Pem::new("CERT"),
                private_key: PrivatePem::new("TOPSECRET"),
                ocsp_staple: None,
            },
            source: SourceRef::default(),
        };
        assert!(!format!("{secret:?}").contains("TOPSECRET"));
        let dump = serde_json::to_string(&secret.redacted()).unwrap();
        assert!(!dump.contains("TOPSECRET"), "{dump}");
    }
}
