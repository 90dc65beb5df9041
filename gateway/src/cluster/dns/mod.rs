//! Names of endpoints, resolved again and again.
//!
//! Each name is asked for by one task, however many clusters use it. What an answer or a failure
//! means is decided by [`refresh`], which knows neither sockets nor clocks.

mod hosts;
mod refresh;
#[cfg(test)]
mod tests;

use hickory_resolver::{
    Hosts, TokioResolver,
    config::{ConnectionConfig, NameServerConfig, ResolverConfig, ResolverOpts},
    lookup::Lookup,
    net::{DnsError, NetError, runtime::TokioRuntimeProvider},
    proto::rr::{RData, RecordType},
};
use parking_lot::Mutex;
use refresh::{Answer, Refresh};
use std::{
    collections::HashMap,
    io,
    net::{IpAddr, SocketAddr},
    sync::{Arc, Weak},
    time::{Duration, Instant},
};
use tokio::sync::{Semaphore, watch};

/// Longest wait for one try of one query.
const TIMEOUT: Duration = Duration::from_secs(2);

/// How much longer the answer about IPv6 addresses may take than the one about IPv4 ones.
const GRACE: Duration = Duration::from_millis(50);

/// Questions at once: a start with thousands of names must not flood the server.
const QUESTIONS: usize = 16;

/// Resolves names for all clusters.
pub(super) struct Dns {
    resolver: TokioResolver,
    control: tokio::runtime::Handle,
    names: Arc<Names>,
    room: Arc<Semaphore>,
    hosts: watch::Receiver<Arc<Hosts>>,
}

/// The names that somebody watches.
type Names = Mutex<HashMap<Arc<str>, Weak<Name>>>;

/// What is known about a name.
#[derive(Clone, Debug, Default)]
pub(super) struct Resolution {
    /// The addresses; nothing until the first answer or failure.
    pub(super) addresses: Option<Arc<[IpAddr]>>,
    /// IPv6 addresses besides IPv4 ones: where to connect when those do not answer at once.
    pub(super) others: Arc<[IpAddr]>,
    /// Answers so far.
    pub(super) answers: u64,
    /// Questions without an answer so far.
    pub(super) failures: u64,
}

/// A name that is being resolved as long as somebody holds this.
pub(super) struct Name {
    /// What is known, told again after each question.
    pub(super) resolution: watch::Receiver<Resolution>,
    task: tokio::task::AbortHandle,
    name: Arc<str>,
    names: Weak<Names>,
}

impl Drop for Name {
    fn drop(&mut self) {
        self.task.abort();
        let Some(names) = self.names.upgrade() else {
            return;
        };
        let mut names = names.lock();
        // Somebody may have started anew in the meantime.
        if names
            .get(&self.name)
            .is_some_and(|name| name.strong_count() == 0)
        {
            names.remove(&self.name);
        }
    }
}

impl Dns {
    /// Resolves with `server`, or as the system is configured.
    ///
    /// A system without usable DNS configuration resolves only what its hosts file says.
    ///
    /// # Errors
    ///
    /// When the resolver cannot be set up.
    pub(super) fn new(
        server: Option<SocketAddr>,
        control: tokio::runtime::Handle,
    ) -> io::Result<Arc<Self>> {
        let (config, options) = match server {
            Some(server) => (only(server), ResolverOpts::default()),
            None => system(),
        };
        let mut builder =
            TokioResolver::builder_with_config(config, TokioRuntimeProvider::default())
                .with_options(options);
        let options = builder.options_mut();
        options.cache_size = 0;
        options.timeout = options.timeout.min(TIMEOUT);
        options.edns0 = true;
        Ok(Arc::new(Self {
            resolver: builder.build().map_err(io::Error::other)?,
            hosts: hosts::follow(&control, hosts::PATH.into()),
            control,
            names: Arc::default(),
            room: Arc::new(Semaphore::new(QUESTIONS)),
        }))
    }

    /// Starts resolving `name`, or joins those who do.
    pub(super) fn watch(self: &Arc<Self>, name: &str) -> Arc<Name> {
        let mut names = self.names.lock();
        if let Some(known) = names.get(name).and_then(Weak::upgrade) {
            return known;
        }
        let (sender, receiver) = watch::channel(Resolution::default());
        let text: Arc<str> = name.into();
        let task = self
            .control
            .spawn(keep_resolving(
                self.resolver.clone(),
                Arc::clone(&self.room),
                Arc::clone(&text),
                (self.hosts.clone(), sender),
            ))
            .abort_handle();
        let started = Arc::new(Name {
            resolution: receiver,
            task,
            name: Arc::clone(&text),
            names: Arc::downgrade(&self.names),
        });
        names.insert(text, Arc::downgrade(&started));
        started
    }
}

/// Asks only this server, on its port.
fn only(server: SocketAddr) -> ResolverConfig {
    let mut udp = ConnectionConfig::udp();
    udp.port = server.port();
    let mut tcp = ConnectionConfig::tcp();
    tcp.port = server.port();
    let server = NameServerConfig::new(server.ip(), true, vec![udp, tcp]);
    ResolverConfig::from_parts(None, Vec::new(), vec![server])
}

fn system() -> (ResolverConfig, ResolverOpts) {
    hickory_resolver::system_conf::read_system_conf().unwrap_or_else(|error| {
        tracing::warn!(%error, "no DNS configuration: only the hosts file is used");
        let none = ResolverConfig::from_parts(None, Vec::new(), Vec::new());
        (none, ResolverOpts::default())
    })
}

/// Whether there was no answer. That is logged when it was otherwise before.
fn has_failed(name: &str, answer: &Answer, before: bool) -> bool {
    match answer {
        Answer::Failed(reason) => {
            if !before {
                tracing::warn!(name, reason, "cannot resolve, the last answer stays in use");
            }
            true
        }
        Answer::Found { .. } | Answer::NotFound => {
            if before {
                tracing::info!(name, "resolves again");
            }
            false
        }
    }
}

async fn keep_resolving(
    mut resolver: TokioResolver,
    room: Arc<Semaphore>,
    name: Arc<str>,
    (mut hosts, sender): (watch::Receiver<Arc<Hosts>>, watch::Sender<Resolution>),
) {
    let mut refresh = Refresh::default();
    let mut failing = false;
    loop {
        let answer = {
            let _permit = room.acquire().await;
            resolver.set_hosts(Arc::clone(&hosts.borrow_and_update()));
            lookup(&resolver, &name).await
        };
        let failed = has_failed(&name, &answer, failing);
        failing = failed;
        let others = match &answer {
            Answer::Found { others, .. } => Some(others.clone()),
            Answer::NotFound | Answer::Failed(_) => None,
        };
        let next = refresh.next(answer);
        sender.send_modify(|now| {
            now.failures += u64::from(failed);
            now.answers += u64::from(!failed);
            if let Some(addresses) = next.addresses
                && now.addresses.as_deref() != Some(addresses.as_slice())
            {
                now.addresses = Some(addresses.into());
            }
            if let Some(others) = others {
                now.others = others.into();
            }
        });
        // Spread, so that names that were added together do not ask together for ever.
        let early = next.wait.mul_f64(fastrand::f64() * 0.1);
        // The hosts file may say something else before that.
        let wait = next.wait.saturating_sub(early);
        let _ = tokio::time::timeout(wait, hosts.changed()).await;
    }
}

/// Asks for addresses of both families. Where there are IPv4 ones they are used, as Istio does,
/// because half of a dual-stack name is often unreachable; the IPv6 ones stand by.
async fn lookup(resolver: &TokioResolver, name: &str) -> Answer {
    // The search path is for short names only.
    let full;
    let name = if name.contains('.') && !name.ends_with('.') {
        full = format!("{name}.");
        full.as_str()
    } else {
        name
    };
    let mut v6 = std::pin::pin!(resolver.lookup(name, RecordType::AAAA));
    let mut early = None;
    let v4 = {
        let mut v4 = std::pin::pin!(resolver.lookup(name, RecordType::A));
        loop {
            tokio::select! {
                answer = &mut v4 => break addresses(answer),
                answer = &mut v6, if early.is_none() => early = Some(addresses(answer)),
            }
        }
    };
    match v4 {
        Answer::NotFound => match early {
            Some(answer) => answer,
            None => addresses(v6.await),
        },
        Answer::Found {
            addresses: found,
            ttl,
            ..
        } => {
            let v6 = match early {
                Some(answer) => Some(answer),
                None => tokio::time::timeout(GRACE, v6).await.ok().map(addresses),
            };
            let others = match v6 {
                Some(Answer::Found { addresses, .. }) => addresses,
                Some(Answer::NotFound | Answer::Failed(_)) | None => Vec::new(),
            };
            Answer::Found {
                addresses: found,
                others,
                ttl,
            }
        }
        failed @ Answer::Failed(_) => failed,
    }
}

fn addresses(result: Result<Lookup, NetError>) -> Answer {
    let lookup = match result {
        Ok(lookup) => lookup,
        Err(error) => return failure(&error),
    };
    let mut addresses = Vec::new();
    for record in lookup.answers() {
        if let Some(address) = address(&record.data)
            && !addresses.contains(&address)
        {
            addresses.push(address);
        }
    }
    if addresses.is_empty() {
        return Answer::NotFound;
    }
    Answer::Found {
        addresses,
        others: Vec::new(),
        ttl: lookup
            .valid_until()
            .saturating_duration_since(Instant::now()),
    }
}

#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "only two of all record types are addresses"
)]
fn address(data: &RData) -> Option<IpAddr> {
    match data {
        RData::A(address) => Some(address.0.into()),
        RData::AAAA(address) => Some(address.0.into()),
        _ => None,
    }
}

/// A name that does not exist is an answer; everything else is a failure to get one.
fn failure(error: &NetError) -> Answer {
    use hickory_resolver::proto::op::ResponseCode;
    if let NetError::Dns(DnsError::NoRecordsFound(none)) = error
        && matches!(
            none.response_code,
            ResponseCode::NXDomain | ResponseCode::NoError
        )
    {
        return Answer::NotFound;
    }
    Answer::Failed(error.to_string())
}
