//! Timeouts and retries of a VirtualService's rule.

use super::{route::Rule, world::Voice};
use crate::Code;
use gwanmun_api::{ProtoDuration, istio::HttpRetry};
use gwanmun_ir::{Backoff, RetryCondition, RetryPolicy, Timeouts};

/// Base of the pauses between tries, milliseconds.
const BACKOFF_MS: u64 = 25;

/// Time limits; `0s` is none.
pub(super) fn timeouts(rule: &Rule<'_, '_>, voice: &mut Voice<'_, '_>) -> Timeouts {
    let field = rule.field();
    let retries = rule
        .rule
        .retries
        .as_ref()
        .or(rule.world.mesh.default_retry());
    let active = retries.filter(|retries| retries.attempts.unwrap_or(0) > 0);
    let per_try = active.and_then(|retries| retries.per_try_timeout.as_ref());
    Timeouts {
        request_ms: millis(
            rule.rule.timeout.as_ref(),
            &format!("{field}.timeout"),
            voice,
        ),
        per_try_ms: millis(per_try, &format!("{field}.retries.perTryTimeout"), voice),
    }
}

/// A positive time; what is not one is reported and counts as unset.
fn millis(duration: Option<&ProtoDuration>, field: &str, voice: &mut Voice<'_, '_>) -> Option<u64> {
    match duration?.millis() {
        Ok(millis) => Some(millis).filter(|millis| *millis > 0),
        Err(error) => {
            voice.error(
                Code::SchemaValidation,
                field,
                format!("{error}; it counts as unset"),
            );
            None
        }
    }
}

/// When to try again: as the rule says, else as the mesh says, else twice.
pub(super) fn policy(rule: &Rule<'_, '_>, voice: &mut Voice<'_, '_>) -> Option<RetryPolicy> {
    // Until 1.24 a 503 of the upstream was tried again.
    let old = !rule.world.options.compat.at_least(1, 24);
    let default = RetryPolicy {
        attempts: 2,
        conditions: vec![
            RetryCondition::ConnectFailure,
            RetryCondition::RefusedStream,
            RetryCondition::Unavailable,
            RetryCondition::Cancelled,
        ],
        status_codes: if old { vec![503] } else { Vec::new() },
        backoff: Backoff {
            base_ms: BACKOFF_MS,
            max_ms: BACKOFF_MS * 10,
        },
    };
    let own = rule.rule.retries.as_ref();
    let Some(wanted) = own.or(rule.world.mesh.default_retry()) else {
        return Some(default);
    };
    let attempts = u32::try_from(wanted.attempts.unwrap_or(0)).unwrap_or(0);
    if attempts == 0 {
        return None;
    }
    let field = format!("{}.retries", rule.field());
    Some(merged(wanted, attempts, default, &field, voice))
}

fn merged(
    wanted: &HttpRetry,
    attempts: u32,
    default: RetryPolicy,
    field: &str,
    voice: &mut Voice<'_, '_>,
) -> RetryPolicy {
    let on = wanted
        .retry_on
        .as_deref()
        .filter(|on| !on.trim().is_empty());
    let (conditions, status_codes) = match on {
        None => (default.conditions, default.status_codes),
        Some(on) => retry_on(on, &format!("{field}.retryOn"), voice),
    };
    let backoff = millis(wanted.backoff.as_ref(), &format!("{field}.backoff"), voice);
    RetryPolicy {
        attempts,
        conditions,
        status_codes,
        backoff: backoff.map_or(default.backoff, |base_ms| Backoff {
            base_ms,
            max_ms: base_ms.saturating_mul(10),
        }),
    }
}

/// Envoy's condition names and status codes, separated by commas.
fn retry_on(text: &str, field: &str, voice: &mut Voice<'_, '_>) -> (Vec<RetryCondition>, Vec<u16>) {
    let (mut conditions, mut codes) = (Vec::new(), Vec::new());
    for word in text
        .split(',')
        .map(str::trim)
        .filter(|word| !word.is_empty())
    {
        if let Ok(code) = word.parse::<u16>() {
            codes.push(code);
        } else if let Some(condition) = condition(word) {
            conditions.push(condition);
        } else if word != "retriable-status-codes" {
            let message = format!("`{word}` is not supported, and ignored");
            voice.warn(Code::UnknownValue, field, message);
        }
    }
    (conditions, codes)
}

fn condition(word: &str) -> Option<RetryCondition> {
    Some(match word {
        "5xx" => RetryCondition::FiveXx,
        "cancelled" => RetryCondition::Cancelled,
        "connect-failure" => RetryCondition::ConnectFailure,
        "deadline-exceeded" => RetryCondition::DeadlineExceeded,
        "gateway-error" => RetryCondition::GatewayError,
        "internal" => RetryCondition::Internal,
        "refused-stream" => RetryCondition::RefusedStream,
        "reset" => RetryCondition::Reset,
        "reset-before-request" => RetryCondition::ResetBeforeRequest,
        "resource-exhausted" => RetryCondition::ResourceExhausted,
        "retriable-4xx" => RetryCondition::Retriable4xx,
        "unavailable" => RetryCondition::Unavailable,
        _ => return None,
    })
}
