//! The test kit: tests of aggregates, alone without a runtime, and of whole nodes on virtual time.
//!
//! | door | asks |
//! |---|---|
//! | [`Given`] | given these events, when this command comes, what happens? |
//! | [`Replay`] | does a recorded journal still mean the same to today's code? |
//! | [`SchemaLock`] | is everything that older code stored still read, and as the same? |
//! | [`Property`] | whatever commands come, wherever it crashes, does everything hold that must? |
//! | [`TestNode`], [`Probe`] | what does a running node do when its stores fail, when time passes, when it crashes? |
//!
//! Whatever a test asks of the first three, the kit also checks what every aggregate promises, and fails with a difference that a person can
//! read: what is stored survives its serialization, replay gives the live state (I6), `apply` is deterministic, handling changes
//! nothing, and deciding again gives the same. For that a command is decided several times; nothing of the extra decisions is
//! carried out.
//!
//! States, replies and events are compared by their JSON. A `HashSet` has its members in another order each time: keep a
//! `BTreeSet` in a state, so that equal states are equal bytes.

mod given;
pub use given::Given;
mod then;
pub use then::Then;
mod replay;
pub use annals_journal::json_lines::{ExportError, export};
pub use replay::{Difference, Replay, ReplayError, ReplayFailure, ReplayReport};
mod schema_lock;
pub use schema_lock::{SchemaLock, SchemaLockError, SchemaLockReport};
mod property;
pub use property::Property;
mod story;
pub use story::Story;

mod test_node;
pub use test_node::{Stored, TestNode, TestNodeBuilder};
mod probe;
pub use annals_journal::testing::{FaultyJournal, Gate, JournalOperation, Outcome};
pub use annals_snapshot::testing::{FaultySnapshots, SnapshotOperation};
pub use probe::Probe;

mod bench;
mod difference;
mod findings;
mod inspected;
mod moment;
mod peek;
mod shown;
mod toolkit;
mod work;
