//! What the command line says about a serving process, as the data plane wants it.

use crate::cli::{AccessLog, Label, ProcessArgs, SocketArgs};
use gwanmun_gateway::{AccessLogMode, Config, StartError, Workload};

/// The configuration of a data plane.
pub(crate) fn config(sockets: &SocketArgs, process: &ProcessArgs, workload: Workload) -> Config {
    let defaults = Config::default();
    Config {
        access_log: match process.access_log {
            AccessLog::Json => AccessLogMode::Json,
            AccessLog::Off => AccessLogMode::Off,
            AccessLog::Text => AccessLogMode::Text,
        },
        workload,
        drain: process.drain,
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
        ..defaults
    }
}

/// What metrics say about this workload.
pub(crate) fn workload(labels: &[Label], namespace: &str) -> Workload {
    let label = |key: &str| {
        let found = labels.iter().find(|label| label.key == key);
        found
            .map(|Label { value, .. }| value.clone())
            .unwrap_or_default()
    };
    Workload {
        name: label("istio"),
        namespace: namespace.to_owned(),
        app: label("app"),
        version: label("version"),
        cluster: String::new(),
    }
}

/// What to do about a gateway that cannot start.
pub(crate) fn with_remedy(error: StartError) -> anyhow::Error {
    if let StartError::Bind {
        address, purpose, ..
    } = &error
    {
        let remedy = format!("free {address}, or choose another address with --{purpose}");
        return anyhow::anyhow!("{error}; {remedy}");
    }
    error.into()
}
