//! Entry points of the fuzz targets. They panic when something that must hold does not.

use crate::{http::fuzzing, l4::udp::fuzzing as udp, listener::fuzzing as listener};

/// A chunked body.
pub fn chunked(data: &[u8]) {
    fuzzing::chunked(data);
}

/// A request target.
pub fn normalize(data: &[u8]) {
    fuzzing::normalize(data);
}

/// A request head.
pub fn request(data: &[u8]) {
    fuzzing::request(data);
}

/// A response head.
pub fn response(data: &[u8]) {
    fuzzing::response(data);
}

/// The first bytes of a TLS connection.
pub fn hello(data: &[u8]) {
    listener::hello(data);
}

/// The first bytes of a connection from a load balancer.
pub fn proxy(data: &[u8]) {
    listener::proxy(data);
}

/// Certificates, keys, revocation lists and OCSP responses.
pub fn certs(data: &[u8]) {
    listener::certs(data);
}

/// Steps of UDP sessions.
pub fn udp(data: &[u8]) {
    udp::sessions(data);
}
