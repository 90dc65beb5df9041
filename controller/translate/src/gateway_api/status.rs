//! Conditions and their reasons, spelled as the specification spells them.

use crate::{Condition, ConditionStatus, ParentReference};
use gwanmun_api::gateway_api;

macro_rules! reasons {
    ($( $name:ident, )*) => {
        /// Why a condition has its status.
        #[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
        pub(super) enum Reason {
            $( $name, )*
        }

        impl Reason {
            #[cfg(test)]
            const ALL: &'static [Self] = &[$( Self::$name, )*];

            /// The word on the status.
            pub(super) const fn as_str(self) -> &'static str {
                match self { $( Self::$name => stringify!($name), )* }
            }
        }
    };
}

reasons! {
    Accepted,
    AddressNotUsable,
    BackendNotFound,
    ConfigurationChanged,
    Conflicted,
    HostnameConflict,
    IncompatibleFilters,
    Invalid,
    InvalidCACertificateKind,
    InvalidCACertificateRef,
    InvalidCertificateRef,
    InvalidClientCertificateRef,
    InvalidKind,
    InvalidParameters,
    InvalidRouteKinds,
    ListenersNotValid,
    NoConflicts,
    NoMatchingListenerHostname,
    NoMatchingParent,
    NotAllowed,
    NotAllowedByListeners,
    NoValidCACertificate,
    OverlappingCertificates,
    OverlappingHostnames,
    ParentNotAccepted,
    Pending,
    PortUnavailable,
    Programmed,
    ProtocolConflict,
    RefNotPermitted,
    ResolvedRefs,
    SupportedVersion,
    UnsupportedAddress,
    UnsupportedProtocol,
    UnsupportedValue,
}

/// A decision that becomes one condition: whether it holds, and why.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Decision {
    pub(super) status: ConditionStatus,
    pub(super) reason: Reason,
    pub(super) message: String,
}

impl Decision {
    /// It holds.
    pub(super) fn yes(reason: Reason) -> Self {
        Self {
            status: ConditionStatus::True,
            reason,
            message: String::new(),
        }
    }

    /// It does not hold.
    pub(super) fn no(reason: Reason, message: impl Into<String>) -> Self {
        Self {
            status: ConditionStatus::False,
            reason,
            message: message.into(),
        }
    }

    /// Nobody knows yet.
    pub(super) fn pending(message: impl Into<String>) -> Self {
        Self {
            status: ConditionStatus::Unknown,
            reason: Reason::Pending,
            message: message.into(),
        }
    }

    /// Whether it holds.
    pub(super) fn holds(&self) -> bool {
        self.status == ConditionStatus::True
    }

    /// The condition of this type about `generation`.
    pub(super) fn condition(&self, type_: &str, generation: i64) -> Condition {
        Condition::new(
            type_,
            self.status,
            self.reason.as_str(),
            self.message.clone(),
            generation,
        )
    }
}

/// A parent reference as statuses repeat it, with exactly the fields the user wrote.
pub(super) fn parent_ref(parent: &gateway_api::ParentReference) -> ParentReference {
    ParentReference {
        group: parent.group.clone(),
        kind: parent.kind.clone(),
        namespace: parent.namespace.clone(),
        name: parent.name.clone(),
        section_name: parent.section_name.clone(),
        port: parent.port.map(i32::from),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    #[test]
    #[expect(clippy::disallowed_methods, reason = "goldens are files")]
    fn every_reason_has_a_golden() {
        let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/gateway_api");
        let goldens: String = std::fs::read_dir(directory)
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .filter(|path| {
                path.extension()
                    .is_some_and(|extension| extension == "snap")
            })
            .map(|path| std::fs::read_to_string(path).unwrap())
            .collect();
        let missing: Vec<&str> = Reason::ALL
            .iter()
            .map(|reason| reason.as_str())
            .filter(|reason| {
                let shown = |status: &str| {
                    let text = format!(": {status} {reason}");
                    [",", "\"", " @"]
                        .iter()
                        .any(|end| goldens.contains(&format!("{text}{end}")))
                };
                !["True", "False", "Unknown"].into_iter().any(shown)
            })
            .collect();
        assert!(missing.is_empty(), "reasons without a golden: {missing:?}");
    }
}
