//! Istio objects become configuration and findings.

pub(crate) mod destination_rule;

use crate::{Options, Store, output::Sink};

/// Translates all Istio objects.
pub(crate) fn translate(store: &Store, options: &Options, sink: &mut Sink) {
    let _ = (store, options, sink);
}
