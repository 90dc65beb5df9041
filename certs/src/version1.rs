//! X.509 version 1 certificates: `openssl x509 -req` makes them where it is given no extensions,
//! and the TLS library knows version 3 only.
//!
//! They have no extensions, hence no usages and no alternative names, and cannot sign others.

use crate::{Anchors, Certificate};
use rustls::{CertificateError, Error};
use x509_parser::{
    oid_registry::{
        OID_PKCS1_RSASSAPSS, OID_PKCS1_SHA256WITHRSA, OID_PKCS1_SHA384WITHRSA,
        OID_PKCS1_SHA512WITHRSA, OID_SIG_ECDSA_WITH_SHA256, OID_SIG_ECDSA_WITH_SHA384, Oid,
    },
    prelude::{CertificateRevocationList, FromDer, X509Certificate, X509Version},
};

impl Anchors {
    /// Verifies a version 1 certificate that one of the anchors signed itself: signature, dates,
    /// and revocation where there are lists.
    ///
    /// # Errors
    ///
    /// As the TLS library has them; `BadEncoding` when it is not of version 1.
    pub fn verify_version1(&self, der: &[u8], now: i64) -> Result<(), Error> {
        let refused = |error| Err(Error::InvalidCertificate(error));
        let Ok(([], leaf)) = X509Certificate::from_der(der) else {
            return refused(CertificateError::BadEncoding);
        };
        if leaf.version() != X509Version::V1 {
            return refused(CertificateError::BadEncoding);
        }
        let signed = |anchor: &&Certificate| {
            anchor.is_named(leaf.issuer().as_raw())
                && is_strong(&leaf.signature_algorithm.algorithm)
                && X509Certificate::from_der(anchor.der()).is_ok_and(|(_, anchor)| {
                    let key = Some(anchor.public_key());
                    leaf.verify_signature(key).is_ok()
                })
        };
        let Some(anchor) = self.certificates().iter().find(signed) else {
            return refused(CertificateError::UnknownIssuer);
        };
        let validity = leaf.validity();
        if now < validity.not_before.timestamp() {
            return refused(CertificateError::NotValidYet);
        }
        if now > validity.not_after.timestamp() {
            return refused(CertificateError::Expired);
        }
        if self.revocations().is_empty() {
            return Ok(());
        }
        self.check_revocation(&leaf, anchor, now)
    }

    /// As with other certificates, a list that is missing or out of date counts as no.
    fn check_revocation(
        &self,
        leaf: &X509Certificate<'_>,
        anchor: &Certificate,
        now: i64,
    ) -> Result<(), Error> {
        let mut found = CertificateError::UnknownRevocationStatus;
        for list in self.revocations() {
            let Ok((_, list)) = CertificateRevocationList::from_der(list.as_ref()) else {
                continue;
            };
            let own = list.issuer().as_raw() == leaf.issuer().as_raw()
                && is_strong(&list.signature_algorithm.algorithm)
                && X509Certificate::from_der(anchor.der())
                    .is_ok_and(|(_, anchor)| list.verify_signature(anchor.public_key()).is_ok());
            if !own {
                continue;
            }
            let mut revoked = list.iter_revoked_certificates();
            if revoked.any(|one| one.raw_serial() == leaf.raw_serial()) {
                return Err(Error::InvalidCertificate(CertificateError::Revoked));
            }
            if list
                .next_update()
                .is_some_and(|next| next.timestamp() >= now)
            {
                return Ok(());
            }
            found = CertificateError::ExpiredRevocationList;
        }
        Err(Error::InvalidCertificate(found))
    }
}

/// The signatures that count; SHA-1 does not.
fn is_strong(algorithm: &Oid<'_>) -> bool {
    [
        OID_PKCS1_RSASSAPSS,
        OID_PKCS1_SHA256WITHRSA,
        OID_PKCS1_SHA384WITHRSA,
        OID_PKCS1_SHA512WITHRSA,
        OID_SIG_ECDSA_WITH_SHA256,
        OID_SIG_ECDSA_WITH_SHA384,
    ]
    .contains(algorithm)
}
