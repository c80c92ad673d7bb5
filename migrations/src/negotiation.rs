//! Which versions are written, so that every process that uses the journal reads them.
//!
//! ```text
//!  schema/hold/<manifest>       an operator's: nobody writes it above this version
//!  schema/process/<writer id>   a registered process, with a lease: what it reads of each kind, what it may write without asking
//!  schema/stored/<manifest>     the watermark: which versions are stored; who is about to store another one
//! ```
//!
//! [`Agreement`] says from what readers announce in which form something is written; it knows no journal. `Membership` is the protocol over
//! these records, a state machine; [`Member`] performs it.

mod announcement;
pub use announcement::Announcement;
mod agreement;
pub use agreement::{Agreement, NoCommonForm, Objection};
mod watermark;
pub use watermark::Watermark;
mod table;
pub use table::{Process, Unreadable, VersionTable};
mod version_records;
pub use version_records::VersionRecords;
mod member;
pub use member::{DEFAULT_LEASE, Member, MemberError, UnreadableStored};

mod membership;
mod records;

#[cfg(test)]
mod model;
