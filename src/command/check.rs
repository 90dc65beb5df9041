//! `gwanmun check`: translates without serving and prints what there is to tell.

use crate::{
    cli::{CheckArgs, Output},
    control::{self, Control},
    files::Files,
    notice::Level,
};
use std::{io::Write as _, process::ExitCode};

/// Prints one line per finding; fails when there are errors, with `--strict` also on warnings.
pub(crate) fn run(args: CheckArgs) -> anyhow::Result<ExitCode> {
    let files = Files::open(args.paths)?;
    let mut control = Control::new(control::options(&args.workload));
    control.update(&files);
    let notices = control.notices();
    let mut out = std::io::stdout().lock();
    match args.output {
        Output::Json => writeln!(out, "{}", serde_json::to_string_pretty(&notices)?)?,
        Output::Text => {
            for notice in &notices {
                writeln!(out, "{notice}")?;
            }
        }
    }
    let worst = if args.strict {
        Level::Warning
    } else {
        Level::Error
    };
    let failed = notices.iter().any(|notice| notice.severity <= worst);
    Ok(if failed {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    })
}
