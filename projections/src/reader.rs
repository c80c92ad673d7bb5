//! Performs what a [`Worker`] asks for.

use std::sync::Arc;
use std::time::Instant;

use annals_journal::{JournalError, Pages, SliceRange, Timestamp};
use tokio::sync::watch;
use tokio::time::sleep;

use crate::batch::Batch;
use crate::progress::Progress;
use crate::status::{ReaderStatus, Status};
use crate::store::{Advance, Store, StoreError, Work};
use crate::telemetry::ReaderMetrics;
use crate::worker::{Step, Worker};
use crate::{DeadLetter, FailurePolicy, Source};

/// One reader of a running projection.
pub(crate) struct Reader<E> {
    pub(crate) name: Arc<str>,
    pub(crate) token: u64,
    pub(crate) slices: SliceRange,
    pub(crate) source: Arc<Source<E>>,
    pub(crate) store: Arc<dyn Store<E>>,
    pub(crate) pages: Pages,
    pub(crate) page_size: usize,
    pub(crate) worker: Worker,
    pub(crate) batch: Arc<Batch<E>>,
    /// Which of the status is its own.
    pub(crate) index: usize,
    pub(crate) status: Arc<watch::Sender<Status>>,
    pub(crate) questions: watch::Receiver<u64>,
    pub(crate) metrics: ReaderMetrics,
}

/// Why a reader does not go on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum End {
    Fenced,
    Stopped(String),
}

pub(crate) fn worker(policy: FailurePolicy, progress: Progress) -> Worker {
    Worker::new(policy, progress)
}

impl<E: Send + Sync + 'static> Reader<E> {
    pub(crate) async fn run(mut self) -> End {
        let mut question = 0;
        loop {
            let ended = match self.worker.next() {
                Step::Read(after) => {
                    question = *self.questions.borrow_and_update();
                    self.pages.seek(after);
                    self.read().await;
                    Ok(())
                }
                Step::Apply { units, to } => {
                    let from = self.worker.progress().clone();
                    let batch = Arc::clone(&self.batch);
                    self.apply(Work { slices: self.slices, batch, units, from, to }).await
                }
                Step::Skip { unit, error, to } => self.skip(unit, &error, to).await,
                Step::Save { to } => match self.advance(to.clone(), None).await {
                    Ok(()) => {
                        self.worker.saved(to);
                        Ok(())
                    }
                    Err(error) => Err(error),
                },
                Step::Rest(pause) => {
                    sleep(pause).await;
                    self.worker.rested();
                    Ok(())
                }
                Step::Reload => match self.store.progress(self.token, self.slices).await {
                    Ok(progress) => {
                        self.worker.reloaded(progress);
                        Ok(())
                    }
                    Err(error) => Err(error),
                },
                Step::Idle => {
                    self.caught_up(question);
                    tokio::select! {
                        () = self.pages.more() => {}
                        _ = self.questions.changed() => {}
                    }
                    self.worker.look();
                    Ok(())
                }
                Step::End(error) => return End::Stopped(error),
            };
            match ended {
                Ok(()) => {}
                Err(StoreError::Fenced) => {
                    self.metrics.fencings.increment(1);
                    return End::Fenced;
                }
                Err(StoreError::Refused(error)) => self.worker.gave_up(error),
                Err(StoreError::Interrupted(error)) => self.interrupted(&error),
            }
        }
    }

    async fn read(&mut self) {
        match self.pages.next().await {
            Ok(page) => {
                let more = page.items.len() >= self.page_size;
                let (batch, passed) = self.source.take(page.items, self.worker.progress());
                let offsets = batch.units.iter().map(|unit| unit.offset).collect();
                self.batch = Arc::new(batch);
                self.worker.read(offsets, passed, page.complete_to, more);
            }
            // What is stored does not get better by looking again.
            Err(error @ (JournalError::Rejected { .. } | JournalError::Corrupt { .. })) => {
                self.worker.gave_up(error.to_string());
            }
            Err(error) => self.interrupted(&error),
        }
    }

    async fn apply(&mut self, work: Work<E>) -> Result<(), StoreError> {
        let (began, batch, start) = (Instant::now(), Arc::clone(&work.batch), work.units.start);
        let applied = self.store.apply(self.token, work).await?;
        let events = batch.count(start..applied.end);
        if applied.end > start {
            self.metrics.batch_seconds.record(began.elapsed());
            self.metrics.events.increment(events as u64);
            let last = batch.last_event(start..applied.end).map(|event| event.timestamp);
            if let Some(last) = last {
                self.metrics.delay_seconds.record(Timestamp::now().since(last));
                self.metrics.lags(Some(last));
            }
            self.worker.applied(applied.end, applied.progress);
            self.tell(|reader| {
                reader.events += events as u64;
                reader.last_event = last.or(reader.last_event);
                reader.error = None;
            });
        }
        if let Some(refused) = applied.failure {
            self.metrics.failures.increment(1);
            let what = match refused.at.and_then(|at| batch.units.get(at)) {
                Some(unit) => format!("event {} of {}: {}", unit.seq_nr, unit.persistence_id, refused.error),
                None => refused.error.clone(),
            };
            tracing::warn!(projection = &*self.name, error = what, "a projection's handler failed");
            self.worker.failed(refused.at, refused.error);
            self.tell(|reader| reader.error = Some(what));
        }
        Ok(())
    }

    async fn skip(&mut self, unit: usize, error: &str, to: Progress) -> Result<(), StoreError> {
        let skipped = &self.batch.units[unit];
        let (id, seq_nr, offset) = (skipped.persistence_id.clone(), skipped.seq_nr, skipped.offset);
        tracing::error!(
            projection = &*self.name,
            persistence_id = id.as_str(),
            %seq_nr,
            error,
            "a projection skips an event, which is a dead letter now"
        );
        let letter = DeadLetter::new(id, seq_nr, offset, error, Timestamp::now());
        self.advance(to.clone(), Some(letter)).await?;
        self.metrics.skipped.increment(1);
        self.worker.applied(unit + 1, to);
        self.tell(|reader| {
            reader.skipped += 1;
            reader.error = None;
        });
        Ok(())
    }

    async fn advance(&self, to: Progress, letter: Option<DeadLetter>) -> Result<(), StoreError> {
        let from = self.worker.progress().clone();
        self.store.advance(self.token, Advance { slices: self.slices, from, to, letter }).await
    }

    fn interrupted(&mut self, error: &JournalError) {
        self.metrics.interruptions.increment(1);
        tracing::warn!(projection = &*self.name, %error, "a projection cannot go on for now");
        self.worker.interrupted();
        let error = error.to_string();
        self.tell(|reader| reader.error = Some(error));
    }

    fn caught_up(&self, question: u64) {
        self.metrics.lags(None);
        self.tell(|reader| {
            reader.error = None;
            reader.answered = question;
        });
    }

    /// Tells where it stands.
    fn tell(&self, change: impl FnOnce(&mut ReaderStatus)) {
        let (offset, caught_up) = (self.worker.progress().start(), self.worker.is_idle());
        self.status.send_if_modified(|status| {
            let Some(reader) = status.readers.get_mut(self.index) else { return false };
            let before = reader.clone();
            reader.offset = offset;
            reader.caught_up = caught_up;
            change(reader);
            *reader != before
        });
    }
}
