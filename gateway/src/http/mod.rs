//! HTTP as values: heads, codecs, the request gate, conversion between versions.
//!
//! Nothing here does I/O. Bytes come from untrusted peers on both sides: every parser is strict,
//! bounded and fuzzed.

pub(crate) mod fields;
pub(crate) mod head;
pub(crate) mod known;
mod view;

pub(crate) use head::{
    BodyFraming, RequestHead, ResponseHead, Scheme, TargetForm, Upgrade, Version,
};
pub(crate) use known::Known;
