use std::collections::{BTreeMap, BTreeSet};

use annals_journal::encryption::{Fault, FaultKind, HistoryCheck, KeyState, Sound};
use annals_journal::{
    Envelope, EventDigest, Head, JournalError, KeyId, PersistenceId, Replayed, SeqNr, Token,
};
use annals_migrations::is_whole_state;

use super::entity::{Checked, kind_of};
use super::finding::{Finding, Kind};
use crate::history::{Chapter, History};
use crate::stores::Stores;

/// What the events say.
pub(super) struct Events {
    /// Digests of those that were asked for.
    pub(super) digests: BTreeMap<SeqNr, EventDigest>,
    /// The newest token.
    pub(super) token: Token,
    pub(super) deleted_to: SeqNr,
    /// The newest is the whole state: nothing before it is needed.
    pub(super) end_in_whole_state: bool,
    /// The first and the last that are in the clear.
    pub(super) plain: Option<[SeqNr; 2]>,
}

/// Reads every event of an id as it is stored; with the journal's keys each is opened, and its place in the chain is checked.
pub(super) async fn events(
    stores: &Stores,
    id: &PersistenceId,
    head: Head,
    keys: Option<KeyState>,
    wanted: &BTreeSet<SeqNr>,
    checked: &mut Checked,
) -> Events {
    let mut events = Events {
        digests: BTreeMap::new(),
        token: Token::NONE,
        deleted_to: SeqNr::ZERO,
        end_in_whole_state: false,
        plain: None,
    };
    let mut seals = match stores.sealed() {
        Some(sealed) => Seals::Checked(Box::new(sealed.check(id, head, keys))),
        None => Seals::Covered(keys),
    };
    let mut history = History::of(stores.stored_journal().clone(), id, SeqNr::FIRST, head.seq_nr);
    while let Some(chapter) = history.next().await {
        match chapter {
            Chapter::Item(Replayed::Event(event)) => {
                let envelope = &event.envelope;
                count(envelope, &mut events, checked);
                if envelope.token < events.token {
                    let what = format!(
                        "written under token {}, behind an event of {}",
                        envelope.token, events.token
                    );
                    checked.findings.push(Finding::at(id, envelope.seq_nr, Kind::StaleWriter, what));
                }
                events.token = events.token.max(envelope.token);
                events.end_in_whole_state =
                    envelope.seq_nr == head.seq_nr && is_whole_state(id.kind(), &envelope.manifest);
                if wanted.contains(&envelope.seq_nr) {
                    events.digests.insert(envelope.seq_nr, envelope.digest());
                }
                seals.event(id, envelope, checked).await;
            }
            Chapter::Item(Replayed::Deleted { to, .. }) => {
                events.deleted_to = to;
                seals.deleted(id, to, checked).await;
            }
            Chapter::Item(_) => {}
            Chapter::Unreadable(seq_nr, error) => {
                let kind = if error.is_missing_event() { Kind::Gap } else { Kind::Unreadable };
                checked.findings.push(Finding::at(id, seq_nr, kind, reason(error)));
                seals.missing();
            }
            Chapter::Broken(error) => {
                checked.findings.push(Finding::of(id, kind_of(&error), error));
                return events;
            }
        }
    }
    seals.end(id, head.seq_nr, checked).await;
    events
}

fn count(envelope: &Envelope, events: &mut Events, checked: &mut Checked) {
    checked.events.all += 1;
    checked.epoch = checked.epoch.max(envelope.token.epoch);
    if envelope.key_id.is_some() {
        checked.events.sealed += 1;
        return;
    }
    checked.events.plain += 1;
    let first = events.plain.map_or(envelope.seq_nr, |[first, _]| first);
    events.plain = Some([first, envelope.seq_nr]);
}

/// What can be said about the seals of an id's events.
enum Seals {
    /// With keys: everything.
    Checked(Box<HistoryCheck>),
    /// Without: whether there is a key; `None`: that cannot be read.
    Covered(Option<KeyState>),
}

impl Seals {
    async fn event(&mut self, id: &PersistenceId, event: &Envelope, checked: &mut Checked) {
        match self {
            Self::Checked(check) => match check.event(event).await {
                Ok(Sound::Erased) => checked.events.erased += 1,
                Ok(_) => {}
                Err(faults) => {
                    for fault in faults {
                        checked.findings.push(finding(id, event.seq_nr, fault));
                    }
                }
            },
            Self::Covered(keys) => match event.key_id.and_then(|key| without_key(keys.as_ref()?, key)) {
                None => {}
                Some(Uncovered::Erased) => checked.events.erased += 1,
                Some(Uncovered::Missing(what)) => {
                    checked.findings.push(Finding::at(id, event.seq_nr, Kind::NoKey, what));
                }
            },
        }
    }

    fn missing(&mut self) {
        if let Self::Checked(check) = self {
            check.missing();
        }
    }

    async fn deleted(&mut self, id: &PersistenceId, to: SeqNr, checked: &mut Checked) {
        if let Self::Checked(check) = self
            && let Err(fault) = check.deleted(to).await
        {
            checked.findings.push(finding(id, to, fault));
        }
    }

    async fn end(self, id: &PersistenceId, head: SeqNr, checked: &mut Checked) {
        if let Self::Checked(check) = self
            && let Err(fault) = check.end().await
        {
            checked.findings.push(finding(id, head, fault));
        }
    }
}

/// Why a generation of an id's data key opens nothing.
pub(super) enum Uncovered {
    /// It was destroyed on purpose.
    Erased,
    Missing(String),
}

/// `None`: the key record has the generation.
pub(super) fn without_key(keys: &KeyState, key: KeyId) -> Option<Uncovered> {
    if keys.has_erased(key) {
        return Some(Uncovered::Erased);
    }
    let missing = || {
        let record = if matches!(keys, KeyState::None) {
            "there is no key record of this id".to_owned()
        } else {
            format!("the key record of this id has no generation {key}")
        };
        Uncovered::Missing(format!("{record}: restore the records from a backup"))
    };
    (!keys.opens(key)).then(missing)
}

fn finding(id: &PersistenceId, at: SeqNr, Fault { kind, error }: Fault) -> Finding {
    let kind = match kind {
        FaultKind::Unreadable => Kind::Unreadable,
        FaultKind::NoKey => Kind::NoKey,
        FaultKind::BrokenChain => Kind::BrokenChain,
        FaultKind::CutOff => Kind::CutOff,
        _ => Kind::Unavailable,
    };
    Finding::at(id, at, kind, reason(error))
}

/// The finding says id and number itself.
fn reason(error: JournalError) -> String {
    match error {
        JournalError::Corrupt { reason, .. } | JournalError::Key { reason, .. } => reason,
        other => other.to_string(),
    }
}
