//! What is asked of clients, and whether a connection that was accepted under one such policy may
//! be served under another.

use super::TlsInfo;
use gwanmun_ir::ClientCertificates;
use parking_lot::Mutex;
use rustls::server::danger::ClientCertVerifier;
use rustls_pki_types::UnixTime;
use std::{
    fmt,
    mem::discriminant,
    sync::{
        Arc, LazyLock,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
};

static OPEN: LazyLock<Arc<Admission>> = LazyLock::new(|| {
    Arc::new(Admission {
        asked: ClientCertificates::NotRequested,
        anchors: None,
        verifier: None,
    })
});

/// What a chain asks of its clients now.
pub(crate) struct Admission {
    asked: ClientCertificates,
    /// Which anchors and revocation lists certificates are verified with, where they are: never
    /// the same number for others. Nothing when there are none that can be used.
    anchors: Option<u64>,
    verifier: Option<Arc<dyn ClientCertVerifier>>,
}

impl Admission {
    /// Nothing is asked.
    pub(crate) fn open() -> Arc<Self> {
        Arc::clone(&OPEN)
    }

    /// `asked`, verified by `verifier` with the anchors of this number. Without a verifier
    /// nobody's certificate is verified, and nobody is accepted where one would be.
    pub(crate) fn new(
        asked: ClientCertificates,
        anchors: Option<u64>,
        verifier: Option<Arc<dyn ClientCertVerifier>>,
    ) -> Self {
        Self {
            asked,
            anchors,
            verifier,
        }
    }

    /// Whether both ask the same: the same clients pass.
    fn is_same(&self, other: &Self) -> bool {
        self.asked == other.asked && self.anchors == other.anchors
    }

    /// Whether a connection that was accepted under `other` is one that is accepted now, too.
    fn admits(&self, other: &Self, tls: Option<&TlsInfo>) -> bool {
        if self.is_same(other) {
            return true;
        }
        // Where something else is asked than before, the client has not been asked for it.
        if discriminant(&self.asked) != discriminant(&other.asked) {
            return false;
        }
        let Some(verifier) = &self.verifier else {
            return false;
        };
        match tls.and_then(|tls| tls.client.as_ref()) {
            None => !verifier.client_auth_mandatory(),
            Some(client) => verifier
                .verify_client_cert(client.leaf(), client.intermediates(), UnixTime::now())
                .is_ok(),
        }
    }
}

impl fmt::Debug for Admission {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Admission")
            .field("asked", &self.asked)
            .field("anchors", &self.anchors)
            .finish_non_exhaustive()
    }
}

/// What a connection was accepted under, and what it was found to fulfil since.
pub(crate) struct Admitted {
    under: Arc<Admission>,
    since: Mutex<Option<Arc<Admission>>>,
    ended: AtomicBool,
}

impl Admitted {
    /// A connection that was just accepted under `admission`.
    pub(crate) fn new(under: Arc<Admission>) -> Self {
        Self {
            under,
            since: Mutex::new(None),
            ended: AtomicBool::new(false),
        }
    }

    /// Whether a request of this connection may be served by a chain that asks for `now`. When it
    /// may not, the connection is to end.
    ///
    /// Certificates are verified once per change.
    pub(crate) fn fulfils(&self, now: &Arc<Admission>, tls: Option<&TlsInfo>) -> bool {
        if Arc::ptr_eq(&self.under, now) {
            return true;
        }
        let mut since = self.since.lock();
        if since.as_ref().is_some_and(|since| Arc::ptr_eq(since, now)) {
            return true;
        }
        let admitted = now.admits(&self.under, tls);
        if admitted {
            *since = Some(Arc::clone(now));
        } else {
            self.ended.store(true, Relaxed);
        }
        admitted
    }

    /// Whether the connection is to end because it does not fulfil what is asked now.
    pub(crate) fn is_ended(&self) -> bool {
        self.ended.load(Relaxed)
    }
}
