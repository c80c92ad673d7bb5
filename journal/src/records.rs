use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;

use crate::persistence_id::check_text;
use crate::{InvalidName, JournalError};

/// Small named values with compare-and-set, each linearizable: here live epochs, registered readers, projection
/// offsets, data keys, watermarks and leases.
///
/// Every change of a key gives it a revision that is higher than all revisions that this key ever had, also when it
/// was deleted in between; so a revision that was read before a deletion never matches afterwards.
///
/// A value has at most [`RECORD_MAX_BYTES`] bytes; setting a larger one is [`JournalError::Rejected`] and changes nothing.
///
/// After [`JournalError::Unknown`] the change may be done or be done later: read, and compare with what was written.
#[async_trait]
pub trait Records: fmt::Debug + Send + Sync + 'static {
    /// The value and its revision, or `None` when there is none. Sees every change answered before the call.
    async fn get(&self, key: &RecordKey) -> Result<Option<Record>, JournalError>;

    /// Sets the value when the key's revision is still `expected`; `None` expects that there is no value.
    ///
    /// Of concurrent callers with one expectation at most one gets `Set`.
    async fn compare_and_set(
        &self,
        key: &RecordKey,
        expected: Option<Revision>,
        value: Bytes,
    ) -> Result<CompareAndSet, JournalError>;

    /// Deletes the value when the key's revision is still `expected`.
    ///
    /// `Set` carries the revision of the deletion. A key without a value is `Changed { current: None }`.
    async fn delete(&self, key: &RecordKey, expected: Revision) -> Result<CompareAndSet, JournalError>;

    /// Records whose key begins with `prefix`, in the order of their keys' bytes, after a key, at most `limit`.
    ///
    /// Fewer than `limit`: there are no more. An empty prefix lists all. Each page is a consistent view of its own.
    async fn list(
        &self,
        prefix: &str,
        after: Option<&RecordKey>,
        limit: usize,
    ) -> Result<Vec<(RecordKey, Record)>, JournalError>;
}

/// The largest value of a record, in bytes.
pub const RECORD_MAX_BYTES: usize = 64 * 1024;

/// Checks what every backend must refuse in [`Records::compare_and_set`] before it looks at its store.
///
/// # Errors
/// [`JournalError::Rejected`] when the value has more than [`RECORD_MAX_BYTES`] bytes.
pub fn check_record(key: &RecordKey, value: &[u8]) -> Result<(), JournalError> {
    if value.len() <= RECORD_MAX_BYTES {
        return Ok(());
    }
    let reason = format!("a value of {} bytes, at most {RECORD_MAX_BYTES} are allowed", value.len());
    Err(JournalError::rejected(format_args!("record {key}"), reason))
}

/// Names a record, such as `reader/balances`: 1 to 640 bytes of UTF-8 without control characters.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RecordKey(Arc<str>);

impl RecordKey {
    /// The longest key, in bytes.
    pub const MAX_BYTES: usize = 640;

    /// Checks and takes a key.
    ///
    /// # Errors
    /// [`InvalidName`] when it is empty, too long or has a control character.
    pub fn new(key: &str) -> Result<Self, InvalidName> {
        check_text("record key", key, Self::MAX_BYTES)?;
        Ok(Self(key.into()))
    }

    /// The key.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for RecordKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for RecordKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

/// A record's value and the revision that set it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// The revision that set the value.
    pub revision: Revision,
    /// The value.
    pub value: Bytes,
}

/// Tells one state of a key from all its others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Revision(pub u64);

/// The answer to a conditional change.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use = "the change may not have been made"]
pub enum CompareAndSet {
    /// The change was made and has this revision.
    Set(Revision),
    /// Someone else was there first; nothing changed.
    Changed {
        /// What is there now.
        current: Option<Record>,
    },
}
