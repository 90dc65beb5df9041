//! Starts the binary, edits its files and sends it requests.
//!
//! Nothing sleeps: whatever is waited for is asked for again until it is there or a deadline ends
//! the test with what was seen last.

mod certificates;
mod curl;
mod load;
mod manifests;
mod process;
mod servers;

pub(crate) use certificates::{Authority, Identity};
pub(crate) use curl::{Answer, curl};
pub(crate) use load::Load;
pub(crate) use manifests::{Network, backend, gateway_api_route, istio_gateway, virtual_service};
pub(crate) use process::{Gwanmun, gwanmun, with_input};
pub(crate) use servers::{datagram_greeter, greeter, shown, tls_server};

use std::{
    fs,
    net::UdpSocket,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

/// Longest time anything is waited for.
pub(crate) const DEADLINE: Duration = Duration::from_secs(20);

/// Time between two questions.
const PAUSE: Duration = Duration::from_millis(5);

/// Asks until the answer satisfies, or fails the test with the last answer.
pub(crate) fn eventually<T: std::fmt::Debug>(
    what: &str,
    mut ask: impl FnMut() -> T,
    satisfied: impl Fn(&T) -> bool,
) -> T {
    let began = Instant::now();
    loop {
        let answer = ask();
        if satisfied(&answer) {
            return answer;
        }
        std::thread::park_timeout(PAUSE);
        assert!(
            began.elapsed() < DEADLINE,
            "not in time: {what}; last seen: {answer:#?}"
        );
    }
}

/// Sends a datagram from a new port and gives the answer; nothing if there is none for a second.
pub(crate) fn datagram(to: &str, text: &str) -> Option<String> {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    // Connected: only what this address sends is received.
    socket.connect(to).unwrap();
    socket.send(text.as_bytes()).unwrap();
    socket
        .set_read_timeout(Some(Duration::from_secs(1)))
        .unwrap();
    let mut answer = [0; 2048];
    let length = socket.recv(&mut answer).ok()?;
    Some(String::from_utf8_lossy(&answer[..length]).into_owned())
}

/// A directory of manifests that a test edits.
pub(crate) struct Directory {
    directory: tempfile::TempDir,
}

impl Directory {
    /// An empty one.
    pub(crate) fn new() -> Self {
        Self {
            directory: tempfile::tempdir().unwrap(),
        }
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        self.directory.path()
    }

    /// Path of a file in it.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.path().join(name)
    }

    /// Writes a file in place.
    pub(crate) fn write(&self, name: &str, content: &str) {
        let path = self.file(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    /// Replaces a file as careful editors do: written beside it, then renamed.
    pub(crate) fn replace(&self, name: &str, content: &str) {
        let beside = self.file(&format!(".{name}.new"));
        fs::write(&beside, content).unwrap();
        fs::rename(beside, self.file(name)).unwrap();
    }

    /// Removes a file.
    pub(crate) fn remove(&self, name: &str) {
        fs::remove_file(self.file(name)).unwrap();
    }
}
