//! Routes as Envoy dumps them: one route configuration per filter chain, one virtual host per set
//! of hostnames.

use super::{View, compact, duration, listeners::chains, metadata};
use gwanmun_ir::{
    Action, AppProtocol, Failure, FilterChain, HeaderMatch, HttpMatch, PathMatch, QueryMatch,
    Redirect, RedirectPath, RedirectPort, Resource, RetryPolicy, Route, StringMatch, Target,
    WeightedTarget,
};
use serde_json::{Map, Value, json};

/// `dynamic_route_configs`.
pub(super) fn all(view: &View<'_>) -> Vec<Value> {
    let mut routes = view.each(|resource| match resource {
        Resource::Route(route) => Some(route.as_ref()),
        Resource::Listener(_)
        | Resource::Chain(_)
        | Resource::Cluster(_)
        | Resource::L4Route(_)
        | Resource::Endpoints(_)
        | Resource::Secret(_) => None,
    });
    routes.sort_by(|one, other| {
        (&one.chain, &one.hostnames, &one.precedence).cmp(&(
            &other.chain,
            &other.hostnames,
            &other.precedence,
        ))
    });
    chains(view)
        .into_iter()
        .filter(|chain| matches!(chain.protocol, AppProtocol::Http(_)))
        .map(|chain| {
            let start = routes.partition_point(|route| route.chain < chain.key);
            let rest = routes.get(start..).unwrap_or_default();
            let count = rest.partition_point(|route| route.chain == chain.key);
            let own = rest.get(..count).unwrap_or_default();
            json!({
                "version_info": view.version,
                "route_config": configuration(chain, own),
            })
        })
        .collect()
}

fn configuration(chain: &FilterChain, routes: &[&Route]) -> Value {
    let hosts: Vec<_> = routes
        .chunk_by(|one, other| one.hostnames == other.hostnames)
        .filter_map(|group| virtual_host(chain, group))
        .collect();
    json!({
        "@type": "type.googleapis.com/envoy.config.route.v3.RouteConfiguration",
        "name": chain.key,
        "virtual_hosts": hosts,
    })
}

fn virtual_host(chain: &FilterChain, group: &[&Route]) -> Option<Value> {
    let first = group.first()?;
    let mut domains: Vec<&str> = first
        .hostnames
        .iter()
        .map(gwanmun_ir::Hostname::as_str)
        .collect();
    if domains.is_empty() {
        domains.push("*");
    }
    let routes: Vec<_> = group.iter().flat_map(|one| routes(one)).collect();
    let name = domains.first().copied().unwrap_or("*");
    Some(json!({
        "name": format!("{name}:{}", chain.port),
        "domains": domains,
        "routes": routes,
    }))
}

/// One route for each of the rule's matches.
fn routes(route: &Route) -> Vec<Value> {
    let any = HttpMatch {
        path: PathMatch::Any,
        method: None,
        scheme: None,
        authority: None,
        headers: Vec::new(),
        query: Vec::new(),
        section: String::new(),
    };
    let matches = if route.matches.is_empty() {
        std::slice::from_ref(&any)
    } else {
        route.matches.as_slice()
    };
    matches
        .iter()
        .map(|one| {
            let mut value = json!({
                "name": route.name,
                "match": condition(one),
                "metadata": metadata(&route.source),
            });
            if let Some(members) = value.as_object_mut() {
                let (name, action) = action(route);
                members.insert(name.to_owned(), action);
            }
            value
        })
        .collect()
}

fn condition(one: &HttpMatch) -> Value {
    let (name, path) = path(&one.path);
    let mut out = Map::new();
    out.insert(name.to_owned(), path);
    if let PathMatch::Exact {
        ignore_case: true, ..
    }
    | PathMatch::StringPrefix {
        ignore_case: true, ..
    } = one.path
    {
        out.insert("case_sensitive".to_owned(), json!(false));
    }
    let pseudo = [
        (":method", &one.method),
        (":scheme", &one.scheme),
        (":authority", &one.authority),
    ];
    let headers: Vec<_> = pseudo
        .into_iter()
        .filter_map(|(name, value)| Some(header(name, value.as_ref()?, false)))
        .chain(one.headers.iter().map(
            |HeaderMatch {
                 name,
                 value,
                 invert,
             }| { header(name, value, *invert) },
        ))
        .collect();
    if !headers.is_empty() {
        out.insert("headers".to_owned(), Value::Array(headers));
    }
    if !one.query.is_empty() {
        let query: Vec<_> = one.query.iter().map(parameter).collect();
        out.insert("query_parameters".to_owned(), Value::Array(query));
    }
    Value::Object(out)
}

fn path(path: &PathMatch) -> (&'static str, Value) {
    match path {
        PathMatch::Any => ("prefix", json!("/")),
        PathMatch::Exact { path, .. } => ("path", json!(path)),
        PathMatch::GrpcMethod { service, method } => match (service, method) {
            (Some(service), Some(method)) => ("path", json!(format!("/{service}/{method}"))),
            (Some(service), None) => ("prefix", json!(format!("/{service}/"))),
            (None, Some(method)) => ("safe_regex", json!({ "regex": format!("/[^/]+/{method}") })),
            (None, None) => ("prefix", json!("/")),
        },
        PathMatch::Prefix(prefix) if prefix == "/" => ("prefix", json!("/")),
        PathMatch::Prefix(prefix) => ("path_separated_prefix", json!(prefix)),
        PathMatch::Regex(regex) => ("safe_regex", json!({ "regex": regex })),
        PathMatch::StringPrefix { prefix, .. } => ("prefix", json!(prefix)),
    }
}

fn string(value: &StringMatch) -> Option<Value> {
    match value {
        StringMatch::Exact(text) => Some(json!({ "exact": text })),
        StringMatch::Prefix(text) => Some(json!({ "prefix": text })),
        StringMatch::Present => None,
        StringMatch::Regex(regex) => Some(json!({ "safe_regex": { "regex": regex } })),
    }
}

fn header(name: &str, value: &StringMatch, invert: bool) -> Value {
    let present = string(value).is_none();
    compact(json!({
        "name": name,
        "string_match": string(value),
        "present_match": present.then_some(true),
        "invert_match": invert.then_some(true),
    }))
}

fn parameter(parameter: &QueryMatch) -> Value {
    let present = string(&parameter.value).is_none();
    compact(json!({
        "name": parameter.name,
        "string_match": string(&parameter.value),
        "present_match": present.then_some(true),
    }))
}

fn action(route: &Route) -> (&'static str, Value) {
    match &route.action {
        Action::Fail(failure) => ("direct_response", failed(*failure)),
        Action::Forward(targets) => ("route", forward(route, targets)),
        Action::Redirect(redirect) => ("redirect", redirection(redirect)),
        Action::Respond(response) => {
            let body = String::from_utf8_lossy(&response.body);
            let body = json!({ "inline_string": body });
            (
                "direct_response",
                json!({ "status": response.status, "body": body }),
            )
        }
    }
}

fn failed(failure: Failure) -> Value {
    let status = match failure {
        Failure::ClusterNotFound => 503,
        Failure::InvalidBackend => 500,
    };
    json!({ "status": status })
}

fn forward(route: &Route, targets: &[WeightedTarget]) -> Value {
    let name = |target: &Target| match target {
        Target::Cluster(key) => key.to_string(),
        Target::Fail(Failure::ClusterNotFound) => "cluster_not_found".to_owned(),
        Target::Fail(Failure::InvalidBackend) => "invalid_backend".to_owned(),
    };
    let mut out = match targets {
        [only] => json!({ "cluster": name(&only.target) }),
        several => {
            let clusters: Vec<_> = several
                .iter()
                .map(|one| json!({ "name": name(&one.target), "weight": one.weight }))
                .collect();
            json!({ "weighted_clusters": { "clusters": clusters } })
        }
    };
    if let Some(out) = out.as_object_mut() {
        let timeout = duration(route.timeouts.request_ms.unwrap_or_default());
        out.insert("timeout".to_owned(), json!(timeout));
        if let Some(policy) = &route.retry {
            out.insert("retry_policy".to_owned(), retry(route, policy));
        }
    }
    out
}

fn retry(route: &Route, policy: &RetryPolicy) -> Value {
    let names: Vec<String> = policy
        .conditions
        .iter()
        .filter_map(|condition| serde_json::to_value(condition).ok())
        .filter_map(|name| name.as_str().map(str::to_owned))
        .collect();
    compact(json!({
        "retry_on": names.join(","),
        "num_retries": policy.attempts,
        "retriable_status_codes": (!policy.status_codes.is_empty()).then_some(&policy.status_codes),
        "per_try_timeout": route.timeouts.per_try_ms.map(duration),
    }))
}

fn redirection(redirect: &Redirect) -> Value {
    let code = match redirect.status {
        302 => "FOUND",
        303 => "SEE_OTHER",
        307 => "TEMPORARY_REDIRECT",
        308 => "PERMANENT_REDIRECT",
        _ => "MOVED_PERMANENTLY",
    };
    let (full, prefix) = match &redirect.path {
        None => (None, None),
        Some(RedirectPath::Full(path)) => (Some(path), None),
        Some(RedirectPath::Prefix(prefix) | RedirectPath::StringPrefix(prefix)) => {
            (None, Some(prefix))
        }
    };
    let port = match redirect.port {
        RedirectPort::Explicit(port) => Some(port),
        RedirectPort::FromHost
        | RedirectPort::FromListener
        | RedirectPort::GatewayApi
        | RedirectPort::None
        | RedirectPort::KeepHost => None,
    };
    compact(json!({
        "scheme_redirect": redirect.scheme,
        "host_redirect": redirect.host,
        "port_redirect": port,
        "path_redirect": full,
        "prefix_rewrite": prefix,
        "response_code": code,
    }))
}
