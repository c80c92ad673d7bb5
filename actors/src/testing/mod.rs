//! The test kit: tests of aggregates that need no runtime, no journal and no patience.
//!
//! | door | asks |
//! |---|---|
//! | [`Given`] | given these events, when this command comes, what happens? |
//! | [`Replay`] | does a recorded journal still mean the same to today's code? |
//! | [`Property`] | whatever commands come, wherever it crashes, does everything hold that must? |
//!
//! Whatever a test asks, the kit also checks what every aggregate promises, and fails with a difference that a person can
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
pub use replay::{Difference, Replay, ReplayError, ReplayFailure, ReplayReport};
mod json_lines;
pub use json_lines::{ExportError, export};
mod property;
pub use property::Property;
mod story;
pub use story::Story;

mod bench;
mod difference;
mod findings;
mod inspected;
mod moment;
mod peek;
mod shown;
mod work;
