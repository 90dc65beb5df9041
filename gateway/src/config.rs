//! What a gateway process is told once, at its start.

use std::{
    net::{IpAddr, SocketAddr},
    path::PathBuf,
    time::Duration,
};

/// What a gateway process is told once, at its start. Everything else is in the deltas.
#[derive(Clone, Debug)]
pub struct Config {
    /// Worker threads; 0 counts as 1.
    pub concurrency: usize,
    /// Address for listeners without one of their own; absent means all, IPv4 and IPv6.
    pub bind: Option<IpAddr>,
    /// `(A, B)`: bind B where A would be bound. B = 0 takes any free port.
    pub port_map: Vec<(u16, u16)>,
    /// DNS server for upstream names; absent means the system's.
    pub dns: Option<SocketAddr>,
    /// What is written for each request.
    pub access_log: AccessLogMode,
    /// Where it is written, appended; absent means standard output.
    pub access_log_file: Option<PathBuf>,
    /// Where the admin interface listens; absent means nowhere.
    pub admin: Option<SocketAddr>,
    /// Where metrics are served; absent means nowhere.
    pub metrics: Option<SocketAddr>,
    /// Where readiness is served; absent means nowhere.
    pub health: Option<SocketAddr>,
    /// Who this gateway is, for metrics.
    pub workload: Workload,
    /// Longest time connections of a removed listener may take to end.
    pub drain: Duration,
    /// Limits that protect the process.
    pub limits: Limits,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            concurrency: std::thread::available_parallelism().map_or(1, usize::from),
            bind: None,
            port_map: Vec::new(),
            dns: None,
            access_log: AccessLogMode::Off,
            access_log_file: None,
            admin: None,
            metrics: None,
            health: None,
            workload: Workload::default(),
            drain: Duration::from_secs(45),
            limits: Limits::default(),
        }
    }
}

/// What is written for each request.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum AccessLogMode {
    /// One JSON object per line.
    Json,
    /// Nothing.
    #[default]
    Off,
    /// Istio's default text line.
    Text,
}

/// Who this gateway is, as metrics name it; empty text means `unknown`.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Workload {
    /// Name of the workload (Deployment).
    pub name: String,
    /// Its namespace.
    pub namespace: String,
    /// Canonical service, or label `app`.
    pub app: String,
    /// Canonical revision, or label `version`.
    pub version: String,
    /// Cluster ID.
    pub cluster: String,
}

/// Limits that protect the process.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Limits {
    /// Client connections at once; absent means half of the file descriptors the process may
    /// open, less some for itself: each may need one towards an upstream.
    pub max_connections: Option<usize>,
    /// Bytes of a message's head, request line included.
    pub header_bytes: usize,
    /// Fields of a message's head.
    pub headers: usize,
    /// Longest time from the first byte of a request's head to its last.
    pub header_timeout: Duration,
    /// Longest time a client connection may be idle between requests.
    pub idle_timeout: Duration,
    /// Longest time a TLS handshake may take, from accept on.
    pub handshake_timeout: Duration,
    /// UDP sessions at once; absent means a quarter of the client connections there is room for,
    /// of which they take their share. At the limit the session silent longest whose client never
    /// proved to receive replies makes room, or the datagram is dropped.
    pub udp_sessions: Option<usize>,
    /// UDP sessions at once of one IPv4 address, or one /64 of IPv6; at the limit as above, among
    /// its own.
    pub udp_sessions_per_source: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_connections: None,
            header_bytes: 60 * 1024,
            headers: 100,
            header_timeout: Duration::from_secs(60),
            idle_timeout: Duration::from_secs(3600),
            handshake_timeout: Duration::from_secs(15),
            udp_sessions: None,
            udp_sessions_per_source: 1024,
        }
    }
}
