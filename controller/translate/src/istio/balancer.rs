//! How endpoints are chosen: the balancer of a traffic policy, and what of it is wrong or has no
//! effect.

use super::world::Voice;
use crate::Code;
use gwanmun_api::{
    Fixed, ProtoDuration,
    istio::{ConsistentHashLb, LoadBalancerSettings, SimpleLb},
};
use gwanmun_ir::{HashCookie, HashKey, LoadBalancing, Warmup};

/// Points on a ring, unless a policy says otherwise.
const RING: u32 = 1024;
/// Entries of a Maglev table, unless a policy says otherwise.
const TABLE: u32 = 65_537;

/// The way of choosing.
pub(super) fn balancing(settings: &LoadBalancerSettings) -> LoadBalancing {
    if let Some(consistent) = &settings.consistent_hash
        && key(consistent).is_some()
    {
        return algorithm(consistent);
    }
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

fn algorithm(settings: &ConsistentHashLb) -> LoadBalancing {
    let number = |number: Option<u64>| number.and_then(|number| u32::try_from(number).ok());
    if let Some(maglev) = &settings.maglev {
        return LoadBalancing::Maglev {
            table_size: number(maglev.table_size.filter(|size| is_table_size(*size)))
                .unwrap_or(TABLE),
        };
    }
    let size = match &settings.ring_hash {
        Some(ring) => ring.minimum_ring_size,
        None => settings.minimum_ring_size.filter(|size| *size > 0),
    };
    LoadBalancing::RingHash {
        minimum_size: number(size).unwrap_or(RING),
    }
}

/// What is hashed.
pub(super) fn hash_key(settings: &LoadBalancerSettings) -> Option<HashKey> {
    key(settings.consistent_hash.as_ref()?)
}

fn key(settings: &ConsistentHashLb) -> Option<HashKey> {
    let named = |name: &Option<String>| name.clone().filter(|name| !name.is_empty());
    if let Some(header) = named(&settings.http_header_name) {
        return Some(HashKey::Header(header.to_ascii_lowercase()));
    }
    if let Some(cookie) = &settings.http_cookie
        && !cookie.name.is_empty()
    {
        let ttl = cookie.ttl.as_ref().and_then(|ttl| ttl.millis().ok());
        let attributes = cookie.attributes.iter();
        return Some(HashKey::Cookie(HashCookie {
            name: cookie.name.clone(),
            path: cookie.path.clone().unwrap_or_default(),
            ttl_seconds: ttl.map(|millis| millis.div_ceil(1000)),
            attributes: attributes
                .map(|one| (one.name.clone(), one.value.clone().unwrap_or_default()))
                .collect(),
        }));
    }
    if settings.use_source_ip == Some(true) {
        return Some(HashKey::SourceIp);
    }
    named(&settings.http_query_parameter_name).map(HashKey::Query)
}

/// How new endpoints get their share.
pub(super) fn warmup(settings: &LoadBalancerSettings) -> Option<Warmup> {
    let positive = |duration: Option<&ProtoDuration>| {
        let millis = duration?.millis().ok()?;
        (millis > 0).then_some(millis)
    };
    let Some(warmup) = &settings.warmup else {
        return Some(Warmup {
            duration_ms: positive(settings.warmup_duration_secs.as_ref())?,
            minimum_percent: 10,
            aggression_permille: 1000,
        });
    };
    let scaled = |number: Option<Fixed>, millionths: i64| {
        let number = number?.millionths() / millionths;
        u32::try_from(number).ok()
    };
    Some(Warmup {
        duration_ms: positive(warmup.duration.as_ref())?,
        minimum_percent: scaled(warmup.minimum_percent, 1_000_000)
            .unwrap_or(10)
            .min(100),
        aggression_permille: scaled(warmup.aggression, 1000)
            .filter(|aggression| *aggression >= 1000)
            .unwrap_or(1000),
    })
}

/// Says what of a balancer is wrong or has no effect.
pub(super) fn review(settings: &LoadBalancerSettings, field: &str, voice: &mut Voice<'_, '_>) {
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
        ("localityLbSetting", settings.locality_lb_setting.is_some()),
        (
            "zoneAwareLbSetting",
            settings.zone_aware_lb_setting.is_some(),
        ),
    ] {
        if set {
            let message = "has no effect yet: endpoints of all localities are alike";
            voice.warn(Code::NoEffectYet, format!("{field}.{name}"), message);
        }
    }
    if let Some(consistent) = &settings.consistent_hash {
        review_hash(consistent, &format!("{field}.consistentHash"), voice);
    }
    let durations = [
        ("warmupDurationSecs", settings.warmup_duration_secs.as_ref()),
        (
            "warmup.duration",
            settings
                .warmup
                .as_ref()
                .and_then(|warmup| warmup.duration.as_ref()),
        ),
    ];
    super::policy::review_durations(&durations, field, voice);
}

fn review_hash(settings: &ConsistentHashLb, field: &str, voice: &mut Voice<'_, '_>) {
    if key(settings).is_none() {
        let message = "needs one of `httpHeaderName`, `httpCookie`, `useSourceIp` and \
                       `httpQueryParameterName`; without it this has no effect";
        voice.error(Code::SchemaValidation, field.to_owned(), message);
    }
    let size = settings
        .maglev
        .as_ref()
        .and_then(|maglev| maglev.table_size);
    if let Some(size) = size
        && !is_table_size(size)
    {
        let message = format!("{size} is not a prime of at most 5000011; {TABLE} is used");
        voice.error(
            Code::SchemaValidation,
            format!("{field}.maglev.tableSize"),
            message,
        );
    }
    let ttl = settings
        .http_cookie
        .as_ref()
        .and_then(|cookie| cookie.ttl.as_ref());
    super::policy::review_durations(&[("httpCookie.ttl", ttl)], field, voice);
}

fn is_table_size(number: u64) -> bool {
    (2..=5_000_011).contains(&number)
        && (2..)
            .take_while(|divisor| divisor * divisor <= number)
            .all(|divisor| !number.is_multiple_of(divisor))
}
