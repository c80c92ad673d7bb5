//! The command line of Annals: `annals inspect`, `events`, `export`, `import`, `verify`, `keys generate`,
//! `keys rotate`, `keys rekey`, `keys encrypt`, `keys status`, `keys erase`, `keys allow`, `schema`, `schema hold|release`,
//! `migrate legacy`, `migrate copy`, `migrate rewrite`.
//!
//! Rewriting needs an application's own steps between versions, so an application's own command line takes it in: [`Migrate`], which
//! [`migrate()`] performs.
//!
//! One file a command. A command reads through the traits of the journal alone, so it works on every backend that a URL can
//! name. What only looks at a journal opens it for reading only: nothing is created, claimed, migrated or written.
//!
//! ```text
//!  arguments.rs ─▶ inspect.rs · events.rs · export.rs · import.rs · verify.rs · keys.rs · schema.rs · migrate.rs ─▶ exit.rs
//!                     │ stores.rs   opens what --journal names, behind --keys
//!                     │ ids.rs      all ids, or those that were asked for, several at a time
//!                     │ history.rs  an id's events, also behind what cannot be read
//!                     └ console.rs  standard output, and a progress bar where somebody looks
//! ```
//!
//! `docs/cli.md` is for who uses it.

mod arguments;
pub use arguments::Arguments;
mod exit;
pub use exit::run;
mod rewrite;
pub use rewrite::{Migrate, RewriteArgs, migrate};

mod events;
mod export;
mod import;
mod inspect;
mod keys;
mod migrate;
mod schema;
mod verify;

mod console;
mod history;
mod ids;
mod key_sources;
mod mask;
mod output;
mod passphrase;
mod passphrase_file;
mod protobuf_text;
mod snapshot_line;
mod stores;
mod table;
mod watermarks;
