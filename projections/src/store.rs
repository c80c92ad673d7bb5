//! What a projection is kept in: its progress, its dead letters, and what its handler makes.

use std::ops::Range;
use std::sync::Arc;

use annals_journal::{JournalError, SliceRange};
use async_trait::async_trait;

use crate::DeadLetter;
use crate::batch::{Batch, Part};
use crate::progress::Progress;

/// Keeps one projection.
///
/// Whoever claims it has a token above all before; whatever comes under an older one is [`StoreError::Fenced`], and changes nothing.
#[async_trait]
pub(crate) trait Store<E>: Send + Sync + 'static {
    /// Takes the projection over, and cuts its progress into these ranges of slices. `resume`: it is not paused any more.
    async fn claim(&self, ranges: &[SliceRange], resume: bool) -> Result<Claimed, StoreError>;

    /// The progress of a range that was claimed.
    async fn progress(&self, token: u64, slices: SliceRange) -> Result<Progress, StoreError>;

    /// Hands a work's units to the handler, and moves the progress, where that is still the work's.
    async fn apply(&self, token: u64, work: Work<E>) -> Result<Applied, StoreError>;

    /// Moves the progress of a range, with a dead letter or without.
    async fn advance(&self, token: u64, advance: Advance) -> Result<(), StoreError>;

    /// Notes that it is paused.
    async fn pause(&self, token: u64) -> Result<(), StoreError>;

    /// Puts everything to the beginning: what the handler made, progress, dead letters.
    async fn reset(&self, token: u64) -> Result<(), StoreError>;

    /// Has what this projection made take the place of what another one made, and of its progress; whoever has the other one is fenced, and
    /// this one is no more.
    async fn replace(&self, token: u64, other: &str) -> Result<(), StoreError>;

    /// The events that were skipped, oldest first.
    async fn dead_letters(&self) -> Result<Vec<DeadLetter>, StoreError>;
}

/// A projection that was taken over.
#[derive(Debug)]
pub(crate) struct Claimed {
    pub(crate) token: u64,
    pub(crate) paused: bool,
    /// One for each range that was asked for.
    pub(crate) progress: Vec<Progress>,
}

/// Units of a batch for the handler.
pub(crate) struct Work<E> {
    pub(crate) slices: SliceRange,
    pub(crate) batch: Arc<Batch<E>>,
    pub(crate) units: Range<usize>,
    /// As it is stored.
    pub(crate) from: Progress,
    /// Once all units are done.
    pub(crate) to: Progress,
}

pub(crate) struct Advance {
    pub(crate) slices: SliceRange,
    /// What is stored, to be compared with; records have a revision for that.
    #[cfg_attr(
        not(any(feature = "sqlite", feature = "postgres")),
        allow(dead_code, reason = "read where the offset is moved in a transaction")
    )]
    pub(crate) from: Progress,
    pub(crate) to: Progress,
    pub(crate) letter: Option<DeadLetter>,
}

/// What came of a [`Work`].
#[derive(Debug)]
pub(crate) struct Applied {
    /// Units in front of this one are done, and their progress is stored.
    pub(crate) end: usize,
    pub(crate) progress: Progress,
    /// What the handler could not take.
    pub(crate) failure: Option<Refused>,
}

/// The handler said no.
#[derive(Debug)]
pub(crate) struct Refused {
    pub(crate) at: Option<usize>,
    pub(crate) error: String,
}

#[derive(Debug)]
pub(crate) enum StoreError {
    /// A newer instance has the projection.
    Fenced,
    /// It may be stored or not; the journal's error says why.
    Interrupted(JournalError),
    /// It cannot work, however often it is tried.
    Refused(String),
}

impl From<JournalError> for StoreError {
    fn from(error: JournalError) -> Self {
        match error {
            JournalError::Rejected { .. } => Self::Refused(error.to_string()),
            error => Self::Interrupted(error),
        }
    }
}

impl<E> Work<E> {
    pub(crate) fn parts(&self) -> Vec<Part<'_, E>> {
        self.batch.parts(self.units.clone())
    }

    pub(crate) fn done(&self) -> Applied {
        Applied { end: self.units.end, progress: self.to.clone(), failure: None }
    }

    /// Nothing of it is stored.
    pub(crate) fn refused(&self, refused: Refused) -> Applied {
        Applied { end: self.units.start, progress: self.from.clone(), failure: Some(refused) }
    }
}

impl Refused {
    #[cfg(any(feature = "sqlite", feature = "postgres"))]
    pub(crate) fn new(at: Option<usize>, error: &annals_actors::plain::BoxError) -> Self {
        Self { at, error: error.to_string() }
    }

    pub(crate) fn panicked(panic: &(dyn std::any::Any + Send)) -> Self {
        let text = panic
            .downcast_ref::<&str>()
            .map(|text| (*text).to_owned())
            .or_else(|| panic.downcast_ref::<String>().cloned());
        Self {
            at: None,
            error: format!("the handler panicked: {}", text.as_deref().unwrap_or("without a message")),
        }
    }
}
