//! What given / when / then says about timers, watches and children. None of them runs: a test hands in their commands itself.

use std::time::Duration;

use annals_migrations::Command;
use serde_json::{Value, json};

use super::difference::pretty;
use super::shown::value;
use super::then::Then;
use crate::effect::{Deed, Schedule, SideEffect};
use crate::plain::ActorRef;
use crate::{Handle, Lists, PersistentActor};

impl<A: Handle<C>, C: Command> Then<A, C> {
    /// The command started a [timer](crate::Decision::then_start_timer) that comes once, with this command, compared by its JSON.
    #[track_caller]
    pub fn then_timer<D, Place>(self, key: &str, after: Duration, command: D) -> Self
    where
        D: Command,
        A: Handle<D>,
        A::Commands: Lists<D, Place>,
    {
        self.then_asked(&started(key, "after", after, &value(&command)))
    }

    /// The command started a [timer with a fixed delay](crate::Decision::then_start_timer_with_fixed_delay), whose first
    /// command is this one.
    #[track_caller]
    pub fn then_timer_with_fixed_delay<D, Place>(self, key: &str, every: Duration, first: D) -> Self
    where
        D: Command,
        A: Handle<D>,
        A::Commands: Lists<D, Place>,
    {
        self.then_asked(&started(key, "with fixed delay", every, &value(&first)))
    }

    /// The command started a [timer at a fixed rate](crate::Decision::then_start_timer_at_fixed_rate), whose first command is
    /// this one.
    #[track_caller]
    pub fn then_timer_at_fixed_rate<D, Place>(self, key: &str, every: Duration, first: D) -> Self
    where
        D: Command,
        A: Handle<D>,
        A::Commands: Lists<D, Place>,
    {
        self.then_asked(&started(key, "at fixed rate", every, &value(&first)))
    }

    /// The command cancelled a timer.
    #[track_caller]
    pub fn then_timer_cancelled(self, key: &str) -> Self {
        self.then_asked(&json!({ "cancel timer": key }))
    }

    /// The command began to watch this actor.
    #[track_caller]
    pub fn then_watches<M: Send + 'static>(self, actor: &ActorRef<M>) -> Self {
        self.then_asked(&json!({ "watch": actor.path().as_str() }))
    }

    /// The command ended the watch of this actor.
    #[track_caller]
    pub fn then_unwatches<M: Send + 'static>(self, actor: &ActorRef<M>) -> Self {
        self.then_asked(&json!({ "unwatch": actor.path().as_str() }))
    }

    /// The command spawned a child with this name.
    #[track_caller]
    pub fn then_spawns(self, name: &str) -> Self {
        self.then_asked(&json!({ "spawn": name }))
    }

    /// The command sent a message of this type to a child.
    #[track_caller]
    pub fn then_tells_child<M: Send + 'static>(self, name: &str) -> Self {
        self.then_asked(&json!({ "tell child": name, "message": std::any::type_name::<M>() }))
    }

    /// The command has a child stop.
    #[track_caller]
    pub fn then_stops_child(self, name: &str) -> Self {
        self.then_asked(&json!({ "stop child": name }))
    }

    /// Nothing more was asked of timers, watches and children than what was looked at so far: each check takes one away.
    #[track_caller]
    pub fn then_no_more_asked(mut self) -> Self {
        self.succeeded();
        if let Some(deed) = self.deeds.first_mut() {
            panic!("nothing more was expected, and this was asked for:\n{}", pretty(&shown(deed)));
        }
        self
    }

    #[track_caller]
    fn then_asked(mut self, expected: &Value) -> Self {
        self.succeeded();
        let asked: Vec<_> = self.deeds.iter_mut().map(shown).collect();
        match asked.iter().position(|deed| deed == expected) {
            Some(at) => drop(self.deeds.remove(at)),
            None => panic!("expected:\n{}\nasked for:\n{}", pretty(expected), pretty(&Value::Array(asked))),
        }
        self
    }
}

fn started(key: &str, how: &str, time: Duration, command: &Value) -> Value {
    json!({ "start timer": key, how: format!("{time:?}"), "command": command })
}

/// What a command asks of timers, watches and children, to be compared and read.
pub(super) fn asked<A: PersistentActor>(effects: &mut [SideEffect<A>]) -> Value {
    let deeds = effects.iter_mut().filter_map(|effect| match effect {
        SideEffect::Run(_) => None,
        SideEffect::Do(deed) => Some(shown(&mut **deed)),
    });
    deeds.collect()
}

/// A periodic timer makes a command for it.
fn shown<A: PersistentActor>(deed: &mut Deed<A>) -> Value {
    match deed {
        Deed::StartTimer { key, schedule } => {
            let (how, time, command) = match schedule {
                Schedule::Once(after, command) => ("after", after, command.shown()),
                Schedule::FixedDelay(every, make) => ("with fixed delay", every, make().shown()),
                Schedule::FixedRate(every, make) => ("at fixed rate", every, make().shown()),
            };
            started(key, how, *time, &command.unwrap_or_default())
        }
        Deed::CancelTimer(key) => json!({ "cancel timer": key }),
        Deed::Watch { watched, .. } => json!({ "watch": watched.path().as_str() }),
        Deed::Unwatch(watched) => json!({ "unwatch": watched.path().as_str() }),
        Deed::Spawn { name, .. } => json!({ "spawn": name }),
        Deed::TellChild { name, tell } => json!({ "tell child": name, "message": tell.message.name() }),
        Deed::StopChild(name) => json!({ "stop child": name }),
    }
}
