//! `gwanmun run`: serves manifests and follows their changes.
//!
//! One thread does everything that is not traffic: it waits for changed files, signals and admin
//! requests to stop, and applies one delta at a time.

use crate::{
    admin::Admin,
    appliance::{Appliance, Event},
    cli::RunArgs,
    control::{self, Control},
    files::Files,
    logging::Logging,
    serving,
    signals::{self, Signal},
};
use anyhow::Context as _;
use gwanmun_gateway::{Config, Gateway};
use parking_lot::Mutex;
use std::{
    net::{IpAddr, Ipv4Addr, UdpSocket},
    process::ExitCode,
    sync::{Arc, mpsc},
};

/// Serves until asked to stop.
pub(crate) fn run(args: &RunArgs) -> anyhow::Result<ExitCode> {
    let logging = Logging::start(&args.process.log, args.process.log_format)?;
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

    let gateway = Gateway::start(gateway_config(args)).map_err(serving::with_remedy)?;
    let mut control = Control::new(control::options(&args.workload));
    control.set_addresses(vec![reachable_address(args.sockets.bind).to_string()]);
    let control = Arc::new(Mutex::new(control));
    let on_quit = sender.clone();
    let stop = move || _ = on_quit.send(Event::Stop);
    gateway.set_extra_admin(Admin::of(&control, logging, stop).into_extra());

    let on_report = sender.clone();
    // Nobody listens any more once the process is ending.
    gateway.on_report(move || _ = on_report.send(Event::Reported));
    let mut appliance = Appliance::new(files, control, gateway);
    appliance.start()?;
    appliance.follow(&events, move || _ = sender.send(Event::Changed));
    tracing::info!(
        "stopping; requests in flight have {:?} to finish",
        args.process.drain
    );
    appliance.drain(args.process.drain);
    Ok(ExitCode::SUCCESS)
}

fn gateway_config(args: &RunArgs) -> Config {
    let workload = serving::workload(&args.workload.label, &args.workload.namespace);
    serving::config(&args.sockets, &args.process, workload)
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
