use std::collections::BTreeMap;

use annals_journal::{Epoch, EventDigest, JournalError, PersistenceId, Replayed, SeqNr, Token};
use annals_snapshot::{Snapshot, SnapshotError};

use super::finding::{Finding, Kind};
use crate::history::{Chapter, History};
use crate::stores::Stores;

/// What the check of an id found.
#[derive(Debug, Default)]
pub(super) struct Checked {
    pub(super) findings: Vec<Finding>,
    pub(super) events: u64,
    pub(super) snapshots: u64,
    /// The newest epoch of an event or a claim.
    pub(super) epoch: Epoch,
}

/// Checks an id, beside whoever writes to it.
///
/// An owner that deletes events and snapshots while they are read can make things look wrong for a moment: what is wrong must be so
/// twice.
pub(super) async fn check(stores: Stores, id: PersistenceId) -> Checked {
    let mut checked = look(&stores, &id).await;
    if !checked.findings.is_empty() {
        let again = look(&stores, &id).await;
        checked.findings.retain(|finding| again.findings.iter().any(|other| finding.is_where(other)));
    }
    checked
}

async fn look(stores: &Stores, id: &PersistenceId) -> Checked {
    let mut checked = Checked::default();
    // Snapshots before the head: one that is saved in between is of events that are there.
    let listed = stores.snapshots.list(id).await;
    let head = match stores.journal.head(id).await {
        Ok(head) => head,
        Err(error) => {
            checked.findings.push(Finding::of(id, kind_of(&error), error));
            return checked;
        }
    };
    checked.epoch = head.token.epoch;
    let snapshots = match listed {
        Ok(numbers) => load(stores, id, numbers, &mut checked).await,
        Err(error) => {
            checked.findings.push(Finding::of(id, Kind::Unavailable, error));
            BTreeMap::new()
        }
    };
    let events = events(stores, id, head.seq_nr, &snapshots, &mut checked).await;
    for (seq_nr, snapshot) in &snapshots {
        if *seq_nr > head.seq_nr {
            let what = format!(
                "the head is {:?}: the journal has lost events, or the snapshot is of another",
                head.seq_nr
            );
            checked.findings.push(Finding::at(id, *seq_nr, Kind::SnapshotAhead, what));
        } else if events.digests.get(seq_nr).is_some_and(|digest| *digest != snapshot.last_event) {
            let what =
                "the snapshot was folded from other events than the journal has; recovery passes over it";
            checked.findings.push(Finding::at(id, *seq_nr, Kind::SnapshotForeign, what));
        }
    }
    let deleted_to = head.deleted_to.max(events.deleted_to);
    let covered = snapshots.iter().any(|(seq_nr, snapshot)| {
        (deleted_to..=head.seq_nr).contains(seq_nr)
            && events.digests.get(seq_nr).is_none_or(|digest| *digest == snapshot.last_event)
    });
    if deleted_to > SeqNr::ZERO && !covered {
        let what =
            format!("events up to {deleted_to:?} were deleted, and no readable snapshot stands for them");
        checked.findings.push(Finding::at(id, deleted_to, Kind::NotRecoverable, what));
    }
    if head.token < events.token {
        let what =
            format!("the stored token {} is older than {}, that of an event", head.token, events.token);
        checked.findings.push(Finding::of(id, Kind::StaleWriter, what));
    }
    checked
}

async fn load(
    stores: &Stores,
    id: &PersistenceId,
    numbers: Vec<SeqNr>,
    checked: &mut Checked,
) -> BTreeMap<SeqNr, Snapshot> {
    let mut snapshots = BTreeMap::new();
    for number in numbers {
        checked.snapshots += 1;
        match stores.snapshots.load(id, number).await {
            Ok(Some(snapshot)) if snapshot.seq_nr == number => {
                // Its state is of no interest here, and may be large.
                snapshots.insert(number, Snapshot { payload: Default::default(), ..snapshot });
            }
            // It was deleted since it was listed.
            Ok(_) => {}
            Err(error @ SnapshotError::Corrupt { .. }) => {
                checked.findings.push(Finding::at(id, number, Kind::SnapshotUnreadable, error));
            }
            Err(error) => checked.findings.push(Finding::at(id, number, Kind::Unavailable, error)),
        }
    }
    snapshots
}

/// What the events say.
struct Events {
    /// Digests of those at which there is a snapshot.
    digests: BTreeMap<SeqNr, EventDigest>,
    /// The newest token.
    token: Token,
    deleted_to: SeqNr,
}

async fn events(
    stores: &Stores,
    id: &PersistenceId,
    head: SeqNr,
    snapshots: &BTreeMap<SeqNr, Snapshot>,
    checked: &mut Checked,
) -> Events {
    let mut events = Events { digests: BTreeMap::new(), token: Token::NONE, deleted_to: SeqNr::ZERO };
    let mut history = History::of(stores.journal.clone(), id, SeqNr::FIRST, head);
    while let Some(chapter) = history.next().await {
        match chapter {
            Chapter::Item(Replayed::Event(event)) => {
                let envelope = &event.envelope;
                checked.events += 1;
                checked.epoch = checked.epoch.max(envelope.token.epoch);
                if envelope.token < events.token {
                    let what = format!(
                        "written under token {}, behind an event of {}",
                        envelope.token, events.token
                    );
                    checked.findings.push(Finding::at(id, envelope.seq_nr, Kind::StaleWriter, what));
                }
                events.token = events.token.max(envelope.token);
                if snapshots.contains_key(&envelope.seq_nr) {
                    events.digests.insert(envelope.seq_nr, envelope.digest());
                }
            }
            Chapter::Item(Replayed::Deleted { to, .. }) => events.deleted_to = to,
            Chapter::Item(_) => {}
            Chapter::Unreadable(seq_nr, error) => {
                let kind = if error.is_missing_event() { Kind::Gap } else { Kind::Unreadable };
                let extended = checked.findings.last_mut().is_some_and(|last| last.extend(kind, seq_nr));
                if !extended {
                    checked.findings.push(Finding::at(id, seq_nr, kind, reason(error)));
                }
            }
            Chapter::Broken(error) => checked.findings.push(Finding::of(id, kind_of(&error), error)),
        }
    }
    events
}

/// The finding says id and number itself.
fn reason(error: JournalError) -> String {
    match error {
        JournalError::Corrupt { reason, .. } => reason,
        other => other.to_string(),
    }
}

fn kind_of(error: &JournalError) -> Kind {
    if matches!(error, JournalError::Corrupt { .. }) { Kind::Unreadable } else { Kind::Unavailable }
}
