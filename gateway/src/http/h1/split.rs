//! From parsed slices to fields over the frozen head.

use crate::http::fields::{Field, Fields};
use bytes::{Buf, BytesMut};

/// Where the fields of a head are in the buffer.
pub(super) struct Parts {
    list: Vec<Field>,
    /// Whether every line of the head is known to end with CRLF.
    pub(super) crlf: bool,
    /// Whether a name is longer than a field can hold.
    pub(super) too_long: bool,
}

/// Offset and length of a slice within the buffer it was taken from.
#[inline]
pub(super) fn place(buffer: &[u8], slice: &[u8]) -> (usize, usize) {
    (
        slice.as_ptr().addr().wrapping_sub(buffer.as_ptr().addr()),
        slice.len(),
    )
}

impl Parts {
    /// Notes where the parsed fields are. `head` is the length of the whole head.
    pub(super) fn of(buffer: &[u8], headers: &[httparse::Header<'_>], head: usize) -> Self {
        let mut parts = Self {
            list: Vec::with_capacity(headers.len().saturating_add(8)),
            crlf: true,
            too_long: false,
        };
        // The end of the line before, if it is known to be a CRLF.
        let mut end = headers
            .first()
            .map(|header| place(buffer, header.name.as_bytes()).0)
            .unwrap_or_else(|| head.saturating_sub(2));
        parts.crlf = ends_crlf(buffer, end);
        for header in headers {
            let name = place(buffer, header.name.as_bytes());
            let value = place(buffer, header.value);
            let after = value.0.saturating_add(value.1);
            let line = value.0 == name.0.saturating_add(name.1).saturating_add(2)
                && buffer.get(value.0.saturating_sub(1)) == Some(&b' ')
                && buffer.get(after..after.saturating_add(2)) == Some(b"\r\n");
            parts.crlf &= line && name.0 == end;
            parts.too_long |= name.1 > usize::from(u16::MAX);
            end = after.saturating_add(2);
            parts.list.push(Field::received(name, value, line));
        }
        parts.crlf &= end.saturating_add(2) == head && ends_crlf(buffer, head);
        parts
    }

    /// Takes the head off the buffer, with the names in lower case, and lists its fields.
    pub(super) fn take(self, buffer: &mut BytesMut, head: usize) -> Fields {
        let mut received = buffer.split_to(head.min(buffer.len()));
        for field in &self.list {
            if let Some(name) = received.get_mut(field.name_range()) {
                name.make_ascii_lowercase();
            }
        }
        Fields::received(received.freeze(), self.list)
    }
}

fn ends_crlf(buffer: &[u8], end: usize) -> bool {
    buffer
        .get(..end)
        .is_some_and(|before| before.ends_with(b"\r\n"))
}

/// Whether some lines of a head end with CRLF and some with a bare LF. A head of bare LF alone
/// comes from a simple client; a mixture is what an injected line looks like.
pub(super) fn mixes_line_ends(head: &[u8]) -> bool {
    let (mut crlf, mut bare) = (false, false);
    for at in memchr::memchr_iter(b'\n', head) {
        match at.checked_sub(1).and_then(|before| head.get(before)) {
            Some(b'\r') => crlf = true,
            _ => bare = true,
        }
    }
    crlf && bare
}

/// Removes empty lines before a start line
/// ([RFC 9112 2.2](https://www.rfc-editor.org/rfc/rfc9112#section-2.2)).
pub(super) fn skip_empty_lines(buffer: &mut BytesMut) {
    loop {
        let empty = match buffer.first() {
            Some(b'\n') => 1,
            Some(b'\r') if buffer.get(1) == Some(&b'\n') => 2,
            _ => return,
        };
        buffer.advance(empty);
    }
}

/// Decides whether a buffer that was incomplete before is worth parsing again: only a line end
/// can complete a head. Keeps slow senders from costing quadratic time.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Progress {
    seen: usize,
}

impl Progress {
    /// Whether to parse, now that the buffer has grown to this.
    #[inline]
    pub(super) fn ready(&mut self, buffer: &[u8]) -> bool {
        let seen = std::mem::replace(&mut self.seen, buffer.len());
        seen == 0
            || buffer
                .get(seen..)
                .is_none_or(|new| memchr::memchr(b'\n', new).is_some())
    }

    /// A head was taken: the next one starts anew.
    #[inline]
    pub(super) fn reset(&mut self) {
        self.seen = 0;
    }
}

/// Whether a comma-separated list has this token, without case.
pub(super) fn has_token(list: &[u8], token: &[u8]) -> bool {
    list.split(|b| *b == b',')
        .any(|item| item.trim_ascii().eq_ignore_ascii_case(token))
}

/// A `content-length` value: digits alone.
pub(crate) fn parse_length(value: &[u8]) -> Option<u64> {
    if value.is_empty() || value.len() > 19 {
        return None;
    }
    value.iter().try_fold(0_u64, |n, b| {
        b.is_ascii_digit()
            .then(|| n * 10 + u64::from(b.wrapping_sub(b'0')))
    })
}
