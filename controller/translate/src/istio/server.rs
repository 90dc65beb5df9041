//! One server of an Istio Gateway: what its port, protocol, hosts and TLS mode amount to.
//!
//! A server that demands something a gateway without a mesh cannot do is never served without it:
//! handshakes for its server names fail.

use super::world::Voice;
use crate::Code;
use gwanmun_api::istio::{Server, ServerTlsMode, ServerTlsSettings};
use gwanmun_ir::{BindAddress, Hostname};
use std::net::IpAddr;

/// What a server amounts to.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Plan {
    /// TLS connections of its names fail: it wants something we do not do.
    ClosedTls,
    /// Plaintext HTTP.
    Http,
    /// TLS is terminated, HTTP inside.
    Https,
    /// TLS is not terminated: the server name says where it goes.
    Passthrough,
    /// Bytes without TLS.
    Tcp,
    /// TLS is terminated, bytes inside.
    TlsTcp,
}

impl Plan {
    /// Whether connections speak TLS.
    pub(super) fn is_tls(self) -> bool {
        match self {
            Self::ClosedTls | Self::Https | Self::Passthrough | Self::TlsTcp => true,
            Self::Http | Self::Tcp => false,
        }
    }

    /// Whether the server has a table of HTTP routes, or none at all; otherwise what it forwards
    /// is connections.
    pub(super) fn is_http(self) -> bool {
        match self {
            Self::ClosedTls | Self::Http | Self::Https => true,
            Self::Passthrough | Self::Tcp | Self::TlsTcp => false,
        }
    }
}

/// A host of a server, and whose VirtualServices may attach.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct ServerHost {
    /// Namespace of the VirtualServices; nothing means any.
    pub(super) namespace: Option<String>,
    /// The host.
    pub(super) name: Hostname,
}

/// A server without mistakes that would keep it from being served.
#[derive(Clone, Debug)]
pub(super) struct Checked<'a> {
    /// As it is written.
    pub(super) server: &'a Server,
    /// Its place in the Gateway.
    pub(super) index: usize,
    pub(super) plan: Plan,
    pub(super) hosts: Vec<ServerHost>,
    /// Port as the user wrote it.
    pub(super) port: u16,
    pub(super) port_name: String,
    pub(super) bind: BindAddress,
}

impl Checked<'_> {
    /// Whether every request is redirected to https.
    pub(super) fn redirects(&self) -> bool {
        let tls = self.server.tls.as_ref();
        self.plan == Plan::Http && tls.and_then(|tls| tls.https_redirect) == Some(true)
    }

    /// Its field in the Gateway.
    pub(super) fn field(&self) -> String {
        format!("spec.servers[{}]", self.index)
    }
}

/// Checks server `index` of a Gateway in `namespace`; nothing when it cannot be served at all.
pub(super) fn check<'a>(
    server: &'a Server,
    index: usize,
    namespace: &str,
    voice: &mut Voice<'_, '_>,
) -> Option<Checked<'a>> {
    let field = format!("spec.servers[{index}]");
    let port = port(server, &field, voice)?;
    let plan = plan(server, &field, voice)?;
    let bind = bind(server, &field, voice)?;
    let hosts = hosts(server, namespace, &field, voice);
    if hosts.is_empty() {
        let message = "no usable host, so the server is not served";
        voice.error(Code::SchemaValidation, format!("{field}.hosts"), message);
        return None;
    }
    let port_name = server.port.as_ref().and_then(|port| port.name.clone());
    Some(Checked {
        server,
        index,
        plan,
        hosts,
        port,
        port_name: port_name.unwrap_or_default(),
        bind,
    })
}

fn port(server: &Server, field: &str, voice: &mut Voice<'_, '_>) -> Option<u16> {
    let Some(port) = &server.port else {
        let message = "required, so the server is not served";
        voice.error(Code::SchemaValidation, format!("{field}.port"), message);
        return None;
    };
    if port.target_port.is_some_and(|target| target > 0) {
        let message = "has no effect on a Gateway";
        voice.error(
            Code::SchemaValidation,
            format!("{field}.port.targetPort"),
            message,
        );
    }
    let number = port.number.and_then(|number| u16::try_from(number).ok());
    let number = number.filter(|number| *number > 0);
    if number.is_none() {
        let message = "must be 1 to 65535, so the server is not served";
        voice.error(
            Code::SchemaValidation,
            format!("{field}.port.number"),
            message,
        );
    }
    number
}

fn bind(server: &Server, field: &str, voice: &mut Voice<'_, '_>) -> Option<BindAddress> {
    let text = match server.bind.as_deref() {
        None | Some("" | "0.0.0.0" | "::") => return Some(BindAddress::Any),
        Some(text) => text,
    };
    let field = format!("{field}.bind");
    if text.starts_with("unix://") {
        let message = "unix sockets have no effect yet, so the server is not served";
        voice.error(Code::NoEffectYet, field, message);
        return None;
    }
    let address = text.parse::<IpAddr>().ok();
    if address.is_none() {
        let message = format!("`{text}` is not an IP address, so the server is not served");
        voice.error(Code::SchemaValidation, field, message);
    }
    address.map(BindAddress::Ip)
}

/// `[namespace/]name`, where `.` is the Gateway's own namespace and `*` any.
fn hosts(
    server: &Server,
    namespace: &str,
    field: &str,
    voice: &mut Voice<'_, '_>,
) -> Vec<ServerHost> {
    let mut found: Vec<ServerHost> = Vec::new();
    for (index, text) in server.hosts.iter().enumerate() {
        let (owner, name) = text.split_once('/').unwrap_or(("*", text));
        let owner = match owner {
            "*" => None,
            "." => Some(namespace.to_owned()),
            other => Some(other.to_owned()),
        };
        match name.parse::<Hostname>() {
            Ok(name) => {
                let host = ServerHost {
                    namespace: owner,
                    name,
                };
                if !found.contains(&host) {
                    found.push(host);
                }
            }
            Err(error) => voice.error(
                Code::SchemaValidation,
                format!("{field}.hosts[{index}]"),
                format!("{error}, so this host is not served"),
            ),
        }
    }
    found
}

/// The matrix of protocols and TLS modes.
fn plan(server: &Server, field: &str, voice: &mut Voice<'_, '_>) -> Option<Plan> {
    let port = server.port.as_ref();
    let protocol = port.and_then(|port| port.protocol.as_deref());
    let protocol = protocol.unwrap_or_default().to_ascii_uppercase();
    let tls = server.tls.as_ref();
    let field_of = |name: &str| format!("{field}.{name}");
    match protocol.as_str() {
        "HTTP" | "HTTP2" | "GRPC" | "GRPC-WEB" | "HTTP_PROXY" => http(tls, field, voice),
        "HTTPS" | "TLS" => {
            let Some(tls) = tls else {
                let message = format!("required for {protocol}, so the server is not served");
                voice.error(Code::SchemaValidation, field_of("tls"), message);
                return None;
            };
            Some(with_tls(&protocol, tls, field, voice))
        }
        "TCP" | "MONGO" | "REDIS" | "MYSQL" => {
            if tls.is_none() {
                return Some(Plan::Tcp);
            }
            let message = format!(
                "not allowed for {protocol} (did you mean the protocol TLS?), so the server is \
                 not served"
            );
            voice.error(Code::SchemaValidation, field_of("tls"), message);
            None
        }
        "UDP" => {
            let message = "a VirtualService has no routes for UDP, so the server is not served; \
                           use a Gateway and UDPRoute of the Gateway API";
            voice.error(Code::UnknownValue, field_of("port.protocol"), message);
            None
        }
        "" => {
            let message = "required, so the server is not served";
            voice.error(Code::SchemaValidation, field_of("port.protocol"), message);
            None
        }
        other => {
            let message = format!("`{other}` is not supported, so the server is not served");
            voice.error(Code::UnknownValue, field_of("port.protocol"), message);
            None
        }
    }
}

fn http(tls: Option<&ServerTlsSettings>, field: &str, voice: &mut Voice<'_, '_>) -> Option<Plan> {
    let mode = tls.and_then(|tls| tls.mode.as_ref());
    match mode {
        None | Some(ServerTlsMode::Passthrough) => {
            let credentials = tls.is_some_and(|tls| {
                tls.credential_name.is_some() || tls.server_certificate.is_some()
            });
            if credentials {
                let message = "certificates have no effect on a plaintext HTTP server";
                voice.warn(Code::InvalidValue, format!("{field}.tls"), message);
            }
            Some(Plan::Http)
        }
        Some(mode) => {
            let message = format!(
                "{mode} is not allowed for a plaintext HTTP protocol (did you mean HTTPS?), so \
                 the server is not served"
            );
            voice.error(Code::SchemaValidation, format!("{field}.tls.mode"), message);
            None
        }
    }
}

fn with_tls(
    protocol: &str,
    tls: &ServerTlsSettings,
    field: &str,
    voice: &mut Voice<'_, '_>,
) -> Plan {
    let mode = tls.mode.as_ref().unwrap_or(&ServerTlsMode::Passthrough);
    if tls.https_redirect == Some(true) {
        let message = "has no effect on a server that speaks TLS";
        voice.warn(
            Code::InvalidValue,
            format!("{field}.tls.httpsRedirect"),
            message,
        );
    }
    let field_mode = format!("{field}.tls.mode");
    let refused = "so handshakes for these hosts fail";
    match mode {
        ServerTlsMode::Simple | ServerTlsMode::Mutual | ServerTlsMode::OptionalMutual => {
            if protocol == "HTTPS" {
                Plan::Https
            } else {
                Plan::TlsTcp
            }
        }
        ServerTlsMode::Passthrough => {
            passthrough(tls, field, voice);
            Plan::Passthrough
        }
        ServerTlsMode::IstioMutual => {
            let message = format!(
                "ISTIO_MUTUAL needs the identity that a mesh gives to its workloads, {refused} \
                 (did you mean MUTUAL, with credentialName?)"
            );
            voice.error(Code::InvalidValue, field_mode, message);
            Plan::ClosedTls
        }
        ServerTlsMode::AutoPassthrough => {
            let message = format!(
                "AUTO_PASSTHROUGH is for traffic between the clusters of a mesh, {refused} (did \
                 you mean PASSTHROUGH, with a VirtualService's `tls` rules?)"
            );
            voice.error(Code::InvalidValue, field_mode, message);
            Plan::ClosedTls
        }
        ServerTlsMode::Unknown(text) => {
            let message = format!("`{text}` is not known, {refused}");
            voice.error(Code::UnknownValue, field_mode, message);
            Plan::ClosedTls
        }
    }
}

/// Says what a server that does not terminate TLS has no use for.
fn passthrough(tls: &ServerTlsSettings, field: &str, voice: &mut Voice<'_, '_>) {
    let credentials = tls.credential_name.is_some()
        || !tls.credential_names.is_empty()
        || tls.server_certificate.is_some()
        || !tls.tls_certificates.is_empty()
        || tls.ca_certificates.is_some()
        || tls.ca_cert_credential_name.is_some()
        || tls.ca_crl.is_some();
    if credentials {
        let (what, hint) = if tls.mode.is_none() {
            (
                "not set, which means PASSTHROUGH:",
                " (did you mean SIMPLE?)",
            )
        } else {
            ("with PASSTHROUGH", "")
        };
        let message = format!("{what} TLS is not terminated and certificates are not used{hint}");
        voice.warn(Code::InvalidValue, format!("{field}.tls.mode"), message);
    }
}
