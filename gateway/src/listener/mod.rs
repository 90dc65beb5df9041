//! Sockets, connections, and which filter chain a connection belongs to.

mod accept;
mod admission;
mod client;
mod connection;
mod drain;
#[cfg(feature = "fuzzing")]
pub(crate) mod fuzzing;
mod handshake;
mod hello;
mod io;
mod proxy_header;
mod serve;
mod sniff;
mod socket;
mod table;
mod termination;

pub(crate) use accept::{Acceptor, run};
pub(crate) use admission::{Admission, Admitted};
pub(crate) use client::ClientCertificate;
pub(crate) use connection::{ConnectionInfo, HttpVersion, TlsInfo};
pub(crate) use drain::DrainSignal;
pub(crate) use io::Io;
pub(crate) use socket::bind;
pub(crate) use table::{ChainGroup, ChainTable, DEFAULT_HTTP, ListenerTable, Mode};
pub(crate) use termination::Termination;
