use annals_journal::encryption::{SealedStates, StatesSealed};
use annals_journal::{JournalError, KeyId, PersistenceId, SeqNr};
use async_trait::async_trait;

use super::SealedSnapshots;
use crate::{Snapshot, SnapshotError, SnapshotStore as _};

#[async_trait]
impl SealedStates for SealedSnapshots {
    async fn seal_again(
        &self,
        id: &PersistenceId,
        target: KeyId,
        plain: bool,
    ) -> Result<StatesSealed, JournalError> {
        let mut done = StatesSealed::default();
        for seq_nr in self.inner.list(id).await.map_err(of_journal)? {
            match self.seal_one_again(id, seq_nr, target, plain).await {
                Ok(sealed) => done.sealed += u64::from(sealed),
                Err(SnapshotError::Corrupt { reason, .. }) => done.unreadable.push((seq_nr, reason)),
                Err(error) => return Err(of_journal(error)),
            }
        }
        Ok(done)
    }
}

impl SealedSnapshots {
    async fn seal_one_again(
        &self,
        id: &PersistenceId,
        seq_nr: SeqNr,
        target: KeyId,
        plain: bool,
    ) -> Result<bool, SnapshotError> {
        // It may be deleted meanwhile; what is loaded then is another, whose turn it is not.
        let Some(stored) = self.inner.load(id, seq_nr).await?.filter(|found| found.seq_nr == seq_nr) else {
            return Ok(false);
        };
        let is_due = stored.key_id.map_or(plain, |generation| generation < target);
        if !is_due {
            return Ok(false);
        }
        let opened = self.open(stored).await?;
        // Whoever prunes snapshots does not want it back.
        if !self.inner.list(id).await?.contains(&seq_nr) {
            return Ok(false);
        }
        self.save(Snapshot { key_id: None, ..opened }).await?;
        Ok(true)
    }
}

/// What a snapshot's error is to who asked the journal's keys.
fn of_journal(error: SnapshotError) -> JournalError {
    match error {
        SnapshotError::Erased { persistence_id, .. } => JournalError::Erased { persistence_id, seq_nr: None },
        SnapshotError::Rejected { persistence_id, reason, .. } => {
            JournalError::rejected(persistence_id, reason)
        }
        SnapshotError::Key { persistence_id, reason, .. } => JournalError::key(persistence_id, reason),
        other => JournalError::unavailable(other.to_string(), other),
    }
}
