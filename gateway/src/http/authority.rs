//! What an authority may look like.

/// Whether this is `host`, `host:port` or `[address]:port`, without userinfo
/// ([RFC 9110 4.2.4](https://www.rfc-editor.org/rfc/rfc9110#section-4.2.4)) and without a list:
/// nothing that another recipient could split in another place. Empty is allowed: it matches no
/// host.
pub(crate) fn is_valid(authority: &[u8]) -> bool {
    if let Some(rest) = authority.strip_prefix(b"[") {
        let Some(end) = memchr::memchr(b']', rest) else {
            return false;
        };
        let (Some(address), Some(after)) = (rest.get(..end), rest.get(end.saturating_add(1)..))
        else {
            return false;
        };
        let literal = address
            .iter()
            .all(|b| b.is_ascii_hexdigit() || matches!(b, b':' | b'.'));
        return literal && !address.is_empty() && is_port_suffix(after);
    }
    let host_end = authority
        .iter()
        .position(|b| !is_host_byte(*b))
        .unwrap_or(authority.len());
    let port = authority.get(host_end..).unwrap_or(b"");
    is_port_suffix(port) && (host_end > 0 || port.is_empty())
}

/// Empty, `:`, or `:` with up to five digits.
fn is_port_suffix(text: &[u8]) -> bool {
    match text.split_first() {
        None => true,
        Some((b':', port)) => port.len() <= 5 && port.iter().all(u8::is_ascii_digit),
        Some(_) => false,
    }
}

#[inline]
fn is_host_byte(b: u8) -> bool {
    HOST_BYTES.get(usize::from(b)).copied().unwrap_or(false)
}

const HOST_BYTES: [bool; 256] = {
    let mut bytes = [false; 256];
    let mut at = 0_u8;
    while at < 128 {
        #[expect(clippy::indexing_slicing, reason = "in a constant, at most 127")]
        #[expect(clippy::as_conversions, reason = "in a constant, at most 127")]
        {
            bytes[at as usize] = at.is_ascii_alphanumeric()
                || matches!(
                    at,
                    b'-' | b'.'
                        | b'_'
                        | b'~'
                        | b'%'
                        | b'!'
                        | b'$'
                        | b'&'
                        | b'\''
                        | b'('
                        | b')'
                        | b'*'
                        | b'+'
                        | b';'
                        | b'='
                );
        }
        at += 1;
    }
    bytes
};

#[cfg(test)]
mod tests {
    use super::is_valid;

    #[test]
    fn hosts_with_ports_are_valid() {
        for text in [
            "",
            "a",
            "a.test",
            "A.Test:80",
            "a.test.",
            "a_b.test",
            "ok%2etest",
            "127.0.0.1:8080",
            "[::1]",
            "[::1]:80",
            "[::ffff:1.2.3.4]:1",
            "a:",
        ] {
            assert!(is_valid(text.as_bytes()), "{text}");
        }
    }

    #[test]
    fn ambiguous_authorities_are_not() {
        for text in [
            "a b", "u@a.test", "a,b", "a/b", "a\\b", "a?b", "a#b", "a:b", "a:80:80", "a:123456",
            ":80", "[::1", "::1", "[::1]x", "[]", "[g]", "a[::1]", "a:-1", "a:+1", "é", "a\tb",
            "a:80@b",
        ] {
            assert!(!is_valid(text.as_bytes()), "{text}");
        }
    }
}
