//! Histories of three versions of one kind, rewritten in place and copied elsewhere.

#![allow(clippy::unwrap_used, reason = "a test")]

mod copying;
mod history;
mod postgres;
mod resealing;
mod rewriting;
mod sealed;
mod snapshots;
mod taking_part;
