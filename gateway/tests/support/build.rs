//! Configuration in a few words.

use gwanmun_ir::{
    Action, Alpn, AppProtocol, BindAddress, ChainKey, ChainMatch, CircuitBreakers,
    ClientCertificates, ClientValidation, Cluster, ClusterIdentity, ClusterKey, Dialect,
    DirectResponse, Discovery, Endpoint, EndpointHealth, EndpointIdentity, EndpointSet,
    FilterChain, ForwardClientCert, HostRule, Hostname, HttpMatch, HttpOptions, L4Route, L4Target,
    Listener, ListenerKey, LoadBalancing, PathMatch, PathNormalization, Pem, Precedence,
    PrivatePem, Resource, Route, RouteKey, RouteKind, Secret, SecretKey, SecretMaterial, Security,
    ServerHeader, SourceRef, StringMatch, Target, Timeouts, TlsPolicy, TlsVersion, Transport,
    UpstreamProtocol, WeightedTarget,
};
use std::net::SocketAddr;

/// The source every resource here has.
pub fn source(name: &str) -> SourceRef {
    SourceRef {
        kind: "Test".to_owned(),
        namespace: "default".to_owned(),
        name: name.to_owned(),
        section: String::new(),
    }
}

/// A TCP listener on all addresses.
pub fn listener(port: u16) -> Resource {
    Resource::Listener(Listener {
        proxy_protocol: None,
        key: listener_key(port),
        address: BindAddress::Any,
        port,
        transport: Transport::Tcp,
    })
}

/// Key of [`listener`].
pub fn listener_key(port: u16) -> ListenerKey {
    ListenerKey::new(format!("tcp/0.0.0.0:{port}"))
}

/// A Gateway API HTTP chain for any host; change its public fields as needed.
pub fn chain(name: &str, port: u16) -> FilterChain {
    FilterChain {
        key: ChainKey::new(name),
        listener: listener_key(port),
        matches: ChainMatch::default(),
        security: Security::Plaintext,
        protocol: AppProtocol::Http(http_options()),
        rank: (0, name.to_owned()),
        port,
        source: source(name),
    }
}

/// Options as the Gateway API has them.
pub fn http_options() -> HttpOptions {
    HttpOptions {
        forward_client_cert: ForwardClientCert::SanitizeSet,
        host_rule: HostRule::FallThrough,
        path_normalization: PathNormalization::Base,
        trusted_hops: 0,
        detect_misdirected: true,
        accept_http10: true,
    }
}

/// The same chain with Istio's rules.
pub fn exclusive(mut chain: FilterChain) -> FilterChain {
    chain.protocol = AppProtocol::Http(HttpOptions {
        host_rule: HostRule::Exclusive,
        detect_misdirected: false,
        ..http_options()
    });
    chain
}

/// The same chain for these hosts only.
pub fn hosts(mut chain: FilterChain, names: &[&str]) -> FilterChain {
    chain.matches.hostnames = hostnames(names);
    chain
}

/// The same chain with TLS and these secrets.
pub fn tls(mut chain: FilterChain, secrets: &[&str]) -> FilterChain {
    chain.security = Security::Tls(TlsPolicy {
        client: ClientCertificates::NotRequested,
        key_exchange_groups: Vec::new(),
        certificates: secrets.iter().map(|name| SecretKey::new(*name)).collect(),
        min_version: TlsVersion::V12,
        max_version: TlsVersion::V13,
        cipher_suites: Vec::new(),
        alpn: vec![Alpn::H2, Alpn::Http11],
    });
    chain
}

/// The same chain carrying bytes instead of HTTP.
pub fn tcp(mut chain: FilterChain) -> FilterChain {
    chain.protocol = AppProtocol::Tcp;
    if let Security::Tls(policy) = &mut chain.security {
        policy.alpn.clear();
    }
    chain
}

/// The same chain passing TLS through.
pub fn passthrough(chain: FilterChain) -> FilterChain {
    FilterChain {
        security: Security::Passthrough,
        ..tcp(chain)
    }
}

/// Parses host names.
pub fn hostnames(names: &[&str]) -> Vec<Hostname> {
    names.iter().map(|name| name.parse().unwrap()).collect()
}

/// A Gateway API route for any request of any host that answers 200 with its own name.
pub fn route(name: &str, chain: &str) -> Route {
    Route {
        key: RouteKey::new(format!("{name}@{chain}")),
        chain: ChainKey::new(chain),
        hostnames: Vec::new(),
        precedence: Precedence::MostSpecific {
            created: 0,
            object: format!("default/{name}"),
            rule: 0,
        },
        kind: RouteKind::Http,
        matches: Vec::new(),
        filters: Vec::new(),
        action: answer(name),
        timeouts: Timeouts::default(),
        retry: None,
        max_request_body: None,
        dialect: Dialect::GatewayApi,
        name: format!("default.{name}.0"),
        source: source(name),
    }
}

/// A layer 4 route for any connection to these clusters.
pub fn l4_route(name: &str, chain: &str, targets: &[(&str, u32)]) -> L4Route {
    L4Route {
        key: RouteKey::new(format!("{name}@{chain}")),
        chain: ChainKey::new(chain),
        hostnames: Vec::new(),
        precedence: Precedence::MostSpecific {
            created: 0,
            object: format!("default/{name}"),
            rule: 0,
        },
        targets: targets
            .iter()
            .map(|(cluster, weight)| L4Target {
                target: Target::Cluster(ClusterKey::new(*cluster)),
                weight: *weight,
            })
            .collect(),
        idle_timeout_ms: 0,
        connect_attempts: 1,
        name: format!("default.{name}.0"),
        source: source(name),
    }
}

/// A layer 4 route as resource.
pub fn of_l4(route: L4Route) -> Resource {
    Resource::L4Route(Box::new(route))
}

/// The same route as Istio's, at this place of the virtual host.
pub fn istio(mut route: Route, position: u32) -> Route {
    route.precedence = Precedence::InOrder(position);
    route.dialect = Dialect::Istio {
        server: ServerHeader::Overwrite("gwanmun".to_owned()),
    };
    route
}

/// Answer 200 with this body.
pub fn answer(body: &str) -> Action {
    Action::Respond(DirectResponse {
        status: 200,
        body: body.as_bytes().to_vec(),
    })
}

/// Send everything to this cluster.
pub fn forward(cluster: &str) -> Action {
    Action::Forward(vec![target(cluster, 1)])
}

/// One of several clusters.
pub fn target(cluster: &str, weight: u32) -> WeightedTarget {
    WeightedTarget {
        target: Target::Cluster(ClusterKey::new(cluster)),
        weight,
        filters: Vec::new(),
    }
}

/// A match on the path alone.
pub fn path(path: PathMatch) -> HttpMatch {
    HttpMatch {
        path,
        method: None,
        scheme: None,
        authority: None,
        headers: Vec::new(),
        query: Vec::new(),
        section: String::new(),
    }
}

/// A match on a segment prefix.
pub fn prefix(text: &str) -> HttpMatch {
    path(PathMatch::Prefix(text.to_owned()))
}

/// A match on the whole path.
pub fn exact(text: &str) -> HttpMatch {
    path(PathMatch::Exact {
        path: text.to_owned(),
        ignore_case: false,
    })
}

/// A match on the method.
pub fn method(mut matches: HttpMatch, method: &str) -> HttpMatch {
    matches.method = Some(StringMatch::Exact(method.to_owned()));
    matches
}

/// An HTTP/1.1 cluster with these endpoints: the cluster and its endpoint set.
pub fn cluster(name: &str, endpoints: &[SocketAddr]) -> [Resource; 2] {
    [
        Resource::Cluster(Box::new(cluster_config(name))),
        Resource::Endpoints(EndpointSet {
            cluster: ClusterKey::new(name),
            endpoints: endpoints.iter().map(|address| endpoint(*address)).collect(),
        }),
    ]
}

/// An HTTP/1.1 cluster without endpoints of its own.
pub fn cluster_config(name: &str) -> Cluster {
    Cluster {
        hash: None,
        warmup: None,
        max_connection_duration_ms: None,
        keepalive: None,
        http2_keepalive: None,
        proxy_protocol: None,
        key: ClusterKey::new(name),
        name: name.to_owned(),
        discovery: Discovery::Endpoints,
        balancing: LoadBalancing::RoundRobin,
        protocol: UpstreamProtocol::Http1,
        connect_timeout_ms: 1000,
        idle_timeout_ms: 60_000,
        tls: None,
        limits: CircuitBreakers::default(),
        outlier: None,
        identity: ClusterIdentity::default(),
        policy: None,
        source: source(name),
    }
}

/// A healthy endpoint.
pub fn endpoint(address: SocketAddr) -> Endpoint {
    Endpoint {
        address,
        weight: 1,
        health: EndpointHealth::Healthy,
        identity: EndpointIdentity::default(),
    }
}

/// A certificate and key in PEM.
pub fn secret(name: &str, certificates: &str, key: &str) -> Resource {
    Resource::Secret(Secret {
        key: SecretKey::new(name),
        material: SecretMaterial::KeyPair {
            certificates: Pem::new(certificates),
            private_key: PrivatePem::new(key),
            ocsp_staple: None,
        },
        source: source(name),
    })
}

/// Trust anchors, with revocation lists if any.
pub fn anchors(name: &str, certificates: &str, revocations: Option<&str>) -> Resource {
    Resource::Secret(Secret {
        key: SecretKey::new(name),
        material: SecretMaterial::Anchors {
            certificates: Pem::new(certificates),
            revocations: revocations.map(Pem::new),
        },
        source: source(name),
    })
}

/// Validation of clients with these anchors.
pub fn validation(anchors: &str) -> ClientValidation {
    ClientValidation {
        anchors: SecretKey::new(anchors),
        subject_alt_names: Vec::new(),
        spki_sha256: Vec::new(),
        certificate_sha256: Vec::new(),
    }
}

/// The same chain, asking this of clients.
pub fn clients(mut chain: FilterChain, client: ClientCertificates) -> FilterChain {
    if let Security::Tls(policy) = &mut chain.security {
        policy.client = client;
    }
    chain
}

/// A chain as resource.
pub fn of_chain(chain: FilterChain) -> Resource {
    Resource::Chain(Box::new(chain))
}

/// A route as resource.
pub fn of_route(route: Route) -> Resource {
    Resource::Route(Box::new(route))
}
