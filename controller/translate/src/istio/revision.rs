//! Whose objects these are: the label `istio.io/rev`.

use crate::{Code, Finding, Options, Severity, Store, output::Sink};
use gwanmun_api::{Object, ObjectKey};
use std::borrow::Cow;

const LABEL: &str = "istio.io/rev";

/// The objects without Istio's that are labelled with another revision than ours. Without the
/// label they are everybody's, and without a revision of our own all are ours.
pub(crate) fn ours<'a>(store: &'a Store, options: &Options, sink: &mut Sink) -> Cow<'a, Store> {
    let Some(own) = &options.revision else {
        return Cow::Borrowed(store);
    };
    let foreign: Vec<ObjectKey> = store
        .objects()
        .filter(|(key, object)| key.kind.is_istio() && is_of_another(object, own))
        .map(|(key, _)| key.clone())
        .collect();
    if foreign.is_empty() {
        return Cow::Borrowed(store);
    }
    let mut rest = store.clone();
    for key in foreign {
        if let Some(object) = store.object(&key) {
            let field = format!("metadata.labels[{LABEL}]");
            let message = format!("another revision than `{own}`: the object is left out");
            let code = Code::NoMatchingWorkloads;
            sink.finding(Finding::new(Severity::Info, code, object, field, message));
        }
        rest.delete(&key);
    }
    Cow::Owned(rest)
}

fn is_of_another(object: &Object, own: &str) -> bool {
    let label = object.meta.labels.get(LABEL);
    label.is_some_and(|revision| revision != own)
}
