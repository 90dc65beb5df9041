//! A gateway with one route to one cluster, scripted upstreams, and the access log.

use crate::support::{TestGateway, build::*, client::Raw, eventually};
use gwanmun_gateway::AccessLogMode;
use gwanmun_ir::{
    Backoff, Cluster, EndpointSet, Resource, RetryCondition, RetryPolicy, Route, Target,
    UpstreamProtocol,
};
use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

/// A gateway with one route, `any request → cluster back`, on port 80 and its access log.
pub struct Bench {
    pub gateway: TestGateway,
    _directory: tempfile::TempDir,
    log: std::path::PathBuf,
}

impl Bench {
    /// A Gateway API route and an HTTP/1 cluster, after `change` has changed them.
    pub fn new(endpoints: &[SocketAddr], change: impl FnOnce(&mut Route, &mut Cluster)) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let log = directory.path().join("access.log");
        let gateway = TestGateway::with(|config| {
            config.access_log = AccessLogMode::Json;
            config.access_log_file = Some(log.clone());
        });
        let bench = Self {
            gateway,
            _directory: directory,
            log,
        };
        bench.serve(endpoints, change);
        bench
    }

    /// Replaces the configuration.
    pub fn serve(&self, endpoints: &[SocketAddr], change: impl FnOnce(&mut Route, &mut Cluster)) {
        let mut route = route("all", "web");
        route.action = forward("back");
        let mut cluster = cluster_config("back");
        change(&mut route, &mut cluster);
        let Target::Cluster(key) = &target("back", 1).target else {
            unreachable!()
        };
        self.gateway.serve(vec![
            listener(80),
            of_chain(chain("web", 80)),
            of_route(route),
            Resource::Cluster(Box::new(cluster)),
            Resource::Endpoints(EndpointSet {
                cluster: key.clone(),
                endpoints: endpoints.iter().map(|address| endpoint(*address)).collect(),
            }),
        ]);
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.gateway.address(80)
    }

    /// A connection to it.
    pub fn connect(&self) -> Raw {
        Raw::connect(self.address())
    }

    /// The log's line about the request for this path.
    pub fn line(&self, path: &str) -> Line {
        self.line_with("path", path)
    }

    /// The log's line with this value.
    pub fn line_with(&self, key: &str, value: &str) -> Line {
        let mut found = None;
        eventually(&format!("a log line with {key} {value}"), || {
            let text = std::fs::read_to_string(&self.log).unwrap_or_default();
            found = text
                .lines()
                .filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok())
                .find(|line| line[key] == value);
            found.is_some()
        });
        Line(found.unwrap())
    }

    /// Lines of the log so far.
    pub fn lines(&self) -> usize {
        std::fs::read_to_string(&self.log)
            .unwrap_or_default()
            .lines()
            .count()
    }
}

/// A line of the access log.
pub struct Line(pub serde_json::Value);

impl Line {
    /// `code flags details`.
    pub fn summary(&self) -> String {
        let text = |key: &str| self.0[key].as_str().unwrap_or("-").to_owned();
        format!(
            "{} {} {}",
            self.0["response_code"],
            text("response_flags"),
            text("response_code_details")
        )
    }
}

/// An upstream that does what a script says on each connection.
pub struct Scripted {
    pub address: SocketAddr,
    connections: Arc<AtomicUsize>,
}

impl Scripted {
    /// Runs `script` on each connection, with the number of connections before it.
    pub fn start(script: impl Fn(TcpStream, usize) + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let connections = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&connections);
        let script = Arc::new(script);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let Ok(stream) = stream else { break };
                let number = counter.fetch_add(1, SeqCst);
                let script = Arc::clone(&script);
                std::thread::spawn(move || {
                    stream
                        .set_read_timeout(Some(Duration::from_secs(10)))
                        .unwrap();
                    script(stream, number);
                });
            }
        });
        Self {
            address,
            connections,
        }
    }

    /// Reads a head and answers with these bytes, on every connection, then closes.
    pub fn answering(answer: impl Into<Vec<u8>>) -> Self {
        let answer = answer.into();
        Self::start(move |mut stream, _| {
            if read_head(&mut stream).is_some() {
                let _ = stream.write_all(&answer);
            }
        })
    }

    /// Connections accepted so far.
    pub fn connections(&self) -> usize {
        self.connections.load(SeqCst)
    }
}

/// Reads to the end of a head; nothing if the connection ends before.
pub fn read_head(stream: &mut TcpStream) -> Option<String> {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read(&mut byte) {
            Ok(1) => head.push(byte[0]),
            Ok(_) | Err(_) => return None,
        }
    }
    Some(String::from_utf8(head).unwrap())
}

/// Waits until the peer closes or resets.
pub fn wait_closed(stream: &mut TcpStream) {
    let mut buffer = [0; 4096];
    while matches!(stream.read(&mut buffer), Ok(1..)) {}
}

/// An address on which nobody listens.
pub fn refusing() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
}

/// Istio's retry policy for routes without one.
pub fn istio_retries() -> RetryPolicy {
    RetryPolicy {
        attempts: 2,
        conditions: vec![
            RetryCondition::ConnectFailure,
            RetryCondition::RefusedStream,
            RetryCondition::Unavailable,
            RetryCondition::Cancelled,
        ],
        status_codes: Vec::new(),
        backoff: Backoff {
            base_ms: 2,
            max_ms: 10,
        },
    }
}

/// Retries on these conditions, twice.
pub fn retries(conditions: &[RetryCondition]) -> RetryPolicy {
    RetryPolicy {
        conditions: conditions.to_vec(),
        ..istio_retries()
    }
}

/// Makes a cluster speak HTTP/2.
pub fn http2(cluster: &mut Cluster) {
    cluster.protocol = UpstreamProtocol::Http2;
}
