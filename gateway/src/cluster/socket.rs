//! What the system does for a connection to an endpoint.

use gwanmun_ir::TcpKeepalive;
use socket2::SockRef;
use std::time::Duration;
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
