//! The journal of Annals: where events live.
//!
//! This crate owns the vocabulary of event storage ([`PersistenceId`], [`SeqNr`], [`Envelope`], [`Token`]) and the two
//! object-safe traits that a backend implements: [`Journal`] for events and [`Records`] for small named values. It knows
//! nothing about actors, aggregates or serialization of users' types.
//!
//! An owner claims an id with a token and appends; whoever held the id before is refused from then on:
//!
//! ```
//! use std::sync::Arc;
//! use annals_journal::{
//!     AtomicWrite, Codec, Envelope, GroupCommit, GroupCommitSettings, JournalError, JournalExt, Manifest,
//!     MemoryJournal, PersistenceId, Timestamp, Token, WriterId, next_epoch,
//! };
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let memory = Arc::new(MemoryJournal::new());
//! let journal = GroupCommit::new(memory.clone(), GroupCommitSettings::default());
//!
//! let id = PersistenceId::new("account", "alice")?;
//! let token = Token::new(next_epoch(&*memory).await?, 1);
//! let head = journal.claim(&id, token).await?;
//! let deposited = Envelope {
//!     persistence_id: id.clone(),
//!     seq_nr: head.seq_nr.next(),
//!     token,
//!     writer: WriterId::random(),
//!     timestamp: Timestamp::now(),
//!     manifest: Manifest::new("account.deposited")?,
//!     schema_version: 1,
//!     codec: Codec::Json,
//!     tags: vec![],
//!     trace_context: None,
//!     key_id: None,
//!     payload: r#"{"cents":100}"#.into(),
//! };
//! let append =
//!     AtomicWrite { persistence_id: id.clone(), expected: head.seq_nr, token, events: vec![deposited], mark: None };
//! assert_eq!(journal.append(append.clone()).await?.seq_nr, head.seq_nr.next());
//!
//! let newer = Token::new(next_epoch(&*memory).await?, 1);
//! journal.claim(&id, newer).await?;
//! assert!(matches!(journal.append(append).await, Err(JournalError::Fenced { .. })));
//! # Ok(())
//! # }
//! ```
//!
//! Where to look: [`Journal::write`] for what is promised, [`GroupCommit`] for many writers at once, [`open`] for choosing a
//! backend by URL, the module `sqlite` (feature) for the embedded one, the module `conformance` (feature) for the suite that
//! a backend must pass, the module `testing` (feature) for a journal that fails on order, [`telemetry`] for the names of metrics and spans.

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
pub use journal::{Journal, JournalExt};
mod commit_path;
pub use commit_path::CommitPath;
mod commit_signal;
pub use commit_signal::{CommitListener, CommitSignal};
mod write;
pub use write::{AtomicWrite, Write};
mod encoded_write;
mod head;
pub use head::Head;
mod mark;
pub use mark::{Mark, MarkChange};
mod limits;
pub use limits::Limits;
mod replay;
pub use replay::{ReplayRange, Replayed};
mod page;
pub use page::{Page, PageItem};
mod stored_event;
pub use stored_event::StoredEvent;
mod records;
pub use records::{
    CompareAndSet, RECORD_MAX_BYTES, Record, RecordChange, RecordKey, Records, Revision, Verdict,
    check_record,
};
mod not_stored;
pub use not_stored::NotStored;
mod error;
pub use error::{Cause, JournalError};

mod memory;
pub use memory::MemoryJournal;

mod group_commit;
pub use group_commit::{GroupCommit, GroupCommitSettings};
pub mod telemetry;

mod encrypted;
#[cfg(feature = "encryption")]
pub mod encryption;
pub use encrypted::is_encrypted;

mod query;
pub use query::{IdQuery, Pages, Query};
mod readers;
pub use readers::{Reader, ReaderName, Readers};
mod gate;
pub use gate::{Gate, GatedCall};
mod epoch_counter;
pub use epoch_counter::{last_epoch, next_epoch, raise_epoch};

#[cfg(feature = "cassandra")]
pub mod cassandra;
#[cfg(feature = "postgres")]
pub mod postgres;
#[cfg(feature = "sqlite")]
pub mod sqlite;
mod url;
pub use url::{InvalidJournalUrl, JournalUrl, OpenJournal, OpenJournalError, open};

#[cfg(feature = "json-lines")]
pub mod json_lines;

#[cfg(feature = "conformance")]
pub mod conformance;
#[cfg(feature = "testing")]
pub mod testing;
