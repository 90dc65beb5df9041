//! What must hold for any order in which sessions begin, are used and end. Called by the fuzz
//! target.

use super::table::{Origin, SessionKey, Table};
use std::{collections::BTreeMap, net::SocketAddr};

/// A session as it should be.
struct Expected {
    id: u64,
    value: usize,
    confirmed: bool,
}

/// Each two bytes are a step: what happens, and to whom. The table must agree with a plain map.
pub(crate) fn sessions(data: &[u8]) {
    let mut table = Table::default();
    let mut expected: BTreeMap<SessionKey, Expected> = BTreeMap::new();
    for (value, step) in data.chunks_exact(2).enumerate() {
        let [action, whom] = *step else { return };
        let key = key(whom);
        match action % 6 {
            0 => {
                let (id, replaced) = table.insert(key, value);
                let confirmed = false;
                let new = Expected {
                    id,
                    value,
                    confirmed,
                };
                let before = expected.insert(key, new).map(|old| old.value);
                assert_eq!(replaced, before);
            }
            confirms @ (1 | 2) => {
                table.heard(&key, confirms == 2);
                if let Some(session) = expected.get_mut(&key) {
                    session.confirmed |= confirms == 2;
                }
            }
            3 => {
                let id = expected.get(&key).map_or(0, |session| session.id);
                assert_eq!(table.remove(&key, id.wrapping_add(1)), None);
                let removed = expected.remove(&key).map(|session| session.value);
                assert_eq!(table.remove(&key, id), removed);
            }
            given_up => {
                let origin = (given_up == 4).then(|| Origin::of(key.client));
                give_up(&mut table, &mut expected, origin);
            }
        }
        table.check();
        assert_eq!(table.is_empty(), expected.is_empty());
        let session = expected.get(&key).map(|session| session.value);
        assert_eq!(table.get(&key).copied(), session);
    }
}

/// One of eight origins, four ports each; half of them asked one address, half another.
fn key(whom: u8) -> SessionKey {
    let (host, port) = (whom & 7, u16::from(whom >> 3 & 3));
    let client = if host < 4 {
        SocketAddr::from(([10, 0, 0, host], port))
    } else {
        SocketAddr::from(([0x2001, 0xdb8, 0, host.into(), 0, 0, 0, port], port))
    };
    let asked = (whom & 32 != 0).then(|| [192, 0, 2, 1].into());
    SessionKey { client, asked }
}

/// Somebody is given up if there is anybody who may be, and nobody who may not.
fn give_up(
    table: &mut Table<usize>,
    expected: &mut BTreeMap<SessionKey, Expected>,
    origin: Option<Origin>,
) {
    let mut candidates = expected.iter().filter(|(key, session)| {
        !session.confirmed && origin.is_none_or(|origin| origin == Origin::of(key.client))
    });
    match table.give_up(origin) {
        None => assert!(candidates.next().is_none(), "nobody was given up"),
        Some(value) => {
            let found = candidates.find(|(_, session)| session.value == value);
            let key = found.map(|(key, _)| *key);
            assert!(key.is_some(), "a session was given up that must stay");
            key.and_then(|key| expected.remove(&key));
        }
    }
}
