//! Plain actors, without a journal: spawn, tell, ask, watch, supervision, timers, stash, dead letters.
//!
//! ```
//! use std::time::Duration;
//! use annals_actors::plain::{Actor, ActorContext, ActorSystem, BoxError, Props, ReplyTo};
//!
//! #[derive(Default)]
//! struct Till { cents: u64 }
//!
//! enum TillMessage {
//!     Add(u64),
//!     Total { reply_to: ReplyTo<u64> },
//! }
//!
//! impl Actor for Till {
//!     type Message = TillMessage;
//!
//!     async fn receive(&mut self, message: TillMessage, _: &mut ActorContext<Self>) -> Result<(), BoxError> {
//!         match message {
//!             TillMessage::Add(cents) => self.cents += cents,
//!             TillMessage::Total { reply_to } => reply_to.send(self.cents),
//!         }
//!         Ok(())
//!     }
//! }
//!
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let system = ActorSystem::new("shop");
//! let till = system.spawn("till", Props::new(Till::default))?;
//! till.tell(TillMessage::Add(250)).await?;
//! let total = till.ask(|reply_to| TillMessage::Total { reply_to }, Duration::from_secs(1)).await?;
//! assert_eq!(total, 250);
//! system.shutdown(Duration::from_secs(10)).await?;
//! # Ok(())
//! # }
//! ```
//!
//! An actor handles, in this order: control messages (children and watched actors that are gone, to stop), timers that are due,
//! piped work that is done, what was unstashed, its mailbox. What is bounded: mailbox, stash, piped work, the queue of each subscriber. What is not: children,
//! watches and timers, which the actor itself makes, and control messages, of which each of these has at most one on the way.

mod actor;
pub use actor::{Actor, Signal};
mod context;
pub use context::ActorContext;
mod actor_ref;
pub use actor_ref::{ActorRef, ReplyTo};
mod system;
pub use system::ActorSystem;
pub(crate) use system::Shared;
mod props;
pub use props::Props;
mod mailbox;
pub use mailbox::{Mailbox, Overflow};
mod supervision;
pub use supervision::{Backoff, RestartPolicy, SupervisorStrategy};
pub(crate) use supervision::{Directive, Supervisor};
mod termination;
pub use termination::{Terminated, TerminationReason};
mod timers;
pub use timers::TimerKey;
pub(crate) use timers::{Make, Timers};
mod dead_letters;
pub(crate) use dead_letters::MessageType;
pub use dead_letters::{DeadLetter, DeadLetterReason};
mod event_stream;
pub use event_stream::{EventStream, Publishable, Published, Subscription};
mod router;
pub use router::{Group, Router};
mod circuit_breaker;
pub use circuit_breaker::{CallError, CircuitBreaker, CircuitBreakerBuilder, CircuitState};
mod retry;
pub use retry::retry;
mod actor_path;
pub use actor_path::{ActorId, ActorPath};
mod failure;
pub use failure::{
    ActorFailure, BoxError, DeathPact, NoAnswer, NotDelivered, ShutdownTimedOut, SpawnError, StashFull,
    TooMuchUnderWay, Undeliverable,
};

mod alarm;
pub(crate) use alarm::Alarm;
mod cell;
pub(crate) use cell::{AnyCell, Cell, Watchable, Watcher};
mod inbox;
pub(crate) use inbox::{Control, Halt};
mod lifecycle;
mod piped;
mod queue;
pub(crate) use queue::{Queue, Ticket};
mod runner;
mod told;
pub(crate) use told::{Mourners, Told};
