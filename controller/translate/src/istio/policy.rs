//! The blocks of a traffic policy: what they mean for a cluster, and what of them has no effect.

use super::{
    balancer,
    destination_rule::Effective,
    origination,
    world::{Voice, World},
};
use crate::{Code, backend::ClusterPolicy, output::Sink};
use gwanmun_api::{
    ProtoDuration,
    istio::{
        ConnectionPoolSettings, H2UpgradePolicy, Http2KeepAlive, LoadBalancerSettings,
        OutlierDetection, ProxyProtocol, ProxyProtocolVersion, TcpKeepalive, TrafficPolicy,
    },
};
use gwanmun_ir::{CircuitBreakers, UpstreamProtocol};

/// A time that stands for "never", in milliseconds: a year.
const NEVER_MS: u64 = 365 * 24 * 3_600_000;

/// What the effective blocks mean.
pub(super) fn cluster(
    world: &World<'_>,
    effective: &Effective<'_>,
    sink: &mut Sink,
) -> ClusterPolicy {
    let pool = effective.connection_pool;
    let tcp = pool.and_then(|pool| pool.tcp.as_ref());
    let http = pool.and_then(|pool| pool.http.as_ref());
    let connect = tcp.and_then(|tcp| millis(tcp.connect_timeout.as_ref()));
    let idle = http.and_then(|http| http.idle_timeout.as_ref());
    ClusterPolicy {
        balancing: effective.load_balancer.map(balancer::balancing),
        hash: effective.load_balancer.and_then(balancer::hash_key),
        warmup: effective.load_balancer.and_then(balancer::warmup),
        http2_keepalive: http
            .and_then(|http| http.http2_keep_alive.as_ref())
            .and_then(http2_keepalive),
        connect_timeout_ms: connect
            .filter(|millis| *millis > 0)
            .or_else(|| world.mesh.connect_timeout_ms()),
        idle_timeout_ms: millis(idle).map(|millis| if millis == 0 { NEVER_MS } else { millis }),
        tcp_idle_timeout_ms: tcp.and_then(|tcp| millis(tcp.idle_timeout.as_ref())),
        max_connection_duration_ms: tcp
            .and_then(|tcp| millis(tcp.max_connection_duration.as_ref()))
            .filter(|millis| *millis > 0),
        keepalive: tcp
            .and_then(|tcp| tcp.tcp_keepalive.as_ref())
            .or(world.mesh.tcp_keepalive())
            .map(keepalive),
        proxy_protocol: effective.proxy_protocol.map(proxy_protocol),
        limits: pool.map(limits).unwrap_or_default(),
        outlier: effective.outlier_detection.map(outlier),
        tls: origination::tls(world, effective, sink),
        protocol: protocol(world, pool),
        ..ClusterPolicy::default()
    }
}

fn millis(duration: Option<&ProtoDuration>) -> Option<u64> {
    duration?.millis().ok()
}

fn keepalive(settings: &TcpKeepalive) -> gwanmun_ir::TcpKeepalive {
    let seconds = |duration| {
        let millis: Option<u64> = millis(duration);
        let seconds = millis.map(|millis| millis.div_ceil(1000));
        seconds.and_then(|seconds| u32::try_from(seconds).ok())
    };
    gwanmun_ir::TcpKeepalive {
        probes: settings.probes,
        time_seconds: seconds(settings.time.as_ref()),
        interval_seconds: seconds(settings.interval.as_ref()),
    }
}

/// An interval turns it on; a time-out is 20 s where nothing is said, as gRPC has it.
fn http2_keepalive(settings: &Http2KeepAlive) -> Option<gwanmun_ir::Http2Keepalive> {
    let positive = |duration| millis(duration).filter(|millis| *millis > 0);
    Some(gwanmun_ir::Http2Keepalive {
        interval_ms: positive(settings.interval.as_ref())?,
        timeout_ms: positive(settings.timeout.as_ref()).unwrap_or(20_000),
    })
}

fn proxy_protocol(settings: &ProxyProtocol) -> gwanmun_ir::ProxyProtocolVersion {
    match settings.version {
        Some(ProxyProtocolVersion::V2) => gwanmun_ir::ProxyProtocolVersion::V2,
        Some(ProxyProtocolVersion::V1 | ProxyProtocolVersion::Unknown(_)) | None => {
            gwanmun_ir::ProxyProtocolVersion::V1
        }
    }
}

fn protocol(world: &World<'_>, pool: Option<&ConnectionPoolSettings>) -> Option<UpstreamProtocol> {
    let http = pool.and_then(|pool| pool.http.as_ref());
    if http.is_some_and(|http| http.use_client_protocol == Some(true)) {
        return Some(UpstreamProtocol::Client);
    }
    let upgrade = match http.and_then(|http| http.h2_upgrade_policy.as_ref()) {
        Some(H2UpgradePolicy::Upgrade) => true,
        Some(H2UpgradePolicy::DoNotUpgrade) => false,
        Some(H2UpgradePolicy::Default | H2UpgradePolicy::Unknown(_)) | None => {
            world.mesh.upgrades_to_http2()
        }
    };
    upgrade.then_some(UpstreamProtocol::Http2)
}

fn limits(pool: &ConnectionPoolSettings) -> CircuitBreakers {
    let positive = |number: Option<i32>| {
        let number = u32::try_from(number?).ok()?;
        (number > 0).then_some(number)
    };
    let http = pool.http.as_ref();
    CircuitBreakers {
        max_connections: positive(pool.tcp.as_ref().and_then(|tcp| tcp.max_connections)),
        max_pending_requests: positive(http.and_then(|http| http.http1_max_pending_requests)),
        max_requests: positive(http.and_then(|http| http.http2_max_requests)),
        max_retries: positive(http.and_then(|http| http.max_retries)),
        max_requests_per_connection: positive(
            http.and_then(|http| http.max_requests_per_connection),
        ),
        max_concurrent_streams: positive(http.and_then(|http| http.max_concurrent_streams)),
    }
}

fn outlier(settings: &OutlierDetection) -> gwanmun_ir::OutlierDetection {
    let old = settings
        .consecutive_errors
        .and_then(|errors| u32::try_from(errors).ok());
    let percent = settings.max_ejection_percent;
    let percent = percent.and_then(|percent| u32::try_from(percent).ok());
    let positive = |duration| millis(duration).filter(|millis| *millis > 0);
    gwanmun_ir::OutlierDetection {
        consecutive_5xx: settings.consecutive_5xx_errors.unwrap_or(5),
        consecutive_gateway_errors: settings.consecutive_gateway_errors.or(old).unwrap_or(0),
        interval_ms: positive(settings.interval.as_ref()).unwrap_or(10_000),
        base_ejection_ms: positive(settings.base_ejection_time.as_ref()).unwrap_or(30_000),
        max_ejection_percent: percent
            .filter(|percent| *percent > 0)
            .unwrap_or(10)
            .min(100),
        consecutive_local_failures: settings
            .split_external_local_origin_errors
            .filter(|split| *split)
            .map(|_split| settings.consecutive_local_origin_failures.unwrap_or(5)),
        min_health_percent: settings
            .min_health_percent
            .and_then(|percent| u32::try_from(percent).ok())
            .unwrap_or(0)
            .min(100),
    }
}

/// Says what of a policy has no effect or is wrong.
pub(super) fn review(policy: &TrafficPolicy, field: &str, voice: &mut Voice<'_, '_>) {
    for (name, set) in [
        ("tunnel", policy.tunnel.is_some()),
        ("retryBudget", policy.retry_budget.is_some()),
    ] {
        if set {
            voice.warn(
                Code::NoEffectYet,
                format!("{field}.{name}"),
                "has no effect yet",
            );
        }
    }
    let proxy = policy.proxy_protocol.as_ref();
    if proxy.is_some() && policy.tunnel.is_some() {
        let message = "not allowed together with tunnel";
        voice.error(
            Code::SchemaValidation,
            format!("{field}.proxyProtocol"),
            message,
        );
    }
    if let Some(ProxyProtocolVersion::Unknown(text)) =
        proxy.and_then(|proxy| proxy.version.as_ref())
    {
        let message = format!("`{text}` is not known; V1 is used");
        voice.error(
            Code::UnknownValue,
            format!("{field}.proxyProtocol.version"),
            message,
        );
    }
    let blocks = Blocks {
        load_balancer: policy.load_balancer.as_ref(),
        connection_pool: policy.connection_pool.as_ref(),
        outlier_detection: policy.outlier_detection.as_ref(),
    };
    blocks.review(field, voice);
    for (index, own) in policy.port_level_settings.iter().enumerate() {
        let field = format!("{field}.portLevelSettings[{index}]");
        if own.port.as_ref().and_then(|port| port.number).is_none() {
            let message = "required, so these settings have no effect";
            voice.error(
                Code::SchemaValidation,
                format!("{field}.port.number"),
                message,
            );
        }
        let blocks = Blocks {
            load_balancer: own.load_balancer.as_ref(),
            connection_pool: own.connection_pool.as_ref(),
            outlier_detection: own.outlier_detection.as_ref(),
        };
        blocks.review(&field, voice);
    }
}

struct Blocks<'a> {
    load_balancer: Option<&'a LoadBalancerSettings>,
    connection_pool: Option<&'a ConnectionPoolSettings>,
    outlier_detection: Option<&'a OutlierDetection>,
}

impl Blocks<'_> {
    fn review(&self, field: &str, voice: &mut Voice<'_, '_>) {
        if let Some(settings) = self.load_balancer {
            balancer::review(settings, &format!("{field}.loadBalancer"), voice);
        }
        if let Some(settings) = self.connection_pool {
            review_pool(settings, &format!("{field}.connectionPool"), voice);
        }
        if let Some(settings) = self.outlier_detection {
            review_outlier(settings, &format!("{field}.outlierDetection"), voice);
        }
    }
}

fn review_pool(settings: &ConnectionPoolSettings, field: &str, voice: &mut Voice<'_, '_>) {
    let mut durations: Vec<(&str, Option<&ProtoDuration>)> = Vec::new();
    if let Some(tcp) = &settings.tcp {
        durations.push(("tcp.connectTimeout", tcp.connect_timeout.as_ref()));
        durations.push(("tcp.idleTimeout", tcp.idle_timeout.as_ref()));
        durations.push((
            "tcp.maxConnectionDuration",
            tcp.max_connection_duration.as_ref(),
        ));
        if let Some(keepalive) = &tcp.tcp_keepalive {
            durations.push(("tcp.tcpKeepalive.time", keepalive.time.as_ref()));
            durations.push(("tcp.tcpKeepalive.interval", keepalive.interval.as_ref()));
        }
    }
    if let Some(http) = &settings.http {
        if let Some(H2UpgradePolicy::Unknown(text)) = &http.h2_upgrade_policy {
            let message = format!("`{text}` is not known and ignored");
            voice.error(
                Code::UnknownValue,
                format!("{field}.http.h2UpgradePolicy"),
                message,
            );
        }
        if let Some(keepalive) = &http.http2_keep_alive {
            durations.push(("http.http2KeepAlive.interval", keepalive.interval.as_ref()));
            durations.push(("http.http2KeepAlive.timeout", keepalive.timeout.as_ref()));
        }
        durations.push(("http.idleTimeout", http.idle_timeout.as_ref()));
    }
    review_durations(&durations, field, voice);
}

fn review_outlier(settings: &OutlierDetection, field: &str, voice: &mut Voice<'_, '_>) {
    if settings.consecutive_local_origin_failures.is_some()
        && settings.split_external_local_origin_errors != Some(true)
    {
        voice.warn(
            Code::NoEffectYet,
            format!("{field}.consecutiveLocalOriginFailures"),
            "has no effect without `splitExternalLocalOriginErrors: true`",
        );
    }
    if !settings.outlier_detection_http_error_codes.is_empty() {
        voice.warn(
            Code::NoEffectYet,
            format!("{field}.outlierDetectionHttpErrorCodes"),
            "has no effect yet",
        );
    }
    let durations = [
        ("interval", settings.interval.as_ref()),
        ("baseEjectionTime", settings.base_ejection_time.as_ref()),
    ];
    review_durations(&durations, field, voice);
}

/// Says which durations cannot be used.
pub(super) fn review_durations(
    durations: &[(&str, Option<&ProtoDuration>)],
    field: &str,
    voice: &mut Voice<'_, '_>,
) {
    for (name, duration) in durations {
        if let Some(Err(error)) = duration.map(ProtoDuration::millis) {
            let message = format!("{error}; it counts as unset");
            voice.error(Code::SchemaValidation, format!("{field}.{name}"), message);
        }
    }
}
