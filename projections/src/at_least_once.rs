//! Handlers whose effects are anywhere: progress is a record beside the journal, moved after the effects.
//!
//! ```text
//! key    projection/<name>               value   1 <token> <running|paused> <first-last>=<progress>;<first-last>=<progress>…
//! key    projection-dead/<name>/<offset> value   <persistence id> TAB <number> TAB <microseconds> TAB <error>
//! ```

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use annals_actors::plain::BoxError;
use annals_journal::{
    CompareAndSet, JournalError, Offset, PersistenceId, Record, RecordKey, Records, Revision, SeqNr,
    SliceRange, Timestamp,
};
use async_trait::async_trait;
use bytes::Bytes;
use futures::FutureExt as _;
use tokio::sync::Mutex;

use crate::batch::Part;
use crate::progress::{Progress, name_of};
use crate::store::{Advance, Applied, Claimed, Refused, Store, StoreError, Work};
use crate::{CannotReplace, DeadLetter, Gone, Missed, Projected};

/// Does something for each event, at least once: sends a message, fills a search index, calls another system.
///
/// After a crash the events of the last batch may come again, so what it does should be the same when it is done twice, or remember
/// [`Projected::offset`].
pub trait Handler: Send + Sync + 'static {
    /// What it gets.
    type Event: Send + Sync + 'static;

    /// Takes an event. The next of the same id comes when the future is done.
    ///
    /// # Errors
    /// Any; the [policy](crate::FailurePolicy) says what comes then.
    ///
    /// # Cancel safety
    /// It is dropped when the projection is paused or stops, and comes again later.
    fn handle(&self, event: &Projected<Self::Event>) -> impl Future<Output = Result<(), BoxError>> + Send;

    /// Is told of events that were deleted or erased before they were projected.
    ///
    /// # Errors
    /// As of [`handle`](Self::handle). Unless said otherwise it is [`Missed`].
    fn gone(&self, gone: &Gone) -> impl Future<Output = Result<(), BoxError>> + Send {
        let missed = Missed::from(gone);
        async move { Err(missed.into()) }
    }

    /// Forgets everything, before all events come from the first one again.
    ///
    /// # Errors
    /// Any; it is not reset then.
    fn clear(&self) -> impl Future<Output = Result<(), BoxError>> + Send {
        async { Ok(()) }
    }
}

pub(crate) struct RecordsStore<H> {
    name: String,
    key: RecordKey,
    records: Arc<dyn Records>,
    handler: H,
    held: Mutex<Held>,
}

/// The record as this instance knows it.
#[derive(Debug, Default)]
struct Held {
    revision: Option<Revision>,
    value: Value,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Value {
    token: u64,
    paused: bool,
    progress: BTreeMap<String, Progress>,
}

impl<H: Handler> RecordsStore<H> {
    pub(crate) fn new(name: &str, key: RecordKey, records: Arc<dyn Records>, handler: H) -> Self {
        Self { name: name.to_owned(), key, records, handler, held: Mutex::default() }
    }

    /// Changes the record, where it is still this instance's.
    async fn change(&self, token: u64, change: impl FnOnce(&mut Value) + Send) -> Result<(), StoreError> {
        let mut held = self.held.lock().await;
        if held.value.token != token {
            return Err(StoreError::Fenced);
        }
        let mut value = held.value.clone();
        change(&mut value);
        match self.records.compare_and_set(&self.key, held.revision, value.encode()).await? {
            CompareAndSet::Set(revision) => {
                *held = Held { revision: Some(revision), value };
                Ok(())
            }
            CompareAndSet::Changed { current: Some(current) } => {
                let found = Value::decode(&self.key, &current)?;
                // A change of this instance whose answer was lost.
                if found.token == token {
                    *held = Held { revision: Some(current.revision), value: found };
                    return Err(unknown());
                }
                Err(StoreError::Fenced)
            }
            CompareAndSet::Changed { current: None } => Err(StoreError::Fenced),
        }
    }

    async fn handle(&self, work: &Work<H::Event>) -> Result<(), (usize, String)> {
        let mut at = work.units.start;
        for part in work.parts() {
            let (at_part, handled) = match part {
                Part::Events(events) => {
                    for event in events {
                        while work.batch.units[at].offset != event.offset {
                            at += 1;
                        }
                        caught(self.handler.handle(event)).await.map_err(|error| (at, error))?;
                    }
                    continue;
                }
                Part::Gone(at, gone) => (at, caught(self.handler.gone(gone)).await),
                Part::Unreadable(at, error) => (at, Err(error.to_owned())),
            };
            at = at_part;
            handled.map_err(|error| (at, error))?;
        }
        Ok(())
    }
}

async fn caught(handling: impl Future<Output = Result<(), BoxError>> + Send) -> Result<(), String> {
    match AssertUnwindSafe(handling).catch_unwind().await {
        Ok(handled) => handled.map_err(|error| error.to_string()),
        Err(panic) => Err(Refused::panicked(&*panic).error),
    }
}

#[async_trait]
impl<H: Handler> Store<H::Event> for RecordsStore<H> {
    async fn claim(&self, ranges: &[SliceRange], resume: bool) -> Result<Claimed, StoreError> {
        let mut held = self.held.lock().await;
        let mut current = self.records.get(&self.key).await?;
        loop {
            let found = current.as_ref().map(|record| Value::decode(&self.key, record)).transpose()?;
            let found = found.unwrap_or_default();
            let stored: Vec<_> = found.progress.into_values().collect();
            let progress: Vec<_> = ranges.iter().map(|range| Progress::cut(&stored, *range)).collect();
            let value = Value {
                token: found.token + 1,
                paused: found.paused && !resume,
                progress: ranges.iter().map(|range| name_of(*range)).zip(progress.iter().cloned()).collect(),
            };
            let expected = current.as_ref().map(|record| record.revision);
            match self.records.compare_and_set(&self.key, expected, value.encode()).await? {
                CompareAndSet::Set(revision) => {
                    let claimed = Claimed { token: value.token, paused: value.paused, progress };
                    *held = Held { revision: Some(revision), value };
                    return Ok(claimed);
                }
                CompareAndSet::Changed { current: newer } => current = newer,
            }
        }
    }

    async fn progress(&self, token: u64, slices: SliceRange) -> Result<Progress, StoreError> {
        let mut held = self.held.lock().await;
        let Some(record) = self.records.get(&self.key).await? else { return Err(StoreError::Fenced) };
        let value = Value::decode(&self.key, &record)?;
        if value.token != token {
            return Err(StoreError::Fenced);
        }
        let progress = value.progress.get(&name_of(slices)).cloned().ok_or(StoreError::Fenced)?;
        *held = Held { revision: Some(record.revision), value };
        Ok(progress)
    }

    async fn apply(&self, token: u64, work: Work<H::Event>) -> Result<Applied, StoreError> {
        let failure = self.handle(&work).await.err();
        let mut applied = match failure {
            None => work.done(),
            Some((at, error)) => {
                let refused = Refused { at: Some(at), error };
                match at.checked_sub(1).filter(|last| *last >= work.units.start) {
                    None => return Ok(work.refused(refused)),
                    Some(last) => Applied {
                        end: at,
                        progress: work.from.advanced(work.batch.units[last].offset),
                        failure: Some(refused),
                    },
                }
            }
        };
        let progress = applied.progress.clone();
        self.change(token, |value| {
            value.progress.insert(name_of(work.slices), progress);
        })
        .await?;
        applied.progress = applied.progress.clone();
        Ok(applied)
    }

    async fn advance(&self, token: u64, step: Advance) -> Result<(), StoreError> {
        if let Some(letter) = &step.letter {
            // Before the progress: after a crash in between it is skipped once more.
            let key = letter_key(&self.name, Some(letter.offset))?;
            let _ = self.records.compare_and_set(&key, None, encode(letter)).await?;
        }
        self.change(token, |value| {
            value.progress.insert(name_of(step.slices), step.to);
        })
        .await
    }

    async fn pause(&self, token: u64) -> Result<(), StoreError> {
        self.change(token, |value| value.paused = true).await
    }

    async fn reset(&self, token: u64) -> Result<(), StoreError> {
        // From here on a crash begins anew with what the handler still has, which is at least once.
        self.change(token, |value| value.progress.clear()).await?;
        caught(self.handler.clear()).await.map_err(StoreError::Refused)?;
        for (key, record) in self.letters().await? {
            let _ = self.records.delete(&key, record.revision).await?;
        }
        Ok(())
    }

    async fn replace(&self, _: u64, _: &str) -> Result<(), StoreError> {
        Err(StoreError::Refused(CannotReplace.to_string()))
    }

    async fn dead_letters(&self) -> Result<Vec<DeadLetter>, StoreError> {
        let letters = self.letters().await?;
        Ok(letters.iter().map(|(key, record)| decode(key, record)).collect::<Result<_, _>>()?)
    }
}

impl<H: Handler> RecordsStore<H> {
    async fn letters(&self) -> Result<Vec<(RecordKey, Record)>, StoreError> {
        let prefix = format!("{DEAD}{}/", self.name);
        let mut found = Vec::new();
        loop {
            let after = found.last().map(|(key, _): &(RecordKey, Record)| key.clone());
            let page = self.records.list(&prefix, after.as_ref(), PAGE).await?;
            let full = page.len() == PAGE;
            found.extend(page);
            if !full {
                return Ok(found);
            }
        }
    }
}

/// The key of a projection's record; of a name that can be none, the error says why.
pub(crate) fn record_key(name: &str) -> Result<RecordKey, JournalError> {
    let key = if name.is_empty() || name.contains('/') || name.len() > LONGEST_NAME {
        Err(format!("a projection's name has 1 to {LONGEST_NAME} bytes and no slash"))
    } else {
        RecordKey::new(&format!("projection/{name}")).map_err(|error| error.to_string())
    };
    key.map_err(|reason| JournalError::rejected(format_args!("projection {name:?}"), reason))
}

fn letter_key(name: &str, offset: Option<Offset>) -> Result<RecordKey, JournalError> {
    let Offset { generation, major, minor } = offset.unwrap_or_default();
    // In the order of offsets.
    let key = format!("{DEAD}{name}/{generation:020}.{major:020}.{minor:020}");
    RecordKey::new(&key).map_err(|error| JournalError::rejected(&key, error.to_string()))
}

fn encode(letter: &DeadLetter) -> Bytes {
    let DeadLetter { persistence_id, seq_nr, at, error, .. } = letter;
    format!("{persistence_id}\t{seq_nr}\t{}\t{error}", at.as_micros()).into()
}

fn decode(key: &RecordKey, record: &Record) -> Result<DeadLetter, JournalError> {
    let read = || {
        let text = std::str::from_utf8(&record.value).ok()?;
        let mut fields = text.splitn(4, '\t');
        let id = PersistenceId::parse(fields.next()?).ok()?;
        let seq_nr = SeqNr::ZERO.plus(fields.next()?.parse().ok()?);
        let at = Timestamp::from_micros(fields.next()?.parse().ok()?);
        let mut numbers = key.as_str().rsplit('/').next()?.split('.').map(|number| number.parse().ok());
        let offset =
            Offset { generation: numbers.next()??, major: numbers.next()??, minor: numbers.next()?? };
        Some(DeadLetter::new(id, seq_nr, offset, fields.next()?, at))
    };
    read().ok_or_else(|| corrupt(key, "it is no dead letter"))
}

impl Value {
    fn encode(&self) -> Bytes {
        let mut text = format!("1 {} {} ", self.token, if self.paused { "paused" } else { "running" });
        for (slices, progress) in &self.progress {
            // Writing to a text does not fail.
            let _ = write!(text, "{slices}={progress};");
        }
        text.into()
    }

    fn decode(key: &RecordKey, record: &Record) -> Result<Self, JournalError> {
        let read = || {
            let text = std::str::from_utf8(&record.value).ok()?.strip_prefix("1 ")?;
            let mut fields = text.splitn(3, ' ');
            let token = fields.next()?.parse().ok()?;
            let paused = match fields.next()? {
                "paused" => true,
                "running" => false,
                _ => return None,
            };
            let pieces = fields.next()?.split_terminator(';');
            let progress = pieces.map(|piece| {
                let (slices, progress) = piece.split_once('=')?;
                Some((slices.to_owned(), progress.parse().ok()?))
            });
            Some(Self { token, paused, progress: progress.collect::<Option<_>>()? })
        };
        read().ok_or_else(|| corrupt(key, "it is no projection's progress"))
    }
}

fn corrupt(key: &RecordKey, what: &str) -> JournalError {
    let reason = format!("record {key}: {what}; restore it from a backup");
    JournalError::Corrupt { persistence_id: None, seq_nr: None, reason }
}

fn unknown() -> StoreError {
    let reason = "an earlier change of the projection's progress was made without an answer".into();
    StoreError::Interrupted(JournalError::Unknown { reason, source: None })
}

const DEAD: &str = "projection-dead/";
const PAGE: usize = 500;
const LONGEST_NAME: usize = 200;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_read_as_it_was_written() {
        let key = record_key("balances").unwrap();
        let mut value = Value { token: 7, paused: true, progress: BTreeMap::new() };
        for _ in 0..2 {
            let record = Record { revision: Revision(1), value: value.encode() };
            assert_eq!(Value::decode(&key, &record).unwrap(), value);
            value.progress.insert("0-511".into(), "0-9@0.0.3 10-511@0.0.0".parse().unwrap());
            value.progress.insert("512-1023".into(), "512-1023@1.2.3".parse().unwrap());
        }
        for bad in ["", "2 1 paused ", "1 x paused ", "1 1 maybe ", "1 1 paused 0-1", "1 1 paused 0-1=x;"] {
            let record = Record { revision: Revision(1), value: bad.into() };
            assert!(Value::decode(&key, &record).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_dead_letter_is_read_as_it_was_written() {
        let id = PersistenceId::new("account", "alice").unwrap();
        let offset = Offset { generation: 1, major: 2, minor: 3 };
        let error = "a\tb\nc";
        let letter = DeadLetter::new(id, SeqNr::FIRST, offset, error, Timestamp::from_micros(9));
        let key = letter_key("x", Some(offset)).unwrap();
        let record = Record { revision: Revision(1), value: encode(&letter) };
        assert_eq!(decode(&key, &record).unwrap(), letter);
    }

    #[test]
    fn a_name_that_would_be_two_keys_is_refused() {
        for bad in ["", "a/b", &"x".repeat(201), "a\nb"] {
            assert!(record_key(bad).is_err(), "{bad:?}");
        }
    }
}
