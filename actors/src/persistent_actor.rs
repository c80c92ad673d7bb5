use annals_journal::Tag;
use annals_migrations::{Command, Event, Migrations};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::{CommandList, Context, Effect, ServiceNeeds};

/// A domain aggregate whose state is the fold of its events.
///
/// Commands come in through [`Handle`], which decides events; the events are made durable in the journal and folded
/// into the state by [`apply`](Self::apply). Recovery is the same fold over the stored events, so `apply` must be
/// deterministic: no clock, no randomness, no services.
pub trait PersistentActor: Default + Serialize + DeserializeOwned + Send + Sync + 'static {
    /// Names the kind: the first part of every persistence id (`account|alice`) and of every manifest
    /// (`account.deposited`). Never change it once something is stored.
    const KIND: &'static str;

    /// Version of the state's shape in snapshots. Raise it when a snapshot of an older build must not be read as it is: one of another
    /// version is brought up by [`state_migrations`](Self::state_migrations), or the entity recovers from its events.
    const STATE_VERSION: u32 = 1;

    /// What can happen to it.
    type Event: Event;

    /// The commands it handles, as a tuple; each has a [`Handle`] impl.
    type Commands: CommandList<Self>;

    /// Folds an event into the state: the only way in which state changes.
    fn apply(&mut self, event: &Self::Event);

    /// Labels for readers by tag, given the state after the event.
    fn tags(&self, _event: &Self::Event) -> Vec<Tag> {
        Vec::new()
    }

    /// How snapshots of older versions are read, and today's written for older builds; the manifest's name is `state`. None by default.
    fn state_migrations() -> Migrations<Self> {
        Migrations::new()
    }

    /// Each event is the whole state: recovery reads the newest, and older ones go. What [`DurableState`](crate::DurableState) is made of.
    #[doc(hidden)]
    const REPLACES_STATE: bool = false;

    /// Declares the services that handlers take from their context, so that a missing one is found at start.
    fn services(_needs: &mut ServiceNeeds) {}
}

/// Handles one command: its own reply, its own rejection.
///
/// `handle` decides and does nothing else. It may be called again for the same command after a lost race, with the
/// same time and ids in the context; what it returned before is then thrown away.
pub trait Handle<C: Command>: PersistentActor {
    /// What a successful command answers.
    type Reply: Serialize + DeserializeOwned + Send + 'static;
    /// How the domain says no; [`NeverRejected`] when it never does.
    type Rejection: Serialize + DeserializeOwned + Send + 'static;

    /// Decides what a command does, on the newest state.
    fn handle(&self, command: &C, ctx: &mut Context<Self, C>) -> Effect<Self, C>;
}

/// The rejection of a command that is never rejected; has no value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum NeverRejected {}
