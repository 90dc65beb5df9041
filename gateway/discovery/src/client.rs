//! Keeps a gateway up to date, through any number of broken streams.

use crate::{
    MAX_MESSAGE, codec,
    proto::{FromGateway, configuration_client::ConfigurationClient, from_gateway::Kind},
    session::{ProtocolError, Session},
    tls,
};
use gwanmun_ir::{Delta, Report};
use hyper_util::rt::TokioIo;
use std::{collections::BTreeMap, io, path::PathBuf, sync::Arc, time::Duration};
use thiserror::Error;
use tokio::{sync::mpsc, time::Instant};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{
    Request, Status,
    metadata::{MetadataValue, errors::InvalidMetadataValue},
    transport::{Channel, Endpoint},
};
use tower::service_fn;

/// First and longest pause between two attempts to reach the controller.
const PAUSES: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(5));
/// A stream that lived so long was a good one: pauses start over.
const GOOD: Duration = Duration::from_secs(30);
/// How often a silent connection is asked whether it is alive, and how long it may take.
const KEEPALIVE: (Duration, Duration) = (Duration::from_secs(10), Duration::from_secs(5));

/// Where the controller is, and who we are.
#[derive(Clone, Debug)]
pub struct Controller {
    /// `host:port`.
    pub address: String,
    /// Name its certificate must have.
    pub server_name: String,
    /// PEM file with the authorities that may vouch for it; read for each connection.
    pub authorities: PathBuf,
    /// File with our bearer token; read for each connection.
    pub token: PathBuf,
    /// `namespace/name` of our gateway.
    pub gateway: String,
    /// Our name among its processes.
    pub instance: String,
}

/// The gateway that is kept up to date.
pub trait Handler: Send + Sync + 'static {
    /// Applies a delta; may block for as long as that takes.
    fn apply(&self, delta: Delta) -> Report;

    /// Whether the controller can be reached, and why not: called when that changes.
    fn reachable(&self, state: Result<(), String>);
}

/// Why a stream ended.
#[derive(Debug, Error)]
enum Ended {
    #[error("cannot read {path}: {error}")]
    File { path: PathBuf, error: io::Error },
    #[error("the token is not usable: {0}")]
    Token(#[from] InvalidMetadataValue),
    #[error("cannot connect: {0}")]
    Connect(#[from] tonic::transport::Error),
    #[error("the controller refuses or went away: {}", .0.message())]
    Status(#[from] Box<Status>),
    #[error("the controller does not keep to the protocol: {0}")]
    Protocol(#[from] ProtocolError),
    #[error("the report cannot be encoded: {0}")]
    Encode(#[from] serde_json::Error),
    #[error("applying panicked")]
    Apply(#[from] tokio::task::JoinError),
    #[error("the controller ended the stream")]
    Over,
}

/// Follows the controller until it is dropped.
///
/// `held` is what the gateway has applied already, see [`Cached`](crate::Cached); what comes out of
/// `reports` is sent on: changes without an update, e.g. a port that could be bound at last.
pub async fn follow(
    controller: &Controller,
    handler: Arc<dyn Handler>,
    held: BTreeMap<String, String>,
    mut reports: mpsc::Receiver<Report>,
) {
    let mut session = Session::holding(held);
    let mut pause = PAUSES.0;
    loop {
        let start = Instant::now();
        let ended = stream(controller, &handler, &mut session, &mut reports).await;
        let Err(ended) = ended;
        tracing::warn!(address = controller.address, reason = %ended, "no configuration stream");
        handler.reachable(Err(ended.to_string()));
        if start.elapsed() >= GOOD {
            pause = PAUSES.0;
        }
        tokio::time::sleep(pause.mul_f64(0.5 + fastrand::f64() / 2.0)).await;
        pause = (pause * 2).min(PAUSES.1);
    }
}

async fn stream(
    controller: &Controller,
    handler: &Arc<dyn Handler>,
    session: &mut Session,
    reports: &mut mpsc::Receiver<Report>,
) -> Result<std::convert::Infallible, Ended> {
    let channel = connect(controller).await?;
    let token = read(&controller.token).await?;
    let token = String::from_utf8_lossy(&token);
    let mut authorization: MetadataValue<_> = format!("Bearer {}", token.trim()).parse()?;
    authorization.set_sensitive(true);

    let (sender, outgoing) = mpsc::channel(4);
    let hello = session.hello(&controller.gateway, &controller.instance);
    send(&sender, Kind::Hello(hello)).await?;
    let mut request = Request::new(ReceiverStream::new(outgoing));
    request
        .metadata_mut()
        .insert("authorization", authorization);
    let response = ConfigurationClient::new(channel)
        .max_decoding_message_size(MAX_MESSAGE)
        .max_encoding_message_size(MAX_MESSAGE)
        .stream(request)
        .await
        .map_err(Box::new)?;
    let mut incoming = response.into_inner();
    tracing::info!(address = controller.address, "following the controller");
    handler.reachable(Ok(()));
    let mut last = 0;
    loop {
        let message = tokio::select! {
            message = incoming.message() => message.map_err(Box::new)?,
            Some(report) = reports.recv() => {
                send(&sender, Kind::Report(codec::encode_report(last, &report)?)).await?;
                continue;
            }
        };
        let Some(mut update) = session.receive(message.ok_or(Ended::Over)?)? else {
            continue;
        };
        last = update.number;
        let delta = std::mem::take(&mut update.delta);
        let applying = Arc::clone(handler);
        let report = tokio::task::spawn_blocking(move || applying.apply(delta)).await?;
        let report = session.applied(update, report);
        send(&sender, Kind::Report(codec::encode_report(last, &report)?)).await?;
    }
}

async fn send(sender: &mpsc::Sender<FromGateway>, kind: Kind) -> Result<(), Ended> {
    let message = FromGateway { kind: Some(kind) };
    sender.send(message).await.or(Err(Ended::Over))
}

async fn read(path: &PathBuf) -> Result<Vec<u8>, Ended> {
    tokio::fs::read(path).await.map_err(|error| Ended::File {
        path: path.clone(),
        error,
    })
}

async fn connect(controller: &Controller) -> Result<Channel, Ended> {
    let authorities = Arc::new(read(&controller.authorities).await?);
    let (address, name) = (controller.address.clone(), controller.server_name.clone());
    let connector = service_fn(move |_: tonic::transport::Uri| {
        let (address, name) = (address.clone(), name.clone());
        let authorities = Arc::clone(&authorities);
        async move {
            let stream = tls::connect(&address, &name, &authorities).await?;
            Ok::<_, io::Error>(TokioIo::new(stream))
        }
    });
    // The scheme is for the library only: the connector speaks TLS itself.
    let endpoint = Endpoint::from_static("http://controller")
        .http2_keep_alive_interval(KEEPALIVE.0)
        .keep_alive_timeout(KEEPALIVE.1)
        .keep_alive_while_idle(true);
    Ok(endpoint.connect_with_connector(connector).await?)
}
