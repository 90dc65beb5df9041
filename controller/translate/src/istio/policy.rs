//! The blocks of a traffic policy: what they mean for a cluster, and what of them has no effect.

use super::{
    destination_rule::Effective,
    secret,
    world::{Voice, World},
};
use crate::{Code, backend::ClusterPolicy, output::Sink};
use gwanmun_api::{
    ProtoDuration,
    istio::{
        ClientTlsMode, ClientTlsSettings, ConnectionPoolSettings, H2UpgradePolicy,
        LoadBalancerSettings, OutlierDetection, SimpleLb, TrafficPolicy,
    },
};
use gwanmun_ir::{
    CircuitBreakers, LoadBalancing, SecretKey, Sni, UpstreamProtocol, UpstreamTls, Verification,
};

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
        balancing: effective.load_balancer.map(balancing),
        connect_timeout_ms: connect
            .filter(|millis| *millis > 0)
            .or_else(|| world.mesh.connect_timeout_ms()),
        idle_timeout_ms: millis(idle).map(|millis| if millis == 0 { NEVER_MS } else { millis }),
        limits: pool.map(limits).unwrap_or_default(),
        outlier: effective.outlier_detection.map(outlier),
        tls: tls(world, effective, sink),
        protocol: protocol(world, pool),
        ..ClusterPolicy::default()
    }
}

fn millis(duration: Option<&ProtoDuration>) -> Option<u64> {
    duration?.millis().ok()
}

fn balancing(settings: &LoadBalancerSettings) -> LoadBalancing {
    match settings.simple {
        Some(SimpleLb::Random) => LoadBalancing::Random,
        Some(SimpleLb::RoundRobin) => LoadBalancing::RoundRobin,
        Some(
            SimpleLb::Unspecified
            | SimpleLb::LeastConn
            | SimpleLb::LeastRequest
            | SimpleLb::Passthrough
            | SimpleLb::Unknown(_),
        )
        | None => LoadBalancing::LeastRequest,
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
        max_concurrent_streams: None,
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
        consecutive_local_failures: None,
        min_health_percent: 0,
    }
}

/// TLS towards endpoints. What cannot be done names a secret that does not exist, so that
/// connections fail: never plaintext, never without the verification that is asked for.
fn tls(world: &World<'_>, effective: &Effective<'_>, sink: &mut Sink) -> Option<UpstreamTls> {
    let (settings, rule, field) = effective.tls.as_ref()?;
    let mut voice = Voice {
        object: rule.object,
        sink,
    };
    let (client_certificate, verification) = match settings.mode.as_ref()? {
        ClientTlsMode::Disable => return None,
        ClientTlsMode::Simple => (None, verification(world, settings, field, &mut voice)),
        ClientTlsMode::Mutual => (
            Some(client_certificate(world, settings, field, &mut voice)),
            verification(world, settings, field, &mut voice),
        ),
        mode @ (ClientTlsMode::IstioMutual | ClientTlsMode::Unknown(_)) => {
            let message = format!("{mode} is not supported, so connections fail");
            voice.error(Code::NoEffectYet, format!("{field}.mode"), message);
            let nothing = || SecretKey::new("unusable://mesh-identity");
            (Some(nothing()), Verification::Anchors(nothing()))
        }
    };
    let sni = settings.sni.clone().filter(|sni| !sni.is_empty());
    Some(UpstreamTls {
        sni: sni.map_or(Sni::FromHost, Sni::Name),
        verification,
        subject_alt_names: settings.subject_alt_names.clone(),
        client_certificate,
    })
}

fn credential(settings: &ClientTlsSettings) -> Option<&str> {
    settings
        .credential_name
        .as_deref()
        .filter(|name| !name.is_empty())
}

fn client_certificate(
    world: &World<'_>,
    settings: &ClientTlsSettings,
    field: &str,
    voice: &mut Voice<'_, '_>,
) -> SecretKey {
    if let Some(name) = credential(settings) {
        let field = format!("{field}.credentialName");
        return secret::key_pair(world, name, &field, Code::UnusableSecret, voice);
    }
    let message = if settings.client_certificate.is_some() {
        "certificate files have no effect yet, so connections fail; use credentialName"
    } else {
        "MUTUAL needs a certificate, so connections fail"
    };
    voice.error(
        Code::NoEffectYet,
        format!("{field}.clientCertificate"),
        message,
    );
    SecretKey::new("unusable://file")
}

fn verification(
    world: &World<'_>,
    settings: &ClientTlsSettings,
    field: &str,
    voice: &mut Voice<'_, '_>,
) -> Verification {
    if settings.insecure_skip_verify == Some(true) {
        let port = field.contains("portLevelSettings");
        let code = if port {
            Code::NoServerVerificationOnPort
        } else {
            Code::NoServerVerification
        };
        let message =
            "the server is not verified: anyone on the way can read and change everything";
        voice.warn(code, format!("{field}.insecureSkipVerify"), message);
        return Verification::InsecureSkip;
    }
    let file = settings
        .ca_certificates
        .as_deref()
        .filter(|file| !file.is_empty());
    match (credential(settings), file) {
        (Some(name), _) => {
            let field = format!("{field}.credentialName");
            Verification::Anchors(secret::anchors(world, name, &field, voice))
        }
        (None, None | Some("system")) => Verification::System,
        (None, Some(_)) => {
            let message = "certificate files have no effect yet, so connections fail; use \
                           credentialName";
            voice.error(
                Code::NoEffectYet,
                format!("{field}.caCertificates"),
                message,
            );
            Verification::Anchors(SecretKey::new("unusable://file"))
        }
    }
}

/// Says what of a policy has no effect or is wrong.
pub(super) fn review(policy: &TrafficPolicy, field: &str, voice: &mut Voice<'_, '_>) {
    for (name, set) in [
        ("tunnel", policy.tunnel.is_some()),
        ("proxyProtocol", policy.proxy_protocol.is_some()),
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
            review_balancer(settings, &format!("{field}.loadBalancer"), voice);
        }
        if let Some(settings) = self.connection_pool {
            review_pool(settings, &format!("{field}.connectionPool"), voice);
        }
        if let Some(settings) = self.outlier_detection {
            review_outlier(settings, &format!("{field}.outlierDetection"), voice);
        }
    }
}

fn review_balancer(settings: &LoadBalancerSettings, field: &str, voice: &mut Voice<'_, '_>) {
    let instead = "LEAST_REQUEST is used";
    match &settings.simple {
        Some(SimpleLb::Passthrough) => {
            let message = format!("PASSTHROUGH is not possible at a gateway; {instead}");
            voice.warn(Code::NoEffectOnGateway, format!("{field}.simple"), message);
        }
        Some(SimpleLb::Unknown(text)) => {
            let message = format!("`{text}` is not known; {instead}");
            voice.error(Code::UnknownValue, format!("{field}.simple"), message);
        }
        Some(
            SimpleLb::Unspecified
            | SimpleLb::LeastConn
            | SimpleLb::Random
            | SimpleLb::RoundRobin
            | SimpleLb::LeastRequest,
        )
        | None => {}
    }
    for (name, set) in [
        ("consistentHash", settings.consistent_hash.is_some()),
        ("localityLbSetting", settings.locality_lb_setting.is_some()),
        (
            "zoneAwareLbSetting",
            settings.zone_aware_lb_setting.is_some(),
        ),
        ("warmup", settings.warmup.is_some()),
        (
            "warmupDurationSecs",
            settings.warmup_duration_secs.is_some(),
        ),
    ] {
        if set {
            let message = format!("has no effect yet; {instead} without it");
            voice.warn(Code::NoEffectYet, format!("{field}.{name}"), message);
        }
    }
}

fn review_pool(settings: &ConnectionPoolSettings, field: &str, voice: &mut Voice<'_, '_>) {
    let mut parts: Vec<(&str, bool)> = Vec::new();
    let mut durations: Vec<(&str, Option<&ProtoDuration>)> = Vec::new();
    if let Some(tcp) = &settings.tcp {
        parts.push(("tcp.tcpKeepalive", tcp.tcp_keepalive.is_some()));
        parts.push((
            "tcp.maxConnectionDuration",
            tcp.max_connection_duration.is_some(),
        ));
        durations.push(("tcp.connectTimeout", tcp.connect_timeout.as_ref()));
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
        parts.push((
            "http.maxConcurrentStreams",
            http.max_concurrent_streams.is_some(),
        ));
        parts.push(("http.http2KeepAlive", http.http2_keep_alive.is_some()));
        durations.push(("http.idleTimeout", http.idle_timeout.as_ref()));
    }
    for (name, set) in parts {
        if set {
            voice.warn(
                Code::NoEffectYet,
                format!("{field}.{name}"),
                "has no effect yet",
            );
        }
    }
    review_durations(&durations, field, voice);
}

fn review_outlier(settings: &OutlierDetection, field: &str, voice: &mut Voice<'_, '_>) {
    for (name, set) in [
        (
            "splitExternalLocalOriginErrors",
            settings.split_external_local_origin_errors == Some(true),
        ),
        (
            "consecutiveLocalOriginFailures",
            settings.consecutive_local_origin_failures.is_some(),
        ),
        (
            "minHealthPercent",
            settings.min_health_percent.unwrap_or(0) > 0,
        ),
        (
            "outlierDetectionHttpErrorCodes",
            !settings.outlier_detection_http_error_codes.is_empty(),
        ),
    ] {
        if set {
            voice.warn(
                Code::NoEffectYet,
                format!("{field}.{name}"),
                "has no effect yet",
            );
        }
    }
    let durations = [
        ("interval", settings.interval.as_ref()),
        ("baseEjectionTime", settings.base_ejection_time.as_ref()),
    ];
    review_durations(&durations, field, voice);
}

fn review_durations(
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
