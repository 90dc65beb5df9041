//! What the system does for a connection to an endpoint.

use gwanmun_ir::TcpKeepalive;
use socket2::SockRef;
use std::{io, net::SocketAddr, time::Duration};
use tokio::net::TcpStream;

/// Silence before the system asks whether an endpoint is still there, where nobody says otherwise.
const ASKED_AFTER: Duration = Duration::from_secs(60);
/// Time between such questions.
const ASKED_EVERY: Duration = Duration::from_secs(20);
/// Unanswered questions after which a connection is given up.
const ASKED_TIMES: u32 = 3;
/// Longest time that an endpoint acknowledges nothing of what was sent, or takes none of it: else
/// it is a quarter of an hour.
const UNACKNOWLEDGED: Duration = Duration::from_secs(300);

/// How long the first of two addresses is given before the other is tried too, as RFC 8305 §5.
const HEAD_START: Duration = Duration::from_millis(250);

/// Connects to `address`; to `standby` when that fails or takes too long.
///
/// # Errors
///
/// Why the first address could not be reached, when neither could.
pub(super) async fn connect(
    address: SocketAddr,
    standby: Option<SocketAddr>,
) -> io::Result<TcpStream> {
    let Some(standby) = standby else {
        return TcpStream::connect(address).await;
    };
    let mut first = std::pin::pin!(TcpStream::connect(address));
    let error = match tokio::time::timeout(HEAD_START, &mut first).await {
        Ok(Ok(stream)) => return Ok(stream),
        Ok(Err(error)) => Some(error),
        Err(_elapsed) => None,
    };
    let second = TcpStream::connect(standby);
    if let Some(error) = error {
        return second.await.map_err(|_second| error);
    }
    tokio::select! {
        result = &mut first => match result {
            Ok(stream) => Ok(stream),
            Err(error) => TcpStream::connect(standby).await.map_err(|_second| error),
        },
        Ok(stream) = second => Ok(stream),
        else => Err(io::ErrorKind::TimedOut.into()),
    }
}

/// Sets up a connection. A system that cannot do a part of it is served without.
pub(super) fn set_up(stream: &TcpStream, keepalive: Option<TcpKeepalive>) {
    // Fails only on a socket that is already gone, which the first write tells.
    let _ = stream.set_nodelay(true);
    let socket = SockRef::from(stream);
    let wanted = keepalive.unwrap_or(TcpKeepalive {
        probes: Some(ASKED_TIMES),
        time_seconds: Some(seconds(ASKED_AFTER)),
        interval_seconds: Some(seconds(ASKED_EVERY)),
    });
    let mut probing = socket2::TcpKeepalive::new();
    if let Some(time) = wanted.time_seconds {
        probing = probing.with_time(Duration::from_secs(time.max(1).into()));
    }
    if let Some(interval) = wanted.interval_seconds {
        probing = probing.with_interval(Duration::from_secs(interval.max(1).into()));
    }
    if let Some(probes) = wanted.probes {
        probing = probing.with_retries(probes.max(1));
    }
    let _ = socket.set_tcp_keepalive(&probing);
    #[cfg(target_os = "linux")]
    {
        let _ = socket.set_tcp_user_timeout(Some(UNACKNOWLEDGED));
    }
}

fn seconds(duration: Duration) -> u32 {
    u32::try_from(duration.as_secs()).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_other_address_is_used_where_the_first_refuses() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let good = listener.local_addr().unwrap();
        let refusing = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let bad = refusing.local_addr().unwrap();
        drop(refusing);
        assert!(connect(bad, None).await.is_err());
        let stream = connect(bad, Some(good)).await.unwrap();
        assert_eq!(stream.peer_addr().unwrap(), good);
        let error = connect(bad, Some(bad)).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
        let stream = connect(good, Some(bad)).await.unwrap();
        assert_eq!(stream.peer_addr().unwrap(), good);
    }

    #[tokio::test]
    async fn the_other_address_is_used_where_the_first_is_silent() {
        // A full backlog swallows what comes.
        let (domain, kind) = (socket2::Domain::IPV4, socket2::Type::STREAM);
        let socket = socket2::Socket::new(domain, kind, None).unwrap();
        let any: SocketAddr = "127.0.0.1:0".parse().unwrap();
        socket.bind(&any.into()).unwrap();
        socket.listen(0).unwrap();
        let silent = socket.local_addr().unwrap().as_socket().unwrap();
        let brief = Duration::from_millis(100);
        let _fill: Vec<_> = (0..4)
            .map(|_| std::net::TcpStream::connect_timeout(&silent, brief))
            .collect();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let good = listener.local_addr().unwrap();
        let stream = connect(silent, Some(good)).await.unwrap();
        assert_eq!(stream.peer_addr().unwrap(), good);
    }

    #[tokio::test]
    async fn a_connection_is_probed_as_configured() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let stream = TcpStream::connect(listener.local_addr().unwrap())
            .await
            .unwrap();
        let socket = SockRef::from(&stream);
        set_up(&stream, None);
        assert!(socket.keepalive().unwrap());
        assert_eq!(socket.tcp_keepalive_time().unwrap(), ASKED_AFTER);
        assert_eq!(socket.tcp_user_timeout().unwrap(), Some(UNACKNOWLEDGED));
        let wanted = TcpKeepalive {
            probes: Some(7),
            time_seconds: Some(11),
            interval_seconds: Some(0),
        };
        set_up(&stream, Some(wanted));
        assert_eq!(socket.tcp_keepalive_retries().unwrap(), 7);
        assert_eq!(
            socket.tcp_keepalive_time().unwrap(),
            Duration::from_secs(11)
        );
        assert_eq!(
            socket.tcp_keepalive_interval().unwrap(),
            Duration::from_secs(1)
        );
    }
}
