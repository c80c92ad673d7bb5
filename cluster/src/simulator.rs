//! A cluster in one thread on virtual time: nodes, network, clocks, discovery and the lease's store, with all that can go wrong.
//!
//! Everything comes from one seed, so a run is the same on any machine. After every step the invariants are checked; a run that fails can
//! be shrunk to the faults that it needs, and told as a story.
//!
//! ```
//! use annals_cluster::simulator::{Scenario, run};
//!
//! let scenario = Scenario::short(7, None);
//! assert_eq!(run(&scenario).failure, None);
//! ```

mod scenario;
pub use scenario::{Scenario, StrategyName};
mod fault;
pub use fault::{Fault, FaultKind};
mod world;
pub use world::{Outcome, run, tell};
mod checks;
pub use checks::Failure;
mod network;
mod process;
mod traffic;
pub use traffic::{Traffic, traffic};
mod shrink;
mod store;
pub use shrink::shrink;
