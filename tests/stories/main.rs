//! Stories: the applications as their users meet them, from the outside.
//!
//! They run the built examples, which `cargo test` builds beside them; `cargo test --test stories` alone builds the
//! missing ones itself. What runs for as long as it may obeys `ANNALS_TIME_BUDGET_SECS` (each such test, default 15);
//! what is random prints its seed and takes it back as `ANNALS_SEED`.

#![allow(clippy::unwrap_used, reason = "what goes wrong here fails a test")]

mod audit;
mod bank;
mod bank_kill;
/// Pure code of the bank, with its unit tests: `cargo test` runs none inside of examples.
#[path = "../../examples/bank/requests.rs"]
#[allow(dead_code, reason = "the bank uses what the tests do not")]
mod bank_requests;
mod bank_takeover;
mod budget;
mod example;
mod http_client;
mod loans;
mod teller;
