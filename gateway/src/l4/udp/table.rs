//! Which sessions a socket has, and which of them may be given up for a new one.
//!
//! A session is *confirmed* once its client spoke after its backend did: that client receives what
//! is sent to its address, so the address is not forged. Only unconfirmed sessions are given up,
//! the one first that was silent longest: a flood from forged addresses displaces itself.

use crate::snapshot::FastMap;
use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, Ipv6Addr, SocketAddr},
};

/// What tells sessions of one socket apart.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub(crate) struct SessionKey {
    /// The client's address.
    pub(crate) client: SocketAddr,
    /// The address of ours that it asked: where replies come from. Nothing where the system does
    /// not say; then the system chooses.
    pub(crate) asked: Option<IpAddr>,
}

/// Who is limited together: an IPv4 address, or a /64 of IPv6, which one client has all of.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub(crate) struct Origin(IpAddr);

impl Origin {
    /// The origin of an address.
    pub(crate) fn of(client: SocketAddr) -> Self {
        Self(match client.ip().to_canonical() {
            IpAddr::V4(ip) => ip.into(),
            IpAddr::V6(ip) => Ipv6Addr::from_bits(ip.to_bits() & (u128::MAX << 64)).into(),
        })
    }
}

struct Slot<V> {
    value: V,
    /// Unique in the table.
    id: u64,
    /// When an unconfirmed session was used last, by a clock that ticks with every use; nothing
    /// for a confirmed one.
    used: Option<u64>,
}

/// The sessions of one socket.
pub(crate) struct Table<V> {
    sessions: FastMap<SessionKey, Slot<V>>,
    /// Unconfirmed sessions by their last use.
    by_use: BTreeMap<u64, SessionKey>,
    /// … and by origin.
    by_origin: BTreeSet<(Origin, u64)>,
    clock: u64,
}

impl<V> Default for Table<V> {
    fn default() -> Self {
        Self {
            sessions: FastMap::default(),
            by_use: BTreeMap::new(),
            by_origin: BTreeSet::new(),
            clock: 0,
        }
    }
}

impl<V> Table<V> {
    /// How many sessions there are.
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.sessions.len()
    }

    /// Whether there is none.
    pub(crate) fn is_empty(&self) -> bool {
        self.sessions.is_empty()
    }

    /// The session of `key`.
    pub(crate) fn get(&self, key: &SessionKey) -> Option<&V> {
        Some(&self.sessions.get(key)?.value)
    }

    /// The session of `key`, to be changed.
    pub(crate) fn get_mut(&mut self, key: &SessionKey) -> Option<&mut V> {
        Some(&mut self.sessions.get_mut(key)?.value)
    }

    /// Adds an unconfirmed session in place of any of the same key; returns its id, never used
    /// again, and what it replaced.
    pub(crate) fn insert(&mut self, key: SessionKey, value: V) -> (u64, Option<V>) {
        let replaced = self.take(&key);
        let id = self.tick();
        self.order(key, id);
        let slot = Slot {
            value,
            id,
            used: Some(id),
        };
        self.sessions.insert(key, slot);
        (id, replaced)
    }

    /// Its client spoke; `confirms` says that its backend had spoken before.
    pub(crate) fn heard(&mut self, key: &SessionKey, confirms: bool) {
        let now = self.tick();
        let Some(slot) = self.sessions.get_mut(key) else {
            return;
        };
        let Some(before) = slot.used else { return };
        slot.used = (!confirms).then_some(now);
        self.by_use.remove(&before);
        self.by_origin.remove(&(Origin::of(key.client), before));
        if !confirms {
            self.order(*key, now);
        }
    }

    /// Removes the session of `key` if it is still the one with this id.
    pub(crate) fn remove(&mut self, key: &SessionKey, id: u64) -> Option<V> {
        if self.sessions.get(key)?.id != id {
            return None;
        }
        self.take(key)
    }

    /// Removes the session of `key`.
    pub(crate) fn take(&mut self, key: &SessionKey) -> Option<V> {
        let slot = self.sessions.remove(key)?;
        if let Some(used) = slot.used {
            self.by_use.remove(&used);
            self.by_origin.remove(&(Origin::of(key.client), used));
        }
        Some(slot.value)
    }

    /// Gives up the unconfirmed session that was silent longest, of this origin or of all.
    pub(crate) fn give_up(&mut self, origin: Option<Origin>) -> Option<V> {
        let used = match origin {
            None => *self.by_use.first_key_value()?.0,
            Some(origin) => {
                self.by_origin
                    .range((origin, 0)..=(origin, u64::MAX))
                    .next()?
                    .1
            }
        };
        let key = *self.by_use.get(&used)?;
        self.take(&key)
    }

    fn tick(&mut self) -> u64 {
        self.clock += 1;
        self.clock
    }

    fn order(&mut self, key: SessionKey, used: u64) {
        self.by_use.insert(used, key);
        self.by_origin.insert((Origin::of(key.client), used));
    }

    /// Panics when the parts contradict each other.
    #[cfg(any(test, feature = "fuzzing"))]
    pub(crate) fn check(&self) {
        let unconfirmed = self.sessions.iter().filter_map(|(key, slot)| {
            let used = slot.used?;
            Some((used, *key))
        });
        let unconfirmed: BTreeMap<_, _> = unconfirmed.collect();
        assert_eq!(unconfirmed, self.by_use);
        let origins = unconfirmed.iter();
        let origins = origins.map(|(used, key)| (Origin::of(key.client), *used));
        assert_eq!(origins.collect::<BTreeSet<_>>(), self.by_origin);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(host: u8, port: u16) -> SessionKey {
        SessionKey {
            client: SocketAddr::from(([10, 0, 0, host], port)),
            asked: None,
        }
    }

    #[test]
    fn the_unconfirmed_session_silent_longest_is_given_up_first() {
        let mut table = Table::default();
        for port in 1..=4 {
            table.insert(key(1, port), port);
        }
        table.heard(&key(1, 1), false);
        table.heard(&key(1, 2), true);
        table.check();
        assert_eq!(table.give_up(None), Some(3));
        assert_eq!(table.give_up(None), Some(4));
        assert_eq!(table.give_up(None), Some(1));
        assert_eq!(table.give_up(None), None, "a confirmed session stays");
        assert_eq!(table.len(), 1);
        table.check();
    }

    #[test]
    fn an_origin_gives_up_its_own() {
        let mut table = Table::default();
        table.insert(key(1, 1), 'a');
        table.insert(key(2, 1), 'b');
        table.insert(key(2, 2), 'c');
        let origin = Origin::of(key(2, 9).client);
        assert_eq!(table.give_up(Some(origin)), Some('b'));
        assert_eq!(table.give_up(Some(origin)), Some('c'));
        assert_eq!(table.give_up(Some(origin)), None);
        assert_eq!(table.get(&key(1, 1)), Some(&'a'));
    }

    #[test]
    fn a_session_that_was_replaced_is_not_removed_by_its_predecessor() {
        let mut table = Table::default();
        let (old, _) = table.insert(key(1, 1), 'a');
        let (new, replaced) = table.insert(key(1, 1), 'b');
        assert_eq!(replaced, Some('a'));
        assert_eq!(table.remove(&key(1, 1), old), None);
        assert_eq!(table.remove(&key(1, 1), new), Some('b'));
        table.check();
    }

    #[test]
    fn addresses_of_one_ipv6_network_have_one_origin() {
        let of = |text: &str| Origin::of(text.parse().unwrap());
        assert_eq!(of("[2001:db8::1]:1"), of("[2001:db8::ffff:1]:2"));
        assert_ne!(of("[2001:db8::1]:1"), of("[2001:db8:0:1::1]:1"));
        assert_ne!(of("10.0.0.1:1"), of("10.0.0.2:1"));
        assert_eq!(of("10.0.0.1:1"), of("[::ffff:10.0.0.1]:2"));
    }
}
