//! Connections that carry bytes, on real sockets.

use super::*;
use crate::cluster::{ConnectFailure, Resource, state::State};
use gwanmun_ir::{CircuitBreakers, Endpoint, EndpointHealth, OutlierDetection};
use std::{sync::Arc, time::Duration};
use tokio::{io::AsyncReadExt, net::TcpListener};

fn request(attempts: u32) -> TcpRequest {
    TcpRequest {
        addresses: ProxiedAddresses {
            client: "192.0.2.1:1234".parse().unwrap(),
            local: "198.51.100.2:443".parse().unwrap(),
        },
        attempts,
    }
}

fn cluster(endpoints: &[SocketAddr], change: impl FnOnce(&mut gwanmun_ir::Cluster)) -> Cluster {
    let mut config = (*Cluster::for_test("a").config).clone();
    change(&mut config);
    let state = Arc::new(State::new(1));
    let endpoints: Vec<_> = endpoints
        .iter()
        .map(|&address| Endpoint {
            address,
            weight: 1,
            health: EndpointHealth::Healthy,
            identity: Default::default(),
        })
        .collect();
    state.set_endpoints(&endpoints);
    Cluster::new(config, None, state)
}

fn refusing() -> SocketAddr {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap()
}

#[tokio::test]
async fn another_endpoint_is_tried_when_one_refuses() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let good = listener.local_addr().unwrap();
    let cluster = cluster(&[refusing(), good], |_| {});
    for _ in 0..10 {
        let made = cluster.connect_tcp(&request(2)).await.unwrap();
        assert_eq!(made.endpoint.address, good);
        assert_eq!(made.local, made.io.local_addr());
    }
    let stats = &cluster.state.stats;
    assert_eq!((stats.cx_total.get(), stats.cx_http1_total.get()), (10, 0));
    assert!(stats.cx_connect_fail.get() > 0);
}

#[tokio::test]
async fn one_attempt_is_one_attempt_and_names_its_endpoint() {
    let address = refusing();
    let cluster = cluster(&[address], |_| {});
    let error = cluster.connect_tcp(&request(0)).await.unwrap_err();
    assert_eq!(error.endpoint.unwrap().address, address);
    let TcpFailure::Connect(reason) = error.reason else {
        panic!("{:?}", error.reason);
    };
    assert_eq!(
        reason.transport,
        "delayed_connect_error:_Connection_refused"
    );
    assert_eq!(cluster.state.stats.cx_connect_fail.get(), 1);
}

#[tokio::test]
async fn without_endpoints_there_is_nothing_to_try() {
    let cluster = cluster(&[], |_| {});
    let error = cluster.connect_tcp(&request(3)).await.unwrap_err();
    assert_eq!(error.reason, TcpFailure::NoHealthy(NoHealthyEndpoint));
    assert!(error.endpoint.is_none());
}

#[tokio::test]
async fn the_limit_of_connections_is_never_exceeded() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let cluster = cluster(&[listener.local_addr().unwrap()], |config| {
        config.limits = CircuitBreakers {
            max_connections: Some(1),
            ..CircuitBreakers::default()
        };
    });
    let first = cluster.connect_tcp(&request(1)).await.unwrap();
    let error = cluster.connect_tcp(&request(5)).await.unwrap_err();
    assert!(matches!(
        error.reason,
        TcpFailure::Connect(ConnectError {
            failure: ConnectFailure::Overflow,
            ..
        })
    ));
    assert_eq!(cluster.state.stats.cx_overflow.get(), 1);
    drop(first);
    assert_eq!(cluster.state.usage().get(Resource::Connections), 0);
    assert!(cluster.connect_tcp(&request(1)).await.is_ok());
}

#[tokio::test]
async fn endpoints_that_refuse_are_ejected() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let good = listener.local_addr().unwrap();
    let cluster = cluster(&[refusing(), good], |config| {
        config.outlier = Some(OutlierDetection {
            consecutive_5xx: 3,
            consecutive_gateway_errors: 0,
            interval_ms: 10_000,
            base_ejection_ms: 10_000,
            max_ejection_percent: 50,
            consecutive_local_failures: None,
            min_health_percent: 0,
        });
    });
    for _ in 0..20 {
        let _refused = cluster.connect_tcp(&request(1)).await;
    }
    assert_eq!(cluster.state.stats.cx_connect_fail.get(), 3);
    assert_eq!(cluster.state.ejections().0, 1);
}

#[tokio::test]
async fn the_proxy_header_comes_first() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let cluster = cluster(&[listener.local_addr().unwrap()], |config| {
        config.proxy_protocol = Some(gwanmun_ir::ProxyProtocolVersion::V1);
    });
    let made = cluster.connect_tcp(&request(1)).await.unwrap();
    drop(made);
    let (mut stream, _) = listener.accept().await.unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).await.unwrap();
    assert_eq!(text, "PROXY TCP4 192.0.2.1 198.51.100.2 1234 443\r\n");
}

#[tokio::test]
async fn an_endpoint_that_does_not_answer_is_a_time_out_of_each_try() {
    // A full backlog swallows what comes.
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    let any: SocketAddr = "127.0.0.1:0".parse().unwrap();
    socket.bind(&any.into()).unwrap();
    socket.listen(0).unwrap();
    let address = socket.local_addr().unwrap().as_socket().unwrap();
    let _fill: Vec<_> = (0..4)
        .map(|_| std::net::TcpStream::connect_timeout(&address, Duration::from_millis(100)))
        .collect();
    let cluster = cluster(&[address], |config| config.connect_timeout_ms = 50);
    let error = cluster.connect_tcp(&request(2)).await.unwrap_err();
    assert!(matches!(
        error.reason,
        TcpFailure::Connect(ConnectError {
            failure: ConnectFailure::Timeout,
            ..
        })
    ));
    assert_eq!(cluster.state.stats.cx_connect_timeout.get(), 2);
}
