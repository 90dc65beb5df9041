//! Reconciles the Gateway API and Istio's API in a cluster.
//!
//! [`run()`] watches the API server ([`source`]), translates with one [`gwanmun_translate::Engine`]
//! ([`run`](run::Reconciler)), delivers to gateways what each may see ([`gwanmun_discovery`]), writes
//! statuses ([`status`]) and provisions what Gateways need ([`provision`]). Every replica serves;
//! the one that holds the lease writes.

mod admission;
mod authority;
mod health;
mod lease;
mod provision;
#[cfg(test)]
mod rights;
mod run;
mod source;
mod status;
mod workloads;

use admission::TokenAdmission;
use authority::Keeper;
use gwanmun_api::Kind;
use gwanmun_discovery::Distribution;
use gwanmun_translate::Options;
use jiff::Timestamp;
use kube::Client;
use lease::Candidate;
use provision::{Provisioner, Settings};
use run::{Inputs, Reconciler};
use status::Writer;
use std::{future::Future, io, net::SocketAddr, sync::Arc, time::Duration};
use thiserror::Error;
use tokio::{
    net::TcpListener,
    sync::{mpsc, watch},
};

/// Events on their way to the loop.
const AHEAD: usize = 1024;
/// Name of the lease, and of the Secret with the authorities.
const LEASE: &str = "gwanmun-controller";
const AUTHORITIES: &str = "gwanmun-authorities";
/// Pause before certificates are looked at again after a failure.
const CERTIFICATES_AGAIN: Duration = Duration::from_secs(2);

/// How a controller runs.
#[derive(Clone, Debug)]
pub struct Config {
    /// Namespace of the controller: its lease and its authorities are there.
    pub namespace: String,
    /// Name of this replica: its pod.
    pub instance: String,
    /// Name of the Service at which gateways reach the controller.
    pub service: String,
    /// Where gateways are served.
    pub listen: SocketAddr,
    /// Where `/healthz` and `/readyz` are answered.
    pub health: SocketAddr,
    /// Image of the gateway pods that are provisioned.
    pub image: String,
    /// Options of translation.
    pub options: Options,
}

/// A controller cannot start.
#[derive(Debug, Error)]
pub enum StartError {
    /// There is no cluster to talk to.
    #[error("no cluster: {0}")]
    Client(#[from] kube::Error),
    /// An address cannot be bound.
    #[error("cannot listen on {address}: {error}")]
    Bind {
        /// The address.
        address: SocketAddr,
        /// Why.
        error: io::Error,
    },
}

/// Runs until `shutdown`.
///
/// # Errors
///
/// When it cannot start; afterwards it goes on whatever happens.
pub async fn run(config: Config, shutdown: impl Future<Output = ()>) -> Result<(), StartError> {
    let client = client().await?;
    let listener = bind(config.listen).await?;
    let health = bind(config.health).await?;
    let (ready, readiness) = watch::channel(false);
    tokio::spawn(health::serve(health, readiness));

    let (leading, leads) = watch::channel(false);
    let candidate = Candidate::new(client.clone(), &config.namespace, LEASE, &config.instance);
    tokio::spawn(candidate.stand(leading));

    let distribution = Distribution::default();
    let (events, objects) = mpsc::channel(AHEAD);
    let watching = source::watch(&client, Kind::ALL, &events);
    let (streams, from_streams) = mpsc::unbounded_channel();
    let (bundle, bundles) = watch::channel(String::new());
    tokio::spawn(serve(
        config.clone(),
        client.clone(),
        listener,
        distribution.clone(),
        streams,
        bundle,
    ));

    let (writer, written) = Writer::new(client.clone());
    let settings = Settings {
        image: config.image.clone(),
        controller: format!("{}.{}.svc", config.service, config.namespace),
        port: config.listen.port(),
    };
    let (provisioner, addresses) = Provisioner::new(client, settings);
    let reconciler = Reconciler::new(&config, distribution, writer, provisioner, ready);
    let inputs = Inputs {
        objects,
        streams: from_streams,
        written,
        addresses,
        leading: leads,
        bundle: bundles,
    };
    let why = tokio::select! {
        () = reconciler.run(inputs) => "the loop ended",
        () = shutdown => "asked to stop",
    };
    tracing::info!(why, "stopping");
    drop(watching);
    Ok(())
}

async fn client() -> Result<Client, kube::Error> {
    let mut config = kube::Config::infer()
        .await
        .map_err(kube::Error::InferConfig)?;
    // Watches are long; everything else is bounded where it is asked.
    config.read_timeout = None;
    Client::try_from(config)
}

async fn bind(address: SocketAddr) -> Result<TcpListener, StartError> {
    TcpListener::bind(address)
        .await
        .map_err(|error| StartError::Bind { address, error })
}

/// Serves gateways once there is a certificate, and keeps it fresh.
async fn serve(
    config: Config,
    client: Client,
    listener: TcpListener,
    distribution: Distribution,
    streams: mpsc::UnboundedSender<gwanmun_discovery::Event>,
    bundle: watch::Sender<String>,
) {
    let host = format!("{}.{}.svc", config.service, config.namespace);
    let names = vec![format!("{host}.{}", config.options.cluster_domain), host];
    let keeper = Keeper::new(client.clone(), &config.namespace, AUTHORITIES, names);
    let mut serving: Option<(gwanmun_discovery::Identity, _)> = None;
    let mut parts = Some((listener, distribution, streams));
    loop {
        let issued = keeper.issue(Timestamp::now()).await;
        let presented = issued.and_then(|issued| {
            let earlier = serving.as_ref().map(|(identity, _)| identity);
            let new = issued.present(earlier)?;
            Ok((issued.bundle, new))
        });
        match presented {
            Ok((pem, new)) => {
                bundle.send_if_modified(|known| {
                    let changed = *known != pem;
                    *known = pem;
                    changed
                });
                if let (Some(identity), Some((listener, distribution, streams))) =
                    (new, parts.take())
                {
                    let admission = Arc::new(TokenAdmission::new(client.clone()));
                    let server = gwanmun_discovery::serve(
                        listener,
                        identity.clone(),
                        distribution,
                        admission,
                        streams,
                        std::future::pending(),
                    );
                    serving = Some((identity, tokio::spawn(server)));
                }
                tokio::time::sleep(authority::LOOK).await;
            }
            Err(error) => {
                tracing::warn!(%error, "no certificate to serve gateways with");
                tokio::time::sleep(CERTIFICATES_AGAIN).await;
            }
        }
    }
}
