//! The kinds of objects we read, and one typed variant for each.

use crate::{core, gateway_api, istio};
use serde::{Serialize, de::DeserializeOwned};
use std::fmt;

/// The typed content of one kind, reachable from a [`Body`].
pub trait Typed: DeserializeOwned + Serialize + 'static {
    /// The kind.
    const KIND: Kind;

    /// The content of `body` if it is of this kind.
    fn of(body: &Body) -> Option<&Self>;
}

macro_rules! kinds {
    ($(
        $(#[$doc:meta])*
        $variant:ident = $text:literal, $plural:literal, $group:expr, $namespaced:literal, $ty:ty;
    )*) => {
        /// A kind of object. The order is the order in which listings show them.
        #[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
        pub enum Kind {
            $( $(#[$doc])* $variant, )*
        }

        impl Kind {
            /// Every kind.
            pub const ALL: &'static [Self] = &[$( Self::$variant, )*];

            /// The name in `kind:`, e.g. `HTTPRoute`.
            pub const fn kind(self) -> &'static str {
                match self { $( Self::$variant => $text, )* }
            }

            /// The API group; empty for core.
            pub const fn group(self) -> &'static str {
                match self { $( Self::$variant => $group, )* }
            }

            /// The name in URLs, e.g. `httproutes`.
            pub const fn plural(self) -> &'static str {
                match self { $( Self::$variant => $plural, )* }
            }

            /// Whether objects live in a namespace.
            pub const fn namespaced(self) -> bool {
                match self { $( Self::$variant => $namespaced, )* }
            }
        }

        /// The content of an object: everything but `metadata` and `status`.
        #[derive(Clone, Debug, Eq, PartialEq)]
        pub enum Body {
            $( $(#[$doc])* $variant(Box<$ty>), )*
        }

        impl Body {
            /// The kind.
            pub const fn kind(&self) -> Kind {
                match self { $( Self::$variant(_) => Kind::$variant, )* }
            }

            /// Deserialises the content of an object of `kind`.
            ///
            /// # Errors
            /// The deserialiser's, for a value of the wrong type.
            pub(crate) fn deserialize<'de, D>(kind: Kind, deserializer: D) -> Result<Self, D::Error>
            where
                D: serde::Deserializer<'de>,
            {
                Ok(match kind {
                    $( Kind::$variant => {
                        let content: $ty = serde::Deserialize::deserialize(deserializer)?;
                        Self::$variant(Box::new(content))
                    } )*
                })
            }
        }

        impl Serialize for Body {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                match self {
                    $( Self::$variant(content) => content.serialize(serializer), )*
                }
            }
        }

        $(
            impl Typed for $ty {
                const KIND: Kind = Kind::$variant;

                fn of(body: &Body) -> Option<&Self> {
                    if let Body::$variant(content) = body { Some(content) } else { None }
                }
            }
        )*
    };
}

const GATEWAY: &str = "gateway.networking.k8s.io";
const EXPERIMENTAL: &str = "gateway.networking.x-k8s.io";
const NETWORKING: &str = "networking.istio.io";
const SECURITY: &str = "security.istio.io";

kinds! {
    /// Gateway API `GatewayClass`.
    GatewayClass = "GatewayClass", "gatewayclasses", GATEWAY, false, gateway_api::GatewayClass;
    /// Gateway API `Gateway`.
    Gateway = "Gateway", "gateways", GATEWAY, true, gateway_api::Gateway;
    /// Gateway API `ListenerSet`.
    ListenerSet = "ListenerSet", "listenersets", GATEWAY, true, gateway_api::ListenerSet;
    /// Gateway API `HTTPRoute`.
    HttpRoute = "HTTPRoute", "httproutes", GATEWAY, true, gateway_api::HttpRoute;
    /// Gateway API `GRPCRoute`.
    GrpcRoute = "GRPCRoute", "grpcroutes", GATEWAY, true, gateway_api::GrpcRoute;
    /// Gateway API `TLSRoute`.
    TlsRoute = "TLSRoute", "tlsroutes", GATEWAY, true, gateway_api::TlsRoute;
    /// Gateway API `TCPRoute`.
    TcpRoute = "TCPRoute", "tcproutes", GATEWAY, true, gateway_api::TcpRoute;
    /// Gateway API `UDPRoute`.
    UdpRoute = "UDPRoute", "udproutes", GATEWAY, true, gateway_api::UdpRoute;
    /// Gateway API `ReferenceGrant`.
    ReferenceGrant = "ReferenceGrant", "referencegrants", GATEWAY, true, gateway_api::ReferenceGrant;
    /// Gateway API `BackendTLSPolicy`.
    BackendTlsPolicy = "BackendTLSPolicy", "backendtlspolicies", GATEWAY, true, gateway_api::BackendTlsPolicy;
    /// Gateway API (experimental) `XBackendTrafficPolicy`.
    XBackendTrafficPolicy = "XBackendTrafficPolicy", "xbackendtrafficpolicies", EXPERIMENTAL, true, gateway_api::XBackendTrafficPolicy;
    /// Gateway API (experimental) `XMesh`.
    XMesh = "XMesh", "xmeshes", EXPERIMENTAL, false, gateway_api::XMesh;
    /// Gateway API (experimental) `XBackend`.
    XBackend = "XBackend", "xbackends", EXPERIMENTAL, true, gateway_api::XBackend;
    /// Gateway API (experimental) `XTelemetryPolicy`.
    XTelemetryPolicy = "XTelemetryPolicy", "xtelemetrypolicies", EXPERIMENTAL, true, gateway_api::XTelemetryPolicy;
    /// Istio `Gateway`.
    IstioGateway = "Gateway", "gateways", NETWORKING, true, istio::Gateway;
    /// Istio `VirtualService`.
    VirtualService = "VirtualService", "virtualservices", NETWORKING, true, istio::VirtualService;
    /// Istio `DestinationRule`.
    DestinationRule = "DestinationRule", "destinationrules", NETWORKING, true, istio::DestinationRule;
    /// Istio `ServiceEntry`.
    ServiceEntry = "ServiceEntry", "serviceentries", NETWORKING, true, istio::ServiceEntry;
    /// Istio `WorkloadEntry`.
    WorkloadEntry = "WorkloadEntry", "workloadentries", NETWORKING, true, istio::WorkloadEntry;
    /// Istio `WorkloadGroup`.
    WorkloadGroup = "WorkloadGroup", "workloadgroups", NETWORKING, true, istio::WorkloadGroup;
    /// Istio `Sidecar`.
    Sidecar = "Sidecar", "sidecars", NETWORKING, true, istio::Sidecar;
    /// Istio `EnvoyFilter`.
    EnvoyFilter = "EnvoyFilter", "envoyfilters", NETWORKING, true, istio::EnvoyFilter;
    /// Istio `ProxyConfig`.
    ProxyConfig = "ProxyConfig", "proxyconfigs", NETWORKING, true, istio::ProxyConfig;
    /// Istio `AuthorizationPolicy`.
    AuthorizationPolicy = "AuthorizationPolicy", "authorizationpolicies", SECURITY, true, istio::AuthorizationPolicy;
    /// Istio `PeerAuthentication`.
    PeerAuthentication = "PeerAuthentication", "peerauthentications", SECURITY, true, istio::PeerAuthentication;
    /// Istio `RequestAuthentication`.
    RequestAuthentication = "RequestAuthentication", "requestauthentications", SECURITY, true, istio::RequestAuthentication;
    /// Istio `Telemetry`.
    Telemetry = "Telemetry", "telemetries", "telemetry.istio.io", true, istio::Telemetry;
    /// Istio `WasmPlugin`.
    WasmPlugin = "WasmPlugin", "wasmplugins", "extensions.istio.io", true, istio::WasmPlugin;
    /// Istio `TrafficExtension`.
    TrafficExtension = "TrafficExtension", "trafficextensions", "extensions.istio.io", true, istio::TrafficExtension;
    /// Core `Service`.
    Service = "Service", "services", "", true, core::Service;
    /// `EndpointSlice`.
    EndpointSlice = "EndpointSlice", "endpointslices", "discovery.k8s.io", true, core::EndpointSlice;
    /// Core `Secret`.
    Secret = "Secret", "secrets", "", true, core::Secret;
    /// Core `ConfigMap`.
    ConfigMap = "ConfigMap", "configmaps", "", true, core::ConfigMap;
    /// Core `Namespace`.
    Namespace = "Namespace", "namespaces", "", false, core::Namespace;
    /// Core `Pod`.
    Pod = "Pod", "pods", "", true, core::Pod;
}

impl Kind {
    /// The kind that `apiVersion` and `kind` of an object name, whatever the version: objects of
    /// older versions are read with today's types.
    pub fn of(api_version: &str, kind: &str) -> Option<Self> {
        let group = api_version.rsplit_once('/').map_or("", |(group, _)| group);
        Self::of_group(group, kind)
    }

    /// The kind of this group and name, as references name it (`""` is core).
    pub fn of_group(group: &str, kind: &str) -> Option<Self> {
        if group == EXPERIMENTAL && kind == "XListenerSet" {
            return Some(Self::ListenerSet);
        }
        Self::ALL
            .iter()
            .copied()
            .find(|known| known.kind() == kind && known.group() == group)
    }

    /// The version in which the kind is served today, e.g. `v1`.
    pub const fn version(self) -> &'static str {
        match self {
            Self::XBackendTrafficPolicy
            | Self::XMesh
            | Self::XBackend
            | Self::XTelemetryPolicy
            | Self::WasmPlugin
            | Self::TrafficExtension => "v1alpha1",
            Self::EnvoyFilter => "v1alpha3",
            Self::ProxyConfig => "v1beta1",
            Self::GatewayClass
            | Self::Gateway
            | Self::ListenerSet
            | Self::HttpRoute
            | Self::GrpcRoute
            | Self::TlsRoute
            | Self::TcpRoute
            | Self::UdpRoute
            | Self::ReferenceGrant
            | Self::BackendTlsPolicy
            | Self::IstioGateway
            | Self::VirtualService
            | Self::DestinationRule
            | Self::ServiceEntry
            | Self::WorkloadEntry
            | Self::WorkloadGroup
            | Self::Sidecar
            | Self::AuthorizationPolicy
            | Self::PeerAuthentication
            | Self::RequestAuthentication
            | Self::Telemetry
            | Self::Service
            | Self::EndpointSlice
            | Self::Secret
            | Self::ConfigMap
            | Self::Namespace
            | Self::Pod => "v1",
        }
    }

    /// Group and version, as `apiVersion:` writes them.
    pub fn api_version(self) -> String {
        match self.group() {
            "" => self.version().to_owned(),
            group => format!("{group}/{}", self.version()),
        }
    }

    /// Whether it is a Gateway API route kind.
    pub fn is_route(self) -> bool {
        matches!(
            self,
            Self::HttpRoute | Self::GrpcRoute | Self::TlsRoute | Self::TcpRoute | Self::UdpRoute
        )
    }

    /// Whether the group is one of Istio's.
    pub fn is_istio(self) -> bool {
        self.group().ends_with(".istio.io")
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.kind())
    }
}
