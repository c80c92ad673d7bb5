//! The events of a journal, a part at a time: read, put in other versions, and written, each while the others go on; then looked at again.
//!
//! ```text
//! rewrite   pages ══▶ what each event becomes ══▶ batches     a hash of what shall stand in each place is kept
//! look      pages ══▶ the hash of each event, beside those; meanwhile the next part is rewritten
//! ```

use std::collections::BTreeSet;
use std::sync::PoisonError;
use std::time::Instant;

use annals_journal::{
    Envelope, JournalError, Offset, Page, PageItem, PersistenceId, SeqNr, SliceRange, StoredEvent,
};
use tokio::sync::mpsc;
use tokio::task::yield_now;

use super::standing::{Compared, Comparison, Wanted};
use super::sweep::{Judged, Sweep};
use super::written::Written;
use super::{LeftAlone, RewriteError, RewriteReport};
use crate::pace::Pace;
use crate::{EventList, Form};

/// A part of a journal that was rewritten.
pub(super) struct Part {
    /// Up to this offset.
    pub(super) end: Offset,
    /// Nothing was behind it.
    pub(super) is_last: bool,
    pub(super) wanted: Wanted,
}

/// Events that are to be replaced together.
#[derive(Default)]
pub(super) struct Batch {
    places: Vec<Place>,
    replacements: Vec<(StoredEvent, Envelope)>,
}

impl Sweep {
    /// Rewrites the events behind an offset, as many as a part has.
    pub(super) async fn rewrite(
        &self,
        from: Offset,
        report: &mut RewriteReport,
        progress: &(dyn Fn(u64) + Send + Sync),
    ) -> Result<Part, RewriteError> {
        let (mut wanted, mut written) = (Wanted::default(), Written::default());
        let (pages, mut read) = mpsc::channel(PAGES_AHEAD);
        let (batches, mut made) = mpsc::channel::<Batch>(PAGES_AHEAD);
        let reading = self.read(from, PART, None, pages);
        let working = async {
            let batches = batches;
            let mut pace = Pace::new(self.settings.events_per_second, Instant::now());
            while let Some(page) = read.recv().await {
                let (count, batch) = self.changes(page, &mut wanted, report).await;
                self.clear(&batch.replacements).await?;
                if !batch.places.is_empty() && batches.send(batch).await.is_err() {
                    break;
                }
                progress(count);
                pace.wait_after(count).await;
            }
            Ok(())
        };
        let writing = async {
            while let Some(batch) = made.recv().await {
                self.write(batch, &mut written).await?;
            }
            Ok(())
        };
        let ((end, is_last), (), ()) = futures::try_join!(reading, working, writing)?;
        written.tell(report, &mut wanted);
        Ok(Part { end, is_last, wanted })
    }

    /// Looks at the events behind an offset, and counts what would be done. With a part that was rewritten: at those of the part, and of the
    /// last one at all that follow; answers what came of comparing those of the part.
    pub(super) async fn look(
        &self,
        from: Offset,
        part: Option<&Part>,
        report: &mut RewriteReport,
        progress: &(dyn Fn(u64) + Send + Sync),
    ) -> Result<Compared, RewriteError> {
        let to = part.filter(|part| !part.is_last).map(|part| part.end);
        let mut comparison = part.map(|part| Comparison::with(&part.wanted));
        let (pages, read) = mpsc::channel(PAGES_AHEAD);
        let reading = self.read(from, usize::MAX, to, pages);
        let working = async {
            // Dropped at the end, so that reading ends.
            let mut read = read;
            let mut pace = Pace::new(self.settings.events_per_second, Instant::now());
            while let Some(page) = read.recv().await {
                let (mut count, mut ended) = (0_usize, false);
                for item in page.items {
                    let offset = item.offset();
                    if to.is_some_and(|to| offset > to) {
                        ended = true;
                        break;
                    }
                    count += 1;
                    if count % PIECE == 0 {
                        yield_now().await;
                    }
                    match item {
                        PageItem::Event(event) => {
                            if let Some(comparison) = &mut comparison
                                && part.is_some_and(|part| offset <= part.end)
                            {
                                comparison.event(offset, &event.envelope);
                            }
                            self.count(event, report);
                        }
                        PageItem::Deleted { to, .. } | PageItem::Erased { to, .. } => {
                            if let Some(comparison) = &mut comparison {
                                comparison.deleted(to);
                            }
                        }
                        _ => {}
                    }
                }
                progress(count as u64);
                pace.wait_after(count as u64).await;
                if ended || to.is_some_and(|to| page.complete_to >= to) {
                    break;
                }
            }
            Ok(())
        };
        let ((..), ()) = futures::try_join!(reading, working)?;
        let Some(comparison) = comparison else { return Ok(Compared::default()) };
        comparison
            .end()
            .ok_or(RewriteError::Different { of: part.map_or(0, |part| part.wanted.len() as u64) })
    }

    /// Reads pages until so many events were read, or all up to an offset, or nothing is left, or nobody takes them. Answers how far, and
    /// whether nothing is left.
    async fn read(
        &self,
        mut after: Offset,
        most: usize,
        until: Option<Offset>,
        pages: mpsc::Sender<Page>,
    ) -> Result<(Offset, bool), RewriteError> {
        // One that is slowed down stops often, and not for long.
        let at_a_time =
            self.settings.events_per_second.map_or(PAGE, |rate| PAGE.min(rate as usize / 4).max(1));
        let mut events = 0;
        loop {
            let page = self.journal.events_by_slice(SliceRange::ALL, after, at_a_time).await?;
            let is_last = page.items.len() < at_a_time;
            events += page.items.len();
            after = page.complete_to;
            let enough = events >= most || until.is_some_and(|until| after >= until);
            if pages.send(page).await.is_err() || is_last || enough {
                return Ok((after, is_last));
            }
        }
    }

    /// What is to be replaced of a page; answers also how many items it has.
    async fn changes(&self, page: Page, wanted: &mut Wanted, report: &mut RewriteReport) -> (u64, Batch) {
        let (count, mut batch) = (page.items.len(), Batch::default());
        for (number, item) in page.items.into_iter().enumerate() {
            // Who reads and who writes go on meanwhile.
            if number % PIECE == PIECE - 1 {
                yield_now().await;
            }
            let PageItem::Event(old) = item else { continue };
            let at = wanted.len();
            match self.count(old, report) {
                Counted::Stands(event) => wanted.add(event.offset, &event.envelope),
                Counted::Becomes(old, new) => {
                    wanted.add(old.offset, &new);
                    if batch.places.is_empty() {
                        // In most pages it is all of them, or none.
                        let rest = count - number;
                        batch.places.reserve(rest);
                        batch.replacements.reserve(rest);
                    }
                    batch.places.push(Place {
                        at,
                        id: old.envelope.persistence_id.clone(),
                        seq_nr: old.envelope.seq_nr,
                        from: Form::new(old.envelope.manifest.clone(), old.envelope.schema_version),
                        to: Form::new(new.manifest.clone(), new.schema_version),
                    });
                    batch.replacements.push((old, new));
                }
            }
        }
        (count as u64, batch)
    }

    /// Counts what becomes of an event.
    fn count(&self, old: StoredEvent, report: &mut RewriteReport) -> Counted {
        let form = || Form::new(old.envelope.manifest.clone(), old.envelope.schema_version);
        match self.judge(self.rewriter.event(&old.envelope, &self.target)) {
            Judged::Stays => {
                report.note_list(&old.envelope);
                report.events.entry(form()).or_default().stay += 1;
            }
            Judged::NotHosted => {
                let kind = old.envelope.persistence_id.kind().to_owned();
                *report.not_hosted.entry(kind).or_default() += 1;
            }
            Judged::Becomes(encoded) => {
                let to = Form::new(encoded.manifest.clone(), encoded.schema_version);
                let counts = report.events.entry(form()).or_default();
                *counts.become_form.entry(to).or_default() += 1;
                let new = encoded.in_envelope(&old.envelope);
                return Counted::Becomes(old, new);
            }
            Judged::Cannot(reason) => {
                report.note_list(&old.envelope);
                let (persistence_id, seq_nr) = (old.envelope.persistence_id.clone(), old.envelope.seq_nr);
                report.leave(LeftAlone { persistence_id, seq_nr, is_snapshot: false, reason }, form());
            }
        }
        Counted::Stands(old)
    }

    async fn write(&self, batch: Batch, written: &mut Written) -> Result<(), RewriteError> {
        let Batch { places, replacements } = batch;
        let answers = self.journal.replace_all(replacements).await;
        for (place, answer) in places.into_iter().zip(answers) {
            match answer {
                Ok(true) => {}
                Ok(false) => written.changed(place),
                Err(JournalError::Rejected { reason, .. }) => written.refused(place, reason),
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
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
}

/// What was counted of an event.
enum Counted {
    /// It stays as it is.
    Stands(StoredEvent),
    Becomes(StoredEvent, Envelope),
}

/// Which event was to be replaced, and by what.
pub(super) struct Place {
    /// In what is [`Wanted`].
    pub(super) at: usize,
    pub(super) id: PersistenceId,
    pub(super) seq_nr: SeqNr,
    pub(super) from: Form,
    pub(super) to: Form,
}

const PAGE: usize = 2_048;
/// In pages that are read, or worked on, before the next one is wanted.
const PAGES_AHEAD: usize = 2;
/// So many events are worked on before others have their turn.
const PIECE: usize = 128;
/// Of each event of two parts a hash is in memory. So long that a part costs little, so short that the last one, beside which nothing is
/// rewritten, is soon looked at.
const PART: usize = 8 * PAGE;
