//! A status as it should be, from what stands and what was decided.
//!
//! Entries and conditions of other controllers stay as they are; the time of a condition moves only
//! when its status does. Pure: the time is an argument.

use gwanmun_translate::{Condition, Status};
use serde_json::{Map, Value, json};

/// Who writes the entries that are ours.
pub(crate) const CONTROLLER: &str = "gwanmun.io/gateway-controller";
/// Most ancestors of a policy, by its schema.
const MOST_ANCESTORS: usize = 16;
/// Types of conditions that only the controller of an object writes: one of these that is not
/// decided any more is removed.
const OWN_TYPES: [&str; 12] = [
    "Accepted",
    "Attached",
    "Conflicted",
    "InsecureFrontendValidationMode",
    "OverlappingTLSConfig",
    "PartiallyInvalid",
    "Programmed",
    "Reconciled",
    "ResolvedRefs",
    "SupportedVersion",
    "AttachedListenerSets",
    "gwanmun.io/Findings",
];

/// The status to write, where it differs from `live`; `now` is RFC 3339.
pub(crate) fn merged(live: &Value, decided: &Status, now: &str) -> Option<Value> {
    let before = live.as_object().cloned().unwrap_or_default();
    let mut after = before.clone();
    let fields = serde_json::to_value(decided).unwrap_or_default();
    let field = |name: &str| fields.get(name).cloned();
    if !decided.conditions.is_empty() || before.contains_key("conditions") {
        let conditions = conditions(before.get("conditions"), &decided.conditions, now);
        set(&mut after, "conditions", conditions);
    }
    for name in ["addresses", "attachedListenerSets", "supportedFeatures"] {
        match field(name) {
            Some(value) => drop(after.insert(name.to_owned(), value)),
            None => drop(after.remove(name)),
        }
    }
    if !decided.listeners.is_empty() || before.contains_key("listeners") {
        let listeners = listeners(before.get("listeners"), decided, now);
        set(&mut after, "listeners", listeners);
    }
    for (name, reference, most) in [
        ("parents", "parentRef", usize::MAX),
        ("ancestors", "ancestorRef", MOST_ANCESTORS),
    ] {
        let own = list(fields.get(name)).to_vec();
        if own.is_empty() && !before.contains_key(name) {
            continue;
        }
        let entries = entries(before.get(name), own, reference, most, now);
        // Routes must have the list, even without entries.
        after.insert(name.to_owned(), Value::Array(entries));
    }
    (after != before).then(|| Value::Object(after))
}

/// What has to be sent so that `live` becomes `wanted`: in a merge patch a field goes away only when
/// it is null.
pub(crate) fn patch(live: &Value, wanted: &Value) -> Value {
    let mut patch = wanted.clone();
    if let (Some(patch), Some(live)) = (patch.as_object_mut(), live.as_object()) {
        for name in live.keys() {
            patch.entry(name.clone()).or_insert(Value::Null);
        }
    }
    patch
}

fn set(fields: &mut Map<String, Value>, name: &str, list: Vec<Value>) {
    if list.is_empty() {
        fields.remove(name);
    } else {
        fields.insert(name.to_owned(), Value::Array(list));
    }
}

fn list(value: Option<&Value>) -> &[Value] {
    value.and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

fn text<'v>(value: &'v Value, name: &str) -> &'v str {
    value.get(name).and_then(Value::as_str).unwrap_or_default()
}

/// Conditions: those of other types as they stand, then ours.
fn conditions(live: Option<&Value>, decided: &[Condition], now: &str) -> Vec<Value> {
    let live = list(live);
    let ours = |type_: &str| {
        OWN_TYPES.contains(&type_) || decided.iter().any(|condition| condition.type_ == type_)
    };
    let foreign = live.iter().filter(|one| !ours(text(one, "type")));
    let own = decided.iter().map(|condition| {
        let standing = live.iter().find(|one| text(one, "type") == condition.type_);
        timed(condition, standing, now)
    });
    let mut all: Vec<Value> = own.collect();
    all.extend(foreign.cloned());
    in_standing_order(live, &mut all, |one| text(one, "type").to_owned());
    all
}

/// The time a condition has had its status since, where that is known: the schema's default
/// conditions have the epoch.
fn since(standing: &Value) -> Option<&str> {
    let time = text(standing, "lastTransitionTime");
    (!time.is_empty() && !time.starts_with("1970-")).then_some(time)
}

fn timed(condition: &Condition, standing: Option<&Value>, now: &str) -> Value {
    let mut value = serde_json::to_value(condition).unwrap_or_default();
    let same = standing.filter(|one| text(one, "status") == text(&value, "status"));
    let time = same.and_then(since).unwrap_or(now).to_owned();
    if let Some(fields) = value.as_object_mut() {
        fields.insert("lastTransitionTime".to_owned(), Value::String(time));
    }
    value
}

/// Keeps the order in which things stand, so that nothing is written for an order's sake.
fn in_standing_order(live: &[Value], all: &mut [Value], name: impl Fn(&Value) -> String) {
    let place = |one: &Value| {
        let name_of = name(one);
        let found = live.iter().position(|standing| name(standing) == name_of);
        found.unwrap_or(usize::MAX)
    };
    all.sort_by_key(place);
}

fn listeners(live: Option<&Value>, decided: &Status, now: &str) -> Vec<Value> {
    let live = list(live);
    let listeners = decided.listeners.iter().map(|listener| {
        let standing = live.iter().find(|one| text(one, "name") == listener.name);
        let mut value = serde_json::to_value(listener).unwrap_or_default();
        let standing = standing.and_then(|one| one.get("conditions"));
        let conditions = conditions(standing, &listener.conditions, now);
        if let Some(fields) = value.as_object_mut() {
            fields.insert("conditions".to_owned(), Value::Array(conditions));
        }
        value
    });
    listeners.collect()
}

/// Entries per parent or ancestor: other controllers' as they stand, then ours.
fn entries(
    live: Option<&Value>,
    own: Vec<Value>,
    reference: &str,
    most: usize,
    now: &str,
) -> Vec<Value> {
    let live = list(live);
    let is_own = |one: &&Value| text(one, "controllerName") == CONTROLLER;
    let foreign: Vec<Value> = live.iter().filter(|one| !is_own(one)).cloned().collect();
    let room = most.saturating_sub(foreign.len());
    let mut all: Vec<Value> = own
        .into_iter()
        .take(room)
        .map(|entry| {
            let standing = live.iter().filter(is_own);
            let standing = standing
                .clone()
                .find(|one| one.get(reference) == entry.get(reference));
            with_times(entry, standing, now)
        })
        .collect();
    all.extend(foreign);
    in_standing_order(live, &mut all, |one| {
        let parent = one.get(reference).cloned().unwrap_or_default();
        json!([text(one, "controllerName"), parent]).to_string()
    });
    all
}

fn with_times(mut entry: Value, standing: Option<&Value>, now: &str) -> Value {
    let standing = list(standing.and_then(|one| one.get("conditions"))).to_vec();
    let Some(Value::Array(conditions)) = entry.get_mut("conditions") else {
        return entry;
    };
    let ours: Vec<String> = conditions
        .iter()
        .map(|one| text(one, "type").to_owned())
        .collect();
    for condition in conditions.iter_mut() {
        let earlier = standing
            .iter()
            .find(|one| text(one, "type") == text(condition, "type"));
        let same = earlier.filter(|one| text(one, "status") == text(condition, "status"));
        let time = same.and_then(since).unwrap_or(now).to_owned();
        if let Some(fields) = condition.as_object_mut() {
            fields.insert("lastTransitionTime".to_owned(), Value::String(time));
        }
    }
    // Somebody may have added a condition of their own to our entry.
    let foreign = standing.iter().filter(|one| {
        let type_ = text(one, "type");
        !OWN_TYPES.contains(&type_) && !ours.iter().any(|own| own == type_)
    });
    conditions.extend(foreign.cloned());
    in_standing_order(&standing, conditions, |one| text(one, "type").to_owned());
    entry
}

#[cfg(test)]
mod tests {
    use super::*;
    use gwanmun_translate::{ConditionStatus, ListenerStatus, ParentReference, ParentStatus};

    const THEN: &str = "2026-01-01T00:00:00Z";
    const NOW: &str = "2026-02-02T00:00:00Z";

    fn accepted(status: ConditionStatus, generation: i64) -> Condition {
        Condition::new("Accepted", status, "Accepted", "", generation)
    }

    fn parent(name: &str, condition: Condition) -> ParentStatus {
        ParentStatus {
            parent_ref: ParentReference {
                name: name.to_owned(),
                ..ParentReference::default()
            },
            controller_name: CONTROLLER.to_owned(),
            conditions: vec![condition],
        }
    }

    fn route(parents: Vec<ParentStatus>) -> Status {
        Status {
            parents,
            ..Status::default()
        }
    }

    #[test]
    fn writing_what_stands_writes_nothing() {
        let decided = Status {
            conditions: vec![accepted(ConditionStatus::True, 1)],
            listeners: vec![ListenerStatus {
                name: "http".to_owned(),
                supported_kinds: Vec::new(),
                attached_routes: 2,
                conditions: vec![accepted(ConditionStatus::True, 1)],
            }],
            ..route(vec![parent("gw", accepted(ConditionStatus::True, 1))])
        };
        let first = merged(&Value::Null, &decided, THEN).unwrap();
        assert_eq!(merged(&first, &decided, NOW), None);
    }

    #[test]
    fn the_time_moves_only_when_the_status_does() {
        let yes = route(vec![parent("gw", accepted(ConditionStatus::True, 1))]);
        let first = merged(&Value::Null, &yes, THEN).unwrap();
        let newer = route(vec![parent("gw", accepted(ConditionStatus::True, 2))]);
        let second = merged(&first, &newer, NOW).unwrap();
        let condition = &second["parents"][0]["conditions"][0];
        assert_eq!(condition["observedGeneration"], 2);
        assert_eq!(condition["lastTransitionTime"], THEN);
        let no = route(vec![parent("gw", accepted(ConditionStatus::False, 2))]);
        let third = merged(&second, &no, NOW).unwrap();
        let condition = &third["parents"][0]["conditions"][0];
        assert_eq!(condition["lastTransitionTime"], NOW);
    }

    #[test]
    fn entries_and_conditions_of_others_stay() {
        let live = json!({
            "parents": [
                { "parentRef": { "name": "gw" }, "controllerName": "other.io/c", "conditions": [] },
                { "parentRef": { "name": "old" }, "controllerName": CONTROLLER, "conditions": [] },
                { "parentRef": { "name": "gw" }, "controllerName": CONTROLLER, "conditions": [
                    { "type": "example.com/Probed", "status": "True" },
                ] },
            ],
            "conditions": [
                { "type": "example.com/Audited", "status": "True" },
                { "type": "OverlappingTLSConfig", "status": "True" },
            ],
        });
        let decided = Status {
            conditions: vec![accepted(ConditionStatus::True, 1)],
            ..route(vec![parent("gw", accepted(ConditionStatus::True, 1))])
        };
        let after = merged(&live, &decided, NOW).unwrap();
        let parents = after["parents"].as_array().unwrap();
        assert_eq!(parents.len(), 2, "{after:#}");
        assert_eq!(parents[0]["controllerName"], "other.io/c");
        let types = |value: &Value| -> Vec<String> {
            list(Some(value))
                .iter()
                .map(|one| text(one, "type").to_owned())
                .collect()
        };
        assert_eq!(
            types(&parents[1]["conditions"]),
            ["example.com/Probed", "Accepted"]
        );
        assert_eq!(
            types(&after["conditions"]),
            ["example.com/Audited", "Accepted"]
        );
    }

    #[test]
    fn nothing_left_of_ours_leaves_an_empty_list_or_the_others() {
        let live = json!({ "parents": [
            { "parentRef": { "name": "gw" }, "controllerName": CONTROLLER, "conditions": [] },
        ] });
        let after = merged(&live, &Status::default(), NOW).unwrap();
        assert_eq!(after, json!({ "parents": [] }));
    }

    #[test]
    fn a_policy_has_at_most_sixteen_ancestors_and_others_come_first() {
        let foreign: Vec<Value> = (0..15)
            .map(|index| json!({ "ancestorRef": { "name": format!("a{index}") }, "controllerName": "other" }))
            .collect();
        let ancestor = |name: &str| gwanmun_translate::AncestorStatus {
            ancestor_ref: ParentReference {
                name: name.to_owned(),
                ..ParentReference::default()
            },
            controller_name: CONTROLLER.to_owned(),
            conditions: Vec::new(),
        };
        let decided = Status {
            ancestors: vec![ancestor("one"), ancestor("two")],
            ..Status::default()
        };
        let after = merged(&json!({ "ancestors": foreign }), &decided, NOW).unwrap();
        assert_eq!(after["ancestors"].as_array().unwrap().len(), 16);
    }

    #[test]
    fn what_is_gone_is_null_in_the_patch() {
        let live = json!({ "addresses": [], "conditions": [1] });
        let wanted = json!({ "conditions": [2] });
        assert_eq!(
            patch(&live, &wanted),
            json!({ "conditions": [2], "addresses": null })
        );
    }
}
