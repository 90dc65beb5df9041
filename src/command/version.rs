//! `gwanmun version`.

use std::{io::Write as _, process::ExitCode};

/// Prints the version.
pub(crate) fn run() -> anyhow::Result<ExitCode> {
    writeln!(std::io::stdout(), "gwanmun {}", env!("CARGO_PKG_VERSION"))?;
    Ok(ExitCode::SUCCESS)
}
