//! What is asked of clients, and which of their certificates are accepted.

use gwanmun_certs::{Anchors, Certificate, San};
use gwanmun_ir::ClientValidation;
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, SignatureScheme,
    client::danger::HandshakeSignatureValid,
    crypto::{
        CryptoProvider, WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature,
        verify_tls13_signature_with_raw_key,
    },
    server::{
        WebPkiClientVerifier,
        danger::{ClientCertVerified, ClientCertVerifier},
    },
};
use rustls_pki_types::{CertificateDer, SubjectPublicKeyInfoDer, UnixTime};
use std::{fmt, net::IpAddr, sync::Arc};

/// Trust anchors in service.
pub(super) struct Trust {
    /// Unique among all anchors that ever served in this process.
    pub(super) generation: u64,
    chain: Arc<dyn ClientCertVerifier>,
    anchors: Anchors,
}

impl Trust {
    /// Makes anchors and revocation lists ready for use.
    ///
    /// # Errors
    ///
    /// What is wrong with them, in one sentence.
    pub(super) fn new(
        anchors: Anchors,
        provider: &Arc<CryptoProvider>,
        generation: u64,
    ) -> Result<Self, String> {
        // As Envoy does: where there are revocation lists, every certificate of the path must be
        // on none of them, and a list that is missing or out of date counts as no.
        let chain = WebPkiClientVerifier::builder_with_provider(
            Arc::new(anchors.roots().clone()),
            Arc::clone(provider),
        )
        .with_crls(anchors.revocations().iter().cloned())
        .enforce_revocation_expiration()
        .build()
        .map_err(|error| error.to_string())?;
        Ok(Self {
            generation,
            chain,
            anchors,
        })
    }

    /// The anchors themselves.
    pub(super) fn anchors(&self) -> &Anchors {
        &self.anchors
    }

    /// When the first of the revocation lists is out of date, in seconds since the Unix epoch.
    pub(super) fn revocations_end(&self) -> Option<i64> {
        self.anchors.revocations_end()
    }

    /// Verifies the path to an anchor, dates, usage and revocation.
    fn verify(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<(), Error> {
        match self
            .chain
            .verify_client_cert(end_entity, intermediates, now)
        {
            Ok(_) => Ok(()),
            Err(_) if is_version1(end_entity) => {
                let now = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
                self.anchors.verify_version1(end_entity, now)
            }
            // Another's key under the name of an anchor: the way to ours is not found.
            Err(Error::InvalidCertificate(CertificateError::BadSignature)) => {
                Err(Error::InvalidCertificate(CertificateError::UnknownIssuer))
            }
            Err(error) => Err(error),
        }
    }
}

/// Verifies the certificates of a policy's clients.
pub(super) struct Verifier {
    /// Nothing accepts any certificate.
    checks: Option<Checks>,
    mandatory: bool,
    algorithms: WebPkiSupportedAlgorithms,
}

/// What a certificate must fulfil.
struct Checks {
    trust: Arc<Trust>,
    names: Vec<String>,
    pins: Option<Pins>,
}

/// Of which a certificate must match one. Without a usable one nothing matches.
struct Pins {
    keys: Vec<[u8; 32]>,
    certificates: Vec<String>,
}

impl Verifier {
    /// A verifier of what `validation` says, which accepts clients without certificate unless
    /// they are `mandatory`.
    pub(super) fn new(
        validation: &ClientValidation,
        trust: Arc<Trust>,
        mandatory: bool,
        provider: &CryptoProvider,
    ) -> Self {
        Self {
            checks: Some(Checks {
                trust,
                names: validation.subject_alt_names.clone(),
                pins: Pins::of(validation),
            }),
            mandatory,
            algorithms: provider.signature_verification_algorithms,
        }
    }

    /// A verifier that asks for a certificate and takes any, and none unless it is `mandatory`.
    pub(super) fn unverified(mandatory: bool, provider: &CryptoProvider) -> Self {
        Self {
            checks: None,
            mandatory,
            algorithms: provider.signature_verification_algorithms,
        }
    }
}

impl Verifier {
    /// Verifies a signature of TLS 1.2 with the key of a version 1 certificate.
    fn verify_with_key(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let leaf = key_of(cert)?;
        let mapping = self.algorithms.mapping.iter();
        let mut algorithms = mapping
            .filter(|(scheme, _)| *scheme == dss.scheme)
            .flat_map(|(_, algorithms)| algorithms.iter());
        algorithms
            .find(|one| {
                one.verify_signature(leaf.public_key(), message, dss.signature())
                    .is_ok()
            })
            .map(|_| HandshakeSignatureValid::assertion())
            .ok_or(Error::InvalidCertificate(CertificateError::BadSignature))
    }
}

fn key_of(cert: &CertificateDer<'_>) -> Result<Certificate, Error> {
    Certificate::from_der(cert)
        .map_err(|_problem| Error::InvalidCertificate(CertificateError::BadEncoding))
}

/// Whether the library refuses a certificate for its version alone.
fn is_version1(cert: &CertificateDer<'_>) -> bool {
    Certificate::from_der(cert).is_ok_and(|cert| cert.is_version1())
}

impl Pins {
    fn of(validation: &ClientValidation) -> Option<Self> {
        if validation.spki_sha256.is_empty() && validation.certificate_sha256.is_empty() {
            return None;
        }
        let keys = validation.spki_sha256.iter();
        let certificates = validation.certificate_sha256.iter();
        Some(Self {
            keys: keys.filter_map(|pin| key_pin(pin)).collect(),
            certificates: certificates
                .filter(|pin| is_certificate_pin(pin))
                .map(|pin| pin.to_ascii_lowercase())
                .collect(),
        })
    }

    fn accept(&self, leaf: &Certificate) -> bool {
        self.keys.contains(&leaf.key_hash()) || self.certificates.contains(&leaf.fingerprint())
    }
}

/// The pins of a policy that cannot match anything.
pub(super) fn invalid_pins(validation: &ClientValidation) -> Vec<&str> {
    let keys = validation.spki_sha256.iter();
    let certificates = validation.certificate_sha256.iter();
    keys.filter(|pin| key_pin(pin).is_none())
        .chain(certificates.filter(|pin| !is_certificate_pin(pin)))
        .map(String::as_str)
        .collect()
}

fn key_pin(pin: &str) -> Option<[u8; 32]> {
    gwanmun_certs::base64(pin)?.try_into().ok()
}

fn is_certificate_pin(pin: &str) -> bool {
    pin.len() == 64 && pin.bytes().all(|byte| byte.is_ascii_hexdigit())
}

impl Checks {
    fn verify(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<(), Error> {
        self.trust.verify(end_entity, intermediates, now)?;
        if self.names.is_empty() && self.pins.is_none() {
            return Ok(());
        }
        let leaf = Certificate::from_der(end_entity)
            .map_err(|_problem| Error::InvalidCertificate(CertificateError::BadEncoding))?;
        if !self.names.is_empty() && !self.names.iter().any(|name| carries(&leaf, name)) {
            return Err(Error::InvalidCertificate(CertificateError::NotValidForName));
        }
        if self.pins.as_ref().is_some_and(|pins| !pins.accept(&leaf)) {
            return Err(Error::InvalidCertificate(
                CertificateError::ApplicationVerificationFailure,
            ));
        }
        Ok(())
    }
}

/// Whether exactly `name` is among the alternative names, of whatever type.
fn carries(leaf: &Certificate, name: &str) -> bool {
    leaf.names().iter().any(|san| match san {
        San::Dns(dns) => dns.eq_ignore_ascii_case(name),
        San::Ip(address) => name.parse() == Ok::<IpAddr, _>(*address),
        San::Email(_) | San::Uri(_) | _ => san.to_string() == name,
    })
}

impl ClientCertVerifier for Verifier {
    fn client_auth_mandatory(&self) -> bool {
        self.mandatory
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.checks
            .as_ref()
            .map_or(&[], |checks| checks.trust.chain.root_hint_subjects())
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        if let Some(checks) = &self.checks {
            checks.verify(end_entity, intermediates, now)?;
        }
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        match verify_tls12_signature(message, cert, dss, &self.algorithms) {
            Err(_) if is_version1(cert) => self.verify_with_key(message, cert, dss),
            outcome => outcome,
        }
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        match verify_tls13_signature(message, cert, dss, &self.algorithms) {
            Err(_) if is_version1(cert) => {
                let key = SubjectPublicKeyInfoDer::from(key_of(cert)?.public_key_info());
                verify_tls13_signature_with_raw_key(message, &key, dss, &self.algorithms)
            }
            outcome => outcome,
        }
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

impl fmt::Debug for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Verifier")
            .field("mandatory", &self.mandatory)
            .field("checks", &self.checks.is_some())
            .finish_non_exhaustive()
    }
}
