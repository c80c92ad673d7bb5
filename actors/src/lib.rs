//! Persistent actors on tokio: commands come in, events are decided, made durable and folded into state.
//!
//! A [`PersistentActor`] is a domain aggregate; each of its commands has a [`Handle`] impl that decides what happens. A
//! [`Node`] runs the entities of its registered [`Kind`]s on one journal and gives an [`EntityRef`] to each.
//!
//! Actors without a journal are in [`plain`].
//!
//! This crate does not know that a cluster exists, and stores nothing itself.

mod persistent_actor;
pub use persistent_actor::{Handle, NeverRejected, PersistentActor};
mod durable_state;
pub use durable_state::{DurableState, StateChange};
mod command_list;
pub use command_list::{At, CommandList, Lists};
mod context;
pub use context::Context;
mod effect;
pub use effect::{Decision, Effect, Run};
mod failure;
pub use failure::{AskError, Failure, OutcomeUnknown, RecoveryError};

mod entity_ref;
pub use entity_ref::{Ask, EntityRef};
mod kind;
pub use kind::Kind;
mod node;
pub use node::{Node, NodeBuilder, StartError, StopStage, Stores, WrittenForm};
mod services;
pub use services::ServiceNeeds;
mod requests;
pub use requests::{KeepRequests, RequestIdReused, Requests};
mod environment;
pub use environment::{Clock, Ids, RandomIds, SystemClock};
pub mod plain;
pub mod telemetry;
#[cfg(feature = "testing")]
pub mod testing;

mod answer;
mod caretaker;
mod delivery;
mod driver;
mod entities;
mod entity;
mod inbox;
mod left_alone;
mod panic;
mod patience;
mod post;
mod versions;
mod vigils;
