//! An aggregate that notes what it hears, and asks for what its commands say.

use std::time::Duration;

use annals_actors::plain::{
    Actor, ActorContext, ActorRef, BoxError, Props, Signal, SupervisorStrategy, Terminated, TerminationReason,
};
use annals_actors::{Context, Effect, EntityRef, Handle, Kind, NeverRejected, PersistentActor, ServiceNeeds};
use annals_derive::{Command, Event};
use serde::{Deserialize, Serialize};

#[derive(Default, Serialize, Deserialize)]
pub(crate) struct Kettle {
    notes: Vec<String>,
}

#[derive(Debug, PartialEq, Serialize, Deserialize, Event)]
pub(crate) enum KettleEvent {
    Noted { note: String },
}

/// Stores it.
#[derive(Debug, Clone, Serialize, Deserialize, Command)]
pub(crate) struct Note(pub(crate) String);
/// Reads all.
#[derive(Debug, Clone, Serialize, Deserialize, Command)]
pub(crate) struct Notes;
/// Asks for something, with an event first when `note` says so.
#[derive(Debug, Clone, Serialize, Deserialize, Command)]
pub(crate) struct Want {
    pub(crate) note: Option<String>,
    pub(crate) what: What,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) enum What {
    Timer { key: String, after: Duration, note: String },
    FixedDelay { key: String, every: Duration },
    FixedRate { key: String, every: Duration },
    TimerThatPanics { key: String, every: Duration },
    Cancel(String),
    Watch,
    Unwatch,
    Spawn { name: String, upbringing: Upbringing },
    TellChild { name: String, say: Say },
    TellChildNonsense(String),
    StopChild(String),
    Doze,
    Stop,
}

/// How a child is supervised.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) enum Upbringing {
    Restart,
    Stop,
    Escalate,
}

/// Panics.
#[derive(Debug, Clone, Serialize, Deserialize, Command)]
pub(crate) struct Burst;

/// A plain actor that kettles may watch.
#[derive(Clone, Default)]
pub(crate) struct Stove(pub(crate) Option<ActorRef<String>>);

impl PersistentActor for Kettle {
    const KIND: &'static str = "kettle";
    type Event = KettleEvent;
    type Commands = (Note, Notes, Want, Burst);

    fn apply(&mut self, KettleEvent::Noted { note }: &KettleEvent) {
        self.notes.push(note.clone());
    }

    fn services(needs: &mut ServiceNeeds) {
        needs.service::<Stove>();
    }
}

pub(crate) fn kettles() -> Kind<Kettle> {
    Kind::new().service(Stove::default())
}

impl Handle<Note> for Kettle {
    type Reply = ();
    type Rejection = NeverRejected;

    fn handle(&self, note: &Note, ctx: &mut Context<Self, Note>) -> Effect<Self, Note> {
        ctx.persist(KettleEvent::Noted { note: note.0.clone() }).reply_with(())
    }
}

impl Handle<Notes> for Kettle {
    type Reply = Vec<String>;
    type Rejection = NeverRejected;

    fn handle(&self, _: &Notes, ctx: &mut Context<Self, Notes>) -> Effect<Self, Notes> {
        ctx.reply(self.notes.clone())
    }
}

impl Handle<Burst> for Kettle {
    type Reply = ();
    type Rejection = NeverRejected;

    fn handle(&self, _: &Burst, _: &mut Context<Self, Burst>) -> Effect<Self, Burst> {
        // A panic without the hook that prints it.
        std::panic::resume_unwind(Box::new("too hot"))
    }
}

impl Handle<Want> for Kettle {
    type Reply = ();
    type Rejection = NeverRejected;

    fn handle(&self, want: &Want, ctx: &mut Context<Self, Want>) -> Effect<Self, Want> {
        let myself = ctx.myself();
        let decision = match want.note.clone() {
            Some(note) => ctx.persist(KettleEvent::Noted { note }),
            None => ctx.none(),
        };
        let stove = || ctx.service::<Stove>().0.clone().unwrap();
        let decision = match want.what.clone() {
            What::Timer { key, after, note } => decision.then_start_timer(key, after, Note(note)),
            What::FixedDelay { key, every } => {
                let note = key.clone();
                decision.then_start_timer_with_fixed_delay(key, every, move || Note(note.clone()))
            }
            What::FixedRate { key, every } => {
                let note = key.clone();
                decision.then_start_timer_at_fixed_rate(key, every, move || Note(note.clone()))
            }
            What::TimerThatPanics { key, every } => {
                let make = || -> Note { std::panic::resume_unwind(Box::new("no command")) };
                decision.then_start_timer_with_fixed_delay(key, every, make)
            }
            What::Cancel(key) => decision.then_cancel_timer(key),
            What::Watch => decision.then_watch(&stove(), ended),
            What::Unwatch => decision.then_unwatch(&stove()),
            What::Spawn { name, upbringing } => {
                let strategy = match upbringing {
                    Upbringing::Restart => SupervisorStrategy::restart().into(),
                    Upbringing::Stop => SupervisorStrategy::Stop,
                    Upbringing::Escalate => SupervisorStrategy::Escalate,
                };
                let called = name.clone();
                let make = move || Whistle { name: called.clone(), kettle: myself.clone() };
                decision.then_spawn(name, Props::new(make).supervisor(strategy))
            }
            What::TellChild { name, say } => decision.then_tell_child(name, say),
            What::TellChildNonsense(name) => decision.then_tell_child(name, 5_u8),
            What::StopChild(name) => decision.then_stop_child(name),
            What::Doze => decision.passivate(),
            What::Stop => decision.stop(),
        };
        decision.reply_with(())
    }
}

fn ended(terminated: Terminated) -> Note {
    let why = match terminated.reason {
        TerminationReason::Stopped => "stopped",
        TerminationReason::Failed(_) => "failed",
        _ => "something else",
    };
    Note(format!("{} {why}", terminated.path.name()))
}

/// A child. It tells its kettle what it hears.
struct Whistle {
    name: String,
    kettle: EntityRef<Kettle>,
}

/// What a child is told.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) enum Say {
    Hello,
    Fail,
    Sleep(Duration),
}

impl Actor for Whistle {
    type Message = Say;

    async fn receive(&mut self, say: Say, _: &mut ActorContext<Self>) -> Result<(), BoxError> {
        match say {
            Say::Hello => self.kettle.tell(Note(format!("hello from {}", self.name))).await?,
            Say::Fail => return Err("on purpose".into()),
            Say::Sleep(time) => tokio::time::sleep(time).await,
        }
        Ok(())
    }

    async fn signal(&mut self, signal: Signal, _: &mut ActorContext<Self>) -> Result<(), BoxError> {
        if signal == Signal::Started {
            // Nobody hears it when the entity is on its way out.
            let _ = self.kettle.try_tell(Note(format!("{} started", self.name)));
        }
        Ok(())
    }
}

pub(crate) fn want(what: What) -> Want {
    Want { note: None, what }
}
