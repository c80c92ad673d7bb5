//! The right to change something, in an order in which nothing appears behind a reader (I10).
//!
//! ```text
//! writer   intents at a quorum ──▶ then reads floor and gate ──▶ below the floor, or not? ──▶ conditional write
//! reader   floor at a quorum   ──▶ then reads intents
//! ```
//! One of the two sees the other: what a reader did not find below its floor finds that floor, and takes another ticket.

use futures::future;

use super::intents::{Intent, Lane};
use super::keyspace::Inner;
use super::state::Ticket;
use super::value::Value;
use crate::{Gate, JournalError, Timestamp};

/// The numbers that only rise.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Marks {
    /// No ticket above it has been used.
    pub(super) newest: u64,
    /// Nothing is written any more under it or below that was not written down before it rose.
    pub(super) floor: u64,
    /// Nothing is written any more under it or below.
    pub(super) settled: u64,
}

impl Inner {
    pub(super) async fn marks(&self) -> Result<Marks, JournalError> {
        let rows: Vec<(String, i64)> = self.rows(&self.statements.marks, vec![self.journal()]).await?;
        let mut marks = Marks::default();
        for (name, value) in rows {
            let value = value.cast_unsigned();
            match name.as_str() {
                NEWEST => marks.newest = value,
                FLOOR => marks.floor = value,
                SETTLED => marks.settled = value,
                _ => {}
            }
        }
        self.clock.observe(marks.newest.max(marks.floor));
        Ok(marks)
    }

    async fn raise_mark(&self, name: &str, value: u64) -> Result<(), JournalError> {
        let row = vec![self.journal(), Value::text(name), Value::int(value), Value::int(value)];
        self.execute(&self.statements.raise_mark, row).await.map(drop)
    }

    pub(super) async fn raise_floor(&self, value: u64) -> Result<(), JournalError> {
        self.raise_mark(FLOOR, value).await
    }

    pub(super) async fn raise_settled(&self, value: u64) -> Result<(), JournalError> {
        self.raise_mark(SETTLED, value).await
    }

    /// A ticket for what is intended: `intents` gives it under a ticket's number.
    ///
    /// # Errors
    /// [`JournalError::Unavailable`]: nothing was changed, and nothing is under this ticket.
    pub(super) async fn ticket(
        &self,
        intents: impl Fn(u64) -> Vec<(Lane, Intent)>,
    ) -> Result<Ticket, JournalError> {
        loop {
            let major = self.clock.next(Timestamp::now().as_micros());
            future::try_join(self.store_intents(intents(major)), self.raise_mark(NEWEST, major)).await?;
            let (marks, gate) = future::try_join(self.marks(), self.gate()).await?;
            if marks.floor < major {
                return Ok(Ticket { major, gate });
            }
        }
    }

    /// A place in a ticket, as the fine part of an offset.
    pub(super) fn minor(&self, place: u64) -> u64 {
        (self.instance << 32) | place
    }

    async fn gate(&self) -> Result<Option<Gate>, JournalError> {
        let row = vec![self.journal(), Value::text(Gate::key().as_str())];
        let rows: Vec<(Option<i64>, Option<bytes::Bytes>)> = self.rows(&self.statements.record, row).await?;
        match rows.into_iter().next() {
            Some((_, Some(value))) => Ok(Some(Gate::decode(&value).unwrap_or_else(|_| Gate::unreadable()))),
            _ => Ok(None),
        }
    }
}

const NEWEST: &str = "newest";
const FLOOR: &str = "floor";
const SETTLED: &str = "settled";
