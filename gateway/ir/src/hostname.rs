//! Host names as listeners and routes write them.

use serde::{Deserialize, Serialize};
use std::{cmp::Ordering, fmt, net::IpAddr, str::FromStr};

/// A lowercase host name, optionally with `*` as its whole first label, or `*` alone.
///
/// `*.example.com` matches `a.example.com` and `a.b.example.com` but not
/// `example.com`, as the [Gateway API] requires and Istio does. `*` matches every name.
/// Underscores are accepted: real names have them.
///
/// [Gateway API]: https://gateway-api.sigs.k8s.io/reference/api-spec/main/spec/#hostname
#[derive(Clone, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(try_from = "String", into = "String")]
pub struct Hostname(String);

impl Hostname {
    /// The name that matches every host: `*`.
    pub fn any() -> Self {
        Self("*".to_owned())
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether this is `*`.
    pub fn is_any(&self) -> bool {
        self.0 == "*"
    }

    /// Whether this starts with a wildcard label (also true for `*`).
    pub fn is_wildcard(&self) -> bool {
        self.0.starts_with('*')
    }

    /// For `*.example.com`, `.example.com`; nothing for exact names and `*`.
    pub fn suffix(&self) -> Option<&str> {
        self.0.strip_prefix('*').filter(|suffix| !suffix.is_empty())
    }

    /// Whether a request's host, in lower case and without port, is covered by this name.
    pub fn matches(&self, host: &str) -> bool {
        match self.0.strip_prefix('*') {
            Some(suffix) => host.len() > suffix.len() && host.ends_with(suffix),
            None => host == self.0,
        }
    }

    /// Whether every host that `other` covers is covered by this name.
    pub fn covers(&self, other: &Self) -> bool {
        match (self.0.strip_prefix('*'), other.0.strip_prefix('*')) {
            (Some(mine), Some(theirs)) => theirs.ends_with(mine),
            (Some(_), None) => self.matches(&other.0),
            (None, Some(_)) => false,
            (None, None) => self == other,
        }
    }

    /// Whether some host is covered by both.
    pub fn intersects(&self, other: &Self) -> bool {
        self.covers(other) || other.covers(self)
    }

    /// The more specific of the two where they overlap, nothing where they do not.
    pub fn intersection<'a>(&'a self, other: &'a Self) -> Option<&'a Self> {
        if self.covers(other) {
            Some(other)
        } else if other.covers(self) {
            Some(self)
        } else {
            None
        }
    }

    /// Orders by specificity, most specific first: exact names before wildcards,
    /// then longer before shorter.
    ///
    /// The order of the Gateway API's [hostname precedence]: "characters in a matching
    /// non-wildcard hostname", then "characters in a matching hostname".
    ///
    /// [hostname precedence]: https://gateway-api.sigs.k8s.io/reference/api-spec/main/spec/#httproutespec
    pub fn cmp_specificity(&self, other: &Self) -> Ordering {
        self.is_wildcard()
            .cmp(&other.is_wildcard())
            .then_with(|| other.0.len().cmp(&self.0.len()))
    }
}

impl fmt::Display for Hostname {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<Hostname> for String {
    fn from(hostname: Hostname) -> Self {
        hostname.0
    }
}

impl FromStr for Hostname {
    type Err = InvalidHostname;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.is_empty() {
            return Err(InvalidHostname::Empty);
        }
        if text == "*" {
            return Ok(Self::any());
        }
        if text.parse::<IpAddr>().is_ok() {
            return Err(InvalidHostname::IpAddress(text.to_owned()));
        }
        if text.len() > 253 {
            return Err(InvalidHostname::TooLong(text.to_owned()));
        }
        let rest = text.strip_prefix("*.").unwrap_or(text);
        if rest.contains('*') {
            return Err(InvalidHostname::Wildcard(text.to_owned()));
        }
        for label in rest.split('.') {
            let valid = !label.is_empty()
                && label.len() <= 63
                && label
                    .bytes()
                    .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
            if !valid {
                return Err(InvalidHostname::Label(text.to_owned()));
            }
        }
        Ok(Self(text.to_ascii_lowercase()))
    }
}

impl TryFrom<String> for Hostname {
    type Error = InvalidHostname;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

/// Why a string is not a [`Hostname`].
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidHostname {
    /// The string is empty.
    #[error("hostname is empty")]
    Empty,
    /// The string is an IP address, which no hostname field accepts.
    #[error("`{0}` is an IP address, not a hostname")]
    IpAddress(String),
    /// A label is empty, longer than 63 characters or has a forbidden character.
    #[error("`{0}` has an empty or malformed label")]
    Label(String),
    /// The name has more than 253 characters.
    #[error("`{0}` is longer than 253 characters")]
    TooLong(String),
    /// `*` stands somewhere other than as the whole first label.
    #[error("`*` in `{0}` must be the whole first label")]
    Wildcard(String),
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> Hostname {
        text.parse().unwrap()
    }

    #[test]
    fn wildcards_intersect_by_suffix() {
        for (a, b, expected) in [
            ("*.example.com", "a.example.com", true),
            ("*.example.com", "a.b.example.com", true),
            ("*.example.com", "example.com", false),
            ("*.example.com", "*.a.example.com", true),
            ("*.example.com", "*.example.org", false),
            ("*", "example.com", true),
            ("*", "*.example.com", true),
            ("a.com", "b.com", false),
            ("*.ample.com", "*.example.com", false),
        ] {
            assert_eq!(name(a).intersects(&name(b)), expected, "{a} with {b}");
            assert_eq!(name(b).intersects(&name(a)), expected, "{b} with {a}");
        }
    }

    #[test]
    fn exact_names_are_more_specific_than_longer_wildcards() {
        let mut names = ["*", "*.com", "a.com", "*.example.com", "b.example.com"].map(name);
        names.sort_by(Hostname::cmp_specificity);
        let sorted = names.each_ref().map(Hostname::as_str);
        assert_eq!(
            sorted,
            ["b.example.com", "a.com", "*.example.com", "*.com", "*"]
        );
    }

    #[test]
    fn malformed_names_are_refused() {
        for text in ["", "1.2.3.4", "::1", "a..b", "a.*.b", "*a.com", "a b"] {
            assert!(text.parse::<Hostname>().is_err(), "{text}");
        }
        assert_eq!(name("Foo_Bar.Example.COM").as_str(), "foo_bar.example.com");
    }
}
