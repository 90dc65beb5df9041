//! Clusters for connections that carry bytes instead of HTTP.

use super::{
    ConnectError, EndpointRef, Guard, NoHealthyEndpoint, Outcome, ProxiedAddresses, UpstreamIo,
    breaker,
    connect::{Dial, Speak},
    state::Cluster,
};
use gwanmun_ir::{Discovery, HashKey};
use smallvec::SmallVec;
use std::net::{IpAddr, SocketAddr};

/// A connection that wants an endpoint.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TcpRequest {
    /// The ends of the client's connection: for PROXY protocol headers and hashing.
    pub(crate) addresses: ProxiedAddresses,
    /// How often to try, on other endpoints where there are any; 0 counts as 1.
    pub(crate) attempts: u32,
}

/// An open connection to an endpoint: TLS finished and PROXY header sent, where the cluster wants
/// them.
#[derive(Debug)]
pub(crate) struct TcpUpstream {
    /// The stream.
    pub(crate) io: UpstreamIo,
    /// Our end's address.
    pub(crate) local: Option<SocketAddr>,
    /// The endpoint; counts as busy until dropped.
    pub(crate) endpoint: EndpointRef,
    /// Counts the connection against the circuit breaker; keep it as long as the stream.
    pub(crate) guard: Guard,
}

/// Why there is no connection.
#[derive(Debug)]
pub(crate) struct TcpError {
    /// The reason, of the last try.
    pub(crate) reason: TcpFailure,
    /// The endpoint that was tried last.
    pub(crate) endpoint: Option<EndpointRef>,
}

/// Kinds of [`TcpError`].
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub(crate) enum TcpFailure {
    /// `UH`, or `UF,URX` when an earlier try failed: no endpoint may be chosen.
    #[error(transparent)]
    NoHealthy(#[from] NoHealthyEndpoint),
    /// `UF,URX`: the tries came to nothing; or `UO`, see [`ConnectError::failure`], which is not
    /// tried again.
    #[error(transparent)]
    Connect(#[from] ConnectError),
}

impl Cluster {
    /// Chooses an endpoint and connects to it, again on others as often as `request` allows.
    /// Tells outlier detection how each try ended; what becomes of the connection later is for the
    /// caller to [`Cluster::report`].
    ///
    /// Waits for the first answer of a cluster of names. Each try takes at most the cluster's
    /// connect timeout.
    ///
    /// # Errors
    ///
    /// [`TcpError`]; TLS that cannot be spoken fails, it never falls back to plaintext.
    pub(crate) async fn connect_tcp(&self, request: &TcpRequest) -> Result<TcpUpstream, TcpError> {
        let mut tried: SmallVec<[SocketAddr; 4]> = SmallVec::new();
        let mut last: Option<TcpError> = None;
        let key = match &self.config.hash {
            Some(HashKey::SourceIp) => Some(source_key(request.addresses.client.ip())),
            // Bytes have nothing else.
            Some(HashKey::Cookie(_) | HashKey::Header(_) | HashKey::Query(_)) | None => None,
        };
        for _ in 0..request.attempts.max(1) {
            let endpoint = match self.pick_warmed(&tried, key.as_deref()).await {
                Ok(endpoint) => endpoint,
                Err(none) => {
                    return Err(last.unwrap_or(TcpError {
                        reason: none.into(),
                        endpoint: None,
                    }));
                }
            };
            let guard = match self.admit_tcp(&endpoint) {
                Ok(guard) => guard,
                Err(full) => {
                    return Err(TcpError {
                        reason: full.into(),
                        endpoint: Some(endpoint),
                    });
                }
            };
            let dial = Dial {
                endpoint: &endpoint,
                host: self.only_name(),
                speak: Speak::Bytes,
                addresses: Some(&request.addresses),
            };
            match self.dial(&dial).await {
                Ok(io) => {
                    self.state.stats.cx_total.inc();
                    self.report(&endpoint, Outcome::Connected);
                    return Ok(TcpUpstream {
                        local: io.local_addr(),
                        io,
                        endpoint,
                        guard,
                    });
                }
                Err(error) => {
                    self.report(&endpoint, Outcome::Failed);
                    tried.push(endpoint.address);
                    last = Some(TcpError {
                        reason: error.into(),
                        endpoint: Some(endpoint),
                    });
                }
            }
        }
        Err(last.unwrap_or(TcpError {
            reason: NoHealthyEndpoint.into(),
            endpoint: None,
        }))
    }

    /// Unlike connections for HTTP, where a worker without any gets one above the limit: nobody
    /// waits for the end of another's bytes.
    fn admit_tcp(&self, endpoint: &EndpointRef) -> Result<Guard, ConnectError> {
        breaker::admit_connection_strictly(&self.state, &self.config.limits, &endpoint.state)
            .inspect_err(|_overflow| self.state.stats.cx_overflow.inc())
            .map_err(ConnectError::from)
    }

    /// The name that a cluster resolves, if it is only one: what TLS asks for where it would ask
    /// for a request's host. The client's server name is nothing that an endpoint has to know.
    fn only_name(&self) -> Option<&str> {
        match &self.config.discovery {
            Discovery::Dns { hosts, .. } => match hosts.as_slice() {
                [only] => Some(&only.host),
                _ => None,
            },
            Discovery::Endpoints => None,
        }
    }

    async fn pick_warmed(
        &self,
        tried: &[SocketAddr],
        key: Option<&[u8]>,
    ) -> Result<EndpointRef, NoHealthyEndpoint> {
        match self.pick_by(tried, key) {
            Err(none) if !self.warmed().await => Err(none),
            Err(_none) => self.pick_by(tried, key),
            found => found,
        }
    }
}

/// What consistent hashing makes of a client's address.
pub(crate) fn source_key(address: IpAddr) -> Box<[u8]> {
    match address.to_canonical() {
        IpAddr::V4(v4) => Box::new(v4.octets()),
        IpAddr::V6(v6) => Box::new(v6.octets()),
    }
}

#[cfg(test)]
mod tests;
