//! Secrets as Envoy dumps them: without private keys.

use super::View;
use gwanmun_ir::{Resource, Secret, SecretMaterial};
use serde_json::{Value, json};

/// `dynamic_active_secrets`.
pub(super) fn all(view: &View<'_>) -> Vec<Value> {
    let secrets = view.each(|resource| match resource {
        Resource::Secret(secret) => Some(secret),
        Resource::Listener(_)
        | Resource::Chain(_)
        | Resource::Route(_)
        | Resource::Cluster(_)
        | Resource::L4Route(_)
        | Resource::Endpoints(_) => None,
    });
    secrets
        .into_iter()
        .filter_map(|one| {
            Some(json!({
                "name": one.key,
                "version_info": view.version,
                "secret": secret(one)?,
            }))
        })
        .collect()
}

fn secret(secret: &Secret) -> Option<Value> {
    let name = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret";
    match &secret.material {
        SecretMaterial::KeyPair { certificates, .. } => Some(json!({
            "@type": name,
            "name": secret.key,
            "tls_certificate": {
                "certificate_chain": { "inline_bytes": base64(certificates.as_str().as_bytes()) },
                "private_key": { "inline_bytes": base64(b"[redacted]") },
            },
        })),
        SecretMaterial::Anchors { certificates, .. } => Some(json!({
            "@type": name,
            "name": secret.key,
            "validation_context": {
                "trusted_ca": { "inline_bytes": base64(certificates.as_str().as_bytes()) },
            },
        })),
        SecretMaterial::AnchorFiles { .. }
        | SecretMaterial::KeyPairFiles { .. }
        | SecretMaterial::Invalid { .. } => None,
    }
}

/// Base64 with padding, as JSON writes bytes.
fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let byte = |index: usize| u32::from(chunk.get(index).copied().unwrap_or_default());
        let group = byte(0) << 16 | byte(1) << 8 | byte(2);
        for position in 0..4 {
            if position > chunk.len() {
                out.push('=');
                continue;
            }
            let digit = usize::try_from(group >> (18 - 6 * position) & 0x3f).ok();
            let digit = digit.and_then(|digit| DIGITS.get(digit));
            out.extend(digit.map(|&digit| char::from(digit)));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_pads_to_groups_of_four() {
        for (text, expected) in [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foob", "Zm9vYg=="),
            ("[redacted]", "W3JlZGFjdGVkXQ=="),
        ] {
            assert_eq!(base64(text.as_bytes()), expected);
        }
    }
}
