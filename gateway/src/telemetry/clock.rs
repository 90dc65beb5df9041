//! Wall-clock time of a moment, written as the access log writes it.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// How long the distance between the monotonic and the wall clock is trusted.
const RESET: Duration = Duration::from_secs(1);

/// Translates moments to wall-clock time without asking the system each time, and remembers how
/// the last second is written.
#[derive(Debug)]
pub(super) struct Clock {
    base: Instant,
    base_ms: u64,
    second: u64,
    text: [u8; 20],
}

impl Clock {
    /// A clock that is right at `now`.
    pub(super) fn new(now: Instant) -> Self {
        let mut clock = Self {
            base: now,
            base_ms: 0,
            second: u64::MAX,
            text: [b'-'; 20],
        };
        clock.reset(now);
        clock
    }

    fn reset(&mut self, now: Instant) {
        let wall = SystemTime::now().duration_since(UNIX_EPOCH);
        let late = Instant::now().saturating_duration_since(now);
        self.base = now;
        self.base_ms = millis(wall.unwrap_or_default().saturating_sub(late));
    }

    /// Milliseconds since the Unix epoch at `moment`; `now` is a moment close to the present.
    pub(super) fn unix_ms(&mut self, moment: Instant, now: Instant) -> u64 {
        if now.saturating_duration_since(self.base) >= RESET {
            self.reset(now);
        }
        if moment >= self.base {
            self.base_ms
                .saturating_add(millis(moment.saturating_duration_since(self.base)))
        } else {
            self.base_ms
                .saturating_sub(millis(self.base.saturating_duration_since(moment)))
        }
    }

    /// Writes `2026-01-02T03:04:05.678Z`.
    pub(super) fn write(&mut self, unix_ms: u64, out: &mut Vec<u8>) {
        let second = unix_ms / 1000;
        if second != self.second {
            self.second = second;
            self.text = format(second);
        }
        out.extend_from_slice(&self.text);
        let ms = unix_ms % 1000;
        out.extend([digit(ms / 100), digit(ms / 10), digit(ms), b'Z']);
    }
}

/// Seconds since the Unix epoch as `2026-01-02T03:04:05Z`.
pub(crate) fn rfc3339(second: u64) -> String {
    let mut text = String::from_utf8_lossy(&format(second)).into_owned();
    text.pop();
    text.push('Z');
    text
}

/// Whole milliseconds.
pub(super) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// The last decimal digit of `number`.
fn digit(number: u64) -> u8 {
    b'0' + u8::try_from(number % 10).unwrap_or_default()
}

/// `2026-01-02T03:04:05.`
fn format(second: u64) -> [u8; 20] {
    let (year, month, day) = date(second / 86_400);
    let (hour, minute) = (second / 3600 % 24, second / 60 % 60);
    [
        digit(year / 1000),
        digit(year / 100),
        digit(year / 10),
        digit(year),
        b'-',
        digit(month / 10),
        digit(month),
        b'-',
        digit(day / 10),
        digit(day),
        b'T',
        digit(hour / 10),
        digit(hour),
        b':',
        digit(minute / 10),
        digit(minute),
        b':',
        digit(second % 60 / 10),
        digit(second % 60),
        b'.',
    ]
}

/// Year, month and day of a day since the Unix epoch, after Howard Hinnant's [`civil_from_days`].
///
/// [`civil_from_days`]: https://howardhinnant.github.io/date_algorithms.html#civil_from_days
fn date(days: u64) -> (u64, u64, u64) {
    let shifted = days + 719_468;
    let era = shifted / 146_097;
    let day_of_era = shifted % 146_097;
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 {
        month_from_march + 3
    } else {
        month_from_march - 9
    };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    (year, month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_written_as_rfc_3339() {
        let mut clock = Clock::new(Instant::now());
        for (ms, expected) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (951_782_400_007, "2000-02-29T00:00:00.007Z"),
            (1_767_323_045_678, "2026-01-02T03:04:05.678Z"),
            (1_767_323_045_679, "2026-01-02T03:04:05.679Z"),
            (4_107_542_399_999, "2100-02-28T23:59:59.999Z"),
            (4_107_542_400_000, "2100-03-01T00:00:00.000Z"),
        ] {
            let mut out = Vec::new();
            clock.write(ms, &mut out);
            assert_eq!(String::from_utf8(out).unwrap(), expected);
        }
    }

    #[test]
    fn moments_keep_their_distance() {
        let now = Instant::now();
        let mut clock = Clock::new(now);
        let at = clock.unix_ms(now, now);
        let later = now + Duration::from_millis(250);
        assert_eq!(clock.unix_ms(later, later), at + 250);
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        assert!(millis(wall).abs_diff(at) < 60_000);
    }
}
