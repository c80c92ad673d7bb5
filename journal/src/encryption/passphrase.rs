use std::env::{self, VarError};
use std::fmt;
use std::sync::Arc;

use argon2::{Algorithm, Argon2, Params, Version};
use bytes::Bytes;
use prost::Message;
use zeroize::Zeroizing;

use super::cipher::KEY_BYTES;
use super::key_records::{
    FORMAT, KeyRecord, MASTER_PREFIX, MasterKeyUse, PASSPHRASE_PREFIX, WrappedFor, active_master, all_of,
    id_of, master_of, passphrase_key, wrap_context,
};
use super::key_store::{ATTEMPTS, busy};
use super::master_key::MasterKey;
use super::{KeyBytes, KeySource, KeysError, MasterKeyId, NoNewKey, Ring};
use crate::{CompareAndSet, JournalError, RecordKey, Records};

/// A passphrase, wiped when it is dropped.
pub(super) struct Passphrase {
    place: String,
    text: Arc<Zeroizing<String>>,
}

/// Why a passphrase that nobody knew was taken.
#[derive(Debug, Clone, Copy)]
pub(super) enum Enrolment {
    /// Nothing was ever sealed here.
    First,
    /// Another source opens what is there, so that a rotation can move to it.
    Beside,
}

/// `encryption/passphrase/<id>`: how a passphrase becomes the master key of this number.
#[derive(Clone, PartialEq, Message)]
pub(super) struct PassphraseKey {
    #[prost(uint32, tag = "1")]
    format: u32,
    #[prost(bytes = "bytes", tag = "2")]
    salt: Bytes,
    #[prost(uint32, tag = "3")]
    memory_kib: u32,
    #[prost(uint32, tag = "4")]
    passes: u32,
    #[prost(uint32, tag = "5")]
    lanes: u32,
    /// 32 zero bytes, wrapped under the key: tells the right passphrase.
    #[prost(bytes = "bytes", tag = "6")]
    check: Bytes,
}

impl KeyRecord for PassphraseKey {
    fn format(&self) -> u32 {
        self.format
    }
}

/// What Argon2id is to cost.
#[derive(Debug, Clone, Copy)]
struct Cost {
    memory_kib: u32,
    passes: u32,
    lanes: u32,
}

impl Cost {
    /// About what RFC 9106 recommends where memory is short; the same as of sealed exports.
    const DEFAULT: Self = Self { memory_kib: 64 * 1024, passes: 3, lanes: 4 };

    /// Who can write records must not be able to have a process take all memory, or hours.
    fn check(self) -> Result<Self, String> {
        let Self { memory_kib, passes, lanes } = self;
        let sane = (MIN_MEMORY_KIB..=MAX_MEMORY_KIB).contains(&memory_kib)
            && (1..=MAX_PASSES).contains(&passes)
            && (1..=MAX_LANES).contains(&lanes);
        if sane {
            return Ok(self);
        }
        Err(format!(
            "asks Argon2id for {memory_kib} KiB, {passes} passes and {lanes} lanes; {MIN_MEMORY_KIB} to {MAX_MEMORY_KIB} KiB, 1 to {MAX_PASSES} passes and 1 to {MAX_LANES} lanes are allowed"
        ))
    }
}

impl Passphrase {
    pub(super) fn from_variable(source: &KeySource, variable: &str) -> Result<Self, KeysError> {
        let place = source.to_string();
        let failed = |reason: &str| KeysError::Unreadable { place: place.clone(), reason: reason.to_owned() };
        let text = match env::var(variable) {
            Ok(text) if text.is_empty() => return Err(failed("is empty; put the passphrase there")),
            Ok(text) => Zeroizing::new(text),
            Err(VarError::NotPresent) => {
                return Err(failed("there is no such environment variable; put the passphrase there"));
            }
            Err(VarError::NotUnicode(text)) => {
                drop(Zeroizing::new(text.into_encoded_bytes()));
                return Err(failed("is not UTF-8"));
            }
        };
        Ok(Self { place, text: Arc::new(text) })
    }

    #[cfg(test)]
    pub(super) fn of(text: &str) -> Self {
        Self { place: "passphrase:env:TEST".into(), text: Arc::new(Zeroizing::new(text.to_owned())) }
    }

    pub(super) fn place(&self) -> &str {
        &self.place
    }

    /// The key that the journal knows it as; `None` when it knows it not.
    pub(super) async fn find(&self, records: &dyn Records) -> Result<Option<Ring>, KeysError> {
        for (id, known) in known(records).await? {
            let cost = Cost { memory_kib: known.memory_kib, passes: known.passes, lanes: known.lanes }
                .check()
                .map_err(|reason| corrupt(id, reason))?;
            let key = self.key(known.salt.clone(), cost).await?;
            if key.unwrap(&wrap_context(id, WrappedFor::Check), &known.check).is_ok() {
                return Ok(Some(Ring::of_one(id, key)));
            }
        }
        Ok(None)
    }

    /// Gives it a salt and a number.
    pub(super) async fn enrol(&self, records: &dyn Records) -> Result<Ring, KeysError> {
        self.enrol_at(records, Cost::DEFAULT).await
    }

    async fn enrol_at(&self, records: &dyn Records, cost: Cost) -> Result<Ring, KeysError> {
        for _ in 0..ATTEMPTS {
            let id = next_number(records).await?;
            let salt = KeyBytes::random()?;
            let salt = Bytes::copy_from_slice(&salt.as_bytes()[..SALT_BYTES]);
            let key = self.key(salt.clone(), cost).await?;
            let zeros = KeyBytes::new(Default::default());
            let value = PassphraseKey {
                format: FORMAT,
                salt,
                memory_kib: cost.memory_kib,
                passes: cost.passes,
                lanes: cost.lanes,
                check: key.wrap(&wrap_context(id, WrappedFor::Check), &zeros),
            };
            match records.compare_and_set(&passphrase_key(id)?, None, value.to_value()).await? {
                CompareAndSet::Set(_) => return Ok(Ring::of_one(id, key)),
                // Another process has the number; perhaps for the same passphrase.
                CompareAndSet::Changed { .. } => {
                    if let Some(ring) = self.find(records).await? {
                        return Ok(ring);
                    }
                }
            }
        }
        Err(busy(&passphrase_key(MasterKeyId(FIRST_NUMBER))?))
    }

    async fn key(&self, salt: Bytes, cost: Cost) -> Result<MasterKey, KeysError> {
        let (text, place) = (self.text.clone(), self.place.clone());
        let made = tokio::task::spawn_blocking(move || {
            let params = Params::new(cost.memory_kib, cost.passes, cost.lanes, Some(KEY_BYTES))?;
            let mut key = Zeroizing::new([0; KEY_BYTES]);
            Argon2::new(Algorithm::Argon2id, Version::V0x13, params).hash_password_into(
                text.as_bytes(),
                &salt,
                &mut key[..],
            )?;
            Ok::<_, argon2::Error>(MasterKey::new(KeyBytes::new(*key)))
        });
        let failed = |reason: String| KeysError::Unreadable { place, reason };
        match made.await {
            Ok(Ok(key)) => Ok(key),
            Ok(Err(error)) => Err(failed(format!("no key can be made of the passphrase: {error}"))),
            Err(error) => Err(failed(format!("no key was made of the passphrase: {error}"))),
        }
    }
}

impl fmt::Debug for Passphrase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Passphrase").field("place", &self.place).finish_non_exhaustive()
    }
}

/// All passphrases, those first that are most likely the one: the active key's, those in use, then from the newest on.
async fn known(records: &dyn Records) -> Result<Vec<(MasterKeyId, PassphraseKey)>, KeysError> {
    let active = active_master(records).await?;
    let mut in_use = Vec::new();
    for (name, record) in all_of(records, MASTER_PREFIX).await? {
        if MasterKeyUse::read(&name, &record)?.0.in_use {
            in_use.push(master_of(&name)?);
        }
    }
    let mut known = Vec::new();
    for (name, record) in all_of(records, PASSPHRASE_PREFIX).await? {
        known.push((id_of(&name, PASSPHRASE_PREFIX)?, PassphraseKey::read(&name, &record)?.0));
    }
    known.sort_by_key(|(id, _)| (Some(*id) != active, !in_use.contains(id), std::cmp::Reverse(*id)));
    Ok(known)
}

/// Above every number that a passphrase, or any master key of these numbers, ever had.
async fn next_number(records: &dyn Records) -> Result<MasterKeyId, KeysError> {
    let mut last = None;
    for prefix in [PASSPHRASE_PREFIX, MASTER_PREFIX] {
        for (name, _) in all_of(records, prefix).await? {
            last = last.max(Some(id_of(&name, prefix)?.0));
        }
    }
    let next = match last.filter(|last| *last >= FIRST_NUMBER) {
        None => Some(FIRST_NUMBER),
        Some(last) => last.checked_add(1),
    };
    Ok(MasterKeyId(next.ok_or(NoNewKey::NoNumber)?))
}

fn corrupt(id: MasterKeyId, reason: String) -> KeysError {
    let name: Result<RecordKey, JournalError> = passphrase_key(id);
    match name {
        Ok(name) => JournalError::corrupt_record(&name, reason).into(),
        Err(error) => error.into(),
    }
}

/// Rings count from 1, passphrases from here: so neither takes a number of the other.
const FIRST_NUMBER: u32 = 1 << 31;
const SALT_BYTES: usize = 16;
const MIN_MEMORY_KIB: u32 = 8 * 1024;
const MAX_MEMORY_KIB: u32 = 1024 * 1024;
const MAX_PASSES: u32 = 32;
const MAX_LANES: u32 = 16;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::MemoryJournal;

    const CHEAP: Cost = Cost { memory_kib: MIN_MEMORY_KIB, passes: 1, lanes: 1 };

    #[tokio::test]
    async fn a_passphrase_is_the_same_key_again_and_another_is_not() {
        let records = MemoryJournal::new();
        let (old, new) = (Passphrase::of("correct horse"), Passphrase::of("battery staple"));
        assert!(old.find(&records).await.unwrap().is_none());
        let ring = old.enrol_at(&records, CHEAP).await.unwrap();
        assert_eq!(ring.active(), MasterKeyId(1 << 31));
        assert!(old.find(&records).await.unwrap().unwrap().is_same_as(&ring));
        assert!(new.find(&records).await.unwrap().is_none());
        let other = new.enrol_at(&records, CHEAP).await.unwrap();
        assert_eq!(other.active(), MasterKeyId((1 << 31) + 1));
        assert!(old.find(&records).await.unwrap().unwrap().is_same_as(&ring));
        // The same passphrase in another journal is another key: the salt is its own.
        let elsewhere = old.enrol_at(&MemoryJournal::new(), CHEAP).await.unwrap();
        assert!(!elsewhere.is_same_as(&ring));
        assert!(!format!("{old:?} {ring:?}").contains("correct horse"));
    }

    #[tokio::test]
    async fn parameters_out_of_bounds_are_refused_before_they_cost_anything() {
        let records = MemoryJournal::new();
        let passphrase = Passphrase::of("correct horse");
        passphrase.enrol_at(&records, CHEAP).await.unwrap();
        let name = passphrase_key(MasterKeyId(FIRST_NUMBER)).unwrap();
        let stored = records.get(&name).await.unwrap().unwrap();
        let (good, mut revision) = PassphraseKey::read(&name, &stored).unwrap();
        let wrong: [fn(&mut PassphraseKey); 6] = [
            |key| key.memory_kib = u32::MAX,
            |key| key.memory_kib = 8,
            |key| key.passes = 1_000_000,
            |key| key.passes = 0,
            |key| key.lanes = 0,
            |key| key.lanes = 1 << 20,
        ];
        for change in wrong {
            let mut value = good.clone();
            change(&mut value);
            let set = records.compare_and_set(&name, Some(revision), value.to_value()).await.unwrap();
            let CompareAndSet::Set(next) = set else { panic!("{set:?}") };
            revision = next;
            let error = passphrase.find(&records).await.unwrap_err();
            assert!(error.to_string().contains("encryption/passphrase/2147483648"), "{error}");
        }
    }
}
