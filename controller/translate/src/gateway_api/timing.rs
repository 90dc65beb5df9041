//! Time limits and retries of rules.

use gwanmun_api::{
    Duration,
    gateway_api::{HttpTimeouts, Retry},
};
use gwanmun_ir::{Backoff, RetryCondition, RetryPolicy, Timeouts};

/// Base of the first pause between tries when nobody says otherwise, milliseconds; Envoy's.
const BASE_MS: u64 = 25;

/// Longest pause, in bases; Envoy's.
const MAX_BASES: u64 = 10;

/// A field, and what is wrong with it.
pub(super) type Problem = (&'static str, String);

/// Time limits of a rule. An invalid one is reported and not applied.
pub(super) fn timeouts(wanted: Option<&HttpTimeouts>, problems: &mut Vec<Problem>) -> Timeouts {
    let Some(wanted) = wanted else {
        return Timeouts::default();
    };
    let mut limit = |field, duration: &Option<Duration>| {
        let millis = read(field, duration.as_ref()?, problems)?;
        // `0s` turns the limit off.
        (millis > 0).then_some(millis)
    };
    Timeouts {
        request_ms: limit("timeouts.request", &wanted.request),
        per_try_ms: limit("timeouts.backendRequest", &wanted.backend_request),
    }
}

/// When a rule's requests are tried again ([GEP-1731]): when the backend cannot have processed
/// them, and on the listed codes.
///
/// [GEP-1731]: https://gateway-api.sigs.k8s.io/geps/gep-1731/
pub(super) fn retry(wanted: Option<&Retry>, problems: &mut Vec<Problem>) -> Option<RetryPolicy> {
    let wanted = wanted?;
    let base = wanted
        .backoff
        .as_ref()
        .and_then(|backoff| read("retry.backoff", backoff, problems))
        .unwrap_or(BASE_MS);
    // Repeating what succeeded is never meant.
    let (status_codes, others): (Vec<u16>, Vec<u16>) = wanted
        .codes
        .iter()
        .partition(|code| (400..600).contains(*code));
    for code in others {
        let message = format!("code {code} is not between 400 and 599: not tried again");
        problems.push(("retry.codes", message));
    }
    let attempts = wanted.attempts.unwrap_or(1);
    (attempts > 0).then(|| RetryPolicy {
        attempts,
        conditions: vec![
            RetryCondition::ConnectFailure,
            RetryCondition::RefusedStream,
            RetryCondition::Unavailable,
        ],
        status_codes,
        backoff: Backoff {
            base_ms: base,
            max_ms: base.saturating_mul(MAX_BASES),
        },
    })
}

fn read(field: &'static str, duration: &Duration, problems: &mut Vec<Problem>) -> Option<u64> {
    duration
        .millis()
        .map_err(|error| problems.push((field, error.to_string())))
        .ok()
}
