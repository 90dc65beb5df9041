//! Clients of other makers agree on who is served: versions, client certificates, server names,
//! protocols, resumption.
//!
//! `curl` and `openssl` must be there; of the others those that are missing are named, and with
//! `GWANMUN_CLIENTS=all` in the environment they must be there too.

use crate::support::{Directory, Gwanmun};
use std::{
    path::Path,
    process::{Command, Stdio},
};

/// Asks for a certificate.
const MUTUAL: &str = "webapp.example.com";
/// Does not.
const OPEN: &str = "store.example.com";

struct Setup {
    directory: Directory,
    running: Gwanmun,
}

impl Setup {
    fn new() -> Self {
        let directory = Directory::new();
        secrets(directory.path());
        secrets(&directory.file(".strangers"));
        directory.write("gateway.yaml", "apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: gw}
spec:
  servers:
  - {port: {number: 443, name: m, protocol: HTTPS}, hosts: [webapp.example.com], tls: {mode: MUTUAL, credentialName: webapp-credential-mtls}}
  - {port: {number: 443, name: s, protocol: HTTPS}, hosts: [store.example.com], tls: {mode: SIMPLE, credentialName: store-credential}}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: webapp}
spec: {hosts: [webapp.example.com], gateways: [gw], http: [{directResponse: {status: 200, body: {string: mutual}}}]}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: store}
spec: {hosts: [store.example.com], gateways: [gw], http: [{directResponse: {status: 200, body: {string: open}}}]}
");
        let running = Gwanmun::run(&directory, &[]);
        Self { directory, running }
    }

    fn file(&self, name: &str) -> String {
        self.directory.file(name).display().to_string()
    }
}

fn secrets(into: &Path) {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/secrets.sh");
    assert!(Command::new(script).arg(into).status().unwrap().success());
}

/// One visit, or two where a session is to be resumed.
struct Visit<'a> {
    address: &'a str,
    name: &'a str,
    authority: &'a str,
    version: &'a str,
    alpn: &'a str,
    /// Certificate and key.
    identity: Option<(String, String)>,
    scratch: &'a Path,
}

/// What a client says of its last visit, `VERSION PROTOCOL new|resumed STATUS BODY`; nothing when it
/// was refused.
type Ask = fn(&Visit<'_>) -> Option<String>;

/// Name, the command that must be there, how it is asked.
const CLIENTS: [(&str, &str, Ask); 6] = [
    ("curl", "curl", curl),
    ("openssl", "openssl", openssl),
    ("gnutls", "gnutls-cli", gnutls),
    ("Python", "python3", |visit| {
        program("python3", &["client.py"], visit)
    }),
    ("Go", "go", |visit| {
        let built = visit.scratch.join("client").display().to_string();
        if !Path::new(&built).exists() {
            let made = Command::new("go")
                .args(["build", "-o", &built, &source("client.go")])
                .env("GOTOOLCHAIN", "local")
                .status()
                .unwrap();
            assert!(made.success());
        }
        program(&built, &[], visit)
    }),
    ("Java", "javac", |visit| {
        let classes = visit.scratch.display().to_string();
        if !visit.scratch.join("Client.class").exists() {
            let made = Command::new("javac")
                .args(["-d", &classes, &source("Client.java")])
                .status()
                .unwrap();
            assert!(made.success());
        }
        program("java", &["-cp", &classes, "Client"], visit)
    }),
];

fn source(name: &str) -> String {
    format!(
        "{}/tests/behaviour/clients/{name}",
        env!("CARGO_MANIFEST_DIR")
    )
}

/// Output and standard error of a command, and whether it succeeded.
fn run(command: &mut Command, input: &str) -> (String, bool) {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    // It may have been refused already.
    _ = std::io::Write::write_all(&mut stdin, input.as_bytes());
    drop(stdin);
    let output = child.wait_with_output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let text = text + &String::from_utf8_lossy(&output.stderr);
    (text, output.status.success())
}

/// The programs beside this file.
fn program(command: &str, first: &[&str], visit: &Visit<'_>) -> Option<String> {
    let mut child = Command::new(command);
    for argument in first {
        let script = argument.ends_with(".py").then(|| source(argument));
        child.arg(script.as_deref().unwrap_or(argument));
    }
    child.args([
        visit.address,
        visit.name,
        visit.authority,
        visit.version,
        visit.alpn,
    ]);
    match &visit.identity {
        Some((certificate, key)) => child.args([certificate, key]),
        None => child.args(["-", "-"]),
    };
    let (text, done) = run(&mut child, "");
    done.then(|| text.lines().last().unwrap().to_owned())
}

fn request(visit: &Visit<'_>) -> String {
    format!(
        "GET / HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n",
        visit.name
    )
}

/// Status and body of the last answer in a text.
fn answer(text: &str) -> Option<String> {
    let (_, answer) = text.rsplit_once("HTTP/1.1 ")?;
    let (head, body) = answer.split_once("\r\n\r\n")?;
    let body = ["open", "mutual"]
        .into_iter()
        .find(|known| body.starts_with(known))?;
    Some(format!("{} {body}", head.get(..3)?))
}

fn curl(visit: &Visit<'_>) -> Option<String> {
    let mut command = Command::new("curl");
    let url = format!("https://{}/", visit.name);
    let to = format!("::{}", visit.address);
    let (version, format) = (
        format!("--tlsv{}", visit.version),
        "\n%{http_version} %{http_code}\n",
    );
    command.args([
        "-sv",
        "--max-time",
        "15",
        "--cacert",
        visit.authority,
        "--connect-to",
        &to,
    ]);
    command.args([&version, "--tls-max", visit.version, "-w", format]);
    command.arg(if visit.alpn == "h2" {
        "--http2"
    } else {
        "--http1.1"
    });
    if let Some((certificate, key)) = &visit.identity {
        command.args(["--cert", certificate, "--key", key]);
    }
    let (text, done) = run(command.arg(&url), "");
    let version = text.contains(&format!("SSL connection using TLSv{}", visit.version));
    assert!(!done || version, "{text}");
    let mut lines = text.lines();
    let body = lines.find(|line| ["open", "mutual"].contains(line));
    let last = text
        .lines()
        .find(|line| line.starts_with("2 200") || line.starts_with("1.1 200"));
    let alpn = if last?.starts_with('2') {
        "h2"
    } else {
        "http/1.1"
    };
    let status = if alpn == "h2" {
        "h2".to_owned()
    } else {
        format!("200 {}", body?)
    };
    done.then(|| format!("{} {alpn} new {status}", visit.version))
}

fn openssl(visit: &Visit<'_>) -> Option<String> {
    let session = visit.scratch.join("session").display().to_string();
    _ = std::fs::remove_file(&session);
    let mut last = None;
    for option in ["-sess_out", "-sess_in"] {
        let mut command = Command::new("openssl");
        command.args([
            "s_client",
            "-ign_eof",
            "-verify_return_error",
            "-connect",
            visit.address,
        ]);
        command.args(["-servername", visit.name, "-verify_hostname", visit.name]);
        command.args([
            "-CAfile",
            visit.authority,
            "-alpn",
            visit.alpn,
            option,
            &session,
        ]);
        command.arg(format!("-tls{}", visit.version.replace('.', "_")));
        if let Some((certificate, key)) = &visit.identity {
            command.args(["-cert", certificate, "-key", key]);
        }
        // Bytes that are not HTTP/2 end such a connection.
        let (text, _) = run(&mut command, &request(visit));
        let resumed = if text.contains("\nReused, ") {
            "resumed"
        } else {
            "new"
        };
        let alpn = text
            .split("ALPN protocol: ")
            .nth(1)
            .map_or("-", |rest| rest.lines().next().unwrap());
        let status = if alpn == "h2" {
            "h2".to_owned()
        } else {
            answer(&text)?
        };
        last = Some(format!("{} {alpn} {resumed} {status}", visit.version));
    }
    last
}

fn gnutls(visit: &Visit<'_>) -> Option<String> {
    let (host, port) = visit.address.rsplit_once(':').unwrap();
    // Refused after its handshake, it waits for a session that never comes.
    let mut command = Command::new("timeout");
    command.args(["5", "gnutls-cli"]);
    command.args([
        host,
        "-p",
        port,
        "--resume",
        "--waitresumption",
        "--x509cafile",
        visit.authority,
    ]);
    command.args([
        "--sni-hostname",
        visit.name,
        "--verify-hostname",
        visit.name,
        "--alpn",
        visit.alpn,
    ]);
    command.arg(format!(
        "--priority=NORMAL:-VERS-ALL:+VERS-TLS{}",
        visit.version
    ));
    if let Some((certificate, key)) = &visit.identity {
        command.args(["--x509certfile", certificate, "--x509keyfile", key]);
    }
    let (text, _) = run(&mut command, &request(visit));
    let resumed = if text.contains("This is a resumed session") {
        "resumed"
    } else {
        "new"
    };
    let protocol = text.split("Application protocol: ").nth(1);
    let alpn = protocol.map_or("-", |rest| rest.lines().next().unwrap());
    let status = if alpn == "h2" {
        "h2".to_owned()
    } else {
        answer(&text)?
    };
    let version = text.contains(&format!("Description: (TLS{}", visit.version));
    version.then(|| format!("{} {alpn} {resumed} {status}", visit.version))
}

#[test]
fn clients_of_other_makers_agree() {
    let setup = Setup::new();
    let (address, authority) = (setup.running.address(443), setup.file("ca.crt"));
    let known = || Some((setup.file("client.crt"), setup.file("client.key")));
    let stranger = || {
        Some((
            setup.file(".strangers/client.crt"),
            setup.file(".strangers/client.key"),
        ))
    };
    let mut missing = Vec::new();
    for (client, command, ask) in CLIENTS {
        if !is_there(command) {
            missing.push(client);
            continue;
        }
        let scratch = tempfile::tempdir().unwrap();
        for version in ["1.2", "1.3"] {
            for (name, alpn, identity, expected) in [
                (OPEN, "http/1.1", None, Some("http/1.1 resumed 200 open")),
                (
                    OPEN,
                    "http/1.1",
                    stranger(),
                    Some("http/1.1 resumed 200 open"),
                ),
                (OPEN, "h2", None, Some("h2 resumed h2")),
                (
                    MUTUAL,
                    "http/1.1",
                    known(),
                    Some("http/1.1 resumed 200 mutual"),
                ),
                (MUTUAL, "http/1.1", None, None),
                (MUTUAL, "http/1.1", stranger(), None),
                ("nobody.example.com", "http/1.1", None, None),
            ] {
                let what = format!("{client} {version} {name} {alpn} {}", identity.is_some());
                let visit = Visit {
                    address: &address,
                    name,
                    authority: &authority,
                    version,
                    alpn,
                    identity,
                    scratch: scratch.path(),
                };
                let mut expected = expected.map(|rest| format!("{version} {rest}"));
                // The command keeps no sessions between its requests.
                if client == "curl" {
                    expected = expected.map(|said| said.replace("resumed", "new"));
                }
                let said = ask(&visit);
                assert_eq!(said, expected, "{what}");
            }
        }
    }
    println!("clients that are not installed: {missing:?}");
    let strict = std::env::var_os("GWANMUN_CLIENTS").is_some_and(|value| value == "all");
    let needed = |client: &&str| strict || ["curl", "openssl"].contains(client);
    assert!(!missing.iter().any(needed), "not installed: {missing:?}");
}

fn is_there(command: &str) -> bool {
    let paths = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&paths).any(|path| path.join(command).is_file())
}
