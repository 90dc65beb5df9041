//! `/listeners`: what is bound, as Envoy prints it, and what could not be.

use super::{AdminResponse, clusters::socket_address};
use gwanmun_ir::{ListenerKey, ListenerState};
use serde_json::json;
use std::net::SocketAddr;

/// The page.
pub(super) fn page(
    listeners: &[(ListenerKey, ListenerState, Option<SocketAddr>)],
    as_json: bool,
) -> AdminResponse {
    if !as_json {
        let lines = listeners.iter().map(|(key, state, address)| match state {
            ListenerState::Bound => {
                let address = address.map_or_else(|| "-".to_owned(), |bound| bound.to_string());
                format!("{}::{address}\n", name(key))
            }
            ListenerState::Failed(reason) => format!("{}::failed: {reason}\n", name(key)),
        });
        return AdminResponse::text(200, lines.collect::<String>());
    }
    let statuses: Vec<_> = listeners
        .iter()
        .map(|(key, state, address)| {
            let mut status = json!({ "name": name(key) });
            if let Some(status) = status.as_object_mut() {
                if let Some(address) = address {
                    status.insert("local_address".to_owned(), socket_address(*address));
                }
                if let ListenerState::Failed(reason) = state {
                    status.insert("gwanmun".to_owned(), json!({ "failed": reason }));
                }
            }
            status
        })
        .collect();
    AdminResponse::json(&json!({ "listener_statuses": statuses }))
}

/// Envoy's name for a listener: `0.0.0.0_80` for `tcp/0.0.0.0:80`.
fn name(key: &ListenerKey) -> String {
    let (transport, address) = key
        .as_str()
        .split_once('/')
        .unwrap_or(("tcp", key.as_str()));
    let prefix = if transport == "tcp" { "" } else { "udp_" };
    match address.rsplit_once(':') {
        Some((ip, port)) => format!("{prefix}{ip}_{port}"),
        None => format!("{prefix}{address}"),
    }
}
