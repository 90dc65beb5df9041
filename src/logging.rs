//! The application log: lines on standard error, with a level that can change while running.

use crate::cli::LogFormat;
use parking_lot::Mutex;
use std::{io::IsTerminal as _, sync::Arc};
use tracing_subscriber::{
    EnvFilter, Registry, layer::SubscriberExt as _, reload, util::SubscriberInitExt as _,
};

/// The running log's level.
#[derive(Clone)]
pub(crate) struct Logging {
    handle: reload::Handle<EnvFilter, Registry>,
    directives: Arc<Mutex<String>>,
}

/// Why a level is none.
#[derive(Debug, thiserror::Error)]
#[error(
    "`{text}` is not a log level or filter: {reason}; use error, warn, info, debug, trace or MODULE=LEVEL"
)]
pub(crate) struct InvalidLevel {
    text: String,
    reason: String,
}

impl Logging {
    /// Starts the log; lines of libraries that use the crate `log` are among it.
    pub(crate) fn start(directives: &str, format: LogFormat) -> Result<Self, InvalidLevel> {
        let (filter, handle) = reload::Layer::new(parse(directives)?);
        let registry = tracing_subscriber::registry().with(filter);
        let lines = tracing_subscriber::fmt::layer()
            .with_writer(std::io::stderr)
            .with_ansi(std::io::stderr().is_terminal());
        let started = match format {
            LogFormat::Json => registry.with(lines.json().flatten_event(true)).try_init(),
            LogFormat::Text => registry.with(lines.with_target(false)).try_init(),
        };
        if let Err(error) = started {
            return Err(InvalidLevel {
                text: directives.to_owned(),
                reason: error.to_string(),
            });
        }
        Ok(Self {
            handle,
            directives: Arc::new(Mutex::new(directives.to_owned())),
        })
    }

    /// The filter in force, as it was given.
    pub(crate) fn directives(&self) -> String {
        self.directives.lock().clone()
    }

    /// Replaces the filter.
    pub(crate) fn set(&self, directives: &str) -> Result<(), InvalidLevel> {
        let filter = parse(directives)?;
        let failed = |error: &dyn std::fmt::Display| InvalidLevel {
            text: directives.to_owned(),
            reason: error.to_string(),
        };
        self.handle.reload(filter).map_err(|error| failed(&error))?;
        directives.clone_into(&mut self.directives.lock());
        Ok(())
    }

    /// Changes the level of one logger (a module path), or of everything else.
    pub(crate) fn set_one(&self, logger: Option<&str>, level: &str) -> Result<(), InvalidLevel> {
        let name = |directive: &str| {
            directive
                .split_once('=')
                .map(|(name, _)| name.trim().to_owned())
        };
        let current = self.directives();
        let mut kept: Vec<&str> = current
            .split(',')
            .map(str::trim)
            .filter(|directive| !directive.is_empty() && name(directive).as_deref() != logger)
            .collect();
        let new = logger.map_or_else(|| level.to_owned(), |logger| format!("{logger}={level}"));
        kept.push(&new);
        self.set(&kept.join(","))
    }
}

/// Parses `info` or `info,gwanmun_gateway=debug`; Envoy's `warning`, `critical` and `off` are known.
fn parse(directives: &str) -> Result<EnvFilter, InvalidLevel> {
    let known = directives
        .split(',')
        .map(|directive| match directive.trim().rsplit_once('=') {
            Some((name, level)) => format!("{name}={}", level_name(level)),
            None => level_name(directive.trim()).to_owned(),
        });
    let known = known.collect::<Vec<_>>();
    // A bare word is taken for a module by the parser: only levels are meant here.
    let stray = known.iter().find(|directive| {
        directive.is_empty()
            || !directive.contains('=')
                && directive
                    .parse::<tracing_subscriber::filter::LevelFilter>()
                    .is_err()
    });
    let invalid = |reason: String| InvalidLevel {
        text: directives.to_owned(),
        reason,
    };
    if let Some(stray) = stray {
        return Err(invalid(format!("`{stray}` is no level")));
    }
    // What the file watcher says about vanished directories is no news: they are looked at anyway.
    let all = format!("notify=off,{}", known.join(","));
    EnvFilter::try_new(all).map_err(|error| invalid(error.to_string()))
}

fn level_name(level: &str) -> &str {
    match level {
        "critical" => "error",
        "warning" => "warn",
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels() {
        for text in [
            "info",
            "warning",
            "off",
            "info,gwanmun_gateway=debug",
            "debug,h2=info",
        ] {
            assert!(parse(text).is_ok(), "{text}");
        }
        for text in ["", "loud", "info,h2", "h2=loud"] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
