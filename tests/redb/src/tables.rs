use annals_journal::{Epoch, Head, JournalError, Mark, PersistenceId, SeqNr, Token};
use redb::{ReadTransaction, ReadableTable, Table, TableDefinition, WriteTransaction};

use crate::failure::Failure;

/// Head, epoch, activation, deleted to, position of the tombstone, mark.
pub(crate) type StreamRow = (u64, u64, u64, u64, u64, Option<[u8; Mark::BYTES]>);
/// Slice, persistence id, number, envelope, tags.
pub(crate) type LogRow = (u16, &'static str, u64, Option<&'static [u8]>, Vec<&'static str>);

pub(crate) const STREAMS: TableDefinition<&str, StreamRow> = TableDefinition::new("streams");
pub(crate) const EVENTS: TableDefinition<(&str, u64), u64> = TableDefinition::new("events");
pub(crate) const LOG: TableDefinition<u64, LogRow> = TableDefinition::new("log");
pub(crate) const TAGGED: TableDefinition<(&str, u64), ()> = TableDefinition::new("tagged");
pub(crate) const RECORDS: TableDefinition<&str, (u64, &[u8])> = TableDefinition::new("records");
pub(crate) const COUNTERS: TableDefinition<&str, u64> = TableDefinition::new("counters");

pub(crate) const POSITION: &str = "position";
pub(crate) const REVISION: &str = "revision";

/// All tables in a transaction that writes.
pub(crate) struct Tables<'t> {
    pub(crate) streams: Table<'t, &'static str, StreamRow>,
    pub(crate) events: Table<'t, (&'static str, u64), u64>,
    pub(crate) log: Table<'t, u64, LogRow>,
    pub(crate) tagged: Table<'t, (&'static str, u64), ()>,
    pub(crate) records: Table<'t, &'static str, (u64, &'static [u8])>,
    counters: Table<'t, &'static str, u64>,
}

impl<'t> Tables<'t> {
    /// Makes those that are not there.
    pub(crate) fn open(transaction: &'t WriteTransaction) -> Result<Self, Failure> {
        Ok(Self {
            streams: transaction.open_table(STREAMS)?,
            events: transaction.open_table(EVENTS)?,
            log: transaction.open_table(LOG)?,
            tagged: transaction.open_table(TAGGED)?,
            records: transaction.open_table(RECORDS)?,
            counters: transaction.open_table(COUNTERS)?,
        })
    }

    /// The next number of a counter, which is never given again.
    pub(crate) fn count(&mut self, counter: &str) -> Result<u64, Failure> {
        let next = self.counters.get(counter)?.map_or(0, |last| last.value()) + 1;
        self.counters.insert(counter, next)?;
        Ok(next)
    }
}

/// Where an id stands, and at which position its tombstone lies; `None`: nobody claimed or wrote it.
pub(crate) fn stream(
    streams: &impl ReadableTable<&'static str, StreamRow>,
    id: &PersistenceId,
) -> Result<Option<(Head, u64)>, Failure> {
    let Some(row) = streams.get(id.as_str())? else { return Ok(None) };
    let (seq_nr, epoch, activation, deleted_to, tombstone, mark) = row.value();
    let number = |number| {
        let reason = format!("the head has the number {number}, which none has");
        SeqNr::new(number).ok_or_else(|| JournalError::corrupt(id, SeqNr::ZERO, reason))
    };
    let head = Head {
        seq_nr: number(seq_nr)?,
        token: Token::new(Epoch(epoch), activation),
        deleted_to: number(deleted_to)?,
        mark: mark.map(Mark::from_bytes),
        ..Head::EMPTY
    };
    Ok(Some((head, tombstone)))
}

/// The last position that was used.
pub(crate) fn end_of_log(snapshot: &ReadTransaction) -> Result<u64, Failure> {
    Ok(snapshot.open_table(COUNTERS)?.get(POSITION)?.map_or(0, |last| last.value()))
}
