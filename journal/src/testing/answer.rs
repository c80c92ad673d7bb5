use std::time::Duration;

/// What a [`FaultyJournal`](super::FaultyJournal) answers.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub enum JournalAnswer {
    /// What the journal behind it says.
    #[default]
    Truth,
    /// [`Unavailable`](crate::JournalError::Unavailable): not stored.
    Unavailable(String),
    /// [`Unknown`](crate::JournalError::Unknown), and what really happened.
    Unknown(Outcome),
    /// [`Rejected`](crate::JournalError::Rejected), with this reason: not stored.
    Rejected(String),
    /// [`Corrupt`](crate::JournalError::Corrupt), with this reason.
    Corrupt(String),
    /// [`Conflict`](crate::JournalError::Conflict), though nobody else wrote. Only of appends; others get the truth.
    Conflict,
    /// A newer epoch claims the id just before, so that the journal itself says [`Fenced`](crate::JournalError::Fenced). Only of
    /// writes; others get the truth.
    Fenced,
    /// The same with a newer activation of the same epoch: [`Superseded`](crate::JournalError::Superseded).
    Superseded,
    /// The call panics with this message.
    Panic(String),
    /// [`Unavailable`](crate::JournalError::Unavailable), which promises that nothing is stored, and what really happened: a lie that no
    /// sound journal tells. Only of writes; others get the truth.
    FalselyUnavailable(Outcome),
    /// The list of answers is too short by one, as no sound journal's is. Only of writes; others get the truth.
    TooFewAnswers,
}

/// What really happens to something whose outcome its caller does not know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It was stored at once; only the answer was lost.
    Stored,
    /// It never will be; the request was lost.
    NotStored,
    /// It reaches the journal so much later. Whether it is stored then depends on whether a newer token has claimed the id
    /// meanwhile.
    Late(Duration),
}
