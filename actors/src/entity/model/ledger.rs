//! The aggregate under test, and its sequential specification.

use std::collections::{HashMap, HashSet};
use std::panic::resume_unwind;
use std::sync::{Arc, Mutex};

use annals_derive::{Command, Event};
use annals_journal::{Tag, Timestamp};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{Context, Effect, Handle, PersistentActor, ServiceNeeds};

/// A list of commands, of which the state keeps length and digest, and a gate.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Ledger {
    /// Events seen, which is the number of the last one.
    pub(super) count: u64,
    /// Of all events seen, in their order.
    pub(super) digest: u64,
    pub(super) closed: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Event)]
pub(super) enum Entry {
    /// Part `part` of the `of` events of a command.
    Added {
        command: u32,
        part: u8,
        of: u8,
    },
    Gate {
        command: u32,
        closed: bool,
    },
    /// Panics when it is applied.
    Poison {
        command: u32,
    },
    /// Larger than an event may be.
    Huge {
        command: u32,
        text: Filler,
    },
    /// Has more tags than an event may have.
    Labelled {
        command: u32,
    },
}

/// Text of a given length, made when it is encoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Filler(pub(super) u16);

impl Serialize for Filler {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&"x".repeat(usize::from(self.0)))
    }
}

impl<'de> Deserialize<'de> for Filler {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Ok(Self(u16::try_from(text.len()).map_err(serde::de::Error::custom)?))
    }
}

impl Entry {
    pub(super) fn command(&self) -> u32 {
        match *self {
            Self::Added { command, .. }
            | Self::Gate { command, .. }
            | Self::Poison { command }
            | Self::Huge { command, .. }
            | Self::Labelled { command } => command,
        }
    }

    /// Which event of its command, of how many.
    pub(super) fn place(&self) -> (u8, u8) {
        match *self {
            Self::Added { part, of, .. } => (part, of),
            _ => (0, 1),
        }
    }
}

impl Ledger {
    /// The fold, also of the specification: the test kit of the model must not be cleverer than the model.
    pub(super) fn fold(&mut self, entry: &Entry) {
        let (part, of) = entry.place();
        if let Entry::Gate { closed, .. } = entry {
            self.closed = *closed;
        }
        let what = u64::from(entry.command()) << 24
            | u64::from(part) << 16
            | u64::from(of) << 8
            | u64::from(self.closed);
        self.count += 1;
        self.digest = (self.digest ^ what).wrapping_mul(0x9E37_79B9_7F4A_7C15).rotate_left(29);
    }
}

impl PersistentActor for Ledger {
    const KIND: &'static str = "ledger";
    type Event = Entry;
    type Commands = (Do,);

    fn apply(&mut self, event: &Entry) {
        if let Entry::Poison { .. } = event {
            explode::<()>();
        }
        self.fold(event);
    }

    fn tags(&self, event: &Entry) -> Vec<Tag> {
        match event {
            Entry::Labelled { .. } => {
                (0..=Tag::MAX_PER_EVENT).filter_map(|number| Tag::new(&format!("t{number}")).ok()).collect()
            }
            _ => Vec::new(),
        }
    }

    fn services(needs: &mut ServiceNeeds) {
        needs.service::<Mutex<Witness>>();
    }
}

/// What handlers and side effects saw, beside the entity.
#[derive(Debug, Default)]
pub(super) struct Witness {
    /// Time and id that a command drew when it was first decided.
    drawn: HashMap<(u32, Stage), (Timestamp, Uuid)>,
    /// Side effects since the world last looked: the command and the state that it was made from.
    pub(super) effects: Vec<(u32, Seen)>,
    pub(super) had_effect: HashSet<u32>,
    pub(super) complaint: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Stage {
    Handle,
    Continue,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Command)]
pub(super) struct Do {
    pub(super) command: u32,
    pub(super) what: What,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum What {
    /// Adds this many events, perhaps with a side effect, perhaps passivating or stopping afterwards.
    Add {
        events: u8,
        effect: bool,
        after: Afterwards,
    },
    /// Adds one event when the count is even, and is rejected otherwise.
    AddIfEven,
    /// Waits in the stash while the gate is closed, then adds one.
    AddWhenOpen,
    /// Opening takes all out of the stash.
    Gate {
        closed: bool,
    },
    Read,
    /// Works, then adds one, or is rejected when the gate is closed at that moment.
    Work,
    /// Panics there.
    Explode(Where),
    /// An event that cannot be stored: too large, or with too many labels.
    Unstorable {
        labels: bool,
    },
    /// The same, and the entity would stop afterwards.
    UnstorableStop,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Afterwards {
    Stay,
    Passivate,
    Stop,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Where {
    Handle,
    Apply,
    Reply,
    Work,
}

/// The state that a reply or rejection was made from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Seen {
    pub(super) count: u64,
    pub(super) digest: u64,
}

impl Seen {
    pub(super) fn of(ledger: &Ledger) -> Self {
        Self { count: ledger.count, digest: ledger.digest }
    }
}

impl Handle<Do> for Ledger {
    type Reply = Seen;
    type Rejection = Seen;

    fn handle(&self, command: &Do, ctx: &mut Context<Self, Do>) -> Effect<Self, Do> {
        let witness = ctx.service::<Mutex<Witness>>();
        let id = command.command;
        watch(&witness, (id, Stage::Handle), self, ctx);
        let one = Entry::Added { command: id, part: 0, of: 1 };
        match command.what {
            What::Add { events, effect, after } => {
                let all = (0..events).map(|part| Entry::Added { command: id, part, of: events }).collect();
                let mut decision = ctx.persist_all(all);
                if effect {
                    decision = decision.then_run(move |ledger| {
                        let seen = Seen::of(ledger);
                        async move {
                            if let Ok(mut witness) = witness.lock() {
                                witness.effects.push((id, seen));
                            }
                        }
                    });
                }
                match after {
                    Afterwards::Stay => decision,
                    Afterwards::Passivate => decision.passivate(),
                    Afterwards::Stop => decision.stop(),
                }
                .reply(Seen::of)
            }
            What::AddIfEven if self.count % 2 == 1 => ctx.reject(Seen::of(self)),
            What::AddWhenOpen if self.closed => ctx.stash(),
            What::AddIfEven | What::AddWhenOpen => ctx.persist(one).reply(Seen::of),
            What::Gate { closed } => {
                let decision = ctx.persist(Entry::Gate { command: id, closed });
                if closed { decision } else { decision.unstash_all() }.reply(Seen::of)
            }
            What::Read => ctx.reply(Seen::of(self)),
            What::Work => ctx.run(async move { id }).then(move |ledger, command, output, ctx| {
                assert_eq!(command.command, output);
                watch(&witness, (output, Stage::Continue), ledger, ctx);
                if ledger.closed { ctx.reject(Seen::of(ledger)) } else { ctx.persist(one).reply(Seen::of) }
            }),
            What::Explode(Where::Handle) => explode(),
            What::Explode(Where::Apply) => ctx.persist(Entry::Poison { command: id }).reply(Seen::of),
            What::Explode(Where::Reply) => ctx.persist(one).reply(|_| explode()),
            What::Explode(Where::Work) => ctx.run(async { explode() }).then(|_, _, (), ctx| ctx.stash()),
            What::Unstorable { labels: true } => ctx.persist(Entry::Labelled { command: id }).reply(Seen::of),
            What::Unstorable { labels: false } => {
                ctx.persist_all(vec![one, Entry::Huge { command: id, text: Filler(2_000) }]).reply(Seen::of)
            }
            What::UnstorableStop => {
                ctx.persist(Entry::Huge { command: id, text: Filler(2_000) }).stop().reply(Seen::of)
            }
        }
    }
}

/// Time and ids are the same however often a command is decided, and the context's number is the state's.
fn watch(witness: &Arc<Mutex<Witness>>, id: (u32, Stage), ledger: &Ledger, ctx: &mut Context<Ledger, Do>) {
    let drawn = (ctx.now(), ctx.new_id());
    let Ok(mut witness) = witness.lock() else { return };
    let first = *witness.drawn.entry(id).or_insert(drawn);
    if first != drawn {
        witness.complaint = Some(format!("command {id:?} drew {drawn:?} after {first:?}"));
    }
    if ctx.seq_nr().get() != ledger.count {
        witness.complaint = Some(format!("command {id:?} met {:?} in its context, {ledger:?}", ctx.seq_nr()));
    }
}

/// A panic without the hook that prints it.
fn explode<T>() -> T {
    resume_unwind(Box::new("on purpose"))
}
