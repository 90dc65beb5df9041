//! TLS termination: certificates and trust anchors in service, and one server configuration per
//! policy.

mod client;
mod expiry;
mod policy;
mod tickets;

pub(crate) use expiry::InService;
pub(crate) use tickets::now;

use crate::listener::{Admission, Termination};
use client::{Trust, Verifier};
use gwanmun_certs::{Anchors, Certificate, KeyPair, Staple};
use gwanmun_ir::{
    ClientCertificates, ClientValidation, Pem, Secret, SecretKey, SecretMaterial, Severity,
    TlsPolicy,
};
use rustls::{
    ServerConfig,
    crypto::CryptoProvider,
    server::{ClientHello, NoServerSessionStorage, ResolvesServerCert, danger::ClientCertVerifier},
    sign::CertifiedKey,
};
use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, Weak},
};
use tickets::Tickets;

/// A certificate chain and key in service.
pub(crate) struct Pair {
    /// Unique among all pairs that ever served in this process.
    generation: u64,
    leaf: Certificate,
    certified: Arc<CertifiedKey>,
    /// The same with an OCSP response.
    stapled: Option<(Arc<CertifiedKey>, Staple)>,
}

impl Pair {
    /// What is sent at `now`: the OCSP response only in its time.
    fn at(&self, now: i64) -> &Arc<CertifiedKey> {
        match &self.stapled {
            Some((stapled, staple)) if staple.is_current(now) => stapled,
            Some(_) | None => &self.certified,
        }
    }
}

/// What a secret has in service.
enum Held {
    Pair(Arc<Pair>),
    Trust(Arc<Trust>),
}

impl Held {
    /// What it is, for messages.
    fn title(&self) -> String {
        match self {
            Self::Pair(pair) => format!("the earlier certificate `{}` stays", pair.leaf.title()),
            Self::Trust(_) => "the earlier trust anchors stay".to_owned(),
        }
    }
}

/// The certificates and trust anchors in service: of each secret its newest usable version.
#[derive(Default)]
pub(crate) struct Secrets {
    held: BTreeMap<SecretKey, Held>,
    generation: u64,
}

impl Secrets {
    /// Takes a new version of a secret. When not all of it can be used, one sentence on why, and
    /// what is served instead.
    pub(crate) fn update(&mut self, secret: &Secret) -> Option<(Severity, String)> {
        match self.usable(&secret.material) {
            Ok((held, ignored)) => {
                self.held.insert(secret.key.clone(), held);
                ignored.map(|ignored| (Severity::Degraded, ignored))
            }
            Err(reason) => Some(match self.held.get(&secret.key) {
                Some(old) => {
                    let message = format!("{reason}; {} in service", old.title());
                    (Severity::Degraded, message)
                }
                None => {
                    let message = format!("{reason}; handshakes that need it fail");
                    (Severity::Refused, message)
                }
            }),
        }
    }

    /// What a version of a secret comes to, and what of it is not used.
    fn usable(&mut self, material: &SecretMaterial) -> Result<(Held, Option<String>), String> {
        self.generation += 1;
        let generation = self.generation;
        match material {
            SecretMaterial::KeyPairFiles { .. } | SecretMaterial::AnchorFiles { .. } => {
                Err("its files have not been read".to_owned())
            }
            SecretMaterial::Invalid { reason } => Err(reason.clone()),
            SecretMaterial::Anchors {
                certificates,
                revocations,
            } => {
                let revocations = revocations.as_ref().map(Pem::as_str);
                let anchors = Anchors::parse(certificates.as_str(), revocations)
                    .map_err(|error| error.to_string())?;
                let trust = Trust::new(anchors, &policy::PROVIDER, generation)?;
                Ok((Held::Trust(Arc::new(trust)), None))
            }
            SecretMaterial::KeyPair {
                certificates,
                private_key,
                ocsp_staple,
            } => {
                let pair = KeyPair::parse(certificates.as_str(), private_key.reveal())
                    .map_err(|error| error.to_string())?;
                let (staple, ignored) = staple(ocsp_staple.as_deref(), pair.leaf());
                let stapled = staple.map(|staple| {
                    let response = staple.der().to_vec();
                    (Arc::new(pair.certified(Some(response))), staple)
                });
                let pair = Pair {
                    generation,
                    leaf: pair.leaf().clone(),
                    certified: Arc::new(pair.certified(None)),
                    stapled,
                };
                Ok((Held::Pair(Arc::new(pair)), ignored))
            }
        }
    }

    /// Takes a secret out of service.
    pub(crate) fn remove(&mut self, key: &SecretKey) {
        self.held.remove(key);
    }

    /// The certificates of a policy that are usable, in its order.
    fn pairs(&self, policy: &TlsPolicy) -> Result<Vec<Arc<Pair>>, String> {
        let named = policy.certificates.iter();
        let pairs: Vec<Arc<Pair>> = named
            .filter_map(|key| match self.held.get(key)? {
                Held::Pair(pair) => Some(Arc::clone(pair)),
                Held::Trust(_) => None,
            })
            .collect();
        if !pairs.is_empty() {
            return Ok(pairs);
        }
        Err(match policy.certificates.as_slice() {
            [] => "no certificate is configured".to_owned(),
            [key] => format!("no usable certificate in {key}"),
            keys => {
                let names: Vec<&str> = keys.iter().map(SecretKey::as_str).collect();
                format!("no usable certificate in any of {}", names.join(", "))
            }
        })
    }

    /// The anchors that clients' certificates are verified with.
    fn trust(&self, validation: &ClientValidation) -> Result<Arc<Trust>, String> {
        match self.held.get(&validation.anchors) {
            Some(Held::Trust(trust)) => Ok(Arc::clone(trust)),
            Some(Held::Pair(_)) | None => {
                Err(format!("no usable trust anchors in {}", validation.anchors))
            }
        }
    }
}

/// The OCSP response that is sent along with a certificate, in its time, and what is wrong with it.
fn staple(text: Option<&str>, leaf: &Certificate) -> (Option<Staple>, Option<String>) {
    let Some(text) = text else {
        return (None, None);
    };
    match Staple::parse(text, leaf) {
        Err(error) => (None, Some(format!("{error}; none is sent"))),
        Ok(staple) => {
            let ignored = if !staple.is_current(now()) {
                Some("OCSP response: it is out of date; none is sent".to_owned())
            } else if !staple.is_good() {
                let text = "OCSP response: it does not say that the certificate is good, which \
                            clients are told";
                Some(text.to_owned())
            } else {
                None
            };
            (Some(staple), ignored)
        }
    }
}

/// Which configuration serves a policy: equal policies with the same certificates and anchors
/// share one, and with it the keys of session tickets. A session is never resumed under another.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
struct ConfigKey {
    pairs: Vec<u64>,
    anchors: Option<u64>,
    policy: TlsPolicy,
}

/// Server configurations in service.
#[derive(Default)]
pub(crate) struct Configs {
    known: BTreeMap<ConfigKey, Weak<Termination>>,
    asked: BTreeMap<(ClientCertificates, Option<u64>), Weak<Admission>>,
    /// How many may be known before those out of service are looked for.
    most: usize,
}

impl Configs {
    /// What a policy asks of clients; one for all that ask the same.
    pub(crate) fn admission(&mut self, policy: &TlsPolicy, secrets: &Secrets) -> Arc<Admission> {
        let asked = &policy.client;
        if asked.is_not_requested() {
            return Admission::open();
        }
        let validation = asked.validation();
        let trust = validation.and_then(|validation| secrets.trust(validation).ok());
        let anchors = trust.as_ref().map(|trust| trust.generation);
        let key = (asked.clone(), anchors);
        if let Some(admission) = self.asked.get(&key).and_then(Weak::upgrade) {
            return admission;
        }
        let verifier = verifier(asked, trust, &policy::PROVIDER)
            .map(|verifier| -> Arc<dyn ClientCertVerifier> { Arc::new(verifier) });
        let admission = Arc::new(Admission::new(asked.clone(), anchors, verifier));
        self.asked
            .retain(|_, admission| admission.strong_count() > 0);
        self.asked.insert(key, Arc::downgrade(&admission));
        admission
    }

    /// The configuration for a policy.
    ///
    /// # Errors
    ///
    /// One sentence on why the policy cannot be served.
    pub(crate) fn get(
        &mut self,
        policy: &TlsPolicy,
        secrets: &Secrets,
    ) -> Result<Arc<Termination>, String> {
        let pairs = secrets.pairs(policy)?;
        let trust = policy.client.validation();
        let trust = trust
            .map(|validation| secrets.trust(validation))
            .transpose()?;
        let key = ConfigKey {
            pairs: pairs.iter().map(|pair| pair.generation).collect(),
            anchors: trust.as_ref().map(|trust| trust.generation),
            policy: policy.clone(),
        };
        if let Some(config) = self.known.get(&key).and_then(Weak::upgrade) {
            return Ok(config);
        }
        let config = server_config(policy, pairs, trust)?;
        let verifies = policy.client.validation().is_some();
        let config = Arc::new(Termination::new(config, verifies));
        if self.known.len() > self.most {
            self.known.retain(|_, config| config.strong_count() > 0);
            self.most = 2 * self.known.len() + 16;
        }
        self.known.insert(key, Arc::downgrade(&config));
        Ok(config)
    }
}

fn server_config(
    policy: &TlsPolicy,
    pairs: Vec<Arc<Pair>>,
    trust: Option<Arc<Trust>>,
) -> Result<ServerConfig, String> {
    let provider = policy::provider(policy)?;
    let trusted_until = trust.as_ref().and_then(|trust| trust.revocations_end());
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(&policy::versions(policy))
        .map_err(|error| format!("these TLS versions and cipher suites do not fit: {error}"))?;
    let builder = match verifier(&policy.client, trust, &provider) {
        Some(verifier) => builder.with_client_cert_verifier(Arc::new(verifier)),
        None => builder.with_no_client_auth(),
    };
    let mut config = builder.with_cert_resolver(Arc::new(Resolver { pairs }));
    // As Envoy does, the policy's order of cipher suites decides.
    config.ignore_client_order = true;
    // Tickets carry the session; a cache would take memory for each policy.
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.alpn_protocols = policy
        .alpn
        .iter()
        .map(|alpn| policy::alpn_id(*alpn))
        .collect();
    // Nothing that can be replayed is taken.
    config.max_early_data_size = 0;
    if let Some(tickets) = Tickets::new(trusted_until) {
        config.ticketer = Arc::new(tickets);
    }
    Ok(config)
}

fn verifier(
    asked: &ClientCertificates,
    trust: Option<Arc<Trust>>,
    provider: &CryptoProvider,
) -> Option<Verifier> {
    match asked {
        ClientCertificates::NotRequested => None,
        ClientCertificates::Unverified => Some(Verifier::unverified(false, provider)),
        ClientCertificates::Presented => Some(Verifier::unverified(true, provider)),
        ClientCertificates::Optional(validation) => {
            Some(Verifier::new(validation, trust?, false, provider))
        }
        ClientCertificates::Required(validation) => {
            Some(Verifier::new(validation, trust?, true, provider))
        }
    }
}

/// What is wrong with a policy whose configuration is `config`, and what happens instead.
pub(crate) fn problem(
    policy: &TlsPolicy,
    config: &Result<Arc<Termination>, String>,
) -> Option<(Severity, String)> {
    if let Err(message) = config {
        return Some((Severity::Refused, format!("{message}; its handshakes fail")));
    }
    policy::problem(policy)
}

/// Chooses among the certificates of a policy.
struct Resolver {
    pairs: Vec<Arc<Pair>>,
}

impl ResolvesServerCert for Resolver {
    /// The first certificate that covers the server name and whose key the client can verify;
    /// without one that covers it, the first whose key the client can verify. Without such a key
    /// the first of all, so that the handshake fails for what it lacks: with `handshake_failure`.
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let schemes = hello.signature_schemes();
        let usable = |pair: &&Arc<Pair>| pair.certified.key.choose_scheme(schemes).is_some();
        let covers = |pair: &&Arc<Pair>| {
            hello
                .server_name()
                .is_some_and(|name| pair.leaf.covers(&name.to_ascii_lowercase()))
        };
        let mut all = self.pairs.iter();
        all.clone()
            .filter(covers)
            .find(usable)
            .or_else(|| all.find(usable))
            .or_else(|| self.pairs.first())
            .map(|pair| Arc::clone(pair.at(now())))
    }
}

impl fmt::Debug for Resolver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let titles = self.pairs.iter().map(|pair| pair.leaf.title());
        f.debug_list().entries(titles).finish()
    }
}
