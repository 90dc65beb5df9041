//! An API server that is good enough for server-side apply: objects in memory, a log of what was
//! asked, watches that say what changes, and failures on demand.

use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use http_body_util::{BodyExt as _, Full, StreamBody, combinators::UnsyncBoxBody};
use hyper::{
    Method, Request, Response, StatusCode,
    body::{Frame, Incoming},
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use kube::{Client, Config};
use parking_lot::Mutex;
use serde_json::{Value, json};
use std::{collections::BTreeMap, convert::Infallible, sync::Arc};
use tokio::{net::TcpListener, sync::broadcast};

type Body = UnsyncBoxBody<Bytes, Infallible>;

#[derive(Default)]
struct State {
    /// By path.
    objects: BTreeMap<String, Value>,
    version: u64,
    log: Vec<String>,
    /// Writes still to be refused.
    failing: u32,
}

/// The server; ends with the test.
#[derive(Clone)]
pub(super) struct Server {
    state: Arc<Mutex<State>>,
    changes: broadcast::Sender<(String, Value)>,
}

impl Server {
    pub(super) async fn start() -> (Self, Client) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let server = Self {
            state: Arc::default(),
            changes: broadcast::channel(1024).0,
        };
        let serving = server.clone();
        tokio::spawn(async move {
            loop {
                let (socket, _) = listener.accept().await.unwrap();
                let serving = serving.clone();
                let service = service_fn(move |request| {
                    let serving = serving.clone();
                    async move { Ok::<_, Infallible>(serving.answer(request).await) }
                });
                let builder = hyper::server::conn::http1::Builder::new();
                tokio::spawn(builder.serve_connection(TokioIo::new(socket), service));
            }
        });
        let config = Config::new(format!("http://{address}").parse().unwrap());
        (server, Client::try_from(config).unwrap())
    }

    /// Puts an object there, as somebody else would.
    pub(super) fn put(&self, path: &str, object: Value) {
        self.state.lock().store(path, object, &self.changes);
    }

    pub(super) fn remove(&self, path: &str) {
        let mut state = self.state.lock();
        if let Some(object) = state.objects.remove(path) {
            // Nobody may be watching yet.
            let _ = self.changes.send(("DELETED".to_owned(), object));
        }
    }

    pub(super) fn get(&self, path: &str) -> Option<Value> {
        self.state.lock().objects.get(path).cloned()
    }

    /// Refuses the next writes.
    pub(super) fn fail(&self, writes: u32) {
        self.state.lock().failing = writes;
    }

    /// Writes since the last time: `PATCH path` and `DELETE path`.
    pub(super) fn writes(&self) -> Vec<String> {
        std::mem::take(&mut self.state.lock().log)
    }

    async fn answer(&self, request: Request<Incoming>) -> Response<Body> {
        let path = request.uri().path().to_owned();
        let query = request.uri().query().unwrap_or_default().to_owned();
        let method = request.method().clone();
        let body = request.into_body().collect().await.unwrap().to_bytes();
        let plural = path.rsplit('/').next().unwrap_or_default();
        let listed = method == Method::GET && is_collection(&path);
        if listed && query.contains("watch=true") {
            return self.watch(plural);
        }
        let mut state = self.state.lock();
        if listed {
            return state.list(plural);
        }
        if method != Method::GET {
            state.log.push(format!("{method} {path}"));
            if state.failing > 0 {
                state.failing -= 1;
                return status(StatusCode::INTERNAL_SERVER_ERROR);
            }
        }
        match (method, state.objects.get(&path).cloned()) {
            (Method::GET, Some(object)) => answer(&object),
            (Method::PATCH, earlier) => {
                let mut object: Value = serde_json::from_slice(&body).unwrap();
                let fresh = || json!(format!("uid-{path}"));
                let known = earlier.as_ref();
                object["metadata"]["uid"] =
                    known.map_or_else(fresh, |known| known["metadata"]["uid"].clone());
                if let Some(status) = known.and_then(|known| known.get("status")) {
                    object["status"] = status.clone();
                }
                answer(&state.store(&path, object, &self.changes))
            }
            (Method::DELETE, Some(object)) => {
                state.objects.remove(&path);
                let _ = self.changes.send(("DELETED".to_owned(), object.clone()));
                answer(&object)
            }
            _ => status(StatusCode::NOT_FOUND),
        }
    }

    fn watch(&self, plural: &str) -> Response<Body> {
        let plural = plural.to_owned();
        let changes = stream::unfold(self.changes.subscribe(), |mut changes| async move {
            Some((changes.recv().await.ok()?, changes))
        });
        let frames = changes.filter_map(move |(kind, object)| {
            let ours = plural_of(&object) == plural;
            let line = format!("{}\n", json!({ "type": kind, "object": object }));
            std::future::ready(ours.then(|| Ok(Frame::data(Bytes::from(line)))))
        });
        Response::new(StreamBody::new(frames).boxed_unsync())
    }
}

impl State {
    fn store(
        &mut self,
        path: &str,
        mut object: Value,
        changes: &broadcast::Sender<(String, Value)>,
    ) -> Value {
        self.version += 1;
        object["metadata"]["resourceVersion"] = json!(self.version.to_string());
        let earlier = self.objects.insert(path.to_owned(), object.clone());
        let kind = if earlier.is_some() {
            "MODIFIED"
        } else {
            "ADDED"
        };
        let _ = changes.send((kind.to_owned(), object.clone()));
        object
    }

    fn list(&self, plural: &str) -> Response<Body> {
        let items = self.objects.values();
        let items: Vec<&Value> = items.filter(|one| plural_of(one) == plural).collect();
        let version = self.version.to_string();
        answer(&json!({
            "apiVersion": "v1",
            "kind": "List",
            "metadata": { "resourceVersion": version },
            "items": items,
        }))
    }
}

/// Whether a path names all objects of a kind, of all namespaces.
fn is_collection(path: &str) -> bool {
    !path.contains("/namespaces/")
}

fn plural_of(object: &Value) -> String {
    let kind = object["kind"].as_str().unwrap_or_default();
    format!("{}s", kind.to_ascii_lowercase())
}

fn answer(object: &Value) -> Response<Body> {
    Response::new(Full::new(Bytes::from(object.to_string())).boxed_unsync())
}

fn status(code: StatusCode) -> Response<Body> {
    let body = json!({
        "apiVersion": "v1",
        "kind": "Status",
        "status": "Failure",
        "message": code.to_string(),
        "reason": if code == StatusCode::NOT_FOUND { "NotFound" } else { "InternalError" },
        "code": code.as_u16(),
    });
    let mut response = answer(&body);
    *response.status_mut() = code;
    response
}
