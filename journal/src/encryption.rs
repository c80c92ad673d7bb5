//! Keys for a journal that nobody can read without them: data keys, one per persistence id, wrapped by a master key.
//!
//! [`DataKeys`] are kept in the journal's [`Records`](crate::Records), and every one of them is wrapped by a key of a [`Ring`] (or of whatever
//! implements [`MasterKeys`]). Nothing seals events with them yet.
//!
//! ```
//! use std::sync::Arc;
//! use annals_journal::encryption::{DataKeyOptions, DataKeys, Ring, RingKeys};
//! use annals_journal::{MemoryJournal, PersistenceId, SeqNr};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let records = Arc::new(MemoryJournal::new());
//! let masters = Arc::new(RingKeys::from(Ring::generate()?));
//! let keys = DataKeys::open(records, masters, DataKeyOptions::default()).await?;
//!
//! let alice = PersistenceId::new("account", "alice")?;
//! let key = keys.to_seal(&[(&alice, SeqNr::FIRST)]).await.remove(0)?;
//! let mut text = *b"deposited 100";
//! let seal = key.seal(b"account|alice 1", &mut text)?;
//! key.open(&seal, b"account|alice 1", &mut text)?;
//! assert_eq!(&text, b"deposited 100");
//! # Ok(())
//! # }
//! ```

mod cipher;
pub use cipher::NotAuthentic;
mod key_bytes;
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

mod scope;

mod data_key;
pub use data_key::{DataKey, Seal, UsedUp};
mod data_key_options;
pub use data_key_options::DataKeyOptions;
mod data_keys;
pub use data_keys::DataKeys;
mod keeper;
mod registration;
pub use registration::KeyProcess;
mod rewrap;
mod rotation;
pub use rotation::{RotationFailure, RotationOptions, RotationProgress, RotationSummary};
mod key_usage;
pub use key_usage::{KeyUsage, MasterKeyUsage};
mod key_state;
pub use key_state::KeyState;
mod chain_key;
mod erasure;
pub use erasure::{EraseError, Erased, Eraser};
mod erasure_log;
pub use erasure_log::{ErasureLog, ErasureLogError};
mod key_records;
mod key_store;

#[cfg(test)]
mod tests;
