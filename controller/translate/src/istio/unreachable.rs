//! Rules of a VirtualService that can never be taken.

use super::world::Voice;
use crate::Code;
use gwanmun_api::istio::{HttpMatchRequest, VirtualServiceSpec};
use std::collections::BTreeMap;

/// Reports rules behind one without conditions (IST0130), and matches that repeat an earlier one
/// (IST0131).
pub(super) fn review(spec: &VirtualServiceSpec, voice: &mut Voice<'_, '_>) {
    let mut everything: Option<usize> = None;
    let mut seen: BTreeMap<String, String> = BTreeMap::new();
    for (index, rule) in spec.http.iter().enumerate() {
        let field = format!("spec.http[{index}]");
        if let Some(earlier) = everything {
            let message =
                format!("spec.http[{earlier}] takes every request, so this is never reached");
            voice.warn(Code::UnreachableRule, field.clone(), message);
        }
        for (number, entry) in rule.matches.iter().enumerate() {
            let field = format!("{field}.match[{number}]");
            let entry = HttpMatchRequest {
                name: None,
                stat_prefix: None,
                ..entry.clone()
            };
            // Equal conditions have equal text: maps are ordered.
            let text = serde_json::to_string(&entry).unwrap_or_default();
            if let Some(earlier) = seen.get(&text) {
                let message = format!("repeats {earlier}, so it never matches");
                voice.warn(Code::IneffectiveMatch, field, message);
            } else {
                seen.insert(text, field);
            }
        }
        if rule.matches.is_empty() && everything.is_none() {
            everything = Some(index);
        }
    }
}
