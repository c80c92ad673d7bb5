use std::collections::BTreeSet;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use annals_journal::{
    Envelope, Journal, JournalError, Offset, Page, PageItem, PersistenceId, SliceRange, StoredEvent,
};
use annals_snapshot::{Snapshot, SnapshotError, SnapshotStore};
use futures::future::BoxFuture;

use super::{LeftAlone, RewriteReport, Rewriter, Rewritten, StoredState, Target};
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
    pub allow_loss: bool,
}

/// Why a sweep ended early. What it has replaced stays replaced; start it again.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RewriteError {
    /// The journal cannot be read or written.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// The snapshots cannot be read or written.
    #[error(transparent)]
    Snapshot(#[from] SnapshotError),
    /// Somebody who runs could not read what would be written.
    #[error("nothing is written as {form}: {reason}")]
    Refused {
        /// What would be written.
        form: Form,
        /// Who, and what to do.
        reason: String,
    },
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
        self.pass(false, progress).await
    }

    /// Rewrites, and looks at everything again until there is nothing left to rewrite, at most [`ROUNDS`](Self::ROUNDS) times. The first report says
    /// what was done, the second what the last look found: [`RewriteReport::replaced`] of it is what is still to do.
    ///
    /// # Errors
    /// [`RewriteError`]; what was done stays.
    pub async fn apply(
        &self,
        progress: &(dyn Fn(u64) + Send + Sync),
    ) -> Result<(RewriteReport, RewriteReport), RewriteError> {
        let done = self.pass(true, progress).await?;
        let mut found = self.pass(false, progress).await?;
        for _ in 1..Self::ROUNDS {
            if found.replaced() == 0 {
                break;
            }
            // Owners that run an older build have written meanwhile.
            self.pass(true, progress).await?;
            found = self.pass(false, progress).await?;
        }
        Ok((done, found))
    }

    /// How often a sweep begins anew when owners write what it would rewrite.
    pub const ROUNDS: usize = 3;

    async fn pass(
        &self,
        write: bool,
        progress: &(dyn Fn(u64) + Send + Sync),
    ) -> Result<RewriteReport, RewriteError> {
        let mut report = RewriteReport::default();
        self.events(write, &mut report, progress).await?;
        self.states(write, &mut report, progress).await?;
        Ok(report)
    }

    /// While a page is worked on, the one before it is written and the one after it is read.
    async fn events(
        &self,
        write: bool,
        report: &mut RewriteReport,
        progress: &(dyn Fn(u64) + Send + Sync),
    ) -> Result<(), RewriteError> {
        let mut pace = Pace::new(self.settings.events_per_second, Instant::now());
        let mut page = self.page(Offset::BEGINNING).await?;
        let mut made = Vec::new();
        loop {
            let (count, after) = (page.items.len(), page.complete_to);
            let read = async { if count < PAGE { Ok(None) } else { self.page(after).await.map(Some) } };
            let (next, written, batch) = futures::join!(read, self.write(std::mem::take(&mut made)), async {
                self.rewrite(page, report)
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
                None => break,
            }
        }
        self.write(made).await?.tell(report);
        Ok(())
    }

    async fn page(&self, after: Offset) -> Result<Page, JournalError> {
        self.journal.events_by_slice(SliceRange::ALL, after, PAGE).await
    }

    fn rewrite(&self, page: Page, report: &mut RewriteReport) -> Vec<(StoredEvent, Envelope)> {
        let mut batch = Vec::new();
        for item in page.items {
            let PageItem::Event(old) = item else { continue };
            let form = Form::new(old.envelope.manifest.clone(), old.envelope.schema_version);
            let rewritten = self.rewriter.event(&old.envelope, &self.target);
            match self.judge(rewritten) {
                Judged::Stays => report.events.entry(form).or_default().stay += 1,
                Judged::NotHosted => {
                    let kind = old.envelope.persistence_id.kind().to_owned();
                    *report.not_hosted.entry(kind).or_default() += 1;
                }
                Judged::Becomes(encoded) => {
                    let to = Form::new(encoded.manifest.clone(), encoded.schema_version);
                    let counts = report.events.entry(form).or_default();
                    *counts.become_form.entry(to).or_default() += 1;
                    let new = encoded.in_envelope(&old.envelope);
                    batch.push((old, new));
                }
                Judged::Cannot(reason) => report.leave(left(&old.envelope, reason), form),
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
            for id in &ids {
                let count = self.states_of(id, write, report).await?;
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
        write: bool,
        report: &mut RewriteReport,
    ) -> Result<u64, RewriteError> {
        let numbers = self.snapshots.list(id).await?;
        for number in &numbers {
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
                    if down && self.journal.head(id).await?.deleted_to < annals_journal::SeqNr::FIRST {
                        if write {
                            self.snapshots.delete(id, *number..=*number).await?;
                        }
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
