//! Typed user resources: Gateway API, Istio, core; and the manifest reader.
