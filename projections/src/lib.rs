//! Views of events: what entities decided, in the shape in which it is asked for.
//!
//! A projection is an actor that reads the journal and hands each event to a handler, from where it stopped before.
//!
//! | the view is | the handler is | each event |
//! |---|---|---|
//! | in a SQLite file (feature `sqlite`) | a `SqliteView` | exactly once |
//! | in PostgreSQL (feature `postgres`) | a `PostgresView` | exactly once |
//! | anywhere | a [`Handler`] | at least once |
//!
//! Exactly once: the handler is given the transaction in which the projection's progress moves, so that both are stored or none. The
//! progress moves only where it is still what this instance read, under the token of this instance: a second one that
//! takes the projection over has a newer token, and what the first one still has under way is undone.
//!
//! ```no_run
//! # use annals_actors::{Node, PersistentActor};
//! # #[derive(serde::Serialize, serde::Deserialize, annals_migrations::Event)]
//! # enum AccountEvent { Deposited { cents: i64 } }
//! # fn wire<A: PersistentActor<Event = AccountEvent>>(node: &Node, database: &annals_journal::sqlite::Database) -> Result<(), Box<dyn std::error::Error>> {
//! use annals_actors::plain::BoxError;
//! use annals_journal::sqlite::rusqlite::Connection;
//! use annals_projections::{Projected, Projection, Source, SqliteView};
//!
//! struct Balances;
//!
//! impl SqliteView for Balances {
//!     type Event = AccountEvent;
//!
//!     fn prepare(&self, view: &Connection) -> Result<(), BoxError> {
//!         Ok(view.execute_batch("CREATE TABLE IF NOT EXISTS balances (account TEXT PRIMARY KEY, cents INTEGER NOT NULL)")?)
//!     }
//!
//!     fn apply(&self, view: &Connection, event: &Projected<AccountEvent>) -> Result<(), BoxError> {
//!         let AccountEvent::Deposited { cents } = &event.event;
//!         let mut add = view.prepare_cached("INSERT INTO balances VALUES (?1, ?2) ON CONFLICT DO UPDATE SET cents = cents + ?2")?;
//!         add.execute((event.persistence_id.entity_id(), cents))?;
//!         Ok(())
//!     }
//!
//!     fn clear(&self, view: &Connection) -> Result<(), BoxError> {
//!         Ok(view.execute_batch("DELETE FROM balances")?)
//!     }
//! }
//!
//! let balances = Projection::builder("balances", Source::of::<A>(node)?).in_sqlite(database, Balances).start(node.system())?;
//! # let _ = balances; Ok(())
//! # }
//! ```
//!
//! Where to look: [`Projection`] for what can be done with a running one, [`FailurePolicy`] for events that cannot be taken, [`Status`] for
//! where it stands, [`telemetry`] for the names of metrics.

mod projected;
pub use projected::{CannotReplace, Gone, Missed, Projected};
mod source;
pub use source::{NotRegistered, Source};
mod projection;
pub use projection::{Projection, ProjectionBuilder, ProjectionError, Ready};
mod at_least_once;
pub use at_least_once::Handler;
#[cfg(feature = "sqlite")]
mod sqlite;
#[cfg(feature = "sqlite")]
pub use sqlite::SqliteView;
#[cfg(feature = "postgres")]
mod postgres;
#[cfg(feature = "postgres")]
pub use postgres::PostgresView;
mod policy;
pub use policy::FailurePolicy;
mod status;
pub use status::{Phase, ReaderStatus, Status};
mod dead_letter;
pub use dead_letter::DeadLetter;
pub mod telemetry;

mod batch;
mod instance;
mod progress;
mod reader;
mod store;
mod worker;
