//! How many connections the process has room for.

use std::fs;

/// File descriptors kept for sockets, logs, admin and configuration.
const RESERVED: u64 = 128;
/// Room when the system does not say how many file descriptors there are.
const UNKNOWN: u64 = 1024;
/// More than any machine has ports or memory for.
const MOST: u64 = 1 << 22;

/// Client connections at once: what was asked for, or half of the file descriptors the process
/// may open, because each may need one towards an upstream.
pub(crate) fn connections(asked: Option<usize>) -> u32 {
    let room = match asked {
        Some(asked) => u64::try_from(asked).unwrap_or(MOST),
        None => descriptors().unwrap_or(UNKNOWN).saturating_sub(RESERVED) / 2,
    };
    u32::try_from(room.clamp(1, MOST)).unwrap_or(u32::MAX)
}

/// The soft limit of open files.
fn descriptors() -> Option<u64> {
    let limits = fs::read_to_string("/proc/self/limits").ok()?;
    let line = limits
        .lines()
        .find_map(|line| line.strip_prefix("Max open files"))?;
    match line.split_whitespace().next()? {
        "unlimited" => Some(MOST),
        number => number.parse().ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_room_below_the_limit_of_the_process() {
        let limit = descriptors().unwrap();
        let room = u64::from(connections(None));
        assert!(room >= 1 && room < limit, "{room} of {limit}");
        assert_eq!(connections(Some(7)), 7);
        assert_eq!(connections(Some(0)), 1);
    }
}
