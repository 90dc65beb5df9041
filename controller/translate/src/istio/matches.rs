//! Conditions of a VirtualService's rule.

use super::world::Voice;
use crate::Code;
use gwanmun_api::istio::{self, HttpMatchRequest};
use gwanmun_ir::{HeaderMatch, HttpMatch, PathMatch, QueryMatch, StringMatch};
use std::collections::BTreeMap;

/// Names that Istio ignores among `headers`: they have fields of their own.
const OWN_FIELDS: [&str; 4] = ["uri", "scheme", "method", "authority"];

/// The conditions of one entry; nothing when it can never match.
pub(super) fn http(
    entry: &HttpMatchRequest,
    field: &str,
    voice: &mut Voice<'_, '_>,
) -> Option<HttpMatch> {
    let mut headers = Vec::new();
    for (map, name, invert) in [
        (&entry.headers, "headers", false),
        (&entry.without_headers, "withoutHeaders", true),
    ] {
        headers.extend(header_matches(
            map,
            &format!("{field}.{name}"),
            invert,
            voice,
        )?);
    }
    headers.sort_by(|a, b| (a.invert, &a.name).cmp(&(b.invert, &b.name)));
    let mut condition = |name: &str, wanted: &Option<istio::StringMatch>| {
        let wanted = wanted.as_ref()?;
        Some(string(wanted, &format!("{field}.{name}"), voice))
    };
    let method = condition("method", &entry.method);
    let scheme = condition("scheme", &entry.scheme);
    let authority = condition("authority", &entry.authority);
    let query = entry
        .query_params
        .iter()
        .map(|(name, wanted)| QueryMatch {
            name: name.clone(),
            value: string(wanted, &format!("{field}.queryParams[{name}]"), voice),
        })
        .collect();
    Some(HttpMatch {
        path: path(entry, field, voice),
        method,
        scheme,
        authority,
        headers,
        query,
        section: String::new(),
    })
}

/// Nothing when a condition can never hold.
fn header_matches(
    map: &BTreeMap<String, istio::StringMatch>,
    field: &str,
    invert: bool,
    voice: &mut Voice<'_, '_>,
) -> Option<Vec<HeaderMatch>> {
    let mut found = Vec::new();
    for (name, wanted) in map {
        let field = format!("{field}[{name}]");
        if name.starts_with("@request.auth.") {
            let message = "claims of tokens have no effect yet, so this match never matches";
            voice.error(Code::NoEffectYet, field, message);
            return None;
        }
        if OWN_FIELDS.contains(&name.as_str()) {
            let message = "not a header and ignored; the match has a field of this name";
            voice.warn(Code::InvalidValue, field, message);
            continue;
        }
        found.push(HeaderMatch {
            name: name.to_ascii_lowercase(),
            value: string(wanted, &field, voice),
            invert,
        });
    }
    Some(found)
}

fn path(entry: &HttpMatchRequest, field: &str, voice: &mut Voice<'_, '_>) -> PathMatch {
    let ignore_case = entry.ignore_uri_case.unwrap_or(false);
    let Some(uri) = &entry.uri else {
        return PathMatch::Any;
    };
    match string(uri, &format!("{field}.uri"), voice) {
        StringMatch::Exact(path) => PathMatch::Exact { path, ignore_case },
        StringMatch::Prefix(prefix) => PathMatch::StringPrefix {
            prefix,
            ignore_case,
        },
        StringMatch::Present => PathMatch::Any,
        StringMatch::Regex(regex) => PathMatch::Regex(regex),
    }
}

/// A condition on a string. One that says nothing, or the regular expression `*`, means presence.
fn string(wanted: &istio::StringMatch, field: &str, voice: &mut Voice<'_, '_>) -> StringMatch {
    let istio::StringMatch {
        exact,
        prefix,
        regex,
    } = wanted;
    let set = [exact, prefix, regex].into_iter().flatten().count();
    if set > 1 {
        let message = "only one of exact, prefix and regex is allowed; the first of them is used";
        voice.error(Code::SchemaValidation, field, message);
    }
    match (exact, prefix, regex) {
        (Some(text), _, _) => StringMatch::Exact(text.clone()),
        (None, Some(text), _) => StringMatch::Prefix(text.clone()),
        (None, None, None) => StringMatch::Present,
        (None, None, Some(text)) if text == "*" => StringMatch::Present,
        (None, None, Some(text)) => {
            check_regex(text, field, voice);
            StringMatch::Regex(text.clone())
        }
    }
}

/// Reports a regular expression that never matches because it is invalid.
pub(super) fn check_regex(text: &str, field: &str, voice: &mut Voice<'_, '_>) {
    if let Err(error) = regex::Regex::new(text) {
        let error = error.to_string();
        let reason = error.lines().last().unwrap_or_default().trim();
        let message =
            format!("`{text}` is not a regular expression ({reason}), so it never matches");
        voice.error(Code::InvalidValue, field, message);
    }
}

/// Whether every request matches.
pub(super) fn is_catch_all(found: &HttpMatch) -> bool {
    let path = match &found.path {
        PathMatch::Any => true,
        PathMatch::StringPrefix { prefix, .. } => prefix == "/" || prefix.is_empty(),
        PathMatch::Regex(regex) => regex == ".*",
        PathMatch::Exact { .. } | PathMatch::GrpcMethod { .. } | PathMatch::Prefix(_) => false,
    };
    path && found.method.is_none()
        && found.scheme.is_none()
        && found.authority.is_none()
        && found.headers.is_empty()
        && found.query.is_empty()
}

/// The same conditions with a path prefix to replace: that of every path is `/`.
pub(super) fn with_prefix(found: Option<HttpMatch>) -> Option<HttpMatch> {
    let slash = PathMatch::StringPrefix {
        prefix: "/".to_owned(),
        ignore_case: false,
    };
    match found {
        None => Some(HttpMatch {
            path: slash,
            method: None,
            scheme: None,
            authority: None,
            headers: Vec::new(),
            query: Vec::new(),
            section: String::new(),
        }),
        Some(found) if found.path == PathMatch::Any => Some(HttpMatch {
            path: slash,
            ..found
        }),
        Some(found) => Some(found),
    }
}
