//! Verifying an endpoint's certificate.

use gwanmun_certs::{Anchors, Certificate, San};
use rustls::{
    CertificateError, DigitallySignedStruct, Error, RootCertStore, SignatureScheme,
    client::{
        WebPkiServerVerifier,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature},
};
use rustls_pki_types::{CertificateDer, CertificateRevocationListDer, ServerName, UnixTime};
use std::{net::IpAddr, sync::Arc};

/// Trust anchors of either kind.
#[derive(Clone, Debug)]
pub(super) struct Roots {
    roots: RootCertStore,
    revocations: Vec<CertificateRevocationListDer<'static>>,
    trusted: Vec<CertificateDer<'static>>,
}

impl From<&Anchors> for Roots {
    fn from(anchors: &Anchors) -> Self {
        Self {
            roots: anchors.roots().clone(),
            revocations: anchors.revocations().to_vec(),
            trusted: anchors
                .certificates()
                .iter()
                .map(|certificate| certificate.der().clone())
                .collect(),
        }
    }
}

impl From<RootCertStore> for Roots {
    fn from(roots: RootCertStore) -> Self {
        Self {
            roots,
            revocations: Vec::new(),
            trusted: Vec::new(),
        }
    }
}

/// Verifies chain, dates, revocation, and names: one of a list, or without a list the server's.
#[derive(Clone, Debug)]
pub(super) struct Names {
    chain: Arc<WebPkiServerVerifier>,
    /// Trusted themselves, not only for signing others.
    trusted: Vec<CertificateDer<'static>>,
    accepted: Accepted,
}

/// Which names a certificate may have.
#[derive(Clone, Debug, Eq, PartialEq)]
enum Accepted {
    /// Any: neither a list nor a server name is there.
    Any,
    /// One of these.
    OneOf(Vec<String>),
    /// The server's.
    Server,
}

impl Names {
    /// A verifier that trusts `anchors` and accepts the names in `accepted`.
    pub(super) fn new(anchors: &Roots, accepted: Vec<String>) -> Result<Self, String> {
        let chain = WebPkiServerVerifier::builder_with_provider(
            Arc::new(anchors.roots.clone()),
            provider(),
        )
        .with_crls(anchors.revocations.clone())
        .build()
        .map_err(|error| format!("trust anchors: {error}"))?;
        Ok(Self {
            chain,
            trusted: anchors.trusted.clone(),
            accepted: if accepted.is_empty() {
                Accepted::Server
            } else {
                Accepted::OneOf(accepted)
            },
        })
    }

    /// Whether there is a list of names.
    pub(super) fn has_list(&self) -> bool {
        matches!(self.accepted, Accepted::OneOf(_))
    }

    /// The same for connections without a server name: without a list, the chain alone counts.
    pub(super) fn unnamed(&self) -> Self {
        let mut unnamed = self.clone();
        if unnamed.accepted == Accepted::Server {
            unnamed.accepted = Accepted::Any;
        }
        unnamed
    }

    /// Whether the certificate carries an accepted name; `server` is the server's.
    fn check_names(&self, leaf: &Certificate, server: &ServerName<'_>) -> Result<(), Error> {
        let fits = match &self.accepted {
            Accepted::Any => true,
            Accepted::OneOf(names) => names.iter().any(|name| carries(leaf, name)),
            Accepted::Server => carries(leaf, &server.to_str()),
        };
        if fits {
            return Ok(());
        }
        Err(Error::InvalidCertificate(CertificateError::NotValidForName))
    }

    /// A certificate that is itself an anchor needs no chain, as with BoringSSL's partial chains:
    /// self-signed certificates are used like this.
    fn check_trusted(
        &self,
        leaf: &Certificate,
        name: &ServerName<'_>,
        now: UnixTime,
    ) -> Result<(), Error> {
        let now = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
        let validity = leaf.validity();
        if validity.is_over(now) {
            return Err(Error::InvalidCertificate(CertificateError::Expired));
        }
        if !validity.contains(now) {
            return Err(Error::InvalidCertificate(CertificateError::NotValidYet));
        }
        self.check_names(leaf, name)
    }
}

/// Whether `leaf` has `name`, a DNS name, an address, a URI or a mail address, as an alternative
/// name. A wildcard in the certificate stands for one label.
fn carries(leaf: &Certificate, name: &str) -> bool {
    if let Ok(address) = name.parse::<IpAddr>() {
        return leaf.names().contains(&San::Ip(address));
    }
    let exactly = leaf
        .names()
        .iter()
        .any(|san| matches!(san, San::Uri(text) | San::Email(text) if text == name));
    let dns = || {
        let lower = name.to_ascii_lowercase();
        let listed = |san: &San| matches!(san, San::Dns(dns) if *dns == lower);
        leaf.names().iter().any(listed) || (!leaf.names().is_empty() && leaf.covers(&lower))
    };
    exactly || (!name.contains("://") && dns())
}

impl ServerCertVerifier for Names {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let parse = || {
            Certificate::from_der(end_entity)
                .map_err(|_problem| Error::InvalidCertificate(CertificateError::BadEncoding))
        };
        if self.trusted.iter().any(|trusted| trusted == end_entity) {
            self.check_trusted(&parse()?, server_name, now)?;
            return Ok(ServerCertVerified::assertion());
        }
        let verified = self.chain.verify_server_cert(
            end_entity,
            intermediates,
            server_name,
            ocsp_response,
            now,
        );
        if self.accepted == Accepted::Server {
            return verified;
        }
        match verified {
            // The chain was verified before the name.
            Ok(_)
            | Err(Error::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            )) => {
                self.check_names(&parse()?, server_name)?;
                Ok(ServerCertVerified::assertion())
            }
            Err(error) => Err(error),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.chain.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.chain.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.chain.supported_verify_schemes()
    }
}

/// Verifies only that the endpoint has the key of the certificate it shows.
#[derive(Debug)]
pub(super) struct Nothing(Arc<CryptoProvider>);

impl Nothing {
    /// A verifier that accepts every certificate.
    pub(super) fn new() -> Self {
        Self(provider())
    }
}

impl ServerCertVerifier for Nothing {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(
            message,
            cert,
            dss,
            &self.0.signature_verification_algorithms,
        )
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(
            message,
            cert,
            dss,
            &self.0.signature_verification_algorithms,
        )
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

/// The process's cryptography, or the default one where the program installed none (tests).
pub(super) fn provider() -> Arc<CryptoProvider> {
    CryptoProvider::get_default().map_or_else(
        || Arc::new(rustls::crypto::aws_lc_rs::default_provider()),
        Arc::clone,
    )
}
