//! A gateway that carries bytes, its log, and servers that do as told.

use crate::support::{TestGateway, build::*, eventually};
use gwanmun_gateway::{AccessLogMode, Config};
use gwanmun_ir::{EndpointIdentity, L4Route, Resource};
use serde_json::Value;
use std::{
    io::{self, Read, Write},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

/// Longest time any read of a test takes.
pub const LONG: Duration = Duration::from_secs(10);

/// A gateway with a log.
pub struct Bench {
    gateway: TestGateway,
    log: PathBuf,
    _directory: tempfile::TempDir,
}

impl Bench {
    pub fn start(resources: Vec<Resource>) -> Self {
        Self::with(resources, |_| {})
    }

    pub fn with(resources: Vec<Resource>, change: impl FnOnce(&mut Config)) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let log = directory.path().join("log");
        let gateway = TestGateway::with(|config| {
            config.access_log = AccessLogMode::Json;
            config.access_log_file = Some(log.clone());
            config.metrics = Some(([127, 0, 0, 1], 0).into());
            change(config);
        });
        gateway.serve(resources);
        Self {
            gateway,
            log,
            _directory: directory,
        }
    }

    pub fn gateway(&self) -> &TestGateway {
        &self.gateway
    }

    pub fn address(&self, port: u16) -> SocketAddr {
        self.gateway.address(port)
    }

    /// Connects to the listener of this port.
    pub fn connect(&self, port: u16) -> TcpStream {
        connect(self.address(port))
    }

    /// All lines of the log, once there are as many.
    pub fn lines(&self, count: usize) -> Vec<Value> {
        let read = || {
            let text = std::fs::read_to_string(&self.log).unwrap_or_default();
            let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
            whole
                .lines()
                .map(|line| serde_json::from_str(line).unwrap())
                .collect::<Vec<Value>>()
        };
        eventually("the lines are written", || read().len() >= count);
        let lines = read();
        assert_eq!(lines.len(), count, "{lines:?}");
        lines
    }

    /// The only line: flags, details, transport failure, bytes received and sent, host, cluster,
    /// server name, `-` for null.
    pub fn summary(&self) -> String {
        let [line] = self.lines(1).try_into().unwrap();
        for key in ["method", "path", "protocol"] {
            assert_eq!(line[key], Value::Null);
        }
        assert_eq!(line["response_code"], 0);
        [
            "response_flags",
            "response_code_details",
            "upstream_transport_failure_reason",
            "bytes_received",
            "bytes_sent",
            "upstream_host",
            "upstream_cluster",
            "requested_server_name",
        ]
        .map(|key| match (line[key].is_null(), line[key].as_str()) {
            (true, _) => "-".to_owned(),
            (false, Some(text)) => text.to_owned(),
            (false, None) => line[key].to_string(),
        })
        .join(" ")
    }

    /// The value of the metric line that begins with `name` and has all of `labels`.
    pub fn metric(&self, name: &str, labels: &[&str]) -> Option<u64> {
        let address = self.gateway.gateway().metrics_address().unwrap();
        let page = crate::support::client::get(address, "a", "/metrics").text();
        let line = page.lines().find(|line| {
            let rest = line.strip_prefix(name);
            rest.is_some_and(|rest| rest.starts_with(['{', ' ']))
                && labels.iter().all(|label| line.contains(label))
        })?;
        line.rsplit_once(' ')?.1.parse().ok()
    }
}

pub fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(LONG)).unwrap();
    stream.set_write_timeout(Some(LONG)).unwrap();
    stream
}

/// A listener on port 80 that carries everything to these servers.
pub fn carrying(servers: &[SocketAddr], change: impl FnOnce(&mut L4Route)) -> Vec<Resource> {
    let mut route = l4_route("route", "tcp", &[("servers", 1)]);
    change(&mut route);
    let mut resources = vec![listener(80), of_chain(tcp(chain("tcp", 80))), of_l4(route)];
    resources.extend(cluster_of("servers", servers));
    resources
}

/// A cluster whose endpoints metrics can tell apart.
pub fn cluster_of(name: &str, servers: &[SocketAddr]) -> [Resource; 2] {
    let [config, mut endpoints] = cluster(name, servers);
    if let Resource::Endpoints(set) = &mut endpoints {
        for endpoint in &mut set.endpoints {
            endpoint.identity = EndpointIdentity {
                workload: "server".to_owned(),
                ..EndpointIdentity::default()
            };
        }
    }
    [config, endpoints]
}

/// A server on a free port; each connection gets a thread.
pub struct Server {
    pub address: SocketAddr,
    connections: Arc<AtomicUsize>,
}

impl Server {
    pub fn start(serve: impl Fn(TcpStream) -> io::Result<()> + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let connections = Arc::new(AtomicUsize::new(0));
        let (serve, counter) = (Arc::new(serve), Arc::clone(&connections));
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                counter.fetch_add(1, SeqCst);
                stream.set_read_timeout(Some(LONG)).unwrap();
                let serve = Arc::clone(&serve);
                // A connection that ends badly is the test's to notice.
                std::thread::spawn(move || serve(stream));
            }
        });
        Self {
            address,
            connections,
        }
    }

    /// Sends back what it is sent, then its end.
    pub fn echo() -> Self {
        Self::start(|mut stream| {
            let mut buffer = [0; 16 * 1024];
            loop {
                match stream.read(&mut buffer)? {
                    0 => return stream.shutdown(Shutdown::Write),
                    n => stream.write_all(&buffer[..n])?,
                }
            }
        })
    }

    /// Says who it is and ends.
    pub fn named(name: &'static str) -> Self {
        Self::start(move |mut stream| stream.write_all(name.as_bytes()))
    }

    pub fn connections(&self) -> usize {
        self.connections.load(SeqCst)
    }
}

/// An address that refuses connections.
pub fn refusing() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap()
}

/// Everything until the end.
pub fn rest(stream: &mut TcpStream) -> Vec<u8> {
    let mut all = Vec::new();
    stream.read_to_end(&mut all).unwrap();
    all
}

/// What the client sees at the end, after `rest`: `end` or `reset`.
pub fn ending(stream: &mut TcpStream) -> (Vec<u8>, &'static str) {
    let mut all = Vec::new();
    match stream.read_to_end(&mut all) {
        Ok(_) => (all, "end"),
        Err(error) if error.kind() == io::ErrorKind::ConnectionReset => (all, "reset"),
        Err(error) => panic!("{error}"),
    }
}

pub fn exactly(stream: &mut TcpStream, count: usize) -> Vec<u8> {
    let mut bytes = vec![0; count];
    stream.read_exact(&mut bytes).unwrap();
    bytes
}
