//! The annotation `gwanmun.io/max-request-body`.

use crate::{Code, Finding, Severity, names, output::Sink};
use gwanmun_api::Object;

const ANNOTATION: &str = "gwanmun.io/max-request-body";

/// Largest request body that the object's annotation allows, in bytes. A malformed annotation
/// allows everything and is reported.
pub(crate) fn max_request_body(object: &Object, sink: &mut Sink) -> Option<u64> {
    let text = object.meta.annotations.get(ANNOTATION)?;
    let bytes = names::quantity_bytes(text);
    if bytes.is_none() {
        sink.finding(Finding::new(
            Severity::Error,
            Code::InvalidValue,
            object,
            format!("metadata.annotations[{ANNOTATION}]"),
            format!("`{text}` is not a size such as `1Mi`; request bodies are not limited"),
        ));
    }
    bytes
}
