//! How TLS is terminated.

use rustls::ServerConfig;
use std::sync::{Arc, OnceLock};

/// How TLS is terminated: one per policy, certificates and trust anchors.
#[derive(Debug)]
pub(crate) struct Termination {
    config: Arc<ServerConfig>,
    without_alpn: OnceLock<Arc<ServerConfig>>,
    verifies: bool,
}

impl Termination {
    /// What `config` says; `verifies` says whether a certificate that it accepts is verified.
    pub(crate) fn new(config: ServerConfig, verifies: bool) -> Self {
        Self {
            config: Arc::new(config),
            without_alpn: OnceLock::new(),
            verifies,
        }
    }

    /// Whether a client's certificate, if it sent one, was verified.
    pub(crate) fn verifies(&self) -> bool {
        self.verifies
    }

    /// The configuration for a client that offers these protocols, if any.
    ///
    /// One that offers only protocols we do not have is served without any, as Envoy does; the
    /// library alone would refuse it.
    pub(crate) fn config<'h>(
        &self,
        offered: Option<impl Iterator<Item = &'h [u8]>>,
    ) -> &Arc<ServerConfig> {
        let known = &self.config.alpn_protocols;
        let fits = offered.is_none_or(|mut offered| {
            known.is_empty() || offered.any(|one| known.iter().any(|own| own == one))
        });
        if fits {
            return &self.config;
        }
        self.without_alpn.get_or_init(|| {
            let mut without = ServerConfig::clone(&self.config);
            without.alpn_protocols.clear();
            Arc::new(without)
        })
    }
}
