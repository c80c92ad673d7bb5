//! Effects that plain actors have as methods of their context: timers, watches, children.

use std::sync::Arc;
use std::time::Duration;

use annals_migrations::Command;

use super::{Child, Decision, Deed, Schedule, TellChild, Then};
use crate::delivery::{Delivery, Parcel, Progress};
use crate::plain::{Actor, ActorRef, Cell, MessageType, Props, Terminated, TimerKey};
use crate::{Handle, Lists};

impl<A: Handle<C>, C: Command> Decision<A, C> {
    /// Starts a timer once the command's events are durable: `command` comes after a while, once, as if it was
    /// [told](crate::EntityRef::tell), but not through the mailbox, which may be full. A timer with this key is replaced.
    ///
    /// Timers live in memory, with the entity: they end when it stops, is passivated or fenced, and when it panics; and they do not
    /// keep it in memory. What must come whatever happens belongs into the state, as the guide's page on patterns shows.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use annals_actors::{Context, Effect, Handle, Lists, NeverRejected, PersistentActor};
    /// # use annals_migrations::{Command, Event};
    /// # use serde::{Deserialize, Serialize};
    /// # #[derive(Default, Serialize, Deserialize)]
    /// # struct Cart { items: u32 }
    /// # #[derive(Serialize, Deserialize, Event)]
    /// # enum CartEvent { Added, Cleared }
    /// # #[derive(Serialize, Deserialize, Command)]
    /// # struct Add;
    /// # #[derive(Serialize, Deserialize, Command)]
    /// # struct Clear;
    /// # impl PersistentActor for Cart {
    /// #     const KIND: &'static str = "cart";
    /// #     type Event = CartEvent;
    /// #     type Commands = (Add, Clear);
    /// #     fn apply(&mut self, event: &CartEvent) {
    /// #         self.items = if matches!(event, CartEvent::Added) { self.items + 1 } else { 0 };
    /// #     }
    /// # }
    /// # impl Handle<Clear> for Cart {
    /// #     type Reply = ();
    /// #     type Rejection = NeverRejected;
    /// #     fn handle(&self, _: &Clear, ctx: &mut Context<Self, Clear>) -> Effect<Self, Clear> {
    /// #         ctx.persist(CartEvent::Cleared).reply_with(())
    /// #     }
    /// # }
    /// impl Handle<Add> for Cart {
    ///     type Reply = u32;
    ///     type Rejection = NeverRejected;
    ///
    ///     fn handle(&self, _: &Add, ctx: &mut Context<Self, Add>) -> Effect<Self, Add> {
    ///         // Nobody adds anything for a minute: the cart is cleared.
    ///         ctx.persist(CartEvent::Added)
    ///             .then_start_timer("forgotten", Duration::from_secs(60), Clear)
    ///             .reply(|cart| cart.items)
    ///     }
    /// }
    /// ```
    pub fn then_start_timer<D, At>(self, key: impl Into<TimerKey>, after: Duration, command: D) -> Self
    where
        D: Command,
        A: Handle<D>,
        A::Commands: Lists<D, At>,
    {
        self.start_timer(key.into(), Schedule::Once(after, told(command)))
    }

    /// Has a command come again and again, each this long after the one before was taken; otherwise as
    /// [`then_start_timer`](Self::then_start_timer). A timer whose closure panics ends, with a line in the log.
    pub fn then_start_timer_with_fixed_delay<D, At>(
        self,
        key: impl Into<TimerKey>,
        every: Duration,
        mut command: impl FnMut() -> D + Send + 'static,
    ) -> Self
    where
        D: Command,
        A: Handle<D>,
        A::Commands: Lists<D, At>,
    {
        self.start_timer(key.into(), Schedule::FixedDelay(every, Box::new(move || told(command()))))
    }

    /// Has a command come at multiples of a period; what a busy entity missed comes once. Otherwise as
    /// [`then_start_timer_with_fixed_delay`](Self::then_start_timer_with_fixed_delay).
    pub fn then_start_timer_at_fixed_rate<D, At>(
        self,
        key: impl Into<TimerKey>,
        every: Duration,
        mut command: impl FnMut() -> D + Send + 'static,
    ) -> Self
    where
        D: Command,
        A: Handle<D>,
        A::Commands: Lists<D, At>,
    {
        self.start_timer(key.into(), Schedule::FixedRate(every, Box::new(move || told(command()))))
    }

    /// Cancels a timer, if there is one with this key. Its command does not come any more once this command is decided, also when
    /// the timer is due before this command's events are durable.
    pub fn then_cancel_timer(self, key: impl Into<TimerKey>) -> Self {
        self.then_do(Deed::CancelTimer(key.into()))
    }

    /// Watches a plain actor once the command's events are durable: when it has terminated, `notice` makes a command of that, which
    /// comes as if it was [told](crate::EntityRef::tell). At once, when it has terminated already.
    ///
    /// The command comes once, before those of the mailbox, and is not dropped however full that is. Watches end when the entity stops,
    /// is passivated or fenced, and when it panics.
    pub fn then_watch<M, D, At>(
        self,
        actor: &ActorRef<M>,
        notice: impl FnOnce(Terminated) -> D + Send + 'static,
    ) -> Self
    where
        M: Send + 'static,
        D: Command,
        A: Handle<D>,
        A::Commands: Lists<D, At>,
    {
        let notice = Box::new(move |terminated| told(notice(terminated)));
        self.then_do(Deed::Watch { watched: actor.any(), notice })
    }

    /// Ends the watch of a plain actor, if there is one: no notice comes any more once this command is decided.
    pub fn then_unwatch<M: Send + 'static>(self, actor: &ActorRef<M>) -> Self {
        self.then_do(Deed::Unwatch(actor.any()))
    }

    /// Has a plain actor run as a child of the entity once the command's events are durable, below it in the
    /// [node's system](crate::Node::system), as `bank/account|alice/printer`.
    ///
    /// If a child with this name runs, it stays, and the props are dropped: a handler need not know whether the entity was in memory
    /// before. A name that would blur paths is an error in the log. The child tells its parent through
    /// [`ctx.myself()`](crate::Context::myself), given to its factory.
    ///
    /// It is supervised as its props say. When that [escalates](crate::plain::SupervisorStrategy::Escalate), the entity fails as by a
    /// panic: children, timers and watches end, and it recovers under its own [policy](crate::Kind::restart). Children stop before
    /// their entity's stop or passivation is complete: they handle what waits in their mailboxes, at most for the kind's
    /// [work limit](crate::Kind::work_limit), then they are aborted. After a panic or a fencing nothing is handled any more.
    pub fn then_spawn<B: Actor>(self, name: impl Into<String>, props: Props<B>) -> Self {
        let spawn = Box::new(move |system: &Arc<_>, path, parent| {
            let ActorRef { cell } = crate::plain::Shared::launch(system, path, props, Some(parent))?;
            Ok(Child { cell: Arc::clone(&cell) as _, typed: cell })
        });
        self.then_do(Deed::Spawn { name: name.into(), spawn })
    }

    /// Sends a message to a child once the command's events are durable, after what the same command spawns before.
    ///
    /// If no child has this name or this type of messages, or its mailbox is full, the message is a dead letter.
    pub fn then_tell_child<M: Send + 'static>(self, name: impl Into<String>, message: M) -> Self {
        let tell = Box::new(move |child: &Child| match Arc::clone(&child.typed).downcast::<Cell<M>>() {
            Ok(cell) => {
                ActorRef { cell }.tell_or_bury(message);
                true
            }
            Err(_) => false,
        });
        let tell = TellChild { message: MessageType::of::<M>(), tell };
        self.then_do(Deed::TellChild { name: name.into(), tell })
    }

    /// Has a child stop gracefully, as [`ActorRef::stop`]. Its name is free when it is gone; whom another command spawns before
    /// under this name starts then.
    pub fn then_stop_child(self, name: impl Into<String>) -> Self {
        self.then_do(Deed::StopChild(name.into()))
    }

    fn start_timer(self, key: TimerKey, schedule: Schedule<A>) -> Self {
        self.then_do(Deed::StartTimer { key, schedule })
    }

    fn then_do(mut self, deed: Deed<A>) -> Self {
        self.then.push(Then::Do(Box::new(deed)));
        self
    }
}

/// A command that nobody waits for.
fn told<A: Handle<D>, D: Command>(command: D) -> Box<dyn Delivery<A>> {
    Box::new(Parcel::new(command, false, Progress::new(), None))
}
