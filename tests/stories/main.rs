//! Stories: the applications as their users meet them, from the outside.
//!
//! They build the examples and run the binaries. What runs for as long as it may obeys `ANNALS_TIME_BUDGET_SECS` (each such test, default 15);
//! what is random prints its seed and takes it back as `ANNALS_SEED`.

#![allow(clippy::unwrap_used, reason = "what goes wrong here fails a test")]

mod audit;
mod bank;
mod bank_kill;
mod bank_postgres;
mod bank_sealed;
mod bank_takeover;
mod budget;
mod example;
mod http_client;
mod line_process;
mod loans;
mod loans_sealed;
mod loans_v2;
mod own_writes;
mod reminders_kill;
mod rewriting_kill;
mod rollback;
mod rollout;
mod shutdown;
mod signup_kill;
mod snapshots;
mod stored;
mod teller;
mod transfers;
mod transfers_kill;
mod views;
