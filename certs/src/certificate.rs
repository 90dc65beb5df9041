//! One X.509 certificate.

use crate::{CertError, Problem, pem};
use rustls_pki_types::CertificateDer;
use sha2::{Digest, Sha256};
use std::{fmt, net::IpAddr};
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate, X509Version};

pub(crate) const CERTIFICATE: &str = "CERTIFICATE";

/// One X.509 certificate with what people ask about it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Certificate {
    der: CertificateDer<'static>,
    subject: String,
    issuer: String,
    serial: String,
    common_name: Option<String>,
    names: Vec<San>,
    validity: Validity,
    is_ca: bool,
    is_version1: bool,
    public_key: Vec<u8>,
    key_hash: [u8; 32],
    raw_subject: Vec<u8>,
    raw_issuer: Vec<u8>,
}

/// A subject alternative name.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum San {
    /// A DNS name, lower case, perhaps with a wildcard label.
    Dns(String),
    /// An e-mail address.
    Email(String),
    /// An IP address.
    Ip(IpAddr),
    /// A URI, e.g. a SPIFFE identity.
    Uri(String),
}

impl fmt::Display for San {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Dns(text) | Self::Email(text) | Self::Uri(text) => f.write_str(text),
            Self::Ip(address) => address.fmt(f),
        }
    }
}

/// The period in which a certificate is valid, in seconds since the Unix epoch.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Validity {
    /// First valid second.
    pub not_before: i64,
    /// Last valid second.
    pub not_after: i64,
}

impl Validity {
    /// Whether `now` is inside.
    pub fn contains(&self, now: i64) -> bool {
        (self.not_before..=self.not_after).contains(&now)
    }

    /// Whether it is over at `now`.
    pub fn is_over(&self, now: i64) -> bool {
        now > self.not_after
    }
}

impl Certificate {
    /// Parses DER.
    ///
    /// # Errors
    ///
    /// [`Problem::Malformed`] when it is not exactly one certificate.
    pub fn from_der(der: &[u8]) -> Result<Self, Problem> {
        let malformed = || Problem::Malformed("X.509 certificate");
        let (rest, parsed) = X509Certificate::from_der(der).map_err(|_ignored| malformed())?;
        if !rest.is_empty() {
            return Err(malformed());
        }
        let common_name = parsed
            .subject()
            .iter_common_name()
            .find_map(|name| name.as_str().ok())
            .map(str::to_owned);
        Ok(Self {
            der: CertificateDer::from(der.to_vec()),
            subject: parsed.subject().to_string(),
            issuer: parsed.issuer().to_string(),
            serial: hex(parsed.raw_serial()),
            common_name,
            names: names(&parsed),
            validity: Validity {
                not_before: parsed.validity().not_before.timestamp(),
                not_after: parsed.validity().not_after.timestamp(),
            },
            is_ca: parsed.is_ca(),
            is_version1: parsed.version() == X509Version::V1,
            public_key: parsed.public_key().subject_public_key.data.to_vec(),
            key_hash: Sha256::digest(parsed.public_key().raw).into(),
            raw_subject: parsed.subject().as_raw().to_vec(),
            raw_issuer: parsed.issuer().as_raw().to_vec(),
        })
    }

    /// Parses every `CERTIFICATE` block of PEM text, in order; other blocks are ignored.
    ///
    /// # Errors
    ///
    /// [`CertError`] naming the first block that is wrong, or that there is none.
    pub fn parse_chain(certificates: &str) -> Result<Vec<Self>, CertError> {
        parse_all("certificate", certificates)
    }

    /// The certificate in DER.
    pub fn der(&self) -> &CertificateDer<'static> {
        &self.der
    }

    /// The certificate in PEM: lines of 64 characters, each ended.
    pub fn pem(&self) -> String {
        pem::encode(CERTIFICATE, &self.der)
    }

    /// Distinguished name of the subject, as `CN=a, O=b`.
    pub fn subject(&self) -> &str {
        &self.subject
    }

    /// Distinguished name of the issuer.
    pub fn issuer(&self) -> &str {
        &self.issuer
    }

    /// Serial number in lower-case hexadecimal.
    pub fn serial(&self) -> &str {
        &self.serial
    }

    /// Common name of the subject; clients ignore it where there are alternative names.
    pub fn common_name(&self) -> Option<&str> {
        self.common_name.as_deref()
    }

    /// Subject alternative names, in order.
    pub fn names(&self) -> &[San] {
        &self.names
    }

    /// When it is valid.
    pub fn validity(&self) -> Validity {
        self.validity
    }

    /// Whether it may sign others.
    pub fn is_ca(&self) -> bool {
        self.is_ca
    }

    /// Whether it is of version 1, which the TLS library does not know.
    pub fn is_version1(&self) -> bool {
        self.is_version1
    }

    /// SHA-256 of the DER, in lower-case hexadecimal.
    pub fn fingerprint(&self) -> String {
        hex(&Sha256::digest(self.der.as_ref()))
    }

    /// SHA-256 of the public key with its algorithm (SubjectPublicKeyInfo, DER).
    pub fn key_hash(&self) -> [u8; 32] {
        self.key_hash
    }

    /// Whether it is over within `seconds` from `now`, or over already.
    pub fn expires_within(&self, now: i64, seconds: i64) -> bool {
        self.validity.not_after.saturating_sub(seconds) < now
    }

    /// Distinguished name of the subject as [RFC 2253] has it, last component first, in ASCII:
    /// other bytes are escaped as `\XX`.
    ///
    /// [RFC 2253]: https://www.rfc-editor.org/rfc/rfc2253
    pub fn subject_rfc2253(&self) -> String {
        crate::name::rfc2253(&self.raw_subject)
    }

    /// What its extended key usage extension permits, by OpenSSL's names or as object identifiers.
    /// Nothing when there is no such extension: then everything is permitted.
    pub fn extended_key_usages(&self) -> Option<Vec<String>> {
        let (_, parsed) = X509Certificate::from_der(&self.der).ok()?;
        let usage = parsed.extended_key_usage().ok()??.value;
        let known = [
            (usage.any, "anyExtendedKeyUsage"),
            (usage.server_auth, "serverAuth"),
            (usage.client_auth, "clientAuth"),
            (usage.code_signing, "codeSigning"),
            (usage.email_protection, "emailProtection"),
            (usage.time_stamping, "timeStamping"),
            (usage.ocsp_signing, "OCSPSigning"),
        ];
        let names = known.iter().filter(|(set, _)| *set);
        let names = names.map(|(_, name)| (*name).to_owned());
        let others = usage.other.iter().map(ToString::to_string);
        Some(names.chain(others).collect())
    }

    /// Whether the certificate is for `host` (lower case): a DNS name, its wildcard of one label,
    /// or an address; the common name counts where there are no alternative names.
    pub fn covers(&self, host: &str) -> bool {
        if let Ok(address) = host.parse::<IpAddr>() {
            return self.names.contains(&San::Ip(address));
        }
        let mut dns = self.names.iter().filter_map(|name| match name {
            San::Dns(pattern) => Some(pattern.as_str()),
            San::Email(_) | San::Ip(_) | San::Uri(_) => None,
        });
        if self.names.is_empty() {
            return self
                .common_name
                .as_deref()
                .is_some_and(|name| pattern_covers(&name.to_ascii_lowercase(), host));
        }
        dns.any(|pattern| pattern_covers(pattern, host))
    }

    /// A name to call the certificate by: first alternative name, else the subject.
    pub fn title(&self) -> String {
        match (self.names.first(), &self.common_name) {
            (Some(name), _) => name.to_string(),
            (None, Some(name)) => name.clone(),
            (None, None) => self.subject.clone(),
        }
    }

    /// Content of the public key's bit string.
    pub fn public_key(&self) -> &[u8] {
        &self.public_key
    }

    /// The public key with its algorithm (SubjectPublicKeyInfo, DER).
    pub fn public_key_info(&self) -> Vec<u8> {
        X509Certificate::from_der(&self.der)
            .map(|(_, parsed)| parsed.public_key().raw.to_vec())
            .unwrap_or_default()
    }

    /// Whether this is its subject, in DER.
    pub(crate) fn is_named(&self, subject: &[u8]) -> bool {
        self.raw_subject == subject
    }

    /// Whether `issuer` is named as this certificate's issuer.
    pub(crate) fn names_issuer(&self, issuer: &Self) -> bool {
        self.raw_issuer == issuer.raw_subject
    }
}

/// Parses every certificate block of `text`; at least one is required.
pub(crate) fn parse_all(what: &'static str, text: &str) -> Result<Vec<Certificate>, CertError> {
    let mut found = Vec::new();
    for block in pem::blocks(what, text)? {
        if block.label == CERTIFICATE {
            let der = block.decode(what)?;
            found.push(Certificate::from_der(&der).map_err(|problem| block.error(what, problem))?);
        }
    }
    if found.is_empty() {
        return Err(CertError {
            what,
            block: None,
            problem: Problem::Missing(CERTIFICATE),
        });
    }
    Ok(found)
}

fn names(parsed: &X509Certificate<'_>) -> Vec<San> {
    let Ok(Some(extension)) = parsed.subject_alternative_name() else {
        return Vec::new();
    };
    let names = extension.value.general_names.iter();
    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "kinds of names that no TLS client compares are left out"
    )]
    names
        .filter_map(|name| match name {
            GeneralName::DNSName(text) => Some(San::Dns(text.to_ascii_lowercase())),
            GeneralName::RFC822Name(text) => Some(San::Email((*text).to_owned())),
            GeneralName::URI(text) => Some(San::Uri((*text).to_owned())),
            GeneralName::IPAddress(bytes) => address(bytes).map(San::Ip),
            _ => None,
        })
        .collect()
}

fn address(bytes: &[u8]) -> Option<IpAddr> {
    if let Ok(v4) = <[u8; 4]>::try_from(bytes) {
        return Some(IpAddr::from(v4));
    }
    <[u8; 16]>::try_from(bytes).ok().map(IpAddr::from)
}

/// Whether a certificate's name covers `host`; a wildcard stands for exactly one label (RFC 6125).
fn pattern_covers(pattern: &str, host: &str) -> bool {
    match pattern.strip_prefix("*.") {
        Some(parent) => host
            .split_once('.')
            .is_some_and(|(label, rest)| !label.is_empty() && rest == parent),
        None => pattern == host,
    }
}

/// Lower-case hexadecimal.
pub(crate) fn hex(bytes: &[u8]) -> String {
    const DIGITS: [char; 16] = [
        '0', '1', '2', '3', '4', '5', '6', '7', '8', '9', 'a', 'b', 'c', 'd', 'e', 'f',
    ];
    let digit = |value: u8| DIGITS.get(usize::from(value)).copied().unwrap_or('?');
    bytes
        .iter()
        .flat_map(|byte| [digit(byte >> 4), digit(byte & 15)])
        .collect()
}
