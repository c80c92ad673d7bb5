use std::any::Any;
use std::time::Duration;

use annals_journal::{Head, JournalError, Replayed, SeqNr, Token, Write};
use annals_snapshot::{Snapshot, SnapshotError};

use crate::delivery::Delivery;
use crate::effect::{SideEffect, Work};
use crate::plain::ActorFailure;
use crate::{Failure, PersistentActor, RecoveryError};

/// What happened.
pub(crate) enum Input<A: PersistentActor> {
    /// A command came in.
    Command(Box<dyn Delivery<A>>),
    /// Answer to [`Action::Claim`].
    Claimed(Result<Head, JournalError>),
    /// The pause of [`Action::Rest`] is over.
    Rested,
    /// Answer to [`Action::Load`].
    Loaded(Result<Option<Snapshot>, SnapshotError>),
    /// The next item of [`Action::Replay`]; `None` at its end.
    Replayed(Result<Option<Replayed>, JournalError>),
    /// Answer to the oldest [`Action::Write`] that has none.
    Written(Result<Head, JournalError>),
    /// End of [`Action::Work`].
    Worked(WorkOutput),
    /// A child failed, and its supervision says that the entity fails with it.
    ChildFailed(ActorFailure),
    /// End of [`Action::Save`] or [`Action::Delete`].
    Saved {
        /// Whether it is done.
        stored: bool,
    },
    /// No command came for the idle time.
    Idle,
    /// No command comes any more: carry out those that wait, then stop.
    Drain,
    /// Stop: finish what was decided, refuse the rest.
    Stop,
    /// A command came in while the entity was being passivated.
    WakeAgain,
}

/// How asynchronous work ended.
pub(crate) enum WorkOutput {
    /// It yielded.
    Done(Box<dyn Any + Send>),
    /// It took longer than its limit.
    TimedOut,
    /// It panicked.
    Panicked(String),
}

/// What is to be done. Actions are performed in their order; those with an answer answer as an [`Input`].
pub(crate) enum Action<A: PersistentActor> {
    /// Claim the id.
    Claim(Token),
    /// Load the newest snapshot at or below.
    Load(SeqNr),
    /// Replay events; each item is an input. Replaces a replay that is on its way.
    Replay(SeqNr, SeqNr),
    /// Append or verify; answers come in the order of the actions.
    Write(Write),
    /// Answers to writes so far are of no interest any more.
    ForgetWrites,
    /// Do asynchronous work.
    Work(Work, Duration),
    /// Drop the work, if there is any.
    CancelWork,
    /// End its timers, watches and children.
    ClearToolkit,
    /// Send the reply, then run the side effects.
    Release(Box<dyn Delivery<A>>, Vec<SideEffect<A>>),
    /// Answer: certainly not carried out.
    Fail(Box<dyn Delivery<A>>, Failure),
    /// Answer: nobody knows.
    Unknown(Box<dyn Delivery<A>>),
    /// Answer every command in the mailbox with this failure.
    RefuseMailbox(Failure),
    /// Store a snapshot, prune behind it.
    Save(Box<Snapshot>),
    /// Delete the events up to a number: older revisions.
    Delete(SeqNr),
    /// Pause, then [`Input::Rested`].
    Rest(Duration),
    /// Once it has ended, answer its commands with the failure of the next [`Action::RefuseMailbox`] for so long.
    LeaveAlone(Duration),
    /// Recovery is over; the entity is ready.
    Ready {
        /// Events that were replayed.
        replayed: u64,
        /// The snapshot that it began with; zero: none.
        snapshot: SeqNr,
    },
    /// Say it in log and metrics.
    Report(Report),
    /// The entity has ended.
    Stop(StopReason),
}

/// Something an operator may want to know.
#[derive(Debug)]
pub(crate) enum Report {
    /// A handler, `apply` or a reply panicked, or a child failed it, and the state was thrown away.
    Panicked {
        /// Which of these.
        reason: RestartReason,
        /// The panic's message.
        message: String,
        /// How many commands were decided and not durable.
        held: usize,
        /// How long commands wait after recovery; `None`: it has panicked too often.
        pause: Option<Duration>,
    },
    /// The state was thrown away for another reason.
    Restart {
        /// Why.
        reason: RestartReason,
        /// How many commands were decided and not durable.
        held: usize,
    },
    /// A snapshot could not be used.
    UnreadableSnapshot {
        /// Which.
        seq_nr: SeqNr,
        /// Why.
        reason: String,
    },
    /// The snapshot store could not be asked; events do.
    SnapshotStoreUnavailable(String),
    /// A policy panicked, or a state could not be made into a snapshot.
    SnapshotNotTaken(String),
    /// The journal cannot be asked; recovery goes on trying.
    JournalUnavailable(String),
    /// Recovery gave up.
    RecoveryFailed(RecoveryError),
    /// The entity was erased, which is no fault.
    Erased,
    /// A command's caller had given up before it was decided.
    CallerGone,
}

/// Why a state was thrown away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RestartReason {
    Conflict,
    Superseded,
    Fenced,
    Unknown,
    Unavailable,
    Rejected,
    Panicked,
    ChildFailed,
    Corrupt,
    Erased,
}

impl RestartReason {
    pub(crate) fn label(self) -> &'static str {
        match self {
            Self::Conflict => "conflict",
            Self::Superseded => "superseded",
            Self::Fenced => "fenced",
            Self::Unknown => "unknown",
            Self::Unavailable => "unavailable",
            Self::Rejected => "rejected",
            Self::Panicked => "panic",
            Self::ChildFailed => "child",
            Self::Corrupt => "corrupt",
            Self::Erased => "erased",
        }
    }
}

/// How an entity ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum StopReason {
    /// It is idle, or asked for it.
    Passivated,
    /// The same, but commands wait: it starts again at once.
    PassivatedWhileNeeded,
    /// It or its node stops.
    Stopped,
    /// A newer epoch owns it.
    Fenced,
    /// Its history cannot be read.
    RecoveryFailed,
    /// It was erased.
    Erased,
    /// It has panicked too often.
    GivenUp,
    /// The journal cannot be asked.
    Unavailable,
}
