//! `/config_dump`: the resources in service in the shape of Envoy's, and our own beside it.
//!
//! Pragmatic: what `istioctl proxy-config` and people look for is where they look for it. The whole
//! truth is under `gwanmun`, private keys excepted.

mod clusters;
mod listeners;
mod routes;
mod secrets;

use super::{AdminRequest, AdminResponse, Subject};
use gwanmun_ir::{Resource, SourceRef};
use serde_json::{Map, Value, json};
use std::sync::Arc;

/// The page.
pub(super) fn page(subject: &dyn Subject, request: &AdminRequest) -> AdminResponse {
    let resources = subject.resources();
    let version = subject.epoch().to_string();
    let wanted = request.parameter("resource");
    let with_endpoints =
        request.parameter("include_eds").is_some() || wanted == Some("dynamic_endpoint_configs");
    let view = View {
        resources: &resources,
        version: &version,
    };
    let mut sections = vec![
        bootstrap(),
        section("Clusters", "dynamic_active_clusters", clusters::all(&view)),
    ];
    if with_endpoints {
        let endpoints = clusters::endpoints(&view);
        sections.push(section("Endpoints", "dynamic_endpoint_configs", endpoints));
    }
    sections.extend([
        section("Listeners", "dynamic_listeners", listeners::all(&view)),
        section("Routes", "dynamic_route_configs", routes::all(&view)),
        section("Secrets", "dynamic_active_secrets", secrets::all(&view)),
    ]);
    if let Some(wanted) = wanted {
        return one(&sections, wanted);
    }
    let own: Vec<_> = resources
        .iter()
        .map(|resource| resource.redacted())
        .collect();
    AdminResponse::json(&json!({
        "configs": sections,
        "gwanmun": { "epoch": subject.epoch(), "resources": own },
    }))
}

/// `?resource=dynamic_listeners`: the entries of one part.
fn one(sections: &[Value], wanted: &str) -> AdminResponse {
    match sections.iter().find_map(|section| section.get(wanted)) {
        Some(entries) => AdminResponse::json(&json!({ "configs": entries })),
        None => {
            let names = sections.iter().filter_map(Value::as_object);
            let names: Vec<_> = names
                .flat_map(Map::keys)
                .filter(|name| name.starts_with("dynamic_"))
                .map(String::as_str)
                .collect();
            let names = names.join(", ");
            AdminResponse::text(
                404,
                format!("no part `{wanted}`; there are {names}, dynamic_endpoint_configs\n"),
            )
        }
    }
}

/// What the parts are made from.
struct View<'a> {
    resources: &'a [Arc<Resource>],
    version: &'a str,
}

impl<'a> View<'a> {
    fn each<T: 'a>(&self, pick: impl Fn(&'a Resource) -> Option<T>) -> Vec<T> {
        self.resources
            .iter()
            .filter_map(|resource| pick(resource.as_ref()))
            .collect()
    }
}

fn section(kind: &str, field: &str, entries: Vec<Value>) -> Value {
    let mut section = Map::new();
    section.insert("@type".to_owned(), json!(admin_type(kind)));
    section.insert(field.to_owned(), Value::Array(entries));
    Value::Object(section)
}

fn admin_type(kind: &str) -> String {
    format!("type.googleapis.com/envoy.admin.v3.{kind}ConfigDump")
}

fn bootstrap() -> Value {
    json!({
        "@type": admin_type("Bootstrap"),
        "bootstrap": { "node": { "user_agent_name": "gwanmun" } },
    })
}

/// Istio's reference to the user object, from which `istioctl` prints `name.namespace`.
fn metadata(source: &SourceRef) -> Value {
    json!({ "filter_metadata": { "istio": { "config": config_path(source) } } })
}

fn config_path(source: &SourceRef) -> String {
    let group = match source.kind.as_str() {
        "HTTPRoute" | "GRPCRoute" | "TLSRoute" | "TCPRoute" => "gateway.networking.k8s.io/v1",
        _ => "networking.istio.io/v1alpha3",
    };
    let mut kind = String::new();
    let mut before = 'A';
    for letter in source.kind.chars() {
        if letter.is_ascii_uppercase() && before.is_ascii_lowercase() {
            kind.push('-');
        }
        kind.push(letter.to_ascii_lowercase());
        before = letter;
    }
    format!(
        "/apis/{group}/namespaces/{}/{kind}/{}",
        source.namespace, source.name
    )
}

/// Milliseconds as Envoy writes durations.
fn duration(ms: u64) -> String {
    if ms.is_multiple_of(1000) {
        format!("{}s", ms / 1000)
    } else {
        format!("{}.{:03}s", ms / 1000, ms % 1000)
    }
}

/// An object without its null members.
fn compact(value: Value) -> Value {
    let Value::Object(mut members) = value else {
        return value;
    };
    members.retain(|_, member| !member.is_null());
    Value::Object(members)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sources_become_paths_that_istioctl_reads() {
        let source = |kind: &str| SourceRef {
            kind: kind.to_owned(),
            namespace: "default".to_owned(),
            name: "bookinfo".to_owned(),
            section: String::new(),
        };
        assert_eq!(
            config_path(&source("VirtualService")),
            "/apis/networking.istio.io/v1alpha3/namespaces/default/virtual-service/bookinfo"
        );
        assert_eq!(
            config_path(&source("HTTPRoute")),
            "/apis/gateway.networking.k8s.io/v1/namespaces/default/httproute/bookinfo"
        );
    }

    #[test]
    fn durations_are_written_in_seconds() {
        for (ms, text) in [
            (0, "0s"),
            (10_000, "10s"),
            (250, "0.250s"),
            (1_005, "1.005s"),
        ] {
            assert_eq!(duration(ms), text);
        }
    }
}
