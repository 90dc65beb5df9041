//! Requests in a row over kept connections, until told to stop.

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::TcpStream,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
    time::Duration,
};

/// Clients that send one request after the other.
pub(crate) struct Load {
    stop: Arc<AtomicBool>,
    clients: Vec<JoinHandle<Summary>>,
}

/// What the clients saw.
#[derive(Debug, Default)]
pub(crate) struct Summary {
    /// Complete answers with status 200.
    pub(crate) answered: usize,
    /// Anything else, in words.
    pub(crate) failed: Vec<String>,
}

/// What one request came to.
enum Outcome {
    /// A complete answer, and whether the connection stays open.
    Answered { keep: bool },
    /// The kept connection was closed before the first byte of an answer: clients try again.
    Closed,
    /// Anything else.
    Failed(String),
}

impl Load {
    /// Starts `clients` clients.
    pub(crate) fn start(address: &str, host: &str, clients: usize) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let clients = (0..clients).map(|_| {
            let (stop, address, host) = (Arc::clone(&stop), address.to_owned(), host.to_owned());
            std::thread::spawn(move || client(&stop, &address, &host))
        });
        Self {
            clients: clients.collect(),
            stop,
        }
    }

    /// Ends the clients after their current request.
    pub(crate) fn stop(self) -> Summary {
        self.stop.store(true, Ordering::Relaxed);
        self.join()
    }

    /// Waits until the clients end because nobody accepts connections any more.
    pub(crate) fn join(self) -> Summary {
        let mut all = Summary::default();
        for client in self.clients {
            let summary = client.join().unwrap();
            all.answered += summary.answered;
            all.failed.extend(summary.failed);
        }
        all
    }
}

fn client(stop: &AtomicBool, address: &str, host: &str) -> Summary {
    let mut summary = Summary::default();
    let mut connection = None;
    while !stop.load(Ordering::Relaxed) && summary.failed.is_empty() {
        let kept = connection.is_some();
        let stream = match connection.take() {
            Some(stream) => stream,
            // Nobody accepts: the end of a drain.
            None => match TcpStream::connect(address) {
                Ok(stream) => stream,
                Err(_) => break,
            },
        };
        match request(&stream, host) {
            Outcome::Answered { keep } => {
                summary.answered += 1;
                connection = keep.then_some(stream);
            }
            Outcome::Closed if kept => {}
            Outcome::Closed => summary
                .failed
                .push("closed without an answer on a new connection".to_owned()),
            Outcome::Failed(reason) => summary.failed.push(reason),
        }
    }
    summary
}

fn request(stream: &TcpStream, host: &str) -> Outcome {
    stream
        .set_read_timeout(Some(Duration::from_secs(15)))
        .unwrap();
    let mut writer = stream;
    if writer
        .write_all(format!("GET / HTTP/1.1\r\nhost: {host}\r\n\r\n").as_bytes())
        .is_err()
    {
        return Outcome::Closed;
    }
    let mut reader = BufReader::new(stream);
    let mut head = String::new();
    loop {
        match reader.read_line(&mut head) {
            Ok(0) if head.is_empty() => return Outcome::Closed,
            Err(error)
                if head.is_empty() && error.kind() == std::io::ErrorKind::ConnectionReset =>
            {
                return Outcome::Closed;
            }
            Ok(0) => return Outcome::Failed(format!("an answer that ends in its head: {head}")),
            Err(error) => return Outcome::Failed(format!("{error} after {head}")),
            Ok(_) if head.ends_with("\r\n\r\n") => break,
            Ok(_) => {}
        }
    }
    let head = head.to_lowercase();
    if !head.starts_with("http/1.1 200") {
        return Outcome::Failed(head);
    }
    let field = |name: &str| {
        head.lines()
            .find_map(|line| line.strip_prefix(name))
            .map(str::trim)
    };
    let length = field("content-length:")
        .and_then(|length| length.parse().ok())
        .unwrap_or_default();
    let mut body = vec![0; length];
    match reader.read_exact(&mut body) {
        Ok(()) => Outcome::Answered {
            keep: field("connection:") != Some("close"),
        },
        Err(error) => Outcome::Failed(format!("{error} in the body")),
    }
}
