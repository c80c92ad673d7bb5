use std::collections::BTreeSet;

use annals_journal::PersistenceId;
use annals_snapshot::{Snapshot, SnapshotError};

use super::copier::{Copy, CopyReport};
use super::error::CopyError;
use super::side::Side;

impl Copy {
    /// The target has the snapshots of the source, and no other. One that cannot be read is left out, as recovery does.
    pub(super) async fn copy_snapshots(
        &self,
        id: &PersistenceId,
        report: &mut CopyReport,
    ) -> Result<(), CopyError> {
        let wanted = self.from.snapshots.list(id).await?;
        let found: BTreeSet<_> = self.to.snapshots.list(id).await?.into_iter().collect();
        let mut kept = BTreeSet::new();
        for number in wanted {
            let Some(snapshot) = load(&self.from, id, number).await? else { continue };
            kept.insert(number);
            if found.contains(&number)
                && load(&self.to, id, number)
                    .await?
                    .is_some_and(|there| self.is_same_state(&there, &snapshot))
            {
                continue;
            }
            self.to.snapshots.save(snapshot).await?;
            report.snapshots += 1;
        }
        for number in found.difference(&kept) {
            self.to.snapshots.delete(id, *number..=*number).await?;
        }
        Ok(())
    }

    fn is_same_state(&self, there: &Snapshot, here: &Snapshot) -> bool {
        there == here
            || (self.reseals
                && Snapshot { key_id: None, ..there.clone() } == Snapshot { key_id: None, ..here.clone() })
    }
}

async fn load(
    side: &Side,
    id: &PersistenceId,
    number: annals_journal::SeqNr,
) -> Result<Option<Snapshot>, CopyError> {
    match side.snapshots.load(id, number).await {
        Ok(found) => Ok(found.filter(|snapshot| snapshot.seq_nr == number)),
        Err(SnapshotError::Corrupt { .. } | SnapshotError::Erased { .. }) => Ok(None),
        Err(error) => Err(error.into()),
    }
}
