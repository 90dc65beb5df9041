//! Plain TCP.

use crate::bench::{Bench, Server, carrying, connect, ending, exactly, rest};
use crate::support::{build::*, eventually};
use gwanmun_ir::{CircuitBreakers, Resource};
use socket2::SockRef;
use std::{
    collections::BTreeMap,
    io::{Read, Write},
    net::Shutdown,
    sync::mpsc,
    time::{Duration, Instant},
};

#[test]
fn bytes_go_both_ways_and_the_log_counts_them() {
    let server = Server::echo();
    let bench = Bench::start(carrying(&[server.address], |_| {}));
    let mut client = bench.connect(80);
    client.write_all(b"hello").unwrap();
    assert_eq!(exactly(&mut client, 5), b"hello");
    let own = client.local_addr().unwrap();
    client.shutdown(Shutdown::Write).unwrap();
    assert_eq!(ending(&mut client), (Vec::new(), "end"));
    assert_eq!(
        bench.summary(),
        format!("- - - 5 5 {} servers -", server.address)
    );
    let [line] = bench.lines(1).try_into().unwrap();
    assert_eq!(line["downstream_remote_address"], own.to_string());
    assert_eq!(
        line["downstream_local_address"],
        bench.address(80).to_string()
    );
    assert_eq!(line["route_name"], "default.route.0");
    assert!(line["upstream_local_address"].is_string());
}

#[test]
fn a_server_may_speak_first() {
    let server = Server::start(|mut stream| {
        stream.write_all(b"220 ready\r\n")?;
        let mut line = [0; 6];
        stream.read_exact(&mut line)?;
        stream.write_all(b"221 bye\r\n")
    });
    let bench = Bench::start(carrying(&[server.address], |_| {}));
    let mut client = bench.connect(80);
    assert_eq!(exactly(&mut client, 11), b"220 ready\r\n");
    client.write_all(b"QUIT\r\n").unwrap();
    assert_eq!(rest(&mut client), b"221 bye\r\n");
}

#[test]
fn one_direction_may_end_before_the_other() {
    // The client's end comes first, and is what the server waits for.
    let server = Server::start(|mut stream| {
        let mut all = Vec::new();
        stream.read_to_end(&mut all)?;
        stream.write_all(format!("got {}", all.len()).as_bytes())
    });
    let bench = Bench::start(carrying(&[server.address], |_| {}));
    let mut client = bench.connect(80);
    client.write_all(&[7; 1000]).unwrap();
    client.shutdown(Shutdown::Write).unwrap();
    assert_eq!(rest(&mut client), b"got 1000");

    // The server's comes first, and it goes on to listen.
    let (sender, heard) = mpsc::channel();
    let server = Server::start(move |mut stream| {
        stream.write_all(b"done")?;
        stream.shutdown(Shutdown::Write)?;
        let mut all = Vec::new();
        stream.read_to_end(&mut all)?;
        sender.send(all).map_err(std::io::Error::other)
    });
    let bench = Bench::start(carrying(&[server.address], |_| {}));
    let mut client = bench.connect(80);
    assert_eq!(rest(&mut client), b"done");
    client.write_all(b"still here").unwrap();
    drop(client);
    assert_eq!(heard.recv().unwrap(), b"still here");
}

#[test]
fn much_is_carried_whole_past_slow_readers() {
    let server = Server::echo();
    let bench = Bench::start(carrying(&[server.address], |_| {}));
    let mut client = bench.connect(80);
    let mut random = fastrand::Rng::with_seed(7);
    let sent: Vec<u8> = std::iter::repeat_with(|| random.u8(..))
        .take(8 << 20)
        .collect();
    let mut writer = client.try_clone().unwrap();
    let copy = sent.clone();
    let writing = std::thread::spawn(move || {
        for piece in copy.chunks(777_777) {
            writer.write_all(piece).unwrap();
        }
        writer.shutdown(Shutdown::Write).unwrap();
    });
    // Nobody reads until everything on the way is full.
    std::thread::park_timeout(Duration::from_millis(300));
    let mut received = Vec::new();
    let mut buffer = vec![0; 1 << 20];
    for size in (1_usize..).map(|round| (round * 7919) % (1 << 20) + 1) {
        match client.read(&mut buffer[..size]).unwrap() {
            0 => break,
            n => received.extend_from_slice(&buffer[..n]),
        }
    }
    writing.join().unwrap();
    assert!(received == sent, "{} of {}", received.len(), sent.len());
    let whole = sent.len();
    assert_eq!(
        bench.summary(),
        format!("- - - {whole} {whole} {} servers -", server.address)
    );
}

#[test]
fn many_connections_at_once_keep_their_bytes_apart() {
    let server = Server::echo();
    let bench = Bench::start(carrying(&[server.address], |_| {}));
    let address = bench.address(80);
    let clients: Vec<_> = (0..16_u8)
        .map(|number| {
            std::thread::spawn(move || {
                let mut client = connect(address);
                for round in 0..50 {
                    let bytes = vec![number; 1 + round * 500];
                    client.write_all(&bytes).unwrap();
                    assert_eq!(exactly(&mut client, bytes.len()), bytes);
                }
            })
        })
        .collect();
    for client in clients {
        client.join().unwrap();
    }
    assert_eq!(bench.lines(16).len(), 16);
}

#[test]
fn a_silent_connection_ends_after_the_idle_timeout() {
    let server = Server::echo();
    let bench = Bench::start(carrying(&[server.address], |route| {
        route.idle_timeout_ms = 400;
    }));
    let mut client = bench.connect(80);
    let begin = Instant::now();
    // Bytes in between put the end off.
    for _ in 0..3 {
        std::thread::park_timeout(Duration::from_millis(200));
        client.write_all(b"x").unwrap();
        exactly(&mut client, 1);
    }
    assert_eq!(ending(&mut client), (Vec::new(), "end"));
    assert!(begin.elapsed() >= Duration::from_millis(900));
    assert_eq!(
        bench.summary(),
        format!("- - - 3 3 {} servers -", server.address)
    );
    assert_eq!(
        bench.metric("envoy_tcp_idle_timeout", &["tcp_prefix=\"servers\""]),
        Some(1)
    );
}

#[test]
fn a_clients_reset_reaches_the_server() {
    let (sender, ended) = mpsc::channel();
    let server = Server::start(move |mut stream| {
        stream.write_all(b"x")?;
        let read = stream.read_to_end(&mut Vec::new());
        sender
            .send(read.map_err(|error| error.kind()))
            .map_err(std::io::Error::other)
    });
    let bench = Bench::start(carrying(&[server.address], |_| {}));
    let mut client = bench.connect(80);
    exactly(&mut client, 1);
    SockRef::from(&client)
        .set_linger(Some(Duration::ZERO))
        .unwrap();
    drop(client);
    assert_eq!(
        ended.recv().unwrap(),
        Err(std::io::ErrorKind::ConnectionReset)
    );
    assert_eq!(
        bench.summary(),
        format!("- - - 0 1 {} servers -", server.address)
    );
}

#[test]
fn a_servers_reset_reaches_the_client_after_what_it_said() {
    let server = Server::start(|mut stream| {
        stream.write_all(b"last words")?;
        stream.read_exact(&mut [0; 4])?;
        SockRef::from(&stream).set_linger(Some(Duration::ZERO))
    });
    let bench = Bench::start(carrying(&[server.address], |_| {}));
    let mut client = bench.connect(80);
    assert_eq!(exactly(&mut client, 10), b"last words");
    client.write_all(b"kill").unwrap();
    assert_eq!(ending(&mut client), (Vec::new(), "reset"));
    assert_eq!(
        bench.summary(),
        format!("UR - - 4 10 {} servers -", server.address)
    );
}

#[test]
fn connections_are_shared_out_by_weight() {
    let servers = [Server::named("a"), Server::named("b"), Server::named("c")];
    let mut route = l4_route("route", "tcp", &[("a", 70), ("b", 30), ("c", 0)]);
    route.connect_attempts = 1;
    let mut resources = vec![listener(80), of_chain(tcp(chain("tcp", 80))), of_l4(route)];
    for (name, server) in ["a", "b", "c"].into_iter().zip(&servers) {
        resources.extend(cluster(name, &[server.address]));
    }
    let bench = Bench::start(resources);
    let mut counts: BTreeMap<Vec<u8>, u32> = BTreeMap::new();
    for _ in 0..500 {
        *counts.entry(rest(&mut bench.connect(80))).or_default() += 1;
    }
    assert_eq!(servers[2].connections(), 0);
    let share = counts[&b"a"[..]];
    assert!((300..=400).contains(&share), "{counts:?}");
    assert_eq!(counts.values().sum::<u32>(), 500);
}

#[test]
fn a_full_cluster_takes_no_more_connections() {
    let server = Server::echo();
    let mut resources = carrying(&[server.address], |_| {});
    for resource in &mut resources {
        if let Resource::Cluster(cluster) = resource {
            cluster.limits = CircuitBreakers {
                max_connections: Some(1),
                ..CircuitBreakers::default()
            };
        }
    }
    let bench = Bench::start(resources);
    let mut first = bench.connect(80);
    first.write_all(b"x").unwrap();
    exactly(&mut first, 1);
    let mut second = bench.connect(80);
    assert_eq!(ending(&mut second), (Vec::new(), "end"));
    assert_eq!(
        bench.summary(),
        format!("UO - - 0 0 {} servers -", server.address)
    );
    drop(first);
    eventually("there is room again", || {
        let mut third = bench.connect(80);
        third.write_all(b"y").is_ok() && third.read(&mut [0]).unwrap_or(0) == 1
    });
}

#[test]
fn istios_and_envoys_metrics_count_connections_and_bytes_while_they_are_open() {
    let server = Server::echo();
    let bench = Bench::start(carrying(&[server.address], |_| {}));
    let mut client = bench.connect(80);
    client.write_all(b"hello").unwrap();
    exactly(&mut client, 5);
    client.write_all(b"!").unwrap();
    exactly(&mut client, 1);
    let labels = [
        "reporter=\"source\"",
        "destination_workload=\"server\"",
        "request_protocol=\"tcp\"",
        "response_flags=\"-\"",
        "connection_security_policy=\"unknown\"",
    ];
    let istio = |name: &str| bench.metric(&format!("istio_tcp_{name}_total"), &labels);
    assert_eq!(istio("connections_opened"), Some(1));
    assert_eq!(istio("connections_closed"), None);
    eventually("bytes are counted", || {
        istio("received_bytes") == Some(6) && istio("sent_bytes") == Some(6)
    });
    drop(client);
    eventually("the end is counted", || {
        istio("connections_closed") == Some(1)
    });
    let envoy = ["tcp_prefix=\"servers\""];
    assert_eq!(
        bench.metric("envoy_tcp_downstream_cx_total", &envoy),
        Some(1)
    );
    let cluster = ["cluster_name=\"servers\""];
    assert_eq!(
        bench.metric("envoy_cluster_upstream_cx_total", &cluster),
        Some(1)
    );
}
