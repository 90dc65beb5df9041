//! HTTP as values: heads, codecs, the request gate, conversion between versions.
//!
//! Nothing here does I/O. Bytes come from untrusted peers on both sides: every parser is strict,
//! bounded and fuzzed.

mod authority;
mod date;
pub(crate) mod error;
pub(crate) mod fields;
pub(crate) mod forward;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod fuzzing;
pub(crate) mod gate;
pub(crate) mod h1;
pub(crate) mod h2;
pub(crate) mod head;
pub(crate) mod known;
mod normalize;
pub(crate) mod reason;
pub(crate) mod reply;
mod uuid;
mod view;

pub(crate) use authority::is_valid as is_authority;
pub(crate) use date::iso_time;
pub(crate) use error::RequestError;
#[cfg(test)]
pub(crate) use error::{BodyError, ProtocolError};
#[cfg(test)]
pub(crate) use head::TargetForm;
pub(crate) use head::{BodyFraming, RequestHead, ResponseHead, Scheme, Upgrade, Version};
pub(crate) use known::Known;
pub(crate) use reply::LocalReply;

#[cfg(test)]
mod tests;
