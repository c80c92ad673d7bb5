//! The memory journal with one promise broken.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, RwLock};
use std::time::{Duration, Instant};

use annals_journal::{
    AtomicWrite, Envelope, Gate, GatedCall, Head, Journal, JournalError, JournalExt, Limits, MemoryJournal,
    Offset, Page, PageItem, PersistenceId, Record, RecordChange, RecordKey, Records, ReplayRange, Replayed,
    Revision, SeqNr, SliceRange, StoredEvent, Tag, Timestamp, Verdict, Write, check_record,
};
use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::{BoxStream, StreamExt};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    None,
    /// Every writer counts as the newest.
    IgnoresTokens,
    /// Head, token and id go with the last event.
    ForgetsHeadAfterDelete,
    /// Positions of deleted events at the end are given out again.
    RepeatsOffsets,
    /// Of an append of several events that is refused, the first is stored all the same.
    StoresAPartOfAConflict,
    /// The events of an append become visible one after the other.
    StoresOneByOne,
    /// An append is only refused when there is something newer than what it expects.
    AcceptsGaps,
    /// An entry of a list does not know of those before it.
    ForgetsRefusals,
    /// Some events appear behind the mark of the first page that should have had them.
    SkipsLateCommits,
    /// What was deleted is as if it had never been.
    HidesDeletions,
    /// The stored bytes are not compared.
    ReplacesAnything,
    /// The first read after a write does not see it.
    ReadsStaleHeads,
    /// A replay ends after 1,000 events.
    EndsReplaysEarly,
    /// Events above the limit are stored.
    StoresTooLarge,
    /// A page's mark is the journal's end, whatever the page has.
    MarksTooFar,
    /// A change of an id's mark is made whatever it builds on.
    IgnoresMarks,
    /// An id's mark is changed before its append is decided.
    MarksFirst,
    /// Looks at the gate, and stores a moment later.
    RacesGate,
}

#[derive(Debug)]
pub(crate) struct Broken {
    memory: RwLock<MemoryJournal>,
    fault: Fault,
    stale: Mutex<HashMap<PersistenceId, Head>>,
    shown: Mutex<HashSet<(PersistenceId, SeqNr)>>,
    /// Positions above the first are shown as so many lower.
    shifts: Mutex<Vec<(u64, u64)>>,
    reads: AtomicUsize,
    /// Where the gate is.
    gate: MemoryJournal,
}

impl Broken {
    pub(crate) fn new(memory: MemoryJournal, fault: Fault) -> Self {
        let (stale, shown, shifts, reads) = Default::default();
        let gate = memory.clone();
        Self { memory: RwLock::new(memory), fault, stale, shown, shifts, reads, gate }
    }

    pub(crate) fn gated_by(self, gate: MemoryJournal) -> Self {
        Self { gate, ..self }
    }

    fn memory(&self) -> MemoryJournal {
        self.memory.read().unwrap().clone()
    }

    async fn write_one(&self, write: Write) -> Result<Head, JournalError> {
        let memory = self.memory();
        let head = memory.head(write.persistence_id()).await?;
        match (self.fault, write) {
            (Fault::IgnoresTokens, write) => memory.write_one(with_newest_token(write, head)).await,
            (Fault::StoresAPartOfAConflict, Write::Append(append)) if append.events.len() > 1 => {
                let answer = memory.append(append.clone()).await;
                if let Err(JournalError::Conflict { head, .. }) = answer {
                    let mut part = renumbered(append, head);
                    part.events.truncate(1);
                    memory.append(part).await?;
                }
                answer
            }
            (Fault::StoresOneByOne, Write::Append(append)) => {
                let mut answer = Err(JournalError::rejected("append", "empty"));
                for (n, event) in (0..).zip(append.events) {
                    let (expected, events) = (append.expected.plus(n), vec![event]);
                    let persistence_id = append.persistence_id.clone();
                    let (token, mark) = (append.token, None);
                    let one = AtomicWrite { persistence_id, expected, token, events, mark };
                    answer = Ok(memory.append(one).await?);
                    until_moved(&self.reads).await;
                }
                answer
            }
            (Fault::AcceptsGaps, Write::Append(append)) if append.expected > head.seq_nr => {
                memory.append(renumbered(append, head.seq_nr)).await
            }
            (Fault::IgnoresMarks, mut write) => {
                if let Write::Append(AtomicWrite { mark: Some(change), .. }) | Write::Mark { change, .. } =
                    &mut write
                {
                    change.from = head.mark;
                }
                memory.write_one(write).await
            }
            (Fault::MarksFirst, Write::Append(mut append)) if head.mark.is_some() => {
                if let Some(change) = append.mark.take() {
                    let (persistence_id, token) = (append.persistence_id.clone(), head.token);
                    memory.write_one(Write::Mark { persistence_id, token, change }).await?;
                }
                memory.append(append).await
            }
            (_, write) => memory.write_one(write).await,
        }
    }

    /// The same events in a new store, without this id.
    async fn forget(&self, id: &PersistenceId) {
        let (old, new) = (self.memory(), MemoryJournal::new());
        let page = old.events_by_slice(SliceRange::ALL, Offset::BEGINNING, usize::MAX).await.unwrap();
        for item in page.items {
            if let PageItem::Event(StoredEvent { envelope, .. }) = item {
                let (persistence_id, token) = (envelope.persistence_id.clone(), envelope.token);
                let (expected, events) = (envelope.seq_nr.previous(), vec![envelope]);
                new.append(AtomicWrite { persistence_id, expected, token, events, mark: None })
                    .await
                    .unwrap();
            }
        }
        assert_eq!(new.head(id).await.unwrap(), Head::EMPTY);
        *self.memory.write().unwrap() = new;
    }

    async fn shift(&self) {
        let page =
            self.memory().events_by_slice(SliceRange::ALL, Offset::BEGINNING, usize::MAX).await.unwrap();
        let alive = page.items.iter().filter(|item| matches!(item, PageItem::Event(_)));
        let last = alive.map(|item| item.offset().minor).max().unwrap_or(0);
        let end = page.complete_to.minor;
        let mut shifts = self.shifts.lock().unwrap();
        let already: u64 = shifts.iter().map(|(_, by)| by).sum();
        if end > last && end - last > already {
            shifts.push((end, end - last - already));
        }
    }

    fn break_page(&self, mut page: Page, end: Offset) -> Page {
        match self.fault {
            Fault::HidesDeletions => page.items.retain(|item| matches!(item, PageItem::Event(_))),
            Fault::MarksTooFar => page.complete_to = page.complete_to.max(end),
            Fault::SkipsLateCommits => {
                let mut shown = self.shown.lock().unwrap();
                page.items.retain(|item| match item {
                    PageItem::Event(StoredEvent { envelope, .. }) => {
                        let late = envelope.seq_nr.get() % 5 == 0;
                        !late || !shown.insert((envelope.persistence_id.clone(), envelope.seq_nr))
                    }
                    _ => true,
                });
            }
            _ => {}
        }
        page
    }

    async fn end(&self) -> Offset {
        let all = self.memory().events_by_slice(SliceRange::ALL, Offset::BEGINNING, usize::MAX).await;
        all.unwrap().complete_to
    }
}

/// Waits until somebody else gets into the gap, if somebody comes.
async fn until_moved(count: &AtomicUsize) {
    let before = count.load(Ordering::SeqCst);
    for _ in 0..1_000 {
        tokio::task::yield_now().await;
        if count.load(Ordering::SeqCst) != before {
            break;
        }
    }
}

fn with_newest_token(mut write: Write, head: Head) -> Write {
    let newest = write.token().max(head.token);
    match &mut write {
        Write::Append(append) => {
            append.token = newest;
            append.events.iter_mut().for_each(|event| event.token = newest);
        }
        Write::Claim { token, .. } | Write::Mark { token, .. } => *token = newest,
        Write::Verify { token, .. } => *token = head.token,
        _ => unreachable!("there are no other writes"),
    }
    write
}

fn renumbered(mut append: AtomicWrite, head: SeqNr) -> AtomicWrite {
    append.expected = head;
    for (n, event) in (1..).zip(&mut append.events) {
        event.seq_nr = head.plus(n);
    }
    append
}

#[async_trait]
impl Journal for Broken {
    async fn write(&self, writes: Vec<Write>) -> Vec<Result<Head, JournalError>> {
        match self.fault {
            Fault::IgnoresTokens
            | Fault::StoresAPartOfAConflict
            | Fault::StoresOneByOne
            | Fault::AcceptsGaps
            | Fault::IgnoresMarks
            | Fault::MarksFirst
            | Fault::ForgetsRefusals => {
                let mut answers = Vec::new();
                for write in writes {
                    answers.push(self.write_one(write).await);
                }
                answers
            }
            Fault::ReadsStaleHeads => {
                for write in &writes {
                    let id = write.persistence_id();
                    let head = self.memory().head(id).await.unwrap();
                    self.stale.lock().unwrap().insert(id.clone(), head);
                }
                self.memory().write(writes).await
            }
            Fault::RacesGate => {
                let record = self.gate.get(Gate::key()).await.unwrap();
                if let Some(Err(closed)) =
                    Gate::of(record.as_ref()).unwrap().map(|gate| gate.check(GatedCall::Store))
                {
                    return vec![Err(closed); writes.len()];
                }
                until_moved(&self.reads).await;
                self.memory().write(writes).await
            }
            _ => self.memory().write(writes).await,
        }
    }

    fn replay(&self, range: ReplayRange) -> BoxStream<'static, Result<Replayed, JournalError>> {
        let stream = self.memory().replay(range);
        self.reads.fetch_add(1, Ordering::SeqCst);
        match self.fault {
            Fault::HidesDeletions => stream
                .filter(|item| std::future::ready(!matches!(item, Ok(Replayed::Deleted { .. }))))
                .boxed(),
            Fault::EndsReplaysEarly => stream.take(1_000).boxed(),
            Fault::RepeatsOffsets => {
                let shifts = self.shifts.lock().unwrap().clone();
                stream
                    .map(move |item| match item {
                        Ok(Replayed::Event(event)) => {
                            let position = event.offset.minor;
                            let by: u64 =
                                shifts.iter().filter(|(end, _)| position > *end).map(|(_, by)| by).sum();
                            Ok(Replayed::Event(StoredEvent {
                                offset: Offset::of_position(position - by),
                                ..event
                            }))
                        }
                        other => other,
                    })
                    .boxed()
            }
            _ => stream,
        }
    }

    async fn head(&self, id: &PersistenceId) -> Result<Head, JournalError> {
        let stale = self.stale.lock().unwrap().remove(id);
        match stale {
            Some(head) => Ok(head),
            None => self.memory().head(id).await,
        }
    }

    async fn delete_to(&self, id: &PersistenceId, to: SeqNr) -> Result<(), JournalError> {
        self.memory().delete_to(id, to).await?;
        match self.fault {
            Fault::ForgetsHeadAfterDelete if to == self.memory().head(id).await?.seq_nr => {
                self.forget(id).await
            }
            Fault::RepeatsOffsets => self.shift().await,
            _ => {}
        }
        Ok(())
    }

    async fn replace(&self, old: &StoredEvent, new: Envelope) -> Result<bool, JournalError> {
        let mut old = old.clone();
        if self.fault == Fault::ReplacesAnything {
            let (id, number) = (&new.persistence_id, new.seq_nr);
            let mut found = self.memory().replay(ReplayRange::all(id).from(number).to(number));
            if let Some(Ok(Replayed::Event(current))) = found.next().await {
                old = current;
            }
        }
        self.memory().replace(&old, new).await
    }

    async fn events_by_tag(&self, tag: &Tag, after: Offset, limit: usize) -> Result<Page, JournalError> {
        let page = self.memory().events_by_tag(tag, after, limit).await?;
        Ok(self.break_page(page, self.end().await))
    }

    async fn events_by_slice(
        &self,
        slices: SliceRange,
        after: Offset,
        limit: usize,
    ) -> Result<Page, JournalError> {
        let page = self.memory().events_by_slice(slices, after, limit).await?;
        Ok(self.break_page(page, self.end().await))
    }

    async fn persistence_ids(
        &self,
        after: Option<&PersistenceId>,
        limit: usize,
    ) -> Result<Vec<PersistenceId>, JournalError> {
        self.memory().persistence_ids(after, limit).await
    }

    fn limits(&self) -> Limits {
        let limits = self.memory().limits();
        match self.fault {
            Fault::StoresTooLarge => Limits { max_payload_bytes: 1024 * 1024, ..limits },
            _ => limits,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RecordFault {
    None,
    /// A key that was deleted begins at revision 1 again.
    RepeatsRevisions,
    /// Compares, and sets a moment later.
    RacesCompareAndSet,
    /// `_` in a prefix stands for any character.
    PrefixIsPattern,
    /// Changes whatever the guard is.
    IgnoresGuards,
    /// Looks at the guard, and changes a moment later.
    RacesGuards,
    /// Decides a list by what was there before it.
    DecidesListsAtOnce,
}

#[derive(Debug)]
pub(crate) struct BrokenRecords {
    records: Mutex<BTreeMap<RecordKey, Record>>,
    revisions: Mutex<u64>,
    changes: AtomicUsize,
    fault: RecordFault,
}

impl BrokenRecords {
    pub(crate) fn new(fault: RecordFault) -> Self {
        let (records, revisions, changes) = Default::default();
        Self { records, revisions, changes, fault }
    }

    async fn change_one(
        &self,
        key: &RecordKey,
        expected: Option<Revision>,
        value: Option<Bytes>,
        guard: &Option<(RecordKey, Revision)>,
    ) -> Verdict {
        let revision_of = |records: &BTreeMap<RecordKey, Record>, key: &RecordKey| {
            records.get(key).map(|record| record.revision)
        };
        let as_expected = |records: &BTreeMap<RecordKey, Record>| revision_of(records, key) == expected;
        let guarded = |records: &BTreeMap<RecordKey, Record>| {
            guard.as_ref().is_none_or(|(guard, wanted)| revision_of(records, guard) == Some(*wanted))
        };
        let mut judged = self.fault == RecordFault::IgnoresGuards;
        if self.fault == RecordFault::RacesGuards && guard.is_some() {
            judged = guarded(&self.records.lock().unwrap());
            // Until the guard moves, and then long enough that its mover has looked around; a change before which none moves goes on.
            let began = Instant::now();
            while guarded(&self.records.lock().unwrap()) && began.elapsed() < Duration::from_millis(3) {
                tokio::task::yield_now().await;
            }
            if !guarded(&self.records.lock().unwrap()) {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        }
        if self.fault == RecordFault::RacesCompareAndSet {
            let compared = as_expected(&self.records.lock().unwrap());
            self.changes.fetch_add(1, Ordering::SeqCst);
            until_moved(&self.changes).await;
            if compared {
                return self.set(&mut self.records.lock().unwrap(), key, value);
            }
        }
        let mut records = self.records.lock().unwrap();
        if !judged && !guarded(&records) {
            let current = guard.as_ref().and_then(|(guard, _)| records.get(guard).cloned());
            Verdict::GuardChanged { current }
        } else if as_expected(&records) && (value.is_some() || expected.is_some()) {
            self.set(&mut records, key, value)
        } else {
            Verdict::Changed { current: records.get(key).cloned() }
        }
    }

    fn set(
        &self,
        records: &mut BTreeMap<RecordKey, Record>,
        key: &RecordKey,
        value: Option<Bytes>,
    ) -> Verdict {
        let revision = match self.fault {
            RecordFault::RepeatsRevisions => {
                Revision(records.get(key).map_or(0, |record| record.revision.0) + 1)
            }
            _ => {
                let mut last = self.revisions.lock().unwrap();
                *last += 1;
                Revision(*last)
            }
        };
        match value {
            Some(value) => records.insert(key.clone(), Record { revision, value }),
            None => records.remove(key),
        };
        Verdict::Set(revision)
    }

    fn matches(&self, key: &str, prefix: &str) -> bool {
        match self.fault {
            RecordFault::PrefixIsPattern => {
                let mut characters = key.chars();
                prefix.chars().all(|wanted| characters.next().is_some_and(|c| c == wanted || wanted == '_'))
            }
            _ => key.starts_with(prefix),
        }
    }
}

#[async_trait]
impl Records for BrokenRecords {
    async fn get(&self, key: &RecordKey) -> Result<Option<Record>, JournalError> {
        Ok(self.records.lock().unwrap().get(key).cloned())
    }

    async fn change(&self, changes: Vec<RecordChange>) -> Vec<Result<Verdict, JournalError>> {
        let before = self.records.lock().unwrap().clone();
        let mut answers = Vec::new();
        for change in changes {
            if let Some(value) = &change.value
                && let Err(error) = check_record(&change.key, value)
            {
                answers.push(Err(error));
                continue;
            }
            if self.fault == RecordFault::DecidesListsAtOnce {
                let revision_of = |key| before.get(key).map(|record: &Record| record.revision);
                let guarded =
                    change.guard.as_ref().is_none_or(|(guard, wanted)| revision_of(guard) == Some(*wanted));
                if guarded && revision_of(&change.key) == change.expected {
                    let mut records = self.records.lock().unwrap();
                    answers.push(Ok(self.set(&mut records, &change.key, change.value)));
                    continue;
                }
            }
            let (key, guard) = (&change.key, &change.guard);
            answers.push(Ok(self.change_one(key, change.expected, change.value, guard).await));
        }
        answers
    }

    async fn now(&self) -> Result<Timestamp, JournalError> {
        Ok(Timestamp::now())
    }

    async fn list(
        &self,
        prefix: &str,
        after: Option<&RecordKey>,
        limit: usize,
    ) -> Result<Vec<(RecordKey, Record)>, JournalError> {
        let records = self.records.lock().unwrap();
        let found = records.iter().filter(|(key, _)| after.is_none_or(|after| *key > after));
        let found = found.filter(|(key, _)| self.matches(key.as_str(), prefix));
        Ok(found.take(limit).map(|(key, record)| (key.clone(), record.clone())).collect())
    }
}
