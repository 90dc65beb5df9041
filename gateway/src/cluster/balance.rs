//! Choosing one endpoint of many.

use super::Endpoint;
use gwanmun_ir::LoadBalancing;
use std::{
    net::SocketAddr,
    sync::{Arc, atomic::AtomicU64},
};

/// The endpoints of a cluster at one moment.
#[derive(Debug, Default)]
pub(crate) struct Table {
    endpoints: Vec<Arc<Endpoint>>,
}

impl Table {
    /// Chooses an endpoint.
    pub(super) fn pick(
        &self,
        balancing: LoadBalancing,
        position: &AtomicU64,
        tried: &[SocketAddr],
    ) -> Option<&Arc<Endpoint>> {
        let _ = (balancing, position, tried);
        self.endpoints.first()
    }

    /// Whether an endpoint has this address.
    pub(super) fn contains(&self, address: SocketAddr) -> bool {
        self.endpoints.iter().any(|e| e.address == address)
    }
}
