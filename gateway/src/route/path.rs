//! Finds the rules whose path condition holds, in the order of their rank.

use super::matcher::PathMatcher;
use crate::snapshot::FastMap;
use smallvec::SmallVec;

/// Position of a match in the order of its virtual host.
pub(super) type Position = u32;

/// Which matches of a virtual host have a path condition that holds.
///
/// Exact paths are hashed; segment prefixes are a trie; string prefixes are an ordered list in
/// which each knows the longest other that is a prefix of it. The rest (regular expressions,
/// conditions without case) is tried one by one.
#[derive(Debug)]
pub(super) struct PathIndex {
    any: Vec<Position>,
    exact: FastMap<Box<str>, Vec<Position>>,
    rest: Vec<Position>,
    segments: Vec<Node>,
    /// gRPC services of which any method fits.
    services: FastMap<Box<str>, Vec<Position>>,
    strings: Vec<StringPrefix>,
}

/// A node of the trie of segment prefixes; the first one stands for `/`.
#[derive(Debug, Default)]
struct Node {
    positions: Vec<Position>,
    children: FastMap<Box<str>, usize>,
}

#[derive(Debug)]
struct StringPrefix {
    prefix: Box<str>,
    /// The longest other one that this one starts with.
    parent: Option<usize>,
    positions: Vec<Position>,
}

impl PathIndex {
    /// Indexes path conditions; their order is the order of rank.
    pub(super) fn new<'m>(paths: impl Iterator<Item = &'m PathMatcher>) -> Self {
        let mut index = Self {
            any: Vec::new(),
            exact: FastMap::default(),
            rest: Vec::new(),
            segments: vec![Node::default()],
            services: FastMap::default(),
            strings: Vec::new(),
        };
        let mut strings: Vec<(&str, Position)> = Vec::new();
        for (position, path) in (0..).zip(paths) {
            match path {
                PathMatcher::Any
                | PathMatcher::Grpc {
                    service: None,
                    method: None,
                } => index.any.push(position),
                PathMatcher::Exact {
                    path,
                    ignore_case: false,
                } => add(&mut index.exact, path, position),
                PathMatcher::Grpc {
                    service: Some(service),
                    method: Some(method),
                } => add(&mut index.exact, &format!("/{service}/{method}"), position),
                PathMatcher::Grpc {
                    service: Some(service),
                    method: None,
                } => add(&mut index.services, service, position),
                PathMatcher::Prefix(prefix) if prefix.is_empty() || prefix.starts_with('/') => {
                    index.add_segments(prefix, position);
                }
                PathMatcher::StringPrefix {
                    prefix,
                    ignore_case: false,
                } => strings.push((prefix, position)),
                PathMatcher::Exact { .. }
                | PathMatcher::Grpc { .. }
                | PathMatcher::Prefix(_)
                | PathMatcher::Regex(_)
                | PathMatcher::StringPrefix { .. } => index.rest.push(position),
            }
        }
        index.add_strings(strings);
        index
    }

    fn add_segments(&mut self, prefix: &str, position: Position) {
        let mut at = 0;
        for segment in segments(prefix.strip_suffix('/').unwrap_or(prefix)) {
            let next = self.segments.len();
            let Some(node) = self.segments.get_mut(at) else {
                return;
            };
            at = match node.children.get(segment) {
                Some(child) => *child,
                None => {
                    node.children.insert(segment.into(), next);
                    self.segments.push(Node::default());
                    next
                }
            };
        }
        if let Some(node) = self.segments.get_mut(at) {
            node.positions.push(position);
        }
    }

    fn add_strings(&mut self, mut strings: Vec<(&str, Position)>) {
        // Equal prefixes stay in the order of rank: positions are the second key.
        strings.sort_unstable();
        for (prefix, position) in strings {
            match self.strings.last_mut() {
                Some(last) if *last.prefix == *prefix => last.positions.push(position),
                last => {
                    let before = last.is_some().then(|| self.strings.len() - 1);
                    let parent = self.covering(before, prefix);
                    self.strings.push(StringPrefix {
                        prefix: prefix.into(),
                        parent,
                        positions: vec![position],
                    });
                }
            }
        }
    }

    /// The longest of `start` and its ancestors that is a prefix of `text`.
    fn covering(&self, start: Option<usize>, text: &str) -> Option<usize> {
        let mut at = start;
        while let Some(index) = at {
            let entry = self.strings.get(index)?;
            if text.starts_with(&*entry.prefix) {
                return Some(index);
            }
            at = entry.parent;
        }
        None
    }

    /// The matches to try for `path`, by rank. Those with `true` still have to check their path.
    pub(super) fn candidates(&self, path: &str) -> Candidates<'_> {
        let mut lists = Candidates::default();
        lists.add(&self.rest, true);
        lists.add(&self.any, false);
        if let Some(positions) = self.exact.get(path) {
            lists.add(positions, false);
        }
        if !self.services.is_empty() {
            let mut halves = segments(path);
            let service = halves.next().and_then(|name| self.services.get(name));
            if let (Some(positions), Some(_), None) = (service, halves.next(), halves.next()) {
                lists.add(positions, false);
            }
        }
        let mut node = self.segments.first();
        let mut rest = segments(path);
        while let Some(found) = node {
            lists.add(&found.positions, false);
            node = rest
                .next()
                .and_then(|segment| found.children.get(segment))
                .and_then(|child| self.segments.get(*child));
        }
        // What starts with a prefix sorts right behind it, so that the prefixes of `path` are the
        // greatest entry that is not greater than it, or are reached from there.
        let behind = self.strings.partition_point(|entry| *entry.prefix <= *path);
        let mut at = self.covering(behind.checked_sub(1), path);
        while let Some(entry) = at.and_then(|index| self.strings.get(index)) {
            lists.add(&entry.positions, false);
            at = entry.parent;
        }
        lists
    }
}

fn add(map: &mut FastMap<Box<str>, Vec<Position>>, key: &str, position: Position) {
    match map.get_mut(key) {
        Some(positions) => positions.push(position),
        None => {
            map.insert(key.into(), vec![position]);
        }
    }
}

/// The segments of a path that starts with `/`; `/` alone has one, which is empty.
fn segments(path: &str) -> impl Iterator<Item = &str> {
    let rest = path.strip_prefix('/');
    rest.into_iter().flat_map(|rest| rest.split('/'))
}

/// Lists of positions, merged by rank.
#[derive(Default)]
pub(super) struct Candidates<'i> {
    lists: SmallVec<[(&'i [Position], bool); 8]>,
}

impl<'i> Candidates<'i> {
    fn add(&mut self, positions: &'i [Position], check: bool) {
        if !positions.is_empty() {
            self.lists.push((positions, check));
        }
    }
}

impl Iterator for Candidates<'_> {
    type Item = (Position, bool);

    #[inline]
    fn next(&mut self) -> Option<(Position, bool)> {
        let lists = self.lists.iter_mut();
        let (positions, check) = lists
            .filter(|(positions, _)| !positions.is_empty())
            .min_by_key(|(positions, _)| positions.first().copied())?;
        let (first, rest) = positions.split_first()?;
        *positions = rest;
        Some((*first, *check))
    }
}
