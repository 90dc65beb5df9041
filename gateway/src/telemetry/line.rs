//! One line of the access log: Istio's default text format, and its JSON keys in Envoy's order.
//!
//! Writes straight into a buffer: no formatting machinery, no allocation.

use super::{Exchange, clock::Clock, clock::millis};
use std::net::SocketAddr;

/// Writes `value`, or `-`.
fn text(out: &mut Vec<u8>, value: Option<&str>) {
    plain(out, value.map(str::as_bytes));
}

/// Writes a header's value, or `-`. Quotes stay as they are, as in Envoy; control characters,
/// which no parser lets through, would be percent-encoded.
fn plain(out: &mut Vec<u8>, value: Option<&[u8]>) {
    match value {
        None => out.push(b'-'),
        Some(value) if !any(value, |byte| byte < 0x20 || byte == 0x7f) => {
            out.extend_from_slice(value);
        }
        Some(value) => percent(out, value),
    }
}

/// Whether `special` holds for a byte. Without an early end, so that it becomes vector code: nearly
/// always there is none.
fn any(value: &[u8], special: impl Fn(u8) -> bool) -> bool {
    value
        .iter()
        .fold(false, |found, &byte| found | special(byte))
}

/// Writes a path, its quotes percent-encoded, or `-`.
fn path(out: &mut Vec<u8>, value: Option<&str>) {
    match value.map(str::as_bytes) {
        Some(value) if any(value, |byte| byte == b'"') => percent(out, value),
        other => plain(out, other),
    }
}

fn percent(out: &mut Vec<u8>, value: &[u8]) {
    for &byte in value {
        if byte < 0x20 || byte == 0x7f || byte == b'"' {
            out.push(b'%');
            out.extend([hex(byte >> 4), hex(byte & 0xf)]);
        } else {
            out.push(byte);
        }
    }
}

fn hex(nibble: u8) -> u8 {
    if nibble < 10 {
        b'0' + nibble
    } else {
        b'A' - 10 + nibble
    }
}

fn number(out: &mut Vec<u8>, value: u64) {
    out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
}

/// Writes a byte, which addresses are made of, without the general machinery.
fn small(out: &mut Vec<u8>, value: u8) {
    if value >= 100 {
        out.push(b'0' + value / 100);
    }
    if value >= 10 {
        out.push(b'0' + value / 10 % 10);
    }
    out.push(b'0' + value % 10);
}

/// Writes an address as `SocketAddr` prints it.
fn address(out: &mut Vec<u8>, address: SocketAddr) {
    match address {
        SocketAddr::V4(address) => {
            for (index, octet) in address.ip().octets().into_iter().enumerate() {
                if index > 0 {
                    out.push(b'.');
                }
                small(out, octet);
            }
            out.push(b':');
            number(out, address.port().into());
        }
        SocketAddr::V6(_) => {
            // Only an address in memory is written to: this cannot fail.
            let _ = std::io::Write::write_fmt(out, format_args!("{address}"));
        }
    }
}

fn flags(out: &mut Vec<u8>, exchange: &Exchange<'_>) {
    if exchange.flags.is_empty() {
        out.push(b'-');
        return;
    }
    for (index, flag) in exchange.flags.iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        out.extend_from_slice(flag.as_str().as_bytes());
    }
}

fn duration(exchange: &Exchange<'_>) -> u64 {
    millis(exchange.end.saturating_duration_since(exchange.start))
}

/// Appends Istio's default text line.
pub(super) fn write_text(out: &mut Vec<u8>, clock: &mut Clock, start: u64, x: &Exchange<'_>) {
    out.push(b'[');
    clock.write(start, out);
    out.extend_from_slice(b"] \"");
    text(out, x.method);
    out.push(b' ');
    path(out, x.path);
    out.push(b' ');
    text(out, x.version.map(super::HttpVersion::as_str));
    out.extend_from_slice(b"\" ");
    number(out, x.status.into());
    out.push(b' ');
    flags(out, x);
    out.push(b' ');
    text(out, x.details);
    out.push(b' ');
    text(out, x.termination);
    out.extend_from_slice(b" \"");
    text(out, x.transport_failure.filter(|reason| !reason.is_empty()));
    out.extend_from_slice(b"\" ");
    for value in [x.bytes_received, x.bytes_sent, duration(x)] {
        number(out, value);
        out.push(b' ');
    }
    match x.upstream_service_ms {
        Some(ms) => number(out, ms),
        None => out.push(b'-'),
    }
    for value in [
        x.forwarded_for,
        x.user_agent,
        x.request_id,
        x.authority.map(str::as_bytes),
        x.endpoint.map(|endpoint| endpoint.text.as_bytes()),
    ] {
        out.extend_from_slice(b" \"");
        plain(out, value);
        out.push(b'"');
    }
    out.push(b' ');
    text(out, x.cluster.map(|cluster| &*cluster.name));
    out.push(b' ');
    match x.upstream_local {
        Some(local) => address(out, local),
        None => out.push(b'-'),
    }
    out.push(b' ');
    address(out, x.local);
    out.push(b' ');
    address(out, x.remote);
    out.push(b' ');
    text(out, x.sni);
    out.push(b' ');
    text(out, x.route);
    out.push(b'\n');
}

/// Appends one JSON object with Istio's default keys.
pub(super) fn write_json(out: &mut Vec<u8>, clock: &mut Clock, start: u64, x: &Exchange<'_>) {
    string(out, "{\"authority\":", x.authority.map(str::as_bytes));
    out.extend_from_slice(b",\"bytes_received\":");
    number(out, x.bytes_received);
    out.extend_from_slice(b",\"bytes_sent\":");
    number(out, x.bytes_sent);
    let termination = x.termination.map(str::as_bytes);
    string(out, ",\"connection_termination_details\":", termination);
    out.extend_from_slice(b",\"downstream_local_address\":\"");
    address(out, x.local);
    out.extend_from_slice(b"\",\"downstream_remote_address\":\"");
    address(out, x.remote);
    out.extend_from_slice(b"\",\"duration\":");
    number(out, duration(x));
    string(out, ",\"method\":", x.method.map(str::as_bytes));
    string(out, ",\"path\":", x.path.map(str::as_bytes));
    let version = x.version.map(|version| version.as_str().as_bytes());
    string(out, ",\"protocol\":", version);
    string(out, ",\"request_id\":", x.request_id);
    string(out, ",\"requested_server_name\":", x.sni.map(str::as_bytes));
    out.extend_from_slice(b",\"response_code\":");
    number(out, x.status.into());
    string(
        out,
        ",\"response_code_details\":",
        x.details.map(str::as_bytes),
    );
    out.extend_from_slice(b",\"response_flags\":\"");
    flags(out, x);
    let route = x.route.filter(|&name| name != "-").map(str::as_bytes);
    string(out, "\",\"route_name\":", route);
    out.extend_from_slice(b",\"start_time\":\"");
    clock.write(start, out);
    let cluster = x.cluster.map(|cluster| cluster.name.as_bytes());
    string(out, "\",\"upstream_cluster\":", cluster);
    let host = x.endpoint.map(|endpoint| endpoint.text.as_bytes());
    string(out, ",\"upstream_host\":", host);
    out.extend_from_slice(b",\"upstream_local_address\":");
    quoted(out, x.upstream_local, address);
    out.extend_from_slice(b",\"upstream_service_time\":");
    quoted(out, x.upstream_service_ms, number);
    let failure = x.transport_failure.filter(|reason| !reason.is_empty());
    let failure = failure.map(str::as_bytes);
    string(out, ",\"upstream_transport_failure_reason\":", failure);
    string(out, ",\"user_agent\":", x.user_agent);
    string(out, ",\"x_forwarded_for\":", x.forwarded_for);
    out.extend_from_slice(b"}\n");
}

/// Writes `before`, then `value` in quotes, or `null`.
fn string(out: &mut Vec<u8>, before: &str, value: Option<&[u8]>) {
    out.extend_from_slice(before.as_bytes());
    let Some(value) = value else {
        out.extend_from_slice(b"null");
        return;
    };
    out.push(b'"');
    let special = |byte| !(0x20..0x7f).contains(&byte) || byte == b'"' || byte == b'\\';
    if !any(value, special) {
        out.extend_from_slice(value);
    } else {
        for chunk in value.utf8_chunks() {
            chunk.valid().bytes().for_each(|byte| escaped(out, byte));
            if !chunk.invalid().is_empty() {
                out.extend_from_slice("\u{fffd}".as_bytes());
            }
        }
    }
    out.push(b'"');
}

fn escaped(out: &mut Vec<u8>, byte: u8) {
    match byte {
        b'"' | b'\\' => out.extend([b'\\', byte]),
        0..0x20 | 0x7f => {
            out.extend_from_slice(b"\\u00");
            out.extend([hex(byte >> 4), hex(byte & 0xf)]);
        }
        _ => out.push(byte),
    }
}

/// Writes `value` in quotes, or `null`.
fn quoted<T>(out: &mut Vec<u8>, value: Option<T>, write: impl Fn(&mut Vec<u8>, T)) {
    match value {
        None => out.extend_from_slice(b"null"),
        Some(value) => {
            out.push(b'"');
            write(out, value);
            out.push(b'"');
        }
    }
}

#[cfg(test)]
mod tests;
