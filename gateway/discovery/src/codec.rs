//! Resources as bytes and back: the only place that knows which encoding the wire has.

use crate::proto;
use bytes::Bytes;
use gwanmun_ir::{Key, Report, Resource};
use sha2::{Digest, Sha256};
use std::{fmt::Write, sync::Arc};

/// A resource as it is sent.
#[derive(Clone)]
pub(crate) struct Encoded {
    /// Hash of the body.
    pub(crate) version: Arc<str>,
    pub(crate) body: Bytes,
}

/// Encodes a resource.
pub(crate) fn encode(resource: &Resource) -> serde_json::Result<Encoded> {
    let body = Bytes::from(serde_json::to_vec(resource)?);
    Ok(Encoded {
        version: version(&body).into(),
        body,
    })
}

/// Content version: equal bodies have equal ones, whichever controller replica encoded them.
pub(crate) fn version(body: &[u8]) -> String {
    let mut text = String::with_capacity(32);
    for byte in Sha256::digest(body).iter().take(16) {
        let _ = write!(text, "{byte:02x}");
    }
    text
}

/// The key of a resource as it is sent.
pub(crate) fn key_text(key: &Key) -> serde_json::Result<String> {
    serde_json::to_string(key)
}

/// A key as it was sent.
pub(crate) fn key(text: &str) -> serde_json::Result<Key> {
    serde_json::from_str(text)
}

/// A resource as it was sent.
pub(crate) fn decode(body: &[u8]) -> serde_json::Result<Resource> {
    serde_json::from_slice(body)
}

/// A report as it is sent.
pub(crate) fn encode_report(update: u64, report: &Report) -> serde_json::Result<proto::Report> {
    Ok(proto::Report {
        update,
        body: serde_json::to_vec(report)?,
    })
}

/// A report as it was sent.
pub(crate) fn decode_report(report: &proto::Report) -> serde_json::Result<Report> {
    serde_json::from_slice(&report.body)
}
