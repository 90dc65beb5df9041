//! Whether a failed try is repeated.
//!
//! Follows Envoy's `retry_on` conditions; what was observed of them decides where the
//! documentation is vague.

use super::fault::Fault;
use crate::http::forward::RetryOverride;
use gwanmun_ir::{Backoff, RetryCondition, RetryPolicy};
use std::time::Duration;

/// What a try came to, as far as retries are concerned.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Outcome<'a> {
    /// It ended without a response.
    Fault(&'a Fault),
    /// A response began.
    Response {
        /// Its status.
        status: u16,
        /// `grpc-status` in its headers.
        grpc: Option<u32>,
    },
}

/// What to do about an [`Outcome`].
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Decision {
    /// Try again after this pause.
    Again(Duration),
    /// The policy would try again, but no try is left: flag `URX`.
    Exhausted,
    /// Not worth repeating.
    Final,
}

/// Counts the tries of one request against its policy.
#[derive(Debug)]
pub(crate) struct Retries<'p> {
    policy: Option<&'p RetryPolicy>,
    /// Retries made, free ones not counted.
    made: u32,
    /// Retries that the policy does not know of: a pooled connection was found closed.
    free: u32,
}

/// How often a request may meet a closed pooled connection before that counts as a failure.
const FREE: u32 = 3;

impl<'p> Retries<'p> {
    /// Nothing tried yet.
    pub(crate) fn new(policy: Option<&'p RetryPolicy>) -> Self {
        Self {
            policy,
            made: 0,
            free: 0,
        }
    }

    /// Retries made by the policy.
    pub(crate) fn made(&self) -> u32 {
        self.made
    }

    /// Whether there is a policy.
    pub(crate) fn has_policy(&self) -> bool {
        self.policy.is_some()
    }

    /// Decides about an outcome; `random` is any uniformly distributed number.
    pub(crate) fn decide(&mut self, outcome: Outcome<'_>, random: u64) -> Decision {
        let Some(policy) = self.policy else {
            return Decision::Final;
        };
        if !worth_repeating(policy, outcome) {
            return Decision::Final;
        }
        if self.made >= policy.attempts {
            return Decision::Exhausted;
        }
        self.made += 1;
        Decision::Again(pause(policy.backoff, self.made, random))
    }

    /// Takes back a retry that was granted and could not be made.
    pub(crate) fn undo(&mut self) {
        self.made = self.made.saturating_sub(1);
    }

    /// Whether a pooled connection that was found closed may be replaced without counting.
    pub(crate) fn take_free(&mut self) -> bool {
        let granted = self.free < FREE;
        self.free += u32::from(granted);
        granted
    }
}

/// A policy as the header edits of a route override it; nothing when nothing is left to repeat.
pub(crate) fn overridden(
    policy: Option<&RetryPolicy>,
    taken: &RetryOverride,
) -> Option<RetryPolicy> {
    let mut changed = policy.cloned().unwrap_or(RetryPolicy {
        attempts: 1,
        conditions: Vec::new(),
        status_codes: Vec::new(),
        backoff: Backoff {
            base_ms: 25,
            max_ms: 250,
        },
    });
    if let Some(attempts) = taken.max_retries {
        changed.attempts = attempts;
    }
    for word in taken.retry_on.iter().flat_map(|list| list.split(',')) {
        if let Some(condition) = condition(word.trim()) {
            changed.conditions.push(condition);
        }
    }
    (!changed.conditions.is_empty() || !changed.status_codes.is_empty()).then_some(changed)
}

/// A condition by Envoy's name.
fn condition(name: &str) -> Option<RetryCondition> {
    Some(match name {
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

fn worth_repeating(policy: &RetryPolicy, outcome: Outcome<'_>) -> bool {
    if let Outcome::Response { status, .. } = outcome
        && policy.status_codes.contains(&status)
    {
        return true;
    }
    policy.conditions.iter().any(|condition| match outcome {
        Outcome::Fault(fault) => covers_fault(*condition, fault),
        Outcome::Response { status, grpc } => covers_response(*condition, status, grpc),
    })
}

fn covers_fault(condition: RetryCondition, fault: &Fault) -> bool {
    let connecting = fault.is_connect();
    let repeatable = match fault {
        Fault::Connect(_) => connecting,
        Fault::Closed { .. } | Fault::PerTry | Fault::Protocol | Fault::Refused | Fault::Reset => {
            true
        }
        Fault::NoHealthy | Fault::Overflow | Fault::RequestTimeout => false,
    };
    match condition {
        RetryCondition::FiveXx | RetryCondition::GatewayError | RetryCondition::Reset => repeatable,
        RetryCondition::ConnectFailure => connecting,
        RetryCondition::RefusedStream => matches!(fault, Fault::Refused),
        RetryCondition::ResetBeforeRequest => {
            connecting || matches!(fault, Fault::Closed { untouched: true })
        }
        RetryCondition::Cancelled
        | RetryCondition::DeadlineExceeded
        | RetryCondition::Internal
        | RetryCondition::ResourceExhausted
        | RetryCondition::Retriable4xx
        | RetryCondition::Unavailable => false,
    }
}

fn covers_response(condition: RetryCondition, status: u16, grpc: Option<u32>) -> bool {
    match condition {
        RetryCondition::FiveXx => (500..600).contains(&status),
        RetryCondition::GatewayError => (502..=504).contains(&status),
        RetryCondition::Retriable4xx => status == 409,
        RetryCondition::Cancelled => grpc == Some(1),
        RetryCondition::DeadlineExceeded => grpc == Some(4),
        RetryCondition::ResourceExhausted => grpc == Some(8),
        RetryCondition::Internal => grpc == Some(13),
        RetryCondition::Unavailable => grpc == Some(14),
        RetryCondition::ConnectFailure
        | RetryCondition::RefusedStream
        | RetryCondition::Reset
        | RetryCondition::ResetBeforeRequest => false,
    }
}

/// The pause before retry number `n`: random between 0 and base × (2^n − 1), at most the maximum.
fn pause(backoff: Backoff, n: u32, random: u64) -> Duration {
    let factor = 1_u64
        .checked_shl(n)
        .unwrap_or(u64::MAX)
        .saturating_sub(1)
        .max(1);
    let ceiling = backoff
        .base_ms
        .saturating_mul(factor)
        .min(backoff.max_ms)
        .saturating_mul(1_000);
    let micros = (u128::from(random) * u128::from(ceiling)) >> 64;
    Duration::from_micros(u64::try_from(micros).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::{ConnectError, ConnectFailure};

    fn policy(conditions: &[RetryCondition], status_codes: &[u16], attempts: u32) -> RetryPolicy {
        RetryPolicy {
            attempts,
            conditions: conditions.to_vec(),
            status_codes: status_codes.to_vec(),
            backoff: Backoff {
                base_ms: 25,
                max_ms: 250,
            },
        }
    }

    fn retried(conditions: &[RetryCondition], outcome: Outcome<'_>) -> bool {
        let policy = policy(conditions, &[], 1);
        Retries::new(Some(&policy)).decide(outcome, 0) != Decision::Final
    }

    #[test]
    fn conditions_cover_what_envoy_was_seen_to_repeat() {
        use RetryCondition::{
            FiveXx, GatewayError, RefusedStream, Reset, ResetBeforeRequest, Retriable4xx,
            Unavailable,
        };
        let connect = |failure| {
            Fault::Connect(ConnectError {
                failure,
                transport: "".into(),
            })
        };
        let refused = connect(ConnectFailure::Remote);
        let late = connect(ConnectFailure::Timeout);
        let full = connect(ConnectFailure::Overflow);
        let closed = Fault::Closed { untouched: false };
        let untouched = Fault::Closed { untouched: true };
        for (condition, fault, expected) in [
            (RetryCondition::ConnectFailure, &refused, true),
            (RetryCondition::ConnectFailure, &late, true),
            (RetryCondition::ConnectFailure, &full, false),
            (RetryCondition::ConnectFailure, &closed, false),
            (ResetBeforeRequest, &closed, false),
            (ResetBeforeRequest, &untouched, true),
            (RefusedStream, &Fault::Refused, true),
            (RefusedStream, &Fault::Reset, false),
            (Reset, &closed, true),
            (Reset, &Fault::PerTry, true),
            (FiveXx, &Fault::PerTry, true),
            (GatewayError, &Fault::PerTry, true),
            (RetryCondition::ConnectFailure, &Fault::PerTry, false),
            (FiveXx, &Fault::Overflow, false),
            (FiveXx, &Fault::RequestTimeout, false),
            (FiveXx, &Fault::NoHealthy, false),
        ] {
            assert_eq!(
                retried(&[condition], Outcome::Fault(fault)),
                expected,
                "{condition:?} {fault:?}"
            );
        }
        for (condition, status, grpc, expected) in [
            (FiveXx, 500, None, true),
            (FiveXx, 499, None, false),
            (GatewayError, 500, None, false),
            (GatewayError, 504, None, true),
            (Retriable4xx, 409, None, true),
            (Unavailable, 200, Some(14), true),
            (Unavailable, 503, None, false),
        ] {
            let outcome = Outcome::Response { status, grpc };
            assert_eq!(
                retried(&[condition], outcome),
                expected,
                "{condition:?} {status}"
            );
        }
    }

    #[test]
    fn listed_status_codes_are_repeated_until_no_try_is_left() {
        let policy = policy(&[], &[503], 2);
        let mut retries = Retries::new(Some(&policy));
        let outcome = Outcome::Response {
            status: 503,
            grpc: None,
        };
        assert!(matches!(retries.decide(outcome, 0), Decision::Again(_)));
        assert!(matches!(retries.decide(outcome, 0), Decision::Again(_)));
        assert_eq!(retries.decide(outcome, 0), Decision::Exhausted);
        assert_eq!(retries.made(), 2);
    }

    #[test]
    fn pauses_grow_to_the_maximum() {
        let backoff = Backoff {
            base_ms: 25,
            max_ms: 250,
        };
        let longest = |n| pause(backoff, n, u64::MAX).as_millis();
        assert_eq!([1, 2, 3, 4, 40].map(longest), [24, 74, 174, 249, 249]);
        assert_eq!(pause(backoff, 3, 0), Duration::ZERO);
    }
}
