//! What changes about heads on their way through.
//!
//! A request: [`enter`] before it is routed, [`attempt`] before each try. The fields that a route
//! adds come after those. A response: [`respond`], then the route's edits, then [`finish`].

use super::date::http_date;
use super::fields::Fields;
use super::head::{RequestHead, ResponseHead, Scheme, Upgrade, Version};
use super::known::Known;
use super::uuid::uuid4;
use crate::listener::ClientCertificate;
use gwanmun_ir::{Dialect, ForwardClientCert, HttpOptions, ServerHeader};
use std::{net::IpAddr, sync::Arc};

/// The value of `server` where nothing else is configured.
pub(crate) const SERVER: &str = "gwanmun";

/// What requests of one connection have in common.
#[derive(Clone, Debug)]
pub(crate) struct Client {
    text: Box<str>,
    scheme: Scheme,
    certificate: Option<Arc<ClientCertificate>>,
}

impl Client {
    /// A connection from this address, with or without TLS.
    pub(crate) fn new(peer: IpAddr, tls: bool) -> Self {
        Self {
            text: peer.to_canonical().to_string().into(),
            scheme: if tls { Scheme::Https } else { Scheme::Http },
            certificate: None,
        }
    }

    /// The same client with its verified certificate, if it has one.
    pub(crate) fn with_certificate(mut self, certificate: Option<Arc<ClientCertificate>>) -> Self {
        self.certificate = certificate;
        self
    }
}

/// Prepares an admitted request for everything behind the gate: hop-by-hop fields go, the client's
/// address, protocol and a request id are noted, and what only we may say is removed.
///
/// The answer is the client's address as `x-forwarded-for` has it, where proxies in front are
/// trusted and it names one.
pub(crate) fn enter(
    head: &mut RequestHead,
    client: &Client,
    options: &HttpOptions,
) -> Option<IpAddr> {
    let trusted_hops = options.trusted_hops;
    hop_by_hop(head);
    let trusted = trusted_address(head, trusted_hops);
    head.scheme = client.scheme;
    let fields = &mut head.fields;
    // These two keep their place, since they are set below or before each try.
    if fields.has_envoy() {
        fields.remove_where(|known| {
            known.is_envoy()
                && !matches!(
                    known,
                    Known::XEnvoyAttemptCount | Known::XEnvoyExternalAddress
                )
        });
    }
    fields.append_known(Known::XForwardedFor, client.text.as_bytes());
    match fields.get(Known::XForwardedProto) {
        Some(proto) if trusted_hops > 0 => {
            head.scheme = if proto.eq_ignore_ascii_case(b"https") {
                Scheme::Https
            } else {
                Scheme::Http
            };
        }
        Some(_) | None => {
            let proto = client.scheme.as_str().as_bytes();
            fields.set_known(Known::XForwardedProto, &[proto]);
        }
    }
    match trusted {
        Some(address) => {
            let text = address.to_string();
            fields.set_known(Known::XEnvoyExternalAddress, &[text.as_bytes()]);
        }
        None => fields.set_known(Known::XEnvoyExternalAddress, &[client.text.as_bytes()]),
    }
    fields.set_known(Known::XRequestId, &[&uuid4()]);
    client_certificate(fields, client, options.forward_client_cert);
    trusted
}

/// What upstreams learn about the client's certificate; only one that was verified counts.
fn client_certificate(fields: &mut Fields, client: &Client, rule: ForwardClientCert) {
    const FIELD: Known = Known::XForwardedClientCert;
    match (rule, &client.certificate) {
        (ForwardClientCert::AlwaysForwardOnly, _) | (ForwardClientCert::ForwardOnly, Some(_)) => {}
        (ForwardClientCert::SanitizeSet, Some(certificate)) => {
            fields.set_known(FIELD, &[certificate.forwarded().as_bytes()]);
        }
        (ForwardClientCert::AppendForward, Some(certificate)) => {
            fields.append_known(FIELD, certificate.forwarded().as_bytes());
        }
        (ForwardClientCert::Sanitize, _)
        | (
            ForwardClientCert::AppendForward
            | ForwardClientCert::ForwardOnly
            | ForwardClientCert::SanitizeSet,
            None,
        ) => fields.remove_known(FIELD),
    }
}

/// The address that the last trusted proxy saw: the `hops`-th from the right. Nothing where there
/// are fewer, or it is not an address.
fn trusted_address(head: &RequestHead, hops: u32) -> Option<IpAddr> {
    let back = usize::try_from(hops.checked_sub(1)?).ok()?;
    let list = head.fields.joined(Known::XForwardedFor.text())?;
    let entry = list.rsplit(|b| *b == b',').nth(back)?.trim_ascii();
    std::str::from_utf8(entry).ok()?.parse().ok()
}

/// Removes what is about the client's connection alone
/// ([RFC 9110 7.6.1](https://www.rfc-editor.org/rfc/rfc9110#section-7.6.1)).
fn hop_by_hop(head: &mut RequestHead) {
    let upgrade = head.upgrade == Some(Upgrade::WebSocket);
    let fields = &mut head.fields;
    if fields.has(Known::Connection) {
        let names = fields
            .joined(Known::Connection.text())
            .map(|list| list.to_ascii_lowercase())
            .unwrap_or_default();
        for name in names.split(|b| *b == b',').map(<[u8]>::trim_ascii) {
            let known = Known::classify(name);
            if !is_protected(known, name) {
                fields.remove_bytes(known, name);
            }
        }
        if upgrade {
            fields.set_known(Known::Connection, &[b"Upgrade"]);
        } else {
            fields.remove_known(Known::Connection);
        }
    }
    if !upgrade {
        fields.remove_known(Known::Upgrade);
    }
    fields.remove_known(Known::KeepAlive);
    fields.remove_known(Known::ProxyConnection);
    fields.remove_known(Known::Http2Settings);
    if let Some(te) = fields.get(Known::Te) {
        let trailers = te.split(|b| *b == b',').any(|coding| {
            let name = coding.split(|b| *b == b';').next().unwrap_or(coding);
            name.trim_ascii().eq_ignore_ascii_case(b"trailers")
        });
        if trailers {
            fields.set_known(Known::Te, &[b"trailers"]);
        } else {
            fields.remove_known(Known::Te);
        }
    }
}

/// Fields that a client cannot have removed by naming them in `connection`: those that say where
/// the message ends, who sent it, or what it may do.
fn is_protected(known: Known, name: &[u8]) -> bool {
    const NAMES: [&[u8]; 9] = [
        b"cache-control",
        b"content-encoding",
        b"content-range",
        b"forwarded",
        b"max-forwards",
        b"range",
        b"referer",
        b"via",
        b"x-real-ip",
    ];
    const PREFIXES: [&[u8]; 6] = [
        b"sec-",
        b"x-api-",
        b"x-auth",
        b"x-b3-",
        b"x-forwarded-",
        b"x-csrf-",
    ];
    // A name with a number is one that somebody relies on, or removed anyway.
    known != Known::Other
        || NAMES.contains(&name)
        || PREFIXES.iter().any(|prefix| name.starts_with(prefix))
}

/// Prepares a request for its `count`-th try on a route of this dialect, which may take this many
/// milliseconds.
pub(crate) fn attempt(
    head: &mut RequestHead,
    dialect: &Dialect,
    count: u32,
    expected_timeout_ms: Option<u64>,
) {
    let fields = &mut head.fields;
    match dialect {
        Dialect::GatewayApi => {
            fields.remove_known(Known::XEnvoyExternalAddress);
            fields.remove_known(Known::XEnvoyAttemptCount);
        }
        Dialect::Istio { .. } => {
            let mut text = itoa::Buffer::new();
            match expected_timeout_ms {
                Some(ms) => {
                    let ms = text.format(ms).as_bytes();
                    fields.set_known(Known::XEnvoyExpectedTimeout, &[ms]);
                }
                None => fields.remove_known(Known::XEnvoyExpectedTimeout),
            }
            let count = text.format(count).as_bytes();
            fields.set_known(Known::XEnvoyAttemptCount, &[count]);
        }
    }
}

/// What a route's header edits said about retries: it is for us and not for the upstream.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) struct RetryOverride {
    /// `x-envoy-retry-on`
    pub(crate) retry_on: Option<String>,
    /// `x-envoy-max-retries`
    pub(crate) max_retries: Option<u32>,
}

/// Takes `x-envoy-retry-on` and `x-envoy-max-retries` out, which only a route can have added.
pub(crate) fn take_retry_override(head: &mut RequestHead) -> Option<RetryOverride> {
    let fields = &mut head.fields;
    if !fields.has(Known::XEnvoyRetryOn) && !fields.has(Known::XEnvoyMaxRetries) {
        return None;
    }
    let text = |value: Option<&[u8]>| {
        value.and_then(|value| Some(std::str::from_utf8(value).ok()?.trim().to_owned()))
    };
    let taken = RetryOverride {
        retry_on: text(fields.get(Known::XEnvoyRetryOn)),
        max_retries: text(fields.get(Known::XEnvoyMaxRetries)).and_then(|n| n.parse().ok()),
    };
    fields.remove_known(Known::XEnvoyRetryOn);
    fields.remove_known(Known::XEnvoyMaxRetries);
    Some(taken)
}

/// What `server` says on responses of routes of this dialect: this, or what the upstream said.
pub(crate) fn server_of(dialect: &Dialect) -> Option<&str> {
    match dialect {
        Dialect::GatewayApi
        | Dialect::Istio {
            server: ServerHeader::PassThrough,
        } => None,
        Dialect::Istio {
            server: ServerHeader::Overwrite(name),
        } => Some(name),
    }
}

/// Prepares an upstream's response for the client: hop-by-hop fields go, `server` is overwritten
/// in its place, and `x-envoy-upstream-service-time` is set where it is given. Informational
/// responses take the first of these only.
pub(crate) fn respond(
    head: &mut ResponseHead,
    dialect: &Dialect,
    client: Version,
    service_time_ms: Option<u64>,
) {
    let fields = &mut head.fields;
    if head.status == 101 && head.upgrade.is_some() {
        fields.set_known(Known::Connection, &[b"Upgrade"]);
    } else {
        fields.remove_known(Known::Connection);
        fields.remove_known(Known::Upgrade);
    }
    fields.remove_known(Known::KeepAlive);
    fields.remove_known(Known::ProxyConnection);
    if client != Version::Http11 {
        fields.remove_known(Known::TransferEncoding);
    }
    if (100..200).contains(&head.status) && head.status != 101 {
        return;
    }
    if let Some(server) = server_of(dialect)
        && fields.has(Known::Server)
    {
        fields.set_known(Known::Server, &[server.as_bytes()]);
    }
    if let (Dialect::Istio { .. }, Some(ms)) = (dialect, service_time_ms) {
        let mut text = itoa::Buffer::new();
        fields.set_known(Known::XEnvoyServiceTime, &[text.format(ms).as_bytes()]);
    }
}

/// Completes a response after the route's edits: `date` where the upstream sent none, then
/// `server` where it is ours and not there yet. `now` is in seconds since the Unix epoch.
pub(crate) fn finish(head: &mut ResponseHead, dialect: &Dialect, now: u64) {
    let fields = &mut head.fields;
    if !fields.has(Known::Date) {
        fields.set_known(Known::Date, &[&http_date(now)]);
    }
    if let Some(server) = server_of(dialect)
        && !fields.has(Known::Server)
    {
        fields.set_known(Known::Server, &[server.as_bytes()]);
    }
}
