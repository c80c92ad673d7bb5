//! Stories of plain actors, in virtual time.

#![allow(clippy::unwrap_used, reason = "a test may")]

mod calls;
mod conversations;
mod idle;
mod lives;
mod mailboxes;
mod probe;
mod routers;
mod supervision;
mod telemetry;
mod turns;
