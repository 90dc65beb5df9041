//! `gwanmun explain METHOD URL`: which way a request would take, and why no other.

use crate::{
    cli::{ExplainArgs, Output},
    client::encode,
    target::Target,
};
use serde_json::Value;
use std::{io::Write as _, process::ExitCode};

/// Prints the way; fails when the gateway would refuse the request.
pub(crate) fn run(args: &ExplainArgs) -> anyhow::Result<ExitCode> {
    let target = Target::of(&args.target)?;
    let answer = target.explain(&query(args))?;
    let mut out = std::io::stdout().lock();
    match args.target.output {
        Output::Json => writeln!(out, "{}", serde_json::to_string_pretty(&answer)?)?,
        Output::Text => write!(out, "{}", text(&answer))?,
    }
    Ok(if is_served(&answer) {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// The question as parameters of the admin path `/explain`.
fn query(args: &ExplainArgs) -> Vec<(String, String)> {
    let mut query = vec![("method", args.method.clone()), ("url", args.url.clone())];
    query.extend(args.sni.clone().map(|sni| ("sni", sni)));
    query.extend(args.source_ip.map(|source| ("source", source.to_string())));
    query.extend(args.port.map(|port| ("port", port.to_string())));
    query.extend(args.header.iter().map(|header| ("header", header.clone())));
    query
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value))
        .collect()
}

/// Parameters as the query of a URL.
pub(crate) fn query_string(query: &[(String, String)]) -> String {
    let pairs = query
        .iter()
        .map(|(name, value)| format!("{name}={}", encode(value)));
    pairs.collect::<Vec<_>>().join("&")
}

/// Whether a route answers: with its backend, or as it is configured to.
fn is_served(answer: &Value) -> bool {
    let own = answer.get("answer").filter(|own| !own.is_null());
    let details = own
        .and_then(|own| own.get("details"))
        .and_then(Value::as_str);
    answer.get("route").is_some_and(|route| !route.is_null())
        && (own.is_none() || details == Some("direct_response"))
}

const STEPS: [(&str, &str); 9] = [
    ("request", "request"),
    ("listener", "listener"),
    ("filterChain", "filter chain"),
    ("virtualHost", "virtual host"),
    ("route", "route"),
    ("rule", "rule"),
    ("cluster", "cluster"),
    ("targets", "targets"),
    ("endpoints", "endpoints"),
];

fn text(answer: &Value) -> String {
    let mut text = String::new();
    for (field, title) in STEPS {
        if let Some(value) = answer.get(field).filter(|value| !value.is_null()) {
            text.push_str(&format!("{title:<14}{}\n", plain(value)));
        }
    }
    if let Some(own) = answer.get("answer").filter(|own| !own.is_null()) {
        let field = |name: &str| own.get(name).map(plain).unwrap_or_else(|| "-".to_owned());
        let location = own.get("location").map(|to| format!(" to {}", plain(to)));
        text.push_str(&format!(
            "{:<14}{} {} {}{}\n",
            "answer",
            field("status"),
            field("flag"),
            field("details"),
            location.unwrap_or_default()
        ));
    }
    let candidates = answer
        .get("candidates")
        .and_then(Value::as_array)
        .map(Vec::as_slice)
        .unwrap_or_default();
    if !candidates.is_empty() {
        text.push_str("\nnot taken\n");
    }
    for candidate in candidates {
        let field = |name: &str| candidate.get(name).map(plain).unwrap_or_default();
        let (rule, mut matched) = (field("rule"), field("match"));
        // Rules of VirtualServices name their match already.
        if rule.ends_with(&matched) {
            matched.clear();
        }
        let place = [field("object"), rule, matched];
        let place: Vec<String> = place.into_iter().filter(|part| !part.is_empty()).collect();
        text.push_str(&format!("  {}: {}\n", place.join(" "), field("failed")));
    }
    text
}

/// A value for people: lists on one line, endpoints and targets by what tells them apart, other
/// objects as `key value` pairs.
fn plain(value: &Value) -> String {
    match value {
        Value::Array(items) => items.iter().map(plain).collect::<Vec<_>>().join(", "),
        Value::Object(fields)
            if fields.contains_key("address") || fields.contains_key("cluster") =>
        {
            let order = ["cluster", "address", "health", "weight"];
            let values = order.iter().filter_map(|name| fields.get(*name)).map(plain);
            values.collect::<Vec<_>>().join(" ")
        }
        Value::Object(fields) => {
            let pairs = fields.iter().filter(|(_, value)| !value.is_null());
            pairs
                .map(|(name, value)| format!("{name} {}", plain(value)))
                .collect::<Vec<_>>()
                .join(", ")
        }
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        Value::Bool(_) | Value::Number(_) => value.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_way_that_ends_early_is_refused() {
        let answer = json!({
            "request": "GET http://a.example/x",
            "listener": "tcp/0.0.0.0:80",
            "answer": {"status": 404, "flag": "NR", "details": "route_not_found"},
            "candidates": [{"object": "HTTPRoute default/a", "rule": "rules[0]", "match": "matches[0]", "failed": "path"}],
        });
        assert!(!is_served(&answer));
        let expected = "\
request       GET http://a.example/x
listener      tcp/0.0.0.0:80
answer        404 NR route_not_found

not taken
  HTTPRoute default/a rules[0] matches[0]: path
";
        assert_eq!(text(&answer), expected);
        assert!(is_served(&json!({"route": "r", "cluster": "c"})));
        assert!(is_served(
            &json!({"route": "r", "answer": {"status": 301, "details": "direct_response"}})
        ));
        assert!(!is_served(
            &json!({"route": "r", "answer": {"status": 503, "details": "no_healthy_upstream"}})
        ));
    }
}
