use std::error::Error as StdError;
use std::fmt;

use crate::{PersistenceId, RecordKey, SeqNr, Token};

/// What went wrong, split by what the caller does next.
///
/// | variant | stored? | what to do |
/// |---|---|---|
/// | [`Conflict`](Self::Conflict) | no | claim, catch up, decide again |
/// | [`Fenced`](Self::Fenced) | no | stop: a newer epoch owns the id |
/// | [`Superseded`](Self::Superseded) | no | recover under a newer activation and go on |
/// | [`Rejected`](Self::Rejected) | no | change the request; the same one is refused again |
/// | [`Unknown`](Self::Unknown) | perhaps | claim under a newer activation, then read: then it is known |
/// | [`Unavailable`](Self::Unavailable) | no | try again later |
/// | [`Corrupt`](Self::Corrupt) | – | restore or repair; trying again does not help |
/// | [`Key`](Self::Key) | no | give the process the master key that the message names |
/// | [`Erased`](Self::Erased) | no | nothing: it was erased on purpose, and cannot be read again |
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum JournalError {
    /// Someone else wrote: the head is not the one that the append builds on.
    #[error("conflict: {persistence_id} is at {head}, the append expected {expected}")]
    Conflict {
        /// Which id.
        persistence_id: PersistenceId,
        /// The head that the append builds on.
        expected: SeqNr,
        /// The head that is there.
        head: SeqNr,
    },
    /// A newer epoch has claimed or written the id.
    #[error("fenced: {persistence_id} belongs to token {stored}, which is of a newer epoch than {token}")]
    Fenced {
        /// Which id.
        persistence_id: PersistenceId,
        /// The token of the request.
        token: Token,
        /// The token that is stored.
        stored: Token,
    },
    /// A newer activation of the same epoch has claimed or written the id.
    #[error("superseded: {persistence_id} was claimed by token {stored}, a newer activation than {token}")]
    Superseded {
        /// Which id.
        persistence_id: PersistenceId,
        /// The token of the request.
        token: Token,
        /// The token that is stored.
        stored: Token,
    },
    /// Certainly not stored, and the same request will be refused again.
    #[error("rejected: {what}: {reason}")]
    Rejected {
        /// What the request was about: a persistence id, or `record` and its key.
        what: String,
        /// Why, and what is allowed.
        reason: String,
    },
    /// The outcome is not known: it may be stored, or be stored later, or never.
    #[error("outcome unknown: {reason}")]
    Unknown {
        /// What happened.
        reason: String,
        /// The cause.
        #[source]
        source: Option<Cause>,
    },
    /// The journal cannot be asked now; nothing was stored.
    #[error("journal unavailable: {reason}")]
    Unavailable {
        /// What happened, and what to do about it.
        reason: String,
        /// The cause.
        #[source]
        source: Option<Cause>,
    },
    /// Stored bytes are not what was written.
    #[error("corrupt: {}{reason}", place(.persistence_id.as_ref(), *.seq_nr))]
    Corrupt {
        /// Which id, when one is concerned.
        persistence_id: Option<PersistenceId>,
        /// Which number, when one is concerned.
        seq_nr: Option<SeqNr>,
        /// What is wrong.
        reason: String,
    },
    /// A key that is needed to seal or to open is not there, or is not the right one; nothing was stored.
    #[error("key: {what}: {reason}")]
    Key {
        /// Whose key: a persistence id, a scope of keys, a master key.
        what: String,
        /// What is wrong with it, and what to do about it.
        reason: String,
    },
    /// The data key was destroyed on purpose: what it sealed can never be read again, and nothing is sealed for the id any more.
    #[error("erased: {persistence_id}{}", number(*.seq_nr))]
    Erased {
        /// Which id.
        persistence_id: PersistenceId,
        /// Which number, when one is concerned.
        seq_nr: Option<SeqNr>,
    },
}

impl JournalError {
    /// A request about `what` (a persistence id, a record) that is refused whenever it comes, and why.
    pub fn rejected(what: impl fmt::Display, reason: impl Into<String>) -> Self {
        Self::Rejected { what: what.to_string(), reason: reason.into() }
    }

    /// An outcome that is not known, with its cause.
    pub fn unknown(reason: impl Into<String>, source: impl StdError + Send + Sync + 'static) -> Self {
        Self::Unknown { reason: reason.into(), source: Some(Cause::new(source)) }
    }

    /// A journal that cannot be asked, with its cause.
    pub fn unavailable(reason: impl Into<String>, source: impl StdError + Send + Sync + 'static) -> Self {
        Self::Unavailable { reason: reason.into(), source: Some(Cause::new(source)) }
    }

    /// A stored event that is not what was written.
    pub fn corrupt(persistence_id: &PersistenceId, seq_nr: SeqNr, reason: impl ToString) -> Self {
        Self::Corrupt {
            persistence_id: Some(persistence_id.clone()),
            seq_nr: Some(seq_nr),
            reason: reason.to_string(),
        }
    }

    /// A number of which the head says that there is an event, and there is none.
    pub fn missing_event(persistence_id: &PersistenceId, seq_nr: SeqNr, found: impl fmt::Display) -> Self {
        Self::corrupt(persistence_id, seq_nr, format_args!("{MISSING}, {found}"))
    }

    /// Whether it is [`JournalError::missing_event`]: a gap, not an event that cannot be read.
    pub fn is_missing_event(&self) -> bool {
        matches!(self, Self::Corrupt { seq_nr: Some(_), reason, .. } if reason.starts_with(MISSING))
    }

    /// A key that is missing or wrong, whose it is, and what to do about it.
    pub fn key(what: impl fmt::Display, reason: impl Into<String>) -> Self {
        Self::Key { what: what.to_string(), reason: reason.into() }
    }

    /// A stored record that is not what was written.
    pub(crate) fn corrupt_record(key: &RecordKey, reason: impl fmt::Display) -> Self {
        Self::Corrupt { persistence_id: None, seq_nr: None, reason: format!("record {key}: {reason}") }
    }

    /// What a claim or append under `token` meets when `stored` is newer: fenced or superseded.
    pub fn outranked(persistence_id: &PersistenceId, token: Token, stored: Token) -> Self {
        let persistence_id = persistence_id.clone();
        if stored.epoch > token.epoch {
            Self::Fenced { persistence_id, token, stored }
        } else {
            Self::Superseded { persistence_id, token, stored }
        }
    }

    /// The variant's name in lower case, for metrics.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Conflict { .. } => "conflict",
            Self::Fenced { .. } => "fenced",
            Self::Superseded { .. } => "superseded",
            Self::Rejected { .. } => "rejected",
            Self::Unknown { .. } => "unknown",
            Self::Unavailable { .. } => "unavailable",
            Self::Corrupt { .. } => "corrupt",
            Self::Key { .. } => "key",
            Self::Erased { .. } => "erased",
        }
    }
}

/// The error behind an error, shared so that one failed commit can answer everyone that was part of it.
#[derive(Clone)]
pub struct Cause(std::sync::Arc<dyn StdError + Send + Sync>);

impl Cause {
    /// Takes an error as cause.
    pub fn new(source: impl StdError + Send + Sync + 'static) -> Self {
        Self(std::sync::Arc::new(source))
    }
}

impl fmt::Debug for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl StdError for Cause {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.0.source()
    }
}

fn place(id: Option<&PersistenceId>, seq_nr: Option<SeqNr>) -> String {
    match (id, seq_nr) {
        (Some(id), Some(seq_nr)) => format!("{id} {seq_nr:?}: "),
        (Some(id), None) => format!("{id}: "),
        _ => String::new(),
    }
}

const MISSING: &str = "the event is missing";

fn number(seq_nr: Option<SeqNr>) -> String {
    seq_nr.map(|seq_nr| format!(" {seq_nr:?}")).unwrap_or_default()
}
