use std::fmt;

use crate::{PersistenceId, Write};

/// Something that a store was asked, and what it answered.
///
/// Shown in one line: `append account|alice #3..#4 by 2.1 → head #4`.
#[derive(Debug, Clone)]
pub struct Call<Op> {
    /// What was asked.
    pub operation: Op,
    /// Of which id, where it is about one.
    pub persistence_id: Option<PersistenceId>,
    /// Numbers, tokens, limits, for people.
    pub what: String,
    /// Entries of one list of writes have the same number; every other call has one of its own.
    pub batch: u64,
    /// What was answered; `None` while it is on its way, or when the caller has gone.
    pub answer: Option<String>,
}

/// Something that a journal was asked.
pub type JournalCall = Call<JournalOperation>;

/// What a journal can be asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum JournalOperation {
    /// [`Write::Append`].
    Append,
    /// [`Write::Claim`].
    Claim,
    /// [`Write::Verify`].
    Verify,
    /// [`Write::Mark`].
    Mark,
    /// [`Journal::replay`](crate::Journal::replay).
    Replay,
    /// [`Journal::head`](crate::Journal::head).
    Head,
    /// [`Journal::delete_to`](crate::Journal::delete_to).
    DeleteTo,
    /// [`Journal::replace`](crate::Journal::replace).
    Replace,
    /// [`Journal::events_by_tag`](crate::Journal::events_by_tag).
    EventsByTag,
    /// [`Journal::events_by_slice`](crate::Journal::events_by_slice).
    EventsBySlice,
    /// [`Journal::persistence_ids`](crate::Journal::persistence_ids).
    PersistenceIds,
}

impl JournalOperation {
    pub(super) const ALL: &[Self] = &[
        Self::Append,
        Self::Claim,
        Self::Verify,
        Self::Mark,
        Self::Replay,
        Self::Head,
        Self::DeleteTo,
        Self::Replace,
        Self::EventsByTag,
        Self::EventsBySlice,
        Self::PersistenceIds,
    ];
    pub(super) const WRITES: &[Self] = &[Self::Append, Self::Claim, Self::Verify, Self::Mark];
    pub(super) const READS: &[Self] =
        &[Self::Head, Self::EventsByTag, Self::EventsBySlice, Self::PersistenceIds];
}

impl fmt::Display for JournalOperation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Append => "append",
            Self::Claim => "claim",
            Self::Verify => "verify",
            Self::Mark => "mark",
            Self::Replay => "replay",
            Self::Head => "head",
            Self::DeleteTo => "delete",
            Self::Replace => "replace",
            Self::EventsByTag => "events by tag",
            Self::EventsBySlice => "events by slice",
            Self::PersistenceIds => "persistence ids",
        })
    }
}

impl<Op> Call<Op> {
    /// A call that has not been answered yet.
    pub fn new(operation: Op, persistence_id: Option<&PersistenceId>, what: impl Into<String>) -> Self {
        Self { operation, persistence_id: persistence_id.cloned(), what: what.into(), batch: 0, answer: None }
    }
}

impl JournalCall {
    pub(super) fn write(write: &Write) -> Self {
        let token = write.token();
        let (operation, what) = match write {
            Write::Append(append) => {
                let (first, last) = (append.expected.next(), append.last());
                let numbers =
                    if last <= first { format!("{first:?}") } else { format!("{first:?}..{last:?}") };
                (JournalOperation::Append, format!("{numbers} by {token}"))
            }
            Write::Claim { .. } => (JournalOperation::Claim, format!("by {token}")),
            Write::Verify { .. } => (JournalOperation::Verify, format!("by {token}")),
            Write::Mark { .. } => (JournalOperation::Mark, format!("by {token}")),
        };
        Self::new(operation, Some(write.persistence_id()), what)
    }
}

impl<Op: fmt::Display> fmt::Display for Call<Op> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.operation)?;
        if let Some(id) = &self.persistence_id {
            write!(f, " {id}")?;
        }
        if !self.what.is_empty() {
            write!(f, " {}", self.what)?;
        }
        match &self.answer {
            Some(answer) => write!(f, " → {answer}"),
            None => f.write_str(" (no answer yet)"),
        }
    }
}
