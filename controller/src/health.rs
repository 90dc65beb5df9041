//! Liveness and readiness of the controller.

use std::{io, time::Duration};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::watch,
};

/// Longest time for one question.
const LONGEST: Duration = Duration::from_secs(5);
/// Pause when no connection can be accepted.
const PAUSE: Duration = Duration::from_millis(100);

/// Answers `/readyz` with 200 once everything was translated once, and anything else with 200 as
/// long as the process lives.
pub(crate) async fn serve(listener: TcpListener, ready: watch::Receiver<bool>) {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                let ready = *ready.borrow();
                tokio::spawn(tokio::time::timeout(LONGEST, answer(stream, ready)));
            }
            Err(error) => {
                tracing::warn!(%error, "cannot accept a health check");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

async fn answer(mut stream: TcpStream, ready: bool) -> io::Result<()> {
    let mut buffer = [0; 1024];
    let read = stream.read(&mut buffer).await?;
    let asked = buffer.get(..read).unwrap_or_default();
    let (status, body) = if asked.starts_with(b"GET /readyz") && !ready {
        ("503 Service Unavailable", "not every kind is known yet\n")
    } else {
        ("200 OK", "ok\n")
    };
    let length = body.len();
    let head = format!(
        "HTTP/1.1 {status}\r\ncontent-type: text/plain\r\ncontent-length: {length}\r\n\
         connection: close\r\n\r\n{body}"
    );
    stream.write_all(head.as_bytes()).await?;
    stream.shutdown().await
}
