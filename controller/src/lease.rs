//! Leadership: one replica writes, the others stand by.
//!
//! A [Lease](https://kubernetes.io/docs/concepts/architecture/leases/) is taken when it is free or
//! its holder has not renewed it for its whole duration, measured by our own clock from when we saw
//! it change; clocks of replicas need not agree.

use jiff::Timestamp;
use k8s_openapi::{
    api::coordination::v1::{Lease, LeaseSpec},
    apimachinery::pkg::apis::meta::v1::MicroTime,
};
use kube::{Api, Client, api::PostParams};
use std::time::{Duration, Instant};
use tokio::sync::watch;

/// How long a lease holds without being renewed.
const DURATION: Duration = Duration::from_secs(10);
/// How often it is renewed, or looked at.
const RENEW: Duration = Duration::from_secs(2);
/// A leader that could not renew for this long stops writing, before anybody else may start.
const GIVE_UP: Duration = Duration::from_secs(7);

/// One replica's view of the lease.
pub(crate) struct Candidate {
    api: Api<Lease>,
    name: String,
    identity: String,
    /// Holder and renewal as last seen, and when that changed.
    seen: Option<(String, Option<MicroTime>, Instant)>,
    renewed: Option<Instant>,
}

impl Candidate {
    /// A candidate for lease `namespace/name`; `identity` is the pod's name.
    pub(crate) fn new(client: Client, namespace: &str, name: &str, identity: &str) -> Self {
        Self {
            api: Api::namespaced(client, namespace),
            name: name.to_owned(),
            identity: identity.to_owned(),
            seen: None,
            renewed: None,
        }
    }

    /// Stands for ever; `leading` says whether we lead.
    pub(crate) async fn stand(mut self, leading: watch::Sender<bool>) {
        loop {
            let attempt = tokio::time::timeout(RENEW, self.attempt()).await;
            match attempt {
                Ok(Ok(true)) => self.renewed = Some(Instant::now()),
                Ok(Ok(false)) => self.renewed = None,
                Ok(Err(error)) => tracing::warn!(%error, "cannot renew the lease"),
                Err(_elapsed) => tracing::warn!("renewing the lease took too long"),
            }
            let leads = self.renewed.is_some_and(|at| at.elapsed() < GIVE_UP);
            leading.send_if_modified(|before| {
                let changed = *before != leads;
                if changed {
                    tracing::info!(leads, lease = self.name, "leadership");
                }
                *before = leads;
                changed
            });
            tokio::time::sleep(RENEW.mul_f64(0.8 + fastrand::f64() * 0.4)).await;
        }
    }

    /// Whether the lease is ours now.
    async fn attempt(&mut self) -> Result<bool, kube::Error> {
        let Some(mut lease) = self.api.get_opt(&self.name).await? else {
            let mut lease = Lease::default();
            lease.metadata.name = Some(self.name.clone());
            lease.spec = Some(self.spec(None, 0));
            return Self::won(self.api.create(&PostParams::default(), &lease).await);
        };
        let spec = lease.spec.take().unwrap_or_default();
        let holder = spec.holder_identity.clone().unwrap_or_default();
        let mine = holder == self.identity;
        if !mine && !holder.is_empty() && !self.has_lapsed(&holder, spec.renew_time.as_ref()) {
            return Ok(false);
        }
        let transitions = spec.lease_transitions.unwrap_or_default();
        let acquired = spec.acquire_time.filter(|_| mine);
        lease.spec = Some(self.spec(acquired, transitions + i32::from(!mine)));
        let parameters = PostParams::default();
        Self::won(self.api.replace(&self.name, &parameters, &lease).await)
    }

    fn spec(&self, acquired: Option<MicroTime>, transitions: i32) -> LeaseSpec {
        let now = MicroTime(Timestamp::now());
        LeaseSpec {
            holder_identity: Some(self.identity.clone()),
            lease_duration_seconds: i32::try_from(DURATION.as_secs()).ok(),
            acquire_time: acquired.or_else(|| Some(now.clone())),
            renew_time: Some(now),
            lease_transitions: Some(transitions),
            ..LeaseSpec::default()
        }
    }

    /// Whether another holder has been silent for the whole duration.
    fn has_lapsed(&mut self, holder: &str, renewed: Option<&MicroTime>) -> bool {
        match &self.seen {
            Some((who, when, since)) if who == holder && when.as_ref() == renewed => {
                since.elapsed() >= DURATION
            }
            Some(_) | None => {
                self.seen = Some((holder.to_owned(), renewed.cloned(), Instant::now()));
                false
            }
        }
    }

    /// A conflict means that somebody else was faster.
    fn won(result: Result<Lease, kube::Error>) -> Result<bool, kube::Error> {
        match result {
            Ok(_) => Ok(true),
            Err(kube::Error::Api(status)) if status.code == 409 => Ok(false),
            Err(error) => Err(error),
        }
    }
}
