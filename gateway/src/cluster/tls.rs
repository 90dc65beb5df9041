//! TLS towards endpoints: configuration built once per change of material, never per connection.
//!
//! What is missing or unusable makes every connection of the cluster fail with the reason; it
//! never falls back to plaintext or to less verification.

use super::{
    connect::{ConnectError, Speak},
    verify::{self, Roots},
};
use gwanmun_certs::{Anchors, KeyPair};
use gwanmun_ir::{Secret, SecretKey, SecretMaterial, Sni, UpstreamTls, Verification};
use rustls::{ClientConfig, RootCertStore, client::danger::ServerCertVerifier};
use rustls_pki_types::ServerName;
use std::{
    net::IpAddr,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};
use tokio_rustls::TlsConnector;

static GENERATIONS: AtomicU64 = AtomicU64::new(0);

/// TLS of one cluster.
pub(crate) struct ClientTls {
    /// Unique in the process.
    pub(super) generation: u64,
    inputs: Inputs,
    connectors: Result<Connectors, String>,
}

/// What TLS was built from; equal inputs need no new one.
#[derive(Clone, Debug, Eq, PartialEq)]
struct Inputs {
    config: UpstreamTls,
    anchors: Option<SecretMaterial>,
    pair: Option<SecretMaterial>,
}

/// One for each thing to speak. They share sessions, of one identity and one verification.
struct Connectors {
    bytes: TlsConnector,
    either: TlsConnector,
    http1: TlsConnector,
    http2: TlsConnector,
    /// For connections without a server name: verifies what is left to verify.
    unnamed: Result<TlsConnector, String>,
}

/// What starts one handshake.
pub(super) struct Handshake<'a> {
    /// The configuration.
    pub(super) connector: &'a TlsConnector,
    /// Which name to ask for and to verify; an address is not asked for.
    pub(super) name: ServerName<'static>,
}

impl std::fmt::Debug for ClientTls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ClientTls")
            .field("generation", &self.generation)
            .field("config", &self.inputs.config)
            .field("broken", &self.connectors.as_ref().err())
            .finish_non_exhaustive()
    }
}

impl ClientTls {
    /// TLS for `config`, the same as before when nothing it depends on has changed.
    ///
    /// Returns also what is wrong, in one sentence. Then a usable predecessor of the same
    /// configuration stays in service, unless the secret is gone.
    pub(super) fn build<'a>(
        config: &UpstreamTls,
        secret: impl Fn(&SecretKey) -> Option<&'a Secret>,
        before: Option<&Arc<Self>>,
    ) -> (Arc<Self>, Option<String>) {
        let material = |key: &SecretKey| secret(key).map(|found| found.material.clone());
        let inputs = Inputs {
            config: config.clone(),
            anchors: match &config.verification {
                Verification::Anchors(key) => material(key),
                Verification::InsecureSkip | Verification::System => None,
            },
            pair: config.client_certificate.as_ref().and_then(material),
        };
        if let Some(before) = before.filter(|before| before.inputs == inputs) {
            return (
                Arc::clone(before),
                before.connectors.as_ref().err().cloned(),
            );
        }
        let connectors = connectors(&inputs);
        let problem = connectors.as_ref().err().cloned();
        if let Some(before) = before
            && problem.is_some()
            && before.connectors.is_ok()
            && before.inputs.config == inputs.config
            && inputs.is_complete()
        {
            return (Arc::clone(before), problem);
        }
        let built = Self {
            generation: GENERATIONS.fetch_add(1, Relaxed) + 1,
            inputs,
            connectors,
        };
        (Arc::new(built), problem)
    }

    /// What starts a handshake with the endpoint at `address`, or why none can be.
    ///
    /// `host` is the name where TLS takes it from the request; nothing, where a request has none.
    pub(super) fn handshake(
        &self,
        host: Option<&str>,
        speak: Speak,
        address: IpAddr,
    ) -> Result<Handshake<'_>, ConnectError> {
        // Why is told where configuration is reported.
        let connectors = self
            .connectors
            .as_ref()
            .map_err(|_reason| ConnectError::no_material())?;
        let name = match &self.inputs.config.sni {
            Sni::FromHost => host,
            Sni::Name(name) => Some(name.as_str()),
        };
        let Some(name) = name else {
            return Ok(Handshake {
                connector: connectors
                    .unnamed
                    .as_ref()
                    .map_err(|reason| ConnectError::tls(reason))?,
                name: ServerName::from(address),
            });
        };
        let bare = name.trim_start_matches('[').trim_end_matches(']');
        Ok(Handshake {
            connector: match speak {
                Speak::Bytes => &connectors.bytes,
                Speak::Either => &connectors.either,
                Speak::Http1 => &connectors.http1,
                Speak::Http2 => &connectors.http2,
            },
            name: ServerName::try_from(bare.to_owned())
                .map_err(|_invalid| ConnectError::tls(&format!("`{name}` is not a server name")))?,
        })
    }

    /// Whether handshakes can be started at all.
    pub(super) fn is_usable(&self) -> bool {
        self.connectors.is_ok()
    }
}

impl Inputs {
    /// Whether every secret that is named exists.
    fn is_complete(&self) -> bool {
        let anchors = match self.config.verification {
            Verification::Anchors(_) => self.anchors.is_some(),
            Verification::InsecureSkip | Verification::System => true,
        };
        anchors && (self.config.client_certificate.is_none() || self.pair.is_some())
    }
}

fn connectors(inputs: &Inputs) -> Result<Connectors, String> {
    let verifier = verifier(inputs)?;
    let unnamed = match (&verifier, &inputs.config.verification) {
        (Verifier::Nothing(_), _) => Ok(verifier.any()),
        (Verifier::Names(names), Verification::Anchors(_)) => {
            Ok(Verifier::Names(Arc::new(names.unnamed())).any())
        }
        (Verifier::Names(names), _) if names.has_list() => {
            Ok(Verifier::Names(Arc::new(names.unnamed())).any())
        }
        (Verifier::Names(_), _) => Err(
            "there is no server name, so a certificate of anybody would do: say `sni` or \
             `subjectAltNames`"
                .to_owned(),
        ),
    };
    let bytes = configuration(inputs, verifier.any())?;
    let speaking = |protocols: &[&[u8]]| {
        let mut config = bytes.clone();
        config.alpn_protocols = protocols.iter().map(|name| name.to_vec()).collect();
        TlsConnector::from(Arc::new(config))
    };
    Ok(Connectors {
        http1: speaking(&[b"http/1.1"]),
        http2: speaking(&[b"h2"]),
        either: speaking(&[b"h2", b"http/1.1"]),
        unnamed: match unnamed {
            Ok(verifier) => Ok(TlsConnector::from(Arc::new(configuration(
                inputs, verifier,
            )?))),
            Err(reason) => Err(reason),
        },
        bytes: TlsConnector::from(Arc::new(bytes)),
    })
}

fn configuration(
    inputs: &Inputs,
    verifier: Arc<dyn ServerCertVerifier>,
) -> Result<ClientConfig, String> {
    let builder = ClientConfig::builder_with_provider(verify::provider())
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .dangerous()
        .with_custom_certificate_verifier(verifier);
    Ok(match &inputs.config.client_certificate {
        None => builder.with_no_client_auth(),
        Some(key) => {
            let pair = key_pair(key, inputs.pair.as_ref())?;
            let resolver = rustls::sign::SingleCertAndKey::from(pair.certified(None));
            builder.with_client_cert_resolver(Arc::new(resolver))
        }
    })
}

/// Who verifies certificates.
enum Verifier {
    Names(Arc<verify::Names>),
    Nothing(Arc<verify::Nothing>),
}

impl Verifier {
    fn any(&self) -> Arc<dyn ServerCertVerifier> {
        match self {
            Self::Names(names) => names.clone(),
            Self::Nothing(nothing) => nothing.clone(),
        }
    }
}

fn verifier(inputs: &Inputs) -> Result<Verifier, String> {
    let names = inputs.config.subject_alt_names.clone();
    match &inputs.config.verification {
        Verification::InsecureSkip => Ok(Verifier::Nothing(Arc::new(verify::Nothing::new()))),
        Verification::System => verified(&system_roots()?, names),
        Verification::Anchors(key) => {
            let anchors = match &inputs.anchors {
                Some(SecretMaterial::Anchors {
                    certificates,
                    revocations,
                }) => Anchors::parse(
                    certificates.as_str(),
                    revocations.as_ref().map(gwanmun_ir::Pem::as_str),
                )
                .map_err(|error| format!("secret {key}: {error}"))?,
                Some(SecretMaterial::Invalid { reason }) => {
                    return Err(format!("secret {key}: {reason}"));
                }
                Some(SecretMaterial::KeyPair { .. } | SecretMaterial::KeyPairFiles { .. }) => {
                    return Err(format!("secret {key} holds no trust anchors"));
                }
                Some(SecretMaterial::AnchorFiles { .. }) => {
                    return Err(format!("secret {key}: its files have not been read"));
                }
                None => return Err(format!("secret {key} does not exist")),
            };
            verified(&Roots::from(&anchors), names)
        }
    }
}

fn verified(roots: &Roots, names: Vec<String>) -> Result<Verifier, String> {
    Ok(Verifier::Names(Arc::new(verify::Names::new(roots, names)?)))
}

fn key_pair(key: &SecretKey, material: Option<&SecretMaterial>) -> Result<KeyPair, String> {
    match material {
        Some(SecretMaterial::KeyPair {
            certificates,
            private_key,
            ..
        }) => KeyPair::parse(certificates.as_str(), private_key.reveal())
            .map_err(|error| format!("secret {key}: {error}")),
        Some(SecretMaterial::Invalid { reason }) => Err(format!("secret {key}: {reason}")),
        Some(SecretMaterial::Anchors { .. } | SecretMaterial::AnchorFiles { .. }) => {
            Err(format!("secret {key} holds no certificate and key"))
        }
        Some(SecretMaterial::KeyPairFiles { .. }) => {
            Err(format!("secret {key}: its files have not been read"))
        }
        None => Err(format!("secret {key} does not exist")),
    }
}

/// The system's trust anchors, read once.
fn system_roots() -> Result<Roots, String> {
    static ROOTS: OnceLock<Option<Roots>> = OnceLock::new();
    ROOTS
        .get_or_init(|| {
            let found = rustls_native_certs::load_native_certs();
            for error in &found.errors {
                tracing::warn!(%error, "cannot read a trust anchor of the system");
            }
            let mut roots = RootCertStore::empty();
            let (usable, _) = roots.add_parsable_certificates(found.certs);
            (usable > 0).then(|| Roots::from(roots))
        })
        .clone()
        .ok_or_else(|| "the system has no trust anchors".to_owned())
}
