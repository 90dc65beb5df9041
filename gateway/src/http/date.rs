//! The `date` field.

use std::cell::Cell;

thread_local! {
    /// The second that was formatted last, and its text.
    static LAST: Cell<(u64, [u8; 29])> = const { Cell::new((0, *b"Thu, 01 Jan 1970 00:00:00 GMT")) };
}

/// A time in seconds since the Unix epoch as HTTP writes it
/// ([RFC 9110 5.6.7](https://www.rfc-editor.org/rfc/rfc9110#section-5.6.7)). Formats once per
/// second and thread.
pub(crate) fn http_date(seconds: u64) -> [u8; 29] {
    LAST.with(|last| {
        let (second, text) = last.get();
        if second == seconds {
            return text;
        }
        let text = format(seconds);
        last.set((seconds, text));
        text
    })
}

/// Days since the epoch as year, month (1 to 12) and day, by Howard Hinnant's `civil_from_days`.
fn civil(days: u64) -> (u64, u64, u64) {
    let shifted = days.saturating_add(719_468);
    let era = shifted / 146_097;
    let of_era = shifted % 146_097;
    let year = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let shifted_month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 {
        shifted_month + 3
    } else {
        shifted_month - 9
    };
    (year + era * 400 + u64::from(month <= 2), month, day)
}

fn format(seconds: u64) -> [u8; 29] {
    const DAYS: [&[u8; 3]; 7] = [b"Thu", b"Fri", b"Sat", b"Sun", b"Mon", b"Tue", b"Wed"];
    const MONTHS: [&[u8; 3]; 12] = [
        b"Jan", b"Feb", b"Mar", b"Apr", b"May", b"Jun", b"Jul", b"Aug", b"Sep", b"Oct", b"Nov",
        b"Dec",
    ];
    // HTTP dates have four digits for the year.
    let seconds = seconds.min(253_402_300_799);
    let (days, second) = (seconds / 86_400, seconds % 86_400);
    let (year, month, day) = civil(days);
    let name = |list: &[&'static [u8; 3]], n: u64| {
        let found = usize::try_from(n).ok().and_then(|n| list.get(n).copied());
        found.unwrap_or(b"???")
    };
    let mut text = *b"Thu, 01 Jan 1970 00:00:00 GMT";
    let mut put = |at: usize, bytes: &[u8]| {
        for (slot, byte) in text.iter_mut().skip(at).zip(bytes) {
            *slot = *byte;
        }
    };
    put(0, name(&DAYS, days % 7));
    put(5, &two(day));
    put(8, name(&MONTHS, month.saturating_sub(1)));
    put(12, &two(year / 100));
    put(14, &two(year % 100));
    put(17, &two(second / 3_600));
    put(20, &two(second / 60 % 60));
    put(23, &two(second % 60));
    text
}

/// A time in milliseconds since the Unix epoch as logs write it: `2026-01-02T03:04:05.678Z`.
pub(crate) fn iso_time(millis: u64) -> [u8; 24] {
    let seconds = (millis / 1_000).min(253_402_300_799);
    let (days, second) = (seconds / 86_400, seconds % 86_400);
    let (year, month, day) = civil(days);
    let [tens, ones] = two(millis / 10 % 100);
    let [_, last] = two(millis % 10);
    let mut text = *b"1970-01-01T00:00:00.000Z";
    let mut put = |at: usize, bytes: &[u8]| {
        for (slot, byte) in text.iter_mut().skip(at).zip(bytes) {
            *slot = *byte;
        }
    };
    put(0, &two(year / 100));
    put(2, &two(year % 100));
    put(5, &two(month));
    put(8, &two(day));
    put(11, &two(second / 3_600));
    put(14, &two(second / 60 % 60));
    put(17, &two(second % 60));
    put(20, &[tens, ones, last]);
    text
}

/// Two decimal digits.
fn two(n: u64) -> [u8; 2] {
    let digit = |n: u64| u8::try_from(n % 10).map_or(b'0', |n| n.wrapping_add(b'0'));
    [digit(n / 10), digit(n)]
}

#[cfg(test)]
mod tests {
    use super::{http_date, iso_time};

    #[test]
    fn times_have_milliseconds() {
        for (millis, expected) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (1_767_323_045_678, "2026-01-02T03:04:05.678Z"),
            (1_767_323_045_007, "2026-01-02T03:04:05.007Z"),
        ] {
            assert_eq!(iso_time(millis), expected.as_bytes());
        }
    }

    #[test]
    fn dates_are_in_the_preferred_format() {
        for (seconds, expected) in [
            (0, "Thu, 01 Jan 1970 00:00:00 GMT"),
            (784_111_777, "Sun, 06 Nov 1994 08:49:37 GMT"),
            (951_782_400, "Tue, 29 Feb 2000 00:00:00 GMT"),
            (1_795_132_800, "Fri, 20 Nov 2026 00:00:00 GMT"),
            (4_107_542_399, "Sun, 28 Feb 2100 23:59:59 GMT"),
            (4_107_542_400, "Mon, 01 Mar 2100 00:00:00 GMT"),
            (u64::MAX, "Fri, 31 Dec 9999 23:59:59 GMT"),
        ] {
            assert_eq!(http_date(seconds), expected.as_bytes());
            assert_eq!(http_date(seconds), expected.as_bytes());
        }
    }
}
