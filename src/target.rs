//! Where `explain`, `config` and `status` find their configuration: a running gateway, or
//! manifests translated on the spot.

use crate::{
    admin,
    cli::TargetArgs,
    client,
    command::explain::query_string,
    control::{self, Control},
    files::Files,
};
use anyhow::Context as _;
use gwanmun_gateway::{AdminRequest, ExplainRequest, explain_offline};
use gwanmun_ir::Resource;
use serde_json::Value;

/// A source of answers.
pub(crate) enum Target {
    /// Manifests, translated.
    Offline(Box<Control>),
    /// The admin interface of a running gateway.
    Running(std::net::SocketAddr),
}

impl Target {
    /// Reads and translates the manifests, if any are named.
    pub(crate) fn of(args: &TargetArgs) -> anyhow::Result<Self> {
        if args.config.is_empty() {
            return Ok(Self::Running(args.admin));
        }
        let files = Files::open(args.config.clone())?;
        let mut control = Control::new(control::options(&args.workload));
        control.update(&files);
        Ok(Self::Offline(Box::new(control)))
    }

    /// Every object with its status.
    pub(crate) fn status(&self) -> anyhow::Result<Value> {
        match self {
            Self::Offline(control) => Ok(control.status()),
            Self::Running(_) => self.get("/status"),
        }
    }

    /// The configuration of the data plane.
    pub(crate) fn resources(&self) -> anyhow::Result<Vec<Resource>> {
        let value = match self {
            Self::Offline(control) => admin::redacted(control.resources()),
            Self::Running(_) => self.get("/resources")?,
        };
        serde_json::from_value(value)
            .context("the gateway's resources cannot be read; is it of another version?")
    }

    /// Which way a request would take.
    pub(crate) fn explain(&self, query: &[(String, String)]) -> anyhow::Result<Value> {
        match self {
            Self::Offline(control) => {
                let request = AdminRequest {
                    method: "GET".to_owned(),
                    path: "/explain".to_owned(),
                    query: query.to_vec(),
                };
                let question = ExplainRequest::from_admin(&request).map_err(anyhow::Error::msg)?;
                let resources = control.resources().cloned().collect();
                let way = explain_offline(resources, &question).map_err(anyhow::Error::msg)?;
                Ok(serde_json::to_value(way)?)
            }
            Self::Running(_) => self.get(&format!("/explain?{}", query_string(query))),
        }
    }

    /// JSON from the running gateway.
    pub(crate) fn get(&self, path: &str) -> anyhow::Result<Value> {
        match self {
            Self::Offline(_) => Ok(Value::Null),
            Self::Running(address) => {
                let body = client::get(*address, path)?;
                serde_json::from_slice(&body)
                    .with_context(|| format!("the answer to {path} is not JSON"))
            }
        }
    }
}
