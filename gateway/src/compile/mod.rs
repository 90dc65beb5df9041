//! Compiles the configuration language into the tables that requests are served from.

mod route;

pub(crate) use route::{
    CompiledAction, CompiledRetry, CompiledRoute, CompiledTarget, Destination, Targets,
};
