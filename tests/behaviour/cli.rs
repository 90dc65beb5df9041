//! Exit codes and output of commands that end by themselves.

use crate::support::{Directory, gwanmun, istio_gateway, virtual_service};
use std::net::TcpListener;

#[test]
fn usage_errors_exit_with_2() {
    for arguments in [
        &[][..],
        &["run"],
        &["nonsense"],
        &["check"],
        &["config", "nothing"],
        &["run", "--config", "x", "--admin", "0.0.0.0:15000"],
        &["run", "--config", "x", "--map-port", "80"],
    ] {
        let output = gwanmun(arguments);
        assert_eq!(output.code, 2, "{arguments:?}: {output:?}");
        assert!(output.out.is_empty(), "{arguments:?}: {output:?}");
    }
}

#[test]
fn version_and_completions_print_and_succeed() {
    let version = gwanmun(&["version"]);
    assert_eq!(
        (version.code, version.out.as_str()),
        (0, concat!("gwanmun ", env!("CARGO_PKG_VERSION"), "\n"))
    );
    for shell in ["bash", "zsh", "fish"] {
        let completions = gwanmun(&["completions", shell]);
        assert_eq!(completions.code, 0);
        assert!(completions.out.contains("explain"), "{shell}");
    }
}

#[test]
fn a_missing_directory_is_one_sentence_and_exit_1() {
    for command in [
        &["run", "--config", "/nowhere/conf"][..],
        &["check", "/nowhere/conf"],
    ] {
        let output = gwanmun(command);
        assert_eq!(output.code, 1);
        assert_eq!(
            output.err,
            "error: cannot read /nowhere/conf: it does not exist; name an existing file or directory\n"
        );
    }
}

#[test]
fn a_taken_admin_port_is_one_sentence_and_exit_1() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let directory = Directory::new();
    let path = directory.path().to_str().unwrap();
    let output = gwanmun(&[
        "run",
        "--config",
        path,
        "--metrics",
        "off",
        "--health",
        "off",
        "--admin",
        &address,
    ]);
    assert_eq!(output.code, 1);
    assert_eq!(output.err.matches("error: ").count(), 1, "{output:?}");
    let remedy = format!("; free {address}, or choose another address with --admin\n");
    assert!(output.err.ends_with(&remedy), "{output:?}");
}

#[test]
fn a_taken_listener_port_is_one_sentence_that_names_the_object_and_exit_1() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let directory = Directory::new();
    directory.write("gw.yaml", &istio_gateway(80));
    let path = directory.path().to_str().unwrap();
    let map = format!("80:{port}");
    let output = gwanmun(&[
        "run",
        "--config",
        path,
        "--bind",
        "127.0.0.1",
        "--admin",
        "off",
        "--metrics",
        "off",
        "--health",
        "off",
        "--map-port",
        &map,
    ]);
    assert_eq!(output.code, 1, "{output:?}");
    assert_eq!(output.err.lines().count(), 1, "{output:?}");
    let error = output.err.lines().next().unwrap();
    assert!(error.starts_with("error: "), "{error}");
    assert!(error.contains("Gateway default/istio-gw"), "{error}");
    assert!(error.contains("--map-port"), "{error}");
}

#[test]
fn check_prints_one_line_per_finding() {
    let directory = Directory::new();
    directory.write("gw.yaml", &istio_gateway(80));
    directory.write(
        "vs.yaml",
        &virtual_service("lost", "a.example.com", "nobody"),
    );
    directory.write("bad.yaml", "kind: [");
    let path = directory.path().to_str().unwrap();
    let output = gwanmun(&["check", path]);
    assert_eq!(output.code, 1, "{output:?}");
    let bad = directory.file("bad.yaml").display().to_string();
    let line = output
        .out
        .lines()
        .find(|line| line.contains(" File "))
        .unwrap();
    assert!(
        line.starts_with(&format!("error GWM0101 File {bad}: not valid YAML: ")),
        "{line}"
    );
    assert!(line.ends_with(&format!("({bad}:1)")), "{line}");
    let json = gwanmun(&["check", "-o", "json", path]);
    assert_eq!(json.code, 1);
    let findings: serde_json::Value = serde_json::from_str(&json.out).unwrap();
    assert_eq!(
        findings.as_array().unwrap().len(),
        output.out.lines().count()
    );
    assert_eq!(findings[0]["severity"], "error");
}

#[test]
fn check_of_good_manifests_succeeds_and_strict_counts_warnings() {
    let directory = Directory::new();
    directory.write(
        "ns.yaml",
        "apiVersion: v1\nkind: Namespace\nmetadata: {name: a}\n",
    );
    let path = directory.path().to_str().unwrap();
    assert_eq!(gwanmun(&["check", "--strict", path]).code, 0);
    directory.write(
        "again.yaml",
        "apiVersion: v1\nkind: Namespace\nmetadata: {name: a}\n",
    );
    assert_eq!(gwanmun(&["check", path]).code, 0);
    let strict = gwanmun(&["check", "--strict", path]);
    assert_eq!(strict.code, 1);
    assert!(
        strict.out.starts_with("warning GWM0105 Namespace a: "),
        "{strict:?}"
    );
}

#[test]
fn check_reads_standard_input() {
    let output = crate::support::with_input(&["check", "-"], "kind: [");
    assert_eq!(output.code, 1);
    assert!(
        output.out.starts_with("error GWM0101 File -: "),
        "{output:?}"
    );
}

#[test]
fn asking_where_no_gateway_runs_names_the_remedy() {
    let free = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .to_string();
    for command in [
        &["status"][..],
        &["config", "routes"],
        &["explain", "GET", "http://a.example/"],
    ] {
        let mut arguments = command.to_vec();
        arguments.extend(["--admin", &free]);
        let output = gwanmun(&arguments);
        assert_eq!(output.code, 1, "{output:?}");
        assert!(
            output
                .err
                .starts_with(&format!("error: no gateway answers at {free}")),
            "{output:?}"
        );
        assert_eq!(output.err.lines().count(), 1, "{output:?}");
    }
}
