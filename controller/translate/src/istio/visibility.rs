//! Who sees an object: `exportTo`, and the labels a selector demands of the gateway's workload.

use std::collections::BTreeMap;

/// How an object comes to be visible. The order is that in which VirtualServices are looked at.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) enum Scope {
    /// It is private to the viewer's namespace.
    Private,
    /// It is exported to the viewer's namespace by name.
    Named,
    /// It is exported to all.
    Public,
}

/// Whether and how namespace `viewer` sees an object of namespace `owner`. An empty `export_to`
/// follows `default`, and that being empty too means all.
pub(super) fn scope(
    export_to: &[String],
    default: &[String],
    owner: &str,
    viewer: &str,
) -> Option<Scope> {
    let list = if export_to.is_empty() {
        default
    } else {
        export_to
    };
    if list.is_empty() || list.iter().any(|entry| entry == "*") {
        return Some(Scope::Public);
    }
    if list.iter().any(|entry| entry == "~") {
        return None;
    }
    let private = list.iter().any(|entry| entry == "." || entry == owner);
    if private && owner == viewer {
        return Some(Scope::Private);
    }
    list.iter()
        .any(|entry| entry == viewer)
        .then_some(Scope::Named)
}

/// Whether `labels` satisfy `selector`.
pub(super) fn subset(
    selector: &BTreeMap<String, String>,
    labels: &BTreeMap<String, String>,
) -> bool {
    selector
        .iter()
        .all(|(name, value)| labels.get(name) == Some(value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn export_to_decides_who_sees_an_object() {
        let list = |entries: &[&str]| entries.iter().map(|entry| (*entry).to_owned()).collect();
        let cases: [(Vec<String>, Vec<String>, Option<Scope>); 9] = [
            (list(&[]), list(&[]), Some(Scope::Public)),
            (list(&["*"]), list(&["."]), Some(Scope::Public)),
            (list(&["."]), list(&[]), None),
            (list(&["gw"]), list(&[]), Some(Scope::Named)),
            (list(&[".", "gw"]), list(&[]), Some(Scope::Named)),
            (list(&["~"]), list(&[]), None),
            (list(&["other"]), list(&[]), None),
            (list(&[]), list(&["."]), None),
            (list(&["app"]), list(&[]), None),
        ];
        for (export_to, default, expected) in cases {
            let seen = scope(&export_to, &default, "app", "gw");
            assert_eq!(seen, expected, "{export_to:?} {default:?}");
        }
        assert_eq!(scope(&list(&["."]), &[], "gw", "gw"), Some(Scope::Private));
        assert_eq!(scope(&list(&["gw"]), &[], "gw", "gw"), Some(Scope::Private));
    }
}
