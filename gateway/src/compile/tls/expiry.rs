//! When the certificates in service end.

use super::{Held, Secrets};
use crate::telemetry::rfc3339;
use gwanmun_certs::Certificate;
use gwanmun_ir::SecretKey;

/// How long before its end a certificate is spoken of, in seconds: 30 days.
const AHEAD: i64 = 30 * 86_400;

/// A certificate in service, as metrics tell of it.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) struct InService {
    /// The secret that holds it.
    pub(crate) secret: SecretKey,
    /// Whether it is a trust anchor.
    pub(crate) is_authority: bool,
    /// A name for people.
    pub(crate) title: String,
    /// Serial number in lower-case hexadecimal.
    pub(crate) serial: String,
    /// Last valid second, since the Unix epoch.
    pub(crate) not_after: i64,
}

impl InService {
    fn new(secret: &SecretKey, is_authority: bool, certificate: &Certificate) -> Self {
        Self {
            secret: secret.clone(),
            is_authority,
            title: certificate.title(),
            serial: certificate.serial().to_owned(),
            not_after: certificate.validity().not_after,
        }
    }
}

impl Secrets {
    /// The leaves and trust anchors in service, by secret.
    pub(crate) fn in_service(&self) -> Vec<InService> {
        let mut all = Vec::new();
        for (key, held) in &self.held {
            match held {
                Held::Pair(pair) => all.push(InService::new(key, false, &pair.leaf)),
                Held::Trust(trust) => {
                    let anchors = trust.anchors().certificates().iter();
                    all.extend(anchors.map(|anchor| InService::new(key, true, anchor)));
                }
            }
        }
        all
    }

    /// Which secrets end soon or have ended, each with one sentence, and when that is to be asked
    /// again. Times are in seconds since the Unix epoch.
    ///
    /// Trust anchors end with the last of them: others may have been replaced already.
    pub(crate) fn ending(&self, now: i64) -> (Vec<(SecretKey, String)>, i64) {
        let (mut ending, mut next) = (Vec::new(), i64::MAX);
        for (key, held) in &self.held {
            let (what, last) = match held {
                Held::Pair(pair) => ("the certificate", Some(&pair.leaf)),
                Held::Trust(trust) => {
                    let anchors = trust.anchors().certificates().iter();
                    let last = anchors.max_by_key(|anchor| anchor.validity().not_after);
                    ("the last trust anchor", last)
                }
            };
            let Some(last) = last else { continue };
            let end = last.validity().not_after;
            let steps = [end.saturating_sub(AHEAD), end].map(|step| step.saturating_add(1));
            next = steps
                .into_iter()
                .filter(|step| *step > now)
                .fold(next, i64::min);
            if !last.expires_within(now, AHEAD) {
                continue;
            }
            let date = rfc3339(u64::try_from(end).unwrap_or_default());
            let title = last.title();
            if last.validity().is_over(now) {
                ending.push((key.clone(), format!("{what} `{title}` ended on {date}")));
            } else {
                let text = format!("{what} `{title}` ends on {date}, in less than 30 days");
                ending.push((key.clone(), text));
            }
        }
        (ending, next)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use gwanmun_ir::{Pem, PrivatePem, Secret, SecretMaterial, SourceRef};
    use rcgen::{CertificateParams, KeyPair, date_time_ymd};

    fn secret(name: &str, ends: &[i32], is_pair: bool) -> Secret {
        let key = KeyPair::generate().unwrap();
        let made = ends.iter().map(|year| {
            let mut params = CertificateParams::new(vec![format!("{name}.test")]).unwrap();
            params.not_after = date_time_ymd(*year, 1, 1);
            params.self_signed(&key).unwrap().pem()
        });
        let certificates = Pem::new(made.collect::<String>());
        let material = if is_pair {
            SecretMaterial::KeyPair {
                certificates,
                private_key: PrivatePem::new(key.serialize_pem()),
                ocsp_staple: None,
            }
        } else {
            SecretMaterial::Anchors {
                certificates,
                revocations: None,
            }
        };
        Secret {
            key: SecretKey::new(name),
            material,
            source: SourceRef::default(),
        }
    }

    #[test]
    fn ends_are_told_thirty_days_ahead_and_when_they_are_there() {
        let mut secrets = Secrets::default();
        for one in [
            secret("leaf", &[2030], true),
            secret("ca", &[2029, 2032], false),
        ] {
            assert_eq!(secrets.update(&one), None);
        }
        let (leaf, ca) = (1_893_456_000, 1_956_528_000);
        let told = |now: i64| {
            let (ending, next) = secrets.ending(now);
            let names = ending.iter().map(|(key, text)| {
                let over = text.contains("ended on");
                format!("{key} {over}")
            });
            (names.collect::<Vec<_>>(), next)
        };
        let mut now = 1_700_000_000;
        for (expected, next) in [
            (&[][..], leaf - AHEAD + 1),
            (&["leaf false"], leaf + 1),
            (&["leaf true"], ca - AHEAD + 1),
            (&["ca false", "leaf true"], ca + 1),
            (&["ca true", "leaf true"], i64::MAX),
        ] {
            let (names, at) = told(now);
            assert_eq!(names, expected);
            assert_eq!(at, next);
            if at < i64::MAX {
                assert_eq!(told(at - 1).0, expected, "not a second too early");
            }
            now = at;
        }
        assert_eq!(secrets.in_service().len(), 3);
    }
}
