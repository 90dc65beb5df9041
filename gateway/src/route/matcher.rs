//! Conditions of a rule, compiled.

use super::{RequestView, lookup::Lookup};
use gwanmun_ir::{HttpMatch, PathMatch, StringMatch};
use regex::bytes::{Regex, RegexBuilder};

/// Largest compiled regular expression, in bytes.
const REGEX_SIZE: usize = 1 << 20;
/// Largest cache of one regular expression and thread, in bytes.
const REGEX_CACHE: usize = 256 << 10;

/// Conditions of which all must hold.
#[derive(Debug)]
pub(crate) struct Matcher {
    pub(super) path: PathMatcher,
    method: Option<StringMatcher>,
    scheme: Option<StringMatcher>,
    authority: Option<StringMatcher>,
    headers: Vec<HeaderMatcher>,
    query: Vec<QueryMatcher>,
    /// A regular expression of it is invalid: it never matches, inverted conditions included.
    dead: bool,
}

/// A condition on the path.
#[derive(Debug)]
pub(crate) enum PathMatcher {
    Any,
    Exact {
        path: String,
        ignore_case: bool,
    },
    Grpc {
        service: Option<String>,
        method: Option<String>,
    },
    Prefix(String),
    Regex(Regex),
    StringPrefix {
        prefix: String,
        ignore_case: bool,
    },
}

/// A condition on a string.
#[derive(Debug)]
enum StringMatcher {
    Exact(String),
    Prefix(String),
    Present,
    Regex(Regex),
}

#[derive(Debug)]
struct HeaderMatcher {
    name: String,
    value: StringMatcher,
    invert: bool,
}

#[derive(Debug)]
struct QueryMatcher {
    name: String,
    value: StringMatcher,
}

/// Which condition of a [`Matcher`] does not hold.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Failed<'m> {
    /// A regular expression of the rule is invalid, so that the rule never matches.
    Dead,
    Authority,
    Header(&'m str),
    Method,
    Path,
    Query(&'m str),
    Scheme,
}

impl Matcher {
    /// Compiles `matches`; each invalid regular expression goes to `errors`, as one sentence.
    pub(crate) fn compile(matches: &HttpMatch, errors: &mut Vec<String>) -> Self {
        let before = errors.len();
        let mut strings = Strings { errors };
        let path = strings.path(&matches.path);
        let method = matches.method.as_ref().map(|m| strings.compile(m));
        let scheme = matches.scheme.as_ref().map(|m| strings.compile(m));
        let authority = matches.authority.as_ref().map(|m| strings.compile(m));
        let headers = matches.headers.iter().map(|header| HeaderMatcher {
            name: header.name.to_ascii_lowercase(),
            value: strings.compile(&header.value),
            invert: header.invert,
        });
        let headers = headers.collect();
        let query = matches.query.iter().map(|query| QueryMatcher {
            name: query.name.clone(),
            value: strings.compile(&query.value),
        });
        let query = query.collect();
        let dead = errors.len() > before;
        Self {
            path,
            method,
            scheme,
            authority,
            headers,
            query,
            dead,
        }
    }

    /// The matcher of a rule without conditions.
    pub(crate) fn any() -> Self {
        Self {
            path: PathMatcher::Any,
            method: None,
            scheme: None,
            authority: None,
            headers: Vec::new(),
            query: Vec::new(),
            dead: false,
        }
    }

    /// Whether it can never match.
    pub(super) fn is_dead(&self) -> bool {
        self.dead
    }

    /// Whether all conditions other than the path's hold.
    #[inline]
    pub(super) fn rest_holds<R: RequestView>(&self, lookup: &Lookup<'_, R>) -> bool {
        self.failed_rest(lookup).is_none()
    }

    /// The first condition that does not hold, the path's first.
    pub(crate) fn failed<R: RequestView>(&self, lookup: &Lookup<'_, R>) -> Option<Failed<'_>> {
        if self.dead {
            return Some(Failed::Dead);
        }
        if !self.path.holds(lookup.request.path()) {
            return Some(Failed::Path);
        }
        self.failed_rest(lookup)
    }

    #[inline]
    fn failed_rest<R: RequestView>(&self, lookup: &Lookup<'_, R>) -> Option<Failed<'_>> {
        let request = lookup.request;
        let fails = |matcher: &Option<StringMatcher>, value: &str| {
            matcher.as_ref().is_some_and(|m| !m.holds(value.as_bytes()))
        };
        if fails(&self.method, request.method()) {
            return Some(Failed::Method);
        }
        if fails(&self.scheme, request.scheme()) {
            return Some(Failed::Scheme);
        }
        if fails(&self.authority, request.authority()) {
            return Some(Failed::Authority);
        }
        if let Some(header) = self.headers.iter().find(|header| !header.holds(request)) {
            return Some(Failed::Header(&header.name));
        }
        let failed = self.query.iter().find(|query| {
            !lookup
                .parameter(&query.name)
                .is_some_and(|value| query.value.holds(value.as_bytes()))
        });
        failed.map(|query| Failed::Query(&query.name))
    }
}

impl PathMatcher {
    /// Whether `path`, without query, fits.
    pub(crate) fn holds(&self, path: &str) -> bool {
        match self {
            Self::Any => true,
            Self::Exact {
                path: own,
                ignore_case: false,
            } => own == path,
            Self::Exact {
                path: own,
                ignore_case: true,
            } => own.eq_ignore_ascii_case(path),
            Self::Grpc { service, method } => {
                grpc_holds(service.as_deref(), method.as_deref(), path)
            }
            Self::Prefix(prefix) => segment_prefix(prefix, path),
            Self::Regex(regex) => regex.is_match(path.as_bytes()),
            Self::StringPrefix {
                prefix,
                ignore_case: false,
            } => path.starts_with(prefix.as_str()),
            Self::StringPrefix {
                prefix,
                ignore_case: true,
            } => path
                .as_bytes()
                .get(..prefix.len())
                .is_some_and(|start| start.eq_ignore_ascii_case(prefix.as_bytes())),
        }
    }
}

/// Whether `prefix` covers whole segments of `path`; a trailing slash of the prefix is ignored.
fn segment_prefix(prefix: &str, path: &str) -> bool {
    let prefix = prefix.strip_suffix('/').unwrap_or(prefix);
    prefix.is_empty()
        || path
            .strip_prefix(prefix)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

fn grpc_holds(service: Option<&str>, method: Option<&str>, path: &str) -> bool {
    if service.is_none() && method.is_none() {
        return true;
    }
    let Some((own_service, own_method)) = path.strip_prefix('/').and_then(|p| p.split_once('/'))
    else {
        return false;
    };
    !own_method.contains('/')
        && service.is_none_or(|service| service == own_service)
        && method.is_none_or(|method| method == own_method)
}

impl StringMatcher {
    #[inline]
    fn holds(&self, value: &[u8]) -> bool {
        match self {
            Self::Exact(own) => own.as_bytes() == value,
            Self::Prefix(own) => value.starts_with(own.as_bytes()),
            Self::Present => true,
            Self::Regex(regex) => regex.is_match(value),
        }
    }
}

impl HeaderMatcher {
    fn holds<R: RequestView>(&self, request: &R) -> bool {
        let holds = match self.name.as_str() {
            ":method" => self.value.holds(request.method().as_bytes()),
            ":scheme" => self.value.holds(request.scheme().as_bytes()),
            ":authority" | "host" => self.value.holds(request.authority().as_bytes()),
            ":path" => match request.query() {
                Some(query) => {
                    let target = format!("{}?{query}", request.path());
                    self.value.holds(target.as_bytes())
                }
                None => self.value.holds(request.path().as_bytes()),
            },
            name => request
                .header(name)
                .is_some_and(|value| self.value.holds(&value)),
        };
        holds != self.invert
    }
}

/// Compiles strings and collects what is wrong with them.
struct Strings<'e> {
    errors: &'e mut Vec<String>,
}

impl Strings<'_> {
    fn compile(&mut self, from: &StringMatch) -> StringMatcher {
        match from {
            StringMatch::Exact(text) => StringMatcher::Exact(text.clone()),
            StringMatch::Prefix(text) => StringMatcher::Prefix(text.clone()),
            StringMatch::Present => StringMatcher::Present,
            // What an invalid expression becomes does not matter: the matcher is dead.
            StringMatch::Regex(text) => self
                .regex(text)
                .map_or(StringMatcher::Present, StringMatcher::Regex),
        }
    }

    fn path(&mut self, from: &PathMatch) -> PathMatcher {
        match from {
            PathMatch::Any => PathMatcher::Any,
            PathMatch::Exact { path, ignore_case } => PathMatcher::Exact {
                path: path.clone(),
                ignore_case: *ignore_case,
            },
            PathMatch::GrpcMethod { service, method } => PathMatcher::Grpc {
                service: service.clone(),
                method: method.clone(),
            },
            PathMatch::Prefix(prefix) => PathMatcher::Prefix(prefix.clone()),
            PathMatch::Regex(text) => self
                .regex(text)
                .map_or(PathMatcher::Any, PathMatcher::Regex),
            PathMatch::StringPrefix {
                prefix,
                ignore_case,
            } => PathMatcher::StringPrefix {
                prefix: prefix.clone(),
                ignore_case: *ignore_case,
            },
        }
    }

    fn regex(&mut self, text: &str) -> Option<Regex> {
        let compiled = anchored(text);
        if let Err(reason) = &compiled {
            self.errors.push(reason.clone());
        }
        compiled.ok()
    }
}

/// Compiles a regular expression that must match the whole string, as Envoy's do.
fn anchored(text: &str) -> Result<Regex, String> {
    let build = |pattern: &str| {
        RegexBuilder::new(pattern)
            .size_limit(REGEX_SIZE)
            .dfa_size_limit(REGEX_CACHE)
            .build()
    };
    let wrapped = format!(r"\A(?:{text})\z");
    // Alone first: `a)|(b` is only valid when wrapped, and would escape the anchors.
    build(text).and_then(|_| build(&wrapped)).map_err(|error| {
        if matches!(error, regex::Error::CompiledTooBig(_)) {
            return format!("the regular expression `{text}` is too big and never matches");
        }
        let long = error.to_string();
        let reason = long.lines().last().unwrap_or_default();
        let reason = reason.strip_prefix("error: ").unwrap_or(reason);
        format!("the regular expression `{text}` is invalid and never matches: {reason}")
    })
}
