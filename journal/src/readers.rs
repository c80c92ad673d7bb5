//! How far the readers of a journal are, as records.
//!
//! ```text
//! key    reader/<name>
//! value  33 bytes: format (1), offset's generation, major, minor, last advance in microseconds since 1970;
//!        one byte, then four numbers of eight bytes, big endian
//! ```

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, BufMut, Bytes, BytesMut};

use crate::{CompareAndSet, InvalidName, JournalError, Offset, Record, RecordKey, Records, Timestamp};

/// The readers (projections, exports) that want to see every event before it may be deleted.
///
/// A reader registers once, and advances as it goes. Who deletes events asks for the [slowest](Readers::slowest) and keeps
/// what lies behind it. So that a reader that is gone for good does not keep everything for ever, one that
/// has not advanced for a time no longer counts, which is logged.
#[derive(Clone)]
pub struct Readers {
    records: Arc<dyn Records>,
}

/// Names a registered reader: 1 to [`ReaderName::MAX_BYTES`] bytes of UTF-8 without control characters.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ReaderName(RecordKey);

/// Where a registered reader stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reader {
    /// Who.
    pub name: ReaderName,
    /// It has passed everything up to here.
    pub offset: Offset,
    /// When it last said so.
    pub advanced: Timestamp,
}

impl Readers {
    /// The readers of the journal to which these records belong.
    pub fn new(records: Arc<dyn Records>) -> Self {
        Self { records }
    }

    /// Registers a reader that has passed `offset`; one that is registered stays where it is. Says where it stands.
    ///
    /// # Errors
    /// As [`Records`]; after [`JournalError::Unknown`] do it again.
    pub async fn register(
        &self,
        name: &ReaderName,
        offset: Offset,
        now: Timestamp,
    ) -> Result<Reader, JournalError> {
        let new = Reader { name: name.clone(), offset, advanced: now };
        match self.records.compare_and_set(&name.0, None, new.encode()).await? {
            CompareAndSet::Changed { current: Some(record) } => Reader::decode(&name.0, &record),
            CompareAndSet::Changed { current: None } | CompareAndSet::Set(_) => Ok(new),
        }
    }

    /// Says that a reader has passed `offset`, and when. A lower offset than before changes only the time, so a
    /// reader at the end of the journal says the same offset again to show that it is there.
    ///
    /// `None`: the reader is not registered (any more), and what it has not passed may be gone.
    ///
    /// # Errors
    /// As [`Records`]; after [`JournalError::Unknown`] do it again.
    pub async fn advance(
        &self,
        name: &ReaderName,
        offset: Offset,
        now: Timestamp,
    ) -> Result<Option<Reader>, JournalError> {
        let mut current = self.records.get(&name.0).await?;
        while let Some(record) = current {
            let old = Reader::decode(&name.0, &record)?;
            let (offset, advanced) = (offset.max(old.offset), now.max(old.advanced));
            let new = Reader { name: name.clone(), offset, advanced };
            match self.records.compare_and_set(&name.0, Some(record.revision), new.encode()).await? {
                CompareAndSet::Set(_) => return Ok(Some(new)),
                CompareAndSet::Changed { current: newer } => current = newer,
            }
        }
        Ok(None)
    }

    /// Forgets a reader; nothing is kept for it any more. To begin again at another offset, register it anew.
    ///
    /// # Errors
    /// As [`Records`]; after [`JournalError::Unknown`] do it again.
    pub async fn unregister(&self, name: &ReaderName) -> Result<(), JournalError> {
        let mut current = self.records.get(&name.0).await?;
        while let Some(Record { revision, .. }) = current {
            match self.records.delete(&name.0, revision).await? {
                CompareAndSet::Set(_) => return Ok(()),
                CompareAndSet::Changed { current: newer } => current = newer,
            }
        }
        Ok(())
    }

    /// All registered readers in the order of their names.
    ///
    /// # Errors
    /// As [`Records`]; [`JournalError::Corrupt`] when a record is not a reader's.
    pub async fn list(&self) -> Result<Vec<Reader>, JournalError> {
        let mut readers = Vec::new();
        let mut after = None;
        loop {
            let page = self.records.list(PREFIX, after.as_ref(), PAGE).await?;
            let full = page.len() == PAGE;
            for (key, record) in &page {
                readers.push(Reader::decode(key, record)?);
            }
            after = page.into_iter().next_back().map(|(key, _)| key);
            if !full {
                return Ok(readers);
            }
        }
    }

    /// The reader that is furthest behind, of those that advanced within `max_age`; the others are logged as warnings.
    ///
    /// `None`: no reader has to be waited for.
    ///
    /// # Errors
    /// As [`Readers::list`].
    pub async fn slowest(&self, now: Timestamp, max_age: Duration) -> Result<Option<Reader>, JournalError> {
        let readers = self.list().await?;
        let alive = readers.into_iter().filter(|reader| {
            let age = now.since(reader.advanced);
            if age > max_age {
                tracing::warn!(
                    reader = reader.name.as_str(),
                    offset = %reader.offset,
                    age_seconds = age.as_secs(),
                    limit_seconds = max_age.as_secs(),
                    "a registered reader has not advanced for too long: events are no longer kept for it; unregister it, or let it run"
                );
            }
            age <= max_age
        });
        Ok(alive.min_by_key(|reader| reader.offset))
    }
}

impl fmt::Debug for Readers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Readers").field(&self.records).finish()
    }
}

impl ReaderName {
    /// The longest name, in bytes.
    pub const MAX_BYTES: usize = RecordKey::MAX_BYTES - PREFIX.len();

    /// Checks and takes a name.
    ///
    /// # Errors
    /// [`InvalidName`] when it is empty, too long or has a control character.
    pub fn new(name: &str) -> Result<Self, InvalidName> {
        crate::persistence_id::check_text("reader name", name, Self::MAX_BYTES)?;
        Ok(Self(RecordKey::new(&format!("{PREFIX}{name}"))?))
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        self.0.as_str().strip_prefix(PREFIX).unwrap_or_default()
    }
}

impl fmt::Display for ReaderName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for ReaderName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

impl Reader {
    fn encode(&self) -> Bytes {
        let Offset { generation, major, minor } = self.offset;
        let mut out = BytesMut::with_capacity(LENGTH);
        out.put_u8(FORMAT);
        for number in [generation, major, minor, self.advanced.as_micros()] {
            out.put_u64(number);
        }
        out.freeze()
    }

    fn decode(key: &RecordKey, record: &Record) -> Result<Self, JournalError> {
        let corrupt = |reason: String| JournalError::corrupt_record(key, reason);
        let mut value = record.value.clone();
        if value.len() != LENGTH {
            return Err(corrupt(format!("{} bytes where {LENGTH} belong", value.len())));
        }
        let format = value.get_u8();
        if format != FORMAT {
            return Err(corrupt(format!("format {format}, this build reads {FORMAT}: run a newer build")));
        }
        let [generation, major, minor, advanced] = std::array::from_fn(|_| value.get_u64());
        Ok(Self {
            name: ReaderName(key.clone()),
            offset: Offset { generation, major, minor },
            advanced: Timestamp::from_micros(advanced),
        })
    }
}

const PREFIX: &str = "reader/";
const FORMAT: u8 = 1;
const LENGTH: usize = 33;
const PAGE: usize = 256;

#[cfg(test)]
mod tests {
    use futures::executor::block_on;

    use super::*;
    use crate::{MemoryJournal, Revision};

    fn readers() -> Readers {
        Readers::new(Arc::new(MemoryJournal::new()))
    }

    fn name(name: &str) -> ReaderName {
        ReaderName::new(name).unwrap()
    }

    fn at(seconds: u64) -> Timestamp {
        Timestamp::from_micros(seconds * 1_000_000)
    }

    #[test]
    fn a_reader_advances_and_never_goes_back() {
        block_on(async {
            let (readers, a) = (readers(), name("a"));
            readers.register(&a, Offset::of_position(5), at(1)).await.unwrap();
            let reader = readers.advance(&a, Offset::of_position(9), at(2)).await.unwrap().unwrap();
            assert_eq!((reader.offset, reader.advanced), (Offset::of_position(9), at(2)));
            let reader = readers.advance(&a, Offset::of_position(7), at(3)).await.unwrap().unwrap();
            assert_eq!((reader.offset, reader.advanced), (Offset::of_position(9), at(3)));
            let again = readers.register(&a, Offset::BEGINNING, at(4)).await.unwrap();
            assert_eq!(again, reader);
        });
    }

    #[test]
    fn a_reader_that_is_not_registered_does_not_advance() {
        block_on(async {
            let (readers, a) = (readers(), name("a"));
            assert_eq!(readers.advance(&a, Offset::BEGINNING, at(1)).await.unwrap(), None);
            readers.register(&a, Offset::BEGINNING, at(1)).await.unwrap();
            readers.unregister(&a).await.unwrap();
            readers.unregister(&a).await.unwrap();
            assert_eq!(readers.advance(&a, Offset::BEGINNING, at(1)).await.unwrap(), None);
            assert_eq!(readers.list().await.unwrap(), []);
        });
    }

    #[test]
    fn the_slowest_is_the_one_furthest_behind_that_is_still_alive() {
        block_on(async {
            let readers = readers();
            let slowest = async |now| readers.slowest(now, Duration::from_secs(10)).await.unwrap();
            assert_eq!(slowest(at(0)).await, None);
            for (reader, offset, seconds) in [("dead", 1, 0), ("slow", 5, 20), ("fast", 9, 21)] {
                readers.register(&name(reader), Offset::of_position(offset), at(seconds)).await.unwrap();
            }
            assert_eq!(slowest(at(5)).await.unwrap().name, name("dead"));
            assert_eq!(slowest(at(25)).await.unwrap().name, name("slow"));
            assert_eq!(slowest(at(60)).await, None);
        });
    }

    #[test]
    fn many_readers_are_listed_over_several_pages() {
        block_on(async {
            let readers = readers();
            let mut names: Vec<_> = (0..PAGE + 3).map(|n| name(&format!("r{n}"))).collect();
            for name in &names {
                readers.register(name, Offset::BEGINNING, at(0)).await.unwrap();
            }
            names.sort();
            let listed: Vec<_> =
                readers.list().await.unwrap().into_iter().map(|reader| reader.name).collect();
            assert_eq!(listed, names);
        });
    }

    #[test]
    fn a_record_that_is_no_readers_is_corrupt() {
        let key = RecordKey::new("reader/a").unwrap();
        for value in [&b""[..], &[2; LENGTH], &[1; LENGTH - 1]] {
            let record = Record { revision: Revision(1), value: Bytes::copy_from_slice(value) };
            assert!(matches!(Reader::decode(&key, &record), Err(JournalError::Corrupt { .. })));
        }
    }
}
