//! Copies a journal into another one while its owners write, and hands over.
//!
//! ```text
//! source   open ───────────────────────────────────────────▶ sealed (Gate: nothing is stored any more) ──▶ for ever
//! target   empty ─▶ filling (Gate: no owners) ── fill ── fill ── settle ──▶ the rest ─▶ compare ─▶ open
//! ```
//! What the target has says how far the copy is, so one that was killed at any instruction goes on when it is started again. Until
//! the target is opened the source is the journal: [`Copy::give_up`] opens it again.
//!
//! The target keeps in the record `migrate/copy` up to which offset of the source it has everything: 25 bytes, format (1), then generation,
//! major and minor, big endian. `migrate/reseals` (one byte, format 1) is there when it has keys of its own. Both go when it is opened.
//!
//! Ids that were claimed and have no event are not copied: nobody can own an id of the target with a token of the source, because the target's
//! epochs begin above the source's.

mod copier;
mod entity;
mod error;
mod fill;
mod look;
mod plan;
mod records;
mod side;
mod snapshots;

pub use copier::{Copy, CopyReport};
pub use error::CopyError;
pub use plan::CopyPlan;
pub use side::Side;
