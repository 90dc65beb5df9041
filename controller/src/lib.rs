//! Reconciles the Gateway API and Istio's API in a cluster.

mod admission;
mod authority;
mod lease;
mod source;
mod status;
