//! The entity's transitions, one claim a test, without runtime, clock or store.

mod bounds;
mod erased;
mod recovering;
mod rig;
mod setbacks;
mod snapshots;
mod stopping;
mod supervision;
mod transitions;
mod versions;
mod writing;
