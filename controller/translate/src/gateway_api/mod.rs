//! Gateway API objects become configuration and statuses.

use crate::{Options, Store, output::Sink};

/// Translates all Gateway API objects.
pub(crate) fn translate(store: &Store, options: &Options, sink: &mut Sink) {
    let _ = (store, options, sink);
}
