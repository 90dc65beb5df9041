//! OCSP responses that a server sends along with its certificate ([RFC 6960]).
//!
//! Signatures are the client's to verify. What is checked here is what a mistake gets wrong: that
//! it is a response at all, about this certificate, and in time.
//!
//! [RFC 6960]: https://www.rfc-editor.org/rfc/rfc6960#section-4.2

use crate::{CertError, Certificate, Problem, base64};
use x509_parser::{
    prelude::{FromDer, X509Certificate},
    time::ASN1Time,
};

const SEQUENCE: u8 = 0x30;
const OCTETS: u8 = 0x04;
const OID: u8 = 0x06;
const ENUMERATED: u8 = 0x0a;
const INTEGER: u8 = 0x02;
const TIME: u8 = 0x18;
const CONTEXT_0: u8 = 0xa0;
/// Of the statuses of a certificate: good, without content.
const GOOD: u8 = 0x80;
/// `id-pkix-ocsp-basic`.
const BASIC: &[u8] = &[0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x30, 0x01, 0x01];

/// An OCSP response about one certificate.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Staple {
    der: Vec<u8>,
    this_update: i64,
    next_update: Option<i64>,
    is_good: bool,
}

impl Staple {
    /// Reads a response in base64 that is about `leaf`.
    ///
    /// # Errors
    ///
    /// [`CertError`] when it is not base64, not a successful basic response, or about other
    /// certificates only.
    pub fn parse(text: &str, leaf: &Certificate) -> Result<Self, CertError> {
        let failed = |problem| CertError {
            what: "OCSP response",
            block: None,
            problem,
        };
        let der = base64(text).ok_or_else(|| failed(Problem::Base64))?;
        let malformed = || failed(Problem::Malformed("OCSP response"));
        let answers = answers(&der).ok_or_else(malformed)?;
        let Some(mut answers) = answers else {
            return Err(failed(Problem::UnsuccessfulResponse));
        };
        let (_, parsed) = X509Certificate::from_der(leaf.der()).map_err(|_error| malformed())?;
        while !answers.0.is_empty() {
            let answer = answers.inside(SEQUENCE).ok_or_else(malformed)?;
            let answer = Answer::read(answer).ok_or_else(malformed)?;
            if answer.serial == parsed.raw_serial() {
                let (this_update, next_update) = (answer.this_update, answer.next_update);
                let is_good = answer.is_good;
                return Ok(Self {
                    der,
                    this_update,
                    next_update,
                    is_good,
                });
            }
        }
        Err(failed(Problem::OtherCertificate(leaf.title())))
    }

    /// The response in DER.
    pub fn der(&self) -> &[u8] {
        &self.der
    }

    /// Whether it may be sent at `now`, in seconds since the Unix epoch. One without an end may.
    pub fn is_current(&self, now: i64) -> bool {
        self.this_update <= now && self.next_update.is_none_or(|next| now <= next)
    }

    /// When it ends, in seconds since the Unix epoch.
    pub fn next_update(&self) -> Option<i64> {
        self.next_update
    }

    /// Whether it says that the certificate is good, neither revoked nor unknown.
    pub fn is_good(&self) -> bool {
        self.is_good
    }
}

/// The answers of a response; nothing inside when it says that there are none, nothing at all when
/// it is malformed.
fn answers(der: &[u8]) -> Option<Option<Der<'_>>> {
    let mut whole = Der(der);
    let mut response = whole.inside(SEQUENCE)?;
    if response.inside(ENUMERATED)?.0 != [0] {
        return Some(None);
    }
    let mut bytes = response.inside(CONTEXT_0)?.inside(SEQUENCE)?;
    if !whole.0.is_empty() || bytes.inside(OID)?.0 != BASIC {
        return None;
    }
    let mut data = bytes.inside(OCTETS)?.inside(SEQUENCE)?.inside(SEQUENCE)?;
    // The version, if it is written.
    if data.0.first() == Some(&CONTEXT_0) {
        data.next()?;
    }
    // Who responds, and when.
    data.next()?;
    data.inside(TIME)?;
    data.inside(SEQUENCE).map(Some)
}

/// What is said about one certificate.
struct Answer<'d> {
    serial: &'d [u8],
    is_good: bool,
    this_update: i64,
    next_update: Option<i64>,
}

impl<'d> Answer<'d> {
    fn read(mut fields: Der<'d>) -> Option<Self> {
        let mut id = fields.inside(SEQUENCE)?;
        // How the issuer is hashed, its name, its key.
        id.inside(SEQUENCE)?;
        id.inside(OCTETS)?;
        id.inside(OCTETS)?;
        let serial = id.inside(INTEGER)?.0;
        let (status, _) = fields.next()?;
        let this_update = fields.time()?;
        let next_update = match fields.0.first() {
            Some(&CONTEXT_0) => Some(fields.inside(CONTEXT_0)?.time()?),
            Some(_) | None => None,
        };
        Some(Self {
            serial,
            is_good: status == GOOD,
            this_update,
            next_update,
        })
    }
}

/// A run of DER values.
struct Der<'d>(&'d [u8]);

impl<'d> Der<'d> {
    /// The next value: its tag and content.
    fn next(&mut self) -> Option<(u8, &'d [u8])> {
        let (&[tag, first], rest) = self.0.split_first_chunk::<2>()?;
        let (length, rest) = match first {
            0..=0x7f => (usize::from(first), rest),
            0x81..=0x83 => {
                let (digits, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
                let length = digits
                    .iter()
                    .fold(0, |sum, digit| sum << 8 | usize::from(*digit));
                (length, rest)
            }
            _ => return None,
        };
        let (content, rest) = rest.split_at_checked(length)?;
        self.0 = rest;
        Some((tag, content))
    }

    /// What is inside the next value, which must have this tag.
    fn inside(&mut self, tag: u8) -> Option<Self> {
        let (found, content) = self.next()?;
        (found == tag).then_some(Self(content))
    }

    /// The next value, which must be a time.
    fn time(&mut self) -> Option<i64> {
        let (rest, time) = ASN1Time::from_der(self.0).ok()?;
        self.0 = rest;
        Some(time.timestamp())
    }
}
