use annals_journal::{Offset, SliceRange, Timestamp};

use crate::progress::Progress;

/// Where a projection stands.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Status {
    /// What it is doing.
    pub phase: Phase,
    /// Its readers, in the order of their slices; empty before the first start.
    pub readers: Vec<ReaderStatus>,
}

/// What a projection is doing.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Phase {
    /// It takes its progress over, from whoever had it before. The last try may have failed.
    Starting {
        /// Why it is tried again.
        error: Option<String>,
    },
    /// It projects.
    Running,
    /// Somebody paused it, perhaps in another process; it stays so until it is resumed.
    Paused,
    /// A newer instance has it: this one does nothing any more, unless it is resumed.
    Fenced,
    /// What it made has taken the place of another projection, under whose name it goes on.
    Replaced,
    /// It met what it cannot project.
    Stopped {
        /// Which event, and why; or why it could not start.
        error: String,
    },
}

/// Where one reader stands.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ReaderStatus {
    /// Its part of the persistence ids.
    pub slices: SliceRange,
    /// Everything up to here was projected.
    pub offset: Offset,
    /// Nothing more was there at its last look.
    pub caught_up: bool,
    /// Events that were projected since it started.
    pub events: u64,
    /// Events that became dead letters since it started.
    pub skipped: u64,
    /// When the last event that it projected was decided.
    pub last_event: Option<Timestamp>,
    /// What went wrong and is being tried again.
    pub error: Option<String>,
    /// The last question after which it saw everything.
    pub(crate) answered: u64,
}

impl Status {
    pub(crate) fn starting() -> Self {
        Self { phase: Phase::Starting { error: None }, readers: Vec::new() }
    }

    /// Everything in front of here was projected, by all readers; `None` before the first start.
    pub fn offset(&self) -> Option<Offset> {
        self.readers.iter().map(|reader| reader.offset).min()
    }

    /// Whether nothing waits to be projected, as far as is known.
    pub fn is_caught_up(&self) -> bool {
        self.phase == Phase::Running && self.readers.iter().all(|reader| reader.caught_up)
    }

    /// Whether all readers have seen what was there when a question was asked.
    pub(crate) fn has_answered(&self, question: u64) -> bool {
        self.phase == Phase::Running && self.readers.iter().all(|reader| reader.answered >= question)
    }
}

impl ReaderStatus {
    pub(crate) fn new(slices: SliceRange, progress: &Progress) -> Self {
        Self {
            slices,
            offset: progress.start(),
            caught_up: false,
            events: 0,
            skipped: 0,
            last_event: None,
            error: None,
            answered: 0,
        }
    }
}
