//! Entry points of the fuzz targets. They panic when something that must hold does not.

use crate::http::fuzzing;

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
