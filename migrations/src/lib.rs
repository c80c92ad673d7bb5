//! Where types become bytes and bytes become types again.
//!
//! A type that is stored says what it is stored as: every variant of an [`Event`] has a [`Schema`] (a name, a version,
//! a codec), and so have a [`Command`] and an entity's state. An [`EventAdapter`] stands between the types and the
//! journal; [`KindAdapter`] is the one that every kind of entity starts with, [`StateAdapter`] does the same for
//! snapshots, [`CommandAdapter`] for commands on their way to another node, and a [`ManifestRegistry`] finds two types that would be
//! stored under one name.
//!
//! What was stored by older code is brought up by [`Step`]s, one a version, which [`Migrations`] put in order; steps down write for
//! builds that are older than this one.
//!
//! While builds of several versions run, an [`Agreement`] says in which form each manifest is written; over the journal's records,
//! processes come to it as [`Member`]s.
//!
//! A journal is brought to other versions by a [`rewrite::Sweep`], and into another journal by a [`copy::Copy`].
//!
//! This crate knows nothing of actors, and does no I/O but over the journal's traits.
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
mod form;
pub use form::{Form, ReadShape, Versions};
mod shape;
pub use shape::Shape;
mod step;
pub use step::Step;
mod migrations;
pub use migrations::Migrations;

mod adapter;
pub use adapter::EventAdapter;
mod kind_adapter;
pub use kind_adapter::KindAdapter;
mod event_list;
pub use event_list::EventList;
mod list_adapter;
pub use list_adapter::ListAdapter;
mod state_adapter;
pub use state_adapter::{STATE, STATE_DELETED, StateAdapter, is_whole_state};
mod command_adapter;
pub use command_adapter::CommandAdapter;
mod negotiation;
pub use negotiation::{
    Agreement, Announcement, DEFAULT_LEASE, Member, MemberError, NoCommonForm, Objection, Process,
    Unreadable, UnreadableStored, VersionRecords, VersionTable, Watermark,
};
mod written_forms;
pub use written_forms::{Permission, Written, WrittenForms};
mod legacy;
pub use legacy::{
    LegacyError, LegacyEvent, LegacyJournal, LegacyMapping, LegacyName, LegacyRows, LegacySource, TimeUnit,
};
mod lock_file;
pub use lock_file::{BreakReason, LockError, LockFile, SchemaBreak};
mod registry;
mod value_adapter;
pub use registry::{DuplicateManifest, ManifestRegistry, Role};

pub mod copy;
mod pace;
pub mod rewrite;

mod error;
pub use error::{AdaptError, CodecError, SchemaError};

mod chain;
pub mod codec;

/// Implements [`Event`](trait@Event) for an enum, one schema a variant, or for a struct.
///
/// | attribute on a variant, or on a struct | meaning | default |
/// |---|---|---|
/// | `#[event(version = 2)]` | version of the shape, from 1 | 1 |
/// | `#[event(manifest = "bank.deposited")]` | the whole manifest, said explicitly | the entity's kind, `.`, the name in kebab-case |
/// | `#[event(from(1 => step))]` | how older versions are read, see below | only today's version is read |
/// | `#[event(to(1 => step))]` | how today's version is written for builds that do not read it | not at all |
/// | `#[event(retired("bank.pinged"))]`, on the type | manifests that are read as nothing | none |
/// | `#[event(protobuf)]` | the one unnamed field (of a struct: the struct itself) is a `prost::Message` and is stored as such | JSON through serde |
///
/// On the type itself, `#[event(crate = "path::to::annals_migrations")]` says where this crate is when neither it nor
/// `annals` is a direct dependency.
///
/// Kebab-case divides where a capital begins a word: `SentBack` is `sent-back`, `HTTPFailed` is `http-failed`.
/// Renaming a variant changes the manifest of what is stored from then on, so say the old one with `manifest`.
///
/// `from(1 => step, 2 => step)` lists a step up from each older version that is read, without gaps; `("bank.moved", 1) => step` reads a
/// version of another manifest as this variant, for events that were renamed or merged. `to(2 => step, 1 => step)` lists steps down, from
/// today's version on, in this order. A path of a function or a closure takes the older (for `to`: the newer) type and yields the other
/// one; each other expression is a [`Step`]. What is wrong with the steps as a whole is an error when the kind is registered.
///
/// ```
/// use annals_migrations::{Event, EventAdapter, KindAdapter};
/// use serde::{Deserialize, Serialize};
///
/// #[derive(Serialize, Deserialize)]
/// struct WithdrawnV2 { cents: i64, reason: String }
///
/// #[derive(Serialize, Deserialize, Event)]
/// #[event(retired("account.pinged"))]
/// enum AccountEvent {
///     #[event(
///         version = 3,
///         from(
///             1 => Step::default_value("reason", ""),
///             2 => |old: WithdrawnV2| AccountEvent::Withdrawn { euros: old.cents / 100, reason: old.reason },
///             ("account.debited", 1) => Step::rename_field("amount", "euros").then(Step::default_value("reason", "")),
///         ),
///         to(2 => Step::fields(|fields| { fields.insert("cents".into(), 0.into()); Ok::<_, String>(()) })),
///     )]
///     Withdrawn { euros: i64, reason: String },
/// }
///
/// let versions = KindAdapter::<AccountEvent>::new("account")?.versions();
/// let reads: Vec<_> = versions.iter().map(|of| (of.manifest.as_str(), of.reads.clone())).collect();
/// assert_eq!(reads[0], ("account.withdrawn", 1..=3));
/// assert_eq!(reads[1], ("account.debited", 1..=1));
/// assert_eq!(reads[2], ("account.pinged", 1..=u32::MAX));
/// # Ok::<(), annals_migrations::SchemaError>(())
/// ```
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
/// | `#[command(from(1 => step), to(1 => step))]` | steps from older versions and down to them, as for an [event](macro@Event) | none |
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
    pub use serde_json::Value;
}
