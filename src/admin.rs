//! The admin paths that the gateway library leaves to the program: status, resources, log levels,
//! the end.

use crate::{control::Control, logging::Logging};
use gwanmun_gateway::{AdminRequest, AdminResponse, ExtraAdmin};
use gwanmun_ir::Resource;
use parking_lot::Mutex;
use serde_json::Value;
use std::sync::Arc;

/// Something to show, as it is now.
pub(crate) type View = Box<dyn Fn() -> Value + Send + Sync>;

/// What the paths show and do.
pub(crate) struct Admin {
    /// The configuration as the data plane has it, without private keys: a list.
    pub(crate) resources: View,
    /// Objects with their conditions, and everything there is to tell.
    pub(crate) status: View,
    /// Log levels; absent where the program does not log.
    pub(crate) logging: Option<Logging>,
    /// Ends the process in good order.
    pub(crate) stop: Box<dyn Fn() + Send + Sync>,
}

impl Admin {
    /// Shows what a process translates itself.
    pub(crate) fn of(
        control: &Arc<Mutex<Control>>,
        logging: Logging,
        stop: impl Fn() + Send + Sync + 'static,
    ) -> Self {
        let (resources, status) = (Arc::clone(control), Arc::clone(control));
        Self {
            resources: Box::new(move || redacted(resources.lock().resources())),
            status: Box::new(move || status.lock().status()),
            logging: Some(logging),
            stop: Box::new(stop),
        }
    }

    /// The paths as the gateway library wants them.
    pub(crate) fn into_extra(self) -> ExtraAdmin {
        Arc::new(move |request| self.answer(request))
    }

    fn answer(&self, request: &AdminRequest) -> Option<AdminResponse> {
        match request.path.as_str() {
            "/logging" => Some(self.logging(request)),
            "/quitquitquit" => Some(self.quit(request)),
            "/resources" => Some(json(&(self.resources)())),
            "/status" => Some(json(&(self.status)())),
            _ => None,
        }
    }

    fn quit(&self, request: &AdminRequest) -> AdminResponse {
        if request.method != "POST" {
            return text(405, "use POST\n");
        }
        (self.stop)();
        text(200, "OK\n")
    }

    /// As Envoy's: GET shows the levels, POST changes all (`level=`) or one (`LOGGER=`).
    fn logging(&self, request: &AdminRequest) -> AdminResponse {
        let Some(logging) = &self.logging else {
            return text(404, "there is no log\n");
        };
        if request.method == "POST" {
            for (name, level) in &request.query {
                let changed = match name.as_str() {
                    "level" => logging.set(level),
                    "paths" => logging.set(&level.replace(':', "=")),
                    logger => logging.set_one(Some(logger), level),
                };
                if let Err(error) = changed {
                    return text(400, &format!("{error}\n"));
                }
            }
        } else if !request.query.is_empty() {
            return text(405, "use POST to change levels\n");
        }
        let mut lines = "active loggers:\n".to_owned();
        for directive in logging.directives().split(',') {
            let (logger, level) = directive.split_once('=').unwrap_or(("default", directive));
            lines.push_str(&format!("  {logger}: {level}\n"));
        }
        text(200, &lines)
    }
}

/// Resources without private keys.
pub(crate) fn redacted<'r>(resources: impl Iterator<Item = &'r Resource>) -> Value {
    let resources: Vec<Resource> = resources.map(Resource::redacted).collect();
    serde_json::to_value(resources).unwrap_or_default()
}

fn json(value: &Value) -> AdminResponse {
    let mut body = serde_json::to_vec_pretty(value).unwrap_or_default();
    body.push(b'\n');
    AdminResponse {
        status: 200,
        content_type: "application/json",
        body,
    }
}

fn text(status: u16, body: &str) -> AdminResponse {
    AdminResponse {
        status,
        content_type: "text/plain; charset=UTF-8",
        body: body.as_bytes().to_vec(),
    }
}
