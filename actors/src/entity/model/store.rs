//! The store: what `Journal` and `SnapshotStore` promise, as small as it can be said, and each promise can be broken.

use std::collections::BTreeMap;

use annals_journal::{
    AtomicWrite, Envelope, Head, JournalError, Limits, NotStored, Offset, PersistenceId, Replayed, SeqNr,
    StoredEvent, Token, Write,
};
use annals_migrations::{EventAdapter, KindAdapter};
use annals_snapshot::{Snapshot, SnapshotError};
use bytes::Bytes;

use super::ledger::{Entry, Ledger};
use crate::PersistentActor;

/// A promise that is broken on purpose, so that the model test shows that it would notice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Flaw {
    None,
    /// Tokens are not compared.
    IgnoresTokens,
    /// The head is not compared.
    IgnoresHead,
    /// Of an append with several events the first is stored.
    SplitsAppends,
    /// A verification is always fine.
    VerifiesAnything,
    /// A claim is answered, and raises nothing.
    ClaimsRaiseNothing,
    /// An append is answered before it is stored, which then may happen late or never.
    AnswersEarly,
    /// An unknown outcome is called unavailable: certainly not stored.
    UnknownIsUnavailable,
    /// A replay leaves out its last event.
    ReplaysLess,
    /// A snapshot comes back with another state.
    SpoilsSnapshots,
    /// The driver says that a write is stored as soon as it is sent.
    ReleasesEarly,
    /// The driver does not pause.
    NeverRests,
    /// The driver forgets what became of an entity that is left alone.
    Forgets,
}

pub(super) const LIMITS: Limits = Limits { max_payload_bytes: 1_000, max_events: 4, marks: false };

/// One id's events, and all that was ever true of them.
pub(super) struct Store {
    pub(super) id: PersistenceId,
    pub(super) token: Token,
    pub(super) deleted_to: u64,
    /// All events ever stored, deleted or not.
    pub(super) log: Vec<(Envelope, Entry)>,
    /// The specification's state after each number; begins with the empty one.
    pub(super) states: Vec<Ledger>,
    adapter: KindAdapter<Entry>,
    flaw: Flaw,
    /// What no store of any kind may do.
    pub(super) complaint: Option<String>,
}

impl Store {
    pub(super) fn new(id: PersistenceId, adapter: KindAdapter<Entry>, flaw: Flaw) -> Self {
        Self {
            id,
            token: Token::NONE,
            deleted_to: 0,
            log: Vec::new(),
            states: vec![Ledger::default()],
            adapter,
            flaw,
            complaint: None,
        }
    }

    pub(super) fn head(&self) -> u64 {
        self.log.len() as u64
    }

    fn answer(&self) -> Head {
        Head { seq_nr: seq(self.head()), token: self.token, deleted_to: seq(self.deleted_to), ..Head::EMPTY }
    }

    /// As `Journal::write`.
    pub(super) fn write(&mut self, writes: &[Write]) -> Vec<Result<Head, JournalError>> {
        let mut not_stored = NotStored::new();
        writes
            .iter()
            .map(|write| {
                if let Some(error) = not_stored.earlier(write) {
                    return Err(error.clone());
                }
                let answer = self.decide(write);
                if let Err(error) = &answer {
                    not_stored.remember(&self.id, write.token(), error);
                }
                answer
            })
            .collect()
    }

    fn decide(&mut self, write: &Write) -> Result<Head, JournalError> {
        let token = write.token();
        let outranked = self.token > token && self.flaw != Flaw::IgnoresTokens;
        match write {
            Write::Append(append) => {
                append.check(LIMITS)?;
                if outranked {
                    return Err(JournalError::outranked(&self.id, token, self.token));
                }
                if append.expected != seq(self.head()) && self.flaw != Flaw::IgnoresHead {
                    return Err(JournalError::Conflict {
                        persistence_id: self.id.clone(),
                        expected: append.expected,
                        head: seq(self.head()),
                    });
                }
                self.token = self.token.max(token);
                self.append(append);
            }
            Write::Claim { .. } => {
                if outranked {
                    return Err(JournalError::outranked(&self.id, token, self.token));
                }
                if self.flaw != Flaw::ClaimsRaiseNothing {
                    self.token = self.token.max(token);
                }
            }
            Write::Verify { .. } => {
                if self.token != token && self.flaw != Flaw::VerifiesAnything {
                    return Err(JournalError::outranked(&self.id, token, self.token));
                }
            }
            _ => self.complaint = Some(format!("a write that the model does not know: {write:?}")),
        }
        Ok(self.answer())
    }

    fn append(&mut self, append: &AtomicWrite) {
        let stored = if self.flaw == Flaw::SplitsAppends { 1 } else { append.events.len() };
        for envelope in append.events.iter().take(stored) {
            let mut entries = Vec::new();
            if let Err(error) = self.adapter.from_journal(envelope, &mut |entry| entries.push(entry)) {
                self.complaint = Some(format!("an event was appended that cannot be read: {error}"));
            }
            for entry in entries {
                let mut state = self.states.last().copied().unwrap_or_default();
                state.fold(&entry);
                self.states.push(state);
                self.log.push((envelope.clone(), entry));
            }
        }
    }

    /// As `Journal::replay`.
    pub(super) fn replay(&self, from: SeqNr, to: SeqNr) -> Vec<Replayed> {
        let mut items = Vec::new();
        let (from, to) = (from.get().max(1), to.get().min(self.head()));
        if from > to {
            return items;
        }
        if from <= self.deleted_to {
            items.push(Replayed::Deleted { from: seq(from), to: seq(self.deleted_to.min(to)) });
        }
        let kept = self.log.iter().enumerate().filter(|(at, _)| {
            let number = *at as u64 + 1;
            number > self.deleted_to && number >= from && number <= to
        });
        items.extend(kept.map(|(at, (envelope, _))| {
            Replayed::Event(StoredEvent {
                offset: Offset::of_position(at as u64 + 1),
                envelope: envelope.clone(),
                bytes: Bytes::new(),
            })
        }));
        if self.flaw == Flaw::ReplaysLess {
            items.pop();
        }
        items
    }

    /// The event that maintenance appends under a token of its own.
    pub(super) fn foreign(&self, token: Token, command: u32) -> Option<Write> {
        let entry = Entry::Added { command, part: 0, of: 1 };
        let encoded = self.adapter.to_journal(&entry).ok()?;
        let envelope = Envelope {
            persistence_id: self.id.clone(),
            seq_nr: seq(self.head() + 1),
            token,
            writer: annals_journal::WriterId::from_bytes([0xFF; 16]),
            timestamp: annals_journal::Timestamp::from_micros(u64::from(command)),
            manifest: encoded.manifest,
            schema_version: encoded.schema_version,
            codec: encoded.codec,
            tags: Vec::new(),
            trace_context: None,
            key_id: None,
            payload: encoded.payload,
        };
        Some(Write::Append(AtomicWrite {
            persistence_id: self.id.clone(),
            expected: seq(self.head()),
            token,
            events: vec![envelope],
            mark: None,
        }))
    }
}

/// The id's snapshots.
#[derive(Default)]
pub(super) struct Snapshots {
    kept: BTreeMap<u64, (Snapshot, bool)>,
}

impl Snapshots {
    pub(super) fn save(&mut self, snapshot: Snapshot) {
        self.kept.insert(snapshot.seq_nr.get(), (snapshot, true));
    }

    pub(super) fn load(&self, at_most: SeqNr) -> Result<Option<Snapshot>, SnapshotError> {
        match self.kept.range(..=at_most.get()).next_back() {
            None => Ok(None),
            Some((_, (snapshot, true))) => Ok(Some(snapshot.clone())),
            Some((number, (snapshot, false))) => {
                Err(SnapshotError::corrupt(&snapshot.persistence_id, seq(*number), "the disk rots"))
            }
        }
    }

    /// Keeps the newest up to and including `newest`; says up to where its events are covered.
    pub(super) fn prune(&mut self, newest: u64) {
        self.kept.retain(|number, _| *number >= newest);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.kept.is_empty()
    }

    pub(super) fn wipe(&mut self) {
        self.kept.clear();
    }

    /// Damages one: it is gone, unreadable, of another shape, or of another history.
    pub(super) fn spoil(&mut self, which: usize, how: u64) {
        let Some(number) = self.kept.keys().nth(which % self.kept.len().max(1)).copied() else { return };
        match how {
            0 => {
                self.kept.remove(&number);
            }
            1 => {
                if let Some((_, readable)) = self.kept.get_mut(&number) {
                    *readable = false;
                }
            }
            2 => {
                if let Some((snapshot, _)) = self.kept.get_mut(&number) {
                    snapshot.payload = Bytes::from_static(b"{\"count\": \"many\"}");
                }
            }
            3 => {
                if let Some((snapshot, _)) = self.kept.get_mut(&number) {
                    snapshot.last_event.0 = [0xEE; 32];
                    snapshot.payload = forged(number);
                }
            }
            _ => {
                // It lies ahead of the journal, where an event may come later.
                let Some((snapshot, _)) = self.kept.get(&number) else { return };
                let mut ahead = snapshot.clone();
                ahead.seq_nr = seq(number + 1 + how % 3);
                ahead.payload = forged(ahead.seq_nr.get());
                self.kept.insert(ahead.seq_nr.get(), (ahead, true));
            }
        }
    }

    /// Gives another state to what is read as whole.
    pub(super) fn rot(&mut self) {
        for (number, (snapshot, _)) in &mut self.kept {
            snapshot.payload = forged(*number);
        }
    }
}

/// A state that nobody ever had, in the right shape.
fn forged(count: u64) -> Bytes {
    let state = Ledger { count, digest: 0xBAD, closed: false };
    serde_json::to_vec(&state).unwrap_or_default().into()
}

pub(super) fn seq(number: u64) -> SeqNr {
    SeqNr::new(number).unwrap_or(SeqNr::MAX)
}

pub(super) fn adapter() -> KindAdapter<Entry> {
    KindAdapter::new(Ledger::KIND).unwrap()
}
