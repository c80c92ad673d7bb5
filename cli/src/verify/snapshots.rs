use std::collections::BTreeMap;

use annals_journal::encryption::KeyState;
use annals_journal::{PersistenceId, SeqNr};
use annals_snapshot::{Snapshot, SnapshotError};

use super::entity::Checked;
use super::events::{Uncovered, without_key};
use super::finding::{Finding, Kind};
use crate::stores::Stores;

/// Reads an id's snapshots; with the journal's keys each is opened. Answers those that can be read, without their states.
pub(super) async fn load(
    stores: &Stores,
    id: &PersistenceId,
    numbers: Vec<SeqNr>,
    keys: Option<&KeyState>,
    checked: &mut Checked,
) -> BTreeMap<SeqNr, Snapshot> {
    let mut snapshots = BTreeMap::new();
    for number in numbers {
        checked.snapshots.all += 1;
        let stored = match stores.stored_snapshots().load(id, number).await {
            Ok(Some(snapshot)) if snapshot.seq_nr == number => snapshot,
            // It was deleted since it was listed.
            Ok(_) => continue,
            Err(error) => {
                checked.findings.push(finding(id, number, error));
                continue;
            }
        };
        // Its state is of no interest here, and may be large.
        let stored = Snapshot { payload: Default::default(), ..stored };
        match opened(stores, &stored, keys).await {
            Ok(()) => {}
            Err(Unopened::Erased) => {
                checked.snapshots.sealed += 1;
                checked.snapshots.erased += 1;
                continue;
            }
            Err(Unopened::Finding(finding)) => {
                checked.findings.push(*finding);
                continue;
            }
        }
        match stored.key_id {
            Some(_) => checked.snapshots.sealed += 1,
            None => checked.snapshots.plain += 1,
        }
        snapshots.insert(number, stored);
    }
    snapshots
}

enum Unopened {
    /// Its key was destroyed on purpose.
    Erased,
    Finding(Box<Finding>),
}

async fn opened(stores: &Stores, stored: &Snapshot, keys: Option<&KeyState>) -> Result<(), Unopened> {
    let (id, number) = (&stored.persistence_id, stored.seq_nr);
    let found = |finding| Err(Unopened::Finding(Box::new(finding)));
    if let (Some(key), Some(keys)) = (stored.key_id, keys) {
        match without_key(keys, key) {
            None => {}
            Some(Uncovered::Erased) => return Err(Unopened::Erased),
            Some(Uncovered::Missing(what)) => return found(Finding::at(id, number, Kind::NoKey, what)),
        }
    }
    if stores.sealed().is_none() || keys.is_none() {
        return Ok(());
    }
    match stores.snapshots.load(id, number).await {
        // Gone, or another is there, since it was read.
        Ok(_) => Ok(()),
        Err(SnapshotError::Erased { .. }) => Err(Unopened::Erased),
        Err(error) => found(finding(id, number, error)),
    }
}

fn finding(id: &PersistenceId, number: SeqNr, error: SnapshotError) -> Finding {
    let kind = match &error {
        SnapshotError::Corrupt { .. } => Kind::SnapshotUnreadable,
        SnapshotError::Key { .. } => Kind::NoKey,
        _ => Kind::Unavailable,
    };
    Finding::at(id, number, kind, error)
}
