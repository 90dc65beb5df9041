//! Trust anchors.

use crate::{CertError, Certificate, Problem, certificate::parse_all, pem};
use rustls::RootCertStore;
use rustls_pki_types::CertificateRevocationListDer;
use x509_parser::prelude::{CertificateRevocationList, FromDer};

const REVOCATIONS: &str = "revocation list";

/// Certificates that are trusted to sign others.
#[derive(Clone, Debug)]
pub struct Anchors {
    certificates: Vec<Certificate>,
    roots: RootCertStore,
    revocations: Vec<CertificateRevocationListDer<'static>>,
}

impl Anchors {
    /// Parses one or more certificates in PEM, and revocation lists if any. A certificate that
    /// occurs twice counts once.
    ///
    /// # Errors
    ///
    /// [`CertError`] naming the block that is wrong.
    pub fn parse(certificates: &str, revocations: Option<&str>) -> Result<Self, CertError> {
        let mut unique: Vec<Certificate> = Vec::new();
        let mut roots = RootCertStore::empty();
        for (index, one) in parse_all("trust anchor", certificates)?
            .into_iter()
            .enumerate()
        {
            if unique.contains(&one) {
                continue;
            }
            roots.add(one.der().clone()).map_err(|error| CertError {
                what: "trust anchor",
                block: None,
                problem: Problem::Anchor(format!(
                    "certificate {} `{}`: {error}",
                    index + 1,
                    one.title()
                )),
            })?;
            unique.push(one);
        }
        let revocations = revocations.map_or_else(|| Ok(Vec::new()), parse_revocations)?;
        Ok(Self {
            certificates: unique,
            roots,
            revocations,
        })
    }

    /// The certificates, in order.
    pub fn certificates(&self) -> &[Certificate] {
        &self.certificates
    }

    /// The anchors as rustls uses them.
    pub fn roots(&self) -> &RootCertStore {
        &self.roots
    }

    /// When the first of the revocation lists is out of date, in seconds since the Unix epoch.
    pub fn revocations_end(&self) -> Option<i64> {
        let lists = self.revocations.iter();
        let ends = lists.filter_map(|list| {
            let (_, list) = CertificateRevocationList::from_der(list.as_ref()).ok()?;
            Some(list.next_update()?.timestamp())
        });
        ends.min()
    }

    /// Revocation lists in DER.
    pub fn revocations(&self) -> &[CertificateRevocationListDer<'static>] {
        &self.revocations
    }
}

fn parse_revocations(text: &str) -> Result<Vec<CertificateRevocationListDer<'static>>, CertError> {
    let mut found = Vec::new();
    for block in pem::blocks(REVOCATIONS, text)? {
        if block.label == "X509 CRL" {
            found.push(block.decode(REVOCATIONS)?.into());
        }
    }
    if found.is_empty() {
        return Err(CertError {
            what: REVOCATIONS,
            block: None,
            problem: Problem::Missing("X509 CRL"),
        });
    }
    Ok(found)
}
