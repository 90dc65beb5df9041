//! The README's commands do what it says.
//!
//! Every `sh` block runs, in order, in one shell session's worth of state: lines that end with `&`
//! in the background, and lines with `# -> text` until they print that text. Ports and loopback
//! addresses are replaced by free ones; nothing else is.

use crate::support::{DEADLINE, Network, eventually};
use std::{
    fs,
    net::TcpListener,
    os::unix::process::CommandExt as _,
    path::Path,
    process::{Child, Command, Stdio},
};

/// The lines of the README's `sh` blocks.
fn lines() -> Vec<String> {
    let readme = include_str!("../../README.md");
    let blocks = readme
        .split("```sh\n")
        .skip(1)
        .filter_map(|rest| rest.split("```").next());
    blocks.flat_map(str::lines).map(str::to_owned).collect()
}

/// A process group of a background line, ended when dropped.
struct Background(Child);

impl Drop for Background {
    fn drop(&mut self) {
        // The shell and what it started are one group.
        let group = format!("-{}", self.0.id());
        _ = Command::new("kill")
            .args(["-s", "KILL", "--", &group])
            .status();
        _ = self.0.wait();
    }
}

struct Shell {
    directory: tempfile::TempDir,
    port: u16,
    admin: u16,
}

impl Shell {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let free = || {
            TcpListener::bind("127.0.0.1:0")
                .unwrap()
                .local_addr()
                .unwrap()
                .port()
        };
        let shell = Self {
            port: free(),
            admin: free(),
            directory,
        };
        // The example's pods, on addresses that no other test uses.
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/bookinfo");
        let target = shell.directory.path().join("examples/bookinfo");
        fs::create_dir_all(&target).unwrap();
        let network = Network::new().address(0);
        let network = network.trim_end_matches('0');
        for entry in fs::read_dir(source).unwrap() {
            let entry = entry.unwrap();
            let manifest = fs::read_to_string(entry.path()).unwrap();
            fs::write(
                target.join(entry.file_name()),
                manifest.replace("- 127.0.1.", &format!("- {network}")),
            )
            .unwrap();
        }
        shell
    }

    fn command(&self, line: &str) -> Command {
        let own = format!(
            "gwanmun run --bind 127.0.0.1 --map-port 8080:{} --metrics off --health off ",
            self.port
        );
        // `explain` speaks of the listener's own port, not of the bound one.
        let line = if line.contains("explain") {
            line.to_owned()
        } else {
            line.replace("localhost:8080", &format!("127.0.0.1:{}", self.port))
        };
        let binary = Path::new(env!("CARGO_BIN_EXE_gwanmun")).parent().unwrap();
        let path = format!("{}:{}", binary.display(), std::env::var("PATH").unwrap());
        let mut command = Command::new("bash");
        command
            .args(["-c", &line.replace("gwanmun run ", &own)])
            .current_dir(self.directory.path())
            .env("PATH", path)
            .env("GWANMUN_ADMIN", format!("127.0.0.1:{}", self.admin))
            .stdin(Stdio::null());
        command
    }

    fn background(&self, line: &str) -> Background {
        Background(
            self.command(line)
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .process_group(0)
                .spawn()
                .unwrap(),
        )
    }

    /// Runs a line to its end: what it printed, and whether it succeeded.
    fn run(&self, line: &str) -> (String, bool) {
        let output = self.command(line).output().unwrap();
        let text = [output.stdout, output.stderr].concat();
        (
            String::from_utf8_lossy(&text).into_owned(),
            output.status.success(),
        )
    }
}

#[test]
fn the_commands_of_the_readme_do_what_it_says() {
    let lines = lines();
    assert!(lines.len() > 10, "{lines:?}");
    let shell = Shell::new();
    let mut running = Vec::new();
    for line in lines {
        // The tests have built the binary already.
        if line.starts_with("cargo build") || line.starts_with("export PATH") {
            continue;
        }
        if let Some(line) = line.strip_suffix('&') {
            running.push(shell.background(line));
        } else if let Some((command, expected)) = line.split_once("# -> ") {
            let what = format!("`{expected}` from `{command}` within {DEADLINE:?}");
            eventually(
                &what,
                || shell.run(command).0,
                |printed| printed.contains(expected.trim()),
            );
        } else {
            let (printed, succeeded) = shell.run(&line);
            assert!(succeeded, "{line}: {printed}");
        }
    }
}
