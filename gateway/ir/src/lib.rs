//! The data plane's configuration language.
//!
//! The controller writes it and the gateway reads it: every fact the data
//! plane needs is a field here with a documented meaning. Resources are flat;
//! a child names its parent by key, and a key that names nothing is a runtime
//! outcome, never a decoding error. Everything is `Clone + Eq + Serialize`,
//! without floats and hash maps, so that equality means "nothing changed".
//!
//! Start at [`Resource`] and [`Delta`].

mod cluster;
mod delta;
mod filter;
mod hostname;
mod key;
mod l4_route;
mod listener;
mod route;
mod secret;
mod source;

pub use cluster::{
    CircuitBreakers, Cluster, ClusterIdentity, Discovery, DnsHost, DnsMode, Endpoint,
    EndpointHealth, EndpointIdentity, EndpointSet, HashCookie, HashKey, Http2Keepalive,
    LoadBalancing, OutlierDetection, ProxyProtocolVersion, Sni, TcpKeepalive, UpstreamProtocol,
    UpstreamTls, Verification, Warmup,
};
pub use delta::{Delta, ListenerState, Rejection, Report, Resource, Severity};
pub use filter::{
    Filter, HeaderEdit, HeaderEdits, HeaderValue, HostRewrite, PathRewrite, UrlRewrite,
};
pub use hostname::{Hostname, InvalidHostname};
pub use key::{ChainKey, ClusterKey, Key, ListenerKey, RouteKey, SecretKey};
pub use l4_route::{L4Route, L4Target};
pub use listener::{
    Alpn, AppProtocol, BindAddress, ChainMatch, ClientCertificates, ClientValidation, FilterChain,
    ForwardClientCert, HostRule, HttpOptions, Listener, PathNormalization, ProxyProtocol, Security,
    ServerHeader, TlsPolicy, TlsVersion, Transport,
};
pub use route::{
    Action, Backoff, Dialect, DirectResponse, Failure, HeaderMatch, HttpMatch, PathMatch,
    Precedence, QueryMatch, Redirect, RedirectPath, RedirectPort, RetryCondition, RetryPolicy,
    Route, RouteKind, StringMatch, Target, Timeouts, WeightedTarget,
};
pub use secret::{Pem, PrivatePem, Secret, SecretMaterial};
pub use source::SourceRef;
