//! The subcommands: each reads its arguments, does its work and says how it went.

pub(crate) mod check;
pub(crate) mod completions;
pub(crate) mod config;
pub(crate) mod controller;
pub(crate) mod demo;
pub(crate) mod explain;
pub(crate) mod gateway;
pub(crate) mod run;
pub(crate) mod status;
pub(crate) mod version;
