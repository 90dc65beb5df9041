//! What an answer means, and when to ask again.

use std::{net::IpAddr, time::Duration};

/// Shortest time between two questions, whatever the time to live says.
const FLOOR: Duration = Duration::from_secs(5);
/// Longest time between two questions.
const CEILING: Duration = Duration::from_secs(300);
/// How many answers in a row must deny a name before its addresses are given up.
const DENIALS: u32 = 3;
/// Time before a denial is checked again.
const RECHECK: Duration = Duration::from_secs(1);
/// Longest time between two questions after failures.
const LONGEST_RETRY: Duration = Duration::from_secs(30);

/// What a question led to.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Answer {
    /// Addresses, and how long they are good for.
    Found {
        addresses: Vec<IpAddr>,
        /// Those of the other family.
        others: Vec<IpAddr>,
        ttl: Duration,
    },
    /// The name does not exist or has no address.
    NotFound,
    /// No answer, and why.
    Failed(String),
}

/// What to do after an [`Answer`].
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Next {
    /// The addresses from now on; absent means as before.
    pub(super) addresses: Option<Vec<IpAddr>>,
    /// When to ask again.
    pub(super) wait: Duration,
}

/// The state of one name.
#[derive(Debug, Default)]
pub(super) struct Refresh {
    /// Whether there are addresses in use.
    known: bool,
    denials: u32,
    failures: u32,
}

impl Refresh {
    /// Decides. A failure never takes addresses away; a name has to be denied several times.
    pub(super) fn next(&mut self, answer: Answer) -> Next {
        match answer {
            Answer::Found { addresses, ttl, .. } => {
                *self = Self {
                    known: true,
                    ..Self::default()
                };
                Next {
                    addresses: Some(addresses),
                    wait: ttl.clamp(FLOOR, CEILING),
                }
            }
            Answer::NotFound => {
                self.failures = 0;
                self.denials = self.denials.saturating_add(1);
                if self.known && self.denials < DENIALS {
                    return Next {
                        addresses: None,
                        wait: RECHECK,
                    };
                }
                self.known = false;
                Next {
                    addresses: Some(Vec::new()),
                    wait: FLOOR,
                }
            }
            Answer::Failed(_) => {
                self.failures = self.failures.saturating_add(1);
                let doubled = RECHECK.saturating_mul(1 << self.failures.min(5));
                Next {
                    addresses: (!self.known).then(Vec::new),
                    wait: doubled.min(LONGEST_RETRY) / 2,
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;

    const ADDRESS: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

    fn found(seconds: u64) -> Answer {
        Answer::Found {
            addresses: vec![ADDRESS],
            others: Vec::new(),
            ttl: Duration::from_secs(seconds),
        }
    }

    fn failed() -> Answer {
        Answer::Failed("timeout".to_owned())
    }

    #[test]
    fn times_to_live_have_a_floor_and_a_ceiling() {
        for (ttl, wait) in [(0, 5), (4, 5), (60, 60), (86_400, 300)] {
            let next = Refresh::default().next(found(ttl));
            assert_eq!(next.wait, Duration::from_secs(wait), "{ttl}");
            assert_eq!(next.addresses, Some(vec![ADDRESS]));
        }
    }

    #[test]
    fn failures_keep_the_last_answer_and_back_off() {
        let mut refresh = Refresh::default();
        refresh.next(found(60));
        let mut waits = Vec::new();
        for _ in 0..8 {
            let next = refresh.next(failed());
            assert_eq!(next.addresses, None);
            waits.push(next.wait.as_secs());
        }
        assert_eq!(waits, [1, 2, 4, 8, 15, 15, 15, 15]);
        assert_eq!(refresh.next(found(60)).wait.as_secs(), 60);
        assert_eq!(refresh.next(failed()).wait.as_secs(), 1);
    }

    #[test]
    fn a_name_must_be_denied_three_times_in_a_row() {
        let mut refresh = Refresh::default();
        refresh.next(found(60));
        assert_eq!(refresh.next(Answer::NotFound).addresses, None);
        assert_eq!(refresh.next(Answer::NotFound).addresses, None);
        assert_eq!(refresh.next(found(60)).addresses, Some(vec![ADDRESS]));
        for _ in 0..2 {
            assert_eq!(refresh.next(Answer::NotFound).addresses, None);
        }
        assert_eq!(refresh.next(Answer::NotFound).addresses, Some(Vec::new()));
    }

    #[test]
    fn a_name_that_never_existed_is_empty_at_once() {
        assert_eq!(
            Refresh::default().next(Answer::NotFound).addresses,
            Some(Vec::new())
        );
        assert_eq!(
            Refresh::default().next(failed()).addresses,
            Some(Vec::new())
        );
    }
}
