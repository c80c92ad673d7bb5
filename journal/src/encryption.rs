//! Keys for a journal that nobody can read without them: data keys, one per persistence id, wrapped by a master key.
//!
//! [`DataKeys`] are kept in the journal's [`Records`](crate::Records), and every one of them is wrapped by a key of a [`Ring`] (or of whatever
//! implements [`MasterKeys`]). [`SealedJournal`] seals with them what it stores in another journal.
//!
//! ```
//! use std::sync::Arc;
//! use annals_journal::encryption::{DataKeyOptions, DataKeys, Ring, RingKeys, SealedJournal, SealedOptions};
//! use annals_journal::{
//!     AtomicWrite, Codec, Envelope, Journal, JournalExt, Manifest, MemoryJournal, PersistenceId, ReplayRange, Replayed, Timestamp,
//!     Token, WriterId, next_epoch,
//! };
//! use futures::TryStreamExt;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let memory = Arc::new(MemoryJournal::new());
//! let masters = Arc::new(RingKeys::from(Ring::generate()?));
//! let keys = DataKeys::open(memory.clone(), masters, DataKeyOptions::default()).await?;
//!
//! let alice = PersistenceId::new("account", "alice")?;
//! let journal = SealedJournal::open(memory.clone(), keys, SealedOptions::default()).await?;
//! let token = Token::new(next_epoch(&*memory).await?, 1);
//! let head = journal.claim(&alice, token).await?;
//! let deposited = Envelope {
//!     persistence_id: alice.clone(),
//!     seq_nr: head.seq_nr.next(),
//!     token,
//!     writer: WriterId::random(),
//!     timestamp: Timestamp::now(),
//!     manifest: Manifest::new("account.deposited")?,
//!     schema_version: 1,
//!     codec: Codec::Json,
//!     tags: Vec::new(),
//!     trace_context: None,
//!     key_id: None,
//!     payload: r#"{"cents":100}"#.into(),
//! };
//! let events = vec![deposited.clone()];
//! journal.append(AtomicWrite { persistence_id: alice.clone(), expected: head.seq_nr, token, events, mark: None }).await?;
//!
//! let Some(Replayed::Event(stored)) = memory.replay(ReplayRange::all(&alice)).try_next().await? else { panic!() };
//! assert_ne!(stored.envelope.payload, deposited.payload);
//! let Some(Replayed::Event(read)) = journal.replay(ReplayRange::all(&alice)).try_next().await? else { panic!() };
//! assert_eq!(read.envelope, deposited);
//! # Ok(())
//! # }
//! ```

mod cipher;
pub use cipher::NotAuthentic;
mod key_bytes;
mod key_cache;
pub use key_bytes::KeyBytes;
mod master_key;
pub use master_key::MasterKeyId;
mod ring;
pub use ring::{InvalidRing, NoNewKey, Ring};
mod key_source;
pub use key_source::{InvalidKeySource, KeySource};
mod keys_error;
pub use keys_error::KeysError;
mod master_keys;
pub use master_keys::{MasterKeyError, MasterKeys};
mod ring_keys;
pub use ring_keys::RingKeys;
mod passphrase;

mod key_scope;
mod scope;
pub use key_scope::{KeyScope, ScopeOf};
mod scoped_keys;

mod data_key;
pub use data_key::{DataKey, Seal, UsedUp};
mod data_key_options;
pub use data_key_options::DataKeyOptions;
mod data_keys;
pub use data_keys::DataKeys;
mod keeper;
mod pace;
mod registration;
mod takeover;
pub use registration::KeyProcess;
mod rewrap;
mod rotation;
pub use rotation::{RotationFailure, RotationOptions, RotationProgress, RotationSummary};
mod key_usage;
pub use key_usage::{KeyUsage, MasterKeyUsage};
mod key_state;
mod life;
pub use key_state::KeyState;
mod chain_key;
mod sealed_states;
pub use sealed_states::{NoStates, SealedStates, StatesSealed};
mod resealing;
pub use resealing::{ResealError, ResealFailure, ResealOptions, ResealProgress, ResealSummary, ResealedIds};
mod encrypt;
pub use encrypt::Encrypter;
mod rekey;
pub use rekey::Rekeyer;
mod erasure;
pub use erasure::{EraseError, Erased, Eraser};
mod erasure_log;
pub use erasure_log::{ErasureLog, ErasureLogError, Logged};
mod scope_erasure;
pub use scope_erasure::ErasedScope;
mod key_records;
mod key_store;
mod sealed;
pub use sealed::{Fault, FaultKind, HistoryCheck, SealedJournal, SealedOptions, Sound};

#[cfg(test)]
mod tests;
