use std::time::Duration;

use annals_journal::{Envelope, InvalidName, JournalError, Manifest, PersistenceId, SeqNr};
use annals_migrations::{AdaptError, Versions};

use crate::plain::DeadLetterReason;

/// Why a command got no reply: three different things, because the caller does something different after each.
///
/// | variant | was anything stored? | what to do next |
/// |---|---|---|
/// | [`Rejected`](Self::Rejected) | no | the domain said no: tell the user, do not repeat |
/// | [`Failed`](Self::Failed) | no | the command was certainly not carried out: repeat it later, see [`Failure::is_transient`] |
/// | [`Unknown`](Self::Unknown) | perhaps | ask what happened, or repeat it with a request id that makes it idempotent |
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AskError<R> {
    /// The domain says no; state and journal are untouched.
    #[error("rejected by the domain: {0:?}")]
    Rejected(R),
    /// The command was certainly not carried out.
    #[error(transparent)]
    Failed(#[from] Failure),
    /// The command may have been carried out, or may be yet.
    #[error(transparent)]
    Unknown(#[from] OutcomeUnknown),
}

/// The time limit passed while the command's events were on their way and the journal could not be asked about them.
///
/// The command may have been carried out. Repeat it only when it is idempotent (carries a request id), or read first.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "outcome unknown: {persistence_id} had decided the command, but the journal did not say in time whether it is stored"
)]
pub struct OutcomeUnknown {
    /// The entity that was asked.
    pub persistence_id: PersistenceId,
}

/// Why a command was certainly not carried out.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Failure {
    /// The entity's mailbox is full: commands arrive faster than they are carried out. Slow down and repeat.
    #[error("mailbox of {persistence_id} is full ({capacity} commands wait): slow down and repeat")]
    MailboxFull {
        /// The entity that was asked.
        persistence_id: PersistenceId,
        /// How many commands may wait.
        capacity: usize,
    },
    /// The command asked to be stashed, and the stash is full. Repeat later.
    #[error("stash of {persistence_id} is full ({capacity} commands): repeat later")]
    StashFull {
        /// The entity that was asked.
        persistence_id: PersistenceId,
        /// How many commands may be stashed.
        capacity: usize,
    },
    /// The time limit passed before the command was decided; it will not be carried out. Repeat later.
    #[error(
        "{persistence_id} did not get to the command in time; it will not be carried out: repeat it, or give the ask more time"
    )]
    TimedOut {
        /// The entity that was asked.
        persistence_id: PersistenceId,
    },
    /// The journal or snapshot store cannot be asked now. Repeat later.
    #[error("the journal cannot be reached: {reason}: repeat later")]
    JournalUnavailable {
        /// What the journal said.
        reason: String,
    },
    /// A newer owner has taken the entity over; this node no longer speaks for it. Ask the new owner.
    #[error(
        "{persistence_id} was taken over by a newer owner ({reason}): ask that one, or start this node anew"
    )]
    Fenced {
        /// The entity that was asked.
        persistence_id: PersistenceId,
        /// Which token took it.
        reason: String,
    },
    /// The entity or its node is stopping. Repeat on another node, or after the restart.
    #[error("{persistence_id} is stopping: repeat when it, or its node, has started again")]
    Stopping {
        /// The entity that was asked.
        persistence_id: PersistenceId,
    },
    /// The entity's history cannot be read; repeating does not help, an operator must look.
    #[error("{persistence_id} cannot be recovered: {reason} (not tried again for {retry_after:?})")]
    RecoveryFailed {
        /// The entity that was asked.
        persistence_id: PersistenceId,
        /// What is wrong with its history.
        reason: RecoveryError,
        /// Until then commands get this failure at once; the first one after it has the history read again.
        retry_after: Duration,
    },
    /// The entity was erased: the key of its events was destroyed on purpose, and nothing is stored for it any more. Repeating does not help.
    /// Use another id, or have a new life allowed under this one (`annals keys allow`).
    #[error(
        "{persistence_id} was erased: use another id, or allow a new life under this one with `annals keys allow` (not looked at again for {retry_after:?})"
    )]
    Erased {
        /// The entity that was asked.
        persistence_id: PersistenceId,
        /// Until then commands get this failure at once; the first one after it looks whether a new life was allowed.
        retry_after: Duration,
    },
    /// An event of the command could not be made into bytes, or is refused by the journal; state is untouched.
    #[error("the events of the command cannot be stored: {reason}")]
    NotStorable {
        /// Why.
        reason: String,
    },
    /// The handler panicked; nothing of the command was stored.
    #[error("{persistence_id} panicked while it handled the command: {message}")]
    Panicked {
        /// The entity that was asked.
        persistence_id: PersistenceId,
        /// The panic's message.
        message: String,
    },
    /// The entity's handlers panicked more often than its [restart policy](crate::Kind::restart) allows, and it left memory.
    /// Fix what the message names; other commands can be repeated when the time is over.
    #[error("{persistence_id} has panicked too often, at last: {message} (starts again in {retry_after:?})")]
    PanickedTooOften {
        /// The entity that was asked.
        persistence_id: PersistenceId,
        /// The message of the last panic.
        message: String,
        /// Until then commands get this failure at once; the first one after it starts the entity again.
        retry_after: Duration,
    },
    /// The asynchronous work before the decision took longer than its limit.
    #[error(
        "the work before the decision of {persistence_id} took longer than its limit: repeat, or raise the limit with `Kind::work_limit` or `Run::within`"
    )]
    WorkTimedOut {
        /// The entity that was asked.
        persistence_id: PersistenceId,
    },
    /// The kind is not registered with the node.
    #[error("kind {kind:?} is not registered: add `.entity::<…>()` to the node's builder")]
    NotRegistered {
        /// The kind.
        kind: &'static str,
    },
    /// The entity id breaks the rules for persistence ids.
    #[error(transparent)]
    InvalidId(#[from] InvalidName),
}

impl Failure {
    /// Whether the same command may succeed when it is repeated a little later on this node.
    pub fn is_transient(&self) -> bool {
        matches!(
            self,
            Self::MailboxFull { .. }
                | Self::StashFull { .. }
                | Self::TimedOut { .. }
                | Self::JournalUnavailable { .. }
                | Self::Stopping { .. }
                | Self::WorkTimedOut { .. }
                | Self::PanickedTooOften { .. }
        )
    }
}

impl Failure {
    /// The same, with so much time left.
    pub(crate) fn after(mut self, left: Duration) -> Self {
        if let Self::RecoveryFailed { retry_after, .. }
        | Self::Erased { retry_after, .. }
        | Self::PanickedTooOften { retry_after, .. } = &mut self
        {
            *retry_after = left;
        }
        self
    }

    /// Why a command that failed so reached nobody; `None`: it reached its handler.
    pub(crate) fn undelivered(&self) -> Option<DeadLetterReason> {
        match self {
            Self::MailboxFull { .. } => Some(DeadLetterReason::MailboxFull),
            Self::StashFull { .. } => Some(DeadLetterReason::StashFull),
            Self::Stopping { .. } => Some(DeadLetterReason::Stopped),
            Self::Fenced { .. } => Some(DeadLetterReason::Fenced),
            Self::JournalUnavailable { .. } => Some(DeadLetterReason::JournalUnavailable),
            Self::RecoveryFailed { .. } => Some(DeadLetterReason::RecoveryFailed),
            Self::Erased { .. } => Some(DeadLetterReason::Erased),
            Self::PanickedTooOften { .. } => Some(DeadLetterReason::PanickedTooOften),
            Self::Panicked { .. } | Self::NotStorable { .. } | Self::WorkTimedOut { .. } => None,
            // Only who waits can run out of time; and who was never meant has no letters.
            Self::TimedOut { .. } | Self::NotRegistered { .. } | Self::InvalidId(_) => None,
        }
    }
}

/// Why an entity's history could not be made into its state. Never answered with an empty state (I7).
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RecoveryError {
    /// Events are missing that no readable snapshot covers.
    #[error("events up to {to:?} were deleted, and no readable snapshot covers them: restore a backup")]
    EventsMissing {
        /// The last deleted number.
        to: SeqNr,
    },
    /// The journal holds something that is not what was written.
    #[error("{message}")]
    Journal {
        /// What the journal said.
        message: String,
    },
    /// The numbers of the events are not 1..n.
    #[error("event {found:?} stands where {expected:?} belongs: restore a backup")]
    Gap {
        /// The number that should have come.
        expected: SeqNr,
        /// The number that came.
        found: SeqNr,
    },
    /// A stored event cannot be made into one of this build's events.
    #[error("event {seq_nr:?} cannot be read: {message}")]
    Event {
        /// Which event.
        seq_nr: SeqNr,
        /// What it is stored as.
        manifest: Manifest,
        /// In which version.
        version: u32,
        /// The oldest and the newest version that this build reads of the manifest; `None`: it does not know it.
        reads: Option<(u32, u32)>,
        /// What the adapter said.
        message: String,
    },
    /// Applying a stored event panicked.
    #[error("applying event {seq_nr:?} panicked: {message}")]
    Panicked {
        /// Which event.
        seq_nr: SeqNr,
        /// The panic's message.
        message: String,
    },
    /// The journal was silent for longer than the recovery time limit.
    #[error("the journal was silent for longer than the recovery time limit")]
    TimedOut,
}

impl RecoveryError {
    pub(crate) fn journal(error: &JournalError) -> Self {
        Self::Journal { message: error.to_string() }
    }

    pub(crate) fn event(stored: &Envelope, versions: Vec<Versions>, error: &AdaptError) -> Self {
        let reads = versions.into_iter().find(|of| of.manifest == stored.manifest).map(|of| of.reads);
        Self::Event {
            seq_nr: stored.seq_nr,
            manifest: stored.manifest.clone(),
            version: stored.schema_version,
            reads: reads.map(|reads| (*reads.start(), *reads.end())),
            message: error.to_string(),
        }
    }
}
