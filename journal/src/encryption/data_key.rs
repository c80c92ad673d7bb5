use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};

use rand::Rng as _;

use super::KeyBytes;
use super::cipher::{AUTH_TAG_BYTES, Aead as _, Cipher, NONCE_BYTES, NotAuthentic};
use super::scope::Scope;
use crate::{KeyId, SeqNr};

/// One generation of the key that seals an id's events and snapshots.
///
/// Nonces are 96 random bits, so a key must seal far fewer than 2^32 times. It is given for 2^30 sequence numbers, and seals at most
/// 2^30 times in a process; whoever asks [`DataKeys::to_seal`](super::DataKeys::to_seal) after that gets a fresh one.
pub struct DataKey {
    scope: Scope,
    id: KeyId,
    from_seq: SeqNr,
    cipher: Cipher,
    sealed: AtomicU64,
}

/// What belongs to a sealed text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seal {
    /// Drawn for this text.
    pub nonce: [u8; NONCE_BYTES],
    /// Authenticates text and context.
    pub tag: [u8; AUTH_TAG_BYTES],
}

/// The key has sealed as often as it may; ask for the next one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the data key has sealed as often as it may")]
pub struct UsedUp;

impl DataKey {
    pub(super) fn new(scope: Scope, id: KeyId, from_seq: SeqNr, key: &KeyBytes) -> Self {
        let cipher = Cipher::new(key.as_bytes());
        Self { scope, id, from_seq, cipher, sealed: AtomicU64::new(0) }
    }

    /// Its generation: what the envelopes that it seals have as key id.
    pub fn id(&self) -> KeyId {
        self.id
    }

    /// Whose events and snapshots it seals: the text of a persistence id.
    pub fn scope(&self) -> &str {
        self.scope.as_str()
    }

    /// The first event that it may have sealed.
    pub fn from_seq(&self) -> SeqNr {
        self.from_seq
    }

    /// Encrypts `text` in its place, and authenticates it together with `context`, which is not kept.
    ///
    /// # Errors
    /// [`UsedUp`], and `text` is as it was.
    pub fn seal(&self, context: &[u8], text: &mut [u8]) -> Result<Seal, UsedUp> {
        self.reserve(1)?;
        Ok(self.seal_reserved(context, text))
    }

    /// Counts texts that are about to be sealed: each may be sealed once with [`DataKey::seal_reserved`].
    ///
    /// # Errors
    /// [`UsedUp`], and the key seals nothing any more.
    pub(super) fn reserve(&self, texts: usize) -> Result<(), UsedUp> {
        let texts = texts as u64;
        let before = self.sealed.fetch_add(texts, Ordering::Relaxed);
        if before.saturating_add(texts) <= MAX_SEALS { Ok(()) } else { Err(UsedUp) }
    }

    /// As [`DataKey::seal`], of a text that was counted.
    pub(super) fn seal_reserved(&self, context: &[u8], text: &mut [u8]) -> Seal {
        let mut nonce = [0; NONCE_BYTES];
        rand::rng().fill_bytes(&mut nonce);
        let tag = self.cipher.seal(&nonce, context, text);
        Seal { nonce, tag }
    }

    /// Decrypts `text` in its place.
    ///
    /// # Errors
    /// [`NotAuthentic`] when any bit of text, seal or context is another than was sealed; `text` must not be used then.
    pub fn open(&self, seal: &Seal, context: &[u8], text: &mut [u8]) -> Result<(), NotAuthentic> {
        self.cipher.open(&seal.nonce, context, text, &seal.tag)
    }

    /// Whether it may seal the event with this number.
    pub(super) fn seals(&self, seq_nr: SeqNr) -> bool {
        seq_nr < self.from_seq.plus(MAX_SEALS) && self.sealed.load(Ordering::Relaxed) < MAX_SEALS
    }

    #[cfg(test)]
    pub(super) fn use_up(&self) {
        self.sealed.store(MAX_SEALS, Ordering::Relaxed);
    }
}

impl fmt::Debug for DataKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DataKey")
            .field("scope", &self.scope)
            .field("id", &self.id.0)
            .field("from_seq", &self.from_seq)
            .finish_non_exhaustive()
    }
}

pub(super) const MAX_SEALS: u64 = 1 << 30;
