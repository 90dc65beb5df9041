//! Who may talk to the admin interface: programs on this machine, not web pages in a browser on it.

use super::{AdminRequest, AdminResponse};
use http::{HeaderMap, header};
use std::net::IpAddr;

/// Refuses requests that a web page made a browser send, directly or by DNS rebinding. Nothing
/// means the request is fine.
pub(super) fn check(request: &AdminRequest, headers: &HeaderMap) -> Option<AdminResponse> {
    let host = headers
        .get(header::HOST)
        .and_then(|value| value.to_str().ok());
    if !host.is_some_and(is_local) {
        return Some(AdminResponse::text(
            403,
            "the host must be an IP address or localhost\n",
        ));
    }
    let own = |origin: &str| {
        let origin = origin.split_once("://").map_or(origin, |(_, rest)| rest);
        Some(origin) == host
    };
    let foreign = headers
        .get_all(header::ORIGIN)
        .iter()
        .any(|origin| !origin.to_str().is_ok_and(own));
    if request.method != "GET" && foreign {
        return Some(AdminResponse::text(403, "not from a web page\n"));
    }
    None
}

/// Whether a `host` field names this machine in a way that no DNS server can have a say in.
fn is_local(host: &str) -> bool {
    if let Some(rest) = host.strip_prefix('[') {
        return rest
            .split_once(']')
            .is_some_and(|(address, _)| address.parse::<IpAddr>().is_ok());
    }
    let name = host.split_once(':').map_or(host, |(name, _)| name);
    name.parse::<IpAddr>().is_ok()
        || name.eq_ignore_ascii_case("localhost")
        || name.to_ascii_lowercase().ends_with(".localhost")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(method: &str, headers: &[(&'static str, &'static str)]) -> u16 {
        let request = AdminRequest {
            method: method.to_owned(),
            path: "/".to_owned(),
            query: Vec::new(),
        };
        let headers = headers
            .iter()
            .map(|&(name, value)| (name.parse().unwrap(), value.parse().unwrap()))
            .collect();
        check(&request, &headers).map_or(200, |answer| answer.status)
    }

    #[test]
    fn only_names_of_this_machine_are_served() {
        for (host, expected) in [
            ("127.0.0.1:15000", 200),
            ("[::1]:15000", 200),
            ("localhost:15000", 200),
            ("LOCALHOST", 200),
            ("10.0.0.7", 200),
            ("rebind.example:15000", 403),
            ("127.0.0.1.example:15000", 403),
            ("localhost.example", 403),
            ("", 403),
        ] {
            assert_eq!(status("GET", &[("host", host)]), expected, "{host}");
        }
        assert_eq!(status("GET", &[]), 403);
    }

    #[test]
    fn a_web_page_changes_nothing() {
        let host = ("host", "127.0.0.1:15000");
        for (method, origin, expected) in [
            ("POST", "http://evil.example", 403),
            ("POST", "null", 403),
            ("POST", "http://127.0.0.1:15000", 200),
            ("GET", "http://evil.example", 200),
        ] {
            assert_eq!(status(method, &[host, ("origin", origin)]), expected);
        }
        assert_eq!(status("POST", &[host]), 200);
    }
}
