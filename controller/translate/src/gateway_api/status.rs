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
    HostnameConflict,
    IncompatibleFilters,
    Invalid,
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
