//! The kinds of the Kubernetes [Gateway API] v1.7.0, both channels.
//!
//! One struct per concept, shared by all kinds that use it: [`ParentReference`],
//! [`BackendObjectReference`], [`HeaderFilter`]. A field that may be absent is an `Option` where absence
//! differs from its zero; methods of the same name give the default that the API prescribes.
//! Enumerations are open: an unknown value is kept as text, so that it becomes a reason on a
//! status and never a decoding error. A required field that is missing is a decoding error. What
//! objects carry in `status` is not read: we write it.
//!
//! [Gateway API]: https://gateway-api.sigs.k8s.io/reference/api-spec/main/spec/

mod backend_tls_policy;
mod experimental;
mod filter;
mod gateway;
mod gateway_class;
mod grpc_route;
mod http_route;
mod l4_route;
mod listener;
mod reference;
mod reference_grant;
mod selector;
mod session_persistence;

pub use backend_tls_policy::{
    BackendTlsPolicy, BackendTlsPolicySpec, BackendTlsPolicyValidation, SubjectAltName,
    SubjectAltNameType, WellKnownCaCertificates,
};
pub use experimental::{
    BudgetDetails, EndpointSelector, ExternalHostname, FeatureMode, ParentBasedSampling,
    RequestRate, RetryConstraint, TelemetryAttribute, TelemetryAttributeSource, TracingPolicy,
    TracingProvider, XBackend, XBackendPort, XBackendProtocol, XBackendSpec, XBackendTls,
    XBackendTlsMode, XBackendTrafficPolicy, XBackendTrafficPolicySpec, XBackendType, XMesh,
    XMeshSpec, XTelemetryPolicy, XTelemetryPolicySpec,
};
pub use filter::{
    CorsFilter, ExternalAuthFilter, ExternalAuthProtocol, FilterType, ForwardBody, Fraction,
    GrpcAuth, GrpcRouteFilter, HeaderFilter, HttpAuth, HttpHeader, HttpRouteFilter, PathModifier,
    PathModifierType, RequestMirrorFilter, RequestRedirectFilter, UrlRewriteFilter,
};
pub use gateway::{
    AddressType, AllowedListeners, BackendTls, DefaultScope, FrontendTls, FrontendValidation,
    FrontendValidationMode, Gateway, GatewayAddress, GatewayInfrastructure, GatewaySpec,
    GatewayTls, ListenerNamespaces, PortTls, PortTlsOverride,
};
pub use gateway_class::{GatewayClass, GatewayClassSpec};
pub use grpc_route::{
    GrpcBackendRef, GrpcMethodMatch, GrpcRoute, GrpcRouteMatch, GrpcRouteRule, GrpcRouteSpec,
};
pub use http_route::{
    HttpBackendRef, HttpHeaderMatch, HttpPathMatch, HttpRoute, HttpRouteMatch, HttpRouteRule,
    HttpRouteSpec, HttpTimeouts, MatchType, PathMatchType, Retry,
};
pub use l4_route::{L4RouteRule, L4RouteSpec, TcpRoute, TlsRoute, TlsRouteSpec, UdpRoute};
pub use listener::{
    AllowedRoutes, FromNamespaces, ListenerEntry, ListenerFilter, ListenerFilters, ListenerSet,
    ListenerSetSpec, ListenerTls, ProtocolType, RouteGroupKind, RouteNamespaces, TlsMode,
};
pub use reference::{
    BackendObjectReference, BackendRef, LocalObjectReference, LocalPolicyTargetReference,
    ObjectReference, ParametersReference, ParentGatewayReference, ParentReference,
    SecretObjectReference,
};
pub use reference_grant::{GrantFrom, GrantTo, ReferenceGrant, ReferenceGrantSpec};
pub use selector::{LabelSelector, LabelSelectorRequirement, SelectorOperator};
pub use session_persistence::{
    CookieConfig, CookieLifetime, HeaderConfig, SessionPersistence, SessionPersistenceType,
};

/// The group of the standard kinds.
pub const GROUP: &str = "gateway.networking.k8s.io";

/// The group of the experimental kinds.
pub const EXPERIMENTAL_GROUP: &str = "gateway.networking.x-k8s.io";
