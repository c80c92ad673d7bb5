//! Annals: event sourcing for Rust, centred on persistent actors.
//!
//! A domain aggregate is a [`PersistentActor`](prelude::PersistentActor): commands come in, events are decided, made durable in a
//! journal and folded into state. [`Annals::builder`] wires a node; this crate only puts the member crates together.
//!
//! | module | what |
//! |---|---|
//! | [`prelude`] | what an aggregate and its callers need |
//! | [`actors`] | persistent actors, nodes, references to entities |
//! | [`journal`] | what an event is on disk, the traits of a backend, the backends |
//! | [`snapshot`] | snapshot stores, policies, retention |
//! | [`migrations`] | events and commands as bytes: schemas, adapters, the derive macros |
//! | [`projections`] | views of events, exactly once in SQLite and PostgreSQL |
//! | [`shutdown`] (feature) | the order in which a process stops: phases with deadlines, signals, a report |
//! | `testing` (feature) | the test kit: given / when / then, replays of journals, properties, running nodes |

pub use annals_actors as actors;
#[cfg(feature = "testing")]
pub use annals_actors::testing;
pub use annals_journal as journal;
pub use annals_migrations as migrations;
pub use annals_projections as projections;
pub use annals_snapshot as snapshot;

mod builder;
mod keys;
#[cfg(feature = "shutdown")]
pub mod shutdown;
pub use builder::{Annals, Builder, StartError};

/// What an aggregate and its callers need.
pub mod prelude {
    pub use annals_actors::{
        AskError, Context, Effect, EntityRef, Failure, Handle, Kind, NeverRejected, Node, PersistentActor,
        ServiceNeeds,
    };
    pub use annals_journal::{PersistenceId, SeqNr, Tag, Timestamp};
    pub use annals_migrations::{Command, Event};
    pub use annals_snapshot::{Retention, SnapshotPolicy};

    pub use crate::Annals;
}

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

#[cfg(doctest)]
#[doc = include_str!("../docs/guide/first-aggregate.md")]
struct GuideFirstAggregate;
#[cfg(doctest)]
#[doc = include_str!("../docs/guide/effects.md")]
struct GuideEffects;
#[cfg(doctest)]
#[doc = include_str!("../docs/guide/snapshots.md")]
struct GuideSnapshots;
#[cfg(doctest)]
#[doc = include_str!("../docs/guide/actors.md")]
struct GuideActors;
#[cfg(doctest)]
#[doc = include_str!("../docs/guide/patterns.md")]
struct GuidePatterns;
#[cfg(doctest)]
#[doc = include_str!("../docs/guide/errors.md")]
struct GuideErrors;
#[cfg(doctest)]
#[doc = include_str!("../docs/guide/evolution.md")]
struct GuideEvolution;
#[cfg(all(doctest, feature = "encryption"))]
#[doc = include_str!("../docs/guide/encryption.md")]
struct GuideEncryption;
#[cfg(all(doctest, feature = "testing"))]
#[doc = include_str!("../docs/guide/testing.md")]
struct GuideTesting;
#[cfg(all(doctest, feature = "testing"))]
#[doc = include_str!("../docs/guide/replay.md")]
struct GuideReplay;
#[cfg(doctest)]
#[doc = include_str!("../docs/snapshots.md")]
struct Snapshots;
#[cfg(all(doctest, feature = "sqlite"))]
#[doc = include_str!("../docs/projections.md")]
struct Projections;
#[cfg(all(doctest, feature = "shutdown"))]
#[doc = include_str!("../docs/shutdown.md")]
struct Shutdown;
#[cfg(doctest)]
#[doc = include_str!("../docs/durable-state.md")]
struct DurableStates;
#[cfg(doctest)]
#[doc = include_str!("../docs/errors.md")]
struct Errors;
