//! Maps from host names, exact and wildcard, to values.

use crate::snapshot::FastMap;
use gwanmun_ir::Hostname;
use std::sync::Arc;

/// Values by host name. Lookup costs one hash, plus one per label where there are wildcards.
#[derive(Clone, Debug)]
pub(crate) struct HostMap<V> {
    exact: FastMap<Arc<str>, V>,
    /// By what follows `*.`.
    wildcard: FastMap<Arc<str>, V>,
    any: Option<V>,
}

/// One step on the way from the most specific name that covers a host to the least specific.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Level<'h> {
    /// The host itself.
    Exact(&'h str),
    /// `*.` and this.
    Wildcard(&'h str),
    /// Every host.
    Any,
}

impl<'h> Level<'h> {
    /// The level that a configured name stands on; nothing means any.
    pub(crate) fn of(name: Option<&'h Hostname>) -> Self {
        let Some(name) = name else { return Self::Any };
        match name.as_str().strip_prefix("*.") {
            Some(parent) => Self::Wildcard(parent),
            None if name.is_any() => Self::Any,
            None => Self::Exact(name.as_str()),
        }
    }
}

/// The levels of a host, most specific first.
#[derive(Clone, Debug)]
pub(crate) struct Levels<'h> {
    next: Option<Level<'h>>,
}

/// The levels of `host`, most specific first: itself, its wildcards from the longest on, any.
pub(crate) fn levels(host: &str) -> Levels<'_> {
    Levels {
        next: Some(Level::Exact(host)),
    }
}

impl<'h> Iterator for Levels<'h> {
    type Item = Level<'h>;

    fn next(&mut self) -> Option<Level<'h>> {
        let level = self.next?;
        let longer = match level {
            // `*.a` stands for something before `.a`.
            Level::Exact(host) => host.strip_prefix('.').unwrap_or(host),
            Level::Wildcard(parent) => parent,
            Level::Any => {
                self.next = None;
                return Some(level);
            }
        };
        self.next = Some(match longer.split_once('.') {
            Some((_, parent)) => Level::Wildcard(parent),
            None => Level::Any,
        });
        Some(level)
    }
}

impl<V> Default for HostMap<V> {
    fn default() -> Self {
        Self {
            exact: FastMap::default(),
            wildcard: FastMap::default(),
            any: None,
        }
    }
}

impl<V> HostMap<V> {
    /// The value on one level.
    pub(crate) fn at(&self, level: Level<'_>) -> Option<&V> {
        match level {
            Level::Exact(host) => self.exact.get(host),
            Level::Wildcard(parent) => self.wildcard.get(parent),
            Level::Any => self.any.as_ref(),
        }
    }

    /// The value of a configured name; nothing means any.
    pub(crate) fn named(&self, name: Option<&Hostname>) -> Option<&V> {
        self.at(Level::of(name))
    }

    /// The value of the most specific name that covers `host`.
    pub(crate) fn get(&self, host: &str) -> Option<&V> {
        if let Some(value) = self.exact.get(host) {
            return Some(value);
        }
        if !self.wildcard.is_empty() {
            let found = levels(host).skip(1).find_map(|level| self.at(level));
            if found.is_some() {
                return found;
            }
        }
        self.any.as_ref()
    }

    /// The values of all names that cover `host`, most specific first.
    pub(crate) fn covering<'m>(&'m self, host: &str) -> impl Iterator<Item = &'m V> {
        let wildcards = (!self.wildcard.is_empty()).then(|| levels(host).skip(1));
        let wildcards = wildcards.into_iter().flatten();
        let wildcards = wildcards.filter_map(|level| match level {
            Level::Wildcard(parent) => self.wildcard.get(parent),
            Level::Exact(_) | Level::Any => None,
        });
        let exact = self.exact.get(host);
        exact.into_iter().chain(wildcards).chain(self.any.as_ref())
    }

    /// Sets the value of a configured name; nothing means any.
    pub(crate) fn insert(&mut self, name: Option<&Hostname>, value: V) {
        match Level::of(name) {
            Level::Exact(host) => {
                self.exact.insert(host.into(), value);
            }
            Level::Wildcard(parent) => {
                self.wildcard.insert(parent.into(), value);
            }
            Level::Any => self.any = Some(value),
        }
    }

    /// Removes the value of a configured name.
    pub(crate) fn remove(&mut self, name: Option<&Hostname>) {
        match Level::of(name) {
            Level::Exact(host) => {
                self.exact.remove(host);
            }
            Level::Wildcard(parent) => {
                self.wildcard.remove(parent);
            }
            Level::Any => self.any = None,
        }
    }

    /// Every value, in no order.
    pub(crate) fn values(&self) -> impl Iterator<Item = &V> {
        self.exact
            .values()
            .chain(self.wildcard.values())
            .chain(self.any.as_ref())
    }

    /// Whether there is no value.
    pub(crate) fn is_empty(&self) -> bool {
        self.exact.is_empty() && self.wildcard.is_empty() && self.any.is_none()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn map(names: &[&str]) -> HostMap<String> {
        let mut map = HostMap::default();
        for name in names {
            let parsed: Hostname = name.parse().unwrap();
            map.insert(Some(&parsed), (*name).to_owned());
        }
        map
    }

    #[test]
    fn the_most_specific_name_wins() {
        let all = map(&["a.example.com", "*.example.com", "*.b.example.com", "*"]);
        for (host, expected) in [
            ("a.example.com", "a.example.com"),
            ("x.example.com", "*.example.com"),
            ("x.y.example.com", "*.example.com"),
            ("x.b.example.com", "*.b.example.com"),
            ("b.example.com", "*.example.com"),
            ("example.com", "*"),
            (".example.com", "*"),
            ("..example.com", "*.example.com"),
            ("other.org", "*"),
            ("", "*"),
        ] {
            assert_eq!(all.get(host).map(String::as_str), Some(expected), "{host}");
        }
        assert_eq!(map(&["*.a.com"]).get("a.com"), None);
    }

    #[test]
    fn removed_names_are_gone() {
        let mut all = map(&["a.com", "*.a.com", "*"]);
        for name in ["a.com", "*.a.com", "*"] {
            let parsed: Hostname = name.parse().unwrap();
            assert!(all.named(Some(&parsed)).is_some());
            all.remove(Some(&parsed));
            assert!(all.named(Some(&parsed)).is_none());
        }
        assert!(all.is_empty());
    }

    proptest! {
        #[test]
        fn lookup_agrees_with_the_definition(
            names in proptest::collection::vec("(\\*\\.)?[ab](\\.[ab]){0,3}|\\*", 0..8),
            host in "\\.?[ab](\\.[ab]){0,4}",
        ) {
            let names: Vec<Hostname> = names.iter().map(|name| name.parse().unwrap()).collect();
            let mut all = HostMap::default();
            for name in &names {
                all.insert(Some(name), name.clone());
            }
            let mut covering: Vec<&Hostname> =
                names.iter().filter(|name| name.matches(&host)).collect();
            covering.sort_by(|a, b| a.cmp_specificity(b));
            prop_assert_eq!(all.get(&host), covering.first().copied());
        }
    }
}
