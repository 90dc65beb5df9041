//! `gwanmun status`: every object with its conditions.

use crate::{
    cli::{Output, StatusArgs},
    notice::Notice,
    table::Table,
    target::Target,
};
use serde_json::Value;
use std::{io::Write as _, process::ExitCode};

/// Kinds whose objects are only referred to: they have no conditions to show.
const PLAIN: [&str; 6] = [
    "ConfigMap",
    "EndpointSlice",
    "Namespace",
    "Pod",
    "Secret",
    "Service",
];

/// Prints conditions and findings.
pub(crate) fn run(args: &StatusArgs) -> anyhow::Result<ExitCode> {
    let status = Target::of(&args.target)?.status()?;
    let mut out = std::io::stdout().lock();
    match args.target.output {
        Output::Json => writeln!(out, "{}", serde_json::to_string_pretty(&status)?)?,
        Output::Text => write!(out, "{}", text(&status)?)?,
    }
    Ok(ExitCode::SUCCESS)
}

fn text(status: &Value) -> anyhow::Result<String> {
    let mut table = Table::new(&[
        "KIND",
        "NAMESPACE",
        "NAME",
        "OF",
        "CONDITION",
        "STATUS",
        "REASON",
        "MESSAGE",
    ]);
    for object in items(status, "objects") {
        let (kind, status) = (
            string(object, "kind"),
            object.get("status").unwrap_or(&Value::Null),
        );
        let rows = conditions(status);
        if rows.is_empty() && PLAIN.contains(&kind) {
            continue;
        }
        let place = [kind, string(object, "namespace"), string(object, "name")];
        if rows.is_empty() {
            table.row(place.into_iter().chain(["", "-"]));
        }
        for (of, condition) in rows {
            let fields =
                ["type", "status", "reason", "message"].map(|field| string(condition, field));
            table.row(place.into_iter().chain([of.as_str()]).chain(fields));
        }
    }
    let mut text = table.to_string();
    let findings: Vec<Notice> =
        serde_json::from_value(status.get("findings").cloned().unwrap_or_default())?;
    if !findings.is_empty() {
        text.push('\n');
    }
    for finding in findings {
        text.push_str(&format!("{finding}\n"));
    }
    Ok(text)
}

/// Each condition with the part of the object that it speaks of.
fn conditions(status: &Value) -> Vec<(String, &Value)> {
    let own = items(status, "conditions").map(|condition| (String::new(), condition));
    let listeners = items(status, "listeners").flat_map(|listener| {
        let of = format!("listener {}", string(listener, "name"));
        items(listener, "conditions").map(move |condition| (of.clone(), condition))
    });
    let parents = items(status, "parents").flat_map(|parent| {
        let of = reference(parent.get("parentRef").unwrap_or(&Value::Null));
        items(parent, "conditions").map(move |condition| (of.clone(), condition))
    });
    let ancestors = items(status, "ancestors").flat_map(|ancestor| {
        let of = reference(ancestor.get("ancestorRef").unwrap_or(&Value::Null));
        items(ancestor, "conditions").map(move |condition| (of.clone(), condition))
    });
    own.chain(listeners)
        .chain(parents)
        .chain(ancestors)
        .collect()
}

/// A parent as one word: `infra/gw/https`.
fn reference(parent: &Value) -> String {
    let parts = ["namespace", "name", "sectionName"].map(|field| string(parent, field));
    parts
        .into_iter()
        .filter(|part| !part.is_empty())
        .collect::<Vec<_>>()
        .join("/")
}

fn items<'a>(value: &'a Value, field: &str) -> impl Iterator<Item = &'a Value> {
    value
        .get(field)
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
}

fn string<'a>(value: &'a Value, field: &str) -> &'a str {
    value.get(field).and_then(Value::as_str).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    #[test]
    fn conditions_of_objects_listeners_and_parents_are_rows() {
        let condition =
            json!([{"type": "Accepted", "status": "True", "reason": "Accepted", "message": ""}]);
        let status = json!({
            "objects": [
                {"kind": "Gateway", "namespace": "infra", "name": "gw", "status": {
                    "conditions": condition, "listeners": [{"name": "http", "conditions": condition}]}},
                {"kind": "HTTPRoute", "namespace": "default", "name": "echo", "status": {
                    "parents": [{"parentRef": {"namespace": "infra", "name": "gw", "sectionName": "http"}, "conditions": condition}]}},
                {"kind": "Service", "namespace": "default", "name": "echo", "status": {}},
                {"kind": "VirtualService", "namespace": "default", "name": "vs", "status": {}},
            ],
            "findings": [{"severity": "error", "code": "IST0101", "object": "VirtualService default/vs", "field": "spec", "message": "no"}],
        });
        let expected = "\
KIND            NAMESPACE  NAME  OF             CONDITION  STATUS  REASON    MESSAGE
Gateway         infra      gw                   Accepted   True    Accepted
Gateway         infra      gw    listener http  Accepted   True    Accepted
HTTPRoute       default    echo  infra/gw/http  Accepted   True    Accepted
VirtualService  default    vs                   -

error IST0101 VirtualService default/vs spec: no
";
        assert_eq!(super::text(&status).unwrap(), expected);
    }
}
