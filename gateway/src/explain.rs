//! Explains which way a request would take, from the tables that serve traffic.
