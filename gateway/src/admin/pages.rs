//! Which path shows what.

use super::{AdminRequest, AdminResponse, Subject, certs, clusters, dump, listeners, stats};
use crate::{Config, telemetry::Metrics};
use serde_json::json;
use std::{sync::Arc, time::Instant};

/// Everything the pages are made from.
pub(super) struct Pages {
    pub(super) subject: Arc<dyn Subject>,
    pub(super) metrics: Metrics,
    pub(super) config: Config,
    pub(super) started: Instant,
}

/// Prometheus' text format.
const PROMETHEUS: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Paths of the admin interface and what they do.
const HELP: [(&str, &str); 13] = [
    ("/certs", "certificates that are served or trusted"),
    ("/clusters", "clusters and their endpoints; ?format=json"),
    (
        "/config_dump",
        "the configuration in service; ?resource=NAME for one part, ?include_eds for endpoints",
    ),
    ("/drain_listeners", "POST: stop accepting connections"),
    (
        "/explain",
        "where a request would go; ?method=&url=&sni=&source=&port=&header=K:V",
    ),
    ("/help", "this list"),
    ("/listeners", "addresses that are served; ?format=json"),
    ("/logging", "log levels; POST ?level=LEVEL or ?LOGGER=LEVEL"),
    ("/quitquitquit", "POST: end in good order"),
    ("/ready", "200 when ready, else 503 and why"),
    ("/server_info", "version, state and settings"),
    (
        "/stats",
        "counters; ?filter=REGEX, ?format=json or prometheus",
    ),
    ("/stats/prometheus", "metrics in Prometheus' format"),
];

impl Pages {
    /// The admin interface.
    pub(super) fn admin(&self, request: &AdminRequest) -> AdminResponse {
        if let Some(answer) = self.subject.extra().and_then(|extra| extra(request)) {
            return answer;
        }
        let changes = matches!(request.path.as_str(), "/drain_listeners" | "/quitquitquit");
        match request.method.as_str() {
            "POST" if changes => {}
            "GET" if !changes => {}
            _ if HELP.iter().any(|(path, _)| *path == request.path) => {
                let wanted = if changes { "POST" } else { "GET" };
                return AdminResponse::text(405, format!("this path wants {wanted}\n"));
            }
            _ => {}
        }
        self.page(request)
    }

    fn page(&self, request: &AdminRequest) -> AdminResponse {
        let json = request.parameter("format") == Some("json");
        match request.path.as_str() {
            "/" | "/help" => AdminResponse::text(200, help()),
            "/certs" => AdminResponse::json(&certs::page(
                &self.subject.resources(),
                &self.subject.rejected(),
            )),
            "/clusters" => clusters::page(&self.subject.clusters(), json),
            "/config_dump" => dump::page(self.subject.as_ref(), request),
            "/drain_listeners" => {
                self.subject.drain_listeners();
                AdminResponse::text(200, "OK\n")
            }
            "/explain" => match self.subject.explain(request) {
                Ok(explanation) => AdminResponse::json(&explanation),
                Err(problem) => AdminResponse::text(400, problem + "\n"),
            },
            "/listeners" => listeners::page(&self.subject.listeners(), json),
            "/logging" => AdminResponse::text(501, "log levels are fixed in this program\n"),
            "/quitquitquit" => {
                self.subject.quit();
                AdminResponse::text(200, "OK\n")
            }
            "/ready" => self.ready(),
            "/server_info" => self.server_info(),
            "/stats" => stats::page(&self.metrics, request),
            "/stats/prometheus" => self.prometheus(),
            _ => AdminResponse::text(404, format!("no such path; there are:\n{}", help())),
        }
    }

    /// The metrics port.
    pub(super) fn metrics(&self, request: &AdminRequest) -> AdminResponse {
        match (request.method.as_str(), request.path.as_str()) {
            ("GET", "/metrics" | "/stats/prometheus") => self.prometheus(),
            ("GET", _) => AdminResponse::text(404, "/metrics\n/stats/prometheus\n"),
            _ => AdminResponse::text(405, "this port wants GET\n"),
        }
    }

    /// The health port.
    pub(super) fn health(&self, request: &AdminRequest) -> AdminResponse {
        match (request.method.as_str(), request.path.as_str()) {
            ("GET", "/healthz/ready") => self.ready(),
            ("GET", _) => AdminResponse::text(404, "/healthz/ready\n"),
            _ => AdminResponse::text(405, "this port wants GET\n"),
        }
    }

    fn ready(&self) -> AdminResponse {
        match self.subject.readiness() {
            Ok(()) => AdminResponse::text(200, "LIVE\n"),
            Err(reason) => AdminResponse::text(503, reason + "\n"),
        }
    }

    fn prometheus(&self) -> AdminResponse {
        AdminResponse {
            status: 200,
            content_type: PROMETHEUS,
            body: self.metrics.text().into_bytes(),
        }
    }

    fn server_info(&self) -> AdminResponse {
        let (state, reason) = match self.subject.readiness() {
            Ok(()) => ("LIVE", None),
            Err(reason) => ("PRE_INITIALIZING", Some(reason)),
        };
        let uptime = format!("{}s", self.started.elapsed().as_secs());
        let workload = &self.config.workload;
        AdminResponse::json(&json!({
            "version": concat!("gwanmun/", env!("CARGO_PKG_VERSION")),
            "state": state,
            "hot_restart_version": "disabled",
            "uptime_current_epoch": uptime,
            "uptime_all_epochs": uptime,
            "command_line_options": { "concurrency": self.config.concurrency },
            "node": {
                "id": format!("router~~{}.{}~", workload.name, workload.namespace),
                "cluster": format!("{}.{}", workload.name, workload.namespace),
                "metadata": {
                    "NAMESPACE": workload.namespace,
                    "WORKLOAD_NAME": workload.name,
                    "CLUSTER_ID": workload.cluster,
                },
            },
            "gwanmun": { "epoch": self.subject.epoch(), "reason": reason },
        }))
    }
}

fn help() -> String {
    HELP.iter()
        .map(|(path, what)| format!("  {path}: {what}\n"))
        .collect()
}
