use std::collections::HashMap;
use std::time::{Duration, Instant};

use sqlx::Row as _;
use sqlx::postgres::PgRow;
use tokio::time::sleep;

use super::failure::read_failure;
use super::{Database, held_up, row, statements};
use crate::envelope::Sequence;
use crate::{JournalError, Offset, Page, PageItem, PersistenceId, SeqNr, SliceRange, StoredEvent, Tag};

/// Which events a page has.
#[derive(Clone, Copy)]
pub(super) enum Wanted<'a> {
    Slices(SliceRange),
    Tag(&'a Tag),
}

/// A page, and where the reader is with it.
struct Look {
    items: Vec<PageItem>,
    /// The last event in front of all transactions that are open.
    settled: Offset,
    /// The last event that could be seen.
    newest: Offset,
    generation: u64,
    /// The number of the server's next transaction.
    next_transaction: u64,
}

/// A page behind an offset, in front of the first transaction that is open.
///
/// When there is something behind such a transaction that the page has room for, it is looked for again until that transaction has ended,
/// or until the reader's patience has: an append of another node takes milliseconds, a foreign transaction may take hours.
pub(super) async fn page(
    database: &Database,
    wanted: Wanted<'_>,
    after: Offset,
    limit: usize,
) -> Result<Page, JournalError> {
    if limit == 0 {
        return Ok(Page { items: Vec::new(), complete_to: after });
    }
    let began = Instant::now();
    let patience = database.options().patience;
    let mut target = None;
    let mut pause = FIRST_PAUSE;
    loop {
        let look = look(database, wanted, after, limit).await?;
        if target.is_none() {
            check_offset(database, after, &look).await?;
        }
        let complete = *target.get_or_insert(look.newest) <= look.settled || look.items.len() == limit;
        held_up::note(database, complete).await;
        if complete || began.elapsed() + pause > patience {
            let complete_to = match look.items.last() {
                Some(last) if look.items.len() == limit => last.offset(),
                _ => after.max(look.settled),
            };
            return Ok(Page { items: look.items, complete_to });
        }
        sleep(pause).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

async fn look(
    database: &Database,
    wanted: Wanted<'_>,
    after: Offset,
    limit: usize,
) -> Result<Look, JournalError> {
    let failed = |error| read_failure(database.server(), error);
    let (generation, major, minor) = row::columns(after);
    let rows_at_most = i64::try_from(limit).unwrap_or(i64::MAX);
    let query =
        |sql: &'static str| sqlx::query(sql).bind(generation).bind(major).bind(minor).bind(rows_at_most);
    let query = || match wanted {
        Wanted::Slices(slices) => query(statements::BY_SLICE)
            .bind(slices.first().number().cast_signed())
            .bind(slices.last().number().cast_signed()),
        Wanted::Tag(tag) => query(statements::BY_TAG).bind(tag.as_str()),
    };
    let rows = database.rows(query).await?;
    Look::of(&rows, failed)
}

impl Look {
    fn of(rows: &[PgRow], failed: impl Fn(sqlx::Error) -> JournalError) -> Result<Self, JournalError> {
        let nowhere = Offset::BEGINNING;
        let mut look =
            Self { items: Vec::new(), settled: nowhere, newest: nowhere, generation: 0, next_transaction: 0 };
        let mut sequences: HashMap<PersistenceId, Sequence> = HashMap::new();
        for row in rows {
            let offset = row::offset(row, 0).map_err(&failed)?;
            match row.try_get::<i64, _>(3).map_err(&failed)? {
                SETTLED => look.settled = offset,
                NEWEST => look.newest = offset,
                BOUND => (look.generation, look.next_transaction) = (offset.generation, offset.major),
                _ => look.items.push(item(row, offset, &mut sequences, &failed)?),
            }
        }
        Ok(look)
    }
}

fn item(
    row: &PgRow,
    offset: Offset,
    sequences: &mut HashMap<PersistenceId, Sequence>,
    failed: impl Fn(sqlx::Error) -> JournalError,
) -> Result<PageItem, JournalError> {
    let id = row::persistence_id(row, 4).map_err(&failed)?;
    let seq_nr = row::seq_nr(row, 3).map_err(&failed)?;
    let bytes = row::bytes(row, 5).map_err(&failed)?;
    if bytes.is_empty() {
        return Ok(PageItem::Deleted { offset, persistence_id: id, from: SeqNr::FIRST, to: seq_nr });
    }
    let sequence = sequences.entry(id).or_insert_with_key(Sequence::of);
    let envelope = sequence.decode(&bytes, seq_nr);
    let envelope = envelope.map_err(|error| match row::persistence_id(row, 4) {
        Ok(id) => JournalError::corrupt(&id, seq_nr, error),
        Err(error) => failed(error),
    })?;
    Ok(PageItem::Event(StoredEvent { offset, envelope, bytes }))
}

/// Refuses an offset that the journal has never given, as after a restore to an earlier moment: what is written from now on would
/// appear behind its reader.
async fn check_offset(database: &Database, after: Offset, look: &Look) -> Result<(), JournalError> {
    let ahead = if after.generation == look.generation {
        after.major >= look.next_transaction
    } else if after.generation > look.generation {
        true
    } else if after.generation == 0 {
        false
    } else {
        let end = end_of(database, after.generation).await?;
        end.is_some_and(|end| after > end)
    };
    if !ahead {
        return Ok(());
    }
    let reason = format!(
        "it lies ahead of the journal, whose last offset is {}: the journal was restored to an earlier moment, or it is another one; \
         let the reader begin again at an offset that it has passed for certain",
        look.newest
    );
    Err(JournalError::rejected(format_args!("offset {after}"), reason))
}

/// Where a generation ended.
async fn end_of(database: &Database, generation: u64) -> Result<Option<Offset>, JournalError> {
    let failed = |error| read_failure(database.server(), error);
    const END: &str =
        "SELECT generation, last_transaction_id, last_position FROM generations WHERE generation = $1";
    let query = || sqlx::query(END).bind(i32::try_from(generation).unwrap_or(i32::MAX));
    let rows = database.rows(query).await?;
    rows.first().map(|row| row::offset(row, 0)).transpose().map_err(failed)
}

/// Ids in the order of their text.
pub(super) async fn persistence_ids(
    database: &Database,
    after: Option<&PersistenceId>,
    limit: usize,
) -> Result<Vec<PersistenceId>, JournalError> {
    let failed = |error| read_failure(database.server(), error);
    let query = || {
        sqlx::query(statements::IDS)
            .bind(after.map_or("", PersistenceId::as_str))
            .bind(i64::try_from(limit).unwrap_or(i64::MAX))
    };
    let rows = database.rows(query).await?;
    rows.iter().map(|row| row::persistence_id(row, 0)).collect::<sqlx::Result<_>>().map_err(failed)
}

/// What a row says whose number is below every event's.
const SETTLED: i64 = -1;
const NEWEST: i64 = -2;
const BOUND: i64 = -3;
const FIRST_PAUSE: Duration = Duration::from_millis(1);
const LONGEST_PAUSE: Duration = Duration::from_millis(16);
