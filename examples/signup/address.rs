use annals::prelude::*;
use serde::{Deserialize, Serialize};

/// An e-mail address; the entity id is the address in lower case.
///
/// ```text
/// free ── Reserve ──> reserved ── Confirm ──> taken
///   └────── Release ─────┘
/// ```
///
/// There is one entity for each address and it decides one command after the other: that is what makes it unique.
#[derive(Default, Serialize, Deserialize)]
pub(crate) enum Address {
    #[default]
    Free,
    /// For a user who is signing up, until a time in microseconds since 1970.
    Reserved {
        user: String,
        until: u64,
    },
    Taken {
        user: String,
    },
}

/// What happened to an address.
#[derive(Debug, PartialEq, Serialize, Deserialize, Event)]
pub(crate) enum AddressEvent {
    Reserved { user: String, until: u64 },
    Confirmed { user: String },
    Released,
}

impl PersistentActor for Address {
    const KIND: &'static str = "address";
    type Event = AddressEvent;
    type Commands = (Reserve, Confirm, Release);

    fn apply(&mut self, event: &AddressEvent) {
        *self = match event {
            AddressEvent::Reserved { user, until } => Self::Reserved { user: user.clone(), until: *until },
            AddressEvent::Confirmed { user } => Self::Taken { user: user.clone() },
            AddressEvent::Released => Self::Free,
        };
    }
}

/// Keep the address for a user.
#[derive(Debug, Serialize, Deserialize, Command)]
pub(crate) struct Reserve {
    pub(crate) user: String,
    pub(crate) milliseconds: u64,
}

/// The user who reserved it is registered: it is theirs for ever.
#[derive(Debug, Serialize, Deserialize, Command)]
pub(crate) struct Confirm {
    pub(crate) user: String,
}

/// The user who reserved it will never be registered. Says who, so that a late one does not take it from the next.
#[derive(Debug, Serialize, Deserialize, Command)]
pub(crate) struct Release {
    pub(crate) user: String,
}

/// Why an address is not kept for a user.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub(crate) enum NotFree {
    #[error("the address is taken")]
    Taken,
    #[error("another user is signing up with the address")]
    Reserved,
    /// Find out what became of that user: the time alone does not say that they are not registered.
    #[error("{user} reserved the address and did not come to an end in time")]
    Expired { user: String },
}

/// The user has no reservation.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("the address is not reserved for {user}")]
pub(crate) struct NotReserved {
    user: String,
}

impl Handle<Reserve> for Address {
    type Reply = ();
    type Rejection = NotFree;

    fn handle(&self, reserve: &Reserve, ctx: &mut Context<Self, Reserve>) -> Effect<Self, Reserve> {
        let now = ctx.now();
        match self {
            Self::Free => {
                let until = now.plus(std::time::Duration::from_millis(reserve.milliseconds)).as_micros();
                ctx.persist(AddressEvent::Reserved { user: reserve.user.clone(), until }).reply_with(())
            }
            // The same user asks again after a lost answer.
            Self::Reserved { user, .. } | Self::Taken { user } if *user == reserve.user => ctx.reply(()),
            Self::Taken { .. } => ctx.reject(NotFree::Taken),
            Self::Reserved { user, until } if now.as_micros() >= *until => {
                ctx.reject(NotFree::Expired { user: user.clone() })
            }
            Self::Reserved { .. } => ctx.reject(NotFree::Reserved),
        }
    }
}

impl Handle<Confirm> for Address {
    type Reply = ();
    type Rejection = NotReserved;

    fn handle(&self, confirm: &Confirm, ctx: &mut Context<Self, Confirm>) -> Effect<Self, Confirm> {
        match self {
            Self::Reserved { user, .. } if *user == confirm.user => {
                ctx.persist(AddressEvent::Confirmed { user: user.clone() }).reply_with(())
            }
            Self::Taken { user } if *user == confirm.user => ctx.reply(()),
            _ => ctx.reject(NotReserved { user: confirm.user.clone() }),
        }
    }
}

impl Handle<Release> for Address {
    type Reply = ();
    type Rejection = NeverRejected;

    fn handle(&self, release: &Release, ctx: &mut Context<Self, Release>) -> Effect<Self, Release> {
        match self {
            Self::Reserved { user, .. } if *user == release.user => {
                ctx.persist(AddressEvent::Released).reply_with(())
            }
            _ => ctx.reply(()),
        }
    }
}
