//! Where types become bytes and bytes become types again.
//!
//! A type that is stored says what it is stored as: every variant of an [`Event`] has a [`Schema`] (a name, a version,
//! a codec), and so have a [`Command`] and an entity's state. An [`EventAdapter`] stands between the types and the
//! journal; [`KindAdapter`] is the one that every kind of entity starts with, [`StateAdapter`] does the same for
//! snapshots, and a [`ManifestRegistry`] finds two types that would be stored under one name.
//!
//! This crate knows nothing of actors, and does no I/O.
//!
//! ```
//! use annals_migrations::{Event, EventAdapter, KindAdapter};
//! use serde::{Deserialize, Serialize};
//!
//! #[derive(Serialize, Deserialize, Event)]
//! enum AccountEvent {
//!     Deposited { cents: i64 },
//!     #[event(version = 2)]
//!     Withdrawn { cents: i64, reason: String },
//! }
//!
//! let adapter = KindAdapter::<AccountEvent>::new("account")?;
//! let stored = adapter.to_journal(&AccountEvent::Deposited { cents: 100 })?;
//! assert_eq!(stored.manifest.as_str(), "account.deposited");
//! assert_eq!(stored.schema_version, 1);
//! assert_eq!(&stored.payload[..], br#"{"cents":100}"#);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

// What the derive macros write names this crate, also inside it.
extern crate self as annals_migrations;

mod schema;
pub use schema::{Schema, SchemaName};
mod event;
pub use event::Event;
mod command;
pub use command::Command;
mod encoded;
pub use encoded::Encoded;

mod adapter;
pub use adapter::EventAdapter;
mod kind_adapter;
pub use kind_adapter::KindAdapter;
mod state_adapter;
pub use state_adapter::StateAdapter;
mod registry;
pub use registry::{DuplicateManifest, ManifestRegistry, Role};

mod error;
pub use error::{AdaptError, CodecError, SchemaError};

pub mod codec;

/// Implements [`Event`](trait@Event) for an enum, one schema a variant, or for a struct.
///
/// | attribute on a variant, or on a struct | meaning | default |
/// |---|---|---|
/// | `#[event(version = 2)]` | version of the shape, from 1 | 1 |
/// | `#[event(manifest = "bank.deposited")]` | the whole manifest, said explicitly | the entity's kind, `.`, the name in kebab-case |
/// | `#[event(protobuf)]` | the one unnamed field (of a struct: the struct itself) is a `prost::Message` and is stored as such | JSON through serde |
///
/// On the type itself, `#[event(crate = "path::to::annals_migrations")]` says where this crate is when neither it nor
/// `annals` is a direct dependency.
///
/// Kebab-case divides where a capital begins a word: `SentBack` is `sent-back`, `HTTPFailed` is `http-failed`.
/// Renaming a variant changes the manifest of what is stored from then on, so say the old one with `manifest`.
///
/// The payload is the variant's fields only: an object for named fields, the inner value for one unnamed field, an array
/// for several, `null` for none. All attributes of serde keep working, except those that take the variant's name out of
/// its hands (`tag`, `content`, `untagged`, `skip` on a variant, `into`, `from`), which do not compile.
///
/// JSON has no NaN and no infinities: an event that carries one is refused, unless in an `Option`, where it becomes `None`.
///
/// ```
/// use annals_migrations::Event;
/// use serde::{Deserialize, Serialize};
///
/// #[derive(Serialize, Deserialize, Event)]
/// enum OfferEvent {
///     Created { amount: u64 },
///     SentBack,
///     #[event(version = 3, manifest = "offer.gone")]
///     Cancelled(String),
/// }
///
/// assert_eq!(OfferEvent::SCHEMAS[2].version, 3);
/// assert_eq!(OfferEvent::Cancelled("too late".into()).encode()?, &br#""too late""#[..]);
/// # Ok::<(), annals_migrations::CodecError>(())
/// ```
pub use annals_derive::Event;

/// Implements [`Command`](trait@Command) for a struct, or for an enum as a whole.
///
/// | attribute on the type | meaning | default |
/// |---|---|---|
/// | `#[command(version = 2)]` | version of the shape, from 1 | 1 |
/// | `#[command(manifest = "bank.withdraw")]` | the whole manifest, said explicitly | the entity's kind, `.`, the type's name in kebab-case |
/// | `#[command(crate = "path")]` | where this crate is | found in `Cargo.toml` |
///
/// ```
/// use annals_migrations::{Command, SchemaName};
/// use serde::{Deserialize, Serialize};
///
/// #[derive(Serialize, Deserialize, Command)]
/// #[command(version = 2)]
/// struct SendBack { offer: u32 }
///
/// assert_eq!(SendBack::SCHEMA.name, SchemaName::OfKind("send-back"));
/// assert_eq!(SendBack::SCHEMA.version, 2);
/// ```
pub use annals_derive::Command;

/// What the derive macros write refers to this; not for anyone else.
#[doc(hidden)]
pub mod __private {
    pub use annals_journal::Codec;
    pub use bytes::Bytes;
}
