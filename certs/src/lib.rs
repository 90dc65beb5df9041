//! Certificates as values: parsing, names, validity, key agreement.
//!
//! Pure: no files, no sockets, no clock. Who asks about validity brings the time along.

mod anchors;
mod certificate;
mod error;
mod key_pair;
mod name;
mod ocsp;
mod pem;
mod version1;

pub use anchors::Anchors;
pub use certificate::{Certificate, San, Validity};
pub use error::{CertError, Problem};
pub use key_pair::KeyPair;
pub use ocsp::Staple;
pub use pem::base64;
