//! Rewrites of authority and path, and what redirects share with them.

use crate::http::{Known, RequestHead, is_authority};
use gwanmun_ir::{HostRewrite, PathMatch, PathRewrite, UrlRewrite};
use regex::Regex;
use std::borrow::Cow;

/// A compiled rewrite.
#[derive(Debug)]
pub(super) struct Rewrite {
    host: Option<Box<str>>,
    path: Option<Path>,
}

#[derive(Debug)]
enum Path {
    Full(String),
    Prefix(String),
    Regex(Regex, String),
    StringPrefix(String),
}

impl Rewrite {
    /// Compiles a rewrite; what cannot be done is left out and told.
    pub(super) fn compile(rewrite: &UrlRewrite, problems: &mut Vec<String>) -> Self {
        let host = match &rewrite.host {
            Some(HostRewrite::Literal(host)) if is_authority(host.as_bytes()) => {
                Some(host.as_str().into())
            }
            Some(HostRewrite::Literal(host)) => {
                problems.push(format!("`{host}` is not a host to rewrite to"));
                None
            }
            None => None,
        };
        let path = rewrite.path.as_ref().and_then(|path| match path {
            PathRewrite::Full(path) => Some(Path::Full(path_text(path))),
            PathRewrite::Prefix(path) => Some(Path::Prefix(path_text(path))),
            PathRewrite::StringPrefix(path) => Some(Path::StringPrefix(path_text(path))),
            PathRewrite::Regex {
                pattern,
                substitution,
            } => match regex::RegexBuilder::new(pattern)
                .size_limit(1 << 20)
                .build()
            {
                Ok(regex) => Some(Path::Regex(regex, template(&path_text(substitution)))),
                Err(error) => {
                    problems.push(format!(
                        "`{pattern}` is not a usable regular expression, the path stays: {error}"
                    ));
                    None
                }
            },
        });
        Self { host, path }
    }

    /// Rewrites a request. With `istio` the upstream is told what was there before.
    pub(super) fn apply(&self, head: &mut RequestHead, matched: Option<&PathMatch>, istio: bool) {
        if let Some(path) = &self.path
            && let Some(path) = path.of(head.path(), matched)
        {
            let path = path.into_owned();
            let before = istio.then(|| head.original_target().to_vec());
            head.rewrite_path(&[path.as_bytes()]);
            if let Some(before) = before {
                let fields = head.fields_mut();
                fields.set_known(Known::XEnvoyOriginalPath, &[&before]);
            }
        }
        if let Some(host) = &self.host {
            if istio {
                let before = head.authority().as_bytes().to_vec();
                let fields = head.fields_mut();
                fields.set_known(Known::XEnvoyOriginalHost, &[&before]);
            }
            head.set_authority(host.as_bytes());
        }
    }
}

impl Path {
    /// The new path; nothing where the old one stays.
    fn of<'a>(&'a self, path: &'a str, matched: Option<&PathMatch>) -> Option<Cow<'a, str>> {
        match self {
            Self::Full(full) => Some(Cow::Borrowed(full)),
            Self::Prefix(prefix) => replace_prefix(path, matched, prefix).map(Cow::Owned),
            Self::StringPrefix(prefix) => {
                replace_string_prefix(path, matched, prefix).map(Cow::Owned)
            }
            Self::Regex(regex, template) => match regex.replace_all(path, template.as_str()) {
                Cow::Borrowed(_) => None,
                Cow::Owned(path) => Some(Cow::Owned(rooted(path))),
            },
        }
    }
}

/// The part of the path that a condition looks at from its start.
fn matched_prefix(matched: Option<&PathMatch>) -> &str {
    match matched {
        Some(PathMatch::Prefix(prefix) | PathMatch::StringPrefix { prefix, .. }) => prefix,
        Some(PathMatch::Exact { path, .. }) => path,
        Some(PathMatch::Any | PathMatch::GrpcMethod { .. } | PathMatch::Regex(_)) | None => "",
    }
}

/// What of a path is left after the matched prefix.
fn after_prefix<'a>(path: &'a str, prefix: &str) -> Option<&'a str> {
    let start = path.get(..prefix.len())?;
    start
        .eq_ignore_ascii_case(prefix)
        .then(|| path.get(prefix.len()..))
        .flatten()
}

/// Replaces whole segments, slashes joined as the Gateway API says
/// ([table](https://gateway-api.sigs.k8s.io/reference/api-spec/main/spec/#httppathmodifier)).
pub(super) fn replace_prefix(
    path: &str,
    matched: Option<&PathMatch>,
    replacement: &str,
) -> Option<String> {
    let prefix = matched_prefix(matched).trim_end_matches('/');
    let rest = after_prefix(path, prefix)?;
    if rest.is_empty() {
        return Some(rooted(replacement.to_owned()));
    }
    let base = replacement.trim_end_matches('/');
    let slash = if rest.starts_with('/') { "" } else { "/" };
    Some(rooted([base, slash, rest].concat()))
}

/// Replaces the matched text by plain concatenation.
pub(super) fn replace_string_prefix(
    path: &str,
    matched: Option<&PathMatch>,
    replacement: &str,
) -> Option<String> {
    let rest = after_prefix(path, matched_prefix(matched))?;
    Some(rooted([replacement, rest].concat()))
}

/// A path has to begin with a slash to be one.
fn rooted(path: String) -> String {
    if path.starts_with('/') {
        path
    } else {
        format!("/{path}")
    }
}

/// Text from the configuration as it may stand in a request line or a location.
pub(super) fn path_text(text: &str) -> String {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    let digit = |n: u8| char::from(HEX.get(usize::from(n)).copied().unwrap_or(b'0'));
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_graphic() {
            out.push(char::from(byte));
        } else {
            out.extend(['%', digit(byte >> 4), digit(byte & 15)]);
        }
    }
    out
}

/// RE2's `\1` as the `regex` crate's `${1}`.
fn template(substitution: &str) -> String {
    let mut out = String::with_capacity(substitution.len());
    let mut characters = substitution.chars();
    while let Some(c) = characters.next() {
        match c {
            '$' => out.push_str("$$"),
            '\\' => match characters.next() {
                Some(digit) if digit.is_ascii_digit() => {
                    out.push_str("${");
                    out.push(digit);
                    out.push('}');
                }
                Some(other) => out.push(other),
                None => out.push('\\'),
            },
            other => out.push(other),
        }
    }
    out
}
