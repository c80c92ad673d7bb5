use futures::{StreamExt, TryStreamExt, stream};

use annals_journal::{CompareAndSet, Gate, Record, RecordKey, Revision, last_epoch, raise_epoch};
use bytes::Bytes;

use super::look::Look;
use super::side::IDS;
use super::{CopyError, Side};

/// A copy of a journal into another one: ids, numbers, time stamps, tokens, tags, deletions, snapshots, records and key ids stay; offsets are new.
///
/// The order of offsets stays, too, as long as the copy is not interrupted. Registered readers are not copied, because their offsets are the source's.
///
/// # Cancel safety
/// A copy whose future is dropped is one that was killed: start it again.
#[derive(Debug)]
pub struct Copy {
    pub(super) from: Side,
    pub(super) to: Side,
    pub(super) events_per_second: Option<u32>,
    pub(super) reseals: bool,
}

/// What a copy has done.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct CopyReport {
    /// Events that are new in the target.
    pub events: u64,
    /// Snapshots that were saved.
    pub snapshots: u64,
    /// Ids that are the same in both; 0 where they were not compared.
    pub compared: u64,
    /// Events of these ids.
    pub compared_events: u64,
    /// Events that were changed in the source after they were copied.
    pub replaced: u64,
    /// The copy was finished before: the source is sealed, and the target is open.
    pub was_finished: bool,
}

impl CopyReport {
    fn add(&mut self, of_one_id: Self) {
        self.events += of_one_id.events;
        self.snapshots += of_one_id.snapshots;
        self.compared += of_one_id.compared;
        self.compared_events += of_one_id.compared_events;
        self.replaced += of_one_id.replaced;
    }
}

/// Told how many events were copied or compared since the last time.
pub(super) type Progress<'a> = &'a (dyn Fn(u64) + Send + Sync);

impl Copy {
    /// A copy of one side into another.
    pub fn new(from: Side, to: Side) -> Self {
        Self { from, to, events_per_second: None, reseals: false }
    }

    /// Copies at most so many events a second; default: as fast as it goes.
    #[must_use]
    pub fn events_per_second(mut self, limit: Option<u32>) -> Self {
        self.events_per_second = limit;
        self
    }

    /// The sides open and seal by themselves, each under keys of its own: the records of keys are not copied, and what was erased stands as
    /// deleted. Default: sealed events and keys are copied as they are. A copy that was begun in one way goes on in that way.
    #[must_use]
    pub fn reseals(mut self, reseals: bool) -> Self {
        self.reseals = reseals;
        self
    }

    /// Closes the target to all but this copy, before anything else is done with it: keys for it should be made after this alone. Answers
    /// `false` when the copy is finished.
    ///
    /// # Errors
    /// [`CopyError`] when the target, or the source, is of something else.
    pub async fn reserve(&self) -> Result<bool, CopyError> {
        Ok(self.begin().await?.is_some())
    }

    /// Copies what the source has, while its owners write, and returns when the target has it. Nobody can own an id of the target yet.
    ///
    /// # Errors
    /// [`CopyError`]; start it again.
    pub async fn fill(&self, progress: Progress<'_>) -> Result<CopyReport, CopyError> {
        let mut report = CopyReport::default();
        if self.begin().await?.is_none() {
            return Ok(CopyReport { was_finished: true, ..report });
        }
        self.fill_to_the_end(&mut report, progress).await?;
        Ok(report)
    }

    /// Copies the rest, closes the source for ever, compares, and opens the target.
    ///
    /// Owners are refused from when the source is sealed until the target is open; the time goes into one look at everything.
    ///
    /// # Errors
    /// [`CopyError::Different`] when the target cannot be made the same: then the source is open again. After all others start it again, or
    /// [give it up](Self::give_up).
    pub async fn cut_over(&self, progress: Progress<'_>) -> Result<CopyReport, CopyError> {
        let mut report = CopyReport::default();
        let Some(opens) = self.begin().await? else {
            return Ok(CopyReport { was_finished: true, ..report });
        };
        let is_all_new = self.fill_to_the_end(&mut report, progress).await?;
        // All that can be done before owners have to wait. What was read and written just now is compared only once, in the end.
        let look = if is_all_new { Look::unseen() } else { self.look_at_all(&mut report, progress).await? };
        self.settle(look, &mut report, progress).await?;
        let sealed = self.seal().await?;
        match self.rest(&mut report, progress).await {
            Ok(()) => {}
            Err(error @ CopyError::Different { .. }) => {
                // The target is not open, so nobody has written there.
                set_gate(&self.from, Some(sealed), None).await?;
                return Err(error);
            }
            Err(error) => return Err(error),
        }
        set_gate(&self.to, Some(opens), None).await?;
        for key in [checkpoint_key()?, reseals_key()?] {
            if let Some(Record { revision, .. }) = self.to.records.get(&key).await? {
                let _ = self.to.records.delete(&key, revision).await?;
            }
        }
        Ok(report)
    }

    async fn rest(&self, report: &mut CopyReport, progress: Progress<'_>) -> Result<(), CopyError> {
        self.fill_to_the_end(report, progress).await?;
        (report.compared, report.compared_events) = (0, 0);
        let look = self.look_at_all(report, progress).await?;
        self.settle(look, report, progress).await?;
        raise_epoch(&*self.to.records, last_epoch(&*self.from.records).await?).await?;
        Ok(())
    }

    /// Ends a copy that was begun and not finished: the source takes writes again, the target never will.
    ///
    /// # Errors
    /// [`CopyError::Closed`] when there is no such copy, or it is finished.
    pub async fn give_up(&self) -> Result<(), CopyError> {
        let (gate, revision) = gate(&self.to).await?;
        match gate {
            Some(Gate::Filling { from } | Gate::GivenUp { from }) if from == self.from.name => {}
            other => return Err(self.closed(&self.to, other.as_ref())),
        }
        // The target first: from then on nobody opens it.
        set_gate(&self.to, revision, Some(&Gate::GivenUp { from: self.from.name.clone() })).await?;
        let (gate, revision) = self::gate(&self.from).await?;
        match gate {
            Some(Gate::Sealed { to }) if to == self.to.name => {
                set_gate(&self.from, revision, None).await.map(drop)
            }
            _ => Ok(()),
        }
    }

    /// The target is there for this copy alone; answers the revision of its gate, or `None` when the copy is finished.
    async fn begin(&self) -> Result<Option<Revision>, CopyError> {
        let (gate, revision) = gate(&self.to).await?;
        match (gate, revision) {
            (Some(Gate::Filling { from }), Some(revision)) if from == self.from.name => {
                self.goes_on_as_begun().await?;
                return Ok(Some(revision));
            }
            (None, _) => {}
            (other, _) => return Err(self.closed(&self.to, other.as_ref())),
        }
        let (source, _) = self::gate(&self.from).await?;
        if matches!(&source, Some(Gate::Sealed { to }) if *to == self.to.name) {
            return Ok(None);
        }
        if source.is_some() {
            return Err(self.closed(&self.from, source.as_ref()));
        }
        let filling = Gate::Filling { from: self.from.name.clone() };
        if !self.to.ids(None).await?.is_empty() {
            return Err(self.not_empty());
        }
        let revision = set_gate(&self.to, None, Some(&filling)).await?;
        // Somebody may have begun to write before it was closed.
        if !self.to.ids(None).await?.is_empty() {
            set_gate(&self.to, Some(revision), None).await?;
            return Err(self.not_empty());
        }
        self.goes_on_as_begun().await?;
        Ok(Some(revision))
    }

    /// Half of a copy that is sealed anew, and half of one that is not, is none.
    async fn goes_on_as_begun(&self) -> Result<(), CopyError> {
        let key = reseals_key()?;
        let begun = self.to.records.get(&key).await?.is_some();
        if begun == self.reseals {
            return Ok(());
        }
        // One that was killed before it had said so has not copied anything.
        if self.reseals && self.to.ids(None).await?.is_empty() {
            let _ = self.to.records.compare_and_set(&key, None, Bytes::from_static(&[1])).await?;
            return Ok(());
        }
        let how = if begun { "with keys of its own" } else { "without keys of its own" };
        let reason = format!("the copy into it was begun {how}: go on so, or give it up");
        Err(CopyError::Closed { name: self.to.name.clone(), reason })
    }

    async fn seal(&self) -> Result<Revision, CopyError> {
        match gate(&self.from).await? {
            (None, _) => {
                let sealed = Gate::Sealed { to: self.to.name.clone() };
                set_gate(&self.from, None, Some(&sealed)).await
            }
            (Some(Gate::Sealed { to }), Some(revision)) if to == self.to.name => Ok(revision),
            (other, _) => Err(self.closed(&self.from, other.as_ref())),
        }
    }

    /// Brings snapshots, deletions, marks and records to where the source's are, and compares every id.
    async fn settle(
        &self,
        look: Look,
        report: &mut CopyReport,
        progress: Progress<'_>,
    ) -> Result<(), CopyError> {
        let mut after = None;
        loop {
            let ids = self.from.ids(after.as_ref()).await?;
            let settled = ids.iter().map(|id| self.settle_id(id, &look, progress));
            let settled = stream::iter(settled).buffer_unordered(IDS_AT_ONCE);
            for done in settled.try_collect::<Vec<_>>().await? {
                report.add(done);
            }
            if ids.len() < IDS {
                break;
            }
            after = ids.into_iter().next_back();
        }
        self.no_others().await?;
        self.copy_records().await
    }

    async fn look_at_all(&self, report: &mut CopyReport, progress: Progress<'_>) -> Result<Look, CopyError> {
        // A replay checks the chains of both, which pages do not.
        if self.reseals {
            return Ok(Look::All);
        }
        let (look, events) = self.look(progress).await?;
        report.compared_events += events;
        Ok(look)
    }

    fn not_empty(&self) -> CopyError {
        CopyError::NotEmpty { from: self.from.name.clone(), to: self.to.name.clone() }
    }

    fn closed(&self, side: &Side, gate: Option<&Gate>) -> CopyError {
        let reason = match gate {
            None => format!("there is no copy of {} that was begun", self.from.name),
            Some(gate) => match gate.check(annals_journal::GatedCall::Own) {
                Err(error) => error.to_string(),
                Ok(()) => "its gate is open".to_owned(),
            },
        };
        CopyError::Closed { name: side.name.clone(), reason }
    }
}

async fn gate(side: &Side) -> Result<(Option<Gate>, Option<Revision>), CopyError> {
    let record = side.records.get(Gate::key()).await?;
    Ok((Gate::of(record.as_ref())?, record.map(|record| record.revision)))
}

/// Sets the gate where it still has this revision; an outcome that is not known is read.
async fn set_gate(
    side: &Side,
    expected: Option<Revision>,
    gate: Option<&Gate>,
) -> Result<Revision, CopyError> {
    let answer = match (gate, expected) {
        (Some(gate), _) => side.records.compare_and_set(Gate::key(), expected, gate.encode()).await,
        (None, Some(revision)) => side.records.delete(Gate::key(), revision).await,
        (None, None) => return Ok(Revision(0)),
    };
    match answer? {
        CompareAndSet::Set(revision) => Ok(revision),
        CompareAndSet::Changed { .. } => Err(CopyError::Raced { name: side.name.clone() }),
    }
}

pub(super) fn checkpoint_key() -> Result<RecordKey, CopyError> {
    key("migrate/copy")
}

fn reseals_key() -> Result<RecordKey, CopyError> {
    key("migrate/reseals")
}

fn key(name: &str) -> Result<RecordKey, CopyError> {
    Ok(RecordKey::new(name)
        .map_err(|error| annals_journal::JournalError::rejected("record", error.to_string()))?)
}

/// Each waits for a store most of the time.
const IDS_AT_ONCE: usize = 16;
