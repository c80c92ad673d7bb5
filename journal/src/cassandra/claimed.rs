//! Owning an id without conditional writes: claim, then verify. No store in here: what is to be read and written comes out, what was found goes in.
//!
//! ```text
//! take-over  T1 claim at a quorum ─▶ T2 rows, then markers, then what is deleted ─▶ which of it is the log
//!            ─▶ T3 its unsettled rows again, at a quorum ─▶ T4 marker with the whole history, at a quorum ─▶ T5 is the claim still mine?
//! append     A1 rows under my token, at a quorum ─▶ A2 then the claim, one reading for all that are there ─▶ A3 still mine? in order
//! read       as T2 ─▶ P2a up to what the newest owner had acknowledged when it wrote one of its rows
//! delete     the number, at a quorum ─▶ then the rows
//! ```
//!
//! *Durable at a quorum, then the claim* against *the claim at a quorum, then the log*: one of the two sees the other. The marker makes what
//! surfaces late of older owners meaningless: below its base there is what its history names, from there on only rows of its own token.
//!
//! This is what is decided; nothing drives it over a server yet, so that it is built for tests alone.
//!
//! [`Owner`] takes over, appends and deletes; [`Reader`] shows; both read by [`Reading`] and decide by [`resolve`]. What each
//! [`Rule`] is for is shown by `simulator`: three replicas that hear of each write at any time or never.

mod history;
use history::{History, Marker};
mod log;
use log::{Log, Rows, resolve};
mod owner;
use owner::{Action, Input, Owner};
mod reader;
use reader::Reader;
mod reading;
use reading::{Ask, Buckets, Found, Next, Reading};
mod row;
use row::{Batch, Row};
mod rule;
use rule::{Rule, Rules};
mod simulator;
