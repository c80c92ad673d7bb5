//! A list of the commands that were carried out.

use annals_actors::{Context, Effect, Handle, NeverRejected, PersistentActor};
use annals_migrations::{Command, Event};
use serde::{Deserialize, Serialize};

#[derive(Default, Serialize, Deserialize)]
pub(crate) struct Ledger {
    pub(crate) entries: Vec<u32>,
}

#[derive(Serialize, Deserialize, Event)]
pub(crate) enum LedgerEvent {
    Entered { command: u32 },
}

/// Enters itself so many times, all or none; replies with the number of entries.
#[derive(Serialize, Deserialize, Command)]
pub(crate) struct Enter {
    pub(crate) command: u32,
    pub(crate) times: u8,
    pub(crate) passivate: bool,
}

/// Replies with the entries.
#[derive(Serialize, Deserialize, Command)]
pub(crate) struct Entries;

/// Works for so many milliseconds, then enters itself.
#[derive(Serialize, Deserialize, Command)]
pub(crate) struct EnterLater {
    pub(crate) command: u32,
    pub(crate) millis: u64,
}

impl PersistentActor for Ledger {
    const KIND: &'static str = "ledger";
    type Event = LedgerEvent;
    type Commands = (Enter, Entries, EnterLater);

    fn apply(&mut self, event: &LedgerEvent) {
        let LedgerEvent::Entered { command } = event;
        self.entries.push(*command);
    }
}

impl Handle<Enter> for Ledger {
    type Reply = usize;
    type Rejection = NeverRejected;

    fn handle(&self, command: &Enter, ctx: &mut Context<Self, Enter>) -> Effect<Self, Enter> {
        let events = (0..command.times).map(|_| LedgerEvent::Entered { command: command.command }).collect();
        let decision = ctx.persist_all(events);
        if command.passivate { decision.passivate() } else { decision }.reply(|ledger| ledger.entries.len())
    }
}

impl Handle<Entries> for Ledger {
    type Reply = Vec<u32>;
    type Rejection = NeverRejected;

    fn handle(&self, _: &Entries, ctx: &mut Context<Self, Entries>) -> Effect<Self, Entries> {
        ctx.reply(self.entries.clone())
    }
}

impl Handle<EnterLater> for Ledger {
    type Reply = usize;
    type Rejection = NeverRejected;

    fn handle(&self, command: &EnterLater, ctx: &mut Context<Self, EnterLater>) -> Effect<Self, EnterLater> {
        let time = std::time::Duration::from_millis(command.millis);
        ctx.run(tokio::time::sleep(time)).then(|_, command, (), ctx| {
            ctx.persist(LedgerEvent::Entered { command: command.command })
                .reply(|ledger| ledger.entries.len())
        })
    }
}
