//! Events by slice and tag, in an order in which nothing appears behind a reader (I10).
//!
//! ```text
//! floor to the newest ticket ─▶ intents behind the reader, merged over lanes ─▶ each is
//!    there    the number has an event with the intent's offset
//!    void     the bucket's floor is at the intent's ticket: what is not there will never be
//!    open     neither: waited for, and forbidden when that takes too long; its writer takes another ticket
//! ```

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use futures::future;
use futures::stream::{self, StreamExt, TryStreamExt};
use tokio::time::Instant;

use super::CassandraJournal;
use super::buckets::Look;
use super::intents::{Intent, Kind, Lane};
use super::keyspace::Inner;
use super::replay::StoredRow;
use super::state::State;
use crate::{
    Envelope, JournalError, Offset, Page, PageItem, PersistenceId, SeqNr, SliceRange, StoredEvent, Tag,
};

/// What a reader looks for.
#[derive(Debug, Clone, Copy)]
pub(super) enum Wanted<'a> {
    Slices(SliceRange),
    Tag(&'a Tag),
}

/// Reads a page.
pub(super) async fn page(
    inner: &Inner,
    wanted: Wanted<'_>,
    after: Offset,
    limit: usize,
) -> Result<Page, JournalError> {
    let mut page = Page { items: Vec::new(), complete_to: after };
    let marks = inner.marks().await?;
    let end = Offset { generation: 0, major: marks.newest, minor: LAST_MINOR };
    if after.generation > 0 || after.major > marks.newest {
        let reason = format!(
            "offset {after} lies ahead of the journal, which ends at {end}: was it restored from a backup?"
        );
        return Err(JournalError::rejected("the journal", reason));
    }
    if limit == 0 || after >= end {
        return Ok(page);
    }
    if marks.floor < marks.newest && !inner.is_read_only() {
        inner.raise_floor(marks.newest).await?;
    }
    let until = Instant::now() + inner.options.patience;
    let lanes: Vec<_> = match wanted {
        Wanted::Slices(slices) => Lane::of_range(slices).collect(),
        Wanted::Tag(tag) => vec![Lane::Tag(tag.clone())],
    };
    // An append whose first event the reader has may have more behind it.
    let reach = CassandraJournal::LIMITS.max_events as i64;
    let mut from = (after.major, after.minor.cast_signed().saturating_sub(reach).max(-1));
    let at_once = limit.clamp(16, 500);
    let mut known = HashMap::new();
    loop {
        let found = lanes.iter().map(|lane| inner.intents(lane, from, end.major, at_once));
        let found = future::try_join_all(found).await?;
        let bound = found.iter().filter_map(|found| found.complete_to).min();
        let mut intents: Vec<_> = found.into_iter().flat_map(|found| found.intents).collect();
        intents.retain(|intent| {
            intent.kind != Kind::Other
                && bound.is_none_or(|bound| (intent.major, intent.minor) <= bound)
                && match wanted {
                    Wanted::Slices(slices) => slices.contains(intent.id.slice()),
                    Wanted::Tag(_) => true,
                }
        });
        intents.sort_by_key(|intent| (intent.major, intent.minor));
        let before = (page.items.len(), page.complete_to);
        while !give(inner, wanted, &intents, &mut known, until, &mut page, limit).await? {
            page.items.truncate(before.0);
            page.complete_to = before.1;
        }
        if page.items.len() == limit {
            return Ok(page);
        }
        match bound {
            Some((major, minor)) => from = (major, minor.cast_signed()),
            None => break,
        }
    }
    page.complete_to = end;
    Ok(page)
}

/// Puts what intents came to into a page, up to its limit. `false`: more of an id was deleted than was known, which is known now; what was
/// given of the id before may not fit to it.
async fn give(
    inner: &Inner,
    wanted: Wanted<'_>,
    intents: &[Intent],
    known: &mut HashMap<PersistenceId, State>,
    until: Instant,
    page: &mut Page,
    limit: usize,
) -> Result<bool, JournalError> {
    let new: BTreeSet<_> =
        intents.iter().map(|intent| &intent.id).filter(|id| !known.contains_key(*id)).collect();
    // Lists of futures, because a closure that makes them is not general enough for the compiler.
    let mut reads = Vec::with_capacity(new.len());
    for id in new {
        reads.push(async move { Ok::<_, JournalError>((id.clone(), inner.last(id, Look::Plain).await?)) });
    }
    known.extend(stream::iter(reads).buffer_unordered(AT_ONCE).try_collect::<Vec<_>>().await?);
    let newer = {
        let mut resolved = Vec::with_capacity(intents.len());
        for intent in intents {
            resolved.push(resolve(inner, wanted, intent, &known[&intent.id], until));
        }
        let mut resolved = std::pin::pin!(stream::iter(resolved).buffered(AT_ONCE));
        loop {
            let items = match resolved.next().await {
                None => return Ok(true),
                Some(Ok(items)) => items,
                Some(Err(Missing::Deleted(newer))) => break newer,
                Some(Err(Missing::Failed(error))) => return Err(error),
            };
            for item in items {
                let offset = item.offset();
                if offset <= page.complete_to {
                    continue;
                }
                page.complete_to = offset;
                page.items.push(item);
                if page.items.len() == limit {
                    return Ok(true);
                }
            }
        }
    };
    let (id, state) = *newer;
    known.insert(id, state);
    Ok(false)
}

/// Why an intent could not be resolved.
enum Missing {
    /// More of the id was deleted than was known.
    Deleted(Box<(PersistenceId, State)>),
    Failed(JournalError),
}

impl From<JournalError> for Missing {
    fn from(error: JournalError) -> Self {
        Self::Failed(error)
    }
}

/// What an intent came to, of an id of which so much is known to be deleted.
async fn resolve(
    inner: &Inner,
    wanted: Wanted<'_>,
    intent: &Intent,
    known: &State,
    until: Instant,
) -> Result<Vec<PageItem>, Missing> {
    let deleted_to = known.head.deleted_to;
    let mut pause = Duration::from_millis(1);
    let mut settled = false;
    loop {
        let mut rows =
            inner.stored(&intent.id, intent.bucket, intent.first, intent.last(), intent.count).await?;
        let is_there = |row: &StoredRow| row.offset == intent.offset(row.seq_nr.get() - intent.first.get());
        if rows.iter().any(|row| !is_there(row)) {
            // Somebody else has that number.
            return Ok(Vec::new());
        }
        // What is deleted may lie there still.
        rows.retain(|row| row.seq_nr > deleted_to);
        let left = intent.last().get().saturating_sub(deleted_to.get()).min(intent.count);
        if rows.len() as u64 == left || settled {
            return Ok(items(wanted, rows, deleted(wanted, intent, known), intent)?);
        }
        // What is not there was deleted, or was never written, or is on its way.
        let last = inner.last(&intent.id, Look::Settled).await?;
        if last.head.deleted_to > deleted_to {
            return Err(Missing::Deleted(Box::new((intent.id.clone(), last))));
        }
        let state = inner.state(&intent.id, intent.bucket, Look::Settled).await?;
        if state.closed || state.floor.is_some_and(|floor| floor >= intent.major) {
            // One more look: it may have been written between the two.
            settled = true;
            continue;
        }
        if Instant::now() >= until {
            if inner.is_read_only() {
                return Err(Missing::Failed(JournalError::Unavailable {
                    reason: "a write is on its way, and who reads only cannot see to its end".into(),
                    source: None,
                }));
            }
            inner.forbid(&intent.id, intent.bucket, intent.major).await?;
            continue;
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(Duration::from_millis(20));
    }
}

/// The item of what was deleted, where the last deleted event was of this intent.
fn deleted(wanted: Wanted<'_>, intent: &Intent, known: &State) -> Option<PageItem> {
    let to = known.head.deleted_to;
    let is_ours = (intent.first..=intent.last()).contains(&to)
        && known.deleted_at == intent.offset(to.get() - intent.first.get())
        && match wanted {
            Wanted::Slices(_) => true,
            Wanted::Tag(tag) => known.deleted_tags.contains(tag),
        };
    is_ours.then(|| PageItem::Deleted {
        offset: known.deleted_at,
        persistence_id: intent.id.clone(),
        from: SeqNr::FIRST,
        to,
    })
}

/// Events that carry the wanted tag, and what was deleted before them.
fn items(
    wanted: Wanted<'_>,
    rows: Vec<StoredRow>,
    deleted: Option<PageItem>,
    intent: &Intent,
) -> Result<Vec<PageItem>, JournalError> {
    let mut items: Vec<_> = deleted.into_iter().collect();
    for StoredRow { seq_nr, offset, bytes } in rows {
        let envelope = Envelope::decode_as(&bytes, &intent.id, seq_nr)
            .map_err(|error| JournalError::corrupt(&intent.id, seq_nr, error))?;
        let carries = match wanted {
            Wanted::Slices(_) => true,
            Wanted::Tag(tag) => envelope.tags.contains(tag),
        };
        if carries {
            items.push(PageItem::Event(StoredEvent { offset, envelope, bytes }));
        }
    }
    Ok(items)
}

const AT_ONCE: usize = 32;
/// A fine part is stored in 63 bits.
const LAST_MINOR: u64 = (1 << 63) - 1;
