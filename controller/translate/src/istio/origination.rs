//! TLS towards endpoints, as a DestinationRule wants it.
//!
//! What cannot be done names a secret that does not exist, so that connections fail: never
//! plaintext, never without the verification that is asked for.

use super::{
    destination_rule::Effective,
    secret,
    world::{Voice, World},
};
use crate::{Code, output::Sink};
use gwanmun_api::istio::{ClientTlsMode, ClientTlsSettings};
use gwanmun_ir::{SecretKey, Sni, UpstreamTls, Verification};

/// The TLS of the effective policy; nothing means plaintext.
pub(super) fn tls(
    world: &World<'_>,
    effective: &Effective<'_>,
    sink: &mut Sink,
) -> Option<UpstreamTls> {
    let (settings, rule, field) = effective.tls.as_ref()?;
    let mut voice = Voice {
        object: rule.object,
        sink,
    };
    let (client_certificate, verification) = match settings.mode.as_ref()? {
        ClientTlsMode::Disable => return None,
        ClientTlsMode::Simple => {
            unused_certificate(settings, field, &mut voice);
            (None, verification(world, settings, field, &mut voice))
        }
        ClientTlsMode::Mutual => (
            Some(client_certificate(world, settings, field, &mut voice)),
            verification(world, settings, field, &mut voice),
        ),
        ClientTlsMode::IstioMutual => {
            let message = "ISTIO_MUTUAL needs the identity that a mesh gives to its workloads, so \
                           connections fail (did you mean MUTUAL, with credentialName?)";
            voice.error(Code::InvalidValue, format!("{field}.mode"), message);
            nothing("mesh-identity")
        }
        ClientTlsMode::Unknown(text) => {
            let message = format!("`{text}` is not known, so connections fail");
            voice.error(Code::UnknownValue, format!("{field}.mode"), message);
            nothing("unknown-mode")
        }
    };
    let sni = text(settings.sni.as_ref());
    Some(UpstreamTls {
        sni: sni.map_or(Sni::FromHost, |sni| Sni::Name(sni.to_owned())),
        verification,
        subject_alt_names: settings.subject_alt_names.clone(),
        client_certificate,
    })
}

/// A certificate and anchors that do not exist.
fn nothing(name: &str) -> (Option<SecretKey>, Verification) {
    let key = secret::unusable(name);
    (Some(key.clone()), Verification::Anchors(key))
}

fn text(text: Option<&String>) -> Option<&str> {
    text.map(String::as_str).filter(|text| !text.is_empty())
}

fn credential(settings: &ClientTlsSettings) -> Option<&str> {
    text(settings.credential_name.as_ref())
}

fn unused_certificate(settings: &ClientTlsSettings, field: &str, voice: &mut Voice<'_, '_>) {
    if text(settings.client_certificate.as_ref()).is_some() {
        let message = "not used by SIMPLE (did you mean MUTUAL?)";
        let field = format!("{field}.clientCertificate");
        voice.warn(Code::InvalidValue, field, message);
    }
}

/// Our certificate: of the credential, or in files.
fn client_certificate(
    world: &World<'_>,
    settings: &ClientTlsSettings,
    field: &str,
    voice: &mut Voice<'_, '_>,
) -> SecretKey {
    let files = [
        (
            "clientCertificate",
            text(settings.client_certificate.as_ref()),
        ),
        ("privateKey", text(settings.private_key.as_ref())),
    ];
    if let Some(name) = credential(settings) {
        for (part, _) in files.iter().filter(|(_, file)| file.is_some()) {
            let message = "not allowed with credentialName, which is used";
            voice.error(Code::SchemaValidation, format!("{field}.{part}"), message);
        }
        let field = format!("{field}.credentialName");
        return secret::key_pair(world, name, &field, Code::UnusableSecret, voice);
    }
    if let [(_, Some(certificates)), (_, Some(private_key))] = files {
        return secret::key_pair_files(certificates, private_key, voice);
    }
    for (part, _) in files.iter().filter(|(_, file)| file.is_none()) {
        let message = "MUTUAL needs a certificate and its private key, so connections fail";
        voice.error(Code::SchemaValidation, format!("{field}.{part}"), message);
    }
    secret::unusable("clientCertificate")
}

/// How the endpoint's certificate is verified: with the authorities of the credential, those in a
/// file, or the system's.
fn verification(
    world: &World<'_>,
    settings: &ClientTlsSettings,
    field: &str,
    voice: &mut Voice<'_, '_>,
) -> Verification {
    if settings.insecure_skip_verify == Some(true) {
        let port = field.contains("portLevelSettings");
        let code = if port {
            Code::NoServerVerificationOnPort
        } else {
            Code::NoServerVerification
        };
        let message =
            "the server is not verified: anyone on the way can read and change everything";
        voice.warn(code, format!("{field}.insecureSkipVerify"), message);
        return Verification::InsecureSkip;
    }
    let file = text(settings.ca_certificates.as_ref());
    let list = text(settings.ca_crl.as_ref());
    let mut invalid = |part: &str, message: &str| {
        let field = format!("{field}.{part}");
        voice.error(Code::SchemaValidation, field, message);
        Verification::Anchors(secret::unusable(part))
    };
    match (credential(settings), file, list) {
        (Some(_), _, Some(_)) => invalid(
            "caCrl",
            "not allowed with credentialName, whose Secret holds the revocation lists itself \
             (`ca.crl`), so connections fail",
        ),
        (Some(name), file, None) => {
            if file.is_some() {
                let message = "not allowed with credentialName, which is used";
                let field = format!("{field}.caCertificates");
                voice.error(Code::SchemaValidation, field, message);
            }
            let field = format!("{field}.credentialName");
            let code = Code::UnusableSecret;
            Verification::Anchors(if name.starts_with("configmap://") {
                secret::named_anchors(world, name, (&field, code), voice)
            } else {
                secret::anchors(world, name, &field, code, voice)
            })
        }
        (None, None | Some("system"), Some(_)) => invalid(
            "caCrl",
            "needs caCertificates, the authorities that revoke, so connections fail",
        ),
        (None, None | Some("system"), None) => Verification::System,
        (None, Some(file), list) => Verification::Anchors(secret::anchor_files(file, list, voice)),
    }
}
