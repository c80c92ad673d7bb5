use annals_journal::{Codec, SeqNr, Tag};
use annals_migrations::{
    CodecError, Command, Event, Migrations, STATE, STATE_DELETED, Schema, SchemaName, Shape, codec,
};
use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::{CommandList, Context, Decision, Handle, PersistentActor, ServiceNeeds};

/// An aggregate that is stored as it is: the newest state takes the place of the one before, and nobody can ask how it came about.
///
/// ```
/// use annals_actors::{Context, DurableState, Effect, Handle, NeverRejected};
/// # use annals_migrations::Command;
/// # use serde::{Deserialize, Serialize};
/// #[derive(Clone, Default, Serialize, Deserialize)]
/// struct Profile { name: String }
///
/// #[derive(Serialize, Deserialize, Command)]
/// struct Rename(String);
///
/// impl DurableState for Profile {
///     const KIND: &'static str = "profile";
///     type Commands = (Rename,);
/// }
///
/// impl Handle<Rename> for Profile {
///     type Reply = u64;
///     type Rejection = NeverRejected;
///
///     fn handle(&self, command: &Rename, ctx: &mut Context<Self, Rename>) -> Effect<Self, Rename> {
///         let revision = ctx.revision().next();
///         ctx.update(Profile { name: command.0.clone() }).reply_with(revision.get())
///     }
/// }
/// ```
///
/// It is a [`PersistentActor`] whose events are its states: each [revision](Context::revision) is a number in the journal, stored where the
/// number before it is the newest and no newer owner has come. So all that holds of entities holds of it: one owner, fencing, replies
/// that wait for the disk, encryption, versions, passivation, supervision, readers.
///
/// ```text
/// journal of profile|alice    update 7      update 8                     forget 1..=7
///                             ... 6 7       ... 6 7 8                    8
///                                           the reply is sent here       a little later, see Kind::keep_revisions
/// ```
///
/// Recovery reads the newest revision alone. Older ones are deleted once so many lie behind it, and when the entity leaves memory; a crash
/// between the two leaves some, which nobody reads and which the next deletion takes. There are no snapshots.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is no entity",
    label = "implement `PersistentActor` for an actor whose events are stored, or `DurableState` for one whose state is"
)]
pub trait DurableState: Default + Clone + Serialize + DeserializeOwned + Send + Sync + 'static {
    /// Names the kind: the first part of every persistence id (`profile|alice`), and of the manifest `profile.state`. Never change it once
    /// something is stored.
    const KIND: &'static str;

    /// Version of the state's shape, from 1. Raise it when the shape changes, and say in [`migrations`](Self::migrations) how older ones are
    /// read.
    const STATE_VERSION: u32 = 1;

    /// The commands it handles, as a tuple; each has a [`Handle`] impl.
    type Commands: CommandList<Self>;

    /// How states of older versions are read, and today's written for older builds; the manifest's name is `state`. None by default.
    fn migrations() -> Migrations<Self> {
        Migrations::new()
    }

    /// Labels for readers by tag, of each revision that is stored. None by default, and none when the state is deleted.
    fn tags(&self) -> Vec<Tag> {
        Vec::new()
    }

    /// Declares the services that handlers take from their context, so that a missing one is found at start.
    fn services(_needs: &mut ServiceNeeds) {}
}

/// What is stored of a [`DurableState`], and what readers of it get.
///
/// ```text
/// Updated(state)   <kind>.state           the state's version, its JSON
/// Deleted          <kind>.state-deleted   version 1, null
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StateChange<S> {
    /// The state is this one now.
    Updated(S),
    /// There is none any more: it is the default again.
    Deleted,
}

impl<S: DurableState> Event for StateChange<S> {
    const SCHEMAS: &'static [Schema] = &[
        Schema { name: SchemaName::OfKind(STATE), version: S::STATE_VERSION, codec: Codec::Json },
        Schema { name: SchemaName::OfKind(STATE_DELETED), version: 1, codec: Codec::Json },
    ];

    fn schema(&self) -> usize {
        match self {
            Self::Updated(_) => UPDATED,
            Self::Deleted => DELETED,
        }
    }

    fn encode(&self) -> Result<Bytes, CodecError> {
        match self {
            Self::Updated(state) => codec::encode_json(state),
            Self::Deleted => codec::encode_json(&()),
        }
    }

    fn decode(schema: usize, payload: &Bytes) -> Result<Self, CodecError> {
        match schema {
            UPDATED => codec::decode_json(payload).map(Self::Updated),
            DELETED => codec::decode_json(payload).map(|()| Self::Deleted),
            other => Err(CodecError::UnknownSchema(other)),
        }
    }

    fn decode_value(schema: usize, payload: serde_json::Value) -> Result<Self, CodecError> {
        match schema {
            UPDATED => codec::decode_json_value(payload).map(Self::Updated),
            DELETED => codec::decode_json_value(payload).map(|()| Self::Deleted),
            other => Err(CodecError::UnknownSchema(other)),
        }
    }

    fn shape(schema: usize) -> Option<Shape> {
        match schema {
            UPDATED => Some(Shape::of::<S>()),
            DELETED => Some(Shape::of::<()>()),
            _ => None,
        }
    }

    fn migrations() -> Migrations<Self> {
        S::migrations().stored_alike()
    }
}

const UPDATED: usize = 0;
const DELETED: usize = 1;

impl<S: DurableState> PersistentActor for S {
    const KIND: &'static str = S::KIND;
    const STATE_VERSION: u32 = S::STATE_VERSION;
    const REPLACES_STATE: bool = true;
    type Event = StateChange<S>;
    type Commands = S::Commands;

    fn apply(&mut self, event: &StateChange<S>) {
        *self = match event {
            StateChange::Updated(state) => state.clone(),
            StateChange::Deleted => S::default(),
        };
    }

    fn tags(&self, event: &StateChange<S>) -> Vec<Tag> {
        match event {
            StateChange::Updated(state) => DurableState::tags(state),
            StateChange::Deleted => Vec::new(),
        }
    }

    fn state_migrations() -> Migrations<Self> {
        S::migrations()
    }

    fn services(needs: &mut ServiceNeeds) {
        <S as DurableState>::services(needs);
    }
}

impl<S, C: Command> Context<S, C>
where
    S: DurableState + Handle<C> + PersistentActor<Event = StateChange<S>>,
{
    /// Stores another state in the place of this one, as the next revision; not an effect until it has a reply.
    pub fn update(&self, state: S) -> Decision<S, C> {
        self.persist(StateChange::Updated(state))
    }

    /// Deletes the state: it is the default again, under the next revision. That it was deleted stays in the journal, and so does the
    /// revision, so that nothing that was decided before is taken for newer.
    pub fn delete(&self) -> Decision<S, C> {
        self.persist(StateChange::Deleted)
    }

    /// The number of the state: zero before the first update, one more with each update and deletion. What an effect stores gets the next
    /// one.
    pub fn revision(&self) -> SeqNr {
        self.seq_nr()
    }
}
