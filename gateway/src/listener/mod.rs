//! Sockets, connections, and which filter chain a connection belongs to.

mod connection;
mod drain;
mod io;
mod table;

pub(crate) use connection::{ConnectionInfo, HttpVersion, TlsInfo};
pub(crate) use drain::DrainSignal;
pub(crate) use io::Io;
pub(crate) use table::{ChainGroup, ChainTable, ListenerTable};
