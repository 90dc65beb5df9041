//! What a policy's names stand for: versions, cipher suites, key exchange groups, protocols.

use super::client;
use gwanmun_ir::{Alpn, Severity, TlsPolicy, TlsVersion};
use rustls::{
    NamedGroup, SupportedCipherSuite, SupportedProtocolVersion,
    crypto::{CryptoProvider, SupportedKxGroup, aws_lc_rs},
};
use std::sync::{Arc, LazyLock};

/// The library with everything it has; `X25519MLKEM768` is its first key exchange group.
pub(super) static PROVIDER: LazyLock<Arc<CryptoProvider>> =
    LazyLock::new(|| Arc::new(aws_lc_rs::default_provider()));

/// The protocol's identifier on the wire.
pub(super) fn alpn_id(alpn: Alpn) -> Vec<u8> {
    match alpn {
        Alpn::H2 => b"h2".to_vec(),
        Alpn::Http11 => b"http/1.1".to_vec(),
    }
}

/// The versions of a policy, highest first.
pub(super) fn versions(policy: &TlsPolicy) -> Vec<&'static SupportedProtocolVersion> {
    let range = policy.min_version..=policy.max_version;
    [
        (TlsVersion::V13, &rustls::version::TLS13),
        (TlsVersion::V12, &rustls::version::TLS12),
    ]
    .into_iter()
    .filter(|(version, _)| range.contains(version))
    .map(|(_, version)| version)
    .collect()
}

/// The library, restricted to what the policy names. Names that are unknown are left out.
///
/// # Errors
///
/// The policy names key exchange groups, and none that is known: other ones than it wants are no
/// replacement, and Envoy refuses such a policy, too.
pub(super) fn provider(policy: &TlsPolicy) -> Result<Arc<CryptoProvider>, String> {
    let groups = groups(policy);
    if policy.cipher_suites.is_empty() && policy.key_exchange_groups.is_empty() {
        return Ok(Arc::clone(&PROVIDER));
    }
    if groups.is_empty() && !policy.key_exchange_groups.is_empty() {
        let names = policy.key_exchange_groups.join(", ");
        return Err(format!("no key exchange group is supported: {names}"));
    }
    let mut provider = CryptoProvider::clone(&PROVIDER);
    if !policy.cipher_suites.is_empty() {
        provider.cipher_suites.retain(|suite| match suite {
            SupportedCipherSuite::Tls12(_) => policy
                .cipher_suites
                .iter()
                .any(|name| suite.suite().as_str() == Some(name.as_str())),
            SupportedCipherSuite::Tls13(_) => true,
        });
    }
    if !groups.is_empty() {
        provider.kx_groups = groups;
    }
    Ok(Arc::new(provider))
}

/// The known groups of a policy, in its order.
fn groups(policy: &TlsPolicy) -> Vec<&'static dyn SupportedKxGroup> {
    let names = policy.key_exchange_groups.iter();
    names.filter_map(|name| group(name)).collect()
}

fn group(name: &str) -> Option<&'static dyn SupportedKxGroup> {
    // By their names at IANA, and where OpenSSL has others by those.
    let wanted = match name.to_ascii_lowercase().as_str() {
        "x25519mlkem768" => NamedGroup::X25519MLKEM768,
        "secp256r1mlkem768" => NamedGroup::secp256r1MLKEM768,
        "mlkem768" => NamedGroup::MLKEM768,
        "x25519" => NamedGroup::X25519,
        "secp256r1" | "prime256v1" | "p-256" => NamedGroup::secp256r1,
        "secp384r1" | "p-384" => NamedGroup::secp384r1,
        _ => return None,
    };
    let known = aws_lc_rs::ALL_KX_GROUPS.iter();
    known.copied().find(|group| group.name() == wanted)
}

/// What of a policy has no effect, in one sentence each.
pub(super) fn ignored(policy: &TlsPolicy) -> Vec<String> {
    let mut found = Vec::new();
    let mut say = |what: &str, names: Vec<&str>| {
        if !names.is_empty() {
            found.push(format!("{what}: {}", names.join(", ")));
        }
    };
    say(
        "unsupported cipher suites are left out",
        unknown_ciphers(policy),
    );
    let groups = policy.key_exchange_groups.iter().map(String::as_str);
    let unknown: Vec<&str> = groups.filter(|name| group(name).is_none()).collect();
    say("unsupported key exchange groups are left out", unknown);
    if let Some(validation) = policy.client.validation() {
        say(
            "certificate pins that are no SHA-256 match nothing",
            client::invalid_pins(validation),
        );
    }
    found
}

/// The same as a rejection.
pub(super) fn problem(policy: &TlsPolicy) -> Option<(Severity, String)> {
    let ignored = ignored(policy);
    (!ignored.is_empty()).then(|| (Severity::Degraded, ignored.join("; ")))
}

/// The cipher suites named by a policy that the TLS library does not have.
fn unknown_ciphers(policy: &TlsPolicy) -> Vec<&str> {
    let known = &PROVIDER.cipher_suites;
    let names = policy.cipher_suites.iter().map(String::as_str);
    names
        .filter(|name| {
            !known
                .iter()
                .any(|suite| suite.suite().as_str() == Some(name))
        })
        .collect()
}
