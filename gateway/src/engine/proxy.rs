//! A request on its way to a cluster, and its response on its way back.

use super::{
    affinity,
    attempt::{Plan, Tried, Tries},
    deadline::{Clock, Deadlines},
    down::DownError,
    fault::Fault,
    flow::{Flow, RequestBody},
    pump::{Ended, Pump},
    request::{Chosen, refused_upgrade, unix_now},
    retry, upgrade,
};
use crate::{
    cluster::{Cluster, Outcome, Protocol, Resource},
    compile::{CompiledRoute, CompiledTarget, Destination},
    http::{
        BodyFraming, Known, LocalReply, RequestError, RequestHead, ResponseHead, Version, forward,
    },
};
use bytes::Bytes;
use gwanmun_ir::{Dialect, RetryPolicy};
use http::Method;
use std::{borrow::Cow, future::poll_fn, sync::Arc, time::Duration};

/// The cluster of a target that has one.
pub(super) fn cluster(target: &CompiledTarget) -> Option<&Arc<Cluster>> {
    match &target.destination {
        Destination::Cluster(cluster) => Some(cluster),
        Destination::Fail(..) => None,
    }
}

/// Sends a request to a cluster and its response back.
///
/// # Errors
///
/// What the gateway itself has to answer.
pub(super) async fn forward<'f>(
    flow: &mut Flow<'f>,
    chosen: Chosen<'f>,
    target: &'f CompiledTarget,
) -> Result<(), LocalReply> {
    let cluster = match &target.destination {
        Destination::Cluster(cluster) => cluster,
        Destination::Fail(kind, _) => return Err(LocalReply::failure(*kind)),
    };
    let route = chosen.route;
    flow.record.cluster = Some(cluster);
    let Ok(_request) = cluster.admit(Resource::Requests) else {
        return Err(fault_reply(flow, &Fault::Overflow, false));
    };
    let policy = prepare(flow, chosen, target)?;
    let plan = plan(flow, cluster, route, policy.as_deref())?;
    let mut tries = Tries::new(plan);
    match tries.run(flow).await {
        Tried::Response(head, pump) => {
            flow.record
                .report(Outcome::answered(head.status(), head.grpc_status()));
            respond(flow, route, target, head, pump).await;
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

/// Readies the head and the time limits of a request; what its retry policy is.
fn prepare<'f>(
    flow: &mut Flow<'f>,
    chosen: Chosen<'f>,
    target: &CompiledTarget,
) -> Result<Option<Cow<'f, RetryPolicy>>, LocalReply> {
    let route = chosen.route;
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
    forward::attempt(head, &route.dialect, 1, flow.client.deadlines.expected_ms());
    let own = route.retry.as_ref().map(Cow::Borrowed);
    if !route.filters.changes_requests() && !target.filters.changes_requests() {
        return Ok(own);
    }
    let Some(mut head) = flow.record.head.take() else {
        return Ok(own);
    };
    let context = flow.record.context();
    for filters in [&route.filters, &target.filters] {
        filters.apply_request(&mut head, chosen.path(), &route.dialect, &context);
    }
    let taken = forward::take_retry_override(&mut head);
    flow.record.head = Some(head);
    Ok(match taken {
        Some(taken) => retry::overridden(route.retry.as_ref(), &taken).map(Cow::Owned),
        None => own,
    })
}

/// What stays the same in all tries; readies the body for them.
fn plan<'a>(
    flow: &mut Flow<'_>,
    cluster: &'a Arc<Cluster>,
    route: &'a CompiledRoute,
    policy: Option<&'a RetryPolicy>,
) -> Result<Plan<'a>, LocalReply> {
    let Some(head) = &flow.record.head else {
        return Err(RequestError::codec().into());
    };
    let affinity = affinity::of(cluster, head, flow.conn.info.peer.ip());
    let (version, upgrades) = (head.version(), head.upgrade().is_some());
    let idempotent = matches!(
        *head.http_method(),
        Method::GET | Method::HEAD | Method::PUT | Method::DELETE | Method::OPTIONS | Method::TRACE
    );
    let bodiless = flow.client.down.is_request_done();
    let replay = !bodiless && (idempotent || policy.is_some());
    flow.body = RequestBody::new(replay, route.max_request_body);
    if bodiless {
        flow.body.ended = true;
        flow.request_complete();
    }
    let client = match version {
        Version::Http10 | Version::Http11 => Protocol::Http1,
        Version::Http2 => Protocol::Http2,
    };
    let protocol = if upgrades {
        Protocol::Http1
    } else {
        cluster.protocol_for(client)
    };
    flow.set_cookie = affinity.set_cookie;
    Ok(Plan {
        key: affinity.key,
        cluster,
        policy,
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
    target: &CompiledTarget,
    mut head: Box<ResponseHead>,
    mut pump: Pump,
) {
    flow.body.replay.forget();
    flow.client.deadlines.response_started();
    flow.record.answered(head.status(), head.grpc_status());
    let upgraded = head.status() == 101;
    outgoing(flow, route, target, &mut head);
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
            Box::pin(upgrade::splice(flow, up)).await;
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
fn outgoing(
    flow: &mut Flow<'_>,
    route: &CompiledRoute,
    target: &CompiledTarget,
    head: &mut ResponseHead,
) {
    let record = &mut flow.record;
    if head.status() == 101 {
        record.service_ms = None;
    }
    forward::respond(head, &route.dialect, record.version(), record.service_ms);
    if let Some(request) = &record.head
        && (route.filters.changes_responses() || target.filters.changes_responses())
    {
        let context = record.context();
        for filters in [&target.filters, &route.filters] {
            filters.apply_response(head, request, &context);
        }
    }
    if let Some(cookie) = flow.set_cookie.take() {
        head.append("set-cookie", cookie.as_bytes());
    }
    let now = if head.get(Known::Date).is_some() {
        0
    } else {
        unix_now()
    };
    forward::finish(head, &route.dialect, now);
}
