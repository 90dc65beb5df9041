//! How many UDP sessions there may be: in the process, and of one origin.

use super::table::Origin;
use crate::{config::Limits, snapshot::FastMap};
use parking_lot::Mutex;
use std::{
    sync::Arc,
    time::{Duration, Instant},
};

/// Shortest time between two lines of the log about refused sessions.
const BETWEEN: Duration = Duration::from_secs(10);

/// The sessions of the process, counted. Locked when a session begins or ends, never per datagram.
#[derive(Debug)]
pub(crate) struct Caps {
    most: usize,
    most_per_origin: usize,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    all: usize,
    origins: FastMap<Origin, usize>,
    refused: u64,
    told: Option<Instant>,
}

/// What a session is refused for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Full {
    /// Its origin has as many as it may.
    Origin,
    /// The process has.
    Process,
}

impl Caps {
    /// No session yet; `room` is how many client connections the process has room for.
    pub(crate) fn new(limits: &Limits, room: u32) -> Arc<Self> {
        let quarter = usize::try_from(room / 4).unwrap_or(usize::MAX).max(1);
        Arc::new(Self {
            most: limits.udp_sessions.unwrap_or(quarter),
            most_per_origin: limits.udp_sessions_per_source,
            state: Mutex::default(),
        })
    }

    /// Takes a place for a session.
    ///
    /// # Errors
    ///
    /// [`Full`] when there is none.
    pub(crate) fn admit(self: &Arc<Self>, origin: Origin) -> Result<Place, Full> {
        let mut state = self.state.lock();
        let state = &mut *state;
        let own = state.origins.get(&origin).copied().unwrap_or_default();
        if own >= self.most_per_origin {
            return Err(Full::Origin);
        }
        if state.all >= self.most {
            return Err(Full::Process);
        }
        state.all += 1;
        state.origins.insert(origin, own + 1);
        Ok(Place {
            caps: Arc::clone(self),
            origin,
        })
    }

    /// A session was refused. Returns how many since the last time it returned a number: to be
    /// logged.
    pub(crate) fn refused(&self, now: Instant) -> Option<u64> {
        let mut state = self.state.lock();
        state.refused += 1;
        if state
            .told
            .is_some_and(|told| now.saturating_duration_since(told) < BETWEEN)
        {
            return None;
        }
        state.told = Some(now);
        Some(std::mem::take(&mut state.refused))
    }
}

/// The place of one session, given back on drop.
#[derive(Debug)]
pub(crate) struct Place {
    caps: Arc<Caps>,
    origin: Origin,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut state = self.caps.state.lock();
        state.all = state.all.saturating_sub(1);
        if let Some(own) = state.origins.get_mut(&self.origin) {
            *own -= 1;
            if *own == 0 {
                state.origins.remove(&self.origin);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::SocketAddr;

    #[test]
    fn places_are_counted_and_given_back() {
        let limits = Limits {
            udp_sessions: Some(3),
            udp_sessions_per_source: 2,
            ..Limits::default()
        };
        let caps = Caps::new(&limits, 1000);
        let origin = |host| Origin::of(SocketAddr::from(([10, 0, 0, host], 1)));
        let held = [
            caps.admit(origin(1)).unwrap(),
            caps.admit(origin(1)).unwrap(),
        ];
        assert_eq!(caps.admit(origin(1)).unwrap_err(), Full::Origin);
        let _other = caps.admit(origin(2)).unwrap();
        assert_eq!(caps.admit(origin(3)).unwrap_err(), Full::Process);
        drop(held);
        caps.admit(origin(3)).unwrap();
        assert_eq!(caps.state.lock().origins.len(), 1);
    }

    #[test]
    fn refusals_are_told_once_per_interval_with_their_number() {
        let caps = Caps::new(&Limits::default(), 1000);
        let now = Instant::now();
        assert_eq!(caps.refused(now), Some(1));
        assert_eq!(caps.refused(now), None);
        assert_eq!(caps.refused(now), None);
        assert_eq!(caps.refused(now + BETWEEN), Some(3));
    }
}
