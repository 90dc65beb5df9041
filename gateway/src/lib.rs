//! The data plane: listeners, engine, routing, clusters.
