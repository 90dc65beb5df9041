//! Session tickets that end with the client certificate they stand for.

use gwanmun_certs::Certificate;
use rustls::{crypto::aws_lc_rs, server::ProducesTickets};
use std::{
    fmt,
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};

/// Length of the time in front of each session, in bytes.
const STAMP: usize = 8;

/// Encrypts sessions under keys that are this configuration's alone and rotate every 6 hours.
///
/// A resumed session is not verified again, so a ticket is refused once a certificate of the
/// client's chain is over, or a revocation list is out of date: the client then shows its
/// certificate anew.
pub(super) struct Tickets {
    keys: Arc<dyn ProducesTickets>,
    /// When what certificates were verified with is over.
    end: i64,
}

impl Tickets {
    /// Tickets of one server configuration, whose clients' certificates are verified with what is
    /// good until `end`, in seconds since the Unix epoch. Nothing when there is no randomness for
    /// keys.
    pub(super) fn new(end: Option<i64>) -> Option<Self> {
        let keys = aws_lc_rs::Ticketer::new().ok()?;
        let end = end.unwrap_or(i64::MAX);
        Some(Self { keys, end })
    }
}

impl ProducesTickets for Tickets {
    fn enabled(&self) -> bool {
        self.keys.enabled()
    }

    fn lifetime(&self) -> u32 {
        self.keys.lifetime()
    }

    fn encrypt(&self, plain: &[u8]) -> Option<Vec<u8>> {
        let mut end = end_of_session(plain)?;
        // Without a certificate there is nothing to be revoked.
        if end < i64::MAX {
            end = end.min(self.end);
        }
        let mut stamped = zeroize::Zeroizing::new(Vec::with_capacity(STAMP + plain.len()));
        stamped.extend_from_slice(&end.to_be_bytes());
        stamped.extend_from_slice(plain);
        self.keys.encrypt(&stamped)
    }

    fn decrypt(&self, cipher: &[u8]) -> Option<Vec<u8>> {
        let mut stamped = self.keys.decrypt(cipher)?;
        let (end, _) = stamped.split_first_chunk::<STAMP>()?;
        (now() <= i64::from_be_bytes(*end)).then(|| stamped.split_off(STAMP))
    }
}

impl fmt::Debug for Tickets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tickets")
    }
}

/// Seconds since the Unix epoch.
pub(crate) fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(i64::MAX, |since| {
        i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
    })
}

/// When the first of the client's certificates in a session of rustls is over; the end of time
/// without any. Nothing when the session cannot be read: then there is no ticket.
fn end_of_session(plain: &[u8]) -> Option<i64> {
    let mut reader = Reader(plain);
    // The server name, version, cipher suite, secret, and whether it is an extended one.
    if reader.byte()? == 1 {
        let length = reader.byte()?;
        reader.skip(length.into())?;
    }
    reader.skip(4)?;
    let length = reader.byte()?;
    reader.skip(length.into())?;
    reader.skip(1)?;
    if reader.byte()? == 0 {
        return Some(i64::MAX);
    }
    let length = reader.three()?;
    let mut chain = Reader(reader.take(length)?);
    let mut end = i64::MAX;
    while !chain.0.is_empty() {
        let length = chain.three()?;
        let certificate = Certificate::from_der(chain.take(length)?).ok()?;
        end = end.min(certificate.validity().not_after);
    }
    Some(end)
}

struct Reader<'p>(&'p [u8]);

impl<'p> Reader<'p> {
    fn take(&mut self, length: usize) -> Option<&'p [u8]> {
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(taken)
    }

    fn skip(&mut self, length: usize) -> Option<()> {
        self.take(length).map(|_| ())
    }

    fn byte(&mut self) -> Option<u8> {
        self.take(1)?.first().copied()
    }

    fn three(&mut self) -> Option<usize> {
        let bytes = self.take(3)?;
        Some(
            bytes
                .iter()
                .fold(0, |sum, byte| sum << 8 | usize::from(*byte)),
        )
    }
}
