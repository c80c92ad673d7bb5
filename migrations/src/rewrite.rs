//! What stored events and snapshots become in other versions, and the sweep over a journal that puts it in their place.
//!
//! ```text
//! stored ─ from_journal ─▶ events of today ─ to_journal (to_journal_as) ─▶ one form: in its place
//!                                                                        none or several: an EventList in its place
//! ```

mod counts;
mod of_kind;
mod rewriter;
mod sweep;
mod target;

pub use counts::{FormCounts, LeftAlone, RewriteReport};
pub use rewriter::{Rewriter, Rewritten, StoredState};
pub use sweep::{Clear, RewriteError, RewriteSettings, Sweep};
pub use target::Target;
