//! Datagrams, from outside: a whole gateway in this process, servers and clients on real sockets.

#![cfg(test)]
#![allow(
    dead_code,
    unreachable_pub,
    reason = "each test file uses its part of what they share"
)]

#[path = "../support/mod.rs"]
mod support;

mod sessions;
mod sockets;

use gwanmun_gateway::Config;
use gwanmun_ir::{
    AppProtocol, BindAddress, FilterChain, L4Route, Listener, ListenerKey, Resource, Transport,
};
use std::{
    net::{SocketAddr, UdpSocket},
    thread::JoinHandle,
    time::Duration,
};
use support::{TestGateway, build};

/// Longest wait for a datagram that must come.
const SOON: Duration = Duration::from_secs(5);
/// Wait for a datagram that must not come.
const NEVER: Duration = Duration::from_millis(150);

/// A server that puts its name before what it gets and sends it back, until it gets `quit`.
struct Echo {
    address: SocketAddr,
    thread: Option<JoinHandle<()>>,
}

impl Echo {
    fn start(name: &str) -> Self {
        Self::on(UdpSocket::bind("127.0.0.1:0").unwrap(), name)
    }

    fn on(socket: UdpSocket, name: &str) -> Self {
        let address = socket.local_addr().unwrap();
        let name = name.as_bytes().to_vec();
        let thread = std::thread::spawn(move || {
            let mut buffer = vec![0; 65_536];
            while let Ok((size, from)) = socket.recv_from(&mut buffer) {
                let got = &buffer[..size];
                if got == b"quit" {
                    return;
                }
                let _ = socket.send_to(&[&name, got].concat(), from);
            }
        });
        Self {
            address,
            thread: Some(thread),
        }
    }
}

impl Drop for Echo {
    fn drop(&mut self) {
        let stop = UdpSocket::bind("127.0.0.1:0").unwrap();
        stop.send_to(b"quit", self.address).unwrap();
        let _ = self.thread.take().unwrap().join();
    }
}

fn key(port: u16) -> ListenerKey {
    ListenerKey::new(format!("udp/0.0.0.0:{port}"))
}

fn listener(port: u16) -> Resource {
    Resource::Listener(Listener {
        key: key(port),
        address: BindAddress::Any,
        port,
        transport: Transport::Udp,
        proxy_protocol: None,
    })
}

fn chain(name: &str, port: u16) -> Resource {
    build::of_chain(FilterChain {
        listener: key(port),
        protocol: AppProtocol::Udp,
        ..build::chain(name, port)
    })
}

/// A listener on port 80 whose datagrams go to these clusters, each of some endpoints.
fn configuration(clusters: &[(&str, u32, &[SocketAddr])], idle: Duration) -> Vec<Resource> {
    let targets: Vec<_> = clusters
        .iter()
        .map(|(name, weight, _)| (*name, *weight))
        .collect();
    let route = L4Route {
        idle_timeout_ms: u64::try_from(idle.as_millis()).unwrap(),
        ..build::l4_route("r", "c", &targets)
    };
    let mut all = vec![listener(80), chain("c", 80), build::of_l4(route)];
    for (name, _, endpoints) in clusters {
        all.extend(build::cluster(name, endpoints));
    }
    all
}

fn gateway(change: impl FnOnce(&mut Config)) -> TestGateway {
    TestGateway::with(|config| {
        config.access_log = gwanmun_gateway::AccessLogMode::Off;
        change(config);
    })
}

fn address(gateway: &TestGateway, port: u16) -> SocketAddr {
    let addresses = gateway.gateway().addresses();
    let wanted = key(port);
    addresses
        .into_iter()
        .find(|(key, _)| *key == wanted)
        .unwrap()
        .1
}

fn client(to: SocketAddr) -> UdpSocket {
    let socket = UdpSocket::bind((if to.is_ipv4() { "127.0.0.1" } else { "::1" }, 0)).unwrap();
    socket.connect(to).unwrap();
    socket.set_read_timeout(Some(SOON)).unwrap();
    socket
}

fn ask(client: &UdpSocket, question: &[u8]) -> Vec<u8> {
    client.send(question).unwrap();
    hear(client)
}

fn hear(client: &UdpSocket) -> Vec<u8> {
    let mut buffer = vec![0; 65_536];
    let size = client.recv(&mut buffer).unwrap();
    buffer.truncate(size);
    buffer
}

fn hears_nothing(client: &UdpSocket) -> bool {
    client.set_read_timeout(Some(NEVER)).unwrap();
    let nothing = client.recv(&mut [0; 16]).is_err();
    client.set_read_timeout(Some(SOON)).unwrap();
    nothing
}

/// Asks again and again, each time as a new client, until the answer is this.
fn eventually_answers(to: SocketAddr, answer: &[u8]) {
    support::eventually("the expected answer", || {
        let client = client(to);
        client.set_read_timeout(Some(NEVER)).unwrap();
        client.send(b"").unwrap();
        let mut buffer = [0; 64];
        client
            .recv(&mut buffer)
            .is_ok_and(|size| &buffer[..size] == answer)
    });
}
