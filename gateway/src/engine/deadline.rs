//! The absolute time limits of one request.

use std::time::Duration;
use tokio::time::Instant;

/// Which limit has passed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Expired {
    /// That of the whole request.
    Request,
    /// That of the current try.
    PerTry,
}

/// When the clock of the request's limit starts.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Clock {
    /// With the request's first byte, and a try lasts to the end of its response (Gateway API).
    FirstByte,
    /// When the request is complete, and a try lasts to its response's head (Istio, as Envoy).
    Complete,
}

/// The absolute time limits of one request. They do not move, whatever trickles in.
#[derive(Debug)]
pub(crate) struct Deadlines {
    clock: Clock,
    whole: Option<Duration>,
    per_try: Option<Duration>,
    request: Option<Instant>,
    attempt: Option<Instant>,
    complete: bool,
}

impl Deadlines {
    /// Limits for a request whose first byte came at `started`.
    pub(crate) fn new(
        clock: Clock,
        whole: Option<Duration>,
        per_try: Option<Duration>,
        started: Instant,
    ) -> Self {
        let request = match clock {
            Clock::FirstByte => whole.map(|whole| started + whole),
            Clock::Complete => None,
        };
        Self {
            clock,
            whole,
            per_try,
            request,
            attempt: None,
            complete: false,
        }
    }

    /// No limits.
    pub(crate) fn none() -> Self {
        Self {
            clock: Clock::Complete,
            whole: None,
            per_try: None,
            request: None,
            attempt: None,
            complete: false,
        }
    }

    /// The request has arrived whole.
    pub(crate) fn request_complete(&mut self) {
        self.complete = true;
        if self.clock == Clock::Complete && (self.whole.is_some() || self.per_try.is_some()) {
            let now = Instant::now();
            if self.request.is_none() {
                self.request = self.whole.map(|whole| now + whole);
            }
            self.attempt = self.per_try.map(|limit| now + limit);
        }
    }

    /// A try begins.
    pub(crate) fn attempt_started(&mut self) {
        let counts = self.complete || self.clock == Clock::FirstByte;
        self.attempt = match self.per_try {
            Some(limit) if counts => Some(Instant::now() + limit),
            Some(_) | None => None,
        };
    }

    /// The response of the current try is the final one, and its head has arrived.
    pub(crate) fn response_started(&mut self) {
        if self.clock == Clock::Complete {
            self.per_try = None;
            self.attempt = None;
        }
    }

    /// The try is over: until the next one only the request's limit counts.
    pub(crate) fn attempt_ended(&mut self) {
        self.attempt = None;
    }

    /// Neither limit applies to what an upgraded connection does.
    pub(crate) fn lift(&mut self) {
        self.whole = None;
        self.per_try = None;
        self.request = None;
        self.attempt = None;
    }

    /// The next moment that matters.
    pub(crate) fn next(&self) -> Option<Instant> {
        earliest(self.request, self.attempt)
    }

    /// Which limit has passed by now; the request's before the try's.
    pub(crate) fn expired(&self) -> Option<Expired> {
        let next = self.next()?;
        let now = Instant::now();
        if now < next {
            None
        } else if self.request.is_some_and(|at| at <= now) {
            Some(Expired::Request)
        } else {
            Some(Expired::PerTry)
        }
    }

    /// Milliseconds a try that begins now may take, for `x-envoy-expected-rq-timeout-ms`.
    pub(crate) fn expected_ms(&self) -> Option<u64> {
        u64::try_from(self.expected()?.as_millis()).ok()
    }

    fn expected(&self) -> Option<Duration> {
        let left = match self.request {
            Some(at) => Some(at.saturating_duration_since(Instant::now())),
            None => self.whole,
        };
        match (self.per_try, left) {
            (Some(limit), Some(left)) => Some(limit.min(left)),
            (limit, left) => limit.or(left),
        }
    }
}

/// The earlier of two moments.
pub(crate) fn earliest(a: Option<Instant>, b: Option<Instant>) -> Option<Instant> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (a, b) => a.or(b),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn istio_counts_from_the_end_of_the_request() {
        let started = Instant::now();
        let mut limits = Deadlines::new(Clock::Complete, Some(SECOND), Some(SECOND / 2), started);
        limits.attempt_started();
        assert_eq!(limits.next(), None, "the upload may take its time");
        limits.request_complete();
        let next = limits.next().expect("both clocks run");
        assert!(next >= started + SECOND / 2 && next < started + SECOND);
        limits.response_started();
        assert!(
            limits.next() >= Some(started + SECOND),
            "a slow body is the route's business"
        );
    }

    #[test]
    fn gateway_api_counts_from_the_first_byte_to_the_last() {
        let started = Instant::now();
        let mut limits = Deadlines::new(Clock::FirstByte, Some(2 * SECOND), Some(SECOND), started);
        assert_eq!(limits.next(), Some(started + 2 * SECOND));
        limits.attempt_started();
        limits.request_complete();
        limits.response_started();
        assert!(
            limits.next() < Some(started + 2 * SECOND),
            "the try still counts"
        );
    }

    #[test]
    fn the_requests_limit_comes_before_the_tries() {
        let long_ago = Instant::now() - SECOND;
        let mut limits = Deadlines::new(
            Clock::FirstByte,
            Some(SECOND / 2),
            Some(Duration::ZERO),
            long_ago,
        );
        limits.attempt_started();
        assert_eq!(limits.expired(), Some(Expired::Request));
        limits.lift();
        assert_eq!(limits.expired(), None);
    }
}
