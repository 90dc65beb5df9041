//! What translation knows besides the objects.

use gwanmun_api::ObjectKey;
use gwanmun_ir::{ListenerKey, ListenerState};
use std::{collections::BTreeMap, fmt, str::FromStr};

/// What translation knows besides the objects.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Options {
    /// Labels of this gateway workload. Empty means that every Istio Gateway selector matches.
    pub labels: BTreeMap<String, String>,
    /// Namespace of this workload: `credentialName` Secrets are read from it.
    pub namespace: String,
    /// GatewayClass names that are ours besides `gwanmun`.
    pub gateway_classes: Vec<String>,
    /// Istio's root namespace.
    pub root_namespace: String,
    /// Istio version whose defaults apply.
    pub compat: Compat,
    /// Our revision: Istio's objects that are labelled `istio.io/rev` with another are left out.
    /// Absent means that those of every revision are ours.
    pub revision: Option<String>,
    /// DNS suffix of Services.
    pub cluster_domain: String,
    /// What the gateway said about its listeners; an absent one is pending.
    pub reports: BTreeMap<ListenerKey, ListenerState>,
    /// Addresses at which clients reach this gateway, for `status.addresses`.
    pub addresses: Vec<String>,
    /// Where Gateways of the Gateway API run.
    pub placement: Placement,
}

/// Where Gateways of the Gateway API run.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub enum Placement {
    /// All of them in this process, which binds the addresses they ask for.
    #[default]
    Shared,
    /// Each in processes of its own, behind a Service that has the addresses it asks for: those at
    /// which each is reached, by key.
    Own(BTreeMap<ObjectKey, Vec<String>>),
}

impl Placement {
    /// What sets a Gateway's sockets apart from those of others.
    pub(crate) fn scope(&self, gateway: &ObjectKey) -> String {
        match self {
            Self::Shared => String::new(),
            Self::Own(_) => format!("{}/{}/", gateway.namespace, gateway.name),
        }
    }
}

impl Default for Options {
    fn default() -> Self {
        Self {
            labels: BTreeMap::new(),
            namespace: "istio-system".to_owned(),
            gateway_classes: Vec::new(),
            root_namespace: "istio-system".to_owned(),
            compat: Compat::CURRENT,
            revision: None,
            cluster_domain: "cluster.local".to_owned(),
            reports: BTreeMap::new(),
            addresses: Vec::new(),
            placement: Placement::Shared,
        }
    }
}

/// An Istio version, whose defaults apply: `1.17`.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct Compat {
    /// Major version.
    pub major: u32,
    /// Minor version.
    pub minor: u32,
}

impl Compat {
    /// Today's defaults, newer than any version.
    pub const CURRENT: Self = Self {
        major: u32::MAX,
        minor: u32::MAX,
    };

    /// Whether defaults introduced in Istio `major.minor` apply.
    pub fn at_least(self, major: u32, minor: u32) -> bool {
        self >= Self { major, minor }
    }
}

/// Why a text is not a [`Compat`].
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("`{0}` is not a version such as `1.17`")]
pub struct InvalidCompat(String);

impl FromStr for Compat {
    type Err = InvalidCompat;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text == "current" {
            return Ok(Self::CURRENT);
        }
        let mut parts = text.split('.').map(str::parse::<u32>);
        match (parts.next(), parts.next()) {
            (Some(Ok(major)), Some(Ok(minor))) => Ok(Self { major, minor }),
            _ => Err(InvalidCompat(text.to_owned())),
        }
    }
}

impl fmt::Display for Compat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if *self == Self::CURRENT {
            return f.write_str("current");
        }
        write!(f, "{}.{}", self.major, self.minor)
    }
}
