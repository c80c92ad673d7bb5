//! A sound aggregate that uses all that a handler can use.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use annals_actors::{Context, Effect, Handle, NeverRejected, PersistentActor, ServiceNeeds};
use annals_migrations::{Command, Event};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Account {
    pub(crate) cents: i64,
    pub(crate) last: Option<Uuid>,
    pub(crate) open: bool,
}

#[derive(Serialize, Deserialize, Event)]
pub(crate) enum AccountEvent {
    Opened { at: u64 },
    Deposited { cents: i64, id: Uuid },
    Withdrawn { cents: i64 },
}

#[derive(Debug, Clone, Serialize, Deserialize, Command)]
pub(crate) struct Open;
#[derive(Debug, Clone, Serialize, Deserialize, Command)]
pub(crate) struct Deposit {
    pub(crate) cents: i64,
}
#[derive(Debug, Clone, Serialize, Deserialize, Command)]
pub(crate) struct Withdraw {
    pub(crate) cents: i64,
}
/// Converts by a rate that takes a while to find out.
#[derive(Debug, Clone, Serialize, Deserialize, Command)]
pub(crate) struct Exchange {
    pub(crate) foreign: i64,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Overdrawn {
    pub(crate) by: i64,
}

pub(crate) struct Rate(pub(crate) i64);
#[derive(Clone, Default)]
pub(crate) struct Letters(pub(crate) Arc<AtomicU64>);

impl PersistentActor for Account {
    const KIND: &'static str = "account";
    type Event = AccountEvent;
    type Commands = (Open, Deposit, Withdraw, Exchange);

    fn apply(&mut self, event: &AccountEvent) {
        match event {
            AccountEvent::Opened { .. } => self.open = true,
            AccountEvent::Deposited { cents, id } => {
                self.cents += cents;
                self.last = Some(*id);
            }
            AccountEvent::Withdrawn { cents } => self.cents -= cents,
        }
    }

    fn services(needs: &mut ServiceNeeds) {
        needs.service::<Rate>().service::<Letters>();
    }
}

impl Handle<Open> for Account {
    type Reply = ();
    type Rejection = NeverRejected;

    fn handle(&self, _: &Open, ctx: &mut Context<Self, Open>) -> Effect<Self, Open> {
        ctx.persist(AccountEvent::Opened { at: ctx.now().as_micros() }).unstash_all().reply_with(())
    }
}

impl Handle<Deposit> for Account {
    type Reply = i64;
    type Rejection = NeverRejected;

    fn handle(&self, command: &Deposit, ctx: &mut Context<Self, Deposit>) -> Effect<Self, Deposit> {
        if !self.open {
            return ctx.stash();
        }
        let (cents, id) = (command.cents, ctx.new_id());
        let letters = ctx.service::<Letters>();
        ctx.persist(AccountEvent::Deposited { cents, id })
            .then_run(move |_| async move {
                letters.0.fetch_add(1, Ordering::Relaxed);
            })
            .reply(|account| account.cents)
    }
}

impl Handle<Withdraw> for Account {
    type Reply = i64;
    type Rejection = Overdrawn;

    fn handle(&self, command: &Withdraw, ctx: &mut Context<Self, Withdraw>) -> Effect<Self, Withdraw> {
        if command.cents > self.cents {
            return ctx.reject(Overdrawn { by: command.cents - self.cents });
        }
        let decision = ctx.persist(AccountEvent::Withdrawn { cents: command.cents });
        if command.cents == self.cents { decision.passivate() } else { decision }
            .reply(|account| account.cents)
    }
}

impl Handle<Exchange> for Account {
    type Reply = i64;
    type Rejection = NeverRejected;

    fn handle(&self, _: &Exchange, ctx: &mut Context<Self, Exchange>) -> Effect<Self, Exchange> {
        let rate = ctx.service::<Rate>();
        let work = async move {
            futures::pending!();
            rate.0
        };
        // The first poll asks to be polled again, as something that waits does.
        let work = async move {
            let mut work = Box::pin(work);
            std::future::poll_fn(move |cx| {
                cx.waker().wake_by_ref();
                work.as_mut().poll(cx)
            })
            .await
        };
        ctx.run(work).then(|_, command, rate, ctx| {
            let id = ctx.new_id();
            let cents = command.foreign * rate;
            ctx.persist(AccountEvent::Deposited { cents, id }).reply(|account| account.cents)
        })
    }
}
