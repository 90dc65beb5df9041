//! Conditions in words.

use crate::route::{Difference, Failed};
use gwanmun_ir::{HttpMatch, PathMatch, StringMatch};

/// Why a match does not hold, in a few words.
pub(super) fn difference(difference: Difference<'_>, matches: Option<&HttpMatch>) -> String {
    let condition = match difference {
        Difference::Kind => return "it is for gRPC requests only".to_owned(),
        Difference::Condition(condition) => condition,
    };
    let string = |what: &str, condition: Option<&StringMatch>| match condition {
        Some(condition) => format!("{what} is not {}", of_string(condition)),
        None => format!("{what} differs"),
    };
    match condition {
        Failed::Dead => "a regular expression of it is invalid".to_owned(),
        Failed::Authority => string("authority", matches.and_then(|m| m.authority.as_ref())),
        Failed::Method => string("method", matches.and_then(|m| m.method.as_ref())),
        Failed::Scheme => string("scheme", matches.and_then(|m| m.scheme.as_ref())),
        Failed::Path => match matches.map(|m| &m.path) {
            Some(path) => format!("path {}", of_path(path)),
            None => "path differs".to_owned(),
        },
        Failed::Header(name) => {
            let found = matches.and_then(|m| {
                m.headers
                    .iter()
                    .find(|header| header.name.eq_ignore_ascii_case(name))
            });
            match found {
                Some(header) if header.invert => {
                    format!("header {name} is {}", of_string(&header.value))
                }
                Some(header) => format!("header {name} is not {}", of_string(&header.value)),
                None => format!("header {name} differs"),
            }
        }
        Failed::Query(name) => {
            let found = matches.and_then(|m| m.query.iter().find(|query| query.name == name));
            string(
                &format!("query parameter {name}"),
                found.map(|query| &query.value),
            )
        }
    }
}

fn of_string(condition: &StringMatch) -> String {
    match condition {
        StringMatch::Exact(text) => format!("`{text}`"),
        StringMatch::Prefix(text) => format!("`{text}…`"),
        StringMatch::Present => "present".to_owned(),
        StringMatch::Regex(text) => format!("matched by `{text}`"),
    }
}

fn of_path(path: &PathMatch) -> String {
    let without_case = |ignored: bool| if ignored { " in any case" } else { "" };
    match path {
        PathMatch::Any => "differs".to_owned(),
        PathMatch::Exact { path, ignore_case } => {
            format!("is not `{path}`{}", without_case(*ignore_case))
        }
        PathMatch::GrpcMethod { service, method } => format!(
            "is not `/{}/{}`",
            service.as_deref().unwrap_or("*"),
            method.as_deref().unwrap_or("*")
        ),
        PathMatch::Prefix(prefix) => format!("is not below `{prefix}`"),
        PathMatch::Regex(text) => format!("is not matched by `{text}`"),
        PathMatch::StringPrefix {
            prefix,
            ignore_case,
        } => format!(
            "does not start with `{prefix}`{}",
            without_case(*ignore_case)
        ),
    }
}
