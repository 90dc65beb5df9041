//! Where a VirtualService's rule sends requests or connections: names become clusters.

use super::world::{Voice, World};
use crate::{
    Code,
    backend::{self, BackendError, BackendRequest},
};
use gwanmun_api::istio::Destination;
use gwanmun_ir::{Failure, Target};

/// The rule that names a destination.
#[derive(Clone, Copy, Debug)]
pub(super) struct Caller<'w, 'a> {
    pub(super) world: &'w World<'a>,
    /// Namespace of the VirtualService.
    pub(super) namespace: &'w str,
    /// The server's port, as the user wrote it.
    pub(super) port: u16,
    /// What happens where the destination cannot be used.
    pub(super) otherwise: &'static str,
}

impl Caller<'_, '_> {
    /// The cluster of a destination, or how its share fails.
    pub(super) fn target(
        &self,
        destination: Option<&Destination>,
        field: &str,
        voice: &mut Voice<'_, '_>,
    ) -> Target {
        let otherwise = self.otherwise;
        let Some(destination) = destination.filter(|destination| !destination.host.is_empty())
        else {
            let message = format!("required; {otherwise}");
            voice.error(
                Code::SchemaValidation,
                format!("{field}.destination.host"),
                message,
            );
            return Target::Fail(Failure::ClusterNotFound);
        };
        let field = format!("{field}.destination");
        let host = self.world.qualified(&destination.host, self.namespace);
        let Ok(port) = port(destination) else {
            let message = format!("not a port; {otherwise}");
            voice.error(
                Code::SchemaValidation,
                format!("{field}.port.number"),
                message,
            );
            return Target::Fail(Failure::ClusterNotFound);
        };
        let mut request = BackendRequest {
            host: &host,
            client_namespace: &self.world.options.namespace,
            port,
            subset: destination.subset.as_deref().unwrap_or_default(),
            require_http2: false,
            transport: gwanmun_ir::Transport::Tcp,
            tls: None,
        };
        let (store, options) = (self.world.store, self.world.options);
        let mut found = backend::cluster(store, options, voice.sink, &request);
        if let Err(BackendError::PortRequired(_)) = found {
            let message = format!(
                "required, as {host} has several ports; the Gateway's port {} is used",
                self.port
            );
            voice.error(
                Code::DestinationPortRequired,
                format!("{field}.port"),
                message,
            );
            request.port = Some(self.port);
            found = backend::cluster(store, options, voice.sink, &request);
        }
        match found {
            Ok(key) => Target::Cluster(key),
            Err(error) => {
                let (code, part) = blame(&error);
                let message = format!("{error}; {otherwise}");
                voice.error(code, format!("{field}.{part}"), message);
                Target::Fail(Failure::ClusterNotFound)
            }
        }
    }
}

/// The port a destination names, if any.
fn port(destination: &Destination) -> Result<Option<u16>, ()> {
    let number = destination.port.as_ref().and_then(|port| port.number);
    match number {
        None | Some(0) => Ok(None),
        Some(number) => u16::try_from(number).map(Some).map_err(|_error| ()),
    }
}

/// The code and the field of a destination that cannot be used.
fn blame(error: &BackendError) -> (Code, &'static str) {
    match error {
        BackendError::HostNotFound(_) => (Code::ReferencedResourceNotFound, "host"),
        BackendError::PortNotFound { .. } => (Code::ReferencedResourceNotFound, "port"),
        BackendError::PortRequired(_) => (Code::DestinationPortRequired, "port"),
        BackendError::UnsupportedProtocol { .. } => (Code::InvalidValue, "port"),
        BackendError::SubsetNotFound { .. } => (Code::SubsetNotFound, "subset"),
    }
}
