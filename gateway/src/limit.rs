//! How many connections the process has room for.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// File descriptors kept for sockets, logs, admin and configuration.
const RESERVED: u64 = 128;
/// More than any machine has memory for.
const MOST: u64 = 1 << 20;

/// Raises the process's limit of open files as far as it may, and returns how many client
/// connections there is room for: what was asked for, or half of the file descriptors, because
/// each connection may need one towards an upstream.
pub(crate) fn connections(asked: Option<usize>) -> u32 {
    let descriptors = raise();
    let room = match asked {
        Some(asked) => u64::try_from(asked).unwrap_or(MOST),
        None => descriptors.saturating_sub(RESERVED) / 2,
    };
    u32::try_from(room.clamp(1, MOST)).unwrap_or(1)
}

/// Raises the soft limit to the hard one. Returns the limit that holds.
fn raise() -> u64 {
    let limit = getrlimit(Resource::Nofile);
    let soft = limit.current.unwrap_or(MOST);
    let goal = limit.maximum.unwrap_or(MOST).min(MOST);
    if goal <= soft {
        return soft;
    }
    let raised = Rlimit {
        current: Some(goal),
        maximum: limit.maximum,
    };
    match setrlimit(Resource::Nofile, raised) {
        Ok(()) => goal,
        Err(error) => {
            tracing::warn!(%error, soft, "the limit of open files cannot be raised");
            soft
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_room_below_the_limit_of_the_process() {
        let room = u64::from(connections(None));
        let limit = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
        assert!(room >= 1 && room < limit, "{room} of {limit}");
        assert_eq!(connections(Some(7)), 7);
        assert_eq!(connections(Some(0)), 1);
    }
}
