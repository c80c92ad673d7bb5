//! The named records of keys: what they are called, and what is in them.
//!
//! ```text
//!  encryption/active          ActiveKey     which master key wraps what is new; absent: nothing was ever sealed here
//!  encryption/master/<id>     MasterKeyUse  a check value of the master key, and whether any data key may need it
//!  encryption/key/<id>        ScopeKeys     every generation of the id's data key, each wrapped
//!  encryption/key/<scope>     ScopeKeys     the same of a key that wraps those of the ids of a scope (scoped_keys.rs)
//!  encryption/chain           ChainKey      the key of the journal's chains, wrapped
//!  encryption/erasures        one byte, 1       set at each erasure: whoever has keys in memory forgets them
//!  encryption/process/<id>    Process       a process that uses the keys, until when, and the master keys that it has
//!  encryption/passphrase/<id> PassphraseKey how a passphrase becomes this master key (passphrase.rs)
//! ```
//!
//! Values are protobuf; `format` is 1.

use bytes::Bytes;
use prost::Message;
use uuid::Uuid;

use super::MasterKeyId;
use super::scope::Scope;
use crate::{InvalidName, JournalError, Record, RecordKey, Records, Revision, SeqNr, Timestamp, WriterId};

/// `encryption/active`. Every creation and every rewrap of a data key is only made while this record is as it was read.
#[derive(Clone, PartialEq, Message)]
pub(super) struct ActiveKey {
    #[prost(uint32, tag = "1")]
    format: u32,
    #[prost(uint32, tag = "2")]
    pub(super) master: u32,
    /// How often another key became active. The record is also written to see that nobody else did, without that.
    #[prost(uint64, tag = "3")]
    pub(super) moves: u64,
}

impl ActiveKey {
    pub(super) fn of(id: MasterKeyId, moves: u64) -> Self {
        Self { format: FORMAT, master: id.0, moves }
    }
}

/// `encryption/process/<writer id>`.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Process {
    #[prost(uint32, tag = "1")]
    format: u32,
    /// By the store's clock, in microseconds since 1970; after that it counts as gone.
    #[prost(uint64, tag = "2")]
    pub(super) until: u64,
    /// What it wraps and opens with.
    #[prost(uint32, repeated, tag = "3")]
    pub(super) masters: Vec<u32>,
}

impl Process {
    pub(super) fn new(until: Timestamp, masters: &[MasterKeyId]) -> Self {
        Self { format: FORMAT, until: until.as_micros(), masters: masters.iter().map(|id| id.0).collect() }
    }
}

/// `encryption/master/<id>`.
#[derive(Clone, PartialEq, Message)]
pub(super) struct MasterKeyUse {
    #[prost(uint32, tag = "1")]
    format: u32,
    /// 32 zero bytes, wrapped: opens under this very key alone.
    #[prost(bytes = "bytes", tag = "2")]
    pub(super) check: Bytes,
    /// Set before the key becomes active, taken away by a sweep that found no data key of it after it was active no more.
    #[prost(bool, tag = "3")]
    pub(super) in_use: bool,
}

impl MasterKeyUse {
    pub(super) fn new(check: Bytes) -> Self {
        Self { format: FORMAT, check, in_use: true }
    }
}

/// `encryption/key/<scope>`.
#[derive(Clone, PartialEq, Message)]
pub(super) struct ScopeKeys {
    #[prost(uint32, tag = "1")]
    format: u32,
    /// By number, ascending; the last seals.
    #[prost(message, repeated, tag = "2")]
    pub(super) generations: Vec<Generation>,
    /// Generations up to this one were erased; what is still here of them waits to be destroyed, and opens nothing any more. 0: none.
    #[prost(uint32, tag = "3")]
    pub(super) erased_to: u32,
    /// When, in microseconds since 1970.
    #[prost(uint64, tag = "4")]
    pub(super) erased_at: u64,
    /// Whether the id may be sealed for again since then: a new life was allowed.
    #[prost(bool, tag = "5")]
    pub(super) lives_again: bool,
    /// The id's last event when a new life was allowed: it begins behind. 0: none was.
    #[prost(uint64, tag = "6")]
    pub(super) erased_seq_nr: u64,
    /// Of an id: the scope that it belongs to; empty: none.
    #[prost(string, tag = "7")]
    pub(super) scope: String,
}

/// `encryption/chain`.
#[derive(Clone, PartialEq, Message)]
pub(super) struct ChainKey {
    #[prost(uint32, tag = "1")]
    format: u32,
    /// The master key that wrapped it.
    #[prost(uint32, tag = "2")]
    pub(super) master: u32,
    #[prost(bytes = "bytes", tag = "3")]
    pub(super) wrapped: Bytes,
}

impl ChainKey {
    pub(super) fn new(master: MasterKeyId, wrapped: Bytes) -> Self {
        Self { format: FORMAT, master: master.0, wrapped }
    }
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Generation {
    /// From 1 on; the key id of envelopes.
    #[prost(uint32, tag = "1")]
    pub(super) number: u32,
    /// The first event that it may have sealed.
    #[prost(uint64, tag = "2")]
    pub(super) from_seq: u64,
    /// The master key that wrapped it.
    #[prost(uint32, tag = "3")]
    pub(super) master: u32,
    #[prost(bytes = "bytes", tag = "4")]
    pub(super) wrapped: Bytes,
    /// The incident for which a rekeying made it; empty: it was made to seal with it.
    #[prost(string, tag = "5")]
    pub(super) rekeyed_for: String,
    /// The generation of the scope's key that wrapped it in place of a master key; 0: none did.
    #[prost(uint32, tag = "6")]
    pub(super) scope_key: u32,
}

impl ScopeKeys {
    pub(super) fn new() -> Self {
        Self { format: FORMAT, ..Self::default() }
    }

    /// That of an id that belongs to a scope.
    pub(super) fn in_scope(scope: String) -> Self {
        Self { scope, ..Self::new() }
    }

    pub(super) fn next_number(&self) -> Option<u32> {
        self.generations.last().map_or(0, |last| last.number).max(self.erased_to).checked_add(1)
    }

    /// Those that were not erased.
    pub(super) fn live(&self) -> impl Iterator<Item = &Generation> {
        self.generations.iter().filter(|generation| generation.number > self.erased_to)
    }

    /// When it was erased, if nothing began after that.
    pub(super) fn erased(&self) -> Option<Timestamp> {
        let dead = self.erased_to > 0 && !self.lives_again && self.live().next().is_none();
        dead.then(|| Timestamp::from_micros(self.erased_at))
    }
}

/// What a record's value is, with the format that it begins with.
pub(super) trait KeyRecord: Message + Default {
    fn format(&self) -> u32;

    fn to_value(&self) -> Bytes {
        self.encode_to_vec().into()
    }

    /// The value and the revision that set it.
    fn read(key: &RecordKey, record: &Record) -> Result<(Self, Revision), JournalError> {
        let value =
            Self::decode(record.value.clone()).map_err(|error| JournalError::corrupt_record(key, error))?;
        match value.format() {
            FORMAT => Ok((value, record.revision)),
            other => Err(JournalError::corrupt_record(
                key,
                format_args!("has format {other}, this build knows {FORMAT}"),
            )),
        }
    }
}

impl KeyRecord for ActiveKey {
    fn format(&self) -> u32 {
        self.format
    }
}

impl KeyRecord for MasterKeyUse {
    fn format(&self) -> u32 {
        self.format
    }
}

impl KeyRecord for ScopeKeys {
    fn format(&self) -> u32 {
        self.format
    }
}

impl KeyRecord for Process {
    fn format(&self) -> u32 {
        self.format
    }
}

impl KeyRecord for ChainKey {
    fn format(&self) -> u32 {
        self.format
    }
}

pub(super) fn chain_record() -> Result<RecordKey, JournalError> {
    name(RecordKey::new("encryption/chain"))
}

pub(super) fn erasures() -> Result<RecordKey, JournalError> {
    name(RecordKey::new("encryption/erasures"))
}

pub(super) fn active_key() -> Result<RecordKey, JournalError> {
    name(RecordKey::new(crate::encrypted::ACTIVE_MASTER_KEY))
}

pub(super) fn master_key(id: MasterKeyId) -> Result<RecordKey, JournalError> {
    name(RecordKey::new(&format!("{MASTER_PREFIX}{id}")))
}

pub(super) fn master_of(key: &RecordKey) -> Result<MasterKeyId, JournalError> {
    id_of(key, MASTER_PREFIX)
}

pub(super) fn passphrase_key(id: MasterKeyId) -> Result<RecordKey, JournalError> {
    name(RecordKey::new(&format!("{PASSPHRASE_PREFIX}{id}")))
}

/// The number at the end of a record's name.
pub(super) fn id_of(key: &RecordKey, prefix: &str) -> Result<MasterKeyId, JournalError> {
    key.as_str()
        .strip_prefix(prefix)
        .and_then(|id| id.parse().ok())
        .map(MasterKeyId)
        .ok_or_else(|| JournalError::corrupt_record(key, "its name does not end with a number"))
}

pub(super) fn process_key(id: WriterId) -> Result<RecordKey, JournalError> {
    name(RecordKey::new(&format!("{PROCESS_PREFIX}{id}")))
}

pub(super) fn process_of(key: &RecordKey) -> Result<WriterId, JournalError> {
    key.as_str()
        .strip_prefix(PROCESS_PREFIX)
        .and_then(|id| Uuid::parse_str(id).ok())
        .map(|id| WriterId::from_bytes(id.into_bytes()))
        .ok_or_else(|| JournalError::corrupt_record(key, "its name does not end with a writer's id"))
}

/// The active master key; `None` when nothing was ever sealed here.
pub(super) async fn active_master(records: &dyn Records) -> Result<Option<MasterKeyId>, JournalError> {
    let key = active_key()?;
    let Some(record) = records.get(&key).await? else { return Ok(None) };
    Ok(Some(MasterKeyId(ActiveKey::read(&key, &record)?.0.master)))
}

/// Records of which there are few: one for each master key, process or passphrase.
pub(super) async fn all_of(
    records: &dyn Records,
    prefix: &str,
) -> Result<Vec<(RecordKey, Record)>, JournalError> {
    let mut found: Vec<(RecordKey, Record)> = Vec::new();
    loop {
        let after = found.last().map(|(key, _)| key.clone());
        let page = records.list(prefix, after.as_ref(), PAGE).await?;
        let last = page.len() < PAGE;
        found.extend(page);
        if last {
            return Ok(found);
        }
    }
}

/// Whether a record of keys is that of a scope of several ids: no id has such a name.
pub(super) fn is_scope(key: &RecordKey) -> bool {
    !key.as_str().strip_prefix(SCOPE_PREFIX).unwrap_or_default().contains('|')
}

pub(super) fn scope_key(scope: &str) -> Result<RecordKey, JournalError> {
    name(RecordKey::new(&format!("{SCOPE_PREFIX}{scope}")))
}

/// The longest id gives a name that is short enough.
fn name(key: Result<RecordKey, InvalidName>) -> Result<RecordKey, JournalError> {
    key.map_err(|error| JournalError::rejected("record of a key", error.to_string()))
}

/// What a wrapped key is bound to, beside the master key's own secret.
///
/// ```text
///  ┌──────────────┬───────────┬─────────┬────────────────┬────────────────┬──────────────┬───────────────┐
///  │ "annals key" │ format, 1 │ kind, 1 │ master id, u32 │ generation,u32 │ from_seq,u64 │ scope, the rest │
///  └──────────────┴───────────┴─────────┴────────────────┴────────────────┴──────────────┴───────────────┘
/// ```
///
/// Numbers are big endian. Kind 1 is a data key, kind 2 a master key's check value, kind 3 the chain key; scope, generation and number
/// of the last two are empty.
pub(super) fn wrap_context(master: MasterKeyId, of: WrappedFor<'_>) -> Vec<u8> {
    let (kind, generation, from_seq, scope) = match of {
        WrappedFor::Scope { scope, generation, from_seq } => (1, generation, from_seq.get(), scope.as_str()),
        WrappedFor::Check => (2, 0, 0, ""),
        WrappedFor::Chain => (3, 0, 0, ""),
    };
    let mut context = Vec::with_capacity(LABEL.len() + 18 + scope.len());
    context.extend_from_slice(LABEL);
    context.extend_from_slice(&[WRAP_FORMAT, kind]);
    context.extend_from_slice(&master.0.to_be_bytes());
    context.extend_from_slice(&generation.to_be_bytes());
    context.extend_from_slice(&from_seq.to_be_bytes());
    context.extend_from_slice(scope.as_bytes());
    context
}

/// The same where the key of a scope wraps that of an id, which is kind 4.
///
/// ```text
///  "annals key" | format, 1 | kind, 1 | scope's generation, u32 | generation, u32 | from_seq, u64 | length, u16 | scope | id, the rest
/// ```
pub(super) fn scope_wrap_context(
    scope: &str,
    scope_key: u32,
    id: &Scope,
    (generation, from_seq): (u32, SeqNr),
) -> Vec<u8> {
    let mut context = Vec::with_capacity(LABEL.len() + 20 + scope.len() + id.as_str().len());
    context.extend_from_slice(LABEL);
    context.extend_from_slice(&[WRAP_FORMAT, 4]);
    context.extend_from_slice(&scope_key.to_be_bytes());
    context.extend_from_slice(&generation.to_be_bytes());
    context.extend_from_slice(&from_seq.get().to_be_bytes());
    // Names are shorter.
    context.extend_from_slice(&u16::try_from(scope.len()).unwrap_or(u16::MAX).to_be_bytes());
    context.extend_from_slice(scope.as_bytes());
    context.extend_from_slice(id.as_str().as_bytes());
    context
}

/// Whose key is wrapped.
#[derive(Debug, Clone, Copy)]
pub(super) enum WrappedFor<'a> {
    Scope { scope: &'a Scope, generation: u32, from_seq: SeqNr },
    Check,
    Chain,
}

pub(super) const MASTER_PREFIX: &str = "encryption/master/";
pub(super) const SCOPE_PREFIX: &str = "encryption/key/";
pub(super) const PROCESS_PREFIX: &str = "encryption/process/";
pub(super) const PASSPHRASE_PREFIX: &str = "encryption/passphrase/";
const PAGE: usize = 500;
pub(super) const FORMAT: u32 = 1;
const WRAP_FORMAT: u8 = 1;
const LABEL: &[u8] = b"annals key";
