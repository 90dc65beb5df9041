//! Keys of resources: readable, derived from the user's objects, stable across replicas.

use serde::{Deserialize, Serialize};
use std::{borrow::Borrow, fmt, sync::Arc};

macro_rules! key {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
        #[serde(transparent)]
        pub struct $name(Arc<str>);

        impl $name {
            /// Makes a key from its text.
            pub fn new(text: impl Into<Arc<str>>) -> Self {
                Self(text.into())
            }

            /// The key's text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

key! {
    /// Names a [`Listener`](crate::Listener): `tcp/0.0.0.0:80`, `udp/192.0.2.1:53`.
    ListenerKey
}
key! {
    /// Names a [`FilterChain`](crate::FilterChain): `Gateway/infra/gw/https`, or for Istio
    /// `http.80`, `https.443.PORT_NAME.GATEWAY.NAMESPACE`.
    ChainKey
}
key! {
    /// Names a [`Route`](crate::Route): `HTTPRoute/default/echo/0@CHAIN`.
    RouteKey
}
key! {
    /// Names a [`Cluster`](crate::Cluster): `outbound|PORT|SUBSET|HOST`, with a suffix where
    /// another policy applies to the same backend.
    ClusterKey
}
key! {
    /// Names a [`Secret`](crate::Secret): `kubernetes://NAMESPACE/NAME`.
    SecretKey
}

/// Names any resource.
#[derive(Clone, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Key {
    /// A socket.
    Listener(ListenerKey),
    /// What connections on a socket become.
    Chain(ChainKey),
    /// One user rule for requests on one chain.
    Route(RouteKey),
    /// One user rule for connections or datagrams on one chain.
    L4Route(RouteKey),
    /// Interchangeable endpoints and how to reach them.
    Cluster(ClusterKey),
    /// The endpoints of the cluster with this key.
    Endpoints(ClusterKey),
    /// A certificate and key, or trust anchors.
    Secret(SecretKey),
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Listener(key) => write!(f, "listener {key}"),
            Self::Chain(key) => write!(f, "filter chain {key}"),
            Self::Route(key) | Self::L4Route(key) => write!(f, "route {key}"),
            Self::Cluster(key) => write!(f, "cluster {key}"),
            Self::Endpoints(key) => write!(f, "endpoints of {key}"),
            Self::Secret(key) => write!(f, "secret {key}"),
        }
    }
}
