use std::collections::{BTreeMap, BTreeSet};

use annals_journal::{Epoch, EventDigest, JournalError, PersistenceId, Replayed, SeqNr, Token};
use annals_snapshot::{Snapshot, SnapshotError};

use super::anchor::Entry;
use super::finding::{Finding, Kind};
use crate::history::{Chapter, History};
use crate::snapshot_line::hex;
use crate::stores::Stores;

/// What the check of an id found.
#[derive(Debug, Default)]
pub(super) struct Checked {
    pub(super) findings: Vec<Finding>,
    pub(super) events: u64,
    pub(super) snapshots: u64,
    /// The newest epoch of an event or a claim.
    pub(super) epoch: Epoch,
    pub(super) head: SeqNr,
    /// Of the newest event, when there is one and it can be read.
    pub(super) digest: Option<EventDigest>,
}

/// Checks an id, beside whoever writes to it.
///
/// An owner that deletes events and snapshots while they are read can make things look wrong for a moment: what is wrong must be so
/// twice.
pub(super) async fn check(stores: Stores, id: PersistenceId, anchored: Option<Entry>) -> Checked {
    let mut checked = look(&stores, &id, anchored.as_ref()).await;
    if !checked.findings.is_empty() {
        let again = look(&stores, &id, anchored.as_ref()).await;
        checked.findings.retain(|finding| again.findings.iter().any(|other| finding.is_where(other)));
    }
    checked
}

async fn look(stores: &Stores, id: &PersistenceId, anchored: Option<&Entry>) -> Checked {
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
    let mut wanted: BTreeSet<SeqNr> = snapshots.keys().copied().chain([head.seq_nr]).collect();
    wanted.extend(anchored.and_then(|entry| SeqNr::new(entry.head)));
    let events = events(stores, id, head.seq_nr, &wanted, &mut checked).await;
    checked.head = head.seq_nr;
    checked.digest = events.digests.get(&head.seq_nr).copied();
    if let Some(entry) = anchored {
        checked.findings.extend(went_back(id, entry, head.seq_nr, &events));
    }
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

/// What an anchor knows better than the journal.
fn went_back(id: &PersistenceId, entry: &Entry, head: SeqNr, events: &Events) -> Option<Finding> {
    let at = SeqNr::new(entry.head)?;
    if head < at {
        let what = format!(
            "the anchor has seen {at:?}, the head is {head:?}: an older copy was put back, or the end is lost"
        );
        return Some(Finding::at(id, at, Kind::WentBack, what));
    }
    // One that was deleted since, or cannot be read, is not told anything by its digest.
    let found = events.digests.get(&at).map(|digest| hex(&digest.0))?;
    (entry.digest.as_ref().is_some_and(|digest| *digest != found)).then(|| {
        let what = "it is another event than the anchor has seen: an older copy was put back, and went on from there";
        Finding::at(id, at, Kind::WentBack, what)
    })
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
    /// Digests of those that were asked for.
    digests: BTreeMap<SeqNr, EventDigest>,
    /// The newest token.
    token: Token,
    deleted_to: SeqNr,
}

async fn events(
    stores: &Stores,
    id: &PersistenceId,
    head: SeqNr,
    wanted: &BTreeSet<SeqNr>,
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
                if wanted.contains(&envelope.seq_nr) {
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
