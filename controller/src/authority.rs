//! The controller's own certificate authority: what gateways trust when they connect.
//!
//! The authority is kept in a Secret that only the controller reads. Each replica issues its own
//! short-lived server certificate from it. An authority is replaced well before it ends: the new
//! one is published first and signs only once every gateway has had the time to learn of it.

use gwanmun_discovery::{Identity, MaterialError};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::{ByteString, api::core::v1::Secret};
use kube::{Api, Client, api::PostParams};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, time::Duration};
use thiserror::Error;

/// Life of an authority, and of a server's certificate, in hours.
const AUTHORITY_HOURS: i64 = 24 * 365;
const SERVER_HOURS: i64 = 48;
/// An authority with less than this left is replaced.
const REPLACE_HOURS: i64 = 24 * 60;
/// A new authority signs after this: mounted ConfigMaps take up to two minutes.
const PUBLISHED_MINUTES: i64 = 30;
/// How often all of this is looked at.
pub(crate) const LOOK: Duration = Duration::from_secs(10 * 60);
/// Key of the Secret's data.
const KEY: &str = "authorities.json";

/// Something about certificates cannot be done.
#[derive(Debug, Error)]
pub(crate) enum AuthorityError {
    #[error("the API server: {0}")]
    Api(#[from] kube::Error),
    #[error("issuing: {0}")]
    Issue(#[from] rcgen::Error),
    #[error("the Secret's content: {0}")]
    Content(#[from] serde_json::Error),
    #[error("the certificate: {0}")]
    Material(#[from] MaterialError),
    #[error("no time: {0}")]
    Time(#[from] jiff::Error),
    #[error("the Secret holds no authority")]
    Empty,
}

/// One authority with its key. Never printed.
#[derive(Clone, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
struct Signer {
    certificate: String,
    key: String,
    not_before: Timestamp,
    not_after: Timestamp,
}

/// The authorities, oldest first.
#[derive(Clone, Default, Deserialize, Serialize)]
struct Authorities(Vec<Signer>);

/// The Secret that holds the authorities.
pub(crate) struct Keeper {
    api: Api<Secret>,
    name: String,
    server_names: Vec<String>,
}

impl Keeper {
    /// The authorities in Secret `namespace/name`, for a server of these names.
    pub(crate) fn new(
        client: Client,
        namespace: &str,
        name: &str,
        server_names: Vec<String>,
    ) -> Self {
        Self {
            api: Api::namespaced(client, namespace),
            name: name.to_owned(),
            server_names,
        }
    }

    /// What gateways have to trust, PEM, and a fresh server certificate. Makes or replaces an
    /// authority where that is due.
    pub(crate) async fn issue(&self, now: Timestamp) -> Result<Issued, AuthorityError> {
        let authorities = self.authorities(now).await?;
        let signer = authorities.signer(now).ok_or(AuthorityError::Empty)?;
        let (chain, key) = signer.server(&self.server_names, now)?;
        Ok(Issued {
            bundle: authorities.bundle(),
            chain,
            key,
        })
    }

    async fn authorities(&self, now: Timestamp) -> Result<Authorities, AuthorityError> {
        let parameters = PostParams::default();
        let Some(mut secret) = self.api.get_opt(&self.name).await? else {
            let authorities = Authorities::default().renewed(now)?;
            let mut secret = Secret {
                data: Some(data(&authorities)?),
                ..Secret::default()
            };
            secret.metadata.name = Some(self.name.clone());
            return match self.api.create(&parameters, &secret).await {
                Ok(_) => Ok(authorities),
                // Another replica was faster.
                Err(kube::Error::Api(status)) if status.code == 409 => {
                    held(&self.api.get(&self.name).await?)
                }
                Err(error) => Err(error.into()),
            };
        };
        let authorities = held(&secret)?;
        if !authorities.is_due(now) {
            return Ok(authorities);
        }
        let renewed = authorities.renewed(now)?;
        secret.data = Some(data(&renewed)?);
        match self.api.replace(&self.name, &parameters, &secret).await {
            Ok(_) => {
                tracing::info!("a new authority is published");
                Ok(renewed)
            }
            Err(kube::Error::Api(status)) if status.code == 409 => Ok(authorities),
            Err(error) => Err(error.into()),
        }
    }
}

/// What [`Keeper::issue`] issues.
pub(crate) struct Issued {
    /// The authorities gateways have to trust, PEM.
    pub(crate) bundle: String,
    chain: String,
    key: String,
}

impl Issued {
    /// Makes `identity` present it, or a new one.
    pub(crate) fn present(
        &self,
        identity: Option<&Identity>,
    ) -> Result<Option<Identity>, MaterialError> {
        match identity {
            Some(identity) => {
                identity.replace(&self.chain, &self.key)?;
                Ok(None)
            }
            None => Identity::new(&self.chain, &self.key).map(Some),
        }
    }
}

fn held(secret: &Secret) -> Result<Authorities, AuthorityError> {
    let bytes = secret.data.as_ref().and_then(|data| data.get(KEY));
    Ok(serde_json::from_slice(
        &bytes.ok_or(AuthorityError::Empty)?.0,
    )?)
}

fn data(authorities: &Authorities) -> Result<BTreeMap<String, ByteString>, AuthorityError> {
    let bytes = serde_json::to_vec(authorities)?;
    Ok(BTreeMap::from([(KEY.to_owned(), ByteString(bytes))]))
}

impl Authorities {
    /// Whether the newest one ends soon.
    fn is_due(&self, now: Timestamp) -> bool {
        let left = self
            .0
            .last()
            .map(|newest| newest.not_after.duration_since(now));
        left.is_none_or(|left| left < SignedDuration::from_hours(REPLACE_HOURS))
    }

    /// These without what has ended, and a new one.
    fn renewed(&self, now: Timestamp) -> Result<Self, AuthorityError> {
        let standing = self.0.iter().filter(|one| one.not_after > now);
        let mut all: Vec<Signer> = standing.cloned().collect();
        all.push(Signer::new(now)?);
        Ok(Self(all))
    }

    /// The newest one that has been published long enough, or the oldest.
    fn signer(&self, now: Timestamp) -> Option<&Signer> {
        let published = SignedDuration::from_mins(PUBLISHED_MINUTES);
        let mut newest_first = self.0.iter().rev();
        newest_first
            .find(|one| now.duration_since(one.not_before) >= published)
            .or_else(|| self.0.first())
    }

    fn bundle(&self) -> String {
        self.0.iter().map(|one| one.certificate.as_str()).collect()
    }
}

impl Signer {
    fn new(now: Timestamp) -> Result<Self, AuthorityError> {
        let not_after = now.checked_add(SignedDuration::from_hours(AUTHORITY_HOURS))?;
        let key = KeyPair::generate()?;
        let mut params = params(Vec::new(), now, not_after)?;
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let name = format!("gwanmun configuration {}", now.as_second());
        params.distinguished_name.push(DnType::CommonName, name);
        let certificate = params.self_signed(&key)?;
        Ok(Self {
            certificate: certificate.pem(),
            key: key.serialize_pem(),
            not_before: now,
            not_after,
        })
    }

    /// A server's chain and key, PEM.
    fn server(&self, names: &[String], now: Timestamp) -> Result<(String, String), AuthorityError> {
        let issuer = Issuer::from_ca_cert_pem(&self.certificate, KeyPair::from_pem(&self.key)?)?;
        let end = now.checked_add(SignedDuration::from_hours(SERVER_HOURS))?;
        let key = KeyPair::generate()?;
        let mut params = params(names.to_vec(), now, end.min(self.not_after))?;
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        let certificate = params.signed_by(&key, &issuer)?;
        Ok((certificate.pem(), key.serialize_pem()))
    }
}

fn params(
    names: Vec<String>,
    now: Timestamp,
    end: Timestamp,
) -> Result<CertificateParams, AuthorityError> {
    let mut params = CertificateParams::new(names)?;
    // Clocks of nodes differ.
    params.not_before = time(now.checked_sub(SignedDuration::from_mins(5))?);
    params.not_after = time(end);
    Ok(params)
}

fn time(at: Timestamp) -> time::OffsetDateTime {
    time::OffsetDateTime::from_unix_timestamp(at.as_second())
        .unwrap_or(time::OffsetDateTime::UNIX_EPOCH)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hours(now: Timestamp, hours: i64) -> Timestamp {
        now.checked_add(SignedDuration::from_hours(hours)).unwrap()
    }

    #[test]
    fn an_authority_is_replaced_in_time_and_signs_once_it_is_known() {
        let start = Timestamp::now();
        let first = Authorities::default().renewed(start).unwrap();
        assert!(!first.is_due(hours(start, AUTHORITY_HOURS - REPLACE_HOURS - 1)));
        let due = hours(start, AUTHORITY_HOURS - REPLACE_HOURS + 1);
        assert!(first.is_due(due));
        let both = first.renewed(due).unwrap();
        assert_eq!(both.bundle().matches("BEGIN CERTIFICATE").count(), 2);
        assert_eq!(both.signer(due).unwrap().not_before, start);
        assert_eq!(both.signer(hours(due, 1)).unwrap().not_before, due);
        let later = hours(start, AUTHORITY_HOURS + 1);
        assert_eq!(both.renewed(later).unwrap().0.len(), 2);
    }

    #[test]
    fn a_server_certificate_can_be_presented() {
        let now = Timestamp::now();
        let authorities = Authorities::default().renewed(now).unwrap();
        let signer = authorities.signer(now).unwrap();
        let (chain, key) = signer.server(&["controller.svc".to_owned()], now).unwrap();
        let issued = Issued {
            bundle: authorities.bundle(),
            chain,
            key,
        };
        let identity = issued.present(None).unwrap().unwrap();
        assert!(issued.present(Some(&identity)).unwrap().is_none());
    }
}
