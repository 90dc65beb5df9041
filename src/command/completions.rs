//! `gwanmun completions SHELL`.

use crate::cli::{Cli, CompletionsArgs};
use clap::CommandFactory as _;
use std::process::ExitCode;

/// Prints a completion script for the shell.
pub(crate) fn run(args: &CompletionsArgs) -> ExitCode {
    clap_complete::generate(
        args.shell,
        &mut Cli::command(),
        "gwanmun",
        &mut std::io::stdout(),
    );
    ExitCode::SUCCESS
}
