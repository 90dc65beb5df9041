//! The one binary: puts files, translation and data plane together behind a command line.
//!
//! Each subcommand is one module of [`command`]; the state between files and data plane is
//! [`control::Control`]. Nothing here decides anything about routing: that is translation's
//! (`gwanmun-translate`) and the data plane's (`gwanmun-gateway`).

mod admin;
mod appliance;
mod cli;
mod client;
mod command;
mod control;
mod files;
mod logging;
mod notice;
mod serving;
mod signals;
mod table;
mod target;

use clap::Parser as _;
use cli::{Cli, Command};
use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    // Before anything makes a TLS configuration: a library's default would be another provider.
    let installed = rustls::crypto::aws_lc_rs::default_provider().install_default();
    debug_assert!(installed.is_ok(), "a provider was installed before ours");
    match dispatch(Cli::parse().command) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn dispatch(command: Command) -> anyhow::Result<ExitCode> {
    match command {
        Command::Check(args) => command::check::run(args),
        Command::Completions(args) => Ok(command::completions::run(&args)),
        Command::Config(args) => command::config::run(&args),
        Command::Controller(args) => command::controller::run(&args),
        Command::Demo(args) => command::demo::run(&args),
        Command::Explain(args) => command::explain::run(&args),
        Command::Gateway(args) => command::gateway::run(&args),
        Command::Run(args) => command::run::run(&args),
        Command::Status(args) => command::status::run(&args),
        Command::Version => command::version::run(),
    }
}
