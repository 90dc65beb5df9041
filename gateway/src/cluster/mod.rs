//! Clusters, endpoints and connections to them.

/// One cluster, living across snapshots while its identity is unchanged.
pub(crate) struct Cluster;
