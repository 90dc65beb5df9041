//! TLS termination: certificates in service, and one server configuration per policy.

use gwanmun_certs::{Certificate, KeyPair};
use gwanmun_ir::{Alpn, Secret, SecretKey, SecretMaterial, Severity, TlsPolicy, TlsVersion};
use rustls::{
    ServerConfig, SupportedCipherSuite, SupportedProtocolVersion,
    crypto::{CryptoProvider, aws_lc_rs},
    server::{ClientHello, NoServerSessionStorage, ResolvesServerCert},
    sign::CertifiedKey,
};
use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, LazyLock, Weak},
};

/// A certificate chain and key in service.
pub(crate) struct Pair {
    /// Unique among all pairs that ever served in this process.
    generation: u64,
    leaf: Certificate,
    certified: Arc<CertifiedKey>,
}

/// The certificates in service: of each secret its newest usable version.
#[derive(Default)]
pub(crate) struct Secrets {
    pairs: BTreeMap<SecretKey, Arc<Pair>>,
    generation: u64,
}

impl Secrets {
    /// Takes a new version of a secret.
    ///
    /// # Errors
    ///
    /// One sentence on why it cannot be used and what is served instead.
    pub(crate) fn update(&mut self, secret: &Secret) -> Result<(), String> {
        let reason = match &secret.material {
            SecretMaterial::Anchors { .. } | SecretMaterial::AnchorFiles { .. } => {
                self.pairs.remove(&secret.key);
                return Ok(());
            }
            SecretMaterial::KeyPairFiles { .. } => "its files have not been read".to_owned(),
            SecretMaterial::Invalid { reason } => reason.clone(),
            SecretMaterial::KeyPair {
                certificates,
                private_key,
                ocsp_staple,
            } => match KeyPair::parse(certificates.as_str(), private_key.reveal()) {
                Ok(pair) => {
                    self.generation += 1;
                    let staple = ocsp_staple.as_deref().and_then(gwanmun_certs::base64);
                    let pair = Arc::new(Pair {
                        generation: self.generation,
                        leaf: pair.leaf().clone(),
                        certified: Arc::new(pair.certified(staple)),
                    });
                    self.pairs.insert(secret.key.clone(), pair);
                    return Ok(());
                }
                Err(error) => error.to_string(),
            },
        };
        Err(match self.pairs.get(&secret.key) {
            Some(old) => format!(
                "{reason}; the earlier certificate `{}` stays in service",
                old.leaf.title()
            ),
            None => format!("{reason}; handshakes that need it fail"),
        })
    }

    /// Takes a secret out of service.
    pub(crate) fn remove(&mut self, key: &SecretKey) {
        self.pairs.remove(key);
    }

    /// Whether a usable version of the secret is in service.
    pub(crate) fn is_usable(&self, key: &SecretKey) -> bool {
        self.pairs.contains_key(key)
    }
}

/// Which configuration serves a policy: equal policies with the same certificates share one, and
/// with it session tickets and caches.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
struct ConfigKey {
    generations: Vec<u64>,
    versions: (TlsVersion, TlsVersion),
    ciphers: Vec<String>,
    alpn: Vec<Alpn>,
}

/// Server configurations in service.
#[derive(Default)]
pub(crate) struct Configs {
    known: BTreeMap<ConfigKey, Weak<ServerConfig>>,
}

impl Configs {
    /// The configuration for a policy.
    ///
    /// # Errors
    ///
    /// One sentence on why the policy cannot be served.
    pub(crate) fn get(
        &mut self,
        policy: &TlsPolicy,
        secrets: &Secrets,
    ) -> Result<Arc<ServerConfig>, String> {
        let usable = policy.certificates.iter();
        let pairs: Vec<Arc<Pair>> = usable
            .filter_map(|key| secrets.pairs.get(key).cloned())
            .collect();
        if pairs.is_empty() {
            return Err(match policy.certificates.as_slice() {
                [] => "no certificate is configured".to_owned(),
                [key] => format!("no usable certificate in {key}"),
                keys => {
                    let names: Vec<&str> = keys.iter().map(SecretKey::as_str).collect();
                    format!("no usable certificate in any of {}", names.join(", "))
                }
            });
        }
        let key = ConfigKey {
            generations: pairs.iter().map(|pair| pair.generation).collect(),
            versions: (policy.min_version, policy.max_version),
            ciphers: policy.cipher_suites.clone(),
            alpn: policy.alpn.clone(),
        };
        if let Some(config) = self.known.get(&key).and_then(Weak::upgrade) {
            return Ok(config);
        }
        let config = Arc::new(server_config(policy, pairs)?);
        self.known.retain(|_, config| config.strong_count() > 0);
        self.known.insert(key, Arc::downgrade(&config));
        Ok(config)
    }
}

fn server_config(policy: &TlsPolicy, pairs: Vec<Arc<Pair>>) -> Result<ServerConfig, String> {
    let versions = versions(policy);
    let mut config = ServerConfig::builder_with_provider(provider(policy))
        .with_protocol_versions(&versions)
        .map_err(|error| format!("these TLS versions and cipher suites do not fit: {error}"))?
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(Resolver { pairs }));
    // Tickets carry the session; a cache would take memory for each policy.
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.alpn_protocols = policy.alpn.iter().map(|alpn| alpn_id(*alpn)).collect();
    if let Ok(ticketer) = aws_lc_rs::Ticketer::new() {
        config.ticketer = ticketer;
    }
    Ok(config)
}

/// The protocol's identifier on the wire.
fn alpn_id(alpn: Alpn) -> Vec<u8> {
    match alpn {
        Alpn::H2 => b"h2".to_vec(),
        Alpn::Http11 => b"http/1.1".to_vec(),
    }
}

fn versions(policy: &TlsPolicy) -> Vec<&'static SupportedProtocolVersion> {
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

/// The library with everything it has.
static PROVIDER: LazyLock<Arc<CryptoProvider>> =
    LazyLock::new(|| Arc::new(aws_lc_rs::default_provider()));

fn provider(policy: &TlsPolicy) -> Arc<CryptoProvider> {
    if policy.cipher_suites.is_empty() {
        return Arc::clone(&PROVIDER);
    }
    let mut provider = CryptoProvider::clone(&PROVIDER);
    provider.cipher_suites.retain(|suite| match suite {
        SupportedCipherSuite::Tls12(_) => policy
            .cipher_suites
            .iter()
            .any(|name| suite.suite().as_str() == Some(name.as_str())),
        SupportedCipherSuite::Tls13(_) => true,
    });
    Arc::new(provider)
}

/// What is wrong with a policy whose configuration is `config`, and what happens instead.
pub(crate) fn problem(
    policy: &TlsPolicy,
    config: &Result<Arc<ServerConfig>, String>,
) -> Option<(Severity, String)> {
    if let Err(message) = config {
        return Some((Severity::Refused, format!("{message}; its handshakes fail")));
    }
    let unknown = unknown_ciphers(policy);
    (!unknown.is_empty()).then(|| {
        let names = unknown.join(", ");
        let message = format!("unsupported cipher suites are left out: {names}");
        (Severity::Degraded, message)
    })
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

/// Chooses among the certificates of a policy.
struct Resolver {
    pairs: Vec<Arc<Pair>>,
}

impl ResolvesServerCert for Resolver {
    /// The first certificate that covers the server name and whose key the client can verify;
    /// without one that covers it, the first whose key the client can verify.
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
            .map(|pair| Arc::clone(&pair.certified))
    }
}

impl fmt::Debug for Resolver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let titles = self.pairs.iter().map(|pair| pair.leaf.title());
        f.debug_list().entries(titles).finish()
    }
}
