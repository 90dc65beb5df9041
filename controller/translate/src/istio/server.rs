//! One server of an Istio Gateway: what its port, protocol, hosts and TLS mode amount to.
//!
//! A server that demands something this version does not do is never served without it: its port
//! stays closed, or its server names fail the handshake.

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
    /// Connections without TLS, which are not forwarded yet: the port stays closed.
    Tcp,
}

impl Plan {
    /// Whether connections speak TLS.
    pub(super) fn is_tls(self) -> bool {
        match self {
            Self::ClosedTls | Self::Https => true,
            Self::Http | Self::Tcp => false,
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
            if tls.is_some_and(|tls| tls.mode.is_some()) {
                let message = format!("not allowed for {protocol}; the server is not served");
                voice.error(Code::SchemaValidation, field_of("tls"), message);
            } else {
                let message = format!("{protocol} has no effect yet, so the port stays closed");
                voice.error(Code::NoEffectYet, field_of("port.protocol"), message);
            }
            Some(Plan::Tcp)
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
        ServerTlsMode::Simple if protocol == "HTTPS" => Plan::Https,
        ServerTlsMode::Unknown(text) => {
            let message = format!("`{text}` is not known, {refused}");
            voice.error(Code::UnknownValue, field_mode, message);
            Plan::ClosedTls
        }
        ServerTlsMode::Passthrough if tls.mode.is_none() => {
            let message = format!(
                "not set, which means PASSTHROUGH and has no effect yet, {refused} (did you mean \
                 SIMPLE?)"
            );
            voice.error(Code::NoEffectYet, field_mode, message);
            Plan::ClosedTls
        }
        ServerTlsMode::Simple
        | ServerTlsMode::Passthrough
        | ServerTlsMode::Mutual
        | ServerTlsMode::AutoPassthrough
        | ServerTlsMode::IstioMutual
        | ServerTlsMode::OptionalMutual => {
            let message = format!("{mode} for {protocol} has no effect yet, {refused}");
            voice.error(Code::NoEffectYet, field_mode, message);
            Plan::ClosedTls
        }
    }
}
