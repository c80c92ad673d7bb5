use std::collections::{BTreeMap, BTreeSet};

use annals_journal::encryption::KeyState;
use annals_journal::{Epoch, EventDigest, Head, JournalError, PersistenceId, SeqNr};
use annals_snapshot::Snapshot;

use super::anchor::Entry;
use super::events::{Events, events};
use super::finding::{Finding, Findings, Kind};
use super::snapshots;
use crate::snapshot_line::hex;
use crate::stores::Stores;

/// What the check of an id found.
#[derive(Debug)]
pub(super) struct Checked {
    pub(super) findings: Findings,
    pub(super) events: Count,
    pub(super) snapshots: Count,
    /// Whether its data key was destroyed on purpose.
    pub(super) erased: bool,
    /// The newest epoch of an event or a claim.
    pub(super) epoch: Epoch,
    pub(super) head: Head,
    /// Of the newest event, when there is one and it can be read.
    pub(super) digest: Option<EventDigest>,
    /// The highest generation of its data key.
    pub(super) generation: u32,
    /// The last of them that was destroyed on purpose.
    pub(super) erased_to: u32,
}

impl Default for Checked {
    fn default() -> Self {
        Self {
            findings: Findings::default(),
            events: Count::default(),
            snapshots: Count::default(),
            erased: false,
            epoch: Epoch(0),
            head: Head::EMPTY,
            digest: None,
            generation: 0,
            erased_to: 0,
        }
    }
}

/// How many there are, sealed and not.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Count {
    pub(super) all: u64,
    pub(super) sealed: u64,
    /// Those that can be read and are not sealed.
    pub(super) plain: u64,
    /// Sealed with a key that was destroyed on purpose.
    pub(super) erased: u64,
}

/// How ids are checked.
#[derive(Debug, Clone, Copy)]
pub(super) struct Strictness {
    pub(super) refuse_plaintext: bool,
}

/// Checks an id, beside whoever writes to it.
///
/// An owner that deletes events and snapshots while they are read can make things look wrong for a moment: what is wrong must be so
/// twice.
pub(super) async fn check(
    stores: Stores,
    id: PersistenceId,
    anchored: Option<Entry>,
    strictness: Strictness,
) -> Checked {
    let mut checked = look(&stores, &id, anchored.as_ref(), strictness).await;
    if !checked.findings.is_empty() {
        let again = look(&stores, &id, anchored.as_ref(), strictness).await;
        checked.findings = checked.findings.also_in(&again.findings);
    }
    checked
}

async fn look(
    stores: &Stores,
    id: &PersistenceId,
    anchored: Option<&Entry>,
    strictness: Strictness,
) -> Checked {
    let mut checked = Checked::default();
    // Snapshots before the head: one that is saved in between is of events that are there.
    let listed = stores.stored_snapshots().list(id).await;
    let head = match stores.stored_journal().head(id).await {
        Ok(head) => head,
        Err(error) => {
            checked.findings.push(Finding::of(id, kind_of(&error), error));
            return checked;
        }
    };
    checked.epoch = head.token.epoch;
    checked.head = head;
    // Behind the head: a key is there before what it seals.
    let keys = keys_of(stores, id, &mut checked).await;
    checked.erased = matches!(keys, Some(KeyState::Erased { .. }));
    checked.generation = keys.as_ref().and_then(KeyState::newest).map_or(0, |newest| newest.0);
    checked.erased_to = keys.as_ref().and_then(KeyState::erased_to).map_or(0, |erased| erased.0);
    let snapshots = match listed {
        Ok(numbers) => snapshots::load(stores, id, numbers, keys.as_ref(), &mut checked).await,
        Err(error) => {
            checked.findings.push(Finding::of(id, Kind::Unavailable, error));
            BTreeMap::new()
        }
    };
    let mut wanted: BTreeSet<SeqNr> = snapshots.keys().copied().chain([head.seq_nr]).collect();
    wanted.extend(anchored.and_then(|entry| SeqNr::new(entry.head)));
    let events = events(stores, id, head, keys, &wanted, &mut checked).await;
    checked.digest = events.digests.get(&head.seq_nr).copied();
    if let Some(entry) = anchored {
        checked.findings.extend(went_back(id, entry, head, &events));
        let gone_back = key_went_back(id, entry, &checked);
        checked.findings.extend(gone_back);
    }
    compare(id, head, &snapshots, &events, &mut checked);
    if strictness.refuse_plaintext {
        checked.findings.extend(plaintext(id, &events, &snapshots));
    }
    if head.token < events.token {
        let what =
            format!("the stored token {} is older than {}, that of an event", head.token, events.token);
        checked.findings.push(Finding::of(id, Kind::StaleWriter, what));
    }
    checked
}

/// What the records say about an id's data key; `None`: they cannot be read, and that was found.
async fn keys_of(stores: &Stores, id: &PersistenceId, checked: &mut Checked) -> Option<KeyState> {
    match KeyState::read(&*stores.records, &[id]).await.pop() {
        Some(Ok(keys)) => Some(keys),
        Some(Err(error)) => {
            let corrupt = matches!(error, JournalError::Corrupt { .. });
            let kind = if corrupt { Kind::UnreadableRecord } else { Kind::Unavailable };
            checked.findings.push(Finding::of(id, kind, error));
            None
        }
        None => None,
    }
}

/// Compares snapshots with the events.
fn compare(
    id: &PersistenceId,
    head: Head,
    snapshots: &BTreeMap<SeqNr, Snapshot>,
    events: &Events,
    checked: &mut Checked,
) {
    for (seq_nr, snapshot) in snapshots {
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
    // Nobody recovers what was erased.
    if deleted_to > SeqNr::ZERO && !covered && !events.end_in_whole_state && !checked.erased {
        let what =
            format!("events up to {deleted_to:?} were deleted, and no readable snapshot stands for them");
        checked.findings.push(Finding::at(id, deleted_to, Kind::NotRecoverable, what));
    }
}

/// What is in the clear, where nothing may be.
fn plaintext(id: &PersistenceId, events: &Events, snapshots: &BTreeMap<SeqNr, Snapshot>) -> Option<Finding> {
    let snapshots = snapshots.iter().filter(|(_, snapshot)| snapshot.key_id.is_none()).map(|(at, _)| *at);
    let numbers: BTreeSet<SeqNr> = snapshots.chain(events.plain.into_iter().flatten()).collect();
    let (first, last) = (*numbers.first()?, *numbers.last()?);
    let what = "events or snapshots of these numbers can be read without a key";
    Some(Finding::between(id, first, last, Kind::Plaintext, what))
}

/// What an anchor knows better than the journal.
fn went_back(id: &PersistenceId, entry: &Entry, head: Head, events: &Events) -> Option<Finding> {
    let at = SeqNr::new(entry.head)?;
    if head.seq_nr < at {
        let what = format!(
            "the anchor has seen {at:?}, the head is {:?}: an older copy was put back, or the end is lost",
            head.seq_nr
        );
        return Some(Finding::at(id, at, Kind::WentBack, what));
    }
    if head.deleted_to.get() < entry.deleted_to {
        let what = format!(
            "the anchor has seen that events up to {} were deleted, and they are up to {:?}: an older copy was put back",
            entry.deleted_to, head.deleted_to
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

/// Generations of a data key are never taken back, also not when it is erased or made anew.
fn key_went_back(id: &PersistenceId, entry: &Entry, checked: &Checked) -> Option<Finding> {
    let Checked { generation, erased_to, .. } = checked;
    let what = if *erased_to < entry.erased_to {
        format!(
            "the anchor has seen that its data key was erased up to generation {}, and its key record says {erased_to}: an older record was put back; erase it again (from the log of erasures)",
            entry.erased_to
        )
    } else if *generation < entry.generation {
        format!(
            "the anchor has seen generation {} of its data key, and its key record knows {generation}: an older record was put back",
            entry.generation
        )
    } else {
        return None;
    };
    Some(Finding::of(id, Kind::WentBack, what))
}

pub(super) fn kind_of(error: &JournalError) -> Kind {
    if matches!(error, JournalError::Corrupt { .. }) { Kind::Unreadable } else { Kind::Unavailable }
}
