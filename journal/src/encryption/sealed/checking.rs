use std::fmt;
use std::mem;
use std::sync::Arc;

use super::deletions::Deletions;
use super::plain::BEHIND_SEALED;
use super::record::{Link, Links};
use super::replaying::{NOT_DELETED_BY_US, NOT_THE_NEWEST};
use super::{SealedJournal, Vault, events};
use crate::encryption::{DataKey, KeyState};
use crate::{Envelope, Head, JournalError, KeyId, PersistenceId, SeqNr};

impl SealedJournal {
    /// Checks an id's history from its first event, as it is stored: `head` and the events are those of the [inner journal](Self::inner).
    /// `keys` is what the records say about the id's data key; `None`: they cannot be read, so that no seal is opened.
    pub fn check(&self, id: &PersistenceId, head: Head, keys: Option<KeyState>) -> HistoryCheck {
        let newest = self.vault.chain.newest(id, &head);
        let begins = Links::only(self.vault.begins(id, SeqNr::ZERO));
        HistoryCheck {
            vault: self.vault.clone(),
            id: id.clone(),
            head,
            newest: newest.map_err(drop),
            keys,
            key: None,
            before: Before::Plain(begins),
            sealed: false,
            plain: false,
            context: Vec::with_capacity(256),
        }
    }
}

/// Checks every event of an id, also behind what is wrong: where a replay ends with its first error, this says all of them.
///
/// It is told what is stored, in the order of the numbers, and goes on behind whatever it finds: an event behind one that is missing or no
/// sealed record is not checked against it, but its own seal is, and so is everything that follows.
pub struct HistoryCheck {
    vault: Arc<Vault>,
    id: PersistenceId,
    head: Head,
    /// The link in the head's mark; `Err`: the mark is not of this head.
    newest: Result<Option<Link>, ()>,
    keys: Option<KeyState>,
    /// The key that was wanted last, or why it is none.
    key: Option<(KeyId, Result<Arc<DataKey>, JournalError>)>,
    before: Before,
    /// Whether an event was sealed so far.
    sealed: bool,
    /// Whether the last one was in the clear.
    plain: bool,
    context: Vec<u8>,
}

/// What the next event must build on.
#[derive(Debug, Clone, Copy)]
enum Before {
    Plain(Links),
    Sealed(Links),
    /// It is missing, or cannot be read.
    Unknown,
}

/// An event that is as it was written.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Sound {
    /// It was stored in the clear.
    Plain,
    /// It was sealed; here it is in the clear.
    Opened(Box<Envelope>),
    /// It was sealed, and its key was destroyed on purpose; its place in the chain is right.
    Erased,
    /// It was sealed, and its place in the chain is right; what is known of the id's key cannot be read.
    Unopened,
}

/// Something that is wrong with an event, or with the end of a history.
#[derive(Debug, Clone)]
pub struct Fault {
    /// What kind of thing.
    pub kind: FaultKind,
    /// The same as an error, with id and number where it is about one.
    pub error: JournalError,
}

/// What is wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum FaultKind {
    /// The bytes or the header of an event are not those that were sealed.
    Unreadable,
    /// The data key that sealed it is not in the records, or no master key that is here opens it.
    NoKey,
    /// It does not follow from what comes before it.
    BrokenChain,
    /// The newest event is not the one that the id's mark is about, or the mark is gone.
    CutOff,
    /// The store could not be asked.
    Unavailable,
}

impl HistoryCheck {
    /// The head that the history is checked against.
    pub fn head(&self) -> Head {
        self.head
    }

    /// Goes on behind events that are missing or cannot be read.
    pub fn missing(&mut self) {
        self.before = Before::Unknown;
    }

    /// Checks the next event, as it is stored.
    ///
    /// # Errors
    /// Everything that is wrong with it, at least one thing.
    pub async fn event(&mut self, event: &Envelope) -> Result<Sound, Vec<Fault>> {
        let before = mem::replace(&mut self.before, Before::Unknown);
        let behind_plain = mem::replace(&mut self.plain, event.key_id.is_none());
        let Some(number) = event.key_id else {
            // While it is encrypted, events before it may be sealed already.
            if self.sealed && (self.keys.is_none() || !self.may_be_plain(event.seq_nr)) {
                self.plain = false;
                return Err(vec![Fault::broken(events::corrupt(event, BEHIND_SEALED))]);
            }
            self.before = Before::Plain(self.vault.plain_links(&self.id, event.seq_nr));
            return Ok(Sound::Plain);
        };
        self.sealed = true;
        let record = match events::record(event) {
            Ok(record) => record,
            Err(error) => return Err(vec![Fault { kind: FaultKind::Unreadable, error }]),
        };
        let key = self.key(number).await;
        let links = events::links(&self.vault.chain, event, &record, &mut self.context);
        let follows = match before {
            Before::Unknown => true,
            Before::Plain(links) | Before::Sealed(links) => record.follows(&links),
        };
        // What was encrypted must not be in the clear again.
        let follows = follows && (!behind_plain || self.may_be_plain(event.seq_nr.previous()));
        let mut faults = Vec::new();
        let opened = match key {
            Ok(key) => match events::open_within(&key, event.clone(), &record, &self.context) {
                Ok(opened) => Some(Sound::Opened(Box::new(opened))),
                Err(error) => {
                    // What follows cannot stand upon these bytes.
                    return Err(vec![Fault { kind: FaultKind::Unreadable, error }]);
                }
            },
            Err(JournalError::Erased { .. }) => Some(Sound::Erased),
            Err(_) if self.keys.is_none() => Some(Sound::Unopened),
            Err(error) => {
                faults.push(Fault::of_key(error));
                None
            }
        };
        self.before = Before::Sealed(links);
        if !follows {
            faults.insert(0, Fault::broken(events::corrupt(event, events::DOES_NOT_FOLLOW)));
        }
        match opened {
            Some(opened) if faults.is_empty() => Ok(opened),
            _ => Err(faults),
        }
    }

    /// Goes on behind events that were deleted.
    ///
    /// # Errors
    /// When it is not recorded that they were.
    pub async fn deleted(&mut self, to: SeqNr) -> Result<(), Fault> {
        let plain = self.vault.plain_links(&self.id, to);
        self.before = Before::Plain(plain);
        if matches!(self.newest, Ok(None)) {
            return Ok(());
        }
        self.before = Before::Unknown;
        let deletions = Deletions::read(&*self.vault.records, &self.vault.chain, &self.id);
        let deletions = deletions.await.map_err(Fault::of_record)?;
        if to > self.head.seq_nr {
            // An owner went on, and deleted all that the mark is about.
            return Ok(());
        }
        let unrecorded = || {
            let error = JournalError::corrupt(&self.id, to, NOT_DELETED_BY_US);
            Err(Fault { kind: FaultKind::CutOff, error })
        };
        let has_sealed = self.keys.as_ref().is_some_and(|keys| keys.has_sealed(to));
        self.before = match deletions.at(to) {
            Some(links) if links == plain => Before::Plain(plain),
            Some(links) => Before::Sealed(links),
            None if deletions.allow(to) => Before::Unknown,
            None if has_sealed => return unrecorded(),
            // Plain events that were deleted before anything was sealed.
            None if to < self.head.seq_nr || self.newest == Ok(Some(plain.link)) => Before::Plain(plain),
            None => return unrecorded(),
        };
        self.sealed |= matches!(self.before, Before::Sealed(_));
        Ok(())
    }

    /// Checks that the last event is the newest that was ever stored, as far as the id's mark tells.
    ///
    /// # Errors
    /// When it is not.
    pub async fn end(self) -> Result<(), Fault> {
        let cut = |reason: &str| {
            let error = JournalError::corrupt(&self.id, self.head.seq_nr, reason);
            Err(Fault { kind: FaultKind::CutOff, error })
        };
        let Ok(newest) = self.newest else { return cut(super::FOREIGN_MARK) };
        match (self.before, newest) {
            (Before::Plain(_), None) => {
                let checked = self.vault.check_plain_head(&self.id, self.head.seq_nr).await;
                checked.map_err(|error| Fault { kind: FaultKind::CutOff, error }.or_unavailable())
            }
            // Encrypting begins with the mark of a head that is plain, and ends where nothing may be.
            (Before::Plain(links), Some(newest))
                if links.link == newest && (!self.plain || self.may_be_plain(self.head.seq_nr)) =>
            {
                Ok(())
            }
            (Before::Sealed(links), Some(newest)) if links.link == newest || *links.out() == newest => Ok(()),
            (Before::Unknown, Some(_)) => Ok(()),
            (Before::Unknown, None) if !self.sealed => Ok(()),
            (_, None) => cut(super::NO_MARK),
            _ => cut(NOT_THE_NEWEST),
        }
    }

    /// Whether an event is older than all that the id's key sealed when it was written, as far as that is known.
    fn may_be_plain(&self, seq_nr: SeqNr) -> bool {
        match &self.keys {
            None | Some(KeyState::None) => true,
            Some(KeyState::Live { generations, .. }) => {
                generations.first().is_none_or(|(_, first)| seq_nr < *first)
            }
            Some(KeyState::Erased { .. }) => true,
        }
    }

    /// The key that opens what it sealed.
    async fn key(&mut self, number: KeyId) -> Result<Arc<DataKey>, JournalError> {
        if let Some((_, known)) = self.key.as_ref().filter(|(known, _)| *known == number) {
            return known.clone();
        }
        let key = self.open_key(number).await;
        self.key = Some((number, key.clone()));
        key
    }

    async fn open_key(&self, number: KeyId) -> Result<Arc<DataKey>, JournalError> {
        let Some(keys) = &self.keys else {
            return Err(JournalError::key(&self.id, "its key record cannot be read"));
        };
        if keys.has_erased(number) {
            return Err(JournalError::Erased { persistence_id: self.id.clone(), seq_nr: None });
        }
        if !keys.opens(number) {
            let reason =
                format!("its key record has no generation {number}: restore the records from a backup");
            return Err(JournalError::key(&self.id, reason));
        }
        self.vault.key_to_open(&self.id, number).await
    }
}

impl Fault {
    fn broken(error: JournalError) -> Self {
        Self { kind: FaultKind::BrokenChain, error }
    }

    fn of_key(error: JournalError) -> Self {
        Self { kind: FaultKind::NoKey, error }.or_unavailable()
    }

    fn of_record(error: JournalError) -> Self {
        Self { kind: FaultKind::BrokenChain, error }.or_unavailable()
    }

    fn or_unavailable(self) -> Self {
        let kind = match self.error {
            JournalError::Unavailable { .. } | JournalError::Unknown { .. } => FaultKind::Unavailable,
            _ => self.kind,
        };
        Self { kind, ..self }
    }
}

impl fmt::Debug for HistoryCheck {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HistoryCheck")
            .field("id", &self.id)
            .field("head", &self.head)
            .field("keys", &self.keys)
            .finish_non_exhaustive()
    }
}
