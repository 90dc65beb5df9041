//! The engine from outside: a whole gateway in this process, upstreams and clients on real
//! sockets.

#![cfg(test)]
#![allow(
    dead_code,
    unreachable_pub,
    reason = "each test file uses its part of what they share"
)]

#[path = "../support/mod.rs"]
mod support;

mod bench;
mod early;
mod failures;
mod forwarding;
mod h2_peer;
mod http2;
mod limits;
mod timeouts;
mod upgrades;
