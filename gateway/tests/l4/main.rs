//! Connections that carry bytes, from outside: a whole gateway in this process, servers and
//! clients on real sockets.

#![cfg(test)]
#![allow(
    dead_code,
    unreachable_pub,
    reason = "each test file uses its part of what they share"
)]

#[path = "../support/mod.rs"]
mod support;

mod bench;
mod drain;
mod failures;
mod hello;
mod passthrough;
mod plain;
mod proxy;
mod terminated;
