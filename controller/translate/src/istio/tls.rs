//! TLS towards clients: certificates, versions, cipher suites and curves of a server.

use super::{
    client_certificate, secret,
    server::{Checked, Plan},
    world::{Voice, World},
};
use crate::Code;
use gwanmun_api::istio::{ServerTlsSettings, TlsProtocol};
use gwanmun_ir::{Alpn, ClientCertificates, SecretKey, Security, TlsPolicy, TlsVersion};

/// TLS 1.2 cipher suites by OpenSSL and IANA name.
const SUITES: [(&str, &str); 6] = [
    (
        "ECDHE-ECDSA-AES256-GCM-SHA384",
        "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384",
    ),
    (
        "ECDHE-ECDSA-AES128-GCM-SHA256",
        "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256",
    ),
    (
        "ECDHE-ECDSA-CHACHA20-POLY1305",
        "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256",
    ),
    (
        "ECDHE-RSA-AES256-GCM-SHA384",
        "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384",
    ),
    (
        "ECDHE-RSA-AES128-GCM-SHA256",
        "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256",
    ),
    (
        "ECDHE-RSA-CHACHA20-POLY1305",
        "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256",
    ),
];

/// Key exchange groups by the names OpenSSL, Envoy and IANA have for them, and IANA's.
const GROUPS: [(&[&str], &str); 5] = [
    (&["x25519", "curve25519"], "x25519"),
    (&["p-256", "prime256v1", "secp256r1"], "secp256r1"),
    (&["p-384", "secp384r1"], "secp384r1"),
    (&["x25519mlkem768"], "X25519MLKEM768"),
    (&["secp256r1mlkem768"], "SecP256r1MLKEM768"),
];

/// How a server speaks TLS. A server that must not be served has no certificates: its handshakes
/// fail, and less specific servers of the port do not answer in its place.
pub(super) fn security(
    world: &World<'_>,
    server: &Checked<'_>,
    voice: &mut Voice<'_, '_>,
) -> Security {
    let http = vec![Alpn::H2, Alpn::Http11];
    match (server.plan, server.server.tls.as_ref()) {
        (Plan::Http | Plan::Tcp, _) => Security::Plaintext,
        (Plan::Passthrough, _) => Security::Passthrough,
        (Plan::Https, Some(tls)) => Security::Tls(policy(world, server, (tls, http), voice)),
        // What the bytes inside are is between the client and the backend.
        (Plan::TlsTcp, Some(tls)) => Security::Tls(policy(world, server, (tls, Vec::new()), voice)),
        (Plan::ClosedTls | Plan::Https | Plan::TlsTcp, _) => Security::Tls(TlsPolicy {
            client: ClientCertificates::NotRequested,
            key_exchange_groups: Vec::new(),
            certificates: Vec::new(),
            min_version: TlsVersion::V12,
            max_version: TlsVersion::V13,
            cipher_suites: Vec::new(),
            alpn: http,
        }),
    }
}

fn policy(
    world: &World<'_>,
    server: &Checked<'_>,
    (tls, alpn): (&ServerTlsSettings, Vec<Alpn>),
    voice: &mut Voice<'_, '_>,
) -> TlsPolicy {
    let field = format!("{}.tls", server.field());
    let versions = versions(world, tls, &field, voice);
    let certificates = certificates(world, tls, &field, voice);
    let (min_version, max_version) = versions.unwrap_or((TlsVersion::V12, TlsVersion::V13));
    TlsPolicy {
        client: client_certificate::wanted(world, tls, &field, voice),
        key_exchange_groups: groups(world, tls, &field, voice),
        certificates: if versions.is_some() {
            certificates
        } else {
            Vec::new()
        },
        min_version,
        max_version,
        cipher_suites: cipher_suites(world, tls, &field, voice),
        alpn,
    }
}

/// The server's certificates: of `credentialNames`, else `credentialName`, else
/// `tlsCertificates`, else `serverCertificate`. Only one of them is allowed.
fn certificates(
    world: &World<'_>,
    tls: &ServerTlsSettings,
    field: &str,
    voice: &mut Voice<'_, '_>,
) -> Vec<SecretKey> {
    let mut names: Vec<(String, &str)> = Vec::new();
    for (index, name) in tls.credential_names.iter().enumerate() {
        names.push((format!("{field}.credentialNames[{index}]"), name));
    }
    let mut used = (!names.is_empty()).then_some("credentialNames");
    let mut first = |name: &'static str, set: bool, voice: &mut Voice<'_, '_>| {
        if let (true, Some(used)) = (set, used) {
            let message = format!("{used} is set too and is used");
            voice.error(Code::SchemaValidation, format!("{field}.{name}"), message);
            return false;
        }
        if set {
            used = Some(name);
        }
        set
    };
    let name = tls.credential_name.as_deref().unwrap_or_default();
    if first("credentialName", !name.is_empty(), voice) {
        names.push((format!("{field}.credentialName"), name));
    }
    let several = first("tlsCertificates", !tls.tls_certificates.is_empty(), voice);
    let single = first(
        "serverCertificate",
        tls.server_certificate.is_some() || tls.private_key.is_some(),
        voice,
    );
    let mut found = Vec::new();
    for (field, name) in names {
        let code = Code::InvalidGatewayCredential;
        found.push(secret::key_pair(world, name, &field, code, voice));
    }
    if several {
        for (index, one) in tls.tls_certificates.iter().enumerate() {
            let field = format!("{field}.tlsCertificates[{index}]");
            let pair = (
                one.server_certificate.as_deref(),
                one.private_key.as_deref(),
            );
            found.extend(files(pair, &field, voice));
        }
    }
    if single {
        let pair = (
            tls.server_certificate.as_deref(),
            tls.private_key.as_deref(),
        );
        found.extend(files(pair, field, voice));
    }
    if used.is_none() {
        let message = "no certificate is named, so handshakes for these hosts fail";
        voice.error(
            Code::SchemaValidation,
            format!("{field}.credentialName"),
            message,
        );
    }
    found
}

/// A certificate and its private key in files; nothing unless both are named.
fn files(
    (certificates, private_key): (Option<&str>, Option<&str>),
    field: &str,
    voice: &mut Voice<'_, '_>,
) -> Option<SecretKey> {
    let certificates = certificates.unwrap_or_default();
    let private_key = private_key.unwrap_or_default();
    for (name, path) in [
        ("serverCertificate", certificates),
        ("privateKey", private_key),
    ] {
        if path.is_empty() {
            let message = "required, so this certificate is not served";
            voice.error(Code::SchemaValidation, format!("{field}.{name}"), message);
            return None;
        }
    }
    Some(secret::key_pair_files(certificates, private_key, voice))
}

/// The key exchange groups that are offered; empty for the defaults.
fn groups(
    world: &World<'_>,
    tls: &ServerTlsSettings,
    field: &str,
    voice: &mut Voice<'_, '_>,
) -> Vec<String> {
    let wanted = if tls.ecdh_curves.is_empty() {
        world.mesh.ecdh_curves()
    } else {
        &tls.ecdh_curves
    };
    let mut found: Vec<String> = Vec::new();
    for (index, name) in wanted.iter().enumerate() {
        let lower = name.to_ascii_lowercase();
        let known = GROUPS
            .iter()
            .find(|(names, _)| names.contains(&lower.as_str()));
        match known {
            Some((_, iana)) if !found.iter().any(|group| group == iana) => {
                found.push((*iana).to_owned());
            }
            Some(_) | None => {
                let message = format!("`{name}` is repeated or not supported, and ignored");
                voice.warn(
                    Code::InvalidValue,
                    format!("{field}.ecdhCurves[{index}]"),
                    message,
                );
            }
        }
    }
    found
}

/// Lowest and highest version; nothing when none is left that we speak.
fn versions(
    world: &World<'_>,
    tls: &ServerTlsSettings,
    field: &str,
    voice: &mut Voice<'_, '_>,
) -> Option<(TlsVersion, TlsVersion)> {
    let own = tls.min_protocol_version.as_ref();
    let min = match own
        .filter(|own| **own != TlsProtocol::Auto)
        .or(world.mesh.min_tls())
    {
        None | Some(TlsProtocol::Auto | TlsProtocol::V12) => TlsVersion::V12,
        Some(TlsProtocol::V13) => TlsVersion::V13,
        Some(other @ (TlsProtocol::V10 | TlsProtocol::V11 | TlsProtocol::Unknown(_))) => {
            let message = format!("{other} is not supported; TLS 1.2 is the lowest version");
            voice.warn(
                Code::UnknownValue,
                format!("{field}.minProtocolVersion"),
                message,
            );
            TlsVersion::V12
        }
    };
    let max = match tls.max_protocol_version.as_ref() {
        None | Some(TlsProtocol::Auto | TlsProtocol::V13) => Some(TlsVersion::V13),
        Some(TlsProtocol::V12) => Some(TlsVersion::V12),
        Some(TlsProtocol::V10 | TlsProtocol::V11 | TlsProtocol::Unknown(_)) => None,
    };
    let versions = max.filter(|max| *max >= min).map(|max| (min, max));
    if versions.is_none() {
        let message = "no version is left that is supported, so handshakes for these hosts fail";
        voice.error(
            Code::InvalidValue,
            format!("{field}.maxProtocolVersion"),
            message,
        );
    }
    versions
}

fn cipher_suites(
    world: &World<'_>,
    tls: &ServerTlsSettings,
    field: &str,
    voice: &mut Voice<'_, '_>,
) -> Vec<String> {
    let wanted = if tls.cipher_suites.is_empty() {
        world.mesh.cipher_suites()
    } else {
        &tls.cipher_suites
    };
    let mut found: Vec<String> = Vec::new();
    for (index, name) in wanted.iter().enumerate() {
        let known = SUITES
            .iter()
            .find(|(openssl, iana)| openssl == name || iana == name);
        match known {
            Some((_, iana)) if !found.iter().any(|suite| suite == iana) => {
                found.push((*iana).to_owned());
            }
            Some(_) | None => {
                let message = format!("`{name}` is repeated or not supported, and ignored");
                voice.warn(
                    Code::InvalidValue,
                    format!("{field}.cipherSuites[{index}]"),
                    message,
                );
            }
        }
    }
    found
}
