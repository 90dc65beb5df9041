//! Request paths in normal form, as Envoy's path canonicaliser makes it.
//!
//! One form is used for everything: routing, logs, and what the upstream receives. A path that
//! looks harmless to one of them and is resolved otherwise by another is a way around access
//! rules, so the result must be stable: normalising it again changes nothing.

use gwanmun_ir::PathNormalization as Mode;

/// The path has no normal form.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Unnormal;

/// A slash: what follows decides.
const SLASH: u8 = 1;
/// A dot: what stands before decides.
const DOT: u8 = 2;
/// The end of the path.
const QUERY: u8 = 4;
/// Work.
const ODD: u8 = 8;

/// What each byte of a path asks for.
const CLASSES: [u8; 256] = {
    let mut classes = [0; 256];
    let mut at = 0;
    while at < 256 {
        #[expect(clippy::indexing_slicing, reason = "in a constant, at most 255")]
        #[expect(clippy::as_conversions, reason = "in a constant, at most 255")]
        {
            classes[at] = match at as u8 {
                b'/' => SLASH,
                b'.' => DOT,
                b'?' => QUERY,
                b'#' | b'%' | b'\\' => ODD,
                byte if is_escaped(byte) => ODD,
                _ => 0,
            };
        }
        at += 1;
    }
    classes
};

/// Whether a byte is sent percent-encoded.
const fn is_escaped(byte: u8) -> bool {
    matches!(
        byte,
        0..=b' ' | b'"' | b'<' | b'>' | b'^' | b'`' | b'{' | b'|' | b'}' | 0x7f..
    )
}

/// Normalises a target, path and query; nothing when it is in normal form already, which takes
/// one scan. The query is left as it is; a fragment is removed.
///
/// # Errors
/// The path contains a NUL, encoded or not.
pub(crate) fn normalize(target: &[u8], mode: Mode) -> Result<Option<Vec<u8>>, Unnormal> {
    if is_normal(target, mode) {
        return Ok(None);
    }
    let whole = memchr::memchr(b'#', target)
        .and_then(|end| target.get(..end))
        .unwrap_or(target);
    let len = memchr::memchr(b'?', whole).unwrap_or(whole.len());
    let (path, query) = whole.split_at_checked(len).unwrap_or((whole, b""));
    let mut path = match mode {
        Mode::None => path.to_vec(),
        Mode::Base => resolve(&decode(path, false)?),
        Mode::MergeSlashes => merge(&resolve(&decode(path, false)?)),
        Mode::DecodeAndMergeSlashes => merge(&resolve(&decode(path, true)?)),
    };
    if path.is_empty() {
        path.push(b'/');
    }
    path.extend_from_slice(query);
    Ok((path != target).then_some(path))
}

/// Whether nothing needs to be done: one scan.
fn is_normal(target: &[u8], mode: Mode) -> bool {
    if mode == Mode::None {
        return memchr::memchr(b'#', target).is_none() && !target.is_empty();
    }
    // What must not follow a slash.
    let after_slash = if mode == Mode::Base { DOT } else { DOT | SLASH };
    let mut previous = 0;
    let mut found = 0;
    for (at, byte) in target.iter().enumerate() {
        let class = CLASSES.get(usize::from(*byte)).copied().unwrap_or(ODD);
        if class == QUERY {
            let query = target.get(at..).unwrap_or_default();
            return found == 0 && at > 0 && memchr::memchr(b'#', query).is_none();
        }
        found |= class & ODD;
        if previous == SLASH {
            found |= class & after_slash;
        }
        previous = class;
    }
    found == 0 && !target.is_empty()
}

/// The byte of an escape `%XX`, and whether it is one.
fn escape(text: &[u8]) -> Option<u8> {
    let [b'%', high, low, ..] = text else {
        return None;
    };
    let digit = |b: u8| {
        char::from(b)
            .to_digit(16)
            .and_then(|d| u8::try_from(d).ok())
    };
    Some((digit(*high)? << 4) | digit(*low)?)
}

/// Decodes unreserved characters, encodes what must not stand in a path, turns backslashes into
/// slashes; with `slashes`, encoded slashes and backslashes too.
fn decode(path: &[u8], slashes: bool) -> Result<Vec<u8>, Unnormal> {
    let mut out = Vec::with_capacity(path.len().saturating_add(16));
    // After a `%` that starts no escape, so many digits could still make it one.
    let mut loose = 0_u8;
    let mut rest = path;
    while let [byte, after @ ..] = rest {
        let mut next = after;
        match (*byte, escape(rest)) {
            (b'%', Some(0)) | (0, _) => return Err(Unnormal),
            (b'%', Some(value)) => {
                next = after.get(2..).unwrap_or_default();
                let unreserved =
                    value.is_ascii_alphanumeric() || matches!(value, b'-' | b'.' | b'_' | b'~');
                if slashes && matches!(value, b'/' | b'\\') {
                    out.push(b'/');
                } else if unreserved && !(loose > 0 && value.is_ascii_hexdigit()) {
                    out.push(value);
                } else {
                    out.extend_from_slice(rest.get(..3).unwrap_or_default());
                }
                loose = 0;
            }
            (b'%', None) => {
                out.push(b'%');
                loose = 2;
            }
            (b'\\', _) => {
                out.push(b'/');
                loose = 0;
            }
            (byte, _) if is_escaped(byte) => {
                const HEX: &[u8; 16] = b"0123456789ABCDEF";
                let digit = |n: u8| HEX.get(usize::from(n)).copied().unwrap_or(b'0');
                out.extend_from_slice(&[b'%', digit(byte >> 4), digit(byte & 15)]);
                loose = 0;
            }
            (byte, _) => {
                out.push(byte);
                loose = if byte.is_ascii_hexdigit() {
                    loose.saturating_sub(1)
                } else {
                    0
                };
            }
        }
        rest = next;
    }
    Ok(out)
}

/// Resolves dot segments ([RFC 3986 5.2.4](https://www.rfc-editor.org/rfc/rfc3986#section-5.2.4)).
/// A dot segment with parameters (`..;x=1`) is one: servers that drop the parameters would
/// resolve it later.
fn resolve(path: &[u8]) -> Vec<u8> {
    let mut out: Vec<u8> = Vec::with_capacity(path.len());
    let body = path.strip_prefix(b"/").unwrap_or(path);
    let mut segments = body.split(|b| *b == b'/').peekable();
    while let Some(segment) = segments.next() {
        let last = segments.peek().is_none();
        let name = segment.split(|b| *b == b';').next().unwrap_or(segment);
        match name {
            b"." => {}
            b".." => {
                let parent = memchr::memrchr(b'/', &out).unwrap_or(0);
                out.truncate(parent);
            }
            _ => {
                out.push(b'/');
                out.extend_from_slice(segment);
                continue;
            }
        }
        if last {
            out.push(b'/');
        }
    }
    out
}

/// Makes one slash of several.
fn merge(path: &[u8]) -> Vec<u8> {
    let mut out: Vec<u8> = Vec::with_capacity(path.len());
    for byte in path {
        if *byte != b'/' || out.last() != Some(&b'/') {
            out.push(*byte);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::{Mode, normalize};
    use proptest::prelude::*;

    fn normal(path: &str, mode: Mode) -> Option<String> {
        let changed = normalize(path.as_bytes(), mode).ok()?;
        let bytes = changed.unwrap_or_else(|| path.as_bytes().to_vec());
        Some(String::from_utf8(bytes).unwrap())
    }

    const MODES: [Mode; 4] = [
        Mode::None,
        Mode::Base,
        Mode::MergeSlashes,
        Mode::DecodeAndMergeSlashes,
    ];

    /// Input, then the result for each mode. `=` means unchanged.
    #[test]
    fn istios_table_holds() {
        for (path, expected) in [
            ("/app#foo", ["/app", "/app", "/app", "/app"]),
            ("/app/../admin", ["=", "/admin", "/admin", "/admin"]),
            ("/app//", ["=", "=", "/app/", "/app/"]),
            ("/app/%2f", ["=", "=", "=", "/app/"]),
            ("/app%2f/", ["=", "=", "=", "/app/"]),
            (
                "/xyz%30..//abc",
                ["=", "/xyz0..//abc", "/xyz0../abc", "/xyz0../abc"],
            ),
            ("/app/%2E./admin", ["=", "/admin", "/admin", "/admin"]),
            (
                "/app\\admin",
                ["=", "/app/admin", "/app/admin", "/app/admin"],
            ),
            (
                "/app/\\/\\/\\admin",
                ["=", "/app//////admin", "/app/admin", "/app/admin"],
            ),
            ("/%2Fapp%5cadmin%5Cabc", ["=", "=", "=", "/app/admin/abc"]),
            (
                "/%5Capp%2f%5c%2F%2e%2e%2fadmin%5c\\abc",
                [
                    "=",
                    "/%5Capp%2f%5c%2F..%2fadmin%5c/abc",
                    "/%5Capp%2f%5c%2F..%2fadmin%5c/abc",
                    "/app/admin/abc",
                ],
            ),
            (
                "/app//../admin",
                ["=", "/app/admin", "/app/admin", "/app/admin"],
            ),
            ("/app//../../admin", ["=", "/admin", "/admin", "/admin"]),
            (
                "/%c0%2e%c0%2e/admin",
                ["=", "/%c0.%c0./admin", "/%c0.%c0./admin", "/%c0.%c0./admin"],
            ),
            ("/%c0%2fadmin", ["=", "=", "=", "/%c0/admin"]),
            ("/0x2e0x2e/admin", ["=", "=", "=", "="]),
            ("/%252e%252e/admin", ["=", "=", "=", "="]),
            ("/%c0%ae%c0%ae/admin", ["=", "=", "=", "="]),
            ("/.../admin", ["=", "=", "=", "="]),
            ("/admin;a=b", ["=", "=", "=", "="]),
            ("/Admin", ["=", "=", "=", "="]),
            ("/a%2fb", ["=", "=", "=", "/a/b"]),
            ("/a%5cb", ["=", "=", "=", "/a/b"]),
            ("/a%2f..%2fb", ["=", "=", "=", "/b"]),
        ] {
            for (mode, expected) in MODES.into_iter().zip(expected) {
                let expected = if expected == "=" { path } else { expected };
                assert_eq!(
                    normal(path, mode).as_deref(),
                    Some(expected),
                    "{path} {mode:?}"
                );
            }
        }
    }

    #[test]
    fn envoys_rows_hold() {
        for (path, expected) in [
            ("/a/../b", "/b"),
            ("/a/%2e%2e/b", "/b"),
            ("/a/../../../etc", "/etc"),
            ("/a\\b", "/a/b"),
            ("/%41%7e%2e", "/A~."),
            ("/a#frag", "/a"),
            ("/a|b\"<>", "/a%7Cb%22%3C%3E"),
            ("/a?x=/../y", "/a?x=/../y"),
            ("/a?x=%41|\\", "/a?x=%41|\\"),
            ("/a?x#y", "/a?x"),
            ("/a#y?x", "/a"),
            ("//x", "//x"),
            ("/a//b", "/a//b"),
            ("/a%2fb", "/a%2fb"),
            ("/%zz", "/%zz"),
            ("/a;x=1/b", "/a;x=1/b"),
            ("/...;/x", "/...;/x"),
            ("/..;/x", "/x"),
            ("/a/..;x=1/b", "/b"),
            ("/a/.;y/b", "/a/b"),
            ("/a/..%3b/b", "/a/..%3b/b"),
            ("/a/..", "/"),
            ("/a/b/..", "/a/"),
            ("/a/.", "/a/"),
            ("/..", "/"),
            ("/.", "/"),
            ("/.a/..b/c..", "/.a/..b/c.."),
            ("/", "/"),
            ("#", "/"),
            ("/../..//..", "/"),
        ] {
            assert_eq!(
                normal(path, Mode::Base).as_deref(),
                Some(expected),
                "{path}"
            );
        }
    }

    /// Where Envoy's result would change when normalised once more, ours does not.
    #[test]
    fn results_are_stable_where_envoys_are_not() {
        for (path, expected) in [
            ("/a/%2e%2e;/b", "/b"),
            ("/a/%2%65%2%65/b", "/a/%2%65%2%65/b"),
            ("/a/%%32e/b", "/a/%%32e/b"),
        ] {
            assert_eq!(
                normal(path, Mode::Base).as_deref(),
                Some(expected),
                "{path}"
            );
        }
    }

    #[test]
    fn encoded_nul_has_no_normal_form() {
        for mode in MODES {
            let refused = normalize(b"/admin%00", mode).is_err();
            assert_eq!(refused, mode != Mode::None);
        }
        assert!(normalize(b"/a?b=%00", Mode::Base).is_ok());
    }

    #[test]
    fn normal_paths_are_not_copied() {
        for path in ["/", "/a/b.c", "/a?b=/../c", "/a;b", "/a//b"] {
            assert_eq!(normalize(path.as_bytes(), Mode::Base), Ok(None), "{path}");
        }
    }

    proptest! {
        #[test]
        fn normalising_again_changes_nothing(
            path in r"/([a-c./;\\%|?#]|%2[efEF5]|%5[cC]|%6[15]|%3[2bB]|%zz|\.\.|\.\.;|//){0,12}",
        ) {
            for mode in MODES {
                if let Some(once) = normal(&path, mode) {
                    let twice = normal(&once, mode);
                    prop_assert_eq!(twice.as_deref(), Some(once.as_str()), "{:?}", mode);
                }
            }
        }

        #[test]
        fn any_bytes_are_taken(path in prop::collection::vec(any::<u8>(), 0..40)) {
            for mode in MODES {
                let _ = normalize(&path, mode);
            }
        }

        #[test]
        fn no_dot_segment_is_left(
            path in r"/([ab./;\\]|%2[eE]|\.\.|\.\.;){0,14}",
        ) {
            let normal = normal(&path, Mode::Base).unwrap();
            for segment in normal.split('/') {
                let name = segment.split(';').next().unwrap_or(segment);
                prop_assert!(name != "." && name != "..", "{} in {}", segment, normal);
            }
        }
    }
}
