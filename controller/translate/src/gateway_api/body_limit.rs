//! The annotation `gwanmun.io/max-request-body`.

use crate::{Code, Finding, Severity, output::Sink};
use gwanmun_api::Object;

const ANNOTATION: &str = "gwanmun.io/max-request-body";

/// Largest request body that the object's annotation allows, in bytes. A malformed annotation
/// allows everything and is reported.
pub(crate) fn max_request_body(object: &Object, sink: &mut Sink) -> Option<u64> {
    let text = object.meta.annotations.get(ANNOTATION)?;
    let bytes = quantity(text);
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

/// A whole Kubernetes quantity: `1048576`, `1Mi`, `5M`, `10k`.
fn quantity(text: &str) -> Option<u64> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, suffix) = text.split_at_checked(digits)?;
    let unit: u64 = match suffix {
        "" => 1,
        "k" => 1000,
        "M" => 1000_u64.pow(2),
        "G" => 1000_u64.pow(3),
        "T" => 1000_u64.pow(4),
        "Ki" => 1 << 10,
        "Mi" => 1 << 20,
        "Gi" => 1 << 30,
        "Ti" => 1 << 40,
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_mul(unit)
}

#[cfg(test)]
mod tests {
    use super::quantity;

    #[test]
    fn quantities_are_kubernetes_quantities() {
        for (text, expected) in [
            ("0", Some(0)),
            ("1Mi", Some(1_048_576)),
            ("10k", Some(10_000)),
            ("1048576", Some(1_048_576)),
            ("", None),
            ("Mi", None),
            ("1MB", None),
            ("-1", None),
            ("1.5Mi", None),
            ("99999999999Ti", None),
        ] {
            assert_eq!(quantity(text), expected, "{text}");
        }
    }
}
