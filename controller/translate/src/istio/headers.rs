//! Header edits and rewrites of a VirtualService's rule.

use super::{
    matches,
    route::{Rule, matches_prefix},
    world::Voice,
};
use crate::Code;
use gwanmun_api::istio::{HeaderOperations, Headers, HttpRewrite};
use gwanmun_ir::{
    Filter, HeaderEdit, HeaderEdits, HeaderValue, HostRewrite, PathMatch, PathRewrite, UrlRewrite,
};
use std::collections::BTreeMap;

/// The transformations of a rule that hold for all its destinations.
pub(super) fn filters(
    rule: &Rule<'_, '_>,
    path: Option<&PathMatch>,
    voice: &mut Voice<'_, '_>,
) -> Vec<Filter> {
    let field = rule.field();
    let mut filters = Vec::new();
    let rewrite = rule.rule.rewrite.as_ref();
    let path = rewrite.and_then(|rewrite| path_rewrite(rewrite, path, &field, voice));
    let host = authority(rule).map(|host| HostRewrite::Literal(host.to_owned()));
    if path.is_some() || host.is_some() {
        filters.push(Filter::Rewrite(UrlRewrite { host, path }));
    }
    if let Some(headers) = &rule.rule.headers {
        filters.extend(edits(headers, &format!("{field}.headers"), voice));
    }
    filters
}

/// The transformations of one destination. The rule's authority wins over the destination's.
pub(super) fn destination_filters(
    rule: &Rule<'_, '_>,
    headers: Option<&Headers>,
    field: &str,
    voice: &mut Voice<'_, '_>,
) -> Vec<Filter> {
    let Some(headers) = headers else {
        return Vec::new();
    };
    let mut filters = Vec::new();
    if authority(rule).is_none()
        && let Some(host) = set_authority(headers)
    {
        filters.push(Filter::Rewrite(UrlRewrite {
            host: Some(HostRewrite::Literal(host.to_owned())),
            path: None,
        }));
    }
    filters.extend(edits(headers, &format!("{field}.headers"), voice));
    filters
}

/// The authority that a rule sets: `rewrite.authority` before `headers.request.set`.
fn authority<'r>(rule: &'r Rule<'_, '_>) -> Option<&'r str> {
    let rewrite = rule.rule.rewrite.as_ref();
    let rewritten = rewrite.and_then(|rewrite| rewrite.authority.as_deref());
    let headers = rule.rule.headers.as_ref();
    rewritten
        .filter(|host| !host.is_empty())
        .or_else(|| headers.and_then(set_authority))
}

fn set_authority(headers: &Headers) -> Option<&str> {
    let set = &headers.request.as_ref()?.set;
    let mut set = set.iter().filter(|(name, _)| is_authority(name));
    set.next_back().map(|(_, value)| value.as_str())
}

fn is_authority(name: &str) -> bool {
    name.eq_ignore_ascii_case("host") || name.eq_ignore_ascii_case(":authority")
}

/// What replaces the path: the matched prefix if it was one, else all of it.
fn path_rewrite(
    rewrite: &HttpRewrite,
    path: Option<&PathMatch>,
    field: &str,
    voice: &mut Voice<'_, '_>,
) -> Option<PathRewrite> {
    let uri = rewrite.uri.as_deref().filter(|uri| !uri.is_empty());
    if let Some(regex) = &rewrite.uri_regex_rewrite {
        let field = format!("{field}.rewrite.uriRegexRewrite");
        if uri.is_some() {
            let message = "not allowed together with uri; this one is used";
            voice.error(Code::SchemaValidation, field.clone(), message);
        }
        let pattern = regex.pattern.clone().unwrap_or_default();
        matches::check_regex(&pattern, &format!("{field}.match"), voice);
        return Some(PathRewrite::Regex {
            pattern,
            substitution: regex.rewrite.clone().unwrap_or_default(),
        });
    }
    let uri = uri?.to_owned();
    Some(if matches_prefix(path) {
        PathRewrite::StringPrefix(uri)
    } else {
        PathRewrite::Full(uri)
    })
}

fn edits(headers: &Headers, field: &str, voice: &mut Voice<'_, '_>) -> Vec<Filter> {
    let request = headers.request.as_ref();
    let request = request.map(|edits| direction(edits, &format!("{field}.request"), true, voice));
    let response = headers.response.as_ref();
    let response =
        response.map(|edits| direction(edits, &format!("{field}.response"), false, voice));
    let is_some = |edits: &HeaderEdits| *edits != HeaderEdits::default();
    request
        .filter(is_some)
        .map(Filter::RequestHeaders)
        .into_iter()
        .chain(response.filter(is_some).map(Filter::ResponseHeaders))
        .collect()
}

fn direction(
    edits: &HeaderOperations,
    field: &str,
    request: bool,
    voice: &mut Voice<'_, '_>,
) -> HeaderEdits {
    let mut remove = Vec::new();
    for (index, name) in edits.remove.iter().enumerate() {
        if name.starts_with(':') || name.eq_ignore_ascii_case("host") {
            let message = format!("`{name}` cannot be removed");
            voice.error(
                Code::SchemaValidation,
                format!("{field}.remove[{index}]"),
                message,
            );
        } else {
            remove.push(name.to_ascii_lowercase());
        }
    }
    HeaderEdits {
        remove,
        set: fields(&edits.set, &format!("{field}.set"), request, voice),
        add: fields(&edits.add, &format!("{field}.add"), false, voice),
    }
}

/// Fields to set or add. Where `authority` is handled elsewhere, it is left out silently.
fn fields(
    map: &BTreeMap<String, String>,
    field: &str,
    authority: bool,
    voice: &mut Voice<'_, '_>,
) -> Vec<HeaderEdit> {
    let mut found = Vec::new();
    for (name, value) in map {
        if is_authority(name) && authority {
            continue;
        }
        if name.is_empty() || name.starts_with(':') || is_authority(name) {
            let message = format!("`{name}` cannot be changed here, so this is ignored");
            voice.error(Code::SchemaValidation, format!("{field}[{name}]"), message);
            continue;
        }
        let value = if value.contains('%') {
            HeaderValue::Format(value.clone())
        } else {
            HeaderValue::Literal(value.clone())
        };
        found.push(HeaderEdit {
            name: name.to_ascii_lowercase(),
            value,
        });
    }
    found
}
