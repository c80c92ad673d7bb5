//! The command `annals` as its users meet it: the binary, on SQLite files.

#![allow(clippy::unwrap_used, reason = "what goes wrong here fails a test")]

mod bank;
mod program;
mod sealed_bank;

mod any_journal;
mod copying;
mod copying_kill;
mod documentation;
mod durable_state;
mod encrypting;
mod erasing;
#[cfg(unix)]
mod erasing_kill;
mod exit_codes;
mod export_import;
mod help;
mod inspecting;
mod keys;
mod legacy;
mod looking;
mod masking;
mod rekeying;
mod rewriting;
mod rotating;
mod schema;
mod sealed;
mod terminal;
mod verifying;
mod verifying_postgres;
mod verifying_sealed;
mod versions;
