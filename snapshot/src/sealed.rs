//! Snapshots that nobody reads or changes without their id's data key.
//!
//! ```text
//!  payload of a sealed snapshot                                          authenticated with it, not stored
//!  ┌───────────┬───────────┬──────────────────────────┬─────────┐        all header fields: see `context`
//!  │ format, 1 │ nonce, 12 │ the state, ciphertext    │ tag, 16 │        AES-256-GCM under the id's data key;
//!  └───────────┴───────────┴──────────────────────────┴─────────┘        its generation is the snapshot's `key_id`
//! ```

mod again;
mod context;

use std::fmt;
use std::ops::RangeInclusive;
use std::sync::Arc;

use annals_journal::encryption::{DataKey, DataKeys, KeyState, Seal};
use annals_journal::{Cause, JournalError, KeyId, PersistenceId, SeqNr};
use async_trait::async_trait;
use bytes::Bytes;

use crate::{Snapshot, SnapshotError, SnapshotStore};

/// A snapshot store around a store, which sees no state in the clear.
///
/// A state is sealed under its id's data key, and bound to every field of its snapshot: one that was changed, cut, or put in the place of
/// another number or id is [`SnapshotError::Corrupt`], which names both. Persistence id, number, token, time stamp and manifest
/// stay readable in the store.
///
/// A snapshot from before its id had a data key is read as it is, unless [`SealedSnapshots::refuse_plaintext`]; any other in the clear is corrupt.
#[derive(Clone)]
pub struct SealedSnapshots {
    inner: Arc<dyn SnapshotStore>,
    keys: DataKeys,
    refuse_plaintext: bool,
}

impl SealedSnapshots {
    /// Seals what this store keeps.
    pub fn new(inner: Arc<dyn SnapshotStore>, keys: DataKeys) -> Self {
        Self { inner, keys, refuse_plaintext: false }
    }

    /// Has every snapshot in the clear count as corrupt.
    #[must_use]
    pub fn refuse_plaintext(self) -> Self {
        Self { refuse_plaintext: true, ..self }
    }

    /// The store behind it, with snapshots as they are stored.
    pub fn inner(&self) -> &Arc<dyn SnapshotStore> {
        &self.inner
    }

    /// The key that seals a snapshot of this number.
    async fn key_to_seal(&self, id: &PersistenceId, seq_nr: SeqNr) -> Result<Arc<DataKey>, JournalError> {
        // Where the snapshot makes the id's first key, the next event is the first that it seals: those before are in the clear.
        let next = seq_nr.next();
        if let Some(key) = self.keys.to_seal_cached(id, next) {
            return Ok(key);
        }
        one(self.keys.to_seal(&[(id, next)]).await)
    }

    async fn key_to_open(&self, id: &PersistenceId, key: KeyId) -> Result<Arc<DataKey>, JournalError> {
        match self.keys.to_open_cached(id, key) {
            Some(key) => Ok(key),
            None => one(self.keys.to_open(&[(id, key)]).await),
        }
    }

    async fn seal(&self, snapshot: &mut Snapshot) -> Result<(), JournalError> {
        let id = snapshot.persistence_id.clone();
        loop {
            let key = self.key_to_seal(&id, snapshot.seq_nr).await?;
            let context = context::of(snapshot, &key);
            let mut sealed = vec![0; HEAD_BYTES];
            sealed.reserve_exact(snapshot.payload.len() + TAG_BYTES);
            sealed.extend_from_slice(&snapshot.payload);
            // A key that is used up has a successor.
            let Ok(Seal { nonce, tag }) = key.seal(&context, &mut sealed[HEAD_BYTES..]) else { continue };
            sealed[0] = FORMAT;
            sealed[1..HEAD_BYTES].copy_from_slice(&nonce);
            sealed.extend_from_slice(&tag);
            snapshot.payload = sealed.into();
            snapshot.key_id = Some(key.id());
            return Ok(());
        }
    }

    /// Opens a snapshot. One whose key is gone is read again: a rekeying may have sealed it under another since it was read.
    async fn open(&self, mut snapshot: Snapshot) -> Result<Snapshot, SnapshotError> {
        loop {
            let (generation, seq_nr) = (snapshot.key_id, snapshot.seq_nr);
            let id = snapshot.persistence_id.clone();
            let unreadable = match self.open_as_read(snapshot).await {
                Err(error @ SnapshotError::Corrupt { .. }) => error,
                opened => return opened,
            };
            snapshot = match self.inner.load(&id, seq_nr).await? {
                // Generations only rise, so this ends.
                Some(now) if now.seq_nr == seq_nr && now.key_id > generation => now,
                _ => return Err(unreadable),
            };
        }
    }

    async fn open_as_read(&self, mut snapshot: Snapshot) -> Result<Snapshot, SnapshotError> {
        let (id, seq_nr) = (snapshot.persistence_id.clone(), snapshot.seq_nr);
        let corrupt = |reason: &str| SnapshotError::corrupt(&id, seq_nr, reason);
        let Some(number) = snapshot.key_id.take() else {
            return match self.plaintext_is_allowed(&id, seq_nr).await {
                Ok(true) => Ok(snapshot),
                Ok(false) => Err(corrupt("it is in the clear, where it must be sealed")),
                Err(error) => Err(of_snapshot(&id, seq_nr, error)),
            };
        };
        let (seal, text) = parted(&snapshot.payload).map_err(|reason| corrupt(&reason))?;
        let key = match self.key_to_open(&id, number).await {
            Ok(key) => key,
            // Events say whether keys are lost; this one may just have been changed.
            Err(JournalError::Key { .. }) if self.is_no_generation(&id, number).await => {
                return Err(corrupt(&format!("its data key has no generation {number}")));
            }
            Err(error) => return Err(of_snapshot(&id, seq_nr, error)),
        };
        let mut text = text.to_vec();
        key.open(&seal, &context::of(&snapshot, &key), &mut text)
            .map_err(|_| corrupt("it is not what was sealed, or not in its place"))?;
        snapshot.payload = text.into();
        Ok(snapshot)
    }

    /// Whether a snapshot in the clear may stand there.
    async fn plaintext_is_allowed(&self, id: &PersistenceId, seq_nr: SeqNr) -> Result<bool, JournalError> {
        if self.refuse_plaintext {
            return Ok(false);
        }
        Ok(match one(self.keys.state(&[id]).await)? {
            KeyState::None => true,
            KeyState::Live { generations, erased_to: None, .. } => {
                generations.first().is_none_or(|(_, from_seq)| seq_nr < *from_seq)
            }
            // All that an erased life had was sealed.
            _ => false,
        })
    }

    /// Whether the id has a newer generation than this one.
    async fn is_outdated(&self, id: &PersistenceId, used: Option<KeyId>) -> Result<bool, JournalError> {
        Ok(match one(self.keys.state(&[id]).await)? {
            KeyState::Live { generations, .. } => {
                generations.last().is_some_and(|(newest, _)| Some(*newest) > used)
            }
            _ => false,
        })
    }

    /// Whether the id's keys are there, and this is none of them.
    async fn is_no_generation(&self, id: &PersistenceId, number: KeyId) -> bool {
        match one(self.keys.state(&[id]).await) {
            Ok(KeyState::None) => true,
            Ok(KeyState::Live { generations, .. }) => generations.iter().all(|(known, _)| *known != number),
            _ => false,
        }
    }
}

#[async_trait]
impl SnapshotStore for SealedSnapshots {
    async fn save(&self, snapshot: Snapshot) -> Result<(), SnapshotError> {
        snapshot.check(self.max_payload_bytes())?;
        let (id, seq_nr) = (snapshot.persistence_id.clone(), snapshot.seq_nr);
        if snapshot.key_id.is_some() {
            let reason = "it has a key id already: a store that seals takes states in the clear".to_owned();
            return Err(SnapshotError::Rejected { persistence_id: id, seq_nr, reason });
        }
        loop {
            let mut sealed = snapshot.clone();
            self.seal(&mut sealed).await.map_err(|error| of_snapshot(&id, seq_nr, error))?;
            let generation = sealed.key_id;
            self.inner.save(sealed).await?;
            // A rekeying that began meanwhile may have looked at the id's snapshots already, and is about to destroy this key: events are
            // deleted because of what is answered here.
            if !self.is_outdated(&id, generation).await.map_err(|error| of_snapshot(&id, seq_nr, error))? {
                return Ok(());
            }
            self.keys.forget(&id);
        }
    }

    async fn load(&self, id: &PersistenceId, at_most: SeqNr) -> Result<Option<Snapshot>, SnapshotError> {
        match self.inner.load(id, at_most).await? {
            None => Ok(None),
            Some(snapshot) => self.open(snapshot).await.map(Some),
        }
    }

    async fn delete(&self, id: &PersistenceId, range: RangeInclusive<SeqNr>) -> Result<(), SnapshotError> {
        self.inner.delete(id, range).await
    }

    async fn list(&self, id: &PersistenceId) -> Result<Vec<SeqNr>, SnapshotError> {
        self.inner.list(id).await
    }

    fn max_payload_bytes(&self) -> usize {
        self.inner.max_payload_bytes() - OVERHEAD_BYTES
    }
}

impl fmt::Debug for SealedSnapshots {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SealedSnapshots").field("inner", &self.inner).finish_non_exhaustive()
    }
}

/// The seal, and what it authenticates.
fn parted(payload: &Bytes) -> Result<(Seal, &[u8]), String> {
    let cut = || "its sealed payload is cut".to_owned();
    match payload.first() {
        None => return Err(cut()),
        Some(&FORMAT) => {}
        Some(other) => return Err(format!("its seal has format {other}, this build knows {FORMAT}")),
    }
    let (nonce, rest) = payload[1..].split_first_chunk().ok_or_else(cut)?;
    let (text, tag) = rest.split_last_chunk().ok_or_else(cut)?;
    Ok((Seal { nonce: *nonce, tag: *tag }, text))
}

fn one<T>(answers: Vec<Result<T, JournalError>>) -> Result<T, JournalError> {
    answers.into_iter().next().unwrap_or_else(|| {
        Err(JournalError::Unavailable { reason: "the keys gave no answer".into(), source: None })
    })
}

/// What a key's error means for a snapshot. Nothing was stored for any of them.
fn of_snapshot(id: &PersistenceId, seq_nr: SeqNr, error: JournalError) -> SnapshotError {
    match error {
        JournalError::Key { reason, .. } => SnapshotError::Key { persistence_id: id.clone(), seq_nr, reason },
        JournalError::Erased { .. } => SnapshotError::Erased { persistence_id: id.clone(), seq_nr },
        JournalError::Corrupt { reason, .. } => {
            SnapshotError::Key { persistence_id: id.clone(), seq_nr, reason }
        }
        other => SnapshotError::Unavailable { reason: other.to_string(), source: Some(Cause::new(other)) },
    }
}

const FORMAT: u8 = 1;
const NONCE_BYTES: usize = 12;
const HEAD_BYTES: usize = 1 + NONCE_BYTES;
const TAG_BYTES: usize = 16;
const OVERHEAD_BYTES: usize = HEAD_BYTES + TAG_BYTES;
