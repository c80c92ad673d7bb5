//! Persistent actors share what plain actors have: dead letters, an event stream, supervision, one shutdown.

#![allow(clippy::unwrap_used, reason = "a test may")]

mod dead_letters;
mod doctored;
mod shutdown;
mod storms;
mod tank;
