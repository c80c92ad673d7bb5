use std::collections::BTreeSet;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use annals_journal::{
    Envelope, Journal, JournalError, Offset, Page, PageItem, PersistenceId, SeqNr, SliceRange, StoredEvent,
};
use annals_snapshot::{Snapshot, SnapshotError, SnapshotStore};
use futures::future::BoxFuture;
use futures::{StreamExt, TryStreamExt, stream};

use super::standing::Standing;
use super::{LeftAlone, RewriteError, RewriteReport, Rewriter, Rewritten, StoredState, Target};
use crate::pace::Pace;
use crate::{AdaptError, Encoded, EventList, Form};

/// Puts the events and snapshots of a journal in other versions in their place, while their owners write.
///
/// Id, number, offset, time stamp, token and tags stay. Each event is replaced only where its bytes are still those that were read, so
/// nothing that an owner does is undone, and no owner is fenced: one that recovers meanwhile reads each event in its old form or in its new one,
/// which mean the same. What is done is done: a sweep that was killed is started again, and passes over it.
///
/// # Cancel safety
/// A sweep whose future is dropped has replaced some events and not others; start it again.
pub struct Sweep {
    journal: Arc<dyn Journal>,
    snapshots: Arc<dyn SnapshotStore>,
    rewriter: Rewriter,
    target: Target,
    settings: RewriteSettings,
    clear: Option<Clear>,
    /// Forms that may be written.
    cleared: Mutex<BTreeSet<(String, Form)>>,
}

/// Asks whether a kind's events may be written in a form; the error is the sentence that says who cannot read it.
pub type Clear = Box<dyn Fn(String, Form) -> BoxFuture<'static, Result<(), String>> + Send + Sync>;

/// How a sweep goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RewriteSettings {
    /// At most so many events a second are looked at; default: as fast as it goes.
    pub events_per_second: Option<u32>,
    /// Also rewrite what is no longer the same when it is read back, because a step down leaves something out; default: it is left alone.
    /// Nobody should host the kinds meanwhile: live state would not be what replay gives.
    pub allow_loss: bool,
}

impl Sweep {
    /// A sweep over a journal and the snapshots beside it.
    pub fn new(
        journal: Arc<dyn Journal>,
        snapshots: Arc<dyn SnapshotStore>,
        rewriter: Rewriter,
        target: Target,
    ) -> Self {
        let (settings, cleared) = Default::default();
        Self { journal, snapshots, rewriter, target, settings, clear: None, cleared }
    }

    /// How it goes.
    #[must_use]
    pub fn settings(mut self, settings: RewriteSettings) -> Self {
        self.settings = settings;
        self
    }

    /// Asks before the first event of a kind is written in a form, so that nothing is written that somebody who runs cannot read (I11).
    #[must_use]
    pub fn clear_with(mut self, clear: Clear) -> Self {
        self.clear = Some(clear);
        self
    }

    /// What [`Sweep::apply`] would do. Writes nothing. `progress` is told how many events, and snapshots, were looked at.
    ///
    /// # Errors
    /// [`RewriteError`] when something cannot be read.
    pub async fn plan(&self, progress: &(dyn Fn(u64) + Send + Sync)) -> Result<RewriteReport, RewriteError> {
        Ok(self.pass(false, None, progress).await?.0)
    }

    /// Rewrites, and looks at everything again until there is nothing left to rewrite, at most [`ROUNDS`](Self::ROUNDS) times. The first report says
    /// what was done, the second what the last look found: [`RewriteReport::replaced`] of it is what is still to do, and
    /// [`RewriteReport::compared`] how many events it has found equal to what the rewriting had in mind.
    ///
    /// # Errors
    /// [`RewriteError`]; what was done stays.
    pub async fn apply(
        &self,
        progress: &(dyn Fn(u64) + Send + Sync),
    ) -> Result<(RewriteReport, RewriteReport), RewriteError> {
        let (done, mut found) = self.round(progress).await?;
        for _ in 1..Self::ROUNDS {
            if found.replaced() == 0 {
                break;
            }
            // Owners that run an older build have written meanwhile.
            found = self.round(progress).await?.1;
        }
        Ok((done, found))
    }

    /// Rewrites everything, looks at everything, and compares.
    async fn round(
        &self,
        progress: &(dyn Fn(u64) + Send + Sync),
    ) -> Result<(RewriteReport, RewriteReport), RewriteError> {
        let (done, end, wanted) = self.pass(true, None, progress).await?;
        let (mut found, _, stands) = self.pass(false, Some(end), progress).await?;
        // What owners took out of its hands is not what it was to be.
        let is_same = if done.changed_meanwhile + done.refused == 0 { wanted.is_same(&stands) } else { None };
        match is_same {
            Some(true) => found.compared = Some(stands.events),
            Some(false) => return Err(RewriteError::Different { of: stands.events }),
            None => {}
        }
        Ok((done, found))
    }

    /// How often a sweep begins anew when owners write what it would rewrite.
    pub const ROUNDS: usize = 3;

    /// Answers also up to which offset it has looked, and what stands there; `to`: sums up no further.
    async fn pass(
        &self,
        write: bool,
        to: Option<Offset>,
        progress: &(dyn Fn(u64) + Send + Sync),
    ) -> Result<(RewriteReport, Offset, Standing), RewriteError> {
        let mut report = RewriteReport::default();
        let (end, standing) = self.events(write, to, &mut report, progress).await?;
        self.states(write, &mut report, progress).await?;
        Ok((report, end, standing))
    }

    /// While a page is worked on, the one before it is written and the one after it is read.
    async fn events(
        &self,
        write: bool,
        to: Option<Offset>,
        report: &mut RewriteReport,
        progress: &(dyn Fn(u64) + Send + Sync),
    ) -> Result<(Offset, Standing), RewriteError> {
        let mut standing = Standing::default();
        let mut pace = Pace::new(self.settings.events_per_second, Instant::now());
        let mut page = self.page(Offset::BEGINNING).await?;
        let mut made = Vec::new();
        let end = loop {
            let (count, after) = (page.items.len(), page.complete_to);
            let read = async { if count < PAGE { Ok(None) } else { self.page(after).await.map(Some) } };
            let (next, written, batch) = futures::join!(read, self.write(std::mem::take(&mut made)), async {
                self.rewrite(page, to, report, &mut standing)
            });
            written?.tell(report);
            if write {
                self.clear(&batch).await?;
                made = batch;
            }
            progress(count as u64);
            pace.wait_after(count as u64).await;
            match next? {
                Some(next) => page = next,
                None => break after,
            }
        };
        self.write(made).await?.tell(report);
        Ok((end, standing))
    }

    async fn page(&self, after: Offset) -> Result<Page, JournalError> {
        self.journal.events_by_slice(SliceRange::ALL, after, PAGE).await
    }

    fn rewrite(
        &self,
        page: Page,
        to: Option<Offset>,
        report: &mut RewriteReport,
        standing: &mut Standing,
    ) -> Vec<(StoredEvent, Envelope)> {
        let mut batch = Vec::new();
        for item in page.items {
            let is_summed = to.is_none_or(|to| item.offset() <= to);
            let old = match item {
                PageItem::Event(old) => old,
                PageItem::Deleted { to, .. } if is_summed => {
                    standing.deleted(to);
                    continue;
                }
                _ => continue,
            };
            let offset = old.offset;
            let mut stands = |envelope: &Envelope| {
                if is_summed {
                    standing.event(offset, envelope);
                }
            };
            let form = Form::new(old.envelope.manifest.clone(), old.envelope.schema_version);
            let rewritten = self.rewriter.event(&old.envelope, &self.target);
            match self.judge(rewritten) {
                Judged::Stays => {
                    stands(&old.envelope);
                    report.note_list(&old.envelope);
                    report.events.entry(form).or_default().stay += 1;
                }
                Judged::NotHosted => {
                    stands(&old.envelope);
                    let kind = old.envelope.persistence_id.kind().to_owned();
                    *report.not_hosted.entry(kind).or_default() += 1;
                }
                Judged::Becomes(encoded) => {
                    let to = Form::new(encoded.manifest.clone(), encoded.schema_version);
                    let counts = report.events.entry(form).or_default();
                    *counts.become_form.entry(to).or_default() += 1;
                    let new = encoded.in_envelope(&old.envelope);
                    stands(&new);
                    batch.push((old, new));
                }
                Judged::Cannot(reason) => {
                    stands(&old.envelope);
                    report.note_list(&old.envelope);
                    report.leave(left(&old.envelope, reason), form);
                }
            }
        }
        batch
    }

    fn judge(&self, rewritten: Result<Rewritten, AdaptError>) -> Judged {
        match rewritten {
            Ok(Rewritten::Stays) => Judged::Stays,
            Ok(Rewritten::NotHosted) => Judged::NotHosted,
            Ok(Rewritten::Becomes { encoded, loses }) if !loses || self.settings.allow_loss => {
                Judged::Becomes(encoded)
            }
            Ok(Rewritten::Becomes { encoded, .. }) => Judged::Cannot(format!(
                "as {} version {} it would lose something: read back it is not what it was",
                encoded.manifest, encoded.schema_version
            )),
            Err(error) => Judged::Cannot(error.to_string()),
        }
    }

    async fn write(&self, batch: Vec<(StoredEvent, Envelope)>) -> Result<Written, RewriteError> {
        let mut written = Written::default();
        if batch.is_empty() {
            return Ok(written);
        }
        let places: Vec<_> = batch
            .iter()
            .map(|(old, new)| (old.envelope.clone(), Form::new(new.manifest.clone(), new.schema_version)))
            .collect();
        let answers = self.journal.replace_all(batch).await;
        for ((old, to), answer) in places.into_iter().zip(answers) {
            match answer {
                Ok(true) => {}
                Ok(false) => written.changed.push((old, to)),
                Err(JournalError::Rejected { reason, .. }) => written.refused.push((old, to, reason)),
                Err(error) => return Err(error.into()),
            }
        }
        Ok(written)
    }

    /// Asks for every form that is new.
    async fn clear(&self, batch: &[(StoredEvent, Envelope)]) -> Result<(), RewriteError> {
        let Some(clear) = &self.clear else { return Ok(()) };
        for form in self.uncleared(batch) {
            clear(form.0.clone(), form.1.clone())
                .await
                .map_err(|reason| RewriteError::Refused { form: form.1.clone(), reason })?;
            self.cleared.lock().unwrap_or_else(PoisonError::into_inner).insert(form);
        }
        Ok(())
    }

    fn uncleared(&self, batch: &[(StoredEvent, Envelope)]) -> BTreeSet<(String, Form)> {
        let cleared = self.cleared.lock().unwrap_or_else(PoisonError::into_inner);
        let mut wanted = BTreeSet::new();
        for (_, new) in batch {
            let kind = new.persistence_id.kind();
            let forms = if EventList::is(&new.manifest) {
                let parts = EventList::parts(new).unwrap_or_default();
                parts.into_iter().map(|part| Form::new(part.manifest, part.schema_version)).collect()
            } else {
                vec![Form::new(new.manifest.clone(), new.schema_version)]
            };
            wanted.extend(forms.into_iter().map(|form| (kind.to_owned(), form)));
        }
        wanted.retain(|form| !cleared.contains(form));
        wanted
    }

    async fn states(
        &self,
        write: bool,
        report: &mut RewriteReport,
        progress: &(dyn Fn(u64) + Send + Sync),
    ) -> Result<(), RewriteError> {
        let mut pace = Pace::new(self.settings.events_per_second, Instant::now());
        let mut after: Option<PersistenceId> = None;
        loop {
            let ids = self.journal.persistence_ids(after.as_ref(), IDS).await?;
            // Most have none, and each is waited for.
            let lists = stream::iter(&ids).map(|id| self.snapshots.list(id)).buffered(LISTS_AT_ONCE);
            let lists: Vec<_> = lists.try_collect().await?;
            for (id, numbers) in ids.iter().zip(lists) {
                let count = self.states_of(id, &numbers, write, report).await?;
                progress(count);
                pace.wait_after(count).await;
            }
            if ids.len() < IDS {
                return Ok(());
            }
            after = ids.into_iter().next_back();
        }
    }

    async fn states_of(
        &self,
        id: &PersistenceId,
        numbers: &[SeqNr],
        write: bool,
        report: &mut RewriteReport,
    ) -> Result<u64, RewriteError> {
        for number in numbers {
            let snapshot = match self.snapshots.load(id, *number).await {
                Ok(Some(snapshot)) if snapshot.seq_nr == *number => snapshot,
                // Deleted meanwhile; or unreadable, which recovery passes over.
                Ok(_) | Err(SnapshotError::Corrupt { .. } | SnapshotError::Erased { .. }) => continue,
                Err(error) => return Err(error.into()),
            };
            let form = Form::new(snapshot.manifest.clone(), snapshot.schema_version);
            let stored = StoredState {
                manifest: &snapshot.manifest,
                schema_version: snapshot.schema_version,
                codec: snapshot.codec,
                payload: &snapshot.payload,
            };
            let rewritten = self.rewriter.state(id.kind(), &stored, &self.target);
            match self.judge(rewritten) {
                Judged::Stays => report.snapshots.entry(form).or_default().stay += 1,
                Judged::NotHosted => *report.not_hosted.entry(id.kind().to_owned()).or_default() += 1,
                Judged::Becomes(encoded) => {
                    let to = Form::new(encoded.manifest.clone(), encoded.schema_version);
                    if write {
                        self.clear_state(id, &to).await?;
                        self.snapshots.save(in_snapshot(encoded, snapshot)).await?;
                    }
                    let counts = report.snapshots.entry(form).or_default();
                    *counts.become_form.entry(to).or_default() += 1;
                }
                Judged::Cannot(reason) => {
                    // All events are there, so that the snapshot is worth no more than the time of replaying them.
                    let down = matches!(self.target, Target::ReadableBy(_));
                    if down && self.drop_state(id, &snapshot, write).await? {
                        report.snapshots.entry(form).or_default().dropped += 1;
                    } else {
                        let (persistence_id, seq_nr) = (id.clone(), *number);
                        report.leave(LeftAlone { persistence_id, seq_nr, is_snapshot: true, reason }, form);
                    }
                }
            }
        }
        Ok(numbers.len() as u64)
    }

    /// Deletes a snapshot that no other one stands for, where all events are there; answers whether they are.
    async fn drop_state(
        &self,
        id: &PersistenceId,
        snapshot: &Snapshot,
        write: bool,
    ) -> Result<bool, RewriteError> {
        if self.journal.head(id).await?.deleted_to >= SeqNr::FIRST {
            return Ok(false);
        }
        if write {
            self.snapshots.delete(id, snapshot.seq_nr..=snapshot.seq_nr).await?;
            // Its owner may have deleted events at the same moment, because there was this snapshot.
            if self.journal.head(id).await?.deleted_to >= SeqNr::FIRST {
                self.snapshots.save(snapshot.clone()).await?;
                return Ok(false);
            }
        }
        Ok(true)
    }

    async fn clear_state(&self, id: &PersistenceId, form: &Form) -> Result<(), RewriteError> {
        let Some(clear) = &self.clear else { return Ok(()) };
        let key = (id.kind().to_owned(), form.clone());
        if self.cleared.lock().unwrap_or_else(PoisonError::into_inner).contains(&key) {
            return Ok(());
        }
        clear(key.0.clone(), form.clone())
            .await
            .map_err(|reason| RewriteError::Refused { form: form.clone(), reason })?;
        self.cleared.lock().unwrap_or_else(PoisonError::into_inner).insert(key);
        Ok(())
    }
}

impl fmt::Debug for Sweep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sweep")
            .field("journal", &self.journal)
            .field("rewriter", &self.rewriter)
            .field("settings", &self.settings)
            .finish_non_exhaustive()
    }
}

enum Judged {
    Stays,
    NotHosted,
    Becomes(Encoded),
    Cannot(String),
}

/// What became of a page that was written.
#[derive(Default)]
struct Written {
    changed: Vec<(Envelope, Form)>,
    refused: Vec<(Envelope, Form, String)>,
}

impl Written {
    /// Takes back what was counted as replaced and was not.
    fn tell(self, report: &mut RewriteReport) {
        let mut take_back = |old: &Envelope, to: &Form| {
            let form = Form::new(old.manifest.clone(), old.schema_version);
            if let Some(count) = report.events.entry(form).or_default().become_form.get_mut(to) {
                *count -= 1;
            }
        };
        for (old, to) in &self.changed {
            take_back(old, to);
        }
        for (old, to, _) in &self.refused {
            take_back(old, to);
        }
        report.changed_meanwhile += self.changed.len() as u64;
        report.refused += self.refused.len() as u64;
        for (old, _, reason) in self.refused {
            let form = Form::new(old.manifest.clone(), old.schema_version);
            report.leave(left(&old, reason), form);
        }
    }
}

fn left(event: &Envelope, reason: String) -> LeftAlone {
    let (persistence_id, seq_nr) = (event.persistence_id.clone(), event.seq_nr);
    LeftAlone { persistence_id, seq_nr, is_snapshot: false, reason }
}

fn in_snapshot(encoded: Encoded, snapshot: Snapshot) -> Snapshot {
    Snapshot {
        manifest: encoded.manifest,
        schema_version: encoded.schema_version,
        codec: encoded.codec,
        payload: encoded.payload,
        ..snapshot
    }
}

const PAGE: usize = 512;
const IDS: usize = 256;
const LISTS_AT_ONCE: usize = 16;
