//! The gateway under test: one port for each [`Kind`], with two policies on it.

use super::rows::{Kind, Shown};
use crate::support::{Directory, Gwanmun, Network, backend};
use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, CertifiedIssuer, DnType,
    ExtendedKeyUsagePurpose, IsCa, KeyPair, RevokedCertParams, SerialNumber, date_time_ymd,
};
use rustls::{
    ServerConfig, ServerConnection,
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    server::NoServerSessionStorage,
    sign::CertifiedKey,
};
use std::{
    io::{Read, Write},
    net::TcpListener,
    sync::Arc,
};

pub(super) const A: &str = "a.example.com";
pub(super) const B: &str = "b.example.com";
pub(super) const WILD: &str = "x.wild.example.com";

type Authority = CertifiedIssuer<'static, KeyPair>;

/// A certificate and its key, in PEM.
#[derive(Clone)]
pub(super) struct Pair {
    pub(super) certificate: String,
    pub(super) key: String,
}

impl Pair {
    /// As rustls wants it.
    pub(super) fn certified(&self) -> Arc<CertifiedKey> {
        let certificate = CertificateDer::from_pem_slice(self.certificate.as_bytes()).unwrap();
        let key = PrivateKeyDer::from_pem_slice(self.key.as_bytes()).unwrap();
        let key = aws_lc_rs::sign::any_supported_type(&key).unwrap();
        Arc::new(CertifiedKey::new(vec![certificate], key))
    }
}

/// A running gateway, and everybody's certificates.
pub(super) struct Scene {
    directory: Directory,
    running: Gwanmun,
    a: Authority,
    b: Authority,
    server: Pair,
    shown: Vec<(Shown, Pair)>,
    /// Of the authority that goes away.
    pub(super) former: Pair,
}

impl Scene {
    /// A gateway whose policy A trusts two authorities and has revoked nothing.
    pub(super) fn start() -> Self {
        let [a, b, old, servers] = [(); 4].map(|()| authority());
        let server = issue(&servers, "server", |params| {
            params.subject_alt_names = [A, B, "*.wild.example.com"]
                .map(|name| rcgen::SanType::DnsName(name.try_into().unwrap()))
                .to_vec();
        });
        let shown = vec![
            (Shown::A, issue(&a, "client-a", |_| {})),
            (Shown::B, issue(&b, "client-b", |_| {})),
            (
                Shown::Expired,
                issue(&a, "client-a", |params| {
                    params.not_after = date_time_ymd(2020, 1, 1);
                }),
            ),
            (Shown::SelfSigned, self_signed()),
            (
                Shown::Revoked,
                issue(&a, "client-revoked", |params| {
                    params.serial_number = Some(SerialNumber::from(vec![7]));
                }),
            ),
            (
                Shown::Usage,
                issue(&a, "client-a", |params| {
                    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
                }),
            ),
        ];
        let former = issue(&old, "client-former", |_| {});
        let (directory, network) = (Directory::new(), Network::new());
        for (place, name) in [(1, "a"), (2, "b"), (3, "through")] {
            let address = network.address(place);
            let listener = TcpListener::bind((address.as_str(), 9000)).unwrap();
            let tls = (name == "through").then(|| server_config(&server));
            std::thread::spawn(move || answer(&listener, name, tls.as_ref()));
            directory.write(&format!("{name}.yaml"), &backend(name, &address));
        }
        directory.write("gateways.yaml", &gateways());
        let secrets = |anchors, list| secrets(&server, &b, anchors, list);
        directory.write("secrets.yaml", &secrets(&[&a, &old], None));
        let ports: Vec<String> = Kind::ALL
            .iter()
            .map(|kind| format!("{}:0", port(*kind)))
            .collect();
        let maps: Vec<&str> = ports.iter().flat_map(|map| ["--map-port", map]).collect();
        let running = Gwanmun::run(&directory, &maps);
        Self {
            directory,
            running,
            a,
            b,
            server,
            shown,
            former,
        }
    }

    /// Takes an authority and a certificate away from policy A. The caller waits for the effect.
    pub(super) fn withdraw(&self) {
        let list = list(&self.a, &[7]);
        let text = secrets(&self.server, &self.b, &[&self.a], Some(&list));
        self.directory.replace("secrets.yaml", &text);
    }

    /// Where policy A is of this kind.
    pub(super) fn address(&self, kind: Kind) -> String {
        self.running.address(port(kind))
    }

    /// What is shown.
    pub(super) fn pair(&self, shown: Shown) -> Option<&Pair> {
        let mut all = self.shown.iter();
        all.find(|(own, _)| *own == shown).map(|(_, pair)| pair)
    }
}

fn port(kind: Kind) -> u16 {
    let index = Kind::ALL.iter().position(|own| *own == kind).unwrap();
    8440 + u16::try_from(index).unwrap()
}

/// All authorities have one subject: only their keys tell them apart.
fn authority() -> Authority {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params
        .distinguished_name
        .push(DnType::CommonName, "authority");
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

fn issue(by: &Authority, name: &str, change: impl FnOnce(&mut CertificateParams)) -> Pair {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    change(&mut params);
    let key = KeyPair::generate().unwrap();
    Pair {
        certificate: params.signed_by(&key, by).unwrap().pem(),
        key: key.serialize_pem(),
    }
}

fn self_signed() -> Pair {
    let mut params = CertificateParams::default();
    params
        .distinguished_name
        .push(DnType::CommonName, "authority");
    let key = KeyPair::generate().unwrap();
    Pair {
        certificate: params.self_signed(&key).unwrap().pem(),
        key: key.serialize_pem(),
    }
}

fn list(by: &Authority, serials: &[u8]) -> String {
    let revoked = serials.iter().map(|serial| RevokedCertParams {
        serial_number: SerialNumber::from(vec![*serial]),
        revocation_time: date_time_ymd(2020, 1, 2),
        reason_code: None,
        invalidity_date: None,
    });
    let params = CertificateRevocationListParams {
        this_update: date_time_ymd(2020, 1, 1),
        next_update: date_time_ymd(2040, 1, 1),
        crl_number: SerialNumber::from(1_u64),
        issuing_distribution_point: None,
        revoked_certs: revoked.collect(),
        key_identifier_method: rcgen::KeyIdMethod::Sha256,
    };
    params.signed_by(by).unwrap().pem().unwrap()
}

/// Answers every request with its name and who `x-forwarded-client-cert` says the client is.
fn answer(listener: &TcpListener, name: &'static str, tls: Option<&Arc<ServerConfig>>) {
    for stream in listener.incoming() {
        let (mut stream, tls) = (stream.unwrap(), tls.cloned());
        std::thread::spawn(move || {
            // A connection that ends badly is the client's to notice.
            let _ = match tls {
                None => exchange(&mut stream, name),
                Some(config) => {
                    let mut connection = ServerConnection::new(config).unwrap();
                    let mut tls = rustls::Stream::new(&mut connection, &mut stream);
                    let done = exchange(&mut tls, name);
                    tls.conn.send_close_notify();
                    let _ = tls.flush();
                    done
                }
            };
        });
    }
}

fn exchange(stream: &mut (impl Read + Write), name: &str) -> std::io::Result<()> {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte)?;
        head.extend(byte);
    }
    let head = String::from_utf8_lossy(&head).to_lowercase();
    let mut client = "-".to_owned();
    for line in head.lines() {
        if let Some(value) = line.strip_prefix("x-forwarded-client-cert:") {
            client = match value.split("cn=client-").nth(1) {
                Some(rest) => rest.split(['"', ',']).next().unwrap().to_owned(),
                None => value.trim().trim_start_matches("hash=").to_owned(),
            };
            // Whatever is forged stays visible next to what is true.
            if value.contains("forged") {
                client = "forged".to_owned();
            }
        }
    }
    let body = format!("{name} {client}");
    write!(
        stream,
        "HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    )?;
    stream.flush()
}

fn server_config(pair: &Pair) -> Arc<ServerConfig> {
    let resolver = rustls::sign::SingleCertAndKey::from(pair.certified());
    let mut config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(resolver));
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Arc::new(config)
}

fn indented(text: &str) -> String {
    text.lines().map(|line| format!("    {line}\n")).collect()
}

/// The Secrets and ConfigMaps, of which those of A change.
fn secrets(server: &Pair, b: &Authority, a: &[&Authority], list: Option<&str>) -> String {
    let (crt, key) = (indented(&server.certificate), indented(&server.key));
    let anchors: String = a.iter().map(|authority| authority.pem()).collect();
    let (anchors, other) = (indented(&anchors), indented(&b.pem()));
    let list = list.map_or_else(String::new, |list| {
        format!("  ca.crl: |\n{}", indented(list))
    });
    let pair = format!("  tls.crt: |\n{crt}  tls.key: |\n{key}");
    format!(
        "apiVersion: v1
kind: Secret
metadata: {{name: policy-a, namespace: istio-system}}
stringData:
{pair}  ca.crt: |
{anchors}{list}---
apiVersion: v1
kind: Secret
metadata: {{name: policy-b, namespace: istio-system}}
stringData:
{pair}  ca.crt: |
{other}---
apiVersion: v1
kind: Secret
type: kubernetes.io/tls
metadata: {{name: server}}
stringData:
{pair}---
apiVersion: v1
kind: ConfigMap
metadata: {{name: ca-a}}
data:
  ca.crt: |
{anchors}---
apiVersion: v1
kind: ConfigMap
metadata: {{name: ca-b}}
data:
  ca.crt: |
{other}"
    )
}

fn gateways() -> String {
    Kind::ALL.iter().map(|kind| of(*kind)).collect()
}

fn of(kind: Kind) -> String {
    let (mutual, port) = ("mode: MUTUAL, credentialName: policy-a", port(kind));
    let (protocol, tls, rules) = match kind {
        Kind::Mutual => (
            "HTTPS",
            mutual,
            "http: [{route: [{destination: {host: a}}]}]",
        ),
        Kind::Optional => (
            "HTTPS",
            "mode: OPTIONAL_MUTUAL, credentialName: policy-a",
            "http: [{route: [{destination: {host: a}}]}]",
        ),
        Kind::Unverified => (
            "HTTPS",
            "mode: MUTUAL, credentialName: policy-a, insecureSkipVerify: true",
            "http: [{route: [{destination: {host: a}}]}]",
        ),
        Kind::Simple => (
            "HTTPS",
            "mode: SIMPLE, credentialName: policy-a",
            "http: [{route: [{destination: {host: a}}]}]",
        ),
        Kind::Passthrough => (
            "TLS",
            "mode: PASSTHROUGH",
            "tls: [{match: [{sniHosts: [a.example.com, '*.wild.example.com']}], \
             route: [{destination: {host: through}}]}]",
        ),
        Kind::Tcp => ("TLS", mutual, "tcp: [{route: [{destination: {host: a}}]}]"),
        Kind::Default => {
            return gateway_api(
                kind,
                "default: {validation: {caCertificateRefs: [{group: '', kind: ConfigMap, name: ca-a}]}}",
            );
        }
        Kind::PerPort => {
            let frontend = format!(
                "default: {{validation: {{caCertificateRefs: [{{group: '', kind: ConfigMap, name: ca-b}}]}}}}, \
                 perPort: [{{port: {port}, tls: {{validation: {{caCertificateRefs: [{{group: '', kind: ConfigMap, name: ca-a}}]}}}}}}]"
            );
            return gateway_api(kind, &frontend);
        }
        Kind::Insecure => {
            return gateway_api(
                kind,
                "default: {validation: {mode: AllowInsecureFallback, caCertificateRefs: [{group: '', kind: ConfigMap, name: ca-a}]}}",
            );
        }
    };
    istio(
        &format!("{kind}-a"),
        port,
        protocol,
        ("[a.example.com, '*.wild.example.com']", tls, rules),
    ) + &istio(
        &format!("{kind}-b"),
        port,
        "HTTPS",
        (
            "[b.example.com]",
            "mode: MUTUAL, credentialName: policy-b",
            "http: [{route: [{destination: {host: b}}]}]",
        ),
    )
}

fn istio(name: &str, port: u16, protocol: &str, (hosts, tls, rules): (&str, &str, &str)) -> String {
    format!(
        "apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {{name: {name}}}
spec:
  servers: [{{port: {{number: {port}, name: p, protocol: {protocol}}}, hosts: {hosts}, tls: {{{tls}}}}}]
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {{name: {name}}}
spec:
  gateways: [{name}]
  hosts: {hosts}
  {rules}
---
"
    )
}

fn gateway_api(kind: Kind, frontend: &str) -> String {
    let other =
        "default: {validation: {caCertificateRefs: [{group: '', kind: ConfigMap, name: ca-b}]}}";
    let one = |policy: &str, names: &[&str], frontend: &str| {
        let listeners: Vec<String> = names
            .iter()
            .enumerate()
            .map(|(index, name)| {
                format!(
                    "{{name: l{index}, port: {}, protocol: HTTPS, hostname: '{name}', \
                     tls: {{certificateRefs: [{{name: server}}]}}}}",
                    port(kind)
                )
            })
            .collect();
        format!(
            "apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {{name: {kind}-{policy}}}
spec:
  gatewayClassName: gwanmun
  tls: {{frontend: {{{frontend}}}}}
  listeners: [{}]
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {{name: {kind}-{policy}}}
spec:
  parentRefs: [{{name: {kind}-{policy}}}]
  rules: [{{backendRefs: [{{name: {policy}, port: 80}}]}}]
---
",
            listeners.join(", ")
        )
    };
    one("a", &[A, "*.wild.example.com"], frontend) + &one("b", &[B], other)
}
