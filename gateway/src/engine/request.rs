//! One request from its head to its end: gate, route, transformations, tries, answer.

use super::{
    Served,
    attempt::{Plan, Tried, Tries},
    deadline::{Clock, Deadlines},
    down::{Down, DownError},
    fault::Fault,
    flow::{Flow, Idle, RequestBody},
    pump::{Ended, Pump},
    timer::Timer,
    upgrade,
};
use crate::{
    cluster::{Cluster, Outcome, Protocol, Resource},
    compile::{CompiledAction, CompiledRoute, CompiledTarget, Destination},
    core::Core,
    http::{
        BodyFraming, Known, RequestError, RequestHead, ResponseHead, Upgrade, Version,
        forward::{self, SERVER},
        gate,
        reply::{Asked, LocalReply},
    },
    route::Found,
};
use bytes::Bytes;
use gwanmun_ir::{Dialect, Failure};
use http::Method;
use std::{
    borrow::Cow,
    future::poll_fn,
    net::SocketAddr,
    sync::Arc,
    time::{Duration, SystemTime},
};
use tokio::time::Instant;

/// Serves one request.
pub(super) async fn serve(mut flow: Flow<'_>) {
    if let Err(reply) = answer(&mut flow).await {
        local(&mut flow, reply).await;
    }
}

/// Answers what is not a request.
pub(super) async fn refuse(
    core: &Core,
    conn: &Served,
    down: &mut Down,
    error: RequestError,
    started: Instant,
) {
    let mut timer = Timer::default();
    if let Down::H1(client) = down {
        client.refuse(&core.buffers);
    }
    let mut flow = Flow::new(core, conn, down, &mut timer, None, started);
    local(&mut flow, error.into()).await;
}

/// Routes a request and has it served.
///
/// # Errors
///
/// What the gateway itself has to answer.
async fn answer(flow: &mut Flow<'_>) -> Result<(), LocalReply> {
    let route = find(flow)?;
    flow.record.route = Some(Arc::clone(&route));
    match &route.action {
        CompiledAction::Forward(targets) => match targets.pick(fastrand::u64(..)) {
            Some(target) => forward(flow, &route, target).await,
            None => Err(LocalReply::failure(Failure::InvalidBackend)),
        },
        CompiledAction::Fail(kind) => Err(LocalReply::failure(*kind)),
        CompiledAction::Respond(response) => {
            let body = Bytes::copy_from_slice(&response.body);
            Err(LocalReply::new(response.status, "direct_response").body(body))
        }
        CompiledAction::Redirect(redirect) => {
            Err(LocalReply::new(redirect.status, "direct_response"))
        }
    }
}

/// The rule for a request that passes the gate.
fn find(flow: &mut Flow<'_>) -> Result<Arc<CompiledRoute>, LocalReply> {
    // The snapshot is held no longer than for the look-up: what the request needs of it, it keeps.
    let snapshot = flow.core.snapshot.load();
    let conn = flow.conn;
    let info = &conn.info;
    let table = snapshot.listener(&info.table.key).unwrap_or(&info.table);
    let tls = info.group.as_ref();
    let Some(head) = &mut flow.record.head else {
        return Err(RequestError::codec().into());
    };
    let options = table.http_options(tls, head.host());
    gate::admit(head, options)?;
    if let Some(address) = forward::enter(head, &conn.client, options.trusted_hops) {
        flow.record.remote = SocketAddr::new(address, 0);
    }
    match table.find(tls, &*head) {
        Found::Route(matched) => Ok(Arc::clone(matched.route)),
        Found::NotFound(_) => Err(LocalReply::route_not_found()),
        Found::Misdirected => Err(LocalReply::misdirected()),
    }
}

/// Sends a request to a cluster and its response back.
async fn forward(
    flow: &mut Flow<'_>,
    route: &CompiledRoute,
    target: &CompiledTarget,
) -> Result<(), LocalReply> {
    let cluster = match &target.destination {
        Destination::Cluster(cluster) => cluster,
        Destination::Fail(kind, _) => return Err(LocalReply::failure(*kind)),
    };
    flow.record.cluster = Some(Arc::clone(cluster));
    let Ok(_request) = cluster.admit(Resource::Requests) else {
        return Err(fault_reply(flow, &Fault::Overflow, false));
    };
    let plan = prepare(flow, route, cluster)?;
    let mut tries = Tries::new(plan);
    match tries.run(flow).await {
        Tried::Response(head, pump, endpoint) => {
            cluster.report(&endpoint, Outcome::Answered(head.status()));
            respond(flow, route, head, pump).await;
            Ok(())
        }
        Tried::Failed(fault) => Err(fault_reply(flow, &fault, tries.retried())),
        Tried::Down(DownError::Malformed) => Err(RequestError::codec().into()),
        Tried::Down(error) => {
            flow.record.down_failed(error);
            flow.client.down.cut();
            Ok(())
        }
        Tried::TooLarge => Err(LocalReply::payload_too_large()),
    }
}

/// Readies a request for its tries: limits, body, head.
fn prepare<'a>(
    flow: &mut Flow<'_>,
    route: &'a CompiledRoute,
    cluster: &'a Arc<Cluster>,
) -> Result<Plan<'a>, LocalReply> {
    let Some(head) = &mut flow.record.head else {
        return Err(RequestError::codec().into());
    };
    if let (BodyFraming::Length(length), Some(limit)) = (head.framing(), route.max_request_body)
        && length > limit
    {
        return Err(LocalReply::payload_too_large());
    }
    let envoy = matches!(route.dialect, Dialect::Istio { .. });
    let clock = if envoy {
        Clock::Complete
    } else {
        Clock::FirstByte
    };
    let timeout = route
        .timeout
        .or_else(|| grpc_timeout(head).filter(|_| envoy));
    flow.client.deadlines = Deadlines::new(clock, timeout, route.per_try_timeout, flow.started);
    let idempotent = matches!(
        *head.http_method(),
        Method::GET | Method::HEAD | Method::PUT | Method::DELETE | Method::OPTIONS | Method::TRACE
    );
    let bodiless = flow.client.down.is_request_done();
    let replay = !bodiless && (idempotent || route.retry.is_some());
    flow.body = RequestBody::new(replay, route.max_request_body);
    forward::attempt(head, &route.dialect, 1, flow.client.deadlines.expected_ms());
    let client = match head.version() {
        Version::Http10 | Version::Http11 => Protocol::Http1,
        Version::Http2 => Protocol::Http2,
    };
    let protocol = if head.upgrade().is_some() {
        Protocol::Http1
    } else {
        cluster.protocol_for(client)
    };
    Ok(Plan {
        cluster,
        policy: route.retry.as_ref(),
        protocol,
        idempotent,
        dialect: &route.dialect,
    })
}

/// The `grpc-timeout` of a gRPC request.
fn grpc_timeout(head: &RequestHead) -> Option<Duration> {
    if !head.is_grpc() {
        return None;
    }
    let value = std::str::from_utf8(head.get(Known::GrpcTimeout)?).ok()?;
    let (digits, unit) = value.split_at_checked(value.len().checked_sub(1)?)?;
    if digits.is_empty() || digits.len() > 8 || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let amount: u64 = digits.parse().ok()?;
    match unit {
        "H" => Some(Duration::from_secs(amount * 3600)),
        "M" => Some(Duration::from_secs(amount * 60)),
        "S" => Some(Duration::from_secs(amount)),
        "m" => Some(Duration::from_millis(amount)),
        "u" => Some(Duration::from_micros(amount)),
        "n" => Some(Duration::from_nanos(amount)),
        _ => None,
    }
}

/// What the client is told when all tries came to nothing.
fn fault_reply(flow: &mut Flow<'_>, fault: &Fault, retried: bool) -> LocalReply {
    flow.record.failed(fault);
    let body = match fault.body(retried) {
        Cow::Borrowed(text) => Bytes::from_static(text.as_bytes()),
        Cow::Owned(text) => Bytes::from(text),
    };
    let reply = LocalReply::new(fault.status(), fault.details()).body(body);
    if fault.is_overflow() {
        reply.header("x-envoy-overloaded", "true")
    } else {
        reply
    }
}

/// Passes a response on.
async fn respond(
    flow: &mut Flow<'_>,
    route: &CompiledRoute,
    mut head: ResponseHead,
    mut pump: Pump,
) {
    flow.body.replay.forget();
    flow.client.deadlines.response_started();
    flow.record.answered(head.status(), head.grpc_status());
    let upgraded = head.status() == 101;
    outgoing(flow, route, &mut head);
    let end = matches!(head.framing(), BodyFraming::None | BodyFraming::Length(0));
    let close = flow.conn.info.drain.is_draining() || refused_upgrade(flow, upgraded);
    if let Err(error) = flow.client.down.send_head(&mut head, end, close) {
        flow.record.down_failed(error);
        return;
    }
    drop(head);
    if upgraded {
        flow.client.deadlines.lift();
        if let Some(up) = pump.take_up() {
            upgrade::splice(flow, up).await;
        }
        return;
    }
    match poll_fn(|cx| pump.poll_deliver(flow, cx)).await {
        Ended::Complete => {}
        Ended::Cut(cut) => {
            flow.record.cut(cut);
            flow.client.down.cut();
        }
        Ended::Down(error) => {
            flow.record.down_failed(error);
            flow.client.down.cut();
        }
    }
}

/// What changes about an upstream's response on its way to the client.
fn outgoing(flow: &mut Flow<'_>, route: &CompiledRoute, head: &mut ResponseHead) {
    let record = &mut flow.record;
    if head.status() == 101 {
        record.service_ms = None;
    }
    let version = record.version();
    forward::respond(head, &route.dialect, version, record.service_ms);
    let now = if head.get(Known::Date).is_some() {
        0
    } else {
        unix_now()
    };
    forward::finish(head, &route.dialect, now);
}

/// Seconds since the Unix epoch.
fn unix_now() -> u64 {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    now.map_or(0, |now| now.as_secs())
}

/// Whether the client asked for another protocol and does not get it: what it sends next may be
/// anything.
fn refused_upgrade(flow: &Flow<'_>, upgraded: bool) -> bool {
    let asked = flow.record.head.as_ref().and_then(RequestHead::upgrade);
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
    let asked = record.head.as_ref().map(Asked::from).unwrap_or_default();
    let dialect = record.route.as_ref().map(|route| &route.dialect);
    let server = dialect.and_then(forward::server_of).unwrap_or(SERVER);
    let (mut head, body) = reply.into_response(asked, server, unix_now());
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
