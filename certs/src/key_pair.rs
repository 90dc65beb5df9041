//! A certificate chain with the private key of its leaf.

use crate::{
    CertError, Certificate, Problem,
    certificate::{CERTIFICATE, parse_all},
    pem,
};
use rustls::{
    crypto::aws_lc_rs::sign::any_supported_type,
    sign::{CertifiedKey, SigningKey},
};
use rustls_pki_types::{PrivateKeyDer, PrivatePkcs1KeyDer, PrivatePkcs8KeyDer, PrivateSec1KeyDer};
use std::{fmt, sync::Arc};
use x509_parser::{prelude::FromDer, x509::SubjectPublicKeyInfo};
use zeroize::Zeroize;

const WHAT: &str = "private key";

/// A certificate chain, leaf first, and the leaf's private key, known to belong together.
#[derive(Clone)]
pub struct KeyPair {
    leaf: Certificate,
    chain: Vec<Certificate>,
    key: Arc<dyn SigningKey>,
}

impl KeyPair {
    /// Parses a chain and a key in PEM and checks that the key is the first certificate's.
    ///
    /// Blocks of other kinds are ignored in both texts. Nothing is said about dates and trust:
    /// see [`Certificate::validity`].
    ///
    /// # Errors
    ///
    /// [`CertError`] naming the block that is wrong.
    pub fn parse(certificates: &str, private_key: &str) -> Result<Self, CertError> {
        let chain = parse_all("certificate", certificates)?;
        let key = parse_key(private_key)?;
        let whole = |problem| CertError {
            what: WHAT,
            block: None,
            problem,
        };
        let Some(leaf) = chain.first() else {
            return Err(whole(Problem::Missing(CERTIFICATE)));
        };
        let info = key.public_key();
        let public = info.as_ref().and_then(|info| {
            let (_, parsed) = SubjectPublicKeyInfo::from_der(info.as_ref()).ok()?;
            Some(parsed.subject_public_key.data.to_vec())
        });
        let Some(public) = public else {
            let text = "its public half cannot be computed".to_owned();
            return Err(whole(Problem::UnsupportedKey(text)));
        };
        if leaf.public_key() != public {
            let owner = chain.iter().position(|one| one.public_key() == public);
            return Err(whole(owner.map_or_else(
                || Problem::KeyMismatch(leaf.title()),
                |position| Problem::LeafNotFirst(position + 1),
            )));
        }
        Ok(Self {
            leaf: leaf.clone(),
            chain,
            key,
        })
    }

    /// The leaf.
    pub fn leaf(&self) -> &Certificate {
        &self.leaf
    }

    /// The whole chain, leaf first.
    pub fn chain(&self) -> &[Certificate] {
        &self.chain
    }

    /// The pair as rustls serves it, with a DER OCSP response to staple.
    pub fn certified(&self, ocsp: Option<Vec<u8>>) -> CertifiedKey {
        let chain = self.chain.iter().map(|one| one.der().clone()).collect();
        let mut certified = CertifiedKey::new(chain, Arc::clone(&self.key));
        certified.ocsp = ocsp;
        certified
    }

    /// What is odd about the chain without making it unusable: a certificate that is not
    /// followed by its issuer. One sentence.
    pub fn chain_warning(&self) -> Option<String> {
        let pairs = self.chain.iter().zip(self.chain.iter().skip(1));
        pairs.enumerate().find_map(|(index, (one, next))| {
            (!one.names_issuer(next)).then(|| {
                format!(
                    "certificate block {} `{}` is not issued by block {} `{}`: clients may not \
                     find the way to their trust anchor",
                    index + 1,
                    one.title(),
                    index + 2,
                    next.title(),
                )
            })
        })
    }
}

impl fmt::Debug for KeyPair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyPair")
            .field("leaf", &self.leaf.title())
            .field("certificates", &self.chain.len())
            .finish_non_exhaustive()
    }
}

fn parse_key(text: &str) -> Result<Arc<dyn SigningKey>, CertError> {
    let mut found = Vec::new();
    for block in pem::blocks(WHAT, text)? {
        let mut key: PrivateKeyDer<'static> = match block.label.as_str() {
            "PRIVATE KEY" => PrivatePkcs8KeyDer::from(block.decode(WHAT)?).into(),
            "RSA PRIVATE KEY" if block.is_encrypted() => {
                return Err(block.error(WHAT, Problem::Encrypted));
            }
            "RSA PRIVATE KEY" => PrivatePkcs1KeyDer::from(block.decode(WHAT)?).into(),
            "EC PRIVATE KEY" if block.is_encrypted() => {
                return Err(block.error(WHAT, Problem::Encrypted));
            }
            "EC PRIVATE KEY" => PrivateSec1KeyDer::from(block.decode(WHAT)?).into(),
            "ENCRYPTED PRIVATE KEY" => return Err(block.error(WHAT, Problem::Encrypted)),
            _ => continue,
        };
        let signing = any_supported_type(&key);
        key.zeroize();
        let signing = signing
            .map_err(|error| block.error(WHAT, Problem::UnsupportedKey(error.to_string())))?;
        found.push(signing);
    }
    let whole = |problem| CertError {
        what: WHAT,
        block: None,
        problem,
    };
    if found.len() > 1 {
        return Err(whole(Problem::SeveralKeys(found.len())));
    }
    found
        .pop()
        .ok_or_else(|| whole(Problem::Missing("PRIVATE KEY")))
}
