//! Requests with `curl`, as a user sends them.

use std::process::Command;

/// What `curl` got.
#[derive(Debug)]
pub(crate) struct Answer {
    /// HTTP status; 0 when there was no answer.
    pub(crate) status: u16,
    /// Status line and fields in lower case, or why there was no answer.
    pub(crate) head: String,
    /// Body.
    pub(crate) body: String,
}

impl Answer {
    /// Whether the status is this one and the body contains the text.
    pub(crate) fn is(&self, status: u16, text: &str) -> bool {
        self.status == status && self.body.contains(text)
    }

    /// A field of the head.
    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        self.head
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
    }
}

/// Runs `curl` with these arguments.
pub(crate) fn curl(arguments: &[&str]) -> Answer {
    let output = Command::new("curl")
        .args(["--silent", "--show-error", "--include", "--max-time", "15"])
        .args(arguments)
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let (mut head, mut body) = (String::new(), text.as_str());
    // Interim answers, if any, come first.
    while body.starts_with("HTTP/") {
        let (before, after) = body.split_once("\r\n\r\n").unwrap_or((body, ""));
        head = before.replace('\r', "").to_lowercase();
        body = after;
    }
    let status = head
        .split_whitespace()
        .nth(1)
        .and_then(|code| code.parse().ok())
        .unwrap_or_default();
    if status == 0 {
        head = String::from_utf8_lossy(&output.stderr).into_owned();
    }
    Answer {
        status,
        body: body.to_owned(),
        head,
    }
}
