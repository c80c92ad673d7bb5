use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;

use crate::persistence_id::check_text;
use crate::{InvalidName, JournalError, Timestamp};

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

    /// The records of these keys, in the order of `keys`; each as [`Records::get`] gives it.
    ///
    /// For many records at once: a backend answers with one look at its store.
    async fn get_all(&self, keys: &[RecordKey]) -> Result<Vec<Option<Record>>, JournalError> {
        let mut found = Vec::with_capacity(keys.len());
        for key in keys {
            found.push(self.get(key).await?);
        }
        Ok(found)
    }

    /// Decides each change in the order of the list, commits those that are made together, and answers them one by one.
    ///
    /// The answers have the order and the length of `changes`. A change is made when its key's revision is still `expected` **and**
    /// its guard, if it has one, still has the guard's revision, both judged in the same atomic step that changes; each
    /// change sees those before it in the list. One that is not made leaves its neighbours alone.
    ///
    /// Of concurrent callers with one expectation at most one gets `Set`. Where both the guard and the key are other than expected, the
    /// answer is [`GuardChanged`](Verdict::GuardChanged).
    async fn change(&self, changes: Vec<RecordChange>) -> Vec<Result<Verdict, JournalError>>;

    /// The time of the store's clock: one for all processes that use the store, by which leases of records end.
    async fn now(&self) -> Result<Timestamp, JournalError>;

    /// Sets the value when the key's revision is still `expected`; `None` expects that there is no value.
    ///
    /// Of concurrent callers with one expectation at most one gets `Set`.
    async fn compare_and_set(
        &self,
        key: &RecordKey,
        expected: Option<Revision>,
        value: Bytes,
    ) -> Result<CompareAndSet, JournalError> {
        only(self.change(vec![RecordChange::set(key.clone(), expected, value)]).await)
    }

    /// Deletes the value when the key's revision is still `expected`.
    ///
    /// `Set` carries the revision of the deletion. A key without a value is `Changed { current: None }`.
    async fn delete(&self, key: &RecordKey, expected: Revision) -> Result<CompareAndSet, JournalError> {
        only(self.change(vec![RecordChange::delete(key.clone(), expected)]).await)
    }

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

/// One entry of [`Records::change`].
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use = "a change does nothing until it is given to the records"]
pub struct RecordChange {
    /// What is changed.
    pub key: RecordKey,
    /// The revision that it must still have; `None` expects that there is no value.
    pub expected: Option<Revision>,
    /// The new value; `None` deletes.
    pub value: Option<Bytes>,
    /// Another record, and the revision that it must still have.
    pub guard: Option<(RecordKey, Revision)>,
}

impl RecordChange {
    /// Sets a value.
    pub fn set(key: RecordKey, expected: Option<Revision>, value: Bytes) -> Self {
        Self { key, expected, value: Some(value), guard: None }
    }

    /// Deletes a value.
    pub fn delete(key: RecordKey, expected: Revision) -> Self {
        Self { key, expected: Some(expected), value: None, guard: None }
    }

    /// The same change, only made while another record has this revision.
    pub fn guarded_by(mut self, key: RecordKey, revision: Revision) -> Self {
        self.guard = Some((key, revision));
        self
    }

    /// Checks what every backend must refuse in [`Records::change`] before it looks at its store.
    ///
    /// # Errors
    /// [`JournalError::Rejected`] when the value has more than [`RECORD_MAX_BYTES`] bytes.
    pub fn check(&self) -> Result<(), JournalError> {
        self.value.as_ref().map_or(Ok(()), |value| check_record(&self.key, value))
    }
}

/// The answer to one entry of [`Records::change`].
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use = "the change may not have been made"]
pub enum Verdict {
    /// The change was made and has this revision.
    Set(Revision),
    /// Someone else was there first; nothing changed.
    Changed {
        /// What is there now.
        current: Option<Record>,
    },
    /// The record that guards the change is another; nothing changed.
    GuardChanged {
        /// What the guard is now.
        current: Option<Record>,
    },
}

/// The answer to a list of one change without a guard.
fn only(mut answers: Vec<Result<Verdict, JournalError>>) -> Result<CompareAndSet, JournalError> {
    let unknown = |reason: &str| Err(JournalError::Unknown { reason: reason.into(), source: None });
    match answers.pop() {
        Some(Ok(Verdict::Set(revision))) => Ok(CompareAndSet::Set(revision)),
        Some(Ok(Verdict::Changed { current })) => Ok(CompareAndSet::Changed { current }),
        Some(Ok(Verdict::GuardChanged { .. })) => unknown("the records judged a guard that was not there"),
        Some(Err(error)) => Err(error),
        None => unknown("the records gave no answer"),
    }
}

/// The largest value of a record, in bytes.
pub const RECORD_MAX_BYTES: usize = 64 * 1024;

/// Checks what every backend must refuse before it looks at its store.
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
