//! `/certs`: certificates and when they end, as Envoy prints them, and what is wrong with them.

use gwanmun_certs::{Anchors, Certificate, San};
use gwanmun_ir::{Key, Rejection, Resource, SecretMaterial};
use serde_json::{Value, json};
use std::{
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};

const DAY: i64 = 86_400;

/// The page. What is configured is shown; where it cannot be used or ends soon, `gwanmun` says why
/// and what is served instead.
pub(super) fn page(resources: &[Arc<Resource>], rejected: &[Rejection]) -> Value {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).ok();
    let now = now
        .and_then(|now| i64::try_from(now.as_secs()).ok())
        .unwrap_or_default();
    let mut certificates = Vec::new();
    for resource in resources {
        let Resource::Secret(secret) = resource.as_ref() else {
            continue;
        };
        let (authorities, chain) = match &secret.material {
            SecretMaterial::Anchors {
                certificates,
                revocations: _,
            } => (parse_anchors(certificates.as_str()), Vec::new()),
            SecretMaterial::KeyPair { certificates, .. } => {
                let chain = Certificate::parse_chain(certificates.as_str());
                (Vec::new(), chain.unwrap_or_default())
            }
            SecretMaterial::AnchorFiles { .. }
            | SecretMaterial::KeyPairFiles { .. }
            | SecretMaterial::Invalid { .. } => (Vec::new(), Vec::new()),
        };
        let show = |list: &[Certificate]| -> Vec<_> {
            let path = secret.key.as_str();
            list.iter().map(|one| details(one, path, now)).collect()
        };
        let mut entry = json!({
            "ca_cert": show(&authorities),
            "cert_chain": show(&chain),
        });
        let key = Key::Secret(secret.key.clone());
        let problems = rejected.iter().filter(|one| one.key == key);
        let problems: Vec<_> = problems
            .map(|one| json!({ "severity": one.severity, "message": one.message }))
            .collect();
        if let (false, Some(entry)) = (problems.is_empty(), entry.as_object_mut()) {
            let path = secret.key.as_str();
            let told = json!({ "path": path, "problems": problems });
            entry.insert("gwanmun".to_owned(), told);
        }
        certificates.push(entry);
    }
    json!({ "certificates": certificates })
}

fn parse_anchors(text: &str) -> Vec<Certificate> {
    Anchors::parse(text, None)
        .map(|anchors| anchors.certificates().to_vec())
        .unwrap_or_default()
}

/// One certificate.
pub(super) fn details(certificate: &Certificate, path: &str, now: i64) -> Value {
    let validity = certificate.validity();
    let names: Vec<_> = certificate.names().iter().map(name).collect();
    let days = (validity.not_after - now).div_euclid(DAY).max(0);
    json!({
        "path": path,
        "serial_number": certificate.serial(),
        "subject_alt_names": names,
        "days_until_expiration": days.to_string(),
        "valid_from": timestamp(validity.not_before),
        "expiration_time": timestamp(validity.not_after),
    })
}

fn name(name: &San) -> Value {
    let kind = match name {
        San::Dns(_) => "dns",
        San::Ip(_) => "ip_address",
        San::Uri(_) => "uri",
        San::Email(_) | _ => "gwanmun",
    };
    json!({ kind: name.to_string() })
}

/// Seconds since the Unix epoch as RFC 3339.
fn timestamp(seconds: i64) -> String {
    crate::telemetry::rfc3339(u64::try_from(seconds).unwrap_or_default())
}
