use std::fmt;
use std::time::Duration;

use annals_journal::PersistenceId;
use annals_journal::testing::{Call, Gate, Order};

/// Something that a snapshot store was asked.
pub type SnapshotCall = Call<SnapshotOperation>;

/// What a snapshot store can be asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum SnapshotOperation {
    /// [`SnapshotStore::save`](crate::SnapshotStore::save).
    Save,
    /// [`SnapshotStore::load`](crate::SnapshotStore::load).
    Load,
    /// [`SnapshotStore::delete`](crate::SnapshotStore::delete).
    Delete,
    /// [`SnapshotStore::list`](crate::SnapshotStore::list).
    List,
}

impl SnapshotOperation {
    pub(super) const ALL: &[Self] = &[Self::Save, Self::Load, Self::Delete, Self::List];
}

impl fmt::Display for SnapshotOperation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Save => "save",
            Self::Load => "load",
            Self::Delete => "delete",
            Self::List => "list",
        })
    }
}

/// What a [`FaultySnapshots`](super::FaultySnapshots) answers.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub enum SnapshotAnswer {
    /// What the store behind it says.
    #[default]
    Truth,
    /// [`Unavailable`](crate::SnapshotError::Unavailable): not done.
    Unavailable,
    /// The same, but it was done.
    UnavailableButDone,
    /// [`Rejected`](crate::SnapshotError::Rejected) with this reason. Only of saves; others get the truth.
    Rejected(String),
    /// The snapshot is saved, and is [`Corrupt`](crate::SnapshotError::Corrupt) for every load until it is saved again. Only of
    /// saves; others get the truth.
    Torn,
}

/// Says what becomes of the next call to a snapshot store: first of which one (the next, if nothing is said), then what.
///
/// As [`Order`] is to a journal; the same rules say which of several is carried out.
#[must_use = "an order is given when it says what happens: `.fails_unavailable()`, `.takes(…)`…"]
#[derive(Debug)]
pub struct SnapshotOrder(pub(super) Order<SnapshotOperation, SnapshotAnswer>);

impl SnapshotOrder {
    /// Only calls about this id.
    pub fn of(self, id: &PersistenceId) -> Self {
        Self(self.0.of(id))
    }

    /// So many calls; default one. 0 counts as one.
    pub fn times(self, calls: u64) -> Self {
        Self(self.0.times(calls))
    }

    /// All calls, until the orders are cleared.
    pub fn always(self) -> Self {
        Self(self.0.always())
    }

    /// Lets so many calls that fit pass before.
    pub fn skip(self, calls: u64) -> Self {
        Self(self.0.skip(calls))
    }

    /// The call waits so long before it goes on.
    pub fn delayed(self, delay: Duration) -> Self {
        Self(self.0.delayed(delay))
    }

    /// Gives the order: the call takes so long, and is then carried out.
    pub fn takes(self, time: Duration) {
        self.0.takes(time);
    }

    /// Gives the order: the call is carried out at once, its answer takes so long.
    pub fn answers_after(self, time: Duration) {
        self.0.answers_after(time);
    }

    /// Gives the order: the call waits until the gate lets it pass, and is then carried out.
    pub fn waits(self) -> Gate {
        self.0.waits()
    }

    /// Gives the order: the call is answered this.
    pub fn answers(self, answer: SnapshotAnswer) {
        self.0.answers(answer);
    }

    /// Gives the order: the store [cannot be asked](crate::SnapshotError::Unavailable), and does nothing.
    pub fn fails_unavailable(self) {
        self.answers(SnapshotAnswer::Unavailable);
    }

    /// Gives the order: the same to the caller, but it was done.
    pub fn fails_though_done(self) {
        self.answers(SnapshotAnswer::UnavailableButDone);
    }

    /// Gives the order: a save is [refused](crate::SnapshotError::Rejected), whenever it comes again.
    pub fn is_rejected(self, reason: impl Into<String>) {
        self.answers(SnapshotAnswer::Rejected(reason.into()));
    }

    /// Gives the order: a snapshot is saved, and [cannot be read](crate::SnapshotError::Corrupt) until it is saved again.
    pub fn is_torn(self) {
        self.answers(SnapshotAnswer::Torn);
    }
}
