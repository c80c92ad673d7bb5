//! What stored events and snapshots become in other versions, and the sweep over a journal that puts it in their place.
//!
//! ```text
//! stored ─ from_journal ─▶ events of today ─ to_journal (to_journal_as) ─▶ one form: in its place
//!                                                                        none or several: an EventList in its place
//! ```
//!
//! [`Sweep`] reads and writes; [`Rewriting`] is one that takes part among the processes that use the journal: it asks before it writes a
//! form, has nobody write those that it removes, and says in the end which are stored no more.

mod counts;
mod error;
mod events;
mod of_kind;
mod rewriter;
mod rewriting;
mod standing;
mod states;
mod sweep;
mod target;
mod waiting;
mod written;

pub use counts::{FormCounts, LeftAlone, RewriteReport};
pub use error::RewriteError;
pub use rewriter::{Rewriter, Rewritten, StoredState};
pub use rewriting::{Plan, Rewriting, Rewrote};
pub use sweep::{Clear, RewriteSettings, Sweep};
pub use target::Target;
