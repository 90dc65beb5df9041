//! Processes of the binary, with their output collected line by line.

use super::{Answer, DEADLINE, Directory, curl, eventually};
use parking_lot::{Condvar, Mutex};
use std::{
    io::{BufRead as _, BufReader, Read, Write as _},
    path::Path,
    process::{Child, Command, ExitStatus, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Instant,
};

/// What a finished command said.
#[derive(Debug)]
pub(crate) struct Output {
    /// Exit code.
    pub(crate) code: i32,
    /// Standard output.
    pub(crate) out: String,
    /// Standard error.
    pub(crate) err: String,
}

/// Runs the binary to its end.
pub(crate) fn gwanmun(arguments: &[&str]) -> Output {
    with_input(arguments, "")
}

/// Runs the binary to its end with something on its standard input.
pub(crate) fn with_input(arguments: &[&str], input: &str) -> Output {
    let mut child = command()
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // It may end without reading: that is its right.
    _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    let out = Lines::collect(child.stdout.take().unwrap());
    let err = Lines::collect(child.stderr.take().unwrap());
    let mut running = Gwanmun { child, out, err };
    let status = running.wait();
    Output {
        code: status.code().unwrap_or(-1),
        out: running.out.all(),
        err: running.err.all(),
    }
}

fn command() -> Command {
    Command::new(env!("CARGO_BIN_EXE_gwanmun"))
}

/// Lines that a running process has written so far.
#[derive(Default)]
struct Lines {
    lines: Mutex<Vec<String>>,
    grown: Condvar,
    ended: AtomicBool,
}

impl Lines {
    fn collect(from: impl Read + Send + 'static) -> Arc<Self> {
        let lines = Arc::new(Self::default());
        let collected = Arc::clone(&lines);
        std::thread::spawn(move || {
            for line in BufReader::new(from).lines().map_while(Result::ok) {
                collected.lines.lock().push(line);
                collected.grown.notify_all();
            }
            collected.ended.store(true, Ordering::Release);
        });
        lines
    }

    fn wait(&self, part: &str) -> String {
        let began = Instant::now();
        let mut lines = self.lines.lock();
        loop {
            if let Some(line) = lines.iter().find(|line| line.contains(part)) {
                return line.clone();
            }
            let timed_out = self.grown.wait_for(&mut lines, DEADLINE).timed_out();
            assert!(
                !timed_out && began.elapsed() < DEADLINE,
                "no line with `{part}` in {lines:#?}"
            );
        }
    }

    /// Everything, once the process has ended.
    fn all(&self) -> String {
        eventually(
            "the end of the output",
            || self.ended.load(Ordering::Acquire),
            |ended| *ended,
        );
        self.lines
            .lock()
            .iter()
            .map(|line| format!("{line}\n"))
            .collect()
    }

    fn count(&self, part: &str) -> usize {
        self.lines
            .lock()
            .iter()
            .filter(|line| line.contains(part))
            .count()
    }
}

/// A running process of the binary; killed when dropped.
pub(crate) struct Gwanmun {
    child: Child,
    out: Arc<Lines>,
    err: Arc<Lines>,
}

impl Gwanmun {
    /// Starts any subcommand.
    pub(crate) fn start(arguments: &[&str]) -> Self {
        Self::spawn(&mut command(), arguments)
    }

    fn spawn(command: &mut Command, arguments: &[&str]) -> Self {
        let mut child = command
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let out = Lines::collect(child.stdout.take().unwrap());
        let err = Lines::collect(child.stderr.take().unwrap());
        Self { child, out, err }
    }

    /// `run` on a directory, on free ports of 127.0.0.1, serving.
    pub(crate) fn run(directory: &Directory, more: &[&str]) -> Self {
        Self::run_on(&[directory.path().to_str().unwrap()], more)
    }

    /// `run` on a directory, where the system's authorities are those of a file.
    pub(crate) fn run_trusting(directory: &Directory, authorities: &Path) -> Self {
        let mut command = command();
        command.env("SSL_CERT_FILE", authorities);
        Self::run_as(&mut command, &[directory.path().to_str().unwrap()], &[])
    }

    /// `run` on several places.
    pub(crate) fn run_on(places: &[&str], more: &[&str]) -> Self {
        Self::run_as(&mut command(), places, more)
    }

    fn run_as(command: &mut Command, places: &[&str], more: &[&str]) -> Self {
        let mut arguments = vec!["run"];
        for place in places {
            arguments.extend(["--config", place]);
        }
        arguments.extend([
            "--bind",
            "127.0.0.1",
            "--admin",
            "127.0.0.1:0",
            "--health",
            "127.0.0.1:0",
        ]);
        arguments.extend(["--metrics", "127.0.0.1:0", "--concurrency", "2"]);
        for map in ["80:0", "443:0", "8080:0"] {
            arguments.extend(["--map-port", map]);
        }
        arguments.extend(more);
        let running = Self::spawn(command, &arguments);
        running.wait_error(" serving");
        running
    }

    /// Echo backends for the manifests of a directory.
    pub(crate) fn backends(directory: &Directory) -> Self {
        let running = Self::start(&["demo", "--backends", directory.path().to_str().unwrap()]);
        running.out.wait("answering");
        running
    }

    /// The address bound for a TCP port of the manifests, e.g. `127.0.0.1:40123`.
    pub(crate) fn address(&self, port: u16) -> String {
        self.address_of("tcp", port)
    }

    /// The address bound for a UDP port of the manifests.
    pub(crate) fn udp_address(&self, port: u16) -> String {
        self.address_of("udp", port)
    }

    fn address_of(&self, transport: &str, port: u16) -> String {
        let suffix = format!(":{port}");
        let line = eventually(
            &format!("a listener for port {port}"),
            || self.err.wait("listening on"),
            |line| !line.is_empty(),
        );
        let lines = self.err.lines.lock();
        let found = lines.iter().rev().find_map(|line| {
            let (_, rest) = line.split_once("listening on ")?;
            let (address, listener) = rest.split_once(" for ")?;
            let listener = listener.trim();
            (listener.starts_with(transport) && listener.ends_with(&suffix))
                .then(|| address.to_owned())
        });
        found.unwrap_or_else(|| panic!("no listener for {transport} port {port}; {line}"))
    }

    /// The address of `admin interface`, `metrics` or `readiness`.
    pub(crate) fn own_address(&self, purpose: &str) -> String {
        let line = self.err.wait(&format!("{purpose} on "));
        line.split_once(" on ").unwrap().1.trim().to_owned()
    }

    /// `GET http://HOST/PATH` at a port of the manifests.
    pub(crate) fn get(&self, port: u16, host: &str, path: &str, more: &[&str]) -> Answer {
        let to = format!("::{}", self.address(port));
        let url = format!("http://{host}:{port}{path}");
        let mut arguments = vec!["--connect-to", &to, &url];
        arguments.extend(more);
        curl(&arguments)
    }

    /// `GET` of an admin path.
    pub(crate) fn admin(&self, path: &str) -> Answer {
        curl(&[&format!(
            "http://{}{path}",
            self.own_address("admin interface")
        )])
    }

    /// Waits for a line on standard error that contains the text.
    pub(crate) fn wait_error(&self, part: &str) -> String {
        self.err.wait(part)
    }

    /// Waits for a line on standard output that contains the text.
    pub(crate) fn wait_output(&self, part: &str) -> String {
        self.out.wait(part)
    }

    /// The lines on standard output so far that contain the text.
    pub(crate) fn output_with(&self, part: &str) -> Vec<String> {
        let lines = self.out.lines.lock();
        lines
            .iter()
            .filter(|line| line.contains(part))
            .cloned()
            .collect()
    }

    /// How many lines on standard error contain the text.
    pub(crate) fn count_errors(&self, part: &str) -> usize {
        self.err.count(part)
    }

    /// Sends a signal, e.g. `TERM`.
    pub(crate) fn signal(&self, name: &str) {
        let id = self.child.id().to_string();
        assert!(
            Command::new("kill")
                .args(["-s", name, &id])
                .status()
                .unwrap()
                .success()
        );
    }

    /// Waits for the end.
    pub(crate) fn wait(&mut self) -> ExitStatus {
        eventually(
            "the end of the process",
            || self.child.try_wait().unwrap(),
            Option::is_some,
        )
        .unwrap()
    }

    /// Whether it runs.
    pub(crate) fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }
}

impl Drop for Gwanmun {
    fn drop(&mut self) {
        // It may have ended already.
        _ = self.child.kill();
        _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("standard error was: {:#?}", self.err.lines.lock());
        }
    }
}
