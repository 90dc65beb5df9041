//! What can be wrong with PEM text, in words that name the block.

use std::fmt;

/// What is wrong with a certificate, key or trust anchor, and where.
///
/// Printed as `certificate block 2 (line 31): malformed base64`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct CertError {
    /// Which text: `certificate`, `private key`, `trust anchor`, `revocation list` or
    /// `OCSP response`.
    pub(crate) what: &'static str,
    /// Number of the block among those of its text, from 1, and its first line; nothing when the
    /// text as a whole is meant.
    pub(crate) block: Option<(usize, usize)>,
    /// What is wrong.
    pub(crate) problem: Problem,
}

impl CertError {
    /// What is wrong, without the place.
    pub fn problem(&self) -> &Problem {
        &self.problem
    }
}

impl fmt::Display for CertError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.what)?;
        if let Some((index, line)) = self.block {
            write!(f, " block {index} (line {line})")?;
        }
        write!(f, ": {}", self.problem)
    }
}

impl std::error::Error for CertError {}

/// What is wrong with PEM text or what it holds.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Problem {
    /// The text is empty or blank.
    #[error("the text is empty")]
    Empty,
    /// No block of the kind looked for.
    #[error("no PEM block `{0}` found")]
    Missing(&'static str),
    /// A BEGIN line without its END line.
    #[error("`-----BEGIN {0}-----` has no END line")]
    Unterminated(String),
    /// The text between the lines is not base64.
    #[error("malformed base64")]
    Base64,
    /// The block is not the structure its label says.
    #[error("malformed {0}")]
    Malformed(&'static str),
    /// The private key is protected by a password.
    #[error("the private key is encrypted; store it without a password")]
    Encrypted,
    /// More than one private key.
    #[error("{0} private keys found, expected one")]
    SeveralKeys(usize),
    /// The key's algorithm or size is not supported.
    #[error("unsupported private key: {0}")]
    UnsupportedKey(String),
    /// The key belongs to a certificate further down the chain.
    #[error("the private key belongs to block {0}: the leaf certificate must come first")]
    LeafNotFirst(usize),
    /// The key belongs to none of the certificates.
    #[error("the private key does not belong to the certificate `{0}`")]
    KeyMismatch(String),
    /// The OCSP responder had nothing to say.
    #[error("it says that there was no answer")]
    UnsuccessfulResponse,
    /// The OCSP response is about other certificates only.
    #[error("it is not about the certificate `{0}`")]
    OtherCertificate(String),
    /// The certificate cannot serve as trust anchor.
    #[error("unusable as trust anchor: {0}")]
    Anchor(String),
}
