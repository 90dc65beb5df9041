//! Istio's kinds: networking, security, telemetry and extensions of `istio.io/api` v1.31.
//!
//! All versions of a kind (`v1`, `v1beta1`, `v1alpha3`) have one schema. Required fields are
//! `Option`s or empty here: what is missing degrades its own object, and translation says so.
//! Durations are [`ProtoDuration`](crate::ProtoDuration)s, percentages are exact.
//!
//! Start at [`GatewaySpec`] and [`VirtualServiceSpec`].

mod common;
mod destination_rule;
mod envoy_filter;
mod extensions;
mod gateway;
mod mesh;
mod proxy_config;
mod security;
mod service_entry;
mod sidecar;
mod telemetry;
mod virtual_service;

pub use common::{
    Destination, LabelSelector, LocalityDistribute, LocalityFailover, LocalityLoadBalancerSetting,
    PolicyTargetReference, Port, PortSelector, Share, StringMatch, TcpKeepalive, WorkloadMode,
    WorkloadSelector, ZoneAwareLoadBalancerSetting,
};
pub use destination_rule::{
    ClientTlsMode, ClientTlsSettings, ConnectionPoolSettings, ConsistentHashLb, CookieAttribute,
    DestinationRule, DestinationRuleSpec, H2UpgradePolicy, Http2KeepAlive, HttpCookie,
    HttpSettings, LoadBalancerSettings, Maglev, OutlierDetection, PortTrafficPolicy, ProxyProtocol,
    ProxyProtocolVersion, RetryBudget, RingHash, SimpleLb, Subset, TcpSettings, TrafficPolicy,
    TunnelSettings, WarmupConfiguration,
};
pub use envoy_filter::{
    ApplyTo, ClusterMatch, EnvoyConfigObjectMatch, EnvoyConfigObjectPatch, EnvoyFilter,
    EnvoyFilterSpec, FilterChainMatch, FilterClass, FilterMatch, ListenerMatch, Patch,
    PatchContext, PatchOperation, ProxyMatch, RouteConfigurationMatch, RouteMatch,
    RouteMatchAction, SubFilterMatch, VirtualHostMatch, WaypointMatch, WaypointRouteMatch,
};
pub use extensions::{
    EnvValueSource, EnvVar, FailStrategy, LuaConfig, PluginPhase, PluginType, PullPolicy,
    TrafficExtension, TrafficExtensionSpec, TrafficSelector, VmConfig, WasmConfig, WasmPlugin,
    WasmPluginSpec,
};
pub use gateway::{
    Gateway, GatewaySpec, Server, ServerTlsMode, ServerTlsSettings, TlsCertificate, TlsProtocol,
};
pub use mesh::{
    AccessLogEncoding, ForwardClientCertDetails, GatewayTopology, HeaderEnabled, HeaderSwitch,
    MeshConfig, MeshH2UpgradePolicy, MeshOutboundTrafficPolicy, MeshProxyConfig, MeshTlsConfig,
    MeshTracing, MeshTrafficPolicy, PathNormalization, ProxyHeaders, ProxyPathNormalization,
    ProxyProtocolConfiguration, ServerHeaderConfig,
};
pub use proxy_config::{ProxyConfig, ProxyConfigSpec, ProxyImage};
pub use security::{
    AuthorizationAction, AuthorizationCondition, AuthorizationFrom, AuthorizationOperation,
    AuthorizationPolicy, AuthorizationPolicySpec, AuthorizationRule, AuthorizationSource,
    AuthorizationTo, ClaimToHeader, ExtensionProvider, JwtHeader, JwtRule, MutualTls,
    MutualTlsMode, PeerAuthentication, PeerAuthenticationSpec, RequestAuthentication,
    RequestAuthenticationSpec,
};
pub use service_entry::{
    ExecHealthCheck, GrpcHealthCheck, HttpHeader, HttpHealthCheck, Location, ReadinessProbe,
    Resolution, ServiceEntry, ServiceEntrySpec, TcpHealthCheck, WorkloadEntry, WorkloadEntrySpec,
    WorkloadGroup, WorkloadGroupMetadata, WorkloadGroupSpec,
};
pub use sidecar::{
    CaptureMode, IstioEgressListener, IstioIngressListener, OutboundTrafficPolicy,
    OutboundTrafficPolicyMode, Sidecar, SidecarSpec,
};
pub use telemetry::{
    AccessLogFilter, AccessLogging, CustomTag, IstioMetric, MetricSelector, Metrics,
    MetricsOverrides, ProviderRef, TagFrom, TagLiteral, TagOperation, TagOverride, Telemetry,
    TelemetrySelector, TelemetrySpec, Tracing,
};
pub use virtual_service::{
    CorsPolicy, Delegate, FaultAbort, FaultDelay, HeaderOperations, Headers, HttpBody,
    HttpDirectResponse, HttpFaultInjection, HttpMatchRequest, HttpMirrorPolicy, HttpRedirect,
    HttpRetry, HttpRewrite, HttpRoute, HttpRouteDestination, L4MatchAttributes,
    RedirectPortSelection, RegexRewrite, RouteDestination, TcpRoute, TlsMatchAttributes, TlsRoute,
    UnmatchedPreflights, VirtualService, VirtualServiceSpec,
};
