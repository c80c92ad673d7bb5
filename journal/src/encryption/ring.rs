use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fmt;
use std::sync::Arc;

use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};
use zeroize::Zeroizing;

use super::master_key::MasterKey;
use super::{KeyBytes, MasterKeyId};

/// Master keys: one is active and wraps new data keys, any number is retired and opens what it wrapped before.
///
/// As a file or a variable it is JSON; each key is 32 random bytes in base64:
///
/// ```text
/// {"active":2,"keys":{"1":"<44 characters>","2":"<44 characters>"}}
/// ```
///
/// The keys are wiped when the ring is dropped, and are never part of `Debug` or of an error.
///
/// ```
/// use annals_journal::encryption::{MasterKeyId, Ring};
///
/// let mut ring = Ring::generate()?;
/// let added = ring.add()?;
/// ring.activate(added);
/// let same = Ring::parse(&ring.to_json())?;
/// assert_eq!(same.active(), MasterKeyId(2));
/// assert_eq!(same.ids().collect::<Vec<_>>(), [MasterKeyId(1), MasterKeyId(2)]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct Ring {
    active: MasterKeyId,
    keys: BTreeMap<MasterKeyId, Arc<MasterKey>>,
}

impl Ring {
    /// A ring with one new key, number 1.
    ///
    /// # Errors
    /// [`NoNewKey`] when the system has no randomness to give.
    pub fn generate() -> Result<Self, NoNewKey> {
        let id = MasterKeyId(1);
        Ok(Self { active: id, keys: BTreeMap::from([(id, Arc::new(new_key()?))]) })
    }

    /// Reads the JSON form.
    ///
    /// # Errors
    /// [`InvalidRing`], which never quotes the text.
    pub fn parse(text: &str) -> Result<Self, InvalidRing> {
        let written: Written = serde_json::from_str(text)
            .map_err(|error| InvalidRing::NotARing { line: error.line(), column: error.column() })?;
        let mut keys = BTreeMap::new();
        for (number, text) in written.keys.0 {
            let id = number
                .parse()
                .ok()
                .filter(|id: &u32| id.to_string() == number)
                .map(MasterKeyId)
                .ok_or(InvalidRing::NotANumber)?;
            let key = MasterKey::from_base64(&text).ok_or(InvalidRing::NotAKey { id })?;
            match keys.entry(id) {
                Entry::Vacant(entry) => drop(entry.insert(Arc::new(key))),
                Entry::Occupied(_) => return Err(InvalidRing::Duplicate { id }),
            }
        }
        all_different(&keys)?;
        let active = MasterKeyId(written.active);
        if !keys.contains_key(&active) {
            return Err(InvalidRing::NoActive { id: active });
        }
        Ok(Self { active, keys })
    }

    /// Writes the JSON form, which [`Ring::parse`] reads.
    pub fn to_json(&self) -> Zeroizing<String> {
        // As much as the longest entry takes, so that the text never moves and leaves a copy behind.
        let mut text =
            Zeroizing::new(String::with_capacity(JSON_FRAME_BYTES + JSON_KEY_BYTES * self.keys.len()));
        text.push_str(&format!("{{\"active\":{},\"keys\":{{", self.active));
        for (n, (id, key)) in self.keys.iter().enumerate() {
            text.push_str(if n == 0 { "" } else { "," });
            text.push_str(&format!("\"{id}\":\""));
            key.write_base64(&mut text);
            text.push('"');
        }
        text.push_str("}}");
        text
    }

    /// Adds a new key under the next number; the active one stays as it is.
    ///
    /// # Errors
    /// [`NoNewKey`] when there is no higher number, or the system has no randomness to give.
    pub fn add(&mut self) -> Result<MasterKeyId, NoNewKey> {
        let last = self.keys.last_key_value().map_or(0, |(id, _)| id.0);
        let id = MasterKeyId(last.checked_add(1).ok_or(NoNewKey::NoNumber)?);
        self.keys.insert(id, Arc::new(new_key()?));
        Ok(id)
    }

    /// Makes a key of the ring the active one; answers whether the ring has it.
    pub fn activate(&mut self, id: MasterKeyId) -> bool {
        let known = self.keys.contains_key(&id);
        if known {
            self.active = id;
        }
        known
    }

    /// The key that wraps what is new.
    pub fn active(&self) -> MasterKeyId {
        self.active
    }

    /// All keys, by number.
    pub fn ids(&self) -> impl Iterator<Item = MasterKeyId> {
        self.keys.keys().copied()
    }

    pub(super) fn of_one(id: MasterKeyId, key: MasterKey) -> Self {
        Self { active: id, keys: BTreeMap::from([(id, Arc::new(key))]) }
    }

    pub(super) fn key(&self, id: MasterKeyId) -> Option<&MasterKey> {
        self.keys.get(&id).map(|key| &**key)
    }

    /// The same with the keys of another, which may have the same ones.
    ///
    /// # Errors
    /// When a number stands for different keys in them, or a key has different numbers.
    pub(super) fn with(&self, other: &Self) -> Result<Self, InvalidRing> {
        let mut keys = self.keys.clone();
        for (id, key) in &other.keys {
            match keys.entry(*id) {
                Entry::Vacant(entry) => drop(entry.insert(key.clone())),
                Entry::Occupied(there) if there.get().has_bytes_of(key) => {}
                Entry::Occupied(_) => return Err(InvalidRing::Duplicate { id: *id }),
            }
        }
        all_different(&keys)?;
        Ok(Self { active: self.active, keys })
    }

    pub(super) fn is_same_as(&self, other: &Self) -> bool {
        self.active == other.active
            && self.keys.len() == other.keys.len()
            && self.keys.iter().zip(&other.keys).all(|(a, b)| a.0 == b.0 && a.1.has_bytes_of(b.1))
    }
}

/// Two numbers of one key are refused: rotating from one to the other would change nothing.
fn all_different(keys: &BTreeMap<MasterKeyId, Arc<MasterKey>>) -> Result<(), InvalidRing> {
    let mut by_bytes: Vec<_> = keys.iter().collect();
    by_bytes.sort_by(|(_, a), (_, b)| a.as_bytes().cmp(b.as_bytes()));
    match by_bytes.windows(2).find(|pair| pair[0].1.has_bytes_of(pair[1].1)) {
        None => Ok(()),
        Some(pair) => {
            let (a, b) = (*pair[0].0, *pair[1].0);
            Err(InvalidRing::SameKey { id: a.max(b), other: a.min(b) })
        }
    }
}

impl fmt::Debug for Ring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ids: Vec<u32> = self.keys.keys().map(|id| id.0).collect();
        f.debug_struct("Ring").field("active", &self.active.0).field("keys", &ids).finish()
    }
}

/// Why a text is no ring; never quotes it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidRing {
    /// It is other JSON, or none.
    #[error(
        "is no ring of master keys (line {line}, column {column}); a ring is {{\"active\":1,\"keys\":{{\"1\":\"<32 bytes in base64>\"}}}}"
    )]
    NotARing {
        /// Where it begins to be something else.
        line: usize,
        /// And in which column.
        column: usize,
    },
    /// A key's name is no number.
    #[error("a key's number must be a whole number from 0 to 4294967295 without leading zeros")]
    NotANumber,
    /// A key is cut, too long, or not in base64.
    #[error("key {id} is not 32 bytes in base64")]
    NotAKey {
        /// Which.
        id: MasterKeyId,
    },
    /// A number is there twice: which of the keys is meant?
    #[error("key {id} is there twice")]
    Duplicate {
        /// Which.
        id: MasterKeyId,
    },
    /// Two numbers have the same key, so that rotating from one to the other changes nothing.
    #[error("keys {other} and {id} are the same key; make a new one with `annals keys generate`")]
    SameKey {
        /// The second.
        id: MasterKeyId,
        /// The first.
        other: MasterKeyId,
    },
    /// The active key is missing.
    #[error("key {id} is active, and not in the ring")]
    NoActive {
        /// Which.
        id: MasterKeyId,
    },
}

/// Why no key could be made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NoNewKey {
    /// All numbers are taken.
    #[error("the ring has the highest number there is; begin a new ring")]
    NoNumber,
    /// The system's source of randomness failed.
    #[error("the system has no randomness to give")]
    NoRandomness,
}

fn new_key() -> Result<MasterKey, NoNewKey> {
    KeyBytes::random().map(MasterKey::new)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    active: u32,
    keys: WrittenKeys,
}

/// All entries as they are written: a map would keep the last of two with one name.
struct WrittenKeys(Vec<(String, Zeroizing<String>)>);

impl<'de> Deserialize<'de> for WrittenKeys {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Entries;
        impl<'de> Visitor<'de> for Entries {
            type Value = WrittenKeys;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("keys by number")
            }

            fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<WrittenKeys, M::Error> {
                let mut entries = Vec::new();
                while let Some((number, key)) = map.next_entry::<String, String>()? {
                    entries.push((number, Zeroizing::new(key)));
                }
                Ok(WrittenKeys(entries))
            }
        }
        deserializer.deserialize_map(Entries)
    }
}

const JSON_FRAME_BYTES: usize = 40;
/// A number of ten digits, 44 characters, quotes, a colon and a comma, and room to spare.
const JSON_KEY_BYTES: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    const A: &str = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";
    const B: &str = "BBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBA=";

    fn refused(text: &str) -> InvalidRing {
        Ring::parse(text).unwrap_err()
    }

    #[test]
    fn what_is_written_is_read() {
        let mut ring = Ring::generate().unwrap();
        for _ in 0..20 {
            ring.add().unwrap();
        }
        let json = ring.to_json();
        assert!(json.len() <= JSON_FRAME_BYTES + 21 * JSON_KEY_BYTES, "the text has moved");
        let read = Ring::parse(&json).unwrap();
        assert_eq!(read.active(), MasterKeyId(1));
        assert!(read.ids().eq(ring.ids()));
        assert!(read.ids().all(|id| read.keys[&id].has_bytes_of(&ring.keys[&id])));
        assert_eq!(read.to_json(), json);
    }

    #[test]
    fn two_keys_of_one_number_are_refused() {
        let text = format!(r#"{{"active":1,"keys":{{"1":"{A}","1":"{B}"}}}}"#);
        assert_eq!(refused(&text), InvalidRing::Duplicate { id: MasterKeyId(1) });
        let text = format!(r#"{{"active":1,"keys":{{"1":"{A}","1":"{A}"}}}}"#);
        assert_eq!(refused(&text), InvalidRing::Duplicate { id: MasterKeyId(1) });
        let text = format!(r#"{{"active":1,"keys":{{"1":"{A}","2":"{A}"}}}}"#);
        assert_eq!(refused(&text), InvalidRing::SameKey { id: MasterKeyId(2), other: MasterKeyId(1) });
        let text = format!(r#"{{"active":1,"keys":{{"1":"{A}"}},"keys":{{"2":"{B}"}}}}"#);
        assert!(matches!(refused(&text), InvalidRing::NotARing { .. }));
    }

    #[test]
    fn a_key_that_is_cut_is_refused_wherever_it_is_cut() {
        for length in 0..A.len() {
            let text = format!(r#"{{"active":1,"keys":{{"1":"{}"}}}}"#, &A[..length]);
            assert_eq!(refused(&text), InvalidRing::NotAKey { id: MasterKeyId(1) }, "{length}");
        }
        let text = format!(r#"{{"active":1,"keys":{{"1":"{A}{A}"}}}}"#);
        assert_eq!(refused(&text), InvalidRing::NotAKey { id: MasterKeyId(1) });
    }

    #[test]
    fn a_number_has_one_spelling() {
        for number in ["01", "+1", "-1", " 1", "one", "", "4294967296"] {
            let text = format!(r#"{{"active":1,"keys":{{"{number}":"{A}"}}}}"#);
            assert_eq!(refused(&text), InvalidRing::NotANumber, "{number:?}");
        }
        let text = format!(r#"{{"active":4294967295,"keys":{{"0":"{A}","4294967295":"{B}"}}}}"#);
        let mut ring = Ring::parse(&text).unwrap();
        assert_eq!(ring.add(), Err(NoNewKey::NoNumber));
        assert!(!ring.activate(MasterKeyId(7)));
        assert_eq!(ring.active(), MasterKeyId(u32::MAX));
    }

    #[test]
    fn the_active_key_must_be_there() {
        let text = format!(r#"{{"active":2,"keys":{{"1":"{A}"}}}}"#);
        assert_eq!(refused(&text), InvalidRing::NoActive { id: MasterKeyId(2) });
        assert_eq!(refused(r#"{"active":2,"keys":{}}"#), InvalidRing::NoActive { id: MasterKeyId(2) });
    }

    #[test]
    fn no_text_of_a_wrong_ring_is_said_and_no_key_is_shown() {
        let wrong = [
            "hunter2".to_owned(),
            r#"{"active":"hunter2"}"#.to_owned(),
            r#"{"active":1,"hunter2":1}"#.to_owned(),
            r#"{"active":1,"keys":{"1":"hunter2"}}"#.to_owned(),
            r#"{"active":1,"keys":{"hunter2":"hunter2"}}"#.to_owned(),
            r#"{"active":1,"keys":["hunter2"]}"#.to_owned(),
            format!(r#"{{"active":1,"keys":{{"1":"{A}"}},"hunter2":1}}"#),
        ];
        for text in wrong {
            let error = refused(&text);
            let said = format!("{error} {error:?}");
            assert!(!said.contains("hunter2") && !said.contains(A), "{said}");
        }
        let ring = Ring::parse(&format!(r#"{{"active":1,"keys":{{"1":"{B}"}}}}"#)).unwrap();
        assert_eq!(format!("{ring:?}"), "Ring { active: 1, keys: [1] }");
    }

    #[test]
    fn a_wrapped_key_opens_under_its_own_key_and_context_alone() {
        let mut ring = Ring::generate().unwrap();
        let other = ring.add().unwrap();
        let (first, other) = (ring.key(MasterKeyId(1)).unwrap(), ring.key(other).unwrap());
        let wrapped = first.wrap(b"account|alice", &KeyBytes::new([7; 32]));
        assert_eq!(first.unwrap(b"account|alice", &wrapped).unwrap(), KeyBytes::new([7; 32]));
        assert!(other.unwrap(b"account|alice", &wrapped).is_err());
        assert!(first.unwrap(b"account|bob", &wrapped).is_err());
        for length in 0..wrapped.len() {
            assert!(first.unwrap(b"account|alice", &wrapped[..length]).is_err(), "{length} bytes");
        }
        for bit in 0..8 * wrapped.len() {
            let mut flipped = wrapped.to_vec();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(first.unwrap(b"account|alice", &flipped).is_err(), "bit {bit}");
        }
    }
}
