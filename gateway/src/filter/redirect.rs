//! Answers that a route gives itself.

use super::rewrite::{path_text, replace_prefix, replace_string_prefix};
use crate::http::{LocalReply, RequestHead};
use gwanmun_ir::{DirectResponse, PathMatch, Redirect, RedirectPath, RedirectPort};

/// Response code details of answers that a route gives.
const DETAILS: &str = "direct_response";

/// A configured answer.
pub(crate) fn direct_response(response: &DirectResponse) -> LocalReply {
    LocalReply::new(response.status, DETAILS).body(response.body.clone())
}

/// A redirect. `matched` is the path condition that chose the route, `port` the one the user gave
/// the chain.
pub(crate) fn redirect(
    redirect: &Redirect,
    head: &RequestHead,
    matched: Option<&PathMatch>,
    port: u16,
) -> LocalReply {
    LocalReply::new(redirect.status, DETAILS)
        .header("location", location(redirect, head, matched, port))
}

fn location(
    redirect: &Redirect,
    head: &RequestHead,
    matched: Option<&PathMatch>,
    port: u16,
) -> String {
    let scheme = redirect
        .scheme
        .as_deref()
        .unwrap_or_else(|| head.scheme().as_str());
    let asked = head.authority();
    let (asked_host, asked_port) = asked
        .split_at_checked(head.host().len())
        .unwrap_or((asked, ""));
    let host = redirect.host.as_deref().unwrap_or(asked_host);
    let mut out = String::with_capacity(
        head.target()
            .len()
            .saturating_add(host.len())
            .saturating_add(32),
    );
    // Without a host only a relative location is true.
    if !host.is_empty() {
        out.push_str(scheme);
        out.push_str("://");
        out.push_str(&path_text(host));
        let replaced = redirect.host.is_some();
        match redirect.port {
            RedirectPort::Explicit(port) => push_port(port, scheme, &mut out),
            RedirectPort::FromListener => push_port(port, scheme, &mut out),
            RedirectPort::GatewayApi if redirect.scheme.is_none() => {
                push_port(port, scheme, &mut out);
            }
            RedirectPort::FromHost if !replaced && redirect.scheme.is_none() => {
                out.push_str(asked_port);
            }
            RedirectPort::KeepHost if !replaced => out.push_str(asked_port),
            RedirectPort::GatewayApi
            | RedirectPort::FromHost
            | RedirectPort::KeepHost
            | RedirectPort::None => {}
        }
    }
    let path = head.path();
    let path = match &redirect.path {
        None => path.to_owned(),
        Some(RedirectPath::Full(full)) => full.clone(),
        Some(RedirectPath::Prefix(prefix)) => {
            replace_prefix(path, matched, prefix).unwrap_or_else(|| path.to_owned())
        }
        Some(RedirectPath::StringPrefix(prefix)) => {
            replace_string_prefix(path, matched, prefix).unwrap_or_else(|| path.to_owned())
        }
    };
    if !path.starts_with('/') {
        out.push('/');
    }
    out.push_str(&path_text(&path));
    if let Some(query) = head.query()
        && !path.contains('?')
    {
        out.push('?');
        out.push_str(query);
    }
    out
}

/// Appends a port unless it is the scheme's own.
fn push_port(port: u16, scheme: &str, out: &mut String) {
    let own = match scheme {
        "http" => 80,
        "https" => 443,
        _ => 0,
    };
    if port != own {
        out.push(':');
        out.push_str(itoa::Buffer::new().format(port));
    }
}
