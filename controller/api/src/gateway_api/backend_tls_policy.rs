//! BackendTLSPolicy.

use super::{LocalObjectReference, LocalPolicyTargetReference};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// How connections to backends are encrypted.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct BackendTlsPolicy {
    /// What is wanted.
    pub spec: BackendTlsPolicySpec,
}

/// What a [`BackendTlsPolicy`] wants.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct BackendTlsPolicySpec {
    /// The backends, usually Services or ports of them.
    pub target_refs: Vec<LocalPolicyTargetReference>,
    /// How the backend's certificate is verified.
    pub validation: BackendTlsPolicyValidation,
    /// Settings of the implementation.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub options: BTreeMap<String, String>,
}

/// How a backend's certificate is verified.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct BackendTlsPolicyValidation {
    /// Trust anchors, usually ConfigMaps.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ca_certificate_refs: Vec<LocalObjectReference>,
    /// Well-known trust anchors, instead of references.
    #[serde(
        rename = "wellKnownCACertificates",
        default,
        skip_serializing_if = "Option::is_none"
    )]
    pub well_known_ca_certificates: Option<WellKnownCaCertificates>,
    /// Server name to ask for, and the name that the certificate must have unless
    /// `subject_alt_names` says otherwise.
    pub hostname: String,
    /// Names of which the certificate must have one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub subject_alt_names: Vec<SubjectAltName>,
}

open_enum! {
    /// Well-known trust anchors.
    pub enum WellKnownCaCertificates {
        /// The system's.
        System = "System",
    }
}

/// A name that a certificate may have.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SubjectAltName {
    /// Which kind of name it is.
    #[serde(rename = "type")]
    pub name_type: SubjectAltNameType,
    /// A DNS name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hostname: Option<String>,
    /// A URI, e.g. a SPIFFE identity.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uri: Option<String>,
}

open_enum! {
    /// Which kind of name a [`SubjectAltName`] is.
    pub enum SubjectAltNameType {
        /// A DNS name.
        Hostname = "Hostname",
        /// A URI.
        Uri = "URI",
    }
}
