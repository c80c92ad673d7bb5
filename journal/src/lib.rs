//! The journal of Annals: where events live.
//!
//! This crate owns the vocabulary of event storage ([`PersistenceId`], [`SeqNr`], [`Envelope`], [`Token`]) and the two
//! object-safe traits that a backend implements: [`Journal`] for events and [`Records`] for small named values. It knows
//! nothing about actors, aggregates or serialization of users' types.

mod persistence_id;
pub use persistence_id::{InvalidName, PersistenceId};
mod slice;
pub use slice::{Slice, SliceRange};
mod seq_nr;
pub use seq_nr::SeqNr;
mod token;
pub use token::{Epoch, Token};
mod writer_id;
pub use writer_id::WriterId;
mod timestamp;
pub use timestamp::Timestamp;
mod manifest;
pub use manifest::Manifest;
mod codec;
pub use codec::Codec;
mod key_id;
pub use key_id::KeyId;
mod tag;
pub use tag::Tag;
mod offset;
pub use offset::Offset;
mod envelope;
pub use envelope::{Envelope, EventDigest, InvalidEnvelope, TraceContext};

mod journal;
pub use journal::{
    AtomicWrite, Head, Journal, JournalExt, Limits, Page, PageItem, ReplayRange, Replayed, StoredEvent, Write,
};
mod records;
pub use records::{CompareAndSet, RECORD_MAX_BYTES, Record, RecordKey, Records, Revision, check_record};
mod not_stored;
pub use not_stored::NotStored;
mod error;
pub use error::{Cause, JournalError};

mod memory;
pub use memory::MemoryJournal;

mod group_commit;
pub use group_commit::{GroupCommit, GroupCommitSettings};
pub mod telemetry;

mod readers;
pub use readers::{Reader, ReaderName, Readers};
mod epoch_counter;
pub use epoch_counter::next_epoch;

#[cfg(feature = "sqlite")]
pub mod sqlite;
mod url;
pub use url::{InvalidJournalUrl, JournalUrl, OpenJournal, OpenJournalError, open};

#[cfg(feature = "conformance")]
pub mod conformance;
