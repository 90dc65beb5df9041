//! `gwanmun run`: serves manifests and follows their changes.
//!
//! One thread does everything that is not traffic: it waits for changed files, signals and admin
//! requests to stop, and applies one delta at a time.

use crate::{
    admin::Admin,
    appliance::{Appliance, Event},
    cli::{AccessLog, Label, RunArgs, SocketArgs},
    control::{self, Control},
    files::Files,
    logging::Logging,
    signals::{self, Signal},
};
use anyhow::Context as _;
use gwanmun_gateway::{AccessLogMode, Config, Gateway, Limits, StartError, Workload};
use parking_lot::Mutex;
use std::{
    net::{IpAddr, Ipv4Addr, UdpSocket},
    process::ExitCode,
    sync::{Arc, mpsc},
};

/// Serves until asked to stop.
pub(crate) fn run(args: &RunArgs) -> anyhow::Result<ExitCode> {
    let logging = Logging::start(&args.log, args.log_format)?;
    let files = Files::open(args.config.clone())?;
    let (sender, events) = mpsc::channel();
    let on_signal = sender.clone();
    signals::follow(move |signal| {
        let event = match signal {
            Signal::Reread => Event::Reread,
            Signal::Stop => Event::Stop,
        };
        // Nobody listens any more once the process is ending.
        _ = on_signal.send(event);
    })
    .context("signals cannot be caught")?;

    let gateway = Gateway::start(gateway_config(args)).map_err(with_remedy)?;
    let mut control = Control::new(control::options(&args.workload));
    control.set_addresses(vec![reachable_address(args.sockets.bind).to_string()]);
    let control = Arc::new(Mutex::new(control));
    let on_quit = sender.clone();
    let admin = Admin {
        control: Arc::clone(&control),
        logging: Some(logging),
        stop: Box::new(move || _ = on_quit.send(Event::Stop)),
    };
    gateway.set_extra_admin(admin.into_extra());

    let mut appliance = Appliance::new(files, control, gateway);
    appliance.start()?;
    appliance.follow(&events, move || _ = sender.send(Event::Changed));
    tracing::info!(
        "stopping; requests in flight have {:?} to finish",
        args.drain
    );
    appliance.drain(args.drain);
    Ok(ExitCode::SUCCESS)
}

/// What to do about a gateway that cannot start.
fn with_remedy(error: StartError) -> anyhow::Error {
    if let StartError::Bind {
        address, purpose, ..
    } = &error
    {
        let remedy = format!("free {address}, or choose another address with --{purpose}");
        return anyhow::anyhow!("{error}; {remedy}");
    }
    error.into()
}

fn gateway_config(args: &RunArgs) -> Config {
    let label = |key: &str| {
        let found = args.workload.label.iter().find(|label| label.key == key);
        found
            .map(|Label { value, .. }| value.clone())
            .unwrap_or_default()
    };
    let access_log = match args.access_log {
        AccessLog::Json => AccessLogMode::Json,
        AccessLog::Off => AccessLogMode::Off,
        AccessLog::Text => AccessLogMode::Text,
    };
    let workload = Workload {
        name: label("istio"),
        namespace: args.workload.namespace.clone(),
        app: label("app"),
        version: label("version"),
        cluster: String::new(),
    };
    Config {
        access_log,
        workload,
        drain: args.drain,
        ..socket_config(&args.sockets)
    }
}

/// The part of a gateway's configuration that says where it listens.
fn socket_config(sockets: &SocketArgs) -> Config {
    let defaults = Config::default();
    Config {
        concurrency: sockets
            .concurrency
            .map_or(defaults.concurrency, usize::from),
        bind: sockets.bind,
        port_map: sockets
            .map_port
            .iter()
            .map(|map| (map.from, map.to))
            .collect(),
        dns: sockets.dns,
        admin: sockets.admin.0,
        metrics: sockets.metrics.0,
        health: sockets.health.0,
        limits: Limits::default(),
        ..defaults
    }
}

/// An address at which clients reach this machine, for `status.addresses`.
fn reachable_address(bind: Option<IpAddr>) -> IpAddr {
    let outgoing = || {
        // Connecting a datagram socket sends nothing; it makes the system choose an address.
        let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).ok()?;
        socket.connect((Ipv4Addr::new(192, 0, 2, 1), 9)).ok()?;
        Some(socket.local_addr().ok()?.ip())
    };
    let chosen = bind
        .filter(|address| !address.is_unspecified())
        .or_else(outgoing);
    chosen.unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST))
}
