//! `gwanmun demo`: everything it takes to see a gateway work, in one process.
//!
//! The manifests of `examples/` are written to a temporary directory together with fresh
//! certificates, echo backends answer on the loopback addresses that the EndpointSlices name, and
//! the gateway follows the directory as `gwanmun run` does: edit a file and send a request again.

mod backends;
mod certificates;
mod examples;
mod requests;

use crate::{
    admin::Admin,
    appliance::{Appliance, Event},
    cli::{ConfigPath, DemoArgs, LogFormat, Place, WorkloadArgs},
    control::{self, Control},
    files::Files,
    logging::Logging,
    signals::{self, Signal},
};
use anyhow::Context as _;
use backends::Backends;
use gwanmun_gateway::{Config, Gateway};
use parking_lot::Mutex;
use requests::Place as Destination;
use std::{
    io::Write as _,
    net::{Ipv4Addr, SocketAddr, TcpListener},
    path::Path,
    process::ExitCode,
    sync::{Arc, mpsc},
    time::Duration,
};

/// Ports of the examples and where the demonstration binds them, if they are free.
const PORTS: [(u16, u16); 8] = [
    (80, 10080),
    (443, 10443),
    (5300, 15300),
    (8080, 18080),
    (9000, 19000),
    (15443, 15443),
    (31400, 31400),
    (31402, 31402),
];
/// Where the admin interface listens, if it is free.
const ADMIN: u16 = 15000;
/// Longest time from the signal to the end.
const DRAIN: Duration = Duration::from_secs(5);

/// Runs the demonstration until asked to stop, or only its requests with `--check`.
pub(crate) fn run(args: &DemoArgs) -> anyhow::Result<ExitCode> {
    if !args.backends.is_empty() {
        return only_backends(args);
    }
    let directory = tempfile::Builder::new().prefix("gwanmun-demo-").tempdir()?;
    let authority =
        certificates::write(directory.path()).context("the certificates cannot be made")?;
    let backends = start_backends(directory.path())?;
    let logging = Logging::start(if args.check { "warn" } else { "info" }, LogFormat::Text)?;
    let (sender, events) = mpsc::channel();
    let on_signal = sender.clone();
    signals::follow(move |signal| {
        _ = on_signal.send(match signal {
            Signal::Reread => Event::Reread,
            Signal::Stop => Event::Stop,
        });
    })?;
    let admin_port = if is_free(ADMIN) { Some(ADMIN) } else { None };
    let gateway = Gateway::start(gateway_config(admin_port))?;
    let workload = WorkloadArgs::default();
    let control = Arc::new(Mutex::new(Control::new(control::options(&workload))));
    let on_quit = sender.clone();
    let stop = move || _ = on_quit.send(Event::Stop);
    gateway.set_extra_admin(Admin::of(&control, logging, stop).into_extra());
    let mut appliance = Appliance::new(
        Files::open(vec![place(directory.path())])?,
        control,
        gateway,
    );
    appliance.start()?;
    let destination = Destination {
        ports: bound_ports(&appliance),
        authority,
    };
    if args.check {
        let passed = requests::check(&destination)?;
        return Ok(if passed {
            ExitCode::SUCCESS
        } else {
            ExitCode::FAILURE
        });
    }
    introduce(&destination, directory.path(), admin_port, &backends)?;
    appliance.follow(&events, move || _ = sender.send(Event::Changed));
    appliance.drain(DRAIN);
    Ok(ExitCode::SUCCESS)
}

/// Answers on the endpoints of the user's own manifests.
fn only_backends(args: &DemoArgs) -> anyhow::Result<ExitCode> {
    let files = Files::open(args.backends.clone())?;
    let backends = Backends::start(&files)?;
    let mut out = std::io::stdout();
    for name in backends.names() {
        writeln!(out, "{name}")?;
    }
    writeln!(out, "answering; stop with Ctrl-C")?;
    let (sender, stop) = mpsc::channel();
    signals::follow(move |signal| {
        if signal == Signal::Stop {
            _ = sender.send(());
        }
    })?;
    _ = stop.recv();
    Ok(ExitCode::SUCCESS)
}

/// Writes the manifests, with addresses that are free, and answers there.
fn start_backends(directory: &Path) -> anyhow::Result<Backends> {
    let mut last = None;
    // Several demonstrations can run at once: each takes its own part of 127.0.0.0/8.
    for network in 0..=u8::MAX {
        examples::write(directory, network)?;
        match Backends::start(&Files::open(vec![place(directory)])?) {
            Ok(backends) => return Ok(backends),
            Err(error) => last = Some(error),
        }
    }
    Err(last.unwrap_or_else(|| anyhow::anyhow!("no loopback addresses")))
}

fn place(directory: &Path) -> ConfigPath {
    ConfigPath {
        namespace: "default".to_owned(),
        place: Place::Path(directory.to_owned()),
    }
}

fn gateway_config(admin: Option<u16>) -> Config {
    let loopback = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    Config {
        concurrency: 1,
        bind: Some(Ipv4Addr::LOCALHOST.into()),
        port_map: PORTS
            .iter()
            .map(|(from, to)| (*from, if is_free(*to) { *to } else { 0 }))
            .collect(),
        admin: admin.map(loopback),
        drain: DRAIN,
        ..Config::default()
    }
}

fn is_free(port: u16) -> bool {
    TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok()
}

/// Which port was bound for each of the examples' ports.
fn bound_ports(appliance: &Appliance) -> Vec<(u16, u16)> {
    let ports = appliance
        .addresses()
        .into_iter()
        .filter_map(|(key, address)| {
            let (_, port) = key.as_str().rsplit_once(':')?;
            Some((port.parse().ok()?, address.port()))
        });
    ports.collect()
}

fn introduce(
    destination: &Destination,
    directory: &Path,
    admin: Option<u16>,
    backends: &Backends,
) -> anyhow::Result<()> {
    let mut out = std::io::stdout();
    writeln!(
        out,
        "\nA gateway serves the manifests in {}, before {} echo backends.\n\
         Change a file there and ask again, or try these:\n",
        directory.display(),
        backends.names().count()
    )?;
    for line in requests::lines(destination) {
        writeln!(out, "{line}")?;
    }
    if admin.is_some() {
        writeln!(
            out,
            "\ngwanmun status, gwanmun config routes and gwanmun explain GET URL ask this gateway."
        )?;
    }
    writeln!(out, "Stop with Ctrl-C.\n")?;
    Ok(())
}
