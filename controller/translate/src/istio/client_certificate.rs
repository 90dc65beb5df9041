//! What a server asks of clients: modes MUTUAL and OPTIONAL_MUTUAL.
//!
//! Whatever keeps certificates from being verified as asked for fails the handshakes: nobody is
//! served without the verification that is written.

use super::{
    secret,
    world::{Voice, World},
};
use crate::Code;
use gwanmun_api::istio::{ServerTlsMode, ServerTlsSettings};
use gwanmun_ir::{ClientCertificates, ClientValidation, SecretKey};

/// What is asked of the clients of a server whose `tls` stands at `field`.
pub(super) fn wanted(
    world: &World<'_>,
    tls: &ServerTlsSettings,
    field: &str,
    voice: &mut Voice<'_, '_>,
) -> ClientCertificates {
    let required = match tls.mode {
        Some(ServerTlsMode::Mutual) => true,
        Some(ServerTlsMode::OptionalMutual) => false,
        Some(
            ServerTlsMode::Simple
            | ServerTlsMode::Passthrough
            | ServerTlsMode::AutoPassthrough
            | ServerTlsMode::IstioMutual
            | ServerTlsMode::Unknown(_),
        )
        | None => {
            not_asked(tls, field, voice);
            return ClientCertificates::NotRequested;
        }
    };
    if tls.insecure_skip_verify == Some(true) {
        let (asked, message) = if required {
            let message = "client certificates are demanded and not verified: anyone is served \
                           who makes one";
            (ClientCertificates::Presented, message)
        } else {
            let message = "client certificates are asked for and not verified: anyone is served, \
                           also without one";
            (ClientCertificates::Unverified, message)
        };
        let field = format!("{field}.insecureSkipVerify");
        voice.warn(Code::NoClientVerification, field, message);
        return asked;
    }
    let validation = ClientValidation {
        anchors: anchors(world, tls, field, voice),
        subject_alt_names: tls.subject_alt_names.clone(),
        spki_sha256: public_keys(tls, field, voice),
        certificate_sha256: hashes(tls, field, voice),
    };
    if required {
        ClientCertificates::Required(validation)
    } else {
        ClientCertificates::Optional(validation)
    }
}

/// Warns of what says nothing in mode SIMPLE.
fn not_asked(tls: &ServerTlsSettings, field: &str, voice: &mut Voice<'_, '_>) {
    let parts = [
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
    for (name, set) in parts {
        if set {
            let message = "speaks of client certificates, which SIMPLE does not ask for (did you \
                           mean MUTUAL?)";
            voice.warn(Code::InvalidValue, format!("{field}.{name}"), message);
        }
    }
}

/// The authorities of client certificates: named themselves, of the server's credential, or a file.
fn anchors(
    world: &World<'_>,
    tls: &ServerTlsSettings,
    field: &str,
    voice: &mut Voice<'_, '_>,
) -> SecretKey {
    let code = Code::InvalidGatewayCredential;
    let file = text(tls.ca_certificates.as_deref()).or_else(|| {
        let mut files = tls.tls_certificates.iter();
        files.find_map(|files| text(files.ca_certificates.as_deref()))
    });
    let named = text(tls.ca_cert_credential_name.as_deref());
    let own = text(tls.credential_names.first().map(String::as_str))
        .or_else(|| text(tls.credential_name.as_deref()));
    let list = text(tls.ca_crl.as_deref());
    if list.is_some() && (named.is_some() || own.is_some()) {
        let message = "not allowed with a credential, which holds the revocation lists itself \
                       (`ca.crl`), so handshakes for these hosts fail";
        voice.error(Code::SchemaValidation, format!("{field}.caCrl"), message);
        return secret::unusable("caCrl");
    }
    if file.is_some() && (named.is_some() || own.is_some()) {
        let message = "not used: the authorities are those of the credential";
        voice.warn(Code::Conflict, format!("{field}.caCertificates"), message);
    }
    match (named, own, file) {
        (Some(name), _, _) => {
            let field = format!("{field}.caCertCredentialName");
            secret::named_anchors(world, name, (&field, code), voice)
        }
        (None, Some(name), _) => {
            let several = !tls.credential_names.is_empty();
            let field = if several {
                format!("{field}.credentialNames[0]")
            } else {
                format!("{field}.credentialName")
            };
            secret::anchors(world, name, &field, code, voice)
        }
        (None, None, Some(file)) => secret::anchor_files(file, list, voice),
        (None, None, None) => {
            let message = "required to verify client certificates, so handshakes for these hosts \
                           fail";
            voice.error(
                Code::SchemaValidation,
                format!("{field}.caCertificates"),
                message,
            );
            secret::unusable("caCertificates")
        }
    }
}

fn text(text: Option<&str>) -> Option<&str> {
    text.filter(|text| !text.is_empty())
}

/// Hashes of public keys. One that cannot be a hash stays, and fits no certificate.
fn public_keys(tls: &ServerTlsSettings, field: &str, voice: &mut Voice<'_, '_>) -> Vec<String> {
    for (index, pin) in tls.verify_certificate_spki.iter().enumerate() {
        let bytes = gwanmun_certs::base64(pin);
        if bytes.is_none_or(|bytes| bytes.len() != 32) {
            let message = "not the base64 of a SHA-256 hash, so no certificate fits it";
            let field = format!("{field}.verifyCertificateSpki[{index}]");
            voice.error(Code::InvalidValue, field, message);
        }
    }
    tls.verify_certificate_spki.clone()
}

/// Hashes of certificates, with or without colons. One that cannot be a hash stays, and fits no
/// certificate.
fn hashes(tls: &ServerTlsSettings, field: &str, voice: &mut Voice<'_, '_>) -> Vec<String> {
    let mut found = Vec::new();
    for (index, pin) in tls.verify_certificate_hash.iter().enumerate() {
        let hash = pin.replace(':', "").to_ascii_lowercase();
        if hash.len() != 64 || !hash.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            let message = "not the hexadecimal form of a SHA-256 hash, so no certificate fits it";
            let field = format!("{field}.verifyCertificateHash[{index}]");
            voice.error(Code::InvalidValue, field, message);
        }
        found.push(hash);
    }
    found
}
