//! In which versions a node writes, as it has agreed with all others that use the journal.
//!
//! ```text
//! entity: encode ─→ WrittenForms ─┬─ written so, by everybody's leave ─→ append
//!                                 └─ ask first ─→ Clearance ─→ Keeper ─→ Member (the journal's records) ─→ encode again
//! ```
//!
//! The keeper renews the node's registration, sees who came and went and what is held, and sets the forms anew. Between two renewals,
//! entities ask nobody.

mod clearance;
mod keeper;

pub(crate) use clearance::{Ask, Clearance};
pub(crate) use keeper::{Keeper, Kept};
