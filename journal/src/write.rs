#[cfg(doc)]
use crate::Journal;
use crate::{Envelope, JournalError, Limits, MarkChange, PersistenceId, SeqNr, Token};

/// One entry of [`Journal::write`].
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Write {
    /// Store events.
    Append(AtomicWrite),
    /// Take an id over: raise its token without an event.
    Claim {
        /// Which id.
        persistence_id: PersistenceId,
        /// The new owner's token.
        token: Token,
    },
    /// Check that a token is still the newest.
    Verify {
        /// Which id.
        persistence_id: PersistenceId,
        /// The token that should be stored.
        token: Token,
    },
    /// Change an id's mark without an event, by the owner of the newest token.
    Mark {
        /// Which id.
        persistence_id: PersistenceId,
        /// The token that should be stored.
        token: Token,
        /// What is changed.
        change: MarkChange,
    },
}

impl Write {
    /// The id that is written.
    pub fn persistence_id(&self) -> &PersistenceId {
        match self {
            Self::Append(append) => &append.persistence_id,
            Self::Claim { persistence_id, .. }
            | Self::Verify { persistence_id, .. }
            | Self::Mark { persistence_id, .. } => persistence_id,
        }
    }

    /// The token under which it is written.
    pub fn token(&self) -> Token {
        match self {
            Self::Append(append) => append.token,
            Self::Claim { token, .. } | Self::Verify { token, .. } | Self::Mark { token, .. } => *token,
        }
    }

    /// About how many bytes it puts into a commit.
    pub fn size(&self) -> usize {
        const OVERHEAD: usize = 128;
        match self {
            Self::Append(append) => append.events.iter().map(|event| event.payload.len() + OVERHEAD).sum(),
            Self::Claim { .. } | Self::Verify { .. } | Self::Mark { .. } => OVERHEAD,
        }
    }
}

/// Events of one id that are stored all or none (I3).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AtomicWrite {
    /// Which id.
    pub persistence_id: PersistenceId,
    /// The head that this append builds on.
    pub expected: SeqNr,
    /// The writer's token.
    pub token: Token,
    /// At least one, numbered from `expected + 1`, each naming the id and the token above.
    pub events: Vec<Envelope>,
    /// A change of the id's mark in the same step; `None` leaves it as it is.
    pub mark: Option<MarkChange>,
}

impl AtomicWrite {
    /// The number of the last event; `expected` when there is none.
    pub fn last(&self) -> SeqNr {
        self.expected.plus(self.events.len() as u64)
    }

    /// Checks what every backend must refuse before it looks at its store.
    ///
    /// # Errors
    /// [`JournalError::Rejected`] with the reason.
    pub fn check(&self, limits: Limits) -> Result<(), JournalError> {
        let Self { persistence_id, expected, token, events, mark } = self;
        let rejected = |reason: String| Err(JournalError::rejected(persistence_id, reason));
        if mark.is_some() && !limits.marks {
            return rejected("the journal keeps a mark of its own beside this id".into());
        }
        if events.is_empty() {
            return rejected("an append needs at least one event".into());
        }
        if events.len() > limits.max_events {
            return rejected(format!(
                "{} events in one append, at most {} are allowed",
                events.len(),
                limits.max_events
            ));
        }
        let mut number = *expected;
        for event in events {
            number = number.next();
            if event.seq_nr != number || number == *expected {
                return rejected(format!("event {:?} stands where {number:?} belongs", event.seq_nr));
            }
            if event.persistence_id != *persistence_id || event.token != *token {
                return rejected(format!("event {number:?} names another id or token than its append"));
            }
            limits.check(event)?;
        }
        Ok(())
    }
}
