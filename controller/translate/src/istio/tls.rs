//! TLS towards clients: certificates, versions and cipher suites of a server.

use super::{
    secret,
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

/// How a server speaks TLS. A server that must not be served has no certificates: its handshakes
/// fail, and less specific servers of the port do not answer in its place.
pub(super) fn security(
    world: &World<'_>,
    server: &Checked<'_>,
    voice: &mut Voice<'_, '_>,
) -> Security {
    match (server.plan, server.server.tls.as_ref()) {
        (Plan::Http | Plan::Tcp, _) => Security::Plaintext,
        (Plan::Https, Some(tls)) => Security::Tls(policy(world, server, tls, voice)),
        (Plan::ClosedTls | Plan::Https, _) => Security::Tls(TlsPolicy {
            client: ClientCertificates::NotRequested,
            key_exchange_groups: Vec::new(),
            certificates: Vec::new(),
            min_version: TlsVersion::V12,
            max_version: TlsVersion::V13,
            cipher_suites: Vec::new(),
            alpn: vec![Alpn::H2, Alpn::Http11],
        }),
    }
}

fn policy(
    world: &World<'_>,
    server: &Checked<'_>,
    tls: &ServerTlsSettings,
    voice: &mut Voice<'_, '_>,
) -> TlsPolicy {
    let field = format!("{}.tls", server.field());
    let versions = versions(world, tls, &field, voice);
    let certificates = certificates(world, tls, &field, voice);
    let (min_version, max_version) = versions.unwrap_or((TlsVersion::V12, TlsVersion::V13));
    without_effect(tls, &field, voice);
    TlsPolicy {
        client: ClientCertificates::NotRequested,
        key_exchange_groups: Vec::new(),
        certificates: if versions.is_some() {
            certificates
        } else {
            Vec::new()
        },
        min_version,
        max_version,
        cipher_suites: cipher_suites(world, tls, &field, voice),
        alpn: vec![Alpn::H2, Alpn::Http11],
    }
}

/// What says nothing in mode SIMPLE, or nothing yet.
fn without_effect(tls: &ServerTlsSettings, field: &str, voice: &mut Voice<'_, '_>) {
    let client = [
        ("caCertificates", tls.ca_certificates.is_some()),
        ("caCrl", tls.ca_crl.is_some()),
        (
            "caCertCredentialName",
            tls.ca_cert_credential_name.is_some(),
        ),
        ("subjectAltNames", !tls.subject_alt_names.is_empty()),
        (
            "verifyCertificateSpki",
            !tls.verify_certificate_spki.is_empty(),
        ),
        (
            "verifyCertificateHash",
            !tls.verify_certificate_hash.is_empty(),
        ),
        ("insecureSkipVerify", tls.insecure_skip_verify == Some(true)),
    ];
    for (name, set) in client {
        if set {
            let message = "speaks of client certificates, which SIMPLE does not ask for (did you \
                           mean MUTUAL?)";
            voice.warn(Code::InvalidValue, format!("{field}.{name}"), message);
        }
    }
    if !tls.ecdh_curves.is_empty() {
        let message = "has no effect yet: the default curves are offered";
        voice.warn(Code::NoEffectYet, format!("{field}.ecdhCurves"), message);
    }
}

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
    if let Some(name) = tls
        .credential_name
        .as_deref()
        .filter(|name| !name.is_empty())
    {
        if !names.is_empty() {
            let message = "credentialNames is set too and is used";
            voice.error(
                Code::SchemaValidation,
                format!("{field}.credentialName"),
                message,
            );
        } else {
            names.push((format!("{field}.credentialName"), name));
        }
    }
    let files = tls.server_certificate.is_some() || !tls.tls_certificates.is_empty();
    if files {
        let message = if names.is_empty() {
            "certificate files have no effect yet, so handshakes for these hosts fail; use \
             credentialName"
        } else {
            "certificate files have no effect yet; the named Secrets are used"
        };
        voice.error(
            Code::NoEffectYet,
            format!("{field}.serverCertificate"),
            message,
        );
    } else if names.is_empty() {
        let message = "no certificate is named, so handshakes for these hosts fail";
        voice.error(
            Code::SchemaValidation,
            format!("{field}.credentialName"),
            message,
        );
    }
    names
        .into_iter()
        .map(|(field, name)| {
            secret::key_pair(world, name, &field, Code::InvalidGatewayCredential, voice)
        })
        .collect()
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
