//! One request from its head to its end: gate, route, and the answers we give ourselves.

use super::{
    Served,
    down::Down,
    flow::{Flow, Idle},
    proxy,
    record::Record,
    timer::Timer,
};
use crate::{
    compile::{CompiledAction, CompiledRoute},
    core::Core,
    filter,
    http::{
        LocalReply, RequestError, RequestHead, Upgrade,
        forward::{self, SERVER},
        gate,
        reply::Asked,
    },
    route::{Found, Group, bare_host},
};
use gwanmun_ir::{Failure, PathMatch};
use std::{net::SocketAddr, time::SystemTime};
use tokio::time::Instant;

/// The rule that serves a request.
#[derive(Clone, Copy)]
pub(super) struct Chosen<'t> {
    /// The rule.
    pub(super) route: &'t CompiledRoute,
    /// Which of its conditions held.
    index: usize,
    /// The port the user gave the chain.
    port: u16,
}

impl<'t> Chosen<'t> {
    /// The condition on the path that held.
    pub(super) fn path(&self) -> Option<&'t PathMatch> {
        self.route.ir.matches.get(self.index).map(|one| &one.path)
    }
}

/// Serves one request; when it ended.
pub(super) async fn serve(flow: &mut Flow<'_>) -> std::time::Instant {
    if let Err(reply) = answer(flow).await {
        Box::pin(local(flow, reply)).await;
    }
    flow.record.finish()
}

/// Answers what is not a request.
pub(super) async fn refuse(
    (core, conn): (&Core, &Served),
    down: &mut Down,
    error: RequestError,
    started: Instant,
) -> std::time::Instant {
    let mut timer = Timer::default();
    if let Down::H1(client) = down {
        client.refuse(&core.buffers);
    }
    let shared = (core, conn, &*conn.info.table);
    let mut flow = Flow::new(shared, down, &mut timer, None, started);
    Box::pin(local(&mut flow, error.into())).await;
    flow.record.finish()
}

/// Records a stream that was reset because what came is not a request.
pub(super) fn reject(core: &Core, conn: &Served, error: &RequestError, started: Instant) {
    let mut record = Record::new(core, conn, None, started.into_std());
    if let Some(flag) = error.flag {
        record.flags.set(flag);
    }
    record.details = Some(error.details.into());
}

/// Routes a request and has it served.
///
/// # Errors
///
/// What the gateway itself has to answer.
async fn answer(flow: &mut Flow<'_>) -> Result<(), LocalReply> {
    let chosen = find(flow)?;
    let route = chosen.route;
    flow.record.route = Some(route);
    let upgrade = flow.record.head.as_deref().and_then(RequestHead::upgrade);
    if upgrade == Some(Upgrade::Other) {
        if let CompiledAction::Forward(targets) = &route.action {
            flow.record.cluster = targets.pick(fastrand::u64(..)).and_then(proxy::cluster);
        }
        return Err(LocalReply::upgrade_failed());
    }
    match &route.action {
        CompiledAction::Forward(targets) => match targets.pick(fastrand::u64(..)) {
            Some(target) => proxy::forward(flow, chosen, target).await,
            None => Err(LocalReply::failure(Failure::InvalidBackend)),
        },
        CompiledAction::Fail(kind) => Err(LocalReply::failure(*kind)),
        CompiledAction::Respond(response) => {
            flow.edits_reply = true;
            Err(filter::direct_response(response))
        }
        CompiledAction::Redirect(redirect) => {
            flow.edits_reply = true;
            let Some(head) = &flow.record.head else {
                return Err(RequestError::codec().into());
            };
            Err(filter::redirect(redirect, head, chosen.path(), chosen.port))
        }
    }
}

/// The rule for a request that passes the gate.
fn find<'f>(flow: &mut Flow<'f>) -> Result<Chosen<'f>, LocalReply> {
    let (conn, table) = (flow.conn, flow.table);
    let tls = conn.info.group.as_ref();
    let Some(head) = &mut flow.record.head else {
        return Err(RequestError::codec().into());
    };
    let options = table.http_options(tls, head.host());
    if let Err(error) = gate::admit(head, options) {
        if error == RequestError::low_version() {
            // As what the parser refuses, which is where Envoy refuses it: the log has nothing of it.
            flow.record.head = None;
        }
        return Err(error.into());
    }
    if let Some(address) = forward::enter(head, &conn.client, options) {
        flow.record.remote = SocketAddr::new(address, 0);
    }
    let host = bare_host(head.host());
    match table.find(tls, &**head) {
        Found::Route(matched) if !conn.fulfils(matched.chain) => Err(LocalReply::outdated()),
        Found::Route(matched) => Ok(Chosen {
            route: matched.route,
            index: matched.match_index,
            port: matched.chain.chain.port,
        }),
        Found::Nothing => match table.group_for_request(tls, host) {
            Group::Chains(group) if !group.chains.iter().all(|chain| conn.fulfils(chain)) => {
                Err(LocalReply::outdated())
            }
            Group::Chains(_) | Group::Misdirected | Group::None => {
                Err(LocalReply::route_not_found())
            }
        },
        Found::Misdirected => Err(LocalReply::misdirected()),
    }
}

/// Seconds since the Unix epoch.
pub(super) fn unix_now() -> u64 {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    now.map_or(0, |now| now.as_secs())
}

/// Whether the client asked for another protocol and does not get it: what it sends next may be
/// anything.
pub(super) fn refused_upgrade(flow: &Flow<'_>, upgraded: bool) -> bool {
    let asked = flow.record.head.as_deref().and_then(RequestHead::upgrade);
    matches!(asked, Some(Upgrade::WebSocket | Upgrade::Other)) && !upgraded
}

/// Answers by ourselves.
async fn local(flow: &mut Flow<'_>, reply: LocalReply) {
    flow.client.deadlines.lift();
    let record = &mut flow.record;
    if let Some(flag) = reply.flag {
        record.flags.set(flag);
    }
    record.details = Some(reply.details.clone());
    let close = reply.close || flow.conn.info.drain.is_draining();
    let asked = record.head.as_deref().map(Asked::from).unwrap_or_default();
    let dialect = record.route.map(|route| &route.dialect);
    let server = dialect.and_then(forward::server_of).unwrap_or(SERVER);
    let (mut head, body) = reply.into_response(asked, server, unix_now());
    if flow.edits_reply
        && let (Some(route), Some(request)) = (record.route, &record.head)
        && route.filters.changes_responses()
    {
        route
            .filters
            .apply_response(&mut head, request, &record.context());
    }
    record.status = head.status();
    if record.grpc {
        record.grpc_status = head.grpc_status();
    }
    let close = close || refused_upgrade(flow, false);
    let end = body.is_empty();
    if let Err(error) = flow.client.down.send_head(&mut head, end, close) {
        flow.record.down_failed(error);
        return;
    }
    if !end {
        flow.record.count_sent(body.len());
        flow.client.down.push(body);
    }
    flow.client.down.finish(None);
    if let Err(Idle::Down(error)) = flow.flush().await {
        flow.record.down_failed(error);
        flow.client.down.cut();
    }
}
