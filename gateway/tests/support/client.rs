//! Clients that show every byte.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

/// A connection on which requests are written by hand.
pub struct Raw {
    stream: TcpStream,
}

/// An HTTP/1 response as received.
#[derive(Clone, Debug)]
pub struct Response {
    /// Status.
    pub status: u16,
    /// Fields, names in lower case, in order.
    pub headers: Vec<(String, String)>,
    /// Body, decoded.
    pub body: Vec<u8>,
}

impl Response {
    /// First field of that name.
    pub fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(own, _)| own == name);
        found.map(|(_, value)| value.as_str())
    }

    /// Body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

impl Raw {
    /// Connects; reads give up after ten seconds.
    pub fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).unwrap();
        stream
            .set_read_timeout(Some(Duration::from_secs(10)))
            .unwrap();
        stream.set_nodelay(true).unwrap();
        Self { stream }
    }

    /// Writes bytes.
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.stream.write_all(bytes.as_ref()).unwrap();
    }

    /// Reads one response, its body by content length, chunks, or to the end of the connection.
    pub fn response(&mut self) -> Response {
        self.try_response().unwrap()
    }

    /// Reads one response; the connection's error when it ends before.
    pub fn try_response(&mut self) -> std::io::Result<Response> {
        read_response(&mut self.stream)
    }

    /// Everything until the server closes.
    pub fn rest(&mut self) -> Vec<u8> {
        let mut bytes = Vec::new();
        // A reset is an end as well.
        let _ = self.stream.read_to_end(&mut bytes);
        bytes
    }

    /// Waits for the end, discarding what comes; whether it came.
    pub fn is_ended(&mut self) -> bool {
        let mut bytes = Vec::new();
        match self.stream.read_to_end(&mut bytes) {
            Ok(_) => true,
            Err(error) => error.kind() != std::io::ErrorKind::WouldBlock,
        }
    }

    /// The socket.
    pub fn stream(&mut self) -> &mut TcpStream {
        &mut self.stream
    }
}

/// One GET on a connection of its own.
pub fn get(address: SocketAddr, host: &str, path: &str) -> Response {
    let mut raw = Raw::connect(address);
    raw.send(format!(
        "GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n"
    ));
    raw.response()
}

/// Reads one HTTP/1 response from any stream.
pub fn read_response(stream: &mut impl Read) -> std::io::Result<Response> {
    let head = read_until(stream, b"\r\n\r\n")?;
    let head = String::from_utf8_lossy(&head).into_owned();
    let mut lines = head.split("\r\n");
    let status = lines.next().unwrap().split(' ').nth(1).unwrap();
    let headers: Vec<(String, String)> = lines
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
        .collect();
    let mut response = Response {
        status: status.parse().unwrap(),
        headers,
        body: Vec::new(),
    };
    if response.header("transfer-encoding") == Some("chunked") {
        response.body = read_chunks(stream)?;
    } else if let Some(length) = response.header("content-length") {
        let mut body = vec![0; length.parse().unwrap()];
        stream.read_exact(&mut body)?;
        response.body = body;
    } else if !matches!(response.status, 100..=199 | 204 | 304) {
        stream.read_to_end(&mut response.body)?;
    }
    Ok(response)
}

fn read_chunks(stream: &mut impl Read) -> std::io::Result<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let line = read_until(stream, b"\r\n")?;
        let size = String::from_utf8_lossy(&line).trim().to_owned();
        let size = usize::from_str_radix(&size, 16).unwrap();
        if size == 0 {
            while read_until(stream, b"\r\n")? != b"\r\n" {}
            return Ok(body);
        }
        let mut chunk = vec![0; size + 2];
        stream.read_exact(&mut chunk)?;
        chunk.truncate(size);
        body.extend(chunk);
    }
}

fn read_until(stream: &mut impl Read, end: &[u8]) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let mut byte = [0];
    while !bytes.ends_with(end) {
        stream.read_exact(&mut byte)?;
        bytes.extend(byte);
    }
    Ok(bytes)
}
