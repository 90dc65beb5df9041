//! Clusters, their endpoints, how one is chosen and how it is connected to.
//!
//! A [`Registry`] on the control thread turns IR clusters, endpoint sets and secrets into
//! [`Cluster`]s. What a cluster learns at run time (health, load, counters) is keyed by its key and
//! by endpoint address, so it survives every change of configuration.

mod balance;
mod breaker;
mod connect;
mod dns;
mod endpoint;
mod hash;
mod io;
mod openssl;
mod outlier;
mod proxy_header;
mod registry;
mod socket;
mod state;
mod stats;
mod tasks;
#[allow(dead_code, reason = "its user lands next")]
mod tcp;
mod tls;
mod verify;

pub(crate) use balance::Member;
pub(crate) use breaker::{Guard, Overflow, Resource};
pub(crate) use connect::{ConnectError, ConnectFailure, Connection, Protocol};
pub(crate) use endpoint::{Endpoint, EndpointRef, NoHealthyEndpoint, Outcome};
pub(crate) use io::UpstreamIo;
pub(crate) use proxy_header::ProxiedAddresses;
pub(crate) use registry::{Clusters, Registry};
pub(crate) use state::{Cluster, State};
#[allow(unused_imports, reason = "their user lands next")]
pub(crate) use tcp::{TcpError, TcpFailure, TcpRequest, TcpUpstream, source_key};
