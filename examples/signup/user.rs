use annals::prelude::*;
use serde::{Deserialize, Serialize};

/// A user; the entity id is chosen by whoever signs them up, a new one for each attempt.
#[derive(Default, Serialize, Deserialize)]
pub(crate) enum User {
    #[default]
    Unknown,
    Registered {
        address: String,
    },
    /// Took too long, and another was let through.
    Abandoned,
}

/// What happened to a user.
#[derive(Debug, PartialEq, Serialize, Deserialize, Event)]
pub(crate) enum UserEvent {
    Registered { address: String },
    Abandoned,
}

impl PersistentActor for User {
    const KIND: &'static str = "user";
    type Event = UserEvent;
    type Commands = (Register, Abandon);

    fn apply(&mut self, event: &UserEvent) {
        *self = match event {
            UserEvent::Registered { address } => Self::Registered { address: address.clone() },
            UserEvent::Abandoned => Self::Abandoned,
        };
    }
}

/// Register them with an address that is reserved for them.
#[derive(Debug, Serialize, Deserialize, Command)]
pub(crate) struct Register {
    pub(crate) address: String,
}

/// Register them never, unless they are registered: then reply with the address.
#[derive(Debug, Serialize, Deserialize, Command)]
pub(crate) struct Abandon;

/// Why a user is not registered.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub(crate) enum NotRegistered {
    #[error("it took too long, and another was let through: sign up again with a new id")]
    Abandoned,
    #[error("the user is registered with another address")]
    OtherAddress,
}

impl Handle<Register> for User {
    type Reply = ();
    type Rejection = NotRegistered;

    fn handle(&self, register: &Register, ctx: &mut Context<Self, Register>) -> Effect<Self, Register> {
        match self {
            Self::Unknown => {
                ctx.persist(UserEvent::Registered { address: register.address.clone() }).reply_with(())
            }
            Self::Registered { address } if *address == register.address => ctx.reply(()),
            Self::Registered { .. } => ctx.reject(NotRegistered::OtherAddress),
            Self::Abandoned => ctx.reject(NotRegistered::Abandoned),
        }
    }
}

impl Handle<Abandon> for User {
    type Reply = Option<String>;
    type Rejection = NeverRejected;

    fn handle(&self, _: &Abandon, ctx: &mut Context<Self, Abandon>) -> Effect<Self, Abandon> {
        match self {
            Self::Unknown => ctx.persist(UserEvent::Abandoned).reply_with(None),
            Self::Registered { address } => ctx.reply(Some(address.clone())),
            Self::Abandoned => ctx.reply(None),
        }
    }
}
