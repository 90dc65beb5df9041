//! Names and labels of what is made for a Gateway. A Gateway's name may be 253 characters long and
//! have dots; a Service's name and a label's value may not.

use sha2::{Digest as _, Sha256};

/// Most characters of a label's value, and of a Service's name.
const LONGEST: usize = 63;

/// Name of a Gateway's Deployment, Service and the rest: `NAME-CLASS` as Istio names them, where
/// that is a name, else something near it with a digest of it.
pub(crate) fn object_name(gateway: &str, class: &str) -> String {
    let wanted = format!("{gateway}-{class}");
    let plain = wanted.replace('.', "-");
    let letter = plain.starts_with(|first: char| first.is_ascii_lowercase());
    if plain == wanted && letter && plain.len() <= LONGEST {
        return wanted;
    }
    let prefix = if letter { "" } else { "gw-" };
    shortened(&format!("{prefix}{plain}"), &wanted)
}

/// A name as a label's value: itself, or shortened with a digest of it.
pub(crate) fn label_value(name: &str) -> String {
    if name.len() <= LONGEST {
        name.to_owned()
    } else {
        shortened(name, name)
    }
}

/// The beginning of `text` and a digest of `whole`.
fn shortened(text: &str, whole: &str) -> String {
    let digest = Sha256::digest(whole.as_bytes());
    let digest: String = digest
        .iter()
        .take(4)
        .map(|byte| format!("{byte:02x}"))
        .collect();
    let room = LONGEST - digest.len() - 1;
    let beginning: String = text.chars().take(room).collect();
    format!("{}-{digest}", beginning.trim_end_matches(['-', '.']))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_fit_and_differ() {
        assert_eq!(object_name("edge", "gwanmun"), "edge-gwanmun");
        let long = "a".repeat(253);
        let longer = format!("{}b", "a".repeat(252));
        for (name, other) in [
            ("my.edge", "my-edge"),
            ("1st", "gw-1st"),
            (&*long, &*longer),
        ] {
            let made = object_name(name, "gwanmun");
            assert!(made.len() <= 63, "{made}");
            assert!(
                made.starts_with(|first: char| first.is_ascii_lowercase()),
                "{made}"
            );
            assert!(!made.contains('.'), "{made}");
            assert_ne!(made, object_name(other, "gwanmun"));
            assert_eq!(made, object_name(name, "gwanmun"));
        }
    }

    #[test]
    fn label_values_fit() {
        assert_eq!(label_value("my.edge"), "my.edge");
        let long = format!("{}.{}", "a".repeat(53), "b".repeat(100));
        assert!(label_value(&long).len() <= 63);
        assert!(!label_value(&long).contains(".-"));
    }
}
