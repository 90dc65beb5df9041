//! Outlier detection: endpoints that keep failing are taken out of service for a while.
//!
//! A state machine that is told what happened and what time it is. Counting happens on the workers
//! with two relaxed atomics per endpoint; deciding, which is rare, behind a lock.

use super::Outcome;
use gwanmun_ir::OutlierDetection;
use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::atomic::{AtomicBool, AtomicU32, Ordering::Relaxed},
    time::{Duration, Instant},
};

/// Longest ejection, as Envoy's `max_ejection_time`; a longer base ejection time wins.
const LONGEST: Duration = Duration::from_secs(300);

/// What one endpoint did lately.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    ejected: AtomicBool,
    consecutive_5xx: AtomicU32,
    consecutive_gateway: AtomicU32,
    consecutive_local: AtomicU32,
}

impl Counters {
    /// Whether the endpoint is out of service.
    pub(crate) fn is_ejected(&self) -> bool {
        self.ejected.load(Relaxed)
    }

    pub(super) fn set_ejected(&self, ejected: bool) {
        self.ejected.store(ejected, Relaxed);
    }

    /// Counts how a try ended. Returns whether a threshold was reached, which starts counting
    /// anew.
    pub(crate) fn count(&self, settings: &OutlierDetection, outcome: Outcome) -> bool {
        if let Some(threshold) = settings.consecutive_local_failures {
            let failed = outcome == Outcome::Failed;
            let reached = bump(&self.consecutive_local, failed, threshold);
            if failed {
                return reached;
            }
        }
        let (is_5xx, is_gateway) = match outcome {
            Outcome::Answered(status) => {
                ((500..600).contains(&status), (502..505).contains(&status))
            }
            Outcome::Connected => (false, false),
            Outcome::Failed => (true, true),
        };
        let one = bump(&self.consecutive_5xx, is_5xx, settings.consecutive_5xx);
        let two = bump(
            &self.consecutive_gateway,
            is_gateway,
            settings.consecutive_gateway_errors,
        );
        one || two
    }

    fn reset(&self) {
        self.consecutive_5xx.store(0, Relaxed);
        self.consecutive_gateway.store(0, Relaxed);
        self.consecutive_local.store(0, Relaxed);
    }
}

/// Counts a failure up to `threshold`, or forgets the earlier ones. A success writes only where
/// there was something to forget.
fn bump(counter: &AtomicU32, failed: bool, threshold: u32) -> bool {
    if !failed {
        if counter.load(Relaxed) != 0 {
            counter.store(0, Relaxed);
        }
        return false;
    }
    if threshold == 0 {
        return false;
    }
    let reached = counter.fetch_add(1, Relaxed) + 1 >= threshold;
    if reached {
        counter.store(0, Relaxed);
    }
    reached
}

/// The ejections of one cluster.
#[derive(Debug, Default)]
pub(crate) struct Detector {
    known: HashMap<SocketAddr, Ejections>,
    /// Ejections ever.
    pub(crate) total: u64,
    /// Ejections that the largest share forbade.
    pub(crate) overflow: u64,
}

#[derive(Debug, Default)]
struct Ejections {
    since: Option<Instant>,
    /// How often in a row; shrinks by one with every sweep the endpoint is in service.
    times: u32,
}

impl Detector {
    /// Takes `address`, one of `endpoints`, out of service unless it is already or too many are.
    /// Returns whether it did.
    ///
    /// As in Envoy without `always_eject_one_host`, which is how Istio uses it: the share counts
    /// this endpoint too, so none of two is ever ejected at 10 %.
    pub(crate) fn eject(
        &mut self,
        settings: &OutlierDetection,
        (address, counters): (SocketAddr, &Counters),
        endpoints: usize,
        now: Instant,
    ) -> bool {
        if counters.is_ejected() {
            return false;
        }
        let allowed = u64::try_from(endpoints)
            .unwrap_or(u64::MAX)
            .saturating_mul(u64::from(settings.max_ejection_percent));
        let ejected = u64::try_from(self.active()).unwrap_or(u64::MAX);
        if ejected.saturating_add(1).saturating_mul(100) > allowed {
            self.overflow += 1;
            return false;
        }
        let known = self.known.entry(address).or_default();
        known.since = Some(now);
        known.times = known.times.saturating_add(1);
        self.total += 1;
        counters.set_ejected(true);
        counters.reset();
        true
    }

    /// Brings endpoints back whose time is over, and forgets endpoints that are gone. `find`
    /// gives the counters of an address that still is an endpoint.
    pub(crate) fn sweep<'a>(
        &mut self,
        settings: &OutlierDetection,
        find: impl Fn(SocketAddr) -> Option<&'a Counters>,
        now: Instant,
    ) {
        let base = Duration::from_millis(settings.base_ejection_ms);
        self.known.retain(|&address, known| {
            let Some(counters) = find(address) else {
                return false;
            };
            match known.since {
                Some(since) => {
                    let time = base.saturating_mul(known.times).min(LONGEST.max(base));
                    if now.saturating_duration_since(since) >= time {
                        known.since = None;
                        counters.reset();
                        counters.set_ejected(false);
                    }
                    true
                }
                None => {
                    known.times = known.times.saturating_sub(1);
                    known.times > 0
                }
            }
        });
    }

    /// Brings everything back: outlier detection was turned off.
    pub(crate) fn clear<'a>(&mut self, find: impl Fn(SocketAddr) -> Option<&'a Counters>) {
        for (address, _) in self.known.drain() {
            if let Some(counters) = find(address) {
                counters.reset();
                counters.set_ejected(false);
            }
        }
    }

    /// How many are out of service.
    pub(crate) fn active(&self) -> usize {
        self.known.values().filter(|e| e.since.is_some()).count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SETTINGS: OutlierDetection = OutlierDetection {
        consecutive_5xx: 3,
        consecutive_gateway_errors: 2,
        interval_ms: 1000,
        base_ejection_ms: 10_000,
        max_ejection_percent: 50,
        consecutive_local_failures: None,
        min_health_percent: 0,
    };

    fn address(port: u16) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], port))
    }

    #[test]
    fn failures_without_an_answer_can_be_counted_apart() {
        let settings = OutlierDetection {
            consecutive_5xx: 2,
            consecutive_local_failures: Some(3),
            ..SETTINGS
        };
        let counters = Counters::default();
        let count = |outcome| counters.count(&settings, outcome);
        assert!(!count(Outcome::Failed) && !count(Outcome::Failed));
        assert!(!count(Outcome::Answered(200)));
        assert!(!count(Outcome::Failed) && !count(Outcome::Failed));
        assert!(count(Outcome::Failed));
        assert!(!count(Outcome::Answered(500)) && !count(Outcome::Failed));
        assert!(count(Outcome::Answered(500)));
    }

    #[test]
    fn a_grpc_answer_counts_by_its_status() {
        for (grpc, status) in [(None, 200), (Some(0), 200), (Some(14), 503), (Some(2), 500)] {
            assert_eq!(Outcome::answered(200, grpc), Outcome::Answered(status));
        }
    }

    #[test]
    fn thresholds_count_consecutive_failures_only() {
        use Outcome::{Answered, Failed};
        let cases: [(&[Outcome], bool); 8] = [
            (&[Answered(500), Answered(500), Answered(500)], true),
            (
                &[Answered(500), Answered(500), Answered(200), Answered(500)],
                false,
            ),
            (&[Answered(503), Answered(504)], true),
            (&[Answered(503), Answered(500), Answered(503)], true),
            (&[Answered(503), Answered(404), Answered(503)], false),
            (&[Failed, Answered(502)], true),
            (&[Failed], false),
            (&[Answered(200), Answered(429)], false),
        ];
        for (outcomes, expected) in cases {
            let counters = Counters::default();
            let mut reached = false;
            for &outcome in outcomes {
                reached |= counters.count(&SETTINGS, outcome);
            }
            assert_eq!(reached, expected, "{outcomes:?}");
        }
    }

    #[test]
    fn a_threshold_of_zero_disables() {
        let settings = OutlierDetection {
            consecutive_5xx: 0,
            consecutive_gateway_errors: 0,
            ..SETTINGS
        };
        let counters = Counters::default();
        assert!((0..100).all(|_| !counters.count(&settings, Outcome::Failed)));
    }

    #[test]
    fn ejections_end_after_base_time_multiplied_by_how_often() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut detector = Detector::default();
        let counters = Counters::default();
        let find = |_| Some(&counters);
        assert!(detector.eject(&SETTINGS, (address(1), &counters), 2, at(0)));
        detector.sweep(&SETTINGS, find, at(9));
        assert!(counters.is_ejected());
        detector.sweep(&SETTINGS, find, at(10));
        assert!(!counters.is_ejected());
        assert!(detector.eject(&SETTINGS, (address(1), &counters), 2, at(11)));
        detector.sweep(&SETTINGS, find, at(22));
        assert!(counters.is_ejected(), "the second time lasts twice as long");
        detector.sweep(&SETTINGS, find, at(31));
        assert!(!counters.is_ejected());
        detector.sweep(&SETTINGS, find, at(32));
        detector.sweep(&SETTINGS, find, at(33));
        assert!(detector.eject(&SETTINGS, (address(1), &counters), 2, at(34)));
        detector.sweep(&SETTINGS, find, at(44));
        assert!(!counters.is_ejected(), "good behaviour is remembered");
    }

    #[test]
    fn the_largest_share_is_respected() {
        let now = Instant::now();
        let all: Vec<_> = (0..4).map(|_| Counters::default()).collect();
        let mut detector = Detector::default();
        let ejected: Vec<_> = (1u16..)
            .zip(&all)
            .map(|(port, counters)| detector.eject(&SETTINGS, (address(port), counters), 4, now))
            .collect();
        assert_eq!(ejected, [true, true, false, false]);
        assert_eq!((detector.active(), detector.overflow), (2, 2));
        let never = OutlierDetection {
            max_ejection_percent: 0,
            ..SETTINGS
        };
        let counters = Counters::default();
        assert!(!Detector::default().eject(&never, (address(1), &counters), 4, now));
    }

    #[test]
    fn endpoints_that_are_gone_are_forgotten() {
        let now = Instant::now();
        let counters = Counters::default();
        let mut detector = Detector::default();
        assert!(detector.eject(&SETTINGS, (address(1), &counters), 2, now));
        detector.sweep(&SETTINGS, |_| None, now);
        assert_eq!(detector.active(), 0);
    }

    #[test]
    fn turning_it_off_brings_everything_back() {
        let counters = Counters::default();
        let mut detector = Detector::default();
        assert!(detector.eject(&SETTINGS, (address(1), &counters), 2, Instant::now()));
        detector.clear(|_| Some(&counters));
        assert!(!counters.is_ejected());
    }
}
