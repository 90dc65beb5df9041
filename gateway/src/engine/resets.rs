//! Clients that open requests only to reset them.
//!
//! One connection is watched by [`super::serve_h2`]; a client that spreads its resets over many
//! connections is seen here, by address. Counting costs nothing until a stream is reset.

use pingora_limits::rate::Rate;
use std::{net::IpAddr, time::Duration};

/// The time over which resets of an address are counted.
const INTERVAL: Duration = Duration::from_secs(10);
/// Resets of one address in that time, on one worker, above which its connections are closed.
/// High enough for a proxy in front of us that carries many clients which change their minds.
const LIMIT: isize = 5_000;

/// How often addresses reset requests that had no answer yet.
pub(crate) struct Resets {
    rate: Rate,
}

impl Resets {
    /// Counts one; whether the address has made too many.
    pub(super) fn is_flood(&self, client: IpAddr) -> bool {
        self.rate.observe(&client, 1) > LIMIT
    }
}

impl Default for Resets {
    fn default() -> Self {
        Self {
            rate: Rate::new(INTERVAL),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_that_resets_thousands_of_requests_is_a_flood_and_others_are_not() {
        let resets = Resets::default();
        let (bad, good): (IpAddr, IpAddr) = ([192, 0, 2, 1].into(), [192, 0, 2, 2].into());
        for _ in 0..LIMIT {
            assert!(!resets.is_flood(bad));
        }
        assert!(resets.is_flood(bad));
        assert!(!resets.is_flood(good));
    }
}
