//! Nodes over real sockets, in one process.
#![allow(clippy::unwrap_used, reason = "a test may")]

mod hostile;
mod nodes;
mod remote;
mod tls;
