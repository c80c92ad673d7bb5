use std::fmt;

use async_trait::async_trait;

use crate::{JournalError, KeyId, PersistenceId, SeqNr};

/// What is sealed under an id's data key beside its events: the snapshots. No generation of a key is destroyed before they are asked.
#[async_trait]
pub trait SealedStates: fmt::Debug + Send + Sync + 'static {
    /// Seals again under the id's newest key whatever of it is sealed under a generation before `target`, and with `plain` also what is in
    /// the clear.
    ///
    /// `Ok`: what was stored when it was called, and is not among [`StatesSealed::unreadable`], is under `target` or a later generation. What is
    /// saved later by anybody must be so too once that is answered.
    ///
    /// # Errors
    /// What the store and the keys answer; do it again.
    async fn seal_again(
        &self,
        id: &PersistenceId,
        target: KeyId,
        plain: bool,
    ) -> Result<StatesSealed, JournalError>;
}

/// What became of an id's states.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StatesSealed {
    /// How many were sealed again.
    pub sealed: u64,
    /// Those that cannot be read, each with the reason; they are as they were.
    pub unreadable: Vec<(SeqNr, String)>,
}

/// Where there are no snapshots.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NoStates;

#[async_trait]
impl SealedStates for NoStates {
    async fn seal_again(&self, _: &PersistenceId, _: KeyId, _: bool) -> Result<StatesSealed, JournalError> {
        Ok(StatesSealed::default())
    }
}
