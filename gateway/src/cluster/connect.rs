//! Connecting to an endpoint, and why it failed in Envoy's words.

use super::{
    Endpoint, Guard, ProxiedAddresses, UpstreamIo,
    breaker::{self, Overflow},
    openssl, proxy_header, socket,
    state::Cluster,
    tls::Handshake,
};
use std::{borrow::Cow, io, net::SocketAddr};
use tokio::io::AsyncWriteExt;

/// What is spoken on a connection.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(crate) enum Protocol {
    /// HTTP/1.1.
    Http1,
    /// HTTP/2.
    Http2,
}

/// A connection that is to be opened.
#[derive(Clone, Copy, Debug)]
pub(super) struct Dial<'a> {
    /// Where to.
    pub(super) endpoint: &'a Endpoint,
    /// The server name where the cluster takes it from the request; nothing where the request has
    /// none.
    pub(super) host: Option<&'a str>,
    /// What is going to be spoken.
    pub(super) speak: Speak,
    /// On whose behalf, for the PROXY protocol.
    pub(super) addresses: Option<&'a ProxiedAddresses>,
}

/// What is going to be spoken on a connection.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Speak {
    /// Bytes of an unknown protocol: nothing is negotiated.
    Bytes,
    /// HTTP/2 if the endpoint knows it, else HTTP/1.1.
    Either,
    /// HTTP/1.1.
    Http1,
    /// HTTP/2.
    Http2,
}

/// An open connection to an endpoint.
#[derive(Debug)]
pub(crate) struct Connection {
    /// The stream, TLS finished.
    pub(crate) io: UpstreamIo,
    /// Our end's address.
    pub(crate) local: Option<SocketAddr>,
    /// What to speak: HTTP/1.1 where an endpoint did not choose the HTTP/2 that a client speaks.
    pub(crate) protocol: Protocol,
    /// Counts the connection against the circuit breaker; keep it as long as the stream.
    pub(crate) guard: Guard,
}

/// Why there is no connection.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{failure:?}: {transport}")]
pub(crate) struct ConnectError {
    /// The kind of failure.
    pub(crate) failure: ConnectFailure,
    /// The log's `UPSTREAM_TRANSPORT_FAILURE_REASON`, blanks already replaced; empty means `-`.
    pub(crate) transport: Cow<'static, str>,
}

/// Kinds of [`ConnectError`].
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum ConnectFailure {
    /// Too many connections: `UO`, `overflow`.
    Overflow,
    /// The endpoint refused, could not be reached, or TLS failed: `UF`, `remote connection failure`.
    Remote,
    /// It took longer than the cluster's connect timeout, TLS included: `UF`,
    /// `connection timeout`.
    Timeout,
}

impl ConnectError {
    /// The reset reason in the body of the answer: `remote connection failure`.
    pub(crate) fn reset_reason(&self) -> &'static str {
        match self.failure {
            ConnectFailure::Overflow => "overflow",
            ConnectFailure::Remote => "remote connection failure",
            ConnectFailure::Timeout => "connection timeout",
        }
    }

    /// What stands between the braces of `upstream_reset_before_response_started{…}`:
    /// `remote_connection_failure|delayed_connect_error:_Connection_refused`.
    pub(crate) fn details(&self) -> Cow<'static, str> {
        let reason = match self.failure {
            ConnectFailure::Overflow => "overflow",
            ConnectFailure::Remote => "remote_connection_failure",
            ConnectFailure::Timeout => "connection_timeout",
        };
        if self.transport.is_empty() {
            Cow::Borrowed(reason)
        } else {
            Cow::Owned(format!("{reason}|{}", self.transport))
        }
    }

    pub(super) fn timeout() -> Self {
        Self {
            failure: ConnectFailure::Timeout,
            transport: Cow::Borrowed(""),
        }
    }

    pub(super) fn io(error: &io::Error) -> Self {
        let transport = if error.kind() == io::ErrorKind::ConnectionRefused {
            Cow::Borrowed("delayed_connect_error:_Connection_refused")
        } else {
            Cow::Owned(format!("delayed_connect_error:_{}", underscored(error)))
        };
        Self {
            failure: ConnectFailure::Remote,
            transport,
        }
    }

    /// A certificate, key or trust anchor is missing or unusable, as Envoy says it of one that its
    /// control plane has not sent.
    pub(super) fn no_material() -> Self {
        Self {
            failure: ConnectFailure::Remote,
            transport: Cow::Borrowed("TLS_error:_Secret_is_not_supplied_by_SDS"),
        }
    }

    pub(super) fn tls(reason: &str) -> Self {
        Self {
            failure: ConnectFailure::Remote,
            transport: Cow::Owned(format!(
                "TLS_error:|{}:TLS_error_end",
                reason.replace(char::is_whitespace, "_")
            )),
        }
    }
}

impl From<Overflow> for ConnectError {
    fn from(_: Overflow) -> Self {
        Self {
            failure: ConnectFailure::Overflow,
            transport: Cow::Borrowed(""),
        }
    }
}

/// The system's text for `error` without its number, blanks as `_`.
fn underscored(error: &io::Error) -> String {
    let text = error.to_string();
    let text = text.split(" (os error").next().unwrap_or_default();
    text.replace(char::is_whitespace, "_")
}

impl Cluster {
    /// Opens a connection to `endpoint`, TLS included, within the cluster's connect timeout.
    ///
    /// `host` is the request's host after rewriting, without port: the server name where the
    /// cluster takes it from the request. `protocol` is what the caller would speak
    /// ([`Cluster::protocol_for`]); [`Connection::protocol`] is what it has to. `addresses` are
    /// those of the client's connection, sent where the cluster wants the PROXY protocol: such a
    /// connection serves this client connection only ([`Cluster::proxied`]).
    ///
    /// # Errors
    ///
    /// [`ConnectError`]; a cluster whose TLS material is missing or unusable fails always, it
    /// never falls back to plaintext.
    pub(crate) async fn connect(
        &self,
        endpoint: &Endpoint,
        host: &str,
        protocol: Protocol,
        addresses: Option<&ProxiedAddresses>,
    ) -> Result<Connection, ConnectError> {
        let stats = &self.state.stats;
        let limits = &self.config.limits;
        let guard = breaker::admit_connection(&self.state, limits, &endpoint.state)
            .inspect_err(|_overflow| stats.cx_overflow.inc())?;
        let speak = match protocol {
            Protocol::Http1 => Speak::Http1,
            Protocol::Http2 if self.offers_both() => Speak::Either,
            Protocol::Http2 => Speak::Http2,
        };
        let dial = Dial {
            endpoint,
            host: Some(host),
            speak,
            addresses,
        };
        let io = self.dial(&dial).await?;
        let protocol = if speak == Speak::Either && io.alpn() != Some(b"h2") {
            endpoint.state.choose_http1();
            Protocol::Http1
        } else {
            protocol
        };
        stats.cx_total.inc();
        match protocol {
            Protocol::Http1 => stats.cx_http1_total.inc(),
            Protocol::Http2 => stats.cx_http2_total.inc(),
        }
        Ok(Connection {
            local: io.local_addr(),
            io,
            protocol,
            guard,
        })
    }

    /// Opens a connection, TLS included, within the connect timeout; failures are counted.
    pub(super) async fn dial(&self, dial: &Dial<'_>) -> Result<UpstreamIo, ConnectError> {
        let stats = &self.state.stats;
        match tokio::time::timeout(self.connect_timeout, self.open(dial)).await {
            Ok(Ok(io)) => Ok(io),
            Ok(Err(error)) => {
                stats.cx_connect_fail.inc();
                Err(error)
            }
            Err(_elapsed) => {
                stats.cx_connect_fail.inc();
                stats.cx_connect_timeout.inc();
                Err(ConnectError::timeout())
            }
        }
    }

    async fn open(&self, dial: &Dial<'_>) -> Result<UpstreamIo, ConnectError> {
        let address = dial.endpoint.address;
        let handshake = match &self.tls {
            None => None,
            Some(tls) => Some(tls.handshake(dial.host, dial.speak, address.ip())?),
        };
        let standby = self.state.standby(address);
        let mut stream = socket::connect(address, standby)
            .await
            .map_err(|error| ConnectError::io(&error))?;
        socket::set_up(&stream, self.config.keepalive);
        if let Some(version) = self.config.proxy_protocol {
            let header = proxy_header::encode(version, dial.addresses);
            let sent = stream.write_all(&header).await;
            sent.map_err(|error| ConnectError::io(&error))?;
        }
        match handshake {
            None => Ok(UpstreamIo::Plain(stream)),
            Some(Handshake { connector, name }) => match connector.connect(name, stream).await {
                Ok(stream) => Ok(UpstreamIo::Tls(Box::new(stream))),
                Err(error) => Err(self.handshake_error(&error)),
            },
        }
    }

    fn handshake_error(&self, error: &io::Error) -> ConnectError {
        let inner = error
            .get_ref()
            .and_then(|inner| inner.downcast_ref::<rustls::Error>());
        match inner {
            Some(error) => {
                if matches!(error, rustls::Error::InvalidCertificate(_)) {
                    self.state.stats.ssl_fail_verify_error.inc();
                }
                ConnectError::tls(&openssl::words(error))
            }
            None => ConnectError::tls(&underscored(error)),
        }
    }
}

#[cfg(test)]
mod tests;
