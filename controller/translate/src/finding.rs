//! What there is to tell a user about their objects, besides statuses.

use crate::{Store, output::Sink};
use gwanmun_api::{Object, ObjectKey};
use serde::{Serialize, Serializer};
use std::{fmt, sync::Arc};

/// How bad a [`Finding`] is.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Severity {
    /// Something is not served as written.
    Error,
    /// Something is probably not what was meant.
    Warning,
    /// Worth knowing.
    Info,
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Error => "error",
            Self::Warning => "warning",
            Self::Info => "info",
        })
    }
}

/// Something to tell a user about an object.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Finding {
    /// How bad it is.
    pub severity: Severity,
    /// What it is, for scripts and searches.
    pub code: Code,
    /// The object.
    #[serde(serialize_with = "as_text")]
    pub object: ObjectKey,
    /// Path of the field, e.g. `spec.http[0].route[1]`; empty for all of the object.
    pub field: String,
    /// What is wrong and what happens instead, in one sentence.
    pub message: String,
    /// Where it is written.
    pub file_line: Option<(Arc<str>, u32)>,
}

fn as_text<S: Serializer>(key: &ObjectKey, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(key)
}

impl Finding {
    /// Makes a finding about a field of an object, with file and line if known.
    pub fn new(
        severity: Severity,
        code: Code,
        object: &Object,
        field: impl Into<String>,
        message: impl Into<String>,
    ) -> Self {
        let field = field.into();
        Self {
            severity,
            code,
            object: object.key(),
            file_line: object.file_line(&field),
            field,
            message: message.into(),
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}", self.severity, self.code, self.object)?;
        if !self.field.is_empty() {
            write!(f, " {}", self.field)?;
        }
        write!(f, ": {}", self.message)?;
        if let Some((file, line)) = &self.file_line {
            write!(f, " ({file}:{line})")?;
        }
        Ok(())
    }
}

macro_rules! codes {
    ($( $(#[$doc:meta])* $variant:ident = $text:literal, )*) => {
        /// What a [`Finding`] is. `IST…` are the codes of [Istio's analyzers], `GWM…` our own.
        ///
        /// [Istio's analyzers]: https://istio.io/latest/docs/reference/config/analysis/
        #[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
        pub enum Code {
            $( $(#[$doc])* $variant, )*
        }

        impl Code {
            /// Every code.
            pub const ALL: &'static [Self] = &[$( Self::$variant, )*];

            /// The code's text, e.g. `IST0101`.
            pub const fn as_str(self) -> &'static str {
                match self { $( Self::$variant => $text, )* }
            }
        }
    };
}

codes! {
    /// A field that does not exist.
    UnknownField = "GWM0001",
    /// A value that is not one of those allowed.
    UnknownValue = "GWM0002",
    /// Something that parses and has no effect in this version.
    NoEffectYet = "GWM0003",
    /// A value that breaks the rules of its field.
    InvalidValue = "GWM0004",
    /// A Gateway API object that is not accepted, or only in part; its conditions say the same.
    NotAccepted = "GWM0005",
    /// A Gateway API reference that does not resolve; its conditions say the same.
    RefNotResolved = "GWM0006",
    /// A Secret that holds no usable certificate, key or trust anchors.
    UnusableSecret = "GWM0007",
    /// Settings that contradict each other; one of them wins.
    Conflict = "GWM0008",
    /// A name that can only be resolved by DNS, where the manifests say otherwise.
    ResolvedByDns = "GWM0009",
    /// A Service's port that has no endpoints.
    NoEndpoints = "GWM0010",
    /// Client certificates that are asked for and not verified.
    NoClientVerification = "GWM0011",
    /// A server of a Gateway to which no VirtualService brings routes.
    NoRoutes = "GWM0012",
    /// The object is invalid and ignored (Istio's `InternalError`-like `SchemaValidationError`).
    SchemaValidation = "IST0106",
    /// Something that is named does not exist (`ReferencedResourceNotFound`).
    ReferencedResourceNotFound = "IST0101",
    /// Gateway ports that conflict (`ConflictingGateways`).
    ConflictingGateways = "IST0145",
    /// A VirtualService rule that never matches (`VirtualServiceUnreachableRule`).
    UnreachableRule = "IST0130",
    /// A VirtualService host that no Gateway serves (`VirtualServiceHostNotFoundInGateway`).
    HostNotInGateway = "IST0132",
    /// A VirtualService rule that repeats another's match (`VirtualServiceIneffectiveMatch`).
    IneffectiveMatch = "IST0131",
    /// A Gateway whose port no Service of its workload has (`GatewayPortNotDefinedOnService`).
    GatewayPortNotOnService = "IST0162",
    /// A destination port that is not given where the host has several
    /// (`VirtualServiceDestinationPortSelectorRequired`).
    DestinationPortRequired = "IST0112",
    /// Nothing here is meant by a selector (`NoMatchingWorkloadsFound`).
    NoMatchingWorkloads = "IST0127",
    /// Upstream TLS without verification of the server, for a whole host
    /// (`NoServerCertificateVerificationDestinationLevel`).
    NoServerVerification = "IST0128",
    /// Upstream TLS without verification of the server, for a port
    /// (`NoServerCertificateVerificationPortLevel`).
    NoServerVerificationOnPort = "IST0129",
    /// Several Gateways use the same certificate, so that clients reuse connections between them
    /// (`GatewayDuplicateCertificate`).
    DuplicateCertificate = "IST0138",
    /// Rules that a gateway never executes (`VirtualServiceIngressNoEffect`-like).
    NoEffectOnGateway = "IST0140",
    /// Routing by claims of tokens that no RequestAuthentication verifies
    /// (`JwtClaimBasedRoutingWithoutRequestAuthN`).
    ClaimsWithoutAuthentication = "IST0149",
    /// A Secret of a Gateway that holds no usable certificate (`InvalidGatewayCredential`).
    InvalidGatewayCredential = "IST0161",
    /// A VirtualService that names the internal Gateway made from a Gateway API one
    /// (`InternalGatewayReference`).
    InternalGatewayReference = "IST0165",
    /// A subset that no DestinationRule defines, or that selects nothing
    /// (`DestinationRuleSubsetNotSelectPods`).
    SubsetNotFound = "IST0173",
    /// A DestinationRule for a host that does not exist (`UnknownDestinationRuleHost`).
    UnknownDestinationRuleHost = "IST0174",
    /// ServiceEntries or Services that disagree about a port's protocol.
    ProtocolConflict = "IST0177",
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Serialize for Code {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

/// Reports every field that no type knows.
pub(crate) fn unknown_fields(store: &Store, sink: &mut Sink) {
    for (_, object) in store.objects() {
        for unknown in &object.unknown_fields {
            let hint = unknown
                .did_you_mean
                .as_ref()
                .map(|known| format!("; did you mean `{known}`?"))
                .unwrap_or_default();
            sink.finding(Finding::new(
                Severity::Warning,
                Code::UnknownField,
                object,
                unknown.field.clone(),
                format!("unknown field, ignored{hint}"),
            ));
        }
    }
}
