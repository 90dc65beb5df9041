//! The filter chains of a listener.

use super::{Context, listener::Listener};
use crate::{backend, names, proxy_protocol};
use gwanmun_api::{Object, gateway_api::ProtocolType};
use gwanmun_ir::{
    Alpn, AppProtocol, BindAddress, ChainKey, ChainMatch, ClientCertificates, FilterChain,
    ForwardClientCert, HostRule, HttpOptions, ListenerKey, PathNormalization, Resource, Secret,
    Security, SourceRef, TlsPolicy, TlsVersion, Transport,
};
use std::net::IpAddr;

/// A filter chain of a listener, and the socket it is on.
#[derive(Clone, Debug)]
pub(super) struct Chain {
    pub(super) key: ChainKey,
    pub(super) socket: ListenerKey,
    address: BindAddress,
}

impl Chain {
    /// Whether the socket is on this address alone.
    pub(super) fn is_on(&self, address: IpAddr) -> bool {
        self.address == BindAddress::Ip(address)
    }
}

impl Listener<'_> {
    /// Whether the listener has filter chains.
    pub(super) fn is_placed(&self) -> bool {
        self.conflict.is_none() && (self.accepted.holds() || self.closed)
    }

    pub(super) fn transport(&self) -> Transport {
        if self.entry.protocol == ProtocolType::Udp {
            Transport::Udp
        } else {
            Transport::Tcp
        }
    }

    /// Adds the listener's filter chains to the configuration, one for each of `binds`.
    pub(super) fn place(
        &mut self,
        cx: &mut Context<'_, '_>,
        owner: &Object,
        scope: &str,
        binds: &[BindAddress],
    ) {
        if !self.is_placed() {
            return;
        }
        let (port, transport) = (self.entry.port, self.transport());
        let anchors = self.clients.iter().filter_map(|check| {
            let client = check.client.as_ref().ok()?;
            client.validation().and(check.anchors.as_ref())
        });
        for secret in self.served_certificates().chain(anchors) {
            cx.sink.resource(Resource::Secret(secret.clone()));
        }
        for (index, bind) in binds.iter().enumerate() {
            let chain = self.chain(owner, scope, *bind, index == 0);
            self.chains.push(Chain {
                key: chain.key.clone(),
                socket: chain.listener.clone(),
                address: *bind,
            });
            let proxy_protocol = match transport {
                Transport::Tcp => proxy_protocol::of_gateway(cx.store, cx.options, owner, cx.sink),
                Transport::Udp => None,
            };
            cx.sink.listener(gwanmun_ir::Listener {
                proxy_protocol,
                key: chain.listener.clone(),
                address: *bind,
                port,
                transport,
            });
            cx.sink.resource(Resource::Chain(Box::new(chain)));
        }
    }

    /// What TLS clients may be shown; nothing where nobody may be served.
    fn served_certificates(&self) -> impl Iterator<Item = &Secret> {
        self.certificates.iter().filter(|_| !self.closed)
    }

    fn chain(&self, owner: &Object, scope: &str, bind: BindAddress, first: bool) -> FilterChain {
        let (kind, meta) = (owner.kind(), &owner.meta);
        let name = format!(
            "{kind}/{}/{}/{}",
            meta.namespace, meta.name, self.entry.name
        );
        let key = match bind {
            BindAddress::Ip(address) if !first => format!("{name}@{address}"),
            BindAddress::Ip(_) | BindAddress::Any => name,
        };
        let (created, object) = names::rank(owner);
        FilterChain {
            rank: (created, format!("{object} {}", self.entry.name)),
            key: ChainKey::new(key),
            listener: names::listener(scope, bind, self.entry.port, self.transport()),
            matches: ChainMatch {
                hostnames: self.hostname.iter().flatten().cloned().collect(),
            },
            security: self.security(),
            protocol: self.app_protocol(),
            port: self.entry.port,
            source: SourceRef {
                section: self.entry.name.clone(),
                ..backend::source_ref(owner)
            },
        }
    }

    fn security(&self) -> Security {
        let alpn = match &self.entry.protocol {
            ProtocolType::Https => vec![Alpn::H2, Alpn::Http11],
            ProtocolType::Tls if self.passes_through() => return Security::Passthrough,
            ProtocolType::Tls => Vec::new(),
            ProtocolType::Http
            | ProtocolType::Tcp
            | ProtocolType::Udp
            | ProtocolType::Unknown(_) => return Security::Plaintext,
        };
        let clients = self.clients.as_ref();
        let client = clients.and_then(|check| check.client.clone().ok());
        Security::Tls(TlsPolicy {
            client: client.unwrap_or(ClientCertificates::NotRequested),
            key_exchange_groups: Vec::new(),
            certificates: self
                .served_certificates()
                .map(|secret| secret.key.clone())
                .collect(),
            min_version: TlsVersion::V12,
            max_version: TlsVersion::V13,
            cipher_suites: Vec::new(),
            alpn,
        })
    }

    fn app_protocol(&self) -> AppProtocol {
        match &self.entry.protocol {
            ProtocolType::Tcp | ProtocolType::Tls => AppProtocol::Tcp,
            ProtocolType::Udp => AppProtocol::Udp,
            ProtocolType::Http | ProtocolType::Https | ProtocolType::Unknown(_) => {
                AppProtocol::Http(HttpOptions {
                    forward_client_cert: ForwardClientCert::SanitizeSet,
                    host_rule: HostRule::FallThrough,
                    path_normalization: PathNormalization::Base,
                    trusted_hops: 0,
                    detect_misdirected: self.entry.protocol == ProtocolType::Https,
                    accept_http10: true,
                })
            }
        }
    }
}
