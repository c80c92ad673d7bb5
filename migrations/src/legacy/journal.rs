use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use annals_journal::{
    AtomicWrite, Codec, CommitListener, Envelope, Head, Journal, JournalError, Limits, Offset, Page,
    PersistenceId, ReplayRange, Replayed, SeqNr, SliceRange, StoredEvent, Tag, Token, Write, WriterId,
};
use async_trait::async_trait;
use futures::stream::{self, BoxStream};
use futures::{StreamExt as _, TryStreamExt as _};
use serde_json::{Map, Value};

use super::{LegacyError, LegacyEvent, LegacyMapping};

/// Where the rows of something else are, for a [`LegacyJournal`].
///
/// The rows of an id must not change any more when an entity of that id is started.
#[async_trait]
pub trait LegacySource: Send + Sync + 'static {
    /// All events of an id, in their order; none for an id that has no rows.
    ///
    /// # Errors
    /// [`JournalError::Unavailable`] when they cannot be read now, [`JournalError::Corrupt`] when a row is none.
    async fn events(&self, id: &PersistenceId) -> Result<Vec<LegacyEvent>, JournalError>;

    /// Ids in the order of their text, after one, at most `limit`; fewer: there are no more.
    ///
    /// # Errors
    /// As [`LegacySource::events`].
    async fn ids(
        &self,
        after: Option<&PersistenceId>,
        limit: usize,
    ) -> Result<Vec<PersistenceId>, JournalError>;
}

/// Rows in memory, wrapped by a mapping: for small sets of them, and for tests.
#[derive(Debug, Clone, Default)]
pub struct LegacyRows {
    events: BTreeMap<PersistenceId, Vec<LegacyEvent>>,
}

impl LegacyRows {
    /// Wraps rows, those of one id in their order.
    ///
    /// # Errors
    /// [`LegacyError`] for the first row that is none.
    pub fn new<'a>(
        mapping: &LegacyMapping,
        rows: impl IntoIterator<Item = &'a Map<String, Value>>,
    ) -> Result<Self, LegacyError> {
        let mut events = BTreeMap::<_, Vec<_>>::new();
        for row in rows {
            if let Some(event) = mapping.wrap(row)? {
                events.entry(event.persistence_id.clone()).or_default().push(event);
            }
        }
        Ok(Self { events })
    }
}

#[async_trait]
impl LegacySource for LegacyRows {
    async fn events(&self, id: &PersistenceId) -> Result<Vec<LegacyEvent>, JournalError> {
        Ok(self.events.get(id).cloned().unwrap_or_default())
    }

    async fn ids(
        &self,
        after: Option<&PersistenceId>,
        limit: usize,
    ) -> Result<Vec<PersistenceId>, JournalError> {
        let behind = self.events.keys().filter(|id| after.is_none_or(|after| *id > after));
        Ok(behind.take(limit).cloned().collect())
    }
}

/// A journal around a journal in which the rows of something else are the first events of their ids.
///
/// ```text
/// nobody has claimed the id    reads are wrapped rows, nothing is written
/// the first claim              the rows are appended under its token, and then it is claimed
/// from then on                 the journal alone is asked
/// ```
///
/// So an application may start on rows that stay where they are, and each entity takes its own over when it is first used; `annals migrate
/// legacy` takes all others, and then this is not needed any more. Reading by tag or slice gives what was taken over. Each claim of an id
/// costs a read of its rows.
pub struct LegacyJournal {
    journal: Arc<dyn Journal>,
    source: Arc<dyn LegacySource>,
}

impl LegacyJournal {
    /// Around a journal.
    pub fn new(journal: Arc<dyn Journal>, source: impl LegacySource) -> Self {
        Self { journal, source: Arc::new(source) }
    }

    /// The rows of an id that the journal has not taken over, all of them, and the journal's head.
    async fn missing(&self, id: &PersistenceId) -> Result<(Head, Option<Vec<LegacyEvent>>), JournalError> {
        let events = self.source.events(id).await?;
        let head = self.journal.head(id).await?;
        let missing = (head.seq_nr.get() < events.len() as u64).then_some(events);
        Ok((head, missing))
    }

    /// Appends the rows that are missing, under the token of who claims the id.
    async fn take_over(&self, id: &PersistenceId, token: Token) -> Result<(), JournalError> {
        let (head, Some(events)) = self.missing(id).await? else { return Ok(()) };
        self.check_begun(id, head.seq_nr, events.len()).await?;
        let mut expected = head.seq_nr;
        let begun = usize::try_from(head.seq_nr.get()).unwrap_or(usize::MAX);
        let missing: Vec<_> = numbered(id, events, token).skip(begun).collect();
        for some in missing.chunks(EVENTS_AN_APPEND) {
            let append = AtomicWrite {
                persistence_id: id.clone(),
                expected,
                token,
                events: some.to_vec(),
                mark: None,
            };
            for answer in self.journal.write(vec![Write::Append(append)]).await {
                expected = answer?.seq_nr;
            }
        }
        Ok(())
    }

    /// A taking-over that was broken off goes on; events of another origin in the place of the rows are no such thing.
    async fn check_begun(&self, id: &PersistenceId, head: SeqNr, rows: usize) -> Result<(), JournalError> {
        if head == SeqNr::ZERO {
            return Ok(());
        }
        let mut last = self.journal.replay(ReplayRange::all(id).from(head).to(head));
        while let Some(item) = last.try_next().await? {
            if matches!(&item, Replayed::Event(event) if event.envelope.writer == writer()) {
                return Ok(());
            }
        }
        Err(JournalError::rejected(
            id,
            format!("it has {rows} legacy rows, and {head} events in the journal that are not of them"),
        ))
    }
}

#[async_trait]
impl Journal for LegacyJournal {
    async fn write(&self, writes: Vec<Write>) -> Vec<Result<Head, JournalError>> {
        let mut refused = BTreeMap::new();
        for write in &writes {
            if let Write::Claim { persistence_id, token } = write
                && let Err(error) = self.take_over(persistence_id, *token).await
            {
                refused.insert((persistence_id.clone(), *token), error);
            }
        }
        if refused.is_empty() {
            return self.journal.write(writes).await;
        }
        // What follows a refused claim of the same id and token is refused alike.
        let fate = |write: &Write| refused.get(&(write.persistence_id().clone(), write.token())).cloned();
        let fates: Vec<_> = writes.iter().map(fate).collect();
        let rest = writes.into_iter().zip(&fates).filter(|(_, fate)| fate.is_none()).map(|(write, _)| write);
        let mut answers = self.journal.write(rest.collect()).await.into_iter();
        let lost = || {
            let reason = "the journal has left an entry without an answer".into();
            Err(JournalError::Unknown { reason, source: None })
        };
        fates.into_iter().map(|fate| fate.map_or_else(|| answers.next().unwrap_or_else(lost), Err)).collect()
    }

    fn replay(&self, range: ReplayRange) -> BoxStream<'static, Result<Replayed, JournalError>> {
        let this = Self { journal: Arc::clone(&self.journal), source: Arc::clone(&self.source) };
        stream::once(async move {
            let (_, missing) = this.missing(&range.persistence_id).await?;
            let Some(events) = missing else { return Ok::<_, JournalError>(this.journal.replay(range)) };
            let wanted: Vec<_> = numbered(&range.persistence_id, events, Token::NONE)
                .filter(|event| (range.from..=range.to).contains(&event.seq_nr))
                .take(usize::try_from(range.limit).unwrap_or(usize::MAX))
                .map(|envelope| {
                    let bytes = envelope.encode();
                    Ok(Replayed::Event(StoredEvent { offset: Offset::BEGINNING, envelope, bytes }))
                })
                .collect();
            Ok(stream::iter(wanted).boxed())
        })
        .try_flatten()
        .boxed()
    }

    async fn head(&self, id: &PersistenceId) -> Result<Head, JournalError> {
        let (head, missing) = self.missing(id).await?;
        Ok(match missing {
            None => head,
            Some(events) => Head { seq_nr: SeqNr::new(events.len() as u64).unwrap_or(SeqNr::MAX), ..head },
        })
    }

    async fn delete_to(&self, id: &PersistenceId, to: SeqNr) -> Result<(), JournalError> {
        self.journal.delete_to(id, to).await
    }

    async fn replace(&self, old: &StoredEvent, new: Envelope) -> Result<bool, JournalError> {
        self.journal.replace(old, new).await
    }

    async fn replace_all(
        &self,
        replacements: Vec<(StoredEvent, Envelope)>,
    ) -> Vec<Result<bool, JournalError>> {
        self.journal.replace_all(replacements).await
    }

    async fn events_by_tag(&self, tag: &Tag, after: Offset, limit: usize) -> Result<Page, JournalError> {
        self.journal.events_by_tag(tag, after, limit).await
    }

    async fn events_by_slice(
        &self,
        slices: SliceRange,
        after: Offset,
        limit: usize,
    ) -> Result<Page, JournalError> {
        self.journal.events_by_slice(slices, after, limit).await
    }

    async fn persistence_ids(
        &self,
        after: Option<&PersistenceId>,
        limit: usize,
    ) -> Result<Vec<PersistenceId>, JournalError> {
        let mut ids = self.journal.persistence_ids(after, limit).await?;
        ids.extend(self.source.ids(after, limit).await?);
        ids.sort();
        ids.dedup();
        ids.truncate(limit);
        Ok(ids)
    }

    fn limits(&self) -> Limits {
        self.journal.limits()
    }

    fn commits(&self) -> Option<CommitListener> {
        self.journal.commits()
    }
}

impl fmt::Debug for LegacyJournal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LegacyJournal").finish_non_exhaustive()
    }
}

/// Rows as what is stored of them.
fn numbered(id: &PersistenceId, events: Vec<LegacyEvent>, token: Token) -> impl Iterator<Item = Envelope> {
    let mut seq_nr = SeqNr::ZERO;
    let id = id.clone();
    events.into_iter().map(move |event| {
        seq_nr = seq_nr.next();
        Envelope {
            persistence_id: id.clone(),
            seq_nr,
            token,
            writer: writer(),
            timestamp: event.timestamp,
            manifest: event.manifest,
            schema_version: 1,
            codec: Codec::Json,
            tags: Vec::new(),
            trace_context: None,
            key_id: None,
            payload: event.payload,
        }
    })
}

/// Who has written what was taken over.
fn writer() -> WriterId {
    WriterId::from_bytes([0; 16])
}

/// Every backend takes as many.
const EVENTS_AN_APPEND: usize = 256;
