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
//! major and minor, big endian.

mod copier;
mod entity;
mod error;
mod fill;
mod plan;
mod records;
mod side;
mod snapshots;

pub use copier::{Copy, CopyReport};
pub use error::CopyError;
pub use plan::CopyPlan;
pub use side::Side;
