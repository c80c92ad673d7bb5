use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;

use super::{KeyBytes, KeysError, MasterKeyId};

/// What wraps data keys: a ring ([`RingKeys`](super::RingKeys)), or a service that keeps the master keys to itself. A set of keys that stays what it
/// is: when there are others, [`MasterKeys::reload`] gives a newer set, which is taken once it was seen to have every key that is needed.
///
/// A wrapped key is at most 1 KiB, and says nothing about the key in it.
#[async_trait]
pub trait MasterKeys: fmt::Debug + Send + Sync + 'static {
    /// The key that is to wrap what is new, once the journal's records agree: what a rotation moves to.
    fn active(&self) -> MasterKeyId;

    /// All keys that it wraps and opens with. A rotation waits until every process has the key that it moves to.
    fn ids(&self) -> Vec<MasterKeyId>;

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

    /// Looks whether there are other keys now; `None`: there are not. Called every few seconds, and when a key is missing or refused, before
    /// that is reported.
    ///
    /// # Errors
    /// When what is there now cannot be used; this set stays in use then.
    async fn reload(&self) -> Result<Option<Arc<dyn MasterKeys>>, KeysError>;
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
