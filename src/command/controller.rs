//! `gwanmun controller`: reconciles a cluster.

use crate::{
    cli::ControllerArgs,
    logging::Logging,
    signals::{self, Signal},
};
use anyhow::Context as _;
use gwanmun_controller::Config;
use gwanmun_translate::{Compat, Options};
use std::process::ExitCode;
use tokio::sync::mpsc;

/// Runs until asked to stop.
pub(crate) fn run(args: &ControllerArgs) -> anyhow::Result<ExitCode> {
    let _logging = Logging::start(&args.log, args.log_format)?;
    let (sender, mut stop) = mpsc::unbounded_channel();
    signals::follow(move |signal| {
        if signal == Signal::Stop {
            // Nobody listens any more once the process is ending.
            _ = sender.send(());
        }
    })
    .context("signals cannot be caught")?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .context("no runtime")?;
    runtime.block_on(gwanmun_controller::run(config(args), async move {
        stop.recv().await;
    }))?;
    Ok(ExitCode::SUCCESS)
}

fn config(args: &ControllerArgs) -> Config {
    Config {
        namespace: args.namespace.clone(),
        instance: args.instance.clone(),
        service: args.service.clone(),
        listen: args.listen,
        health: args.health,
        image: args.image.clone(),
        options: Options {
            gateway_classes: args.gateway_class.clone(),
            root_namespace: args.root_namespace.clone(),
            cluster_domain: args.cluster_domain.clone(),
            compat: args.compat.unwrap_or(Compat::CURRENT),
            ..Options::default()
        },
    }
}
