//! Label selectors.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Conditions on labels, all of which must hold. An empty selector matches everything.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct LabelSelector {
    /// Labels and their values.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub match_labels: BTreeMap<String, String>,
    /// Conditions on single labels.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub match_expressions: Vec<LabelSelectorRequirement>,
}

impl LabelSelector {
    /// Whether every condition holds; nothing when a condition has an unknown operator or the
    /// wrong number of values, which makes the whole selector invalid.
    pub fn matches(&self, labels: &BTreeMap<String, String>) -> Option<bool> {
        let mut all = self
            .match_labels
            .iter()
            .all(|(name, value)| labels.get(name) == Some(value));
        for requirement in &self.match_expressions {
            all &= requirement.matches(labels)?;
        }
        Some(all)
    }
}

/// A condition on one label.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct LabelSelectorRequirement {
    /// Name of the label.
    pub key: String,
    /// How the value is compared.
    pub operator: SelectorOperator,
    /// Values, for `In` and `NotIn` at least one, else none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub values: Vec<String>,
}

impl LabelSelectorRequirement {
    fn matches(&self, labels: &BTreeMap<String, String>) -> Option<bool> {
        let value = labels.get(&self.key);
        let listed = value.is_some_and(|value| self.values.contains(value));
        match (&self.operator, self.values.is_empty()) {
            (SelectorOperator::In, false) => Some(listed),
            (SelectorOperator::NotIn, false) => Some(!listed),
            (SelectorOperator::Exists, true) => Some(value.is_some()),
            (SelectorOperator::DoesNotExist, true) => Some(value.is_none()),
            (SelectorOperator::In | SelectorOperator::NotIn, true)
            | (SelectorOperator::Exists | SelectorOperator::DoesNotExist, false)
            | (SelectorOperator::Unknown(_), _) => None,
        }
    }
}

open_enum! {
    /// How a label's value is compared.
    pub enum SelectorOperator {
        /// The label is missing.
        DoesNotExist = "DoesNotExist",
        /// The label is present.
        Exists = "Exists",
        /// The label has one of the values.
        In = "In",
        /// The label is missing or has none of the values.
        NotIn = "NotIn",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn selectors_follow_the_kubernetes_rules() {
        let labels = BTreeMap::from([("env".to_owned(), "prod".to_owned())]);
        for (selector, expected) in [
            (r#"{}"#, Some(true)),
            (r#"{"matchLabels":{"env":"prod"}}"#, Some(true)),
            (r#"{"matchLabels":{"env":"test"}}"#, Some(false)),
            (
                r#"{"matchExpressions":[{"key":"env","operator":"In","values":["a","prod"]}]}"#,
                Some(true),
            ),
            (
                r#"{"matchExpressions":[{"key":"x","operator":"NotIn","values":["a"]}]}"#,
                Some(true),
            ),
            (
                r#"{"matchExpressions":[{"key":"x","operator":"Exists"}]}"#,
                Some(false),
            ),
            (
                r#"{"matchExpressions":[{"key":"x","operator":"DoesNotExist"}]}"#,
                Some(true),
            ),
            (
                r#"{"matchExpressions":[{"key":"x","operator":"In"}]}"#,
                None,
            ),
            (
                r#"{"matchExpressions":[{"key":"x","operator":"Near","values":["a"]}]}"#,
                None,
            ),
        ] {
            let parsed: LabelSelector = serde_json::from_str(selector).unwrap();
            assert_eq!(parsed.matches(&labels), expected, "{selector}");
        }
    }
}
