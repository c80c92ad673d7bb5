use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

use async_trait::async_trait;
use bytes::Bytes;

use super::{KeyBytes, KeySource, KeysError, MasterKeyId, Ring};

/// What wraps data keys: a ring ([`RingKeys`]), or a service that keeps the master keys to itself.
///
/// A wrapped key is at most 1 KiB, and says nothing about the key in it.
#[async_trait]
pub trait MasterKeys: fmt::Debug + Send + Sync + 'static {
    /// The key that is to wrap what is new, once the journal's records agree.
    fn active(&self) -> MasterKeyId;

    /// Wraps a key; [`MasterKeys::unwrap`] gives it back for the same id and context alone.
    async fn wrap(&self, under: MasterKeyId, context: &[u8], key: &KeyBytes)
    -> Result<Bytes, MasterKeyError>;

    /// Opens a wrapped key.
    ///
    /// # Errors
    /// [`MasterKeyError::Refused`] whenever any bit of the wrapped key, of the context or of the master key is another.
    async fn unwrap(
        &self,
        under: MasterKeyId,
        context: &[u8],
        wrapped: &[u8],
    ) -> Result<KeyBytes, MasterKeyError>;

    /// Looks whether there are new keys. Called when a key is missing or refused, before that is reported.
    ///
    /// # Errors
    /// When what is there now cannot be used; what was there before stays in use then.
    async fn reload(&self) -> Result<(), KeysError>;
}

/// Why a master key did not wrap or open.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MasterKeyError {
    /// There is no such key.
    #[error("there is no master key {id} here; add it to the ring")]
    Missing {
        /// Which.
        id: MasterKeyId,
    },
    /// The wrapped key, or what it is bound to, is not what this master key wrapped.
    #[error(
        "master key {id} does not open it; either another key has its number here, or what is stored was changed"
    )]
    Refused {
        /// Which.
        id: MasterKeyId,
    },
    /// The service that has the keys cannot be asked now.
    #[error("the master keys cannot be asked: {reason}")]
    Unavailable {
        /// What happened; without a key.
        reason: String,
    },
}

/// A ring as master keys, read again from its source when a key is missing.
pub struct RingKeys {
    /// `None`: it is what it is.
    source: Option<KeySource>,
    ring: RwLock<Arc<Ring>>,
}

impl RingKeys {
    /// Reads a ring from its source.
    ///
    /// # Errors
    /// As [`KeySource::read`].
    pub fn open(source: KeySource) -> Result<Self, KeysError> {
        let ring = RwLock::new(Arc::new(source.read()?));
        Ok(Self { source: Some(source), ring })
    }

    fn ring(&self) -> Arc<Ring> {
        // Only ever replaced whole, so a panic elsewhere has left nothing half done.
        self.ring.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl From<Ring> for RingKeys {
    fn from(ring: Ring) -> Self {
        Self { source: None, ring: RwLock::new(Arc::new(ring)) }
    }
}

#[async_trait]
impl MasterKeys for RingKeys {
    fn active(&self) -> MasterKeyId {
        self.ring().active()
    }

    async fn wrap(
        &self,
        under: MasterKeyId,
        context: &[u8],
        key: &KeyBytes,
    ) -> Result<Bytes, MasterKeyError> {
        let ring = self.ring();
        let master = ring.key(under).ok_or(MasterKeyError::Missing { id: under })?;
        Ok(master.wrap(context, key))
    }

    async fn unwrap(
        &self,
        under: MasterKeyId,
        context: &[u8],
        wrapped: &[u8],
    ) -> Result<KeyBytes, MasterKeyError> {
        let ring = self.ring();
        let master = ring.key(under).ok_or(MasterKeyError::Missing { id: under })?;
        master.unwrap(context, wrapped).map_err(|_| MasterKeyError::Refused { id: under })
    }

    async fn reload(&self) -> Result<(), KeysError> {
        let Some(source) = &self.source else { return Ok(()) };
        let ring = Arc::new(source.read()?);
        *self.ring.write().unwrap_or_else(PoisonError::into_inner) = ring;
        Ok(())
    }
}

impl fmt::Debug for RingKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RingKeys").field("source", &self.source).field("ring", &self.ring()).finish()
    }
}
