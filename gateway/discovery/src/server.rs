//! Serves gateways: checks who asks, then sends what they lack, one update at a time.

use crate::{
    Distribution, Identity, MAX_MESSAGE, SCHEMA,
    codec::{self, Encoded},
    distribution::{Changes, Configuration},
    proto::{
        self, FromController, FromGateway,
        configuration_server::{Configuration as Rpc, ConfigurationServer},
        from_gateway::Kind,
    },
    tls,
};
use futures_util::{StreamExt, future::BoxFuture, stream::BoxStream};
use gwanmun_ir::Report;
use std::{fmt, future::Future, sync::Arc, time::Duration};
use thiserror::Error;
use tokio::{net::TcpListener, sync::mpsc};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming, transport::Server};

/// Longest time a caller may take for its first message.
const GREETING: Duration = Duration::from_secs(10);
/// How often a silent connection is asked whether it is alive, and how long it may take.
const KEEPALIVE: (Duration, Duration) = (Duration::from_secs(20), Duration::from_secs(10));
/// Size of a part of an update, in bytes of bodies.
const PART: usize = 1 << 20;
/// Parts on their way to one gateway.
const AHEAD: usize = 4;

/// Who asks for which gateway's configuration.
pub struct Caller {
    /// The bearer token presented.
    pub token: String,
    /// `namespace/name` of the gateway.
    pub gateway: String,
    /// Name of the process.
    pub instance: String,
}

impl fmt::Debug for Caller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Caller")
            .field("gateway", &self.gateway)
            .field("instance", &self.instance)
            .finish_non_exhaustive()
    }
}

/// Why a caller gets nothing.
#[derive(Debug, Error)]
pub enum Refusal {
    /// The token is not valid.
    #[error("{0}")]
    Unauthenticated(String),
    /// The caller may not see this gateway's configuration.
    #[error("{0}")]
    Forbidden(String),
    /// It cannot be decided now.
    #[error("{0}")]
    Unavailable(String),
}

impl From<Refusal> for Status {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Unauthenticated(message) => Self::unauthenticated(message),
            Refusal::Forbidden(message) => Self::permission_denied(message),
            Refusal::Unavailable(message) => Self::unavailable(message),
        }
    }
}

/// Decides who may see which gateway's configuration, Secrets included.
pub trait Admission: Send + Sync + 'static {
    /// Checks a caller.
    ///
    /// # Errors
    ///
    /// [`Refusal`] ends the stream.
    fn admit<'a>(&'a self, caller: &'a Caller) -> BoxFuture<'a, Result<(), Refusal>>;
}

/// What happens on streams.
#[derive(Debug)]
pub enum Event {
    /// A process was admitted.
    Connected {
        /// `namespace/name`.
        gateway: String,
        /// Name of the process.
        instance: String,
    },
    /// A process said what it made of its configuration.
    Reported {
        /// `namespace/name`.
        gateway: String,
        /// Name of the process.
        instance: String,
        /// What it said.
        report: Report,
    },
    /// A process went away.
    Disconnected {
        /// `namespace/name`.
        gateway: String,
        /// Name of the process.
        instance: String,
    },
}

/// Serves gateways on `listener` until `shutdown`.
///
/// # Errors
///
/// When the server itself fails; what happens on one connection does not end it.
pub async fn serve(
    listener: TcpListener,
    identity: Identity,
    distribution: Distribution,
    admission: Arc<dyn Admission>,
    events: mpsc::UnboundedSender<Event>,
    shutdown: impl Future<Output = ()>,
) -> Result<(), tonic::transport::Error> {
    let (sender, accepted) = mpsc::channel(AHEAD);
    let accepting = tokio::spawn(tls::accept(listener, identity, sender));
    let service = ConfigurationServer::new(Service {
        distribution,
        admission,
        events,
    })
    .max_decoding_message_size(MAX_MESSAGE)
    .max_encoding_message_size(MAX_MESSAGE);
    let served = Server::builder()
        .http2_keepalive_interval(Some(KEEPALIVE.0))
        .http2_keepalive_timeout(Some(KEEPALIVE.1))
        .add_service(service)
        .serve_with_incoming_shutdown(ReceiverStream::new(accepted), shutdown)
        .await;
    accepting.abort();
    served
}

struct Service {
    distribution: Distribution,
    admission: Arc<dyn Admission>,
    events: mpsc::UnboundedSender<Event>,
}

#[tonic::async_trait]
impl Rpc for Service {
    type StreamStream = BoxStream<'static, Result<FromController, Status>>;

    async fn stream(
        &self,
        request: Request<Streaming<FromGateway>>,
    ) -> Result<Response<Self::StreamStream>, Status> {
        let token = bearer(&request)?;
        let mut incoming = request.into_inner();
        let hello = tokio::time::timeout(GREETING, greeting(&mut incoming))
            .await
            .or(Err(Status::deadline_exceeded("no greeting")))??;
        if hello.schema < SCHEMA {
            return Err(Status::failed_precondition(format!(
                "the gateway understands schema {}, this controller writes {SCHEMA}",
                hello.schema
            )));
        }
        let caller = Caller {
            token,
            gateway: hello.gateway.clone(),
            instance: hello.instance.clone(),
        };
        self.admission.admit(&caller).await?;
        let (sender, outgoing) = mpsc::channel(AHEAD);
        let presence = Presence::announce(&self.events, caller);
        let distribution = self.distribution.clone();
        tokio::spawn(async move {
            let delivery = Delivery {
                incoming,
                outgoing: sender.clone(),
                presence,
                number: 0,
            };
            if let Err(status) = delivery.run(&distribution, &hello).await {
                let _ = sender.send(Err(status)).await;
            }
        });
        Ok(Response::new(ReceiverStream::new(outgoing).boxed()))
    }
}

fn bearer(request: &Request<Streaming<FromGateway>>) -> Result<String, Status> {
    let value = request.metadata().get("authorization");
    let text = value.and_then(|value| value.to_str().ok());
    let token = text.and_then(|text| text.strip_prefix("Bearer "));
    token
        .map(str::to_owned)
        .ok_or_else(|| Status::unauthenticated("no bearer token"))
}

async fn greeting(incoming: &mut Streaming<FromGateway>) -> Result<proto::Hello, Status> {
    match incoming.message().await?.and_then(|message| message.kind) {
        Some(Kind::Hello(hello)) => Ok(hello),
        Some(Kind::Report(_)) | None => Err(Status::invalid_argument("expected a greeting")),
    }
}

/// Says that a process is there, and when it is dropped that it is not.
struct Presence {
    events: mpsc::UnboundedSender<Event>,
    gateway: String,
    instance: String,
}

impl Presence {
    fn announce(events: &mpsc::UnboundedSender<Event>, caller: Caller) -> Self {
        // Nobody listens any more only when the controller ends.
        let _ = events.send(Event::Connected {
            gateway: caller.gateway.clone(),
            instance: caller.instance.clone(),
        });
        Self {
            events: events.clone(),
            gateway: caller.gateway,
            instance: caller.instance,
        }
    }

    fn reported(&self, report: Report) {
        let _ = self.events.send(Event::Reported {
            gateway: self.gateway.clone(),
            instance: self.instance.clone(),
            report,
        });
    }
}

impl Drop for Presence {
    fn drop(&mut self) {
        let _ = self.events.send(Event::Disconnected {
            gateway: std::mem::take(&mut self.gateway),
            instance: std::mem::take(&mut self.instance),
        });
    }
}

/// One stream.
struct Delivery {
    incoming: Streaming<FromGateway>,
    outgoing: mpsc::Sender<Result<FromController, Status>>,
    presence: Presence,
    number: u64,
}

impl Delivery {
    /// Sends updates until the gateway goes away or is no more.
    async fn run(
        mut self,
        distribution: &Distribution,
        hello: &proto::Hello,
    ) -> Result<(), Status> {
        let Some(configuration) = self.known(distribution, &hello.gateway).await? else {
            return Ok(());
        };
        let mut generations = configuration.watch();
        let mut retirement = configuration.retirement();
        generations.mark_unchanged();
        // The first update is sent even if it is empty: the gateway then knows it is complete.
        let mut changes = configuration.missing(&hello.held);
        loop {
            let generation = changes.generation;
            if !self.update(changes).await? {
                return Ok(());
            }
            changes = loop {
                if let Some(changes) = self.next(&configuration, generation)? {
                    break changes;
                }
                tokio::select! {
                    changed = generations.changed() => if changed.is_err() { return Ok(()) },
                    _ = retirement.wait_for(|retired| *retired) => {
                        return Err(Status::not_found("this gateway is no more"));
                    }
                    message = self.incoming.message() => match message? {
                        Some(message) => { self.take(message)?; }
                        None => return Ok(()),
                    },
                }
            };
        }
    }

    /// The configuration of a gateway that may have to be waited for. Nothing when the caller went
    /// away meanwhile.
    async fn known(
        &mut self,
        distribution: &Distribution,
        gateway: &str,
    ) -> Result<Option<Arc<Configuration>>, Status> {
        let known = distribution.configuration(gateway);
        tokio::pin!(known);
        loop {
            tokio::select! {
                biased;
                configuration = &mut known => return Ok(configuration),
                message = self.incoming.message() => match message? {
                    Some(message) => { self.take(message)?; }
                    None => return Ok(None),
                },
            }
        }
    }

    fn next(
        &self,
        configuration: &Configuration,
        generation: u64,
    ) -> Result<Option<Changes>, Status> {
        let changes = configuration
            .since(generation)
            .ok_or_else(|| Status::aborted("too far behind; greet again"))?;
        Ok((!changes.is_empty()).then_some(changes))
    }

    /// Sends one update and waits for its report. Whether the gateway is still there.
    async fn update(&mut self, changes: Changes) -> Result<bool, Status> {
        self.number += 1;
        for part in parts(self.number, changes) {
            if self.outgoing.send(Ok(part)).await.is_err() {
                return Ok(false);
            }
        }
        while let Some(message) = self.incoming.message().await? {
            if self.take(message)? == self.number {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Takes a report. The number of the update it is about.
    fn take(&self, message: FromGateway) -> Result<u64, Status> {
        let Some(Kind::Report(report)) = message.kind else {
            return Err(Status::invalid_argument("expected a report"));
        };
        let decoded = codec::decode_report(&report)
            .map_err(|error| Status::invalid_argument(format!("the report: {error}")))?;
        self.presence.reported(decoded);
        Ok(report.update)
    }
}

/// An update in messages of bounded size; at least one.
fn parts(update: u64, changes: Changes) -> Vec<FromController> {
    let empty = || FromController {
        update,
        upserts: Vec::new(),
        removed: Vec::new(),
        last: false,
    };
    let mut parts = vec![empty()];
    let mut size = 0;
    let mut room = |parts: &mut Vec<FromController>, more: usize| {
        if size > 0 && size + more > PART {
            parts.push(empty());
            size = 0;
        }
        size += more;
    };
    for key in changes.removed {
        room(&mut parts, key.len());
        if let Some(part) = parts.last_mut() {
            part.removed.push(key);
        }
    }
    for (key, Encoded { version, body }) in changes.upserts {
        room(&mut parts, key.len() + body.len());
        if let Some(part) = parts.last_mut() {
            let version = version.to_string();
            part.upserts.push(proto::Resource { key, version, body });
        }
    }
    if let Some(part) = parts.last_mut() {
        part.last = true;
    }
    parts
}
